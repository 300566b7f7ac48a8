"""Gradients of first and second order."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import UNIT_ROUNDOFF, Expected, error_bound, gamma
from opjury.judge.replay import CALL, required
from opjury.judge.text import describe
from opjury.judge.trial import GRAD, Refuted, Steps, Trial, Unsuitable, depends_on_any, random_like, written
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.exact import carrier, torch_dtype
from opjury.model.implementation import Error

SMALL = 40  # elements up to which whole Jacobians are computed
_TOLD = 120  # characters of an incoming gradient that a message shows


def argument(place: int | str) -> str:
    """An argument in a script."""
    return f"args[{place}]" if isinstance(place, int) else f"kwargs[{place!r}]"


def requiring(places: Iterable[int | str]) -> str:
    """Lines of a script that let these arguments require gradients."""
    return "".join(f"{argument(place)}.requires_grad_()\n" for place in places)


def gradient_steps(place: int | str, incoming: Tensor, chosen: Iterable[int | str], *, flat: bool = True) -> str:
    """Lines of a script that compute the gradient for one argument; `flat`: all its elements in a row."""
    gradient = f"torch.autograd.grad({CALL}, {argument(place)}, w, materialize_grads=True)"
    return f"{requiring(chosen)}w = {_code(incoming)}\n(result,) = {gradient}" + "\nresult = result.flatten()" * flat


def _incoming(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, tier: str) -> Tensor:
    """The recipe of an incoming gradient, with contiguous, expanded, transposed, stepped or conjugated memory, or of zeros."""
    values = random_like(rng, shape, dtype, tier)
    layout = str(rng.choice(["contiguous", "expanded", "transposed", "step", "zeros"], p=[0.35, 0.25, 0.15, 0.15, 0.1]))
    if layout == "contiguous" and dtype.startswith("complex") and rng.integers(2):
        layout = "conj"
    if layout == "zeros":
        values, layout = np.zeros_like(values), "contiguous"
    if layout == "expanded":
        values = np.full_like(values, values.reshape(-1)[0] or 1) if values.size else values
        if tier == "exact":
            values = np.ones_like(values)
    return Tensor(values, dtype, layout)


def _expand_fully(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1)[:1].clone().reshape([1] * tensor.ndim).expand(tensor.shape) if tensor.numel() else tensor


def _code(incoming: Tensor) -> str:
    """An incoming gradient as Python; an expanded one has one element in memory."""
    if incoming.layout != "expanded" or not incoming.values.size:
        return incoming.code()
    one = replace(
        incoming, values=incoming.values.reshape(-1)[:1].reshape([1] * incoming.values.ndim), layout="contiguous"
    )
    return f"{one.code()}.expand({incoming.shape})"


def incoming_told(incoming: Tensor) -> str:
    """An incoming gradient in a message, where it is short."""
    code = _code(incoming)
    return f"where the incoming gradient is {code}" if len(code) <= _TOLD else ""


def check_gradient(trial: Trial, case: Case) -> None:
    """The gradient of ⟨w, f(x)⟩ equals Jᵀw, J computed from the reference: for all or some inputs, for any incoming w."""
    rng = np.random.default_rng(case.seed)
    places = case.differentiable
    chosen = [place for place in places if rng.integers(2)] or places if rng.integers(3) == 0 else places
    args, kwargs = case.build(trial.device, requires_grad=chosen)
    trial.in_flight = case
    out = forward(trial, case, args, kwargs, chosen)
    shape = oracle.evaluate(trial.operation, case.plain).shape
    if (
        not isinstance(out, torch.Tensor)
        or tuple(out.shape) != shape
        or out.dtype != torch_dtype(oracle.result_dtype(trial.operation, case))
    ):
        raise Unsuitable
    live: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    recipe = _incoming(rng, shape, str(out.dtype).removeprefix("torch."), case.tier)
    weights = recipe.values
    incoming = recipe.build(trial.device)
    incoming = _expand_fully(incoming) if recipe.layout == "expanded" else incoming
    if not out.requires_grad:
        if out.numel() == 0 or not depends_on_any(trial, case, chosen):
            raise Unsuitable
        raise Refuted(
            "the result has no gradient history although inputs require gradients",
            steps=f"{requiring(chosen)}assert {CALL}.requires_grad",
        )

    def steps() -> str:
        wanted = ", ".join(map(argument, chosen))
        return f"{requiring(chosen)}w = {_code(recipe)}\ntorch.autograd.grad({CALL}, [{wanted}], w, allow_unused=True)"

    with trial.limited(steps):
        try:
            grads = torch.autograd.grad(
                out, [live[place] for place in chosen], incoming, allow_unused=True, retain_graph=bool(rng.integers(2))
            )
        except Exception as error:
            raise Refuted(f"backward raises {describe(error)}", steps=steps) from None
    for place, grad in zip(chosen, grads, strict=True):
        grad = torch.zeros_like(live[place]) if grad is None else grad
        if grad.shape != live[place].shape or grad.dtype != live[place].dtype:
            what = f"the gradient for {name(trial, place)} has shape {tuple(grad.shape)} and dtype {grad.dtype}"
            same = f"assert (result.shape, result.dtype) == ({argument(place)}.shape, {argument(place)}.dtype)"
            taken = gradient_steps(place, recipe, chosen, flat=False)
            raise Refuted(what, steps=f"{taken}\nprint(result.shape, result.dtype)\n{same}")
        taking = functools.partial(gradient_steps, place, recipe, chosen)
        require_gradient(trial, case, place, weights, grad, rng, taking, given=functools.partial(incoming_told, recipe))
    if (
        case.tier == "exact"
        and case.dtype in ("float64", "complex128")
        and 0 < case.elements <= 12
        and out.numel() <= SMALL
        and case.seed % 4 == 0
    ):
        _gradcheck(trial, case, chosen)


def require_gradient(
    trial: Trial,
    case: Case,
    place: int | str,
    weights: np.ndarray,
    grad: torch.Tensor,
    rng: np.random.Generator,
    steps: Steps,
    when: str = "",
    given: Steps = "",
) -> None:
    """Refuted unless it is the gradient of ⟨w, f(x)⟩ for one argument: all of it, or some elements and the adjoint's law.

    `steps` compute it as `result`, all elements in a row; `when` and `given` stand before and behind the message.
    """
    leaf, called = dict(case.leaves())[place], name(trial, place)
    if leaf.values.size <= SMALL or trial.operation.kind == "movement" or trial.operation.gradient is not None:
        expected = oracle.expected_gradient(trial.operation, case.plain, place, weights, trial.error)
        trial.require(grad.reshape(-1), expected, f"{when}{called}.grad.flatten()", steps, given=given)
        return
    elements = np.unique(np.concatenate([[0, leaf.values.size - 1], rng.integers(0, leaf.values.size, 10)]))
    expected = oracle.expected_gradient(trial.operation, case.plain, place, weights, trial.error, elements)
    some = grad.reshape(-1)[torch.from_numpy(elements)]
    trial.require(some, expected, f"{when}{called}.grad.flatten()", steps, elements, given)
    _adjoint(trial, case, place, weights, grad, rng, steps)


def forward(trial: Trial, case: Case, args: tuple[Any, ...], kwargs: dict[str, Any], chosen: list[Any]) -> Any:
    """The result for arguments that require gradients. Raises `Refuted` where that alone makes it raise."""
    try:
        return trial.invoke(args, kwargs)
    except Exception as error:
        try:
            trial.invoke(*case.plain.build(trial.device))
        except Exception:
            raise Unsuitable from None
        raise Refuted(
            f"raises {describe(error)} when {', '.join(name(trial, p) for p in chosen)} requires gradients",
            steps=requiring(chosen) + CALL,
        ) from None


def name(trial: Trial, place: int | str) -> str:
    """What the reference calls an argument."""
    if isinstance(place, str):
        return place
    parameters = list(inspect.signature(trial.operation.reference).parameters.values())
    last = len(parameters) - 1
    if parameters[min(place, last)].kind is inspect.Parameter.VAR_POSITIONAL:
        return f"{parameters[last].name}[{place - last}]"
    return parameters[place].name


def _adjoint(
    trial: Trial,
    case: Case,
    place: Any,
    weights: np.ndarray,
    grad: torch.Tensor,
    rng: np.random.Generator,
    steps: Steps,
) -> None:
    """⟨w, f(x)⟩ = ⟨fᵀ(w), x⟩ for other x: catches what is wrong with a large gradient anywhere."""
    if case.tier != "exact" or trial.error is not None or case.dtype in ("float16", "bfloat16"):
        return
    leaf = dict(case.leaves())[place]
    values = trial.values(grad, np.zeros(0, carrier(leaf.dtype)))
    for _ in range(3):
        probe = rng.integers(-2, 3, leaf.values.shape).astype(carrier(leaf.dtype))
        moved = case.plain.with_leaf(place, replace(leaf, values=probe, layout="contiguous"))
        result = oracle.evaluate(trial.operation, moved)
        left, right = np.sum(np.conj(weights) * result).real, np.sum(np.conj(values) * probe).real
        bound = _adjoint_bound(trial, moved, weights)
        if abs(left - right) > bound:
            v = f"v = {Tensor(probe, leaf.dtype).code()}.to(torch.complex128).flatten()"
            summed = "result = (result.conj() * v).sum().real"
            raise Refuted(
                f"⟨w, f(v)⟩ is {left!r} but ⟨gradient, v⟩ is {right!r} for {name(trial, place)}",
                steps=f"{written(steps)}\n{v}\n{summed}\n{required(Expected(np.asarray(left), bound=bound))}",
            )


def _adjoint_bound(trial: Trial, moved: Case, weights: np.ndarray) -> float:
    """How far ⟨gradient, v⟩ of a right gradient may be from ⟨w, f(v)⟩, v an argument of a case.

    An element of the gradient is a sum over at most all outputs, so that its error is at most a bound's for Σ_i|J_ij·w_i|. Weighted with
    |v_j| and added up, that is the bound for ⟨|w|, Σ_j|J_ij·v_j|⟩. The product with v is summed in float64.
    """
    size = float(np.sum(np.abs(weights) * oracle.magnitude(trial.operation, moved)))
    terms = weights.size + trial.operation.roundings + 1
    of_gradient = error_bound(np.asarray(size), size, terms, moved.dtype, roundings=2, accumulates="input")
    return float(of_gradient + 5**0.5 * gamma(moved.elements + 1, UNIT_ROUNDOFF["float64"]) * size)


def _gradcheck(trial: Trial, case: Case, chosen: list[Any]) -> None:
    """A second opinion: torch.autograd.gradcheck, by finite differences in double precision."""
    args, kwargs = case.plain.build(trial.device, requires_grad=chosen)
    if any(isinstance(a, torch.Tensor) and not a.numel() for a in args):
        return  # torch takes empty tensors for overlapping ones

    def call(*live: Any) -> Any:
        return trial.function(*live, **kwargs)

    steps = f"{requiring(chosen)}torch.autograd.gradcheck(lambda *args: {CALL}, args)"
    with trial.limited(steps):
        try:
            torch.autograd.gradcheck(call, args, check_batched_grad=False, check_undefined_grad=True)
        except Exception as error:
            raise Refuted(f"torch.autograd.gradcheck: {describe(error)}", steps=steps) from None


def check_second_order(trial: Trial, case: Case) -> None:
    """The gradient can be differentiated again, and that derivative is right."""
    rng = np.random.default_rng(case.seed)
    args, kwargs = case.build(trial.device, requires_grad=True)
    live: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    out = forward(trial, case, args, kwargs, case.differentiable)
    if not out.requires_grad or not out.numel():
        raise Unsuitable
    dtype = str(out.dtype).removeprefix("torch.")
    if trial.operation.gradient is not None:
        return _gradgradcheck(trial, case)
    place = case.differentiable[int(rng.integers(len(case.differentiable)))]
    leaf = dict(case.leaves())[place]
    weights = random_like(rng, tuple(out.shape), dtype, "exact")
    incoming = Tensor(weights, dtype)
    w = incoming.build(trial.device, requires_grad=True)
    others = [p for p in case.differentiable if p != place and trial.operation.kind == "arithmetic"]
    direction = replace(leaf, values=random_like(rng, leaf.values.shape, leaf.dtype, "exact"), layout="contiguous")
    moved = along_direction(trial, case, place, direction)

    def once() -> str:
        w = f"w = {incoming.code()}.requires_grad_()"
        taken = f"torch.autograd.grad({CALL}, {argument(place)}, w, create_graph=True, materialize_grads=True)"
        return f"{GRAD}{w}\n(grad,) = {taken}\n"

    def again(by: str = "w") -> str:
        along = f"direction = {direction.code()}\n"
        return f"{once()}{along}(result,) = torch.autograd.grad(grad, {by}, direction, materialize_grads=True)"

    with trial.limited(again):
        try:
            (grad,) = torch.autograd.grad(out, [live[place]], w, create_graph=True, allow_unused=True)
            if grad is None or not grad.requires_grad:
                if oracle.dependence(trial.operation, case.plain, place).any():
                    raise Refuted(
                        f"the gradient for {name(trial, place)} cannot be differentiated again",
                        steps=f"{once()}assert grad.requires_grad",
                    )
                raise Unsuitable
            second, *mixed = torch.autograd.grad(
                grad, [w, *(live[other] for other in others)], direction.build(trial.device), allow_unused=True
            )
        except RuntimeError as error:
            raise Refuted(f"differentiating the gradient raises {describe(error)}", steps=again) from None
    trial.require(
        torch.zeros_like(out) if second is None else second,
        derived(trial, moved),
        f"derivative of the gradient for {name(trial, place)}",
        again,
    )
    for other, found in zip(others, mixed, strict=True):
        found = torch.zeros_like(live[other]) if found is None else found

        def steps(other: int | str = other) -> str:
            return f"{again(argument(other))}\nresult = result.flatten()"

        when = f"differentiating the gradient for {name(trial, place)}, "
        require_gradient(trial, moved, other, weights, found, rng, steps, when)
    return None


def along_direction(trial: Trial, case: Case, place: Any, direction: Tensor) -> Case:
    """The case whose result is the derivative along a direction: one argument replaced by it.

    Arithmetic operations are linear in each argument, the others fixed; movements in all together, the others zero.
    """
    moved = case.plain.with_leaf(place, direction)
    if trial.operation.kind == "movement":
        for other in case.differentiable:
            if other != place:
                leaf = dict(moved.leaves())[other]
                moved = moved.with_leaf(other, replace(leaf, values=np.zeros_like(leaf.values)))
    return moved


def derived(trial: Trial, case: Case) -> Expected:
    """What a derivative of a linear operation must be: the operation itself, half types added in the half type."""
    error = trial.error
    if case.dtype in ("float16", "bfloat16"):
        error = replace(error, accumulates="input") if error else Error(accumulates="input")
    return replace(oracle.expected(trial.operation, replace(case, tier="exact"), error), signed_zeros=False)


def _gradgradcheck(trial: Trial, case: Case) -> None:
    if case.dtype not in ("float64", "complex128") or not 0 < case.elements <= 8:
        raise Unsuitable
    args, kwargs = case.plain.build(trial.device, requires_grad=True)
    tensors = [a.detach() for a in args if isinstance(a, torch.Tensor)]
    if not all(a.numel() and 1e-2 < float(a.abs().max()) < 1e2 for a in tensors):
        raise Unsuitable
    steps = f"{GRAD}torch.autograd.gradgradcheck(lambda *args: {CALL}, args)"
    with trial.limited(steps):
        try:
            torch.autograd.gradgradcheck(lambda *live: trial.function(*live, **kwargs), args)
        except Exception as error:
            raise Refuted(f"torch.autograd.gradgradcheck: {describe(error)}", steps=steps) from None
