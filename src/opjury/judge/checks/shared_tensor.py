"""Determinism where one tensor is given for two arguments."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import UNIT_ROUNDOFF
from opjury.judge.checks.gradients import SMALL, incoming_told
from opjury.judge.text import describe
from opjury.judge.trial import Refuted, Trial, as_another, random_like
from opjury.model.arguments import Tensor
from opjury.model.case import Case

_MOST_GIVEN_TWICE = 500  # elements of the result: two long vectors make a large matrix


def require_shared_tensor(trial: Trial, case: Case) -> None:
    """One tensor given for two arguments is as good as two equal ones, and has the sum of their gradients."""
    found = _with_equal_arguments(trial, replace(case.plain, tier="rounding"))
    if found is None:
        return
    equal, first, second = found
    try:
        expected = oracle.expected(trial.operation, equal, trial.error)
        apart = trial.values(trial.call(equal), expected)
    except Exception:  # no legal call, or agreement judges that
        return
    texts, named = equal.texts()
    texts[first] = texts[second] = "x"
    call = f"f({', '.join([*texts, *(f'{name}={text}' for name, text in named.items())])})"
    built, what = f"x = {equal.args[first].code()}\n", f"with one tensor as arguments {first + 1} and {second + 1}"
    steps = f"{built}result = {call}"
    try:
        out = trial.invoke(*_shared(equal, first, second, trial.device))
    except Exception as error:
        raise Refuted(f"raises {describe(error)} {what}", steps=steps) from None
    trial.require(out, as_another(apart, expected), f"{what}, result", steps, other=f"f({equal.code()})")
    if trial.implementation.gradient is None or first not in equal.differentiable or equal.elements > SMALL:
        return
    args, kwargs = _shared(equal, first, second, trial.device, requires_grad=True)
    weights = random_like(np.random.default_rng(case.seed), expected.value.shape, expected.dtype, "exact")
    w = Tensor(weights, expected.dtype)

    def steps_back() -> str:
        taken = f"(result,) = torch.autograd.grad({call}, x, w, materialize_grads=True)"
        return f"{built}x.requires_grad_()\nw = {w.code()}\n{taken}\nresult = result.flatten()"

    with trial.limited(steps_back):
        try:
            out = trial.invoke(args, kwargs)
            (gradient,) = torch.autograd.grad(out, [args[first]], w.build(trial.device), allow_unused=True)
        except Exception:
            return  # the check of the gradient judges that
    gradient = torch.zeros_like(args[first]) if gradient is None else gradient
    parts = [oracle.expected_gradient(trial.operation, equal, place, weights, trial.error) for place in (first, second)]
    total = parts[0].value + parts[1].value
    rounding = 2 * UNIT_ROUNDOFF[parts[0].dtype] * (np.abs(parts[0].value) + np.abs(parts[1].value))
    both = replace(parts[0], value=total, bound=parts[0].bound + parts[1].bound + rounding)
    trial.require(
        gradient.reshape(-1), both, f"{what}, x.grad.flatten()", steps_back, given=functools.partial(incoming_told, w)
    )


def _shared(
    case: Case, first: int, second: int, device: str, requires_grad: bool = False
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Live arguments, the first tensor in the place of the second."""
    args, kwargs = case.build(device, requires_grad)
    return tuple(args[first] if place == second else each for place, each in enumerate(args)), kwargs


def _with_equal_arguments(trial: Trial, case: Case) -> tuple[Case, int, int] | None:
    """The case with the first of its tensors that makes a legal call in the place of another one too, and the two places."""
    tensors = [place for place, leaf in enumerate(case.args) if isinstance(leaf, Tensor) and leaf.data]
    for first, second in permutations(tensors, 2):
        equal = case.with_leaf(second, case.args[first])
        with contextlib.suppress(Exception):
            result = oracle.evaluate(trial.operation, equal)
            if result.size <= _MOST_GIVEN_TWICE and trial.implementation.claims(equal.wide):
                return equal, first, second
    return None
