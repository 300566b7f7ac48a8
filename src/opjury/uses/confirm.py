"""Who became slower: in turns with an earlier commit, or measured again night after night, before anybody is woken."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from opjury import records, registry
from opjury.measure.statistics import Ratio
from opjury.measure.steps import SUSPECT
from opjury.records import Alarm, Record
from opjury.registry import Impossible
from opjury.uses.alarms import LATEST, alarm_of, alike, growths, touched
from opjury.uses.audit import audit
from opjury.uses.choose import choose, usual_dtype
from opjury.uses.compare import Comparison, Side, compare, side
from opjury.uses.history import Chronicle, Series, in_short
from opjury.uses.track import SEED, Plan, state_of_repository

AGAIN = 9  # times at most that a suspect is measured again
ENOUGH = 3  # times after which it may be dismissed
CERTAIN = 11.0  # standard errors of a step that is seen again: what else changes from night to night is not in them
SHARE, LEAST = 0.125, 60.0  # of the budget, and seconds however small that is, for all alarms together
LONGEST = 20.0  # for one of them, once more
SECONDS = 3.0  # for measuring in turns
TWICE = 2  # comparisons that must agree before anybody is woken
SLOWER = 1.025  # than at the commit before, at least; comparisons of the same with the same scatter by a fifth of that
NEAR = 2  # nights that a step may move by when more is known


@dataclass(frozen=True)
class Tried:
    """What is known when suspects have been tried.

    Parameters
    ----------
    alarms : tuple of Alarm
        Those that were raised, each with what measuring again says; after them those that comparisons alone have shown.
    compared, left_out : int
        Series of implementations whose files changed: how many were measured in turns with the commit before, for how many there was
        no time.
    """

    alarms: tuple[Alarm, ...]
    compared: int = 0
    left_out: int = 0


def slower(seen: Ratio) -> bool:
    """Whether a comparison in turns tells that something is slower."""
    return seen.low > 1 and seen.median > SLOWER


def confirmed(raised: Sequence[Alarm], nights: Sequence[Chronicle], planned: Plan, latest: int = LATEST) -> Tried:
    """Try alarms again, and whatever a commit may have made slower without that the nights could tell.

    First, whoever's files changed is measured in turns with the commit before, suspect or not: that tells much smaller differences
    than two nights do, and has half of the time at the most. What else became slower with a commit alone is tried in the same way.
    What nothing has changed for is the machine's doing, and no alarm. Everything else is measured more and more often, until it is
    sure or no longer suspect. What was found in another commit or with other versions than those at hand cannot be tried, and
    nothing is begun after `SHARE` of the night's budget: `confirmed` stays None.

    Parameters
    ----------
    raised : sequence of Alarm
    nights : sequence of Chronicle
    planned : Plan
        Of the last night.
    latest : int
        Changes of so many nights are tried, suspect or not.
    """
    suspects = {_series(alarm) for alarm in raised if alarm.kind == "time"}
    changed = sorted(touched(nights, latest), key=lambda each: each[0] not in suspects)
    if not raised and not changed:
        return Tried(())
    now = nights[-1].night
    commit, dirty = state_of_repository(replace(planned, allow_dirty=True))
    if (now.commit, now.environment) != (commit, records.environment()):
        return Tried(tuple(raised))
    share = max(LEAST, SHARE * planned.budget)
    until = time.monotonic() + share
    with contextlib.ExitStack() as stack:
        in_turns = _InTurns(functools.cache(lambda name: stack.enter_context(side(name))), possible=not dirty)
        compared = {
            series: (last, at, found)
            for series, last, at in changed
            if (found := in_turns.of(series, nights[last].night.commit, until - share / 2))
        }
        seen = [_with_its_commit(alarm, nights, compared, in_turns, until) for alarm in raised]
        again: list[Chronicle] = []
        while None in seen and len(again) < AGAIN and time.monotonic() < until:
            undecided = [alarm for alarm, known in zip(raised, seen) if known is None]
            again.append(Chronicle(now, tuple(_again(undecided, planned, until)), nights[-1].path))
            steps_at = {sure: _places([*nights, *again], sure, undecided) for sure in (CERTAIN, SUSPECT)}
            seen = [_seen(a, nights, again, steps_at) if known is None else known for a, known in zip(raised, seen)]
    if len(again) == AGAIN:
        seen = [bool(known) for known in seen]
    known = [msgspec.structs.replace(alarm, confirmed=found) for alarm, found in zip(raised, seen)]
    told = {_series(alarm) for alarm in known if alarm.kind == "time" and alarm.confirmed}
    new = [
        _slower_with(series, *place, nights)
        for series, place in compared.items()
        if slower(place[2].ratio) and series not in told
    ]
    return Tried((*known, *new), len(compared), len(changed) - len(compared))


@dataclass(frozen=True)
class _InTurns:
    """Comparisons of the files as they are with earlier commits, each of which is checked out once.

    Parameters
    ----------
    at : callable
        A commit's files.
    possible : bool
        Not where files differ from the commit.
    """

    at: Callable[[str], Side]
    possible: bool

    def of(self, series: Series, commit: str, until: float) -> Comparison | None:
        """The comparison with a commit; where it tells that something is slower, a second one that may deny it. None: untried.

        Nothing is begun after `until`, by the monotonic clock.
        """
        if not self.possible or series.dtype != usual_dtype(registry.operation(series.operation)):
            return None
        options: dict[str, Any] = dict(device=series.device, gradient=series.gradient, seconds=SECONDS)
        found = None
        for seed in range(TWICE):
            if time.monotonic() > until:
                return None
            try:
                sides = self.at(commit), self.at(".")
                (found,), _ = compare(
                    *sides, series.operation, [series.implementation], dict(series.sizes), seed=seed, **options
                )
            except Impossible:  # the commit is not there, or it has no such implementation
                return None
            if found.fault or not slower(found.ratio):
                break
        return None if found is None or found.fault else found


def _with_its_commit(
    alarm: Alarm,
    nights: Sequence[Chronicle],
    compared: dict[Series, tuple[int, int, Comparison]],
    in_turns: _InTurns,
    until: float,
) -> bool | None:
    """Whether it takes longer than at the commit before; None where something else may be the cause, or that cannot be tried."""
    if alarm.kind != "time":
        return None
    series, since = _series(alarm), _since(alarm, nights)
    if series in compared and compared[series][0] < since:
        return slower(compared[series][2].ratio)
    before, now = nights[max(0, since - 1 - NEAR)].night, nights[-1].night
    if not in_turns.possible or not alike(before, now):
        return None
    if before.commit == now.commit:
        return False
    found = in_turns.of(series, before.commit, until)
    return None if found is None else slower(found.ratio)


def _slower_with(series: Series, last: int, at: int, found: Comparison, nights: Sequence[Chronicle]) -> Alarm:
    """An alarm of somebody whose files changed."""
    commits = " ".join(nights[i].night.commit[:10] for i in (last, at))
    workload = registry.workload(series.operation).name_of(dict(series.sizes))
    words = [f"opjury track compare {commits} {series.operation}:{series.implementation} --workload {workload}"]
    words += [f"--device {series.device}"] if series.device != "cpu" else []
    words += ["--gradient"] if series.gradient else []
    return msgspec.structs.replace(
        alarm_of(
            "time",
            series,
            nights,
            last,
            at,
            before=found.seconds[0],
            after=found.seconds[1],
            low=found.ratio.low,
            high=found.ratio.high,
            command=" ".join(words),
        ),
        confirmed=True,
    )


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
            abs(at - since) <= NEAR and at < len(nights) for at in steps_at[level].get((alarm.kind, _series(alarm)), ())
        )
        for level in (CERTAIN, SUSPECT)
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
