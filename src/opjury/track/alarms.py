"""track check: what changed for the worse in a machine's history, and since when."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from opjury.model import registry
from opjury.model.outcome import NOT_TRIED, Outcome
from opjury.model.records import Alarm, Measurement, Night, Recommendation
from opjury.model.setting import Setting
from opjury.track.change_points import SURE, ChangePoint, change_points
from opjury.track.history import Chronicle, Series

LATEST = 3  # nights: what is older is known by now
_WITHIN_99 = 2.576 * math.sqrt(math.pi / 2)  # standard errors of means, for medians


@dataclass(frozen=True)
class Quantity:
    """Something that is followed from night to night.

    Parameters
    ----------
    kind : str
        That of an alarm.
    least : float
        The smallest growth that matters, as a ratio.
    of : callable
        The value of one measurement, beside the baseline's of the same night (None where it was not measured); NaN where there is none.
    shown : callable
        What an alarm says of a measurement.
    """

    kind: str
    least: float
    of: Callable[[Measurement, Measurement | None], float]
    shown: Callable[[Measurement], float]


def relative_time(own: Measurement, baseline: Measurement | None) -> float:
    """The shortest block's time as a multiple of the baseline's in the same rounds; the baseline's own, of the floor's.

    Medians of ratios follow what else the machine does, as that slows one implementation more than another; the shortest of some
    hundred interleaved blocks hardly do.
    """
    if baseline is None or baseline.implementation == own.implementation:
        return own.least_seconds / own.least_floor_seconds
    return own.least_seconds / baseline.least_seconds


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
    """What changed for the worse, the latest first.

    Parameters
    ----------
    nights : sequence of Chronicle
        Of one machine, the oldest first.
    latest : int, optional
        Only what began in so many of the last nights; None for all.
    sure : float
        How many standard errors of a difference count.

    Returns
    -------
    list of Alarm
    """
    first = 0 if latest is None else max(0, len(nights) - latest)
    found = [*_growth_alarms(nights, sure), *_verdicts(nights), *_recommendations(nights)]
    return [alarm for at, alarm in sorted(found, key=lambda pair: -pair[0]) if at >= max(first, 1)]


def tracked(nights: Sequence[Chronicle]) -> dict[Series, list[Measurement | None]]:
    """Every series' measurements, None in nights without one."""
    names = dict.fromkeys(series for night in nights for series in night.measurements)
    return {series: [night.measurements.get(series) for night in nights] for series in names}


def values(quantity: Quantity, own: Sequence[Measurement | None], baseline: Sequence[Measurement | None]) -> np.ndarray:
    """The logarithms of a quantity, night by night; NaN where there is none."""
    seen = [math.nan if m is None else quantity.of(m, b) for m, b in zip(own, baseline)]
    return np.log(np.array(seen, dtype=float))


def growths(
    nights: Sequence[Chronicle], sure: float, only: Container[Series] | None = None
) -> Iterator[tuple[Quantity, Series, ChangePoint]]:
    """The steps upwards that last, of all quantities of all series, or of some."""
    table = tracked(nights)
    for series, own in table.items():
        if only is not None and series not in only:
            continue
        baseline = _of_baseline(table, series, len(own))
        for quantity in QUANTITIES:
            least, seen = math.log(quantity.least), values(quantity, own, baseline)
            found = change_points(seen, least, sure)
            for step in found:
                lasting = step.height > 0 and found[-1].after - step.before >= least
                if lasting and (
                    quantity.kind != "time" or (step.exceeds(seen) and not _baseline_is_faster(step, own, baseline))
                ):
                    yield quantity, series, step


def _of_baseline(
    table: dict[Series, list[Measurement | None]], series: Series, nights: int
) -> list[Measurement | None]:
    return table.get(series._replace(implementation=_baseline(series.setting.operation)), [None] * nights)


def _growth_alarms(nights: Sequence[Chronicle], sure: float) -> Iterator[tuple[int, Alarm]]:
    for quantity, series, step in growths(nights, sure):
        own = [night.measurements.get(series) for night in nights]
        yield step.at, _growth(quantity, series, step, own, nights)


def touched(nights: Sequence[Chronicle], latest: int) -> Iterator[tuple[Series, int, int]]:
    """The series, at named sizes, of implementations whose files changed within the `latest` nights, and nothing else since.

    Yields
    ------
    Series, int, int
        With the last night before the first change and the first night after the last one. The order is that in which to try them:
        each implementation's series at which it is nearest to the best, then each one's next.
    """
    window, now = range(max(0, len(nights) - 1 - latest), len(nights)), nights[-1]
    places: dict[str, tuple[int, int]] = {}
    for name, digest in now.night.sources.items():
        digests = [(i, seen) for i in window if (seen := nights[i].night.sources.get(name))]
        changes = [(i, j) for (i, before), (j, after) in itertools.pairwise(digests) if before != after]
        if changes and digests[-1] == (window[-1], digest) and alike(nights[changes[0][0]].night, now.night):
            places[name] = (changes[0][0], changes[-1][1])
    measured = {series: m for i in window for series, m in nights[i].measurements.items()}
    mine: dict[str, list[Series]] = {}
    for series in sorted(measured, key=lambda series: measured[series].ratio):
        mine.setdefault(series.name, []).append(series)
    for turn in itertools.zip_longest(*(all_of for name, all_of in mine.items() if name in places)):
        for series in filter(None, turn):
            if registry.workload(series.setting.operation).name_of(series.setting.sizes):
                yield (series, *places[series.name])


def alike(before: Night, now: Night) -> bool:
    """Whether two nights are of whole commits and differ in nothing else."""
    whole = before.commit and now.commit and not before.dirty and not now.dirty
    return bool(whole) and before.environment == now.environment


def _baseline(operation: str) -> str:
    """The baseline's name; "" for an operation that is not known any more."""
    try:
        return registry.operation(operation).baseline or ""
    except registry.UnknownName:
        return ""


def _baseline_is_faster(
    step: ChangePoint, own: Sequence[Measurement | None], baseline: Sequence[Measurement | None]
) -> bool:
    """Whether the baseline's time fell there, by the floor's, as far as the ratio to it rose: then this implementation is no slower."""
    if all(a is None or b is None or a.implementation == b.implementation for a, b in zip(own, baseline)):
        return False
    of_floor = np.log([math.nan if b is None else relative_time(b, None) for b in baseline])
    fell = float(np.nanmedian(of_floor[step.start : step.at]) - np.nanmedian(of_floor[step.at : step.end]))
    return fell > step.height / 2


def _growth(
    quantity: Quantity,
    series: Series,
    step: ChangePoint,
    own: Sequence[Measurement | None],
    nights: Sequence[Chronicle],
) -> Alarm:
    before, after = (
        float(np.median([quantity.shown(m) for m in part if m is not None]))
        for part in (own[step.start : step.at], own[step.at : step.end])
    )
    interval: dict[str, Any] = {}
    if quantity.kind == "time":  # of other nights' seconds: what is known is their ratio
        after = before * math.exp(step.height)
        margin = _WITHIN_99 * step.error
        interval = dict(low=math.exp(step.height - margin), high=math.exp(step.height + margin))
    last = max(i for i, m in enumerate(own[: step.at]) if m is not None)
    told = dict(before=before, after=after, command=_choose_again(series.setting), **interval)
    return alarm_of(quantity.kind, series, nights, last, step.at, **told)


def alarm_of(kind: str, series: Series, nights: Sequence[Chronicle], last: int, at: int, **told: Any) -> Alarm:
    """An alarm about a series, for what is different since night `at` and was not yet on night `last`."""
    where = msgspec.structs.asdict(series.setting)
    return Alarm(kind=kind, implementation=series.implementation, **told, **where, **_when(nights, last, at))  # type: ignore[arg-type]


def _choose_again(setting: Setting) -> str:
    words = ["opjury choose", setting.operation, setting.shown_sizes, f"--dtype {setting.dtype}"]
    return " ".join([*words, *options_of(setting)])


def options_of(setting: Setting) -> list[str]:
    """The options of a command for a device and a direction."""
    device = [f"--device {setting.device}"] if setting.device != "cpu" else []
    return [*device, *(["--gradient"] if setting.gradient else [])]


def _when(nights: Sequence[Chronicle], last: int, at: int) -> dict[str, Any]:
    """The last night before a change and the first after it, and what differs between them, as far as both tell it."""
    before, after = nights[last].night, nights[at].night
    names = after.environment.__struct_fields__
    both = {name: (getattr(before.environment, name), getattr(after.environment, name)) for name in names}
    return dict(
        machine=after.machine,
        since=after.date,
        commits=(before.commit, after.commit),
        versions={name: pair for name, pair in both.items() if pair[0] != pair[1] and all(pair)},
    )


def _verdicts(nights: Sequence[Chronicle]) -> Iterator[tuple[int, Alarm]]:
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
                    message = next((v.message for v in night.refutations if (v.name, v.check) == (name, check)), "")
                    yield (
                        at,
                        Alarm(
                            kind="verdict",
                            operation=standing.operation,
                            implementation=standing.implementation,
                            check=check,
                            device=device,
                            before=before,
                            after=status,
                            message=message,
                            command=f"opjury audit {name} --check {check}",
                            **_when(nights, last, at),
                        ),
                    )


def _recommendations(nights: Sequence[Chronicle]) -> Iterator[tuple[int, Alarm]]:
    """Workloads at which what was recommended is not even tied any more, and what is now was not tied before."""
    known: dict[Setting, tuple[Recommendation, int]] = {}
    for at, night in enumerate(nights):
        for setting, now in night.recommendations.items():
            before, last = known.get(setting, (now, at))
            known[setting] = now, at
            if now.implementation in before.tied or before.implementation in now.tied:
                continue
            told = dict(before=before.implementation, after=now.implementation, message=now.reason)
            place = Series(setting, now.implementation)
            yield at, alarm_of("recommendation", place, nights, last, at, command=_choose_again(setting), **told)
