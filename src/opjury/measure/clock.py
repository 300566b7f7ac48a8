"""Seconds of a block of calls, by the processor's time, the clock or the GPU's events."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

_Call = Callable[..., Any]


class Times(NamedTuple):
    """Seconds of one call.

    Parameters
    ----------
    processor : float
        Processor time of all threads of this process, which other processes hardly change. On CUDA: as `clock`.
    clock : float
        Elapsed time.
    """

    processor: float
    clock: float

    @property
    def longer(self) -> float:
        """The longer of both. Where a process shares its core, processor time is sometimes booked late, and a block looks too short."""
        return max(self)


def block(call: _Call, arguments: Sequence[tuple[Any, ...]], device: str) -> tuple[Times, Any]:
    """The mean times of calls, one with each of the arguments, and the last result."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        if not device.startswith("cuda"):
            return _cpu_block(call, arguments)
        with torch.cuda.device(device):
            return _cuda_block(call, arguments)
    finally:
        if collecting:
            gc.enable()


def _cpu_block(call: _Call, arguments: Sequence[tuple[Any, ...]]) -> tuple[Times, Any]:
    result = None
    clock, processor = time.perf_counter(), time.process_time()
    for each in arguments:
        result = call(*each)
    processor, clock = time.process_time() - processor, time.perf_counter() - clock
    return Times(processor / len(arguments), clock / len(arguments)), result


def _cuda_block(call: _Call, arguments: Sequence[tuple[Any, ...]]) -> tuple[Times, Any]:
    """The time between events around each call; the second-level cache is overwritten before each."""
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
