"""track check: what changed for the worse in a machine's history, and since when."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from opjury import records, registry
from opjury.measure.steps import SURE, SUSPECT, Step, steps
from opjury.records import Alarm, Measurement, Recommendation, Record
from opjury.registry import Impossible
from opjury.uses.audit import audit
from opjury.uses.choose import choose
from opjury.uses.history import Chronicle, Series, in_short
from opjury.uses.track import SEED, Plan, state_of_repository

AGAIN = 9  # times at most that a suspect is measured again
ENOUGH = 3  # times after which it may be dismissed
_NEAR = 2  # nights that a step may move by when more is known
_WITHIN_99 = 2.576  # standard errors


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


def alarms(nights: Sequence[Chronicle], latest: int | None = 3, sure: float = SURE) -> list[Alarm]:
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


def growths(nights: Sequence[Chronicle], sure: float) -> Iterator[tuple[Quantity, Series, Step]]:
    """The steps upwards, of all quantities of all series, that last."""
    table = tracked(nights)
    for series, own in table.items():
        baseline = _of_baseline(table, series, len(own))
        for quantity in QUANTITIES:
            least = math.log(quantity.least)
            found = steps(values(quantity, own, baseline), least, sure)
            for step in found:
                lasting = step.height > 0 and found[-1].after - step.before >= least
                if lasting and not (quantity.kind == "time" and _baseline_is_faster(step, own, baseline)):
                    yield quantity, series, step


def _of_baseline(
    table: dict[Series, list[Measurement | None]], series: Series, nights: int
) -> list[Measurement | None]:
    return table.get(series._replace(implementation=_baseline(series.operation)), [None] * nights)


def _growth_alarms(nights: Sequence[Chronicle], sure: float) -> Iterator[tuple[int, Alarm]]:
    for quantity, series, step in growths(nights, sure):
        own = [night.measurements.get(series) for night in nights]
        yield step.at, _growth(quantity, series, step, own, nights)


def _baseline(operation: str) -> str:
    """The baseline's name; "" for an operation that is not known any more."""
    try:
        return registry.operation(operation).baseline or ""
    except registry.UnknownName:
        return ""


def _baseline_is_faster(step: Step, own: Sequence[Measurement | None], baseline: Sequence[Measurement | None]) -> bool:
    """Whether the baseline's time fell, by the floor's, as far as the ratio to it rose: then this implementation is no slower."""
    if all(a is None or b is None or a.implementation == b.implementation for a, b in zip(own, baseline)):
        return False
    of_floor = np.log([math.nan if b is None else relative_time(b, None) for b in baseline])
    fell = float(np.nanmedian(of_floor[: step.at]) - np.nanmedian(of_floor[step.at :]))
    return fell > step.height / 2


def _growth(
    quantity: Quantity, series: Series, step: Step, own: Sequence[Measurement | None], nights: Sequence[Chronicle]
) -> Alarm:
    before, after = (
        float(np.median([quantity.shown(m) for m in part if m is not None]))
        for part in (own[: step.at], own[step.at :])
    )
    if quantity.kind == "time":  # of other nights' seconds: what is known is their ratio
        after = before * math.exp(step.height)
    margin = _WITHIN_99 * step.error
    return Alarm(
        kind=quantity.kind,  # type: ignore[arg-type]
        implementation=series.implementation,
        before=before,
        after=after,
        low=math.exp(step.height - margin),
        high=math.exp(step.height + margin),
        command=_choose_again(series),
        **_where(series),
        **_when(nights, max(i for i, m in enumerate(own[: step.at]) if m is not None), step.at),
    )


def _where(series: Series) -> dict[str, Any]:
    shared = ("operation", "dtype", "device", "gradient")
    return {**{name: getattr(series, name) for name in shared}, "sizes": dict(series.sizes)}


def _choose_again(series: Series) -> str:
    words = [
        "opjury choose",
        series.operation,
        *(f"{name}={value}" for name, value in series.sizes),
        f"--dtype {series.dtype}",
    ]
    words += [f"--device {series.device}"] if series.device != "cpu" else []
    return " ".join([*words, *(["--gradient"] if series.gradient else [])])


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
    """Checks that held and were refuted afterwards; controls that were refuted and are not any more."""
    known: dict[tuple[str, str, str], tuple[str, int]] = {}
    for at, night in enumerate(nights):
        for (name, device), standing in night.standings.items():
            for check, status in standing.verdicts.items():
                if status not in ("holds", "waived", "refuted"):
                    continue
                before, last = known.get((name, device, check), (status, at))
                known[name, device, check] = status, at
                bad = "holds" if standing.control else "refuted"
                if before != status == bad:
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
    known: dict[Series, tuple[Recommendation, int]] = {}
    for at, night in enumerate(nights):
        for series, now in night.recommendations.items():
            before, last = known.get(series, (now, at))
            known[series] = now, at
            if now.implementation in before.tied or before.implementation in now.tied:
                continue
            yield (
                at,
                Alarm(
                    kind="recommendation",
                    implementation=now.implementation,
                    before=before.implementation,
                    after=now.implementation,
                    message=now.reason,
                    command=_choose_again(series),
                    **_where(series),
                    **_when(nights, last, at),
                ),
            )


def confirmed(raised: Sequence[Alarm], nights: Sequence[Chronicle], planned: Plan) -> list[Alarm]:
    """The same alarms, each with what measuring again says: more and more often, until it is sure or no longer suspect.

    What was found in another commit or with other versions than those at hand cannot be tried: `confirmed` stays None.

    Parameters
    ----------
    raised : sequence of Alarm
    nights : sequence of Chronicle
    planned : Plan
        Of the last night.
    """
    latest = nights[-1].night
    commit, _ = state_of_repository(replace(planned, allow_dirty=True))
    if (latest.commit, latest.environment) != (commit, records.environment()):
        return list(raised)
    seen: list[bool | None] = [None] * len(raised)
    again: list[Chronicle] = []
    while None in seen and len(again) < AGAIN:
        undecided = [alarm for alarm, known in zip(raised, seen) if known is None]
        again.append(Chronicle(latest, tuple(_again(undecided, planned)), nights[-1].path))
        steps_at = {sure: _places([*nights, *again], sure) for sure in (SURE, SUSPECT)}
        seen = [_seen(a, nights, again, steps_at) if known is None else known for a, known in zip(raised, seen)]
    return [msgspec.structs.replace(alarm, confirmed=bool(known)) for alarm, known in zip(raised, seen)]


_Places = dict[tuple[str, Series], list[int]]


def _places(nights: Sequence[Chronicle], sure: float) -> _Places:
    """Where the steps upwards are, by kind and series."""
    found: _Places = {}
    for quantity, series, step in growths(nights, sure):
        found.setdefault((quantity.kind, series), []).append(step.at)
    return found


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
        choices = [r for night in again for s, r in night.recommendations.items() if _where(s) == _place(alarm)]
        return sum(alarm.before not in choice.tied for choice in choices) > ENOUGH / 2 if enough else None
    place = Series(
        alarm.operation, alarm.implementation, tuple(alarm.sizes.items()), alarm.dtype, alarm.device, alarm.gradient, 1
    )
    since = next(at for at, night in enumerate(nights) if night.night.date == alarm.since)
    sure, suspect = (
        any(abs(at - since) <= _NEAR and at < len(nights) for at in steps_at[level].get((alarm.kind, place), ()))
        for level in (SURE, SUSPECT)
    )
    return True if sure else False if enough and not suspect else None


def _place(alarm: Alarm) -> dict[str, Any]:
    return {name: getattr(alarm, name) for name in ("operation", "dtype", "device", "gradient", "sizes")}


def _again(raised: Sequence[Alarm], planned: Plan) -> Iterator[Record]:
    """The workloads and the checks of the alarms, once more."""
    workloads = {(a.operation, tuple(a.sizes.items()), a.device, a.gradient) for a in raised if a.kind != "verdict"}
    for operation, sizes, device, gradient in sorted(workloads):
        with contextlib.suppress(Impossible):
            yield from choose(
                operation,
                dict(sizes),
                device=device,
                gradient=gradient,
                seconds=planned.seconds,
                seed=SEED,
                thorough=True,
            ).records
    found: list[Record] = []
    for alarm in raised:
        if alarm.kind == "verdict":
            found += audit(alarm.name, checks=[alarm.check], device=alarm.device).verdicts
    yield from in_short(found)
