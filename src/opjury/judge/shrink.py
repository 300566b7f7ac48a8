"""Making a failing case smaller: fewer elements, lower counts, a plainer layout and dtype, simpler values.

Elements are taken away, and the others stay as they are. Nobody drew such a case: whoever calls says whether it is a legal one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from opjury.judge.shrink_steps import (
    fewer_arguments,
    fewer_axes,
    fewer_elements,
    lower_counts,
    numbers_in,
    other_axes,
    plainer,
    simpler_dtypes,
    simpler_values,
)
from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case

_LARGE = 2048  # elements up to which a case counts as one


def shrink(
    case: Case,
    fails: Callable[[Case], bool],
    steps: int,
    *,
    change: Literal["all", "values", "form"] = "all",
    rounding: bool = False,
    dtypes: tuple[str, ...] = (),
) -> Case:
    """The simplest case found for which `fails` is true.

    Parameters
    ----------
    case : Case
    fails : callable
        Whether a case is legal and fails.
    steps : int
        How many cases may be tried; a large one counts as several.
    change : {"all", "values", "form"}
        What may change: everything, the values and the form, or the form alone, which is dtype and layout.
    rounding : bool
        Whether a case of the exact tier may become one of the rounding tier: not every size has exact results.
    dtypes : tuple of str
        Those that the case may change to, the simplest first.

    Returns
    -------
    Case
        Every step of the way to it was simpler than the one before, so that this ends.
    """
    tried: set[bytes] = set()
    left = float(steps)

    def step(case: Case, simpler: Callable[[Case], Iterator[Case]], others: bool) -> Case | None:
        nonlocal left
        for candidate in simpler(case):
            for again in (candidate, *(_others(candidate, rounding) if others else ())):
                if left <= 0:
                    return None
                if (key := _fingerprint(again)) not in tried:
                    tried.add(key)
                    left -= max(1.0, again.elements / _LARGE)
                    if _can_be_built(again) and fails(again):
                        return again
        return None

    form: tuple[Callable[[Case], Iterator[Case]], ...] = (plainer, lambda case: simpler_dtypes(case, dtypes))
    structure = (fewer_elements, lower_counts, other_axes, fewer_arguments, fewer_axes)
    ways = {"all": (*structure, *form, simpler_values), "values": (*form, simpler_values), "form": form}[change]
    for others in (False, True):
        improved = True
        while improved and left > 0:
            improved = False
            for way in ways:
                while (simpler := step(case, way, others)) is not None:
                    case, improved = simpler, True
    return case


def _can_be_built(case: Case) -> bool:
    """Whether what is expanded in memory has equal rows."""
    return all(
        leaf.values.ndim == 0
        or np.array_equal(leaf.values, np.broadcast_to(leaf.values[:1], leaf.shape), equal_nan=True)
        for _, leaf in case.leaves()
        if isinstance(leaf, Tensor) and leaf.layout == "expanded"
    )


def _others(case: Case, rounding: bool) -> Iterator[Case]:
    """The same arguments, where what a check draws beside them has to be another, or results cannot be exact."""
    yield from (replace(case, seed=seed) for seed in range(3))
    if rounding and case.tier == "exact":
        yield replace(case, tier="rounding")


def complexity(case: Case) -> tuple[float, ...]:
    """Orders cases from simple to complicated: elements, sides and counts; then layouts, non-zeros, digits."""
    arrays = [leaf for _, leaf in case.leaves() if isinstance(leaf, (Tensor, Sparse))]
    values = np.concatenate([np.abs(t.values.astype(complex)).ravel() for t in arrays]) if arrays else np.zeros(0)
    finite = values[np.isfinite(values)]
    counts = [number for _, leaf in case.leaves() for number in numbers_in(leaf)]
    return (
        float(values.size + sum(sum(t.shape) for t in arrays) + sum(map(abs, counts)) + len(counts)),
        sum(t.layout != "contiguous" for t in arrays),
        float(np.count_nonzero(values)),
        float(np.sum(np.log2(1 + finite))),
    )


def _fingerprint(case: Case) -> bytes:
    parts: list[tuple[Any, ...]] = []
    for place, leaf in case.leaves():
        if isinstance(leaf, Tensor):
            parts.append((place, leaf.shape, leaf.dtype, leaf.layout, leaf.values.tobytes()))
        elif isinstance(leaf, Sparse):
            places = tuple(part.tobytes() for part in leaf.places)
            form = (leaf.format, leaf.container, leaf.index_dtype, leaf.dtype, leaf.shape)
            parts.append((place, *form, leaf.values.shape, leaf.values.tobytes(), places))
        else:
            parts.append((place, type(leaf).__name__, repr(leaf)))
    return hashlib.sha256(repr((case.seed, case.tier, parts)).encode()).digest()
