"""Gradients of first and second order, and what scripts and messages say of them."""

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
from opjury.judge.checks.state import judged_elsewhere
from opjury.judge.replay import CALL, required
from opjury.judge.text import describe
from opjury.judge.trial import GRAD, Refuted, Steps, Trial, Unsuitable, depends_on_any, random_like, written
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import HALF
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
    """Lines of a script that compute the gradient for one argument, with `flat` as one row of elements."""
    gradient = f"torch.autograd.grad({CALL}, {argument(place)}, w, materialize_grads=True)"
    return f"{requiring(chosen)}w = {_code(incoming)}\n(result,) = {gradient}" + "\nresult = result.flatten()" * flat


def _incoming(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, tier: str) -> Tensor:
    """The recipe of an incoming gradient: contiguous, expanded, transposed, stepped or conjugated in memory, or all zeros."""
    values = random_like(rng, shape, dtype, tier)
    layout = str(rng.choice(["contiguous", "expanded", "transposed", "step", "zeros"], p=[0.35, 0.25, 0.15, 0.15, 0.1]))
    if layout == "contiguous" and dtype.startswith("complex") and rng.integers(2):
        layout = "conj"
    if layout == "zeros":
        return Tensor(np.zeros_like(values), dtype)
    if layout == "expanded" and values.size:  # from one element
        values = np.full_like(values, 1 if tier == "exact" else values.reshape(-1)[0] or 1)
    return Tensor(values, dtype, layout)


def _code(incoming: Tensor) -> str:
    """An incoming gradient as Python, where an expanded one keeps one element in memory."""
    if incoming.layout != "expanded" or not incoming.values.size:
        return incoming.code()
    first = incoming.values.reshape(-1)[:1].reshape([1] * incoming.values.ndim)
    return f"{replace(incoming, values=first, layout='contiguous').code()}.expand({incoming.shape})"


def incoming_in_message(incoming: Tensor) -> str:
    """An incoming gradient in a message, or "" where it is long."""
    code = _code(incoming)
    return f"where the incoming gradient is {code}" if len(code) <= _TOLD else ""


def check_gradient(trial: Trial, case: Case) -> None:
    """The gradient of ⟨w, f(x)⟩ equals Jᵀw with the reference's J, for all or some inputs and any incoming w."""
    rng = np.random.default_rng(case.seed)
    places = case.differentiable
    chosen = [place for place in places if rng.integers(2)] or places if rng.integers(3) == 0 else places
    args, kwargs = case.build(trial.device, requires_grad=chosen)
    trial.in_flight = case
    out = call_with_gradients(trial, case, args, kwargs, chosen)
    shape = oracle.evaluate(trial.operation, case.plain).shape
    dtype = oracle.result_dtype(trial.operation, case)
    if not isinstance(out, torch.Tensor) or tuple(out.shape) != shape or out.dtype != torch_dtype(dtype):
        raise Unsuitable
    live: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    recipe = case.drawn("incoming", _incoming(rng, shape, dtype, case.tier))
    incoming = recipe.build(trial.device)
    if recipe.layout == "expanded" and incoming.numel():  # along every dimension, as the gradient of a sum is
        incoming = incoming.reshape(-1)[:1].clone().reshape([1] * incoming.ndim).expand(incoming.shape)
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

    with trial.timed():
        try:
            inputs, retain = [live[place] for place in chosen], bool(rng.integers(2))
            grads = torch.autograd.grad(out, inputs, incoming, retain_graph=retain, materialize_grads=True)
        except Exception as error:
            raise Refuted(f"backward raises {describe(error)}", steps=steps) from None
    for place, grad in zip(chosen, grads, strict=True):
        if grad.shape != live[place].shape or grad.dtype != live[place].dtype:
            form = f"shape {tuple(grad.shape)} and dtype {grad.dtype}"
            same = f"assert (result.shape, result.dtype) == ({argument(place)}.shape, {argument(place)}.dtype)"
            taken = gradient_steps(place, recipe, chosen, flat=False)
            what = f"the gradient for {argument_name(trial, place)} has {form}"
            raise Refuted(what, steps=f"{taken}\nprint(result.shape, result.dtype)\n{same}")
        taken_flat = functools.partial(gradient_steps, place, recipe, chosen)
        given = functools.partial(incoming_in_message, recipe)
        require_gradient(trial, case, place, recipe.values, grad, rng, taken_flat, given=given)
    small = case.dtype in ("float64", "complex128") and 0 < case.elements <= 12 and out.numel() <= SMALL
    if small and case.tier == "exact" and case.seed % 4 == 0:
        options = dict(check_batched_grad=False, check_undefined_grad=True)
        _by_finite_differences(trial, case, chosen, "gradcheck", requiring(chosen), **options)


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
    """Refuted unless `grad` is the gradient of ⟨w, f(x)⟩ for one argument.

    All of a small one is compared; of a large one some elements, and ⟨gradient, v⟩ with ⟨w, f(v)⟩. `steps` compute it as `result`, all
    elements in a row. `when` and `given` stand before and behind the message.
    """
    leaf, what = dict(case.leaves())[place], f"{when}{argument_name(trial, place)}.grad.flatten()"
    if leaf.values.size <= SMALL or trial.operation.kind == "movement" or trial.operation.gradient is not None:
        expected = oracle.expected_gradient(trial.operation, case.plain, place, weights, trial.error)
        trial.require(grad.reshape(-1), expected, what, steps, given=given)
        return
    elements = np.unique(np.concatenate([[0, leaf.values.size - 1], rng.integers(0, leaf.values.size, 10)]))
    expected = oracle.expected_gradient(trial.operation, case.plain, place, weights, trial.error, elements)
    some = grad.reshape(-1)[torch.from_numpy(elements)]
    trial.require(some, expected, what, steps, elements, given)
    if case.tier != "exact" or trial.error is not None or case.dtype in HALF:
        return
    values = trial.values(grad, np.zeros(0, carrier(leaf.dtype)))
    for _ in range(3):  # ⟨w, f(v)⟩ = ⟨fᵀ(w), v⟩ for any v: an error anywhere in the gradient shows
        probe = rng.integers(-2, 3, leaf.values.shape).astype(carrier(leaf.dtype))
        moved = case.plain.with_leaf(place, replace(leaf, values=probe, layout="contiguous"))
        result = oracle.evaluate(trial.operation, moved)
        left, right = np.sum(np.conj(weights) * result).real, np.sum(np.conj(values) * probe).real
        bound = _adjoint_bound(trial, moved, weights)
        if abs(left - right) > bound:
            v = f"v = {Tensor(probe, leaf.dtype).code()}.to(torch.complex128).flatten()"
            summed = "result = (result.conj() * v).sum().real"
            raise Refuted(
                f"⟨w, f(v)⟩ is {left!r} but ⟨gradient, v⟩ is {right!r} for {argument_name(trial, place)}",
                steps=f"{written(steps)}\n{v}\n{summed}\n{required(Expected(np.asarray(left), bound=bound))}",
            )


def call_with_gradients(trial: Trial, case: Case, args: Any, kwargs: Any, chosen: list[Any]) -> Any:
    """The result for arguments that require gradients. Raises `Refuted` if the call raises only because they do."""
    try:
        return trial.invoke(args, kwargs)
    except Exception as error:
        with judged_elsewhere():
            trial.invoke(*case.plain.build(trial.device))
        raise Refuted(
            f"raises {describe(error)} when {', '.join(argument_name(trial, p) for p in chosen)} requires gradients",
            steps=requiring(chosen) + CALL,
        ) from None


def argument_name(trial: Trial, place: int | str) -> str:
    """An argument's name in the reference."""
    if isinstance(place, str):
        return place
    parameters = list(inspect.signature(trial.operation.reference).parameters.values())
    last = len(parameters) - 1
    if parameters[min(place, last)].kind is inspect.Parameter.VAR_POSITIONAL:
        return f"{parameters[last].name}[{place - last}]"
    return parameters[place].name


def _adjoint_bound(trial: Trial, moved: Case, weights: np.ndarray) -> float:
    """How far ⟨gradient, v⟩ of a right gradient may be from ⟨w, f(v)⟩, where v is an argument of the case `moved`.

    An element of the gradient is a sum over at most all outputs, so that its error is at most a bound's for Σ_i|J_ij·w_i|. Weighted with
    |v_j| and added up, that is the bound for ⟨|w|, Σ_j|J_ij·v_j|⟩. The product with v is summed in float64.
    """
    size = float(np.sum(np.abs(weights) * oracle.magnitude(trial.operation, moved)))
    terms = weights.size + trial.operation.roundings + 1
    of_gradient = error_bound(np.asarray(size), size, terms, moved.dtype, roundings=2, accumulates="input")
    return float(of_gradient + 5**0.5 * gamma(moved.elements + 1, UNIT_ROUNDOFF["float64"]) * size)


def _by_finite_differences(
    trial: Trial, case: Case, places: list[Any], check: str, before: str, **options: bool
) -> None:
    """A second opinion: torch.autograd.gradcheck or gradgradcheck, in double precision. `before` are lines of a script."""
    args, kwargs = case.plain.build(trial.device, requires_grad=places)
    if any(isinstance(a, torch.Tensor) and not a.numel() for a in args):
        return  # torch takes empty tensors for overlapping ones
    steps = f"{before}torch.autograd.{check}(lambda *args: {CALL}, args)"
    with trial.timed():
        try:
            getattr(torch.autograd, check)(lambda *live: trial.function(*live, **kwargs), args, **options)
        except Exception as error:
            raise Refuted(f"torch.autograd.{check}: {describe(error)}", steps=steps) from None


def check_second_order(trial: Trial, case: Case) -> None:
    """The gradient can be differentiated again, and that derivative is right."""
    rng = np.random.default_rng(case.seed)
    args, kwargs = case.build(trial.device, requires_grad=True)
    live: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    out = call_with_gradients(trial, case, args, kwargs, case.differentiable)
    if not out.requires_grad or not out.numel():
        raise Unsuitable
    dtype = str(out.dtype).removeprefix("torch.")
    if trial.operation.gradient is not None:
        tensors = [a for a in case.plain.build(trial.device)[0] if isinstance(a, torch.Tensor)]
        small = case.dtype in ("float64", "complex128") and 0 < case.elements <= 8
        if not small or not all(a.numel() and 1e-2 < float(a.abs().max()) < 1e2 for a in tensors):
            raise Unsuitable
        return _by_finite_differences(trial, case, case.differentiable, "gradgradcheck", GRAD)
    place = case.differentiable[int(rng.integers(len(case.differentiable)))]
    leaf = dict(case.leaves())[place]
    incoming = case.drawn("incoming", Tensor(random_like(rng, tuple(out.shape), dtype, "exact"), dtype))
    weights = incoming.values
    w = incoming.build(trial.device, requires_grad=True)
    others = [p for p in case.differentiable if p != place and trial.operation.kind == "arithmetic"]
    made = replace(leaf, values=random_like(rng, leaf.values.shape, leaf.dtype, "exact"), layout="contiguous")
    direction = case.drawn("direction", made)
    moved = along_direction(trial, case, place, direction)
    gradient = f"the gradient for {argument_name(trial, place)}"

    def once() -> str:
        w = f"w = {incoming.code()}.requires_grad_()"
        taken = f"torch.autograd.grad({CALL}, {argument(place)}, w, create_graph=True, materialize_grads=True)"
        return f"{GRAD}{w}\n(grad,) = {taken}\n"

    def again(by: str = "w") -> str:
        along = f"direction = {direction.code()}\n"
        return f"{once()}{along}(result,) = torch.autograd.grad(grad, {by}, direction, materialize_grads=True)"

    with trial.timed():
        try:
            (grad,) = torch.autograd.grad(out, [live[place]], w, create_graph=True, allow_unused=True)
            if grad is None or not grad.requires_grad:
                if oracle.dependence(trial.operation, case.plain, place).any():
                    asserted = f"{once()}assert grad.requires_grad"
                    raise Refuted(f"{gradient} cannot be differentiated again", steps=asserted)
                raise Unsuitable
            inputs = [w, *(live[other] for other in others)]
            second, *mixed = torch.autograd.grad(grad, inputs, direction.build(trial.device), materialize_grads=True)
        except RuntimeError as error:
            raise Refuted(f"differentiating the gradient raises {describe(error)}", steps=again) from None
    trial.require(second, expected_derivative(trial, moved), f"derivative of {gradient}", again)
    for other, found in zip(others, mixed, strict=True):

        def steps(other: int | str = other) -> str:
            return f"{again(argument(other))}\nresult = result.flatten()"

        require_gradient(trial, moved, other, weights, found, rng, steps, f"differentiating {gradient}, ")
    return None


def along_direction(trial: Trial, case: Case, place: Any, direction: Tensor) -> Case:
    """The case whose result is the derivative of one argument along a direction.

    The direction replaces the argument. An arithmetic operation is linear in each argument, so that the others stay; a movement is
    linear in all together, so that the others become zero.
    """
    moved = case.plain
    if trial.operation.kind == "movement":
        for other in case.differentiable:
            moved = oracle.with_values(moved, other, slice(None), 0)
    return moved.with_leaf(place, direction)


def expected_derivative(trial: Trial, case: Case) -> Expected:
    """The right derivative of a linear operation: the operation itself, with half types added in the half type."""
    error = trial.error
    if case.dtype in HALF:
        error = replace(error, accumulates="input") if error else Error(accumulates="input")
    return replace(oracle.expected(trial.operation, replace(case, tier="exact"), error), signed_zeros=False)
