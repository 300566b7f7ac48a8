"""Verdicts in short: their marks, what became of an implementation, how many hold up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from opjury.records import Standing

STATUS_MARKS = {"holds": "✓", "refuted": "✗", "waived": "w", "skipped": "·", "not declared": "-"}
STATE_MARKS = {"holds": "✓", "waives": "w", "refuted": "✗", "control": "†", "unjudged": "·"}
_WORDS = {
    "holds": "holds up",
    "waives": "holds up, waives a check",
    "refuted": "refuted",
    "control": "known to be wrong",
    "unjudged": "not judged",
}


def state_of(standing: Standing | None) -> tuple[str, str]:
    """What became of an implementation, and the same in words."""
    found = list(standing.verdicts.values()) if standing else []
    refuted, waived = found.count("refuted"), found.count("waived")
    if standing is None or not (refuted or waived or "holds" in found):
        return "unjudged", _WORDS["unjudged"]
    if standing.control:
        return ("control", _WORDS["control"]) if refuted else ("refuted", "known to be wrong, but not refuted")
    if refuted:
        return "refuted", f"refuted in {refuted}" + (f" on {standing.device}" if standing.device != "cpu" else "")
    return ("waives", f"holds, waives {waived}") if waived else ("holds", "holds")


def worst(standings: Iterable[Standing]) -> dict[tuple[str, str], Standing]:
    """One standing for each operation and implementation: the worst of those on several devices."""
    order = ("unjudged", "holds", "waives", "control", "refuted")
    found: dict[tuple[str, str], Standing] = {}
    for s in standings:
        key = (s.operation, s.implementation)
        found[key] = max(found.get(key, s), s, key=lambda s: order.index(state_of(s)[0]))
    return found


def legend(states: Sequence[str]) -> list[tuple[str, str, str]]:
    """State, mark and words of those that occur."""
    return [(state, mark, _WORDS[state]) for state, mark in STATE_MARKS.items() if state in states]


class Tally(NamedTuple):
    """The names of implementations by what became of them; negative controls compete with nobody and are counted apart."""

    holding: tuple[str, ...]
    refuted: tuple[str, ...]
    controls: tuple[str, ...]
    loose: tuple[str, ...]
    unjudged: tuple[str, ...]

    @staticmethod
    def of(standings: Iterable[Standing]) -> Tally:
        """Of any number of operations."""
        found = [(s.implementation, state_of(s)[0], s.control) for s in worst(standings).values()]

        def those(*states: str, control: bool) -> tuple[str, ...]:
            return tuple(name for name, state, known in found if state in states and known == control)

        return Tally(
            holding=those("holds", "waives", control=False),
            refuted=those("refuted", control=False),
            controls=those("control", control=True),
            loose=those("refuted", control=True),
            unjudged=those("unjudged", control=False) + those("unjudged", control=True),
        )

    @property
    def judged(self) -> int:
        """How many could hold up."""
        return len(self.holding) + len(self.refuted)

    def __str__(self) -> str:
        """`15 of 15 implementations hold up, 2 that are known to be wrong are refuted, 1 not judged`"""
        parts = [f"{len(self.holding)} of {self.judged} implementations hold up"] if self.judged else []
        for names, outcome in ((self.controls, "refuted"), (self.loose, "not refuted")):
            be = "is" if len(names) == 1 else "are"
            parts += [f"{len(names)} that {be} known to be wrong {be} {outcome}"] if names else []
        parts += [f"{len(self.unjudged)} not judged"] if self.unjudged else []
        return ", ".join(parts) or "Nothing was judged"
