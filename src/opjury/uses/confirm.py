"""Alarms tried again before anybody is woken: in turns with the commit before, or night after night until it is clear."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from opjury import records, registry
from opjury.measure.steps import SURE, SUSPECT
from opjury.records import Alarm, Night, Record
from opjury.registry import Impossible
from opjury.uses.alarms import growths
from opjury.uses.audit import audit
from opjury.uses.choose import choose, usual_dtype
from opjury.uses.compare import compare, side
from opjury.uses.history import Chronicle, Series, in_short
from opjury.uses.track import SEED, Plan, state_of_repository

AGAIN = 9  # times at most that a suspect is measured again
ENOUGH = 3  # times after which it may be dismissed
SHARE, LEAST = 0.125, 60.0  # of the budget, and seconds however small that is, for all alarms together
LONGEST = 20.0  # for one of them, once more
SECONDS = 6.0  # for measuring in turns
SLOWER = (
    1.025  # than at the commit before, at least: comparisons of the same with the same scatter by a quarter of that
)
_NEAR = 2  # nights that a step may move by when more is known


def confirmed(raised: Sequence[Alarm], nights: Sequence[Chronicle], planned: Plan) -> list[Alarm]:
    """The same alarms, each with what measuring again says.

    What became slower with a commit alone is measured in turns with the commit before. What nothing has changed for is the machine's
    doing, and no alarm. Everything else is measured more and more often, until it is sure or no longer suspect. What was found in
    another commit or with other versions than those at hand cannot be tried, and nothing is begun after `SHARE` of the night's
    budget: `confirmed` stays None.

    Parameters
    ----------
    raised : sequence of Alarm
    nights : sequence of Chronicle
    planned : Plan
        Of the last night.
    """
    latest = nights[-1].night
    commit, dirty = state_of_repository(replace(planned, allow_dirty=True))
    if (latest.commit, latest.environment) != (commit, records.environment()):
        return list(raised)
    until = time.monotonic() + max(LEAST, SHARE * planned.budget)
    seen = [None if dirty or time.monotonic() > until else _in_turns(alarm, nights) for alarm in raised]
    again: list[Chronicle] = []
    while None in seen and len(again) < AGAIN and time.monotonic() < until:
        undecided = [alarm for alarm, known in zip(raised, seen) if known is None]
        again.append(Chronicle(latest, tuple(_again(undecided, planned, until)), nights[-1].path))
        steps_at = {sure: _places([*nights, *again], sure, undecided) for sure in (SURE, SUSPECT)}
        seen = [_seen(a, nights, again, steps_at) if known is None else known for a, known in zip(raised, seen)]
    if len(again) == AGAIN:
        seen = [bool(known) for known in seen]
    return [msgspec.structs.replace(alarm, confirmed=known) for alarm, known in zip(raised, seen)]


def _in_turns(alarm: Alarm, nights: Sequence[Chronicle]) -> bool | None:
    """Whether it takes longer than at the commit before; None where something else may be the cause, or that cannot be tried."""
    before, now = nights[max(0, _since(alarm, nights) - 1 - _NEAR)].night, nights[-1].night
    usual = ("cpu", usual_dtype(registry.operation(alarm.operation)))
    if alarm.kind != "time" or not _alike(before, now) or (alarm.device, alarm.dtype) != usual:
        return None
    if before.commit == now.commit:
        return False
    try:
        with side(before.commit) as old, side(".") as new:
            options: dict[str, Any] = dict(gradient=alarm.gradient, seconds=SECONDS)
            (found,), _ = compare(old, new, alarm.operation, [alarm.implementation], alarm.sizes, **options)
    except Impossible:  # the commit is not there, or it has no such implementation
        return None
    return None if found.fault else found.ratio.low > 1 and found.ratio.median > SLOWER


def _alike(before: Night, now: Night) -> bool:
    """Whether two nights differ in their commits at most."""
    clean = before.commit and now.commit and not before.dirty and not now.dirty
    return bool(clean) and before.environment == now.environment


_Places = dict[tuple[str, Series], list[int]]


def _places(nights: Sequence[Chronicle], sure: float, raised: Sequence[Alarm]) -> _Places:
    """Where the steps upwards of these alarms' series are, by kind and series."""
    found: _Places = {}
    for quantity, series, step in growths(nights, sure, {_series(alarm) for alarm in raised}):
        found.setdefault((quantity.kind, series), []).append(step.at)
    return found


def _series(alarm: Alarm) -> Series:
    sizes = tuple(alarm.sizes.items())
    return Series(alarm.operation, alarm.implementation, sizes, alarm.dtype, alarm.device, alarm.gradient, 1)


def _since(alarm: Alarm, nights: Sequence[Chronicle]) -> int:
    return next(at for at, night in enumerate(nights) if night.night.date == alarm.since)


def _seen(
    alarm: Alarm, nights: Sequence[Chronicle], again: Sequence[Chronicle], steps_at: dict[float, _Places]
) -> bool | None:
    """Whether it was seen again: for a verdict ever, for a recommendation most times; None while that is open."""
    enough = len(again) >= ENOUGH
    if alarm.kind == "verdict":
        standings = [night.standings.get((alarm.name, alarm.device)) for night in again]
        seen = any(s is not None and s.verdicts.get(alarm.check) == alarm.after for s in standings)
        return seen or (False if enough else None)
    if alarm.kind == "recommendation":
        place = _series(alarm).workload
        choices = [choice for night in again if (choice := night.recommendations.get(place))]
        different = sum(alarm.before not in choice.tied for choice in choices)
        return different > len(choices) / 2 if len(choices) >= ENOUGH else None
    since = _since(alarm, nights)
    sure, suspect = (
        any(
            abs(at - since) <= _NEAR and at < len(nights)
            for at in steps_at[level].get((alarm.kind, _series(alarm)), ())
        )
        for level in (SURE, SUSPECT)
    )
    return True if sure else False if enough and not suspect else None


def _again(raised: Sequence[Alarm], planned: Plan, until: float) -> Iterator[Record]:
    """The workloads and the checks of the alarms, once more, as far as the time allows."""
    found: list[Record] = []
    for alarm in raised:
        if alarm.kind == "verdict" and time.monotonic() < until:
            found += audit(alarm.name, checks=[alarm.check], device=alarm.device).verdicts
    yield from in_short(found)
    workloads = {(a.operation, tuple(a.sizes.items()), a.device, a.gradient) for a in raised if a.kind != "verdict"}
    for operation, sizes, device, gradient in sorted(workloads):
        if time.monotonic() > until:
            return
        options: dict[str, Any] = dict(device=device, gradient=gradient, seconds=planned.seconds, seed=SEED)
        with contextlib.suppress(Impossible):
            yield from choose(operation, dict(sizes), thorough=True, longest=LONGEST, **options).records
