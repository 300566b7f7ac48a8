"""Shrinking the values of a failing case: hypothesis has shrunk its structure, its numbers came from a seed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from opjury.case import Case, Tensor


class Allowance:
    """Seconds of processor time, so that what is found does not hang on what else runs; ten times as much by the clock."""

    def __init__(self, seconds: float) -> None:
        self._processor = time.process_time() + seconds
        self._clock = time.monotonic() + 10 * seconds

    @property
    def spent(self) -> bool:
        """Whether nothing is left."""
        return time.process_time() > self._processor or time.monotonic() > self._clock


def minimise(case: Case, fails: Callable[[Case], bool], seconds: float) -> Case:
    """The simplest case found in the given time for which `fails` is true: plain layout, then zeros, ones, smaller numbers."""
    allowance = Allowance(seconds)
    improved = True
    while improved and not allowance.spent:
        improved = False
        for candidate in _simpler(case):
            if allowance.spent:
                break
            if fails(candidate):
                case, improved = candidate, True
                break
    return case


def complexity(case: Case) -> tuple[float, ...]:
    """Orders cases from simple to complicated: elements, layouts, non-zeros, digits."""
    tensors = [leaf for _, leaf in case.leaves() if isinstance(leaf, Tensor)]
    values = np.concatenate([np.abs(t.values.astype(complex)).ravel() for t in tensors]) if tensors else np.zeros(0)
    finite = values[np.isfinite(values)]
    others = sum(abs(int(v)) for _, v in case.leaves() if type(v) is int or isinstance(v, np.integer))
    return (
        values.size + float(others),
        sum(t.layout != "contiguous" for t in tensors),
        float(np.count_nonzero(values)),
        float(np.sum(np.log2(1 + finite))),
    )


def _simpler(case: Case) -> Iterator[Case]:
    for place, leaf in case.leaves():
        if not isinstance(leaf, Tensor) or not leaf.data:
            continue
        if leaf.layout != "contiguous":
            yield case.with_leaf(place, replace(leaf, layout="contiguous"))
        yield from (case.with_leaf(place, replace(leaf, values=values)) for values in _simpler_values(leaf))


def _simpler_values(leaf: Tensor) -> Iterator[np.ndarray]:
    values = leaf.values
    size = values.size
    if not size:
        return
    flat = values.reshape(-1)
    simple = [np.zeros_like(values), np.ones_like(values)]
    if np.count_nonzero(values != 0) and not any(np.array_equal(values, s) for s in simple):
        yield from simple
    blocks = [(start, start + width) for width in _halvings(size) for start in range(0, size, width)]
    for start, end in blocks[:64] if leaf.layout != "expanded" else []:
        part = flat[start:end]
        for target in (0, 1) if end - start == 1 else (0,):
            if _further(part, target):
                changed = flat.copy()
                changed[start:end] = target
                yield changed.reshape(values.shape)
    with np.errstate(all="ignore"):
        rounded = np.rint(flat) if flat.dtype.kind == "f" else flat
    if flat.dtype.kind == "f" and not np.array_equal(rounded, flat, equal_nan=True):
        yield rounded.reshape(values.shape)


def _halvings(size: int) -> list[int]:
    widths = []
    while size > 1:
        size = (size + 1) // 2
        widths.append(size)
    return widths or [1]


def _further(part: np.ndarray, target: int) -> bool:
    """Whether setting the part to the target makes it simpler: 0 is simplest, then 1, then the rest."""
    if target == 0:
        return bool(np.any(part != 0))
    return bool(np.any((part != 0) & (part != 1)))
