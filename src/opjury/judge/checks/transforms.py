"""The transformations of torch.func: forward mode and batching."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import UNIT_ROUNDOFF, Expected, gamma
from opjury.judge.checks.gradients import SMALL, along_direction, argument, expected_derivative
from opjury.judge.checks.state import judged_elsewhere
from opjury.judge.replay import required
from opjury.judge.text import describe
from opjury.judge.trial import Refuted, Trial, Unsuitable, random_like
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.exact import carrier


def check_forward_mode(trial: Trial, case: Case) -> None:
    """torch.func.jvp gives the directional derivative."""
    rng = np.random.default_rng(case.seed)
    args, kwargs = case.plain.build(trial.device)
    if not case.differentiable:
        raise Unsuitable
    place = case.differentiable[int(rng.integers(len(case.differentiable)))]
    leaf = dict(case.leaves())[place]
    made = replace(leaf, values=random_like(rng, leaf.values.shape, leaf.dtype, "exact"), layout="contiguous")
    direction = case.drawn("direction", made)
    along = _of_one(trial, args, kwargs, place)

    def steps() -> str:
        taken = f"torch.func.jvp(lambda x: {_with_x(place)}, ({argument(place)},), (direction,))[1]"
        return f"direction = {direction.code()}\nresult = {taken}"

    with trial.timed():
        try:
            tangent = torch.func.jvp(along, (leaf.build(trial.device),), (direction.build(trial.device),))[1]
        except Exception as error:
            with judged_elsewhere():
                trial.invoke(*case.plain.build(trial.device))
            raise Refuted(f"torch.func.jvp raises {describe(error)}", steps=steps) from None
    if trial.operation.gradient is None:
        moved = along_direction(trial, case, place, direction)
        return trial.require(tangent, expected_derivative(trial, moved), "tangent", steps)
    dtype = oracle.result_dtype(trial.operation, case)
    weights = case.drawn("weights", Tensor(random_like(rng, tuple(tangent.shape), dtype, "exact"), dtype)).values
    expected = oracle.expected_gradient(trial.operation, case.plain, place, weights, trial.error)
    kind = carrier(leaf.dtype) if tangent.is_complex() else np.dtype(float)
    direct = trial.values(tangent, np.zeros(0, kind))
    flat = direction.values.ravel()
    left, right = np.sum(np.conj(weights) * direct).real, np.sum(np.conj(expected.value) * flat).real
    changed = flat != 0  # an infinite bound elsewhere does not matter
    # A tangent is the transpose of a gradient: its error, weighted with |w|, is at most the gradient's, weighted with the direction.
    reach = float(np.sum(np.asarray(expected.bound)[changed] * np.abs(flat[changed])))
    if not np.isfinite(reach):
        raise Unsuitable
    sides = (weights, direct), (expected.value, flat)
    sums = (gamma(one.size + 1, UNIT_ROUNDOFF["float64"]) * np.sum(np.abs(one) * np.abs(other)) for one, other in sides)
    slack = reach + 5**0.5 * float(sum(sums))
    if not abs(left - right) <= slack:
        summed = f"w = {Tensor(weights, dtype).code()}\nresult = (w.conj() * result).sum().real"
        asserted = required(Expected(np.asarray(right), bound=slack))
        raise Refuted(f"⟨w, tangent⟩ is {left!r}; it should be {right!r}", steps=f"{steps()}\n{summed}\n{asserted}")
    return None


def check_vmap(trial: Trial, case: Case) -> None:
    """torch.func.vmap over a data argument gives the stacked results."""
    rng = np.random.default_rng(case.seed)
    places = [place for place, leaf in case.leaves() if isinstance(leaf, Tensor) and leaf.data]
    if not places or case.elements > 4 * SMALL:
        raise Unsuitable
    place = places[int(rng.integers(len(places)))]
    leaf = replace(dict(case.leaves())[place], layout="contiguous")
    turned = leaf.values[::-1].copy() if leaf.values.ndim else leaf.values
    # Reversed, the batch has other rows, so that reading it from its end shows.
    batch = [replace(leaf, values=values) for values in (leaf.values, turned, turned)]
    args, kwargs = case.plain.build(trial.device)
    stacked = torch.stack([row.build(trial.device) for row in batch])
    one = _of_one(trial, args, kwargs, place)

    def steps(row: str = "") -> str:
        rows = ", ".join(each.code() for each in batch)
        return f"result = torch.func.vmap(lambda x: {_with_x(place)})(torch.stack([{rows}])){row}"

    with trial.timed():
        try:
            results = torch.func.vmap(one)(stacked)
        except Exception as error:
            with judged_elsewhere():
                trial.invoke(*case.plain.build(trial.device))
            raise Refuted(f"torch.func.vmap raises {describe(error)}", steps=steps) from None
    for number, row in enumerate(batch):
        expected = oracle.expected(trial.operation, case.plain.with_leaf(place, row), trial.error)
        trial.require(results[number], expected, f"row {number} of the batch", functools.partial(steps, f"[{number}]"))


def _of_one(
    trial: Trial, args: tuple[Any, ...], kwargs: dict[str, Any], place: int | str
) -> Callable[[torch.Tensor], Any]:
    """The call as a function of one argument."""
    return lambda x: trial.function(
        *(x if i == place else a for i, a in enumerate(args)),
        **{k: x if k == place else v for k, v in kwargs.items()},
    )


def _with_x(place: int | str) -> str:
    """The same in a script."""
    if isinstance(place, int):
        return f"f(*args[:{place}], x, *args[{place + 1}:], **kwargs)"
    return f"f(*args, **{{**kwargs, {place!r}: x}})"
