"""Making a failing case smaller: fewer elements, lower counts, a plainer layout and dtype, simpler values.

Elements are taken away, and the others stay as they are. The contract did not draw such a case: `Legal` tells whether it is a legal call.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import numpy as np

from opjury.judge.draw import Kind, stream
from opjury.judge.shrink_steps import (
    fewer_arguments,
    fewer_axes,
    fewer_elements,
    lower_counts,
    numbers_in,
    other_axes,
    plainer,
    simpler_beside,
    simpler_dtypes,
    simpler_values,
)
from opjury.judge.time_limit import Pace, TimeLimitExceeded
from opjury.judge.trial import Trial
from opjury.model import registry
from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case
from opjury.model.check import Check
from opjury.model.operation import TIERS

_LARGE = 2048  # elements up to which a case counts as one
_DRAWN = 128  # cases by which dimensions and smallest sizes are known


def shrink(
    case: Case,
    fails: Callable[[Case], bool],
    steps: int,
    *,
    change: Literal["all", "values", "form", "beside"] = "all",
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
    change : {"all", "values", "form", "beside"}
        What may change: all of the arguments, their values and form, their form alone, which is dtype and layout, or what the check
        used beside them.
    rounding : bool
        Whether a case of the exact tier may become one of the rounding tier: not every size has exact results.
    dtypes : tuple of str
        Those that the case may change to, the simplest first.

    Returns
    -------
    Case
        Each step to it was simpler than the one before, so that shrinking ends.
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
    values = (*form, simpler_values)
    ways = {"all": (*structure, *values), "values": values, "form": form, "beside": (simpler_beside,)}[change]
    for others in (False, True):
        improved = True
        while improved and left > 0:
            improved = False
            for way in ways:
                while (simpler := step(case, way, others)) is not None:
                    case, improved = simpler, True
    return case


def _can_be_built(case: Case) -> bool:
    """Whether tensors of the layout "expanded" have equal rows, and equal elements where a check expands them in all dimensions."""
    if any(used.layout == "expanded" and np.unique(used.values).size > 1 for used in case.beside.values()):
        return False
    return all(
        leaf.values.ndim == 0
        or np.array_equal(leaf.values, np.broadcast_to(leaf.values[:1], leaf.shape), equal_nan=True)
        for _, leaf in case.leaves()
        if isinstance(leaf, Tensor) and leaf.layout == "expanded"
    )


def _others(case: Case, rounding: bool) -> Iterator[Case]:
    """The same arguments with other seeds, from which a check draws the rest, and in the rounding tier, since few sizes have exact results."""
    yield from (replace(case, seed=seed) for seed in range(3))
    if rounding and case.tier == "exact":
        yield replace(case, tier="rounding")


def complexity(case: Case) -> tuple[float, ...]:
    """Orders cases from simple to complicated: by elements, sides and counts, then by layouts, non-zeros and digits."""
    arrays = list(_arrays(case))
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
    """Equal for equal cases, and much faster than JSON for large ones."""
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
    beside = [(name, used.layout, used.values.tobytes()) for name, used in case.beside.items()]
    return hashlib.sha256(repr((case.seed, case.tier, parts, beside)).encode()).digest()


class Legal:
    """Tells whether a call that was not drawn is as legal, or as illegal, as the call from which it is derived.

    Its arguments must have dimensions, smallest sizes and largest values that the contract draws, and zeros only where it draws some.
    In the exact and the rounding tier they and the result must be finite. The reference must take them, and a right competitor must treat it as it
    treats the call from which it is derived.

    Parameters
    ----------
    trial : Trial
    check : Check
    kind : Kind
        What is drawn for the check.
    case : Case
        The call from which the others are derived.
    known : bool
        Whether that call was drawn.

    Attributes
    ----------
    witness : Trial or None
        The right competitor; None where there is none.
    """

    def __init__(self, trial: Trial, check: Check, kind: Kind, case: Case, *, known: bool = True) -> None:
        self._trial, self._check = trial, check
        self.witness = next((each for each in self._competitors(case) if self._treats(each, case)), None)
        self._smallest: dict[Any, float] = {}
        drawn = islice(stream(kind.without_boundaries), _DRAWN)
        for each in (*([case] if known else []), *trial.operation.examples, *drawn):
            for key, value in _extents(each):
                self._smallest[key] = min(value, self._smallest.get(key, value))

    def __call__(self, case: Case) -> bool:
        """Whether a case is as legal, or as illegal, as the call from which it is derived."""
        if case.tier in TIERS and not all(np.isfinite(leaf.values).all() for leaf in _arrays(case)):
            return False
        if any(value < self._smallest.get(key, value + 1) for key, value in _extents(case)):
            return False
        if case.tier == "illegal":
            return self.witness is not None and self._treats(self.witness, case)
        try:
            with np.errstate(all="ignore"):
                args, kwargs = case.wide("float")
                result = np.asarray(self._trial.operation.reference(*args, **kwargs))
            if case.tier in TIERS and result.dtype.kind in "fc" and not np.isfinite(result).all():
                return False
            if not self._trial.in_domain(case):
                return False
        except Exception:
            return False
        return self.witness is None or self._treats(self.witness, case)

    def _competitors(self, case: Case) -> Iterator[Trial]:
        """The competitors that take a call and are declared to be right in this check, the baseline first."""
        operation, mine, device = self._trial.operation, self._trial.implementation, self._trial.device
        for entry in sorted(registry.implementations(operation.name), key=lambda e: e.name != operation.baseline):
            wrong = entry.refuted or entry.domain or self._check.name in entry.waived_on(device)
            takes = case.tier == "illegal" or case.dtype in (entry.dtypes or operation.dtypes)
            if wrong or not takes or entry.function is mine.function:
                continue
            if self._check.why_not(operation, entry, device) is None:
                yield Trial(operation, entry, device, Pace(self._trial.pace.limit))

    def _treats(self, witness: Trial, case: Case) -> bool:
        """Whether a competitor treats a call as a right one has to."""
        return _rejects(witness, case) if case.tier == "illegal" else witness.holds(self._check, case)


def _rejects(trial: Trial, case: Case) -> bool:
    try:
        trial.invoke(*case.build(trial.device))
    except TimeLimitExceeded:
        return False
    except Exception:
        return True
    return False


def _arrays(case: Case) -> Iterator[Tensor | Sparse]:
    """The arguments that hold values."""
    return (leaf for _, leaf in case.leaves() if isinstance(leaf, (Tensor, Sparse)))


def _extents(case: Case) -> Iterator[tuple[Any, float]]:
    """Everything of a case that has a smallest value, below which a contract may say nothing."""
    yield "arguments", len(case.args) + len(case.kwargs)
    for place, leaf in case.leaves():
        if isinstance(leaf, (Tensor, Sparse)):
            yield (place, len(leaf.shape)), 0
            yield from (((place, len(leaf.shape), axis), length) for axis, length in enumerate(leaf.shape))
            if case.tier in TIERS and leaf.data:
                yield (place, "zeros"), float(np.all(leaf.values != 0))
                yield (place, leaf.dtype, case.tier), -float(np.max(np.abs(leaf.values), initial=0.0))
        else:
            yield from ((place, number) for number in numbers_in(leaf))
