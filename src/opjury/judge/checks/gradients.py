"""Gradients: of first and second order, and where they must be zero."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import UNIT_ROUNDOFF, Expected
from opjury.judge.trial import (
    GRAD,
    Refuted,
    Steps,
    Trial,
    Unsuitable,
    depends_on_any,
    describe,
    number,
    random_like,
    show,
)
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import HALF, is_floating
from opjury.model.exact import carrier, torch_dtype
from opjury.model.implementation import Error

SMALL = 40  # elements up to which whole Jacobians are computed
_SOME = 4  # elements of a larger argument at which locality is looked at

_SECOND = """\
out = f(*args, **kwargs)
w = torch.ones_like(out, requires_grad=True)
(g,) = torch.autograd.grad(out, {argument}, w, create_graph=True)
print(torch.autograd.grad(g.sum(), w))"""

_MIXED = """\
out = f(*args, **kwargs)
(g,) = torch.autograd.grad(out, {}, torch.ones_like(out), create_graph=True)
print(torch.autograd.grad(g.sum(), {}))"""


def argument(place: int | str) -> str:
    """An argument in a script."""
    return f"args[{place}]" if isinstance(place, int) else f"kwargs[{place!r}]"


def _incoming(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, tier: str) -> tuple[np.ndarray, Tensor]:
    """An incoming gradient: its values, and a recipe with contiguous, expanded, transposed, stepped or conjugated memory, or of zeros."""
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
    return values, Tensor(values, dtype, layout)


def _expand_fully(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1)[:1].clone().reshape([1] * tensor.ndim).expand(tensor.shape) if tensor.numel() else tensor


def check_gradient(trial: Trial, case: Case) -> None:
    """The gradient of ⟨w, f(x)⟩ equals Jᵀw, J computed from the reference: for all or some inputs, for any incoming w."""
    rng = np.random.default_rng(case.seed)
    places = case.differentiable
    chosen = [place for place in places if rng.integers(2)] or places if rng.integers(3) == 0 else places
    args, kwargs = case.build(trial.device, requires_grad=chosen)
    trial.in_flight = case
    out = _forward(trial, case, args, kwargs, chosen)
    shape = oracle.evaluate(trial.operation, case.plain).shape
    if (
        not isinstance(out, torch.Tensor)
        or tuple(out.shape) != shape
        or out.dtype != torch_dtype(oracle.result_dtype(trial.operation, case))
    ):
        raise Unsuitable
    live: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    weights, recipe = _incoming(rng, shape, str(out.dtype).removeprefix("torch."), case.tier)
    incoming = recipe.build(trial.device)
    incoming = _expand_fully(incoming) if recipe.layout == "expanded" else incoming
    if not out.requires_grad:
        if out.numel() == 0 or not depends_on_any(trial, case, chosen):
            raise Unsuitable
        raise Refuted(
            "the result has no gradient history although inputs require gradients",
            steps=GRAD + "print(f(*args, **kwargs).requires_grad)",
        )

    def steps() -> str:
        wanted = "[a for a in args if getattr(a, 'requires_grad', False)]"
        return f"{GRAD}w = {recipe.code()}\nout = f(*args, **kwargs)\nprint(torch.autograd.grad(out, {wanted}, w, allow_unused=True))"

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
            what = f"the gradient for {_name(trial, place)} has shape {tuple(grad.shape)} and dtype {grad.dtype}"
            raise Refuted(what, steps=steps)
        require_gradient(trial, case, place, weights, grad, rng, steps)
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
) -> None:
    """Refuted unless it is the gradient of ⟨w, f(x)⟩ for one argument: all of it, or some elements and the adjoint's law."""
    leaf, name = dict(case.leaves())[place], _name(trial, place)
    if leaf.values.size <= SMALL or trial.operation.kind == "movement" or trial.operation.gradient is not None:
        expected = oracle.expected_gradient(trial.operation, case.plain, place, weights, trial.error)
        trial.require(grad.reshape(-1), expected, f"{when}{name}.grad.flatten()", steps)
        return
    elements = np.unique(np.concatenate([[0, leaf.values.size - 1], rng.integers(0, leaf.values.size, 10)]))
    expected = oracle.expected_gradient(trial.operation, case.plain, place, weights, trial.error, elements)
    some = grad.reshape(-1)[torch.from_numpy(elements)]
    trial.require(some, expected, f"{when}{name}.grad.flatten()", steps, elements)
    _adjoint(trial, case, place, weights, grad, rng, steps)


def _forward(trial: Trial, case: Case, args: tuple[Any, ...], kwargs: dict[str, Any], chosen: list[Any]) -> Any:
    try:
        return trial.invoke(args, kwargs)
    except Exception as error:
        try:
            trial.invoke(*case.plain.build(trial.device))
        except Exception:
            raise Unsuitable from None
        raise Refuted(
            f"raises {describe(error)} when {', '.join(_name(trial, p) for p in chosen)} requires gradients",
            steps=GRAD + "f(*args, **kwargs)",
        ) from None


def _name(trial: Trial, place: int | str) -> str:
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
        absolute = moved.with_leaf(place, replace(leaf, values=np.abs(probe), layout="contiguous"))
        size = float(np.sum(np.abs(weights) * np.abs(oracle.evaluate(trial.operation, absolute))))
        if abs(left - right) > (64 + weights.size) * UNIT_ROUNDOFF[leaf.dtype] * size:
            raise Refuted(
                f"⟨w, f(v)⟩ is {left!r} but ⟨gradient, v⟩ is {right!r} for {_name(trial, place)}", steps=steps
            )


def _gradcheck(trial: Trial, case: Case, chosen: list[Any]) -> None:
    """A second opinion: torch.autograd.gradcheck, by finite differences in double precision."""
    args, kwargs = case.plain.build(trial.device, requires_grad=chosen)
    if any(isinstance(a, torch.Tensor) and not a.numel() for a in args):
        return  # torch takes empty tensors for overlapping ones

    def call(*live: Any) -> Any:
        return trial.function(*live, **kwargs)

    steps = GRAD + "torch.autograd.gradcheck(f, args)"
    with trial.limited(steps):
        try:
            torch.autograd.gradcheck(call, args, check_batched_grad=False, check_undefined_grad=True)
        except RuntimeError as error:
            raise Refuted(f"torch.autograd.gradcheck: {describe(error)}", steps=steps) from None


def check_second_order(trial: Trial, case: Case) -> None:
    """The gradient can be differentiated again, and that derivative is right."""
    rng = np.random.default_rng(case.seed)
    args, kwargs = case.build(trial.device, requires_grad=True)
    live: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    out = _forward(trial, case, args, kwargs, case.differentiable)
    if not out.requires_grad or not out.numel():
        raise Unsuitable
    dtype = str(out.dtype).removeprefix("torch.")
    if trial.operation.gradient is not None:
        return _gradgradcheck(trial, case)
    place = case.differentiable[int(rng.integers(len(case.differentiable)))]
    leaf = dict(case.leaves())[place]
    weights = random_like(rng, tuple(out.shape), dtype, "exact")
    w = Tensor(weights, dtype).build(trial.device, requires_grad=True)
    others = [p for p in case.differentiable if p != place and trial.operation.kind == "arithmetic"]
    direction = replace(leaf, values=random_like(rng, leaf.values.shape, leaf.dtype, "exact"), layout="contiguous")
    moved = along_direction(trial, case, place, direction)
    steps = GRAD + _SECOND.format(argument=argument(place))
    with trial.limited(steps):
        try:
            (grad,) = torch.autograd.grad(out, [live[place]], w, create_graph=True, allow_unused=True)
            if grad is None or not grad.requires_grad:
                if oracle.dependence(trial.operation, case.plain, place).any():
                    raise Refuted(f"the gradient for {_name(trial, place)} cannot be differentiated again", steps=steps)
                raise Unsuitable
            second, *mixed = torch.autograd.grad(
                grad, [w, *(live[other] for other in others)], direction.build(trial.device), allow_unused=True
            )
        except RuntimeError as error:
            raise Refuted(f"differentiating the gradient raises {describe(error)}", steps=steps) from None
    trial.require(
        torch.zeros_like(out) if second is None else second,
        derived(trial, moved),
        f"derivative of the gradient for {_name(trial, place)}",
        steps,
    )
    for other, found in zip(others, mixed, strict=True):
        found = torch.zeros_like(live[other]) if found is None else found
        steps = GRAD + _MIXED.format(argument(place), argument(other))
        when = f"differentiating the gradient for {_name(trial, place)}, "
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
    steps = GRAD + "torch.autograd.gradgradcheck(f, args)"
    with trial.limited(steps):
        try:
            torch.autograd.gradgradcheck(lambda *live: trial.function(*live, **kwargs), args)
        except RuntimeError as error:
            raise Refuted(f"torch.autograd.gradgradcheck: {describe(error)}", steps=steps) from None


def check_locality(trial: Trial, case: Case) -> None:
    """Where the reference does not depend on an input, a NaN there is harmless and the gradient exactly zero.

    Of large arguments a few elements are looked at.
    """
    case = case.plain
    rng = np.random.default_rng(case.seed)
    places = [p for p in case.differentiable if dict(case.leaves())[p].values.size]
    if not places or not is_floating(oracle.result_dtype(trial.operation, case)):
        raise Unsuitable
    place = places[int(rng.integers(len(places)))]
    leaf = dict(case.leaves())[place]
    elements = np.arange(leaf.values.size)
    if case.elements > SMALL:
        elements = rng.choice(elements, min(_SOME, elements.size), replace=False)
    depends = oracle.dependence(trial.operation, case, place, tuple(elements.tolist()))
    if depends.all():
        raise Unsuitable
    clean = oracle.expected(trial.operation, case, trial.error)
    before = trial.values(trial.call(case), clean)
    if before.shape != clean.value.shape:
        raise Unsuitable
    chosen = int(rng.choice(np.flatnonzero(~depends.reshape(len(depends), -1).all(1))))
    element = int(elements[chosen])
    values = leaf.values.copy().reshape(-1)
    poison = [np.nan, np.inf, values.dtype.type(2.0**14 if leaf.dtype == "float16" else 2.0**60)][int(rng.integers(3))]
    if leaf.dtype in HALF and trial.operation.kind == "arithmetic":
        poison = values.dtype.type(2.0**14)  # libraries' kernels for half types pad with zeros, and multiply by them
    values[element] = poison
    poisoned = case.with_leaf(place, replace(leaf, values=values.reshape(leaf.values.shape)))
    after = trial.values(trial.call(poisoned), clean)
    apart = ~depends[chosen]
    changed = np.flatnonzero((apart & ~((before == after) | (np.isnan(before) & np.isnan(after)))).ravel())
    if changed.size:
        at = np.unravel_index(int(changed[0]), after.shape)
        what = f"{_name(trial, place)} element {element} set to {number(poison)} changes result{[int(i) for i in at]}"
        raise Refuted(
            f"{what} from {number(before[at])} to {number(after[at])}, which does not depend on it",
            show(after),
            show(before),
            f"x = args[{place!r}]\nprint(f(*args, **kwargs))\n"
            f"x.reshape(-1)[{element}] = float('{float(poison.real)}')\nprint(f(*args, **kwargs))",
        )
    _local_gradient(trial, case, place, elements, depends, rng)


def _local_gradient(
    trial: Trial, case: Case, place: Any, elements: np.ndarray, depends: np.ndarray, rng: np.random.Generator
) -> None:
    if trial.implementation.gradient is None or not trial.operation.differentiable:
        return
    leaf = dict(case.leaves())[place]
    args, kwargs = case.build(trial.device, requires_grad=[place])
    out = _forward(trial, case, args, kwargs, [place])
    live = args[place] if isinstance(place, int) else kwargs[place]
    if not out.requires_grad or tuple(out.shape) != depends.shape[1:]:
        raise Unsuitable
    dtype = str(out.dtype).removeprefix("torch.")
    weights = random_like(rng, tuple(out.shape), dtype, "rounding")
    unspoiled = rng.integers(2) or (leaf.dtype in HALF and trial.operation.kind == "arithmetic")
    poisoned = np.zeros(0, int) if unspoiled else np.flatnonzero(rng.random(weights.size) < 0.3)
    weights.reshape(-1)[poisoned] = rng.choice([np.nan, np.inf])
    recipe = Tensor(weights, dtype)

    def steps() -> str:
        return f"{GRAD}w = {recipe.code()}\nprint(torch.autograd.grad(f(*args, **kwargs), {argument(place)}, w))"

    with trial.limited(steps):
        try:
            (grad,) = torch.autograd.grad(out, [live], recipe.build(trial.device), allow_unused=True)
        except Exception:
            raise Unsuitable from None
    if grad is None:
        return
    values = trial.values(grad, np.zeros(0, carrier(leaf.dtype))).ravel()[elements]
    reached = depends.reshape(len(depends), -1)

    def of_first(found: np.ndarray) -> str:
        return f"the gradient for {_name(trial, place)} element {int(elements[found[0]])}"

    leaking = np.flatnonzero(~reached.any(1) & (values != 0))
    if leaking.size:
        what = f"{of_first(leaking)} is {number(values[leaking[0]])}"
        raise Refuted(f"{what}; it should be exactly 0: no output depends on it", show(values), steps=steps)
    if not poisoned.size:
        return
    poison = number(weights.reshape(-1)[poisoned[0]])
    spread = np.flatnonzero(~reached[:, poisoned].any(1) & ~np.isfinite(values))
    if spread.size:
        what = f"an incoming {poison} makes {of_first(spread)} {number(values[spread[0]])}"
        raise Refuted(f"{what}; the outputs it came in at do not depend on that element", show(values), steps=steps)
    if trial.operation.gradient is None:
        slopes = reached if trial.operation.kind == "movement" else _slopes(trial, case, place, elements)
        masked = np.flatnonzero(slopes[:, poisoned].any(1) & np.isfinite(values))
        if masked.size:
            what = f"{of_first(masked)} is {number(values[masked[0]])}"
            raise Refuted(f"{what}; an output that it reaches has an incoming {poison}", show(values), steps=steps)


def _slopes(trial: Trial, case: Case, place: Any, elements: np.ndarray) -> np.ndarray:
    """Where the derivatives of the outputs by some elements are not zero: bool, (elements, outputs)."""
    matrix = oracle.jacobian(trial.operation, case, place, elements)
    return ((matrix.straight != 0) | (matrix.conjugate != 0)).reshape(len(elements), -1)
