"""Contests and first calls in new processes."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from opjury.judge.draw import workload_case
from opjury.judge.text import describe
from opjury.measure.block import TimedStep
from opjury.measure.contest import FLOOR, LONG, OBVIOUSLY, Competitor, Contest, ContestResult, step_of, threads
from opjury.measure.race import measure
from opjury.model import registry
from opjury.model.device import on_cuda
from opjury.model.registry import Impossible
from opjury.run.pool import Fallen, isolated

FIRST_CALL_LIMIT = 60.0  # seconds
PROCESSES, MOST_PROCESSES = 5, 15  # of a contest to the end, where its time allows
ALIKE, SETTLED = 3, 1.01  # the shortest time is known if so many processes agree to this factor (the K-best rule)


@dataclass(frozen=True)
class Footprint:
    """What one competitor's calls in a new process cost."""

    seconds: float = 0.0  # of the first call, with compiling
    again_seconds: float = 0.0  # of the second call; the first's where it was not called again
    peak_bytes: int | None = None  # of the last call beyond its arguments; None where the system does not tell
    fault: str = ""  # why there was no result


def footprint(entry: tuple[Contest, Competitor]) -> Footprint:
    """Call one competitor of a contest twice, or once if that takes long, in what should be a new process."""
    contest, competitor = entry
    setting = contest.setting
    case = workload_case(registry.workload(contest.operation), setting, contest.seed)
    args, kwargs = case.build(setting.device, requires_grad=setting.gradient)
    cuda = on_cuda(setting.device)
    with threads(setting.threads), torch.cuda.device(setting.device) if cuda else contextlib.nullcontext():
        try:
            step = step_of(competitor.load(contest.operation), case, setting.gradient)
            del case
            seconds, peak = _observed(step, args, kwargs, cuda)
            again = seconds
            if seconds < LONG or competitor.compiled:
                again, peak = _observed(step, args, kwargs, cuda)
        except Exception as error:
            return Footprint(fault=f"raises {describe(error)}")
    return Footprint(seconds, again, peak)


def _observed(step: TimedStep, args: Any, kwargs: Any, cuda: bool) -> tuple[float, int | None]:
    """Seconds and peak memory of a call."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if cuda else _resident_before()
    started = time.perf_counter()
    result = step(args, kwargs)
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    if before is None:
        return seconds, None
    peak = torch.cuda.max_memory_allocated() if cuda else _resident("VmHWM")
    del result
    return seconds, max(0, peak - before)


def _resident_before() -> int | None:
    """The resident bytes, after Linux's record of the peak was reset, or None on other systems."""
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)  # free memory in the heap would hide what the call needs
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return _resident("VmRSS")
    return None


def _resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def first_calls(contest: Contest, competitors: Sequence[Competitor], excluded: dict[str, str]) -> dict[str, Footprint]:
    """The first calls of each competitor in a new process, where those that fail are excluded with the reason."""
    found = {}
    items = [(contest, competitor) for competitor in competitors]
    results = isolated(footprint, items, 1, lambda item: FIRST_CALL_LIMIT, fresh=True, device=contest.setting.device)
    for (_, competitor), result in results:
        fault = result.why if isinstance(result, Fallen) else result.fault
        if fault:
            excluded[competitor.label] = f"at these sizes: {fault}"
        else:
            found[competitor.label] = result
    return found


def run_contest(contest: Contest, excluded: dict[str, str]) -> ContestResult:
    """Run a contest in new processes, several if it goes to the end, and exclude disqualified competitors with the reason."""
    if not contest.competitors:
        return ContestResult()
    limit = 60 + 5 * contest.seconds + 4 * FIRST_CALL_LIMIT
    parts = [contest]
    if contest.to_the_end:
        parts = [replace(contest, seconds=contest.seconds / PROCESSES)] * MOST_PROCESSES
    outcomes: list[ContestResult] = []
    until = time.monotonic() + contest.longest
    found = isolated(measure, parts, 1, lambda item: limit, fresh=True, device=contest.setting.device)
    with contextlib.closing(found):
        for _, outcome in found:
            if isinstance(outcome, Fallen):
                raise Impossible(f"the measurement failed: {outcome.why}")
            outcomes.append(outcome)
            late = len(outcomes) >= ALIKE and time.monotonic() > until
            if late or (len(outcomes) >= PROCESSES and _settled(contest, outcomes)):
                break
    outcome = functools.reduce(ContestResult.joined, outcomes)
    excluded.update({name: f"at these sizes: {fault}" for name, fault in outcome.faults.items()})
    return outcome


def _settled(contest: Contest, outcomes: Sequence[ContestResult]) -> bool:
    """Whether processes agree on the shortest times of the baseline, the floor and all that are not obviously slower."""
    names = set.intersection(*(set(outcome.least) for outcome in outcomes))
    least = {name: [outcome.least[name] for outcome in outcomes] for name in names}
    best = min((min(least[name]) for name in contest.ranked(least)), default=0.0)
    pinned = (FLOOR, registry.operation(contest.operation).baseline)
    return all(settled(times) for name, times in least.items() if name in pinned or min(times) < OBVIOUSLY * best)


def settled(least: Sequence[float]) -> bool:
    """Whether the shortest times of several processes agree: the best `ALIKE` of them are within `SETTLED`."""
    return len(least) >= ALIKE and sorted(least)[ALIKE - 1] <= SETTLED * min(least)
