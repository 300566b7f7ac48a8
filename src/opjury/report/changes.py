"""What changed from one state to the next: verdicts, recommendations, speed beyond the intervals, new and removed implementations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from opjury.model import registry
from opjury.model.outcome import NOT_TRIED, Outcome
from opjury.report.gather import State, workload_name

# In the order in which they are told. The last two compare single measurements, so on a busy machine many come at once.
ChangeKind = Literal["worse", "other", "better", "slower", "faster"]
RATIO = 1.1  # the least change of a ratio that is told; the search of the history finds smaller ones


@dataclass(frozen=True)
class Change:
    """One change, in words."""

    operation: str
    implementation: str  # "" where it concerns the whole operation
    kind: ChangeKind
    text: str


def changes(before: State | None, now: State) -> list[Change]:
    """All changes since the state before, the worst first."""
    if before is None:
        return []
    found = [*_verdicts(before, now), *_recommendations(before, now), *_ratios(before, now)]
    order = get_args(ChangeKind)
    return sorted(found, key=lambda c: (order.index(c.kind), c.operation, c.implementation))


def _verdicts(before: State, now: State) -> Iterator[Change]:
    """Of implementations that both states judged, that left the registry, or that are new in an operation that was judged before."""
    registered = {(e.operation, e.name) for e in registry.implementations()}
    judged = {s.operation for s in before.standings.values()}
    for key in before.standings.keys() | now.standings.keys():
        old, new = before.standings.get(key), now.standings.get(key)
        if old is not None and new is not None:
            for check in sorted(old.verdicts.keys() & new.verdicts.keys()):
                was, status = old.verdicts[check], new.verdicts[check]
                if was != status:
                    kind = _kind(check, Outcome.of(old), Outcome.of(new))
                    where = f" on {new.device}" if new.device != "cpu" else ""
                    yield Change(new.operation, new.implementation, kind, f"{check}{where}: {status}, was {was}")
        elif old is not None and (old.operation, old.implementation) not in registered:
            yield Change(old.operation, old.implementation, "other", "is gone")
        elif new is not None and new.operation in judged:
            yield Change(new.operation, new.implementation, "other", "is new")


def _kind(check: str, old: Outcome, new: Outcome) -> ChangeKind:
    """Whether a check's status became one that is not as declared, or the other way round.

    A check that refutes a negative control without being declared by it makes it neither worse nor better.
    """
    was_bad, is_bad = check in old.unexpected, check in new.unexpected
    if was_bad == is_bad or new.standing.verdicts[check] in NOT_TRIED or not new.followed(check):
        return "other"
    return "worse" if is_bad else "better"


def _recommendations(before: State, now: State) -> Iterator[Change]:
    for setting, new in now.recommendations.items():
        old = before.recommendations.get(setting)
        if old and old.implementation != new.implementation and old.implementation not in new.tied:
            use, instead = new.implementation or "none", old.implementation or "none"
            yield Change(setting.operation, "", "other", f"{workload_name(setting)}: use {use} instead of {instead}")


def _ratios(before: State, now: State) -> Iterator[Change]:
    """Ratios to the same fastest implementation, where the intervals do not touch."""
    for series, new in now.measurements.items():
        old = before.measurements.get(series)
        if old is None or old.reference != new.reference or not (old.low and new.low and old.ratio):
            continue
        change = new.ratio / old.ratio
        text = f"{workload_name(series.setting)}: {new.ratio:.3g} times {new.reference}, was {old.ratio:.3g}"
        if change > RATIO and new.low > old.high:
            yield Change(series.setting.operation, series.implementation, "slower", text)
        elif change < 1 / RATIO and new.high < old.low:
            yield Change(series.setting.operation, series.implementation, "faster", text)
