"""track check: what changed for the worse in a machine's history, and since when."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from opjury import registry
from opjury.measure.steps import SURE, Step, steps
from opjury.records import Alarm, Measurement, Recommendation
from opjury.uses.history import Chronicle, Series

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


def growths(
    nights: Sequence[Chronicle], sure: float, only: Container[Series] | None = None
) -> Iterator[tuple[Quantity, Series, Step]]:
    """The steps upwards that last, of all quantities of all series, or of some."""
    table = tracked(nights)
    for series, own in table.items():
        if only is not None and series not in only:
            continue
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
    """Whether the baseline's time fell there, by the floor's, as far as the ratio to it rose: then this implementation is no slower."""
    if all(a is None or b is None or a.implementation == b.implementation for a, b in zip(own, baseline)):
        return False
    of_floor = np.log([math.nan if b is None else relative_time(b, None) for b in baseline])
    fell = float(np.nanmedian(of_floor[step.start : step.at]) - np.nanmedian(of_floor[step.at : step.end]))
    return fell > step.height / 2


def _growth(
    quantity: Quantity, series: Series, step: Step, own: Sequence[Measurement | None], nights: Sequence[Chronicle]
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
    return Alarm(
        kind=quantity.kind,  # type: ignore[arg-type]
        implementation=series.implementation,
        before=before,
        after=after,
        command=_choose_again(series),
        **interval,
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
    """Checks that held and were refuted afterwards; controls that were refuted and are not any more, in what they declare.

    What else refutes a control follows from that, on some nights' cases and not on others'.
    """
    controls = registry.controls()
    known: dict[tuple[str, str, str], tuple[str, int]] = {}
    for at, night in enumerate(nights):
        for (name, device), standing in night.standings.items():
            for check, status in standing.verdicts.items():
                if status not in ("holds", "waived", "refuted"):
                    continue
                if standing.control and check not in controls.get((standing.operation, standing.implementation), ()):
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
