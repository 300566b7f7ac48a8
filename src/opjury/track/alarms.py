"""Alarms: what changed for the worse in a machine's history, and since when."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from opjury.model import registry
from opjury.model.outcome import NOT_TRIED, Outcome
from opjury.model.records import Alarm, Measurement, Night, Recommendation
from opjury.model.setting import Setting
from opjury.track.change_points import SURE, ChangePoint, change_points
from opjury.track.history import Chronicle, Series

LATEST = 3  # nights; older changes were reported before
_WITHIN_99 = 2.576 * math.sqrt(math.pi / 2)  # standard errors of means: half of a 99 % interval of medians


class Quantity(NamedTuple):
    """A quantity that is followed from night to night."""

    kind: str  # of its alarms
    least: float  # the smallest growth that matters, as a ratio
    of: Callable[[Measurement, Measurement | None], float]  # from a measurement and the baseline's; NaN for no value
    shown: Callable[[Measurement], float]  # the value that an alarm shows


def relative_time(own: Measurement, baseline: Measurement | None) -> float:
    """The shortest block's time as a multiple of the baseline's, or for the baseline itself, as a multiple of the floor's.

    The shortest of some hundred interleaved blocks is hardly disturbed. The median of the ratios is not used: other load on the
    machine slows one implementation down more than another.
    """
    if baseline is None or baseline.implementation == own.implementation:
        return own.least_seconds / own.least_floor_seconds
    return own.least_seconds / baseline.least_seconds


# A MiB and half an ulp are added because the doubling of a tiny amount does not matter.
QUANTITIES = (
    Quantity("time", 1.03, relative_time, lambda m: m.least_seconds),
    Quantity("memory", 1.10, lambda m, _: (m.peak_bytes or math.nan) + 2.0**20, lambda m: float(m.peak_bytes or 0)),
    Quantity(
        "error",
        1.5,
        lambda m, _: math.nan if m.error_ulps is None else m.error_ulps + 0.5,
        lambda m: m.error_ulps or 0.0,
    ),
)


def alarms(nights: Sequence[Chronicle], latest: int | None = LATEST, sure: float = SURE) -> list[Alarm]:
    """The changes for the worse, the latest first.

    Parameters
    ----------
    nights : sequence of Chronicle
        Of one machine, the oldest first.
    latest : int, optional
        How many of the last nights a change may have begun in; None for all.
    sure : float
        How many standard errors a difference must have.
    """
    first = 0 if latest is None else len(nights) - latest
    found = [*_growth_alarms(nights, sure), *_verdict_alarms(nights), *_recommendation_alarms(nights)]
    return [alarm for at, alarm in sorted(found, key=lambda pair: -pair[0]) if at >= max(first, 1)]


def growths(
    nights: Sequence[Chronicle], sure: float, only: Container[Series] | None = None
) -> Iterator[tuple[Quantity, Series, ChangePoint]]:
    """The lasting steps upwards in each quantity, of all series or only of some."""
    names = dict.fromkeys(series for night in nights for series in night.measurements)
    table = {series: [night.measurements.get(series) for night in nights] for series in names}
    for series, own in table.items():
        if only is not None and series not in only:
            continue
        baseline = table.get(series._replace(implementation=_baseline(series.setting.operation)), [None] * len(own))
        for quantity in QUANTITIES:
            least = math.log(quantity.least)
            values = np.log([math.nan if m is None else quantity.of(m, b) for m, b in zip(own, baseline)])
            steps = change_points(values, least, sure)
            for step in steps:
                lasts = step.height > 0 and steps[-1].after - step.before >= least
                if lasts and (
                    quantity.kind != "time" or (step.exceeds(values) and not _baseline_is_faster(step, own, baseline))
                ):
                    yield quantity, series, step


def _baseline(operation: str) -> str:
    """The baseline's name, or "" for an operation that is not registered any more."""
    try:
        return registry.operation(operation).baseline or ""
    except registry.UnknownName:
        return ""


def _baseline_is_faster(
    step: ChangePoint, own: Sequence[Measurement | None], baseline: Sequence[Measurement | None]
) -> bool:
    """Whether the ratio rose because the baseline became faster, as its ratio to the floor tells."""
    if all(a is None or b is None or a.implementation == b.implementation for a, b in zip(own, baseline)):
        return False
    of_floor = np.log([math.nan if b is None else relative_time(b, None) for b in baseline])
    fell = float(np.nanmedian(of_floor[step.start : step.at]) - np.nanmedian(of_floor[step.at : step.end]))
    return fell > step.height / 2


def _growth_alarms(nights: Sequence[Chronicle], sure: float) -> Iterator[tuple[int, Alarm]]:
    for quantity, series, step in growths(nights, sure):
        own = [night.measurements.get(series) for night in nights]
        before, after = (
            float(np.median([quantity.shown(m) for m in part if m is not None]))
            for part in (own[step.start : step.at], own[step.at : step.end])
        )
        interval = {}
        if quantity.kind == "time":  # seconds of different nights cannot be compared, only the ratio is known
            after = before * math.exp(step.height)
            margin = _WITHIN_99 * step.error
            interval = dict(low=math.exp(step.height - margin), high=math.exp(step.height + margin))
        last = max(i for i, m in enumerate(own[: step.at]) if m is not None)
        told = dict(before=before, after=after, command=_choose_again(series.setting), **interval)
        yield step.at, alarm_of(quantity.kind, series, nights, last, step.at, **told)


def _verdict_alarms(nights: Sequence[Chronicle]) -> Iterator[tuple[int, Alarm]]:
    """Checks that were as declared and are not any more."""
    known: dict[tuple[str, str, str], tuple[str, bool, int]] = {}
    for at, night in enumerate(nights):
        for (name, device), standing in night.standings.items():
            outcome = Outcome.of(standing)
            for check, status in standing.verdicts.items():
                if status in NOT_TRIED or not outcome.followed(check):
                    continue
                bad = check in outcome.unexpected
                before, was_bad, last = known.get((name, device, check), (status, bad, at))
                known[name, device, check] = status, bad, at
                if bad and not was_bad:
                    setting = Setting(operation=standing.operation, sizes={}, dtype="", device=device)
                    told = dict(
                        check=check,
                        before=before,
                        after=status,
                        message=next((v.message for v in night.refutations if (v.name, v.check) == (name, check)), ""),
                        command=f"opjury audit {name} --check {check}",
                    )
                    yield at, alarm_of("verdict", Series(setting, standing.implementation), nights, last, at, **told)


def _recommendation_alarms(nights: Sequence[Chronicle]) -> Iterator[tuple[int, Alarm]]:
    """Settings with a new recommendation, where neither is among the other night's ties.

    A night before may have recommended what waives more than it accepted, which no night does any more: that is no change.
    """
    known: dict[Setting, tuple[Recommendation, int]] = {}
    for at, night in enumerate(nights):
        for setting, now in night.recommendations.items():
            before, last = known.get(setting, (now, at))
            known[setting] = now, at
            same = now.implementation in before.tied or before.implementation in now.tied
            if not same and _keeps_to_the_contract(nights[last], before):
                series = Series(setting, now.implementation)
                told = dict(before=before.implementation, after=now.implementation, message=now.reason)
                told["command"] = _choose_again(setting)
                yield at, alarm_of("recommendation", series, nights, last, at, **told)


def _keeps_to_the_contract(night: Chronicle, chosen: Recommendation) -> bool:
    """Whether a night measured the recommended implementation without a weakness that was not accepted."""
    own = night.measurements.get(Series(chosen.setting, chosen.implementation))
    return own is None or set(own.waived) <= set(chosen.accepted)


def alarm_of(kind: str, series: Series, nights: Sequence[Chronicle], last: int, at: int, **told: Any) -> Alarm:
    """An alarm about a series, with what differs between the last night before the change and the first one after it."""
    before, after = nights[last].night, nights[at].night
    names = after.environment.__struct_fields__
    both = {name: (getattr(before.environment, name), getattr(after.environment, name)) for name in names}
    return Alarm(
        kind=kind,  # type: ignore[arg-type]
        implementation=series.implementation,
        machine=after.machine,
        since=after.date,
        commits=(before.commit, after.commit),
        versions={name: pair for name, pair in both.items() if pair[0] != pair[1] and all(pair)},  # "" is not known
        **msgspec.structs.asdict(series.setting),
        **told,
    )


def _choose_again(setting: Setting) -> str:
    words = ["opjury choose", setting.operation, setting.shown_sizes, f"--dtype {setting.dtype}"]
    return " ".join([*words, *options_of(setting)])


def options_of(setting: Setting) -> list[str]:
    """The options of a command for a device and a direction."""
    device = [f"--device {setting.device}"] if setting.device != "cpu" else []
    return [*device, *(["--gradient"] if setting.gradient else [])]


def name_of_sizes(setting: Setting) -> str:
    """The name of the workload with these sizes, or "" for sizes without a name and for an operation that is not registered."""
    try:
        return registry.workload(setting.operation).name_of(setting.sizes)
    except registry.UnknownName:
        return ""


def touched(nights: Sequence[Chronicle], latest: int) -> Iterator[tuple[Series, int, int]]:
    """The series, at named sizes, of implementations whose files changed within the `latest` nights, where nothing else did.

    Each comes with the last night before the first change and the first night after the last one. The order is the one in which to try
    them: the series of each implementation that is nearest to the best, then the next one of each.
    """
    window, now = range(max(0, len(nights) - 1 - latest), len(nights)), nights[-1].night
    places: dict[str, tuple[int, int]] = {}
    for name, digest in now.sources.items():
        digests = [(i, seen) for i in window if (seen := nights[i].night.sources.get(name))]
        changes = [(i, j) for (i, before), (j, after) in itertools.pairwise(digests) if before != after]
        if digest and changes and alike(nights[changes[0][0]].night, now):
            places[name] = (changes[0][0], changes[-1][1])
    measured = {series: m for i in window for series, m in nights[i].measurements.items()}
    mine: dict[str, list[Series]] = {}
    for series in sorted(measured, key=lambda series: measured[series].ratio):
        if series.name in places:
            mine.setdefault(series.name, []).append(series)
    for turn in itertools.zip_longest(*mine.values()):
        for series in filter(None, turn):
            if name_of_sizes(series.setting):
                yield (series, *places[series.name])


def alike(before: Night, now: Night) -> bool:
    """Whether both nights ran committed files and their environments are equal."""
    return (
        bool(before.commit and now.commit) and not (before.dirty or now.dirty) and before.environment == now.environment
    )
