"""Blocks of timed calls: their fresh inputs, their times, and how far their results are off."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from opjury.judge.bounds import ulp
from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case
from opjury.model.device import on_cuda
from opjury.model.dtypes import is_floating

SOURCES = 2  # different inputs that take turns
_SAMPLE = 2**16  # elements of a result that are compared

TimedStep = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]]


class Inputs:
    """The arguments of a block of calls, each in memory of its own, which is overwritten before each block.

    So a function that remembers results gains nothing. The cases are of the same sizes; `count` is the most calls in a block.
    """

    def __init__(self, cases: list[Case], device: str, gradient: bool, count: int) -> None:
        self._sources = [case.build(device) for case in cases]
        self.live = [cases[i % len(cases)].build(device, requires_grad=gradient) for i in range(count)]
        self.held = [0] * count
        self._turn = 0

    @torch.no_grad()
    def refresh(self, count: int) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Rewrite and return the arguments of the first `count` calls, and set `held` to the numbers of their cases."""
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
        return live.copy_(source)
    return source.copy() if hasattr(source, "tocsr") else source


class Times(NamedTuple):
    """Seconds of one call."""

    processor: float  # of all threads of this process, which other processes hardly change; on CUDA: as `clock`
    clock: float  # elapsed time

    @property
    def longer(self) -> float:
        """The longer of both, because processor time is sometimes booked late where processes share a core."""
        return max(self)


def block(call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], device: str) -> tuple[Times, Any]:
    """The mean times of calls, one with each of the arguments, and the last result."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        if not on_cuda(device):
            return _cpu_block(call, arguments)
        with torch.cuda.device(device):
            return _cuda_block(call, arguments)
    finally:
        if collecting:
            gc.enable()


def _cpu_block(call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> tuple[Times, Any]:
    result = None
    clock, processor = time.perf_counter(), time.process_time()
    for each in arguments:
        result = call(*each)
    processor, clock = time.process_time() - processor, time.perf_counter() - clock
    return Times(processor / len(arguments), clock / len(arguments)), result


def _cuda_block(call: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> tuple[Times, Any]:
    """The mean time between events around each call, before which the second-level cache is overwritten."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    rubbish = torch.empty(4 * getattr(properties, "L2_cache_size", 2**26), dtype=torch.int8, device="cuda")
    event: Any = torch.cuda.Event
    events = [(event(enable_timing=True), event(enable_timing=True)) for _ in arguments]
    result = None
    torch.cuda.synchronize()
    for each, (before, after) in zip(arguments, events, strict=True):
        rubbish.zero_()
        before.record()
        result = call(*each)
        after.record()
    torch.cuda.synchronize()
    seconds = sum(before.elapsed_time(after) for before, after in events) / 1000 / len(events)
    return Times(seconds, seconds), result


def expected_results(step: TimedStep, cases: list[Case], device: str, gradient: bool) -> list[list[np.ndarray]]:
    """What a step returns for each case in float64 or complex128: the result, then the gradients where they are timed."""

    def widened(leaf: Any) -> Any:
        if isinstance(leaf, (Tensor, Sparse)) and leaf.data and is_floating(leaf.dtype):
            return replace(leaf, dtype="complex128" if leaf.dtype.startswith("complex") else "float64")
        return leaf

    live = (case.map(widened).build(device, requires_grad=gradient) for case in cases)
    return [[_flat(part) for part in step(*arguments)] for arguments in live]


def _flat(result: Any) -> np.ndarray:
    """The elements of a dense result, sampled where there are many, or the stored values of a sparse one with their places."""
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


def deviation(results: tuple[Any, ...], expected: list[np.ndarray], dtype: str) -> tuple[float, float]:
    """How far a step's results are off: relative to the largest element, and in ulps of it.

    The second is of the result alone, without the gradients. An element's own size would say nothing where sums cancel.
    """
    parts = [_deviation(_flat(part), right, dtype) for part, right in zip(results, expected, strict=True)]
    return max(relative for relative, _ in parts), parts[0][1]


def _deviation(observed: np.ndarray, expected: np.ndarray, dtype: str) -> tuple[float, float]:
    if observed.shape != expected.shape:
        return np.inf, np.inf
    if not expected.size:
        return 0.0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.where(observed == expected, 0.0, np.abs(observed - expected))
    largest, worst = float(np.max(np.abs(expected))) or 1.0, float(np.max(error))
    return worst / largest, worst / float(ulp(np.array(largest), dtype)) if is_floating(dtype) else worst
