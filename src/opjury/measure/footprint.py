"""What a call in a new process costs: the seconds of the first, and the most memory that the second needs beside its inputs."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from opjury.judge.draw import workload_case
from opjury.judge.text import describe
from opjury.measure.contest import LONG, Competitor, Contest, TimedStep, step_of, threads
from opjury.model import registry


@dataclass(frozen=True)
class Footprint:
    """Of one competitor.

    Parameters
    ----------
    seconds : float
        The time of the first call; compiling included.
    again_seconds : float
        The time of the second call; the first's, where that was long enough to be believed.
    peak_bytes : int or None
        The most memory of the last call beyond what was there before, its result included; None where the system does not say.
    fault : str
        Why there was no result; "" otherwise.
    """

    seconds: float
    again_seconds: float
    peak_bytes: int | None
    fault: str = ""


def footprint(entry: tuple[Contest, Competitor]) -> Footprint:
    """Call one competitor of a contest twice (once where that takes long). Meant for a process of its own."""
    contest, competitor = entry
    setting = contest.setting
    case = workload_case(registry.workload(contest.operation), setting, contest.seed)
    args, kwargs = case.build(setting.device, requires_grad=setting.gradient)
    cuda = setting.device.startswith("cuda")
    with threads(setting.threads), torch.cuda.device(setting.device) if cuda else contextlib.nullcontext():
        try:
            step = step_of(competitor.load(contest.operation), case, setting.gradient)
            del case
            seconds, peak = _observed(step, args, kwargs, cuda)
            again = seconds
            if seconds < LONG or competitor.compiled:
                again, peak = _observed(step, args, kwargs, cuda)
        except Exception as error:
            return Footprint(0.0, 0.0, None, f"raises {describe(error)}")
    return Footprint(seconds, again, peak)


def _observed(step: TimedStep, args: Any, kwargs: Any, cuda: bool) -> tuple[float, int | None]:
    """Seconds and peak memory of a call."""
    before = _cuda_start() if cuda else _processor_start()
    started = time.perf_counter()
    result = step(args, kwargs)
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if cuda else _resident("VmHWM")
    del result
    return seconds, None if peak is None or before is None else max(0, peak - before)


def _cuda_start() -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _processor_start() -> int | None:
    """What is resident, with the system's record of the most forgotten (Linux)."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # what is free in the heap would hide what the call needs
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _resident("VmRSS")
    return None


def _resident(field: str) -> int | None:
    """A field of /proc/self/status in bytes."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    return None
