"""Contests and first calls in new processes."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Sequence
from dataclasses import replace

from opjury.measure.contest import FLOOR, OBVIOUSLY, Competitor, Contest, ContestResult
from opjury.measure.footprint import Footprint, footprint
from opjury.measure.race import measure
from opjury.model import registry
from opjury.model.registry import Impossible
from opjury.run.pool import Fallen, isolated

FIRST_CALL_LIMIT = 60.0  # seconds
PROCESSES, MOST_PROCESSES = 5, 15  # of a contest to the end, where its time allows
ALIKE, SETTLED = 3, 1.01  # so many processes' shortest times are this close: the shortest is known (the K-best rule)


def first_calls(contest: Contest, competitors: Sequence[Competitor], excluded: dict[str, str]) -> dict[str, Footprint]:
    """Each competitor's first call in a process of its own; those that fail are excluded with the reason."""
    found = {}
    items = [(contest, competitor) for competitor in competitors]
    for (_, competitor), result in isolated(
        footprint, items, 1, lambda item: FIRST_CALL_LIMIT, fresh=True, device=contest.setting.device
    ):
        fault = result.why if isinstance(result, Fallen) else result.fault
        if fault:
            excluded[competitor.label] = f"at these sizes: {fault}"
        else:
            found[competitor.label] = result
    return found


def run_contest(contest: Contest, excluded: dict[str, str]) -> ContestResult:
    """Run the contest in a new process, or, to the end, in several; a disqualified competitor is excluded with the reason."""
    if not contest.competitors:
        return ContestResult()
    limit = 60 + 5 * contest.seconds + 4 * FIRST_CALL_LIMIT
    parts = (
        [replace(contest, seconds=contest.seconds / PROCESSES)] * MOST_PROCESSES if contest.to_the_end else [contest]
    )
    outcomes: list[ContestResult] = []
    late = time.monotonic() + contest.longest
    found = isolated(measure, parts, 1, lambda item: limit, fresh=True, device=contest.setting.device)
    with contextlib.closing(found):
        for _, outcome in found:
            if isinstance(outcome, Fallen):
                raise Impossible(f"the measurement came to nothing: {outcome.why}")
            outcomes.append(outcome)
            if len(outcomes) >= PROCESSES and _settled(contest, outcomes):
                break
            if len(outcomes) >= ALIKE and time.monotonic() > late:
                break
    outcome = functools.reduce(ContestResult.joined, outcomes)
    excluded.update({name: f"at these sizes: {fault}" for name, fault in outcome.faults.items()})
    return outcome


def _settled(contest: Contest, outcomes: Sequence[ContestResult]) -> bool:
    """Whether several processes agree on the shortest time of the baseline, the floor, and whoever is not obviously slower."""
    names = set.intersection(*(set(outcome.least) for outcome in outcomes))
    least = {name: [outcome.least[name] for outcome in outcomes] for name in names}
    best = min((min(times) for name, times in least.items() if name != FLOOR), default=0.0)
    pinned = (FLOOR, registry.operation(contest.operation).baseline)
    return all(settled(times) for name, times in least.items() if name in pinned or min(times) < OBVIOUSLY * best)


def settled(least: Sequence[float]) -> bool:
    """Whether the shortest times of several processes tell the shortest there is: the first `ALIKE` of them are alike."""
    return len(least) >= ALIKE and sorted(least)[ALIKE - 1] <= SETTLED * min(least)
