"""Who became slower: in turns with an earlier commit, or measured again night after night, before anybody is woken."""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from opjury.audit import audit
from opjury.choose import choose, usual_dtype
from opjury.measure.contest import OBVIOUSLY
from opjury.measure.statistics import Ratio
from opjury.model import registry
from opjury.model.environment import environment
from opjury.model.records import Alarm, Record
from opjury.model.registry import Impossible
from opjury.model.setting import Setting
from opjury.track.alarms import LATEST, alarm_of, alike, growths, options_of, touched
from opjury.track.change_points import SUSPECT
from opjury.track.compare import Side, SpeedComparison, compare_sides, side, versions_of
from opjury.track.history import Chronicle, Series, in_short
from opjury.track.nightly import SEED, Plan, state_of_repository

AGAIN = 9  # times at most that a suspect is measured again
ENOUGH = 3  # times after which it may be dismissed
CERTAIN = 11.0  # standard errors of a step that is seen again: what else changes from night to night is not in them
SHARE, LEAST = 0.125, 60.0  # of the budget, and seconds however small that is, for all alarms together
LONGEST = 20.0  # for one of them, once more
SECONDS = 3.0  # for measuring in turns
TWICE = 2  # comparisons that must agree before anybody is woken
SLOWER = 1.025  # than at the commit before, at least; comparisons of the same with the same scatter by a fifth of that
NOT_SLOWER = 1.0125  # who is less than that after the first processes needs no more of them
NEAR = 2  # nights that a step may move by when more is known


@dataclass(frozen=True)
class Tried:
    """What is known when suspects have been tried.

    Parameters
    ----------
    alarms : tuple of Alarm
        Those that were raised, each with what measuring again says; after them those that comparisons alone have shown.
    in_turns : dict of str to (int, int)
        How many series were measured in turns with what was before, and for how many there was no time: those whose "files" changed,
        and those that other "libraries" may have made slower.
    """

    alarms: tuple[Alarm, ...]
    in_turns: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Compared:
    """A series measured in turns as it was and as it is.

    Parameters
    ----------
    last, at : int
        The last night before what changed, and the first one after it.
    found : Comparison
    command : str
        What shows it again.
    """

    last: int
    at: int
    found: SpeedComparison
    command: str

    @property
    def slower(self) -> bool:
        """Whether it is slower now."""
        return slower(self.found.ratio)


def slower(seen: Ratio) -> bool:
    """Whether a comparison in turns tells that something is slower."""
    return seen.low > 1 and seen.median > SLOWER


def confirmed(
    raised: Sequence[Alarm],
    nights: Sequence[Chronicle],
    planned: Plan,
    latest: int = LATEST,
    before: str = "",
    notify: Callable[[str], None] = lambda stage: None,
) -> Tried:
    """Try alarms again, and whatever a commit or a library may have made slower without that the nights could tell.

    Where an interpreter with the libraries of earlier nights is given, whoever is near the best or suspect is measured in turns with
    it, for as long as a night measures. Then whoever's files changed is measured in turns with the commit before, suspect or not: that
    tells much smaller differences than two nights do, and has half of the time at the most. What else became slower with a commit
    alone is tried in the same way. What nothing has changed for is the machine's doing, and no alarm. Everything else is measured more
    and more often, until it is sure or no longer suspect. What was found in another commit or with other versions than those at hand
    cannot be tried, and nothing is begun after `SHARE` of the night's budget: `confirmed` stays None.

    Parameters
    ----------
    raised : sequence of Alarm
    nights : sequence of Chronicle
    planned : Plan
        Of the last night.
    latest : int
        Changes of so many nights are tried, suspect or not.
    before : str
        The path of an interpreter; "" for none.
    notify : callable, optional
        Is told what is being measured.

    Raises
    ------
    Impossible
        For an interpreter whose libraries no earlier night had.
    """
    suspects = {Series.of(alarm) for alarm in raised if alarm.kind == "time"}
    changed = sorted(touched(nights, latest), key=lambda each: each[0] not in suspects)
    if not raised and not changed and not before:
        return Tried(())
    now = nights[-1].night
    commit, dirty = state_of_repository(replace(planned, allow_dirty=True))
    at_hand = (now.commit, now.environment) == (commit, environment())
    if not at_hand and before:
        raise Impossible(
            "the last night was of another commit, or had other versions than are here: nothing can be compared with it"
        )
    if not at_hand:
        return Tried(tuple(raised))
    compared: dict[Series, _Compared] = {}
    in_turns: dict[str, tuple[int, int]] = {}
    if before:
        until = time.monotonic() + planned.budget
        compared, left_out = _with_libraries(before, nights, latest, suspects, until, notify)
        in_turns["libraries"] = len(compared), left_out
    share = max(LEAST, SHARE * planned.budget)
    until = time.monotonic() + share
    with contextlib.ExitStack() as stack:
        sides = functools.cache(lambda name: stack.enter_context(side(name)))
        commits = _Commits(sides, not dirty, nights, notify)
        files = {s: one for s, last, at in changed if (one := commits.compared(s, last, at, until - share / 2))}
        if changed:
            in_turns["files"] = len(files), len(changed) - len(files)
        compared |= files
        seen = [_with_its_commit(alarm, nights, compared, commits, until) for alarm in raised]
        again: list[Chronicle] = []
        while None in seen and len(again) < AGAIN and time.monotonic() < until:
            undecided = [alarm for alarm, known in zip(raised, seen) if known is None]
            again.append(Chronicle(now, tuple(_again(undecided, planned, until, notify)), nights[-1].path))
            steps_at = {sure: _places([*nights, *again], sure, undecided) for sure in (CERTAIN, SUSPECT)}
            seen = [_seen(a, nights, again, steps_at) if known is None else known for a, known in zip(raised, seen)]
    if len(again) == AGAIN:
        seen = [bool(known) for known in seen]
    known = [msgspec.structs.replace(alarm, confirmed=found) for alarm, found in zip(raised, seen)]
    told = {Series.of(alarm) for alarm in known if alarm.kind == "time" and alarm.confirmed}
    new = [_alarm(s, each, nights) for s, each in compared.items() if each.slower and s not in told]
    return Tried((*known, *new), in_turns)


def _twice(
    sides: tuple[Side, Side], place: Setting, names: Sequence[str], until: float, notify: Callable[[str], None]
) -> dict[str, SpeedComparison]:
    """Comparisons of implementations at a workload; of who seems slower a second one, which may deny it.

    Who cannot be timed is left out, and who there is no time for: nothing is begun after `until`, by the monotonic clock.
    """
    found: dict[str, SpeedComparison] = {}
    for seed in range(TWICE):
        options: dict[str, Any] = dict(device=place.device, gradient=place.gradient, seconds=SECONDS, notify=notify)
        options |= dict(enough=lambda seen: seen.median < NOT_SLOWER)
        seen: list[SpeedComparison] = []
        if time.monotonic() < until:
            with contextlib.suppress(Impossible):
                seen, _ = compare_sides(*sides, place.operation, names, place.sizes, seed=seed, **options)
        if not seen:
            found = {name: known for name, known in found.items() if name not in names}
            break
        found.update({each.implementation: each for each in seen})
        names = [each.implementation for each in seen if not each.fault and slower(each.ratio)]
        if not names:
            break
    return {name: known for name, known in found.items() if not known.fault}


def _command(first: str, second: str, series: Series) -> str:
    workload = registry.workload(series.setting.operation).name_of(series.setting.sizes)
    words = [f"opjury track compare {first} {second} {series.name} --workload {workload}"]
    return " ".join([*words, *options_of(series.setting)])


def other_libraries(python: str) -> dict[str, str]:
    """The versions that another interpreter has, of itself and of the libraries beneath. Raises `Impossible` where they are those of here."""
    with side(python) as there:
        had = versions_of(there)
    if had.items() <= environment().versions.items():
        raise Impossible(f"{python} has {_told(had)}, as there are here: there is nothing to compare")
    return had


def _told(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _with_libraries(
    before: str,
    nights: Sequence[Chronicle],
    latest: int,
    suspects: Collection[Series],
    until: float,
    notify: Callable[[str], None],
) -> tuple[dict[Series, _Compared], int]:
    """The files as they are, with the libraries that an interpreter has and with those of now; for how many there was no time.

    Workloads of suspects come first, the others in another order on each day.
    """
    with side(before) as there, side(".") as here:
        had = other_libraries(before)
        same = [i for i, each in enumerate(nights) if had.items() <= each.night.environment.versions.items()]
        if not same:
            raise Impossible(f"{before} has {_told(had)}; no night had these")
        places: dict[Setting, list[str]] = {}
        for night in nights[max(0, len(nights) - 1 - latest) :]:
            for series, measured in night.measurements.items():
                mine = places.setdefault(series.setting, [])
                wanted = series in suspects or measured.ratio < OBVIOUSLY
                if wanted and _has_a_name(series.setting) and series.implementation not in mine:
                    mine.append(series.implementation)
        order = random.Random(len(nights)).sample(list(places), len(places))
        order.sort(key=lambda place: not any(series.setting == place for series in suspects))
        sides = replace(there, folder=here.folder), here
        compared = {}
        for place in filter(places.__getitem__, order):
            for name, found in _twice(sides, place, places[place], until, notify).items():
                series = Series(place, name)
                command = _command(before, here.python, series)
                compared[series] = _Compared(same[-1], same[-1] + 1, found, command)
        return compared, sum(map(len, places.values())) - len(compared)


def _has_a_name(setting: Setting) -> bool:
    """Whether a command can name the workload, and measures in this dtype."""
    try:
        operation = registry.operation(setting.operation)
    except registry.UnknownName:
        return False
    named = registry.workload(setting.operation).name_of(setting.sizes)
    return bool(named) and setting.dtype == usual_dtype(operation)


@dataclass(frozen=True)
class _Commits:
    """Comparisons of the files as they are with earlier commits, each of which is checked out once.

    Parameters
    ----------
    at : callable
        A commit's files.
    possible : bool
        Not where files differ from the commit.
    nights : sequence of Chronicle
    notify : callable
    """

    at: Callable[[str], Side]
    possible: bool
    nights: Sequence[Chronicle]
    notify: Callable[[str], None]

    def compared(self, series: Series, last: int, at: int, until: float) -> _Compared | None:
        """The comparison with the commit of a night; None: untried."""
        commit = self.nights[last].night.commit
        if not self.possible or series.setting.dtype != usual_dtype(registry.operation(series.setting.operation)):
            return None
        try:
            sides = self.at(commit), self.at(".")
        except Impossible:  # the commit is not there
            return None
        found = _twice(sides, series.setting, [series.implementation], until, self.notify).get(series.implementation)
        command = _command(commit[:10], self.nights[at].night.commit[:10], series)
        return None if found is None else _Compared(last, at, found, command)


def _with_its_commit(
    alarm: Alarm, nights: Sequence[Chronicle], compared: dict[Series, _Compared], commits: _Commits, until: float
) -> bool | None:
    """Whether it takes longer than at the commit before; None where something else may be the cause, or that cannot be tried."""
    if alarm.kind != "time":
        return None
    series, since = Series.of(alarm), _since(alarm, nights)
    if series in compared and compared[series].last < since:
        return compared[series].slower
    last = max(0, since - 1 - NEAR)
    before, now = nights[last].night, nights[-1].night
    if not commits.possible or not alike(before, now):
        return None
    if before.commit == now.commit:
        return False
    found = commits.compared(series, last, since, until)
    return None if found is None else found.slower


def _alarm(series: Series, seen: _Compared, nights: Sequence[Chronicle]) -> Alarm:
    """An alarm that a comparison alone has shown."""
    before, after = seen.found.seconds
    told = dict(before=before, after=after, low=seen.found.ratio.low, high=seen.found.ratio.high, command=seen.command)
    return msgspec.structs.replace(alarm_of("time", series, nights, seen.last, seen.at, **told), confirmed=True)


_Places = dict[tuple[str, Series], list[int]]


def _places(nights: Sequence[Chronicle], sure: float, raised: Sequence[Alarm]) -> _Places:
    """Where the steps upwards of these alarms' series are, by kind and series."""
    found: _Places = {}
    for quantity, series, step in growths(nights, sure, {Series.of(alarm) for alarm in raised}):
        found.setdefault((quantity.kind, series), []).append(step.at)
    return found


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
        choices = [choice for night in again if (choice := night.recommendations.get(alarm.setting))]
        different = sum(alarm.before not in choice.tied for choice in choices)
        return different > len(choices) / 2 if len(choices) >= ENOUGH else None
    since = _since(alarm, nights)
    sure, suspect = (
        any(
            abs(at - since) <= NEAR and at < len(nights)
            for at in steps_at[level].get((alarm.kind, Series.of(alarm)), ())
        )
        for level in (CERTAIN, SUSPECT)
    )
    return True if sure else False if enough and not suspect else None


def _again(raised: Sequence[Alarm], planned: Plan, until: float, notify: Callable[[str], None]) -> Iterator[Record]:
    """The workloads and the checks of the alarms, once more, as far as the time allows."""
    found: list[Record] = []
    for alarm in raised:
        if alarm.kind == "verdict" and time.monotonic() < until:
            found += audit(alarm.name, checks=[alarm.check], device=alarm.device).verdicts
    yield from in_short(found)
    settings = {alarm.setting for alarm in raised if alarm.kind != "verdict"}
    for setting in sorted(settings, key=str):
        if time.monotonic() > until:
            return
        notify(f"{setting.operation}: once more")
        options: dict[str, Any] = dict(
            device=setting.device, gradient=setting.gradient, seconds=planned.seconds, seed=SEED
        )
        with contextlib.suppress(Impossible):
            yield from choose(setting.operation, setting.sizes, thorough=True, longest=LONGEST, **options).records
