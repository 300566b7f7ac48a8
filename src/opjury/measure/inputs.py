"""Fresh inputs for timed calls, and whether what the timed calls returned is right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from opjury.judge.bounds import ulp
from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case
from opjury.model.dtypes import is_floating

SOURCES = 2  # different inputs that take turns
_SAMPLE = 2**16  # elements of a result that are compared
_ANOTHER_RESULT = 0.02


class Inputs:
    """As many live calls as a block has, each with memory of its own, overwritten before each block.

    No timed call sees arguments that an earlier call has seen since they were written: what remembers gains nothing.

    Parameters
    ----------
    cases : list of Case
        Where the values come from, in turns; all of the same sizes.
    device : str
    gradient : bool
        Whether the floating arguments require gradients.
    count : int
    """

    def __init__(self, cases: list[Case], device: str, gradient: bool, count: int) -> None:
        self._sources = [case.build(device) for case in cases]
        self.live = [cases[i % len(cases)].build(device, requires_grad=gradient) for i in range(count)]
        self.held = [i % len(cases) for i in range(count)]
        self._turn = 0

    @torch.no_grad()
    def refresh(self, count: int) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """The first `count` calls' arguments, written anew; `held` says from which case."""
        self._turn += 1
        for i in range(count):
            self.held[i] = (self._turn + i) % len(self._sources)
            args, kwargs = self._sources[self.held[i]]
            live_args, live_kwargs = self.live[i]
            self.live[i] = (
                tuple(map(_written, live_args, args)),
                {name: _written(live_kwargs[name], value) for name, value in kwargs.items()},
            )
        return self.live[:count]


def _written(live: Any, source: Any) -> Any:
    if isinstance(live, torch.Tensor):
        live.copy_(source)
        return live
    return source.copy() if hasattr(source, "tocsr") else source


def flat_result(result: Any) -> np.ndarray:
    """The elements of a result, in row-major order; of a sparse one, its stored values in canonical CSC order, with their places."""
    if hasattr(result, "tocsc"):
        canonical = result.tocsc(copy=True)
        canonical.sum_duplicates()
        canonical.eliminate_zeros()
        parts = [np.ravel(part) for part in (canonical.data, canonical.indices, canonical.indptr)]
        return np.concatenate([part.astype(np.result_type(canonical.dtype, np.float64)) for part in parts])
    kind = torch.complex128 if result.is_complex() else torch.float64 if result.is_floating_point() else torch.int64
    flat = result.detach().reshape(-1)
    if flat.numel() > _SAMPLE:
        places = torch.from_numpy(np.random.default_rng(flat.numel()).integers(0, flat.numel(), _SAMPLE))
        places[0], places[-1] = 0, flat.numel() - 1
        flat = flat[places.to(flat.device)]
    return flat.to("cpu", kind).resolve_conj().resolve_neg().numpy()


def _wide(case: Case) -> Case:
    """The same values as float64 or complex128."""

    def widened(leaf: Any) -> Any:
        if isinstance(leaf, (Tensor, Sparse)) and leaf.data and is_floating(leaf.dtype):
            return replace(leaf, dtype="complex128" if leaf.dtype.startswith("complex") else "float64")
        return leaf

    return case.map(widened)


@dataclass(frozen=True)
class Deviation:
    """How far a result is from the right one: the largest error relative to the largest element, and in ulps of that element.

    Ulps of each element's own would say nothing where sums cancel.
    """

    relative: float
    ulps: float

    @property
    def wrong(self) -> bool:
        """Whether it is another result altogether. Smaller errors are the audit's affair, at sizes where the exact result is known."""
        return not self.relative < _ANOTHER_RESULT


class Witness:
    """What timed calls must return: each case's result by an implementation that holds up, in the widest dtype.

    Large results are compared at 2^16 places.

    Parameters
    ----------
    step : callable
        `step(args, kwargs)` with float64 arguments returns a tuple: the result, then the gradients where they are timed.
    cases : list of Case
    device : str
    gradient : bool
    """

    def __init__(self, step: Any, cases: list[Case], device: str, gradient: bool) -> None:
        self._step, self._cases, self._device, self._gradient = step, cases, device, gradient
        self._results: dict[int, list[np.ndarray]] = {}

    def deviation(self, results: tuple[Any, ...], number: int) -> Deviation:
        """Of what a step returned for case `number`; ulps are those of the result, not of the gradients."""
        if number not in self._results:
            live = _wide(self._cases[number]).build(self._device, requires_grad=self._gradient)
            self._results[number] = [flat_result(part) for part in self._step(*live)]
        parts = [
            _deviation(flat_result(part), expected, self._cases[number].dtype)
            for part, expected in zip(results, self._results[number], strict=True)
        ]
        return Deviation(max(part.relative for part in parts), parts[0].ulps)


def _deviation(observed: np.ndarray, expected: np.ndarray, dtype: str) -> Deviation:
    if observed.shape != expected.shape:
        return Deviation(np.inf, np.inf)
    if not expected.size:
        return Deviation(0.0, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(observed == expected, 0.0, np.abs(observed - expected))
    largest, worst = float(np.max(np.abs(expected))) or 1.0, float(np.max(error))
    return Deviation(worst / largest, worst / float(ulp(np.array(largest), dtype)) if is_floating(dtype) else worst)
