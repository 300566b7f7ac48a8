"""Locality: elements of arguments that must have no influence, and gradients that must be zero."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import first_place
from opjury.judge.checks.gradients import SMALL, argument, argument_name, call_with_gradients, gradient_steps
from opjury.judge.checks.state import judged_elsewhere
from opjury.judge.text import number, show
from opjury.judge.trial import Refuted, Trial, Unsuitable, random_like
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import HALF, is_floating
from opjury.model.exact import carrier

_SOME = 4  # elements of a larger argument at which locality is checked

_POISONED = """\
before = f(*args, **kwargs).clone()
{0}.view(-1)[{1}] = float("{2}")
after = f(*args, **kwargs)
print("before:", before.tolist())
print("after: ", after.tolist())
assert before[{3}].isnan() or before[{3}] == after[{3}]"""


def check_locality(trial: Trial, case: Case) -> None:
    """Where the reference does not depend on an input, a NaN there is harmless and the gradient exactly zero.

    A few elements of large arguments are checked.
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
    kind = leaf.values.dtype.type
    poison = [np.nan, np.inf, kind(2.0**14 if leaf.dtype == "float16" else 2.0**60)][int(rng.integers(3))]
    if leaf.dtype in HALF and trial.operation.kind == "arithmetic":
        poison = kind(2.0**14)  # libraries' kernels for half types pad with zeros, and multiply by them
    after = trial.values(trial.call(oracle.with_values(case, place, element, poison)), clean)
    at = first_place(~depends[chosen] & ~((before == after) | (np.isnan(before) & np.isnan(after))))
    if at is not None:
        what = f"{argument_name(trial, place)} element {element} set to {number(poison)} changes result{list(at)}"
        raise Refuted(
            f"{what} from {number(before[at])} to {number(after[at])}, which does not depend on it",
            show(after),
            show(before),
            _POISONED.format(argument(place), element, poison.real, ", ".join(map(str, at)) or "()"),
        )
    _local_gradient(trial, case, place, elements, depends, rng)


def _local_gradient(
    trial: Trial, case: Case, place: Any, elements: np.ndarray, depends: np.ndarray, rng: np.random.Generator
) -> None:
    if trial.implementation.gradient is None or not trial.operation.differentiable:
        return
    leaf = dict(case.leaves())[place]
    args, kwargs = case.build(trial.device, requires_grad=[place])
    out = call_with_gradients(trial, case, args, kwargs, [place])
    live = args[place] if isinstance(place, int) else kwargs[place]
    if not out.requires_grad or tuple(out.shape) != depends.shape[1:]:
        raise Unsuitable
    dtype = str(out.dtype).removeprefix("torch.")
    weights = random_like(rng, tuple(out.shape), dtype, "rounding")
    unspoiled = rng.integers(2) or (leaf.dtype in HALF and trial.operation.kind == "arithmetic")
    poisoned = np.zeros(0, int) if unspoiled else np.flatnonzero(rng.random(weights.size) < 0.3)
    weights.reshape(-1)[poisoned] = rng.choice([np.nan, np.inf])
    incoming = case.drawn("incoming", Tensor(weights, dtype))
    weights = incoming.values
    poisoned = np.flatnonzero(~np.isfinite(weights))
    steps = functools.partial(gradient_steps, place, incoming, [place])
    with trial.timed(), judged_elsewhere():
        (grad,) = torch.autograd.grad(out, [live], incoming.build(trial.device), allow_unused=True)
    if grad is None:
        return
    values = trial.values(grad, np.zeros(0, carrier(leaf.dtype))).ravel()[elements]
    reached = depends.reshape(len(depends), -1)

    def refute_where(wrong: np.ndarray, message: str, right: str) -> None:
        """Refuted where an element of the gradient is wrong. `right` is what a script asserts of it."""
        found = np.flatnonzero(wrong)
        if not found.size:
            return
        element = int(elements[found[0]])
        gradient = f"the gradient for {argument_name(trial, place)} element {element}"
        raise Refuted(
            message.format(gradient=gradient, value=number(values[found[0]])),
            show(values),
            steps=f"{steps()}\nprint(result.tolist())\nassert result[{element}]{right}",
        )

    zero = "{gradient} is {value}; it should be exactly 0: no output depends on it"
    refute_where(~reached.any(1) & (values != 0), zero, " == 0")
    if not poisoned.size:
        return
    poison = number(weights.reshape(-1)[poisoned[0]])
    spread = (
        f"an incoming {poison} makes {{gradient}} {{value}}; the outputs it came in at do not depend on that element"
    )
    local = ~reached[:, poisoned].any(1) & ~np.isfinite(values)
    if trial.operation.gradient is not None:  # a derivative may be infinite by itself
        ones = np.ones(out.shape, carrier(dtype))
        bound = oracle.expected_gradient(trial.operation, case.plain, place, ones, trial.error).bound
        local &= np.isfinite(bound)[elements]
    refute_where(local, spread, ".isfinite()")
    if trial.operation.gradient is None:
        slopes = reached
        if trial.operation.kind != "movement":
            slopes = oracle.jacobian(trial.operation, case, place, elements).nonzero.reshape(len(elements), -1)
        masked = f"{{gradient}} is {{value}}; an output that it reaches has an incoming {poison}"
        refute_where(slopes[:, poisoned].any(1) & np.isfinite(values), masked, ".isfinite().logical_not()")
