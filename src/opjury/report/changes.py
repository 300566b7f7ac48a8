"""What changed from one state to the next: verdicts, recommendations, speed beyond the intervals, who is new or gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from opjury.model import registry
from opjury.model.outcome import NOT_TRIED, Outcome
from opjury.report.gather import State, workload_name

ChangeKind = Literal["worse", "other", "better", "slower", "faster"]
RATIO = 1.1  # the least change of a ratio that is told; smaller ones are for the search in the history


@dataclass(frozen=True)
class Change:
    """One change, in words.

    Parameters
    ----------
    operation, implementation : str
        The implementation "" where the whole operation is meant.
    kind : {"worse", "other", "better", "slower", "faster"}
        In the order in which they are told: the last two compare one measurement with one, and on a busy machine many come at once.
    text : str
    """

    operation: str
    implementation: str
    kind: ChangeKind
    text: str


def changes(before: State | None, now: State) -> list[Change]:
    """What is told under "since the night before", the worst first."""
    if before is None:
        return []
    found = [*_verdicts(before, now), *_recommendations(before, now), *_ratios(before, now)]
    order = get_args(ChangeKind)
    return sorted(found, key=lambda c: (order.index(c.kind), c.operation, c.implementation))


def _verdicts(before: State, now: State) -> list[Change]:
    """Of those that both states judged; who is gone from the registry, who is new in an operation that was judged before.

    What refutes a negative control beyond what it declares gets neither worse nor better.
    """
    found = []
    registered = {(e.operation, e.name) for e in registry.implementations()}
    judged = {s.operation for s in before.standings.values()}
    for key in before.standings.keys() | now.standings.keys():
        old, new = before.standings.get(key), now.standings.get(key)
        if old is not None and new is not None:
            for check in sorted(old.verdicts.keys() & new.verdicts.keys()):
                was, now_is = old.verdicts[check], new.verdicts[check]
                if was != now_is:
                    kind = _kind(check, Outcome.of(old), Outcome.of(new))
                    where = f" on {new.device}" if new.device != "cpu" else ""
                    found.append(
                        Change(new.operation, new.implementation, kind, f"{check}{where}: {now_is}, was {was}")
                    )
        elif old is not None and (old.operation, old.implementation) not in registered:
            found.append(Change(old.operation, old.implementation, "other", "is gone"))
        elif new is not None and new.operation in judged:
            found.append(Change(new.operation, new.implementation, "other", "is new"))
    return found


def _kind(check: str, old: Outcome, new: Outcome) -> ChangeKind:
    """Whether a check's status became one that is not as declared, or the other way round."""
    was_bad, is_bad = check in old.unexpected, check in new.unexpected
    if was_bad == is_bad or new.standing.verdicts[check] in NOT_TRIED or not new.followed(check):
        return "other"
    return "worse" if is_bad else "better"


def _recommendations(before: State, now: State) -> list[Change]:
    found = []
    for setting, new in now.recommendations.items():
        old = before.recommendations.get(setting)
        if old and old.implementation != new.implementation and old.implementation not in new.tied:
            use, instead = new.implementation or "none", old.implementation or "none"
            text = f"{workload_name(setting)}: use {use} instead of {instead}"
            found.append(Change(setting.operation, "", "other", text))
    return found


def _ratios(before: State, now: State) -> list[Change]:
    """Ratios to the same fastest implementation, where the intervals do not touch."""
    found = []
    for series, new in now.measurements.items():
        old = before.measurements.get(series)
        if old is None or old.reference != new.reference or not (old.low and new.low and old.ratio):
            continue
        change = new.ratio / old.ratio
        if change > RATIO and new.low > old.high:
            kind: ChangeKind = "slower"
        elif change < 1 / RATIO and new.high < old.low:
            kind = "faster"
        else:
            continue
        text = f"{workload_name(series.setting)}: {new.ratio:.3g} times {new.reference}, was {old.ratio:.3g}"
        found.append(Change(series.setting.operation, series.implementation, kind, text))
    return found
