"""What does not depend on what: elements that must have no influence, and gradients that must be zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.checks.gradients import SMALL, argument, forward, gradient_steps, name
from opjury.judge.text import number, show
from opjury.judge.trial import Refuted, Trial, Unsuitable, random_like
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import HALF, is_floating
from opjury.model.exact import carrier

_SOME = 4  # elements of a larger argument at which locality is looked at

_POISONED = """\
before = f(*args, **kwargs).clone()
{0}.view(-1)[{1}] = float("{2}")
after = f(*args, **kwargs)
print("before:", before.tolist())
print("after: ", after.tolist())
assert before[{3}].isnan() or before[{3}] == after[{3}]"""


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
        what = f"{name(trial, place)} element {element} set to {number(poison)} changes result{[int(i) for i in at]}"
        raise Refuted(
            f"{what} from {number(before[at])} to {number(after[at])}, which does not depend on it",
            show(after),
            show(before),
            _POISONED.format(argument(place), element, poison.real, ", ".join(map(str, at))),
        )
    _local_gradient(trial, case, place, elements, depends, rng)


def _local_gradient(
    trial: Trial, case: Case, place: Any, elements: np.ndarray, depends: np.ndarray, rng: np.random.Generator
) -> None:
    if trial.implementation.gradient is None or not trial.operation.differentiable:
        return
    leaf = dict(case.leaves())[place]
    args, kwargs = case.build(trial.device, requires_grad=[place])
    out = forward(trial, case, args, kwargs, [place])
    live = args[place] if isinstance(place, int) else kwargs[place]
    if not out.requires_grad or tuple(out.shape) != depends.shape[1:]:
        raise Unsuitable
    dtype = str(out.dtype).removeprefix("torch.")
    weights = random_like(rng, tuple(out.shape), dtype, "rounding")
    unspoiled = rng.integers(2) or (leaf.dtype in HALF and trial.operation.kind == "arithmetic")
    poisoned = np.zeros(0, int) if unspoiled else np.flatnonzero(rng.random(weights.size) < 0.3)
    weights.reshape(-1)[poisoned] = rng.choice([np.nan, np.inf])
    recipe = Tensor(weights, dtype)

    def steps(found: np.ndarray, right: str) -> str:
        taken = gradient_steps(place, recipe, [place])
        return f"{taken}\nprint(result.tolist())\nassert result[{int(elements[found[0]])}]{right}"

    with trial.limited(lambda: gradient_steps(place, recipe, [place])):
        try:
            (grad,) = torch.autograd.grad(out, [live], recipe.build(trial.device), allow_unused=True)
        except Exception:
            raise Unsuitable from None
    if grad is None:
        return
    values = trial.values(grad, np.zeros(0, carrier(leaf.dtype))).ravel()[elements]
    reached = depends.reshape(len(depends), -1)

    def of_first(found: np.ndarray) -> str:
        return f"the gradient for {name(trial, place)} element {int(elements[found[0]])}"

    leaking = np.flatnonzero(~reached.any(1) & (values != 0))
    if leaking.size:
        what = f"{of_first(leaking)} is {number(values[leaking[0]])}"
        raise Refuted(
            f"{what}; it should be exactly 0: no output depends on it", show(values), steps=steps(leaking, " == 0")
        )
    if not poisoned.size:
        return
    poison = number(weights.reshape(-1)[poisoned[0]])
    spread = np.flatnonzero(~reached[:, poisoned].any(1) & ~np.isfinite(values))
    if spread.size:
        what = f"an incoming {poison} makes {of_first(spread)} {number(values[spread[0]])}"
        right = steps(spread, ".isfinite()")
        raise Refuted(f"{what}; the outputs it came in at do not depend on that element", show(values), steps=right)
    if trial.operation.gradient is None:
        slopes = reached if trial.operation.kind == "movement" else _slopes(trial, case, place, elements)
        masked = np.flatnonzero(slopes[:, poisoned].any(1) & np.isfinite(values))
        if masked.size:
            what = f"{of_first(masked)} is {number(values[masked[0]])}"
            right = steps(masked, ".isfinite().logical_not()")
            raise Refuted(f"{what}; an output that it reaches has an incoming {poison}", show(values), steps=right)


def _slopes(trial: Trial, case: Case, place: Any, elements: np.ndarray) -> np.ndarray:
    """Where the derivatives of the outputs by some elements are not zero: bool, (elements, outputs)."""
    matrix = oracle.jacobian(trial.operation, case, place, elements)
    return ((matrix.straight != 0) | (matrix.conjugate != 0)).reshape(len(elements), -1)
