"""Confirmation of alarms: suspects are timed in turns with an earlier commit, or measured again, before an alarm is raised."""

from __future__ import annotations

import contextlib
import functools
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
from opjury.track.alarms import alarm_of, alike, growths, name_of_sizes, options_of, touched
from opjury.track.change_points import SUSPECT
from opjury.track.compare import Side, SpeedComparison, compare_sides, side, versions_of
from opjury.track.history import Chronicle, Series, in_short
from opjury.track.nightly import SEED, Plan, state_of_repository

AGAIN = 9  # times at most that a suspect is measured again
ENOUGH = 3  # times after which it may be dismissed
CERTAIN = 11.0  # standard errors of a step that is seen again: they do not cover other differences between nights
SHARE, LEAST = 0.125, 60.0  # of the budget for all alarms together, but never less than so many seconds
LONGEST = 20.0  # seconds for one contest that is run again
SECONDS = 3.0  # for one implementation timed in turns
TWICE = 2  # comparisons that must agree before an alarm is raised
SLOWER = 1.025  # the least ratio of an alarm: five times the scatter of comparisons of the same files
NOT_SLOWER = 1.0125  # below this ratio after the first processes, an implementation needs no more of them
NEAR = 2  # nights by which a step may move when more measurements are known

_Notify = Callable[[str], None]


class _Compared(NamedTuple):
    """A series timed in turns as it was in night `last` and as it is since night `at`."""

    last: int
    at: int
    found: SpeedComparison
    command: str  # repeats the comparison

    @property
    def slower(self) -> bool:
        """Whether it is slower now."""
        return slower(self.found.ratio)


def slower(seen: Ratio) -> bool:
    """Whether the ratio of a comparison in turns shows a slowdown."""
    return seen.low > 1 and seen.median > SLOWER


def confirmed(
    raised: Sequence[Alarm], nights: Sequence[Chronicle], planned: Plan, latest: int, before: str, notify: _Notify
) -> tuple[list[Alarm], dict[str, tuple[int, int]]]:
    """Try alarms again, and whatever a commit or a library may have slowed down too little for the nights to tell.

    1. With `before`, every implementation that is suspect or near the best is timed in turns with the earlier libraries. This has the
       time of a whole night.
    2. Implementations whose files changed are timed in turns with the commit before, suspect or not: such a comparison tells much
       smaller differences than two nights do. This has half of the remaining time at most.
    3. Other suspects that became slower with nothing but a commit are timed in turns with the commit before. Where not even the
       commit changed, the machine is the cause: no alarm.
    4. All other suspects are measured again and again, until each is sure or not suspect any more.

    Nothing is tried where the last night was of another commit or had other versions than those at hand. Steps 2 to 4 begin nothing
    after `SHARE` of the night's budget. What was not tried keeps `confirmed=None`.

    Parameters
    ----------
    latest : int
        In how many of the last nights files may have changed for step 2.
    before : str
        The path of an interpreter with the libraries of earlier nights; "" for none.

    Returns
    -------
    list of Alarm, dict of str to (int, int)
        The alarms that were raised, with `confirmed`; after them those that comparisons alone have shown. How many series were timed
        in turns because of changed "files" or "libraries", and how many could not be.

    Raises
    ------
    Impossible
        For an interpreter whose libraries no earlier night had.
    """
    suspects = {Series.of(alarm) for alarm in raised if alarm.kind == "time"}
    changed = sorted(touched(nights, latest), key=lambda each: each[0] not in suspects)
    if not raised and not changed and not before:
        return [], {}
    now = nights[-1].night
    commit, dirty = state_of_repository(replace(planned, allow_dirty=True))
    if (now.commit, now.environment) != (commit, environment()):
        if before:
            raise Impossible(
                "the last night was of another commit, or had other versions than are here: nothing can be compared with it"
            )
        return list(raised), {}
    compared: dict[Series, _Compared] = {}
    in_turns: dict[str, tuple[int, int]] = {}
    if before:
        until = time.monotonic() + planned.budget
        compared, left_out = _with_libraries(before, nights, latest, suspects, until, notify)
        in_turns["libraries"] = len(compared), left_out
    share = max(LEAST, SHARE * planned.budget)
    until = time.monotonic() + share
    with contextlib.ExitStack() as stack:
        side_of = functools.cache(lambda name: stack.enter_context(side(name)))
        commits = _Commits(side_of, not dirty, nights, notify)
        files = {s: one for s, last, at in changed if (one := commits.compared(s, last, at, until - share / 2))}
        if changed:
            in_turns["files"] = len(files), len(changed) - len(files)
        compared |= files
        seen = [commits.made_slower(alarm, compared, until) for alarm in raised]
        again: list[Chronicle] = []
        while None in seen and len(again) < AGAIN and time.monotonic() < until:
            undecided = [alarm for alarm, known in zip(raised, seen) if known is None]
            again.append(Chronicle(now, tuple(_again(undecided, planned, until, notify)), nights[-1].path))
            steps = {sure: _steps([*nights, *again], sure, undecided) for sure in (CERTAIN, SUSPECT)}
            seen = [_seen(a, nights, again, steps) if known is None else known for a, known in zip(raised, seen)]
    if len(again) == AGAIN:
        seen = [bool(known) for known in seen]
    tried = [msgspec.structs.replace(alarm, confirmed=known) for alarm, known in zip(raised, seen)]
    told = {Series.of(alarm) for alarm in tried if alarm.kind == "time" and alarm.confirmed}
    new = [_alarm(s, each, nights) for s, each in compared.items() if each.slower and s not in told]
    return [*tried, *new], in_turns


def _twice(
    sides: tuple[Side, Side], place: Setting, names: Sequence[str], until: float, notify: _Notify
) -> dict[str, SpeedComparison]:
    """Compare implementations in a setting, and those that seem slower a second time, which may deny it.

    Left out are implementations that cannot be timed, and those that there was no time for: no comparison begins after `until`.
    """
    found: dict[str, SpeedComparison] = {}
    options: dict[str, Any] = dict(device=place.device, gradient=place.gradient, seconds=SECONDS, notify=notify)
    options["enough"] = lambda seen: seen.median < NOT_SLOWER
    for seed in range(TWICE):
        seen: list[SpeedComparison] = []
        if names and time.monotonic() < until:
            with contextlib.suppress(Impossible):
                seen, _ = compare_sides(*sides, place.operation, names, place.sizes, seed=seed, **options)
        # A first comparison without the second tells nothing.
        found = {name: known for name, known in found.items() if name not in names}
        found.update({each.implementation: each for each in seen})
        names = [each.implementation for each in seen if not each.fault and slower(each.ratio)]
    return {name: known for name, known in found.items() if not known.fault}


def _command(first: str, second: str, series: Series) -> str:
    workload = name_of_sizes(series.setting)
    words = [f"opjury track compare {first} {second} {series.name} --workload {workload}"]
    return " ".join([*words, *options_of(series.setting)])


def other_libraries(python: str) -> dict[str, str]:
    """The versions of another interpreter and its libraries. Raises `Impossible` where they are the present ones."""
    with side(python) as there:
        had = versions_of(there)
    if had.items() <= environment().versions.items():
        raise Impossible(f"{python} has {_listed(had)}, as there are here: there is nothing to compare")
    return had


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _with_libraries(
    before: str, nights: Sequence[Chronicle], latest: int, suspects: Collection[Series], until: float, notify: _Notify
) -> tuple[dict[Series, _Compared], int]:
    """Compare the working tree with the libraries of an interpreter and with the present ones, and count those without time.

    Settings of suspects come first. The others are in random order, so that each has its turn on some day.
    """
    with side(before) as there, side(".") as here:
        had = other_libraries(before)
        same = [i for i, each in enumerate(nights) if had.items() <= each.night.environment.versions.items()]
        if not same:
            raise Impossible(f"{before} has {_listed(had)}; no night had these")
        places: dict[Setting, list[str]] = {}
        for night in nights[max(0, len(nights) - 1 - latest) :]:
            for series, measured in night.measurements.items():
                mine = places.setdefault(series.setting, [])
                wanted = series in suspects or measured.ratio < OBVIOUSLY
                if wanted and _repeatable(series.setting) and series.implementation not in mine:
                    mine.append(series.implementation)
        order = random.Random(len(nights)).sample(list(places), len(places))
        order.sort(key=lambda place: not any(series.setting == place for series in suspects))
        sides = replace(there, folder=here.folder), here
        compared = {}
        for place in filter(places.__getitem__, order):
            for name, found in _twice(sides, place, places[place], until, notify).items():
                series = Series(place, name)
                compared[series] = _Compared(same[-1], same[-1] + 1, found, _command(before, here.python, series))
        return compared, sum(map(len, places.values())) - len(compared)


def _repeatable(setting: Setting) -> bool:
    """Whether `opjury track compare` can name the setting, which has no option for the dtype."""
    return bool(name_of_sizes(setting)) and setting.dtype == usual_dtype(registry.operation(setting.operation))


@dataclass(frozen=True)
class _Commits:
    """Comparisons of the working tree with earlier commits."""

    side_of: Callable[[str], Side]  # checks a commit out once
    possible: bool  # not where files differ from the commit
    nights: Sequence[Chronicle]
    notify: _Notify

    def compared(self, series: Series, last: int, at: int, until: float) -> _Compared | None:
        """The comparison with the commit of night `last`, or None where it was not made."""
        commit = self.nights[last].night.commit
        if not self.possible or series.setting.dtype != usual_dtype(registry.operation(series.setting.operation)):
            return None
        try:
            sides = self.side_of(commit), self.side_of(".")
        except Impossible:  # the repository does not have the commit
            return None
        found = _twice(sides, series.setting, [series.implementation], until, self.notify).get(series.implementation)
        command = _command(commit[:10], self.nights[at].night.commit[:10], series)
        return None if found is None else _Compared(last, at, found, command)

    def made_slower(self, alarm: Alarm, compared: dict[Series, _Compared], until: float) -> bool | None:
        """Whether it takes longer than at the commit before, or None where something else may be the cause, or that cannot be tried."""
        if alarm.kind != "time":
            return None
        series, since = Series.of(alarm), _since(alarm, self.nights)
        if series in compared and compared[series].last < since:
            return compared[series].slower
        last = max(0, since - 1 - NEAR)
        before, now = self.nights[last].night, self.nights[-1].night
        if not self.possible or not alike(before, now):
            return None
        if before.commit == now.commit:
            return False
        found = self.compared(series, last, since, until)
        return None if found is None else found.slower


def _alarm(series: Series, seen: _Compared, nights: Sequence[Chronicle]) -> Alarm:
    """An alarm that a comparison alone has shown."""
    before, after = seen.found.seconds
    told = dict(before=before, after=after, low=seen.found.ratio.low, high=seen.found.ratio.high, command=seen.command)
    return alarm_of("time", series, nights, seen.last, seen.at, confirmed=True, **told)


_Steps = set[tuple[str, Series, int]]  # steps upwards: kind, series and night


def _steps(nights: Sequence[Chronicle], sure: float, raised: Sequence[Alarm]) -> _Steps:
    """The steps of these alarms' series."""
    only = {Series.of(alarm) for alarm in raised}
    return {(quantity.kind, series, step.at) for quantity, series, step in growths(nights, sure, only)}


def _since(alarm: Alarm, nights: Sequence[Chronicle]) -> int:
    return next(at for at, night in enumerate(nights) if night.night.date == alarm.since)


def _seen(
    alarm: Alarm, nights: Sequence[Chronicle], again: Sequence[Chronicle], steps: dict[float, _Steps]
) -> bool | None:
    """Whether it was seen again: a verdict once, a recommendation most times, a growth as a step, or None while that is open."""
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
    places = range(since - NEAR, min(since + NEAR + 1, len(nights)))
    near = {(alarm.kind, Series.of(alarm), at) for at in places}
    if near & steps[CERTAIN]:
        return True
    return False if enough and not near & steps[SUSPECT] else None


def _again(raised: Sequence[Alarm], planned: Plan, until: float, notify: _Notify) -> Iterator[Record]:
    """The records of another audit and contest for each alarm, as far as the time allows."""
    found: list[Record] = []
    for alarm in raised:
        if alarm.kind == "verdict" and time.monotonic() < until:
            found += audit(alarm.name, checks=[alarm.check], device=alarm.device).verdicts
    yield from in_short(found)
    options: dict[str, Any] = dict(seconds=planned.seconds, seed=SEED, thorough=True, longest=LONGEST)
    for setting in sorted({alarm.setting for alarm in raised if alarm.kind != "verdict"}, key=str):
        if time.monotonic() > until:
            return
        notify(f"{setting.operation}: once more")
        options |= dict(device=setting.device, gradient=setting.gradient)
        with contextlib.suppress(Impossible):
            yield from choose(setting.operation, setting.sizes, **options).records
