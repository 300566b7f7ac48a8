"""Verdicts in short: marks, outcomes in words, and how many implementations hold up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from opjury.model.outcome import Outcome, OutcomeState
from opjury.model.records import Standing

STATUS_MARKS = {
    "holds": "✓",
    "refuted": "✗",
    "error": "!",
    "undecided": "?",
    "waived": "w",
    "skipped": "·",
    "not declared": "-",
}
STATE_MARKS: dict[OutcomeState, str] = {
    "holds": "✓",
    "waives": "w",
    "refuted": "✗",
    "error": "!",
    "undecided": "?",
    "control": "†",
    "unjudged": "·",
}
_WORDS: dict[OutcomeState, str] = {
    "holds": "holds up",
    "waives": "holds up, waives a check",
    "refuted": "refuted",
    "error": "could not be judged",
    "undecided": "undecided",
    "control": "known to be wrong",
    "unjudged": "not judged",
}
_ORDER: tuple[OutcomeState, ...] = ("unjudged", "holds", "waives", "control", "undecided", "error", "refuted")


def state_of(standing: Standing | None) -> tuple[OutcomeState, str]:
    """The outcome of an implementation, and the same in words."""
    if standing is None:
        return "unjudged", _WORDS["unjudged"]
    state, found = Outcome.of(standing).state, list(standing.verdicts.values())
    if state == "refuted" and standing.control:
        return state, "known to be wrong, but not refuted"
    if state == "refuted":
        where = f" on {standing.device}" if standing.device != "cpu" else ""
        return state, f"refuted in {found.count('refuted')}{where}"
    if state == "error":
        return state, f"{found.count('error')} could not be judged"
    if state == "undecided":
        return state, f"undecided in {found.count('undecided')}"
    words = {"waives": f"holds, waives {found.count('waived')}", "holds": "holds"}
    return state, words.get(state, _WORDS[state])


def worst_standings(standings: Iterable[Standing]) -> dict[tuple[str, str], Standing]:
    """One standing for each operation and implementation: the worst of those on several devices."""
    found: dict[tuple[str, str], Standing] = {}
    for s in standings:
        key = (s.operation, s.implementation)
        found[key] = max(found.get(key, s), s, key=lambda s: _ORDER.index(state_of(s)[0]))
    return found


def state_legend(states: Sequence[str]) -> list[tuple[str, str, str]]:
    """The state, its mark and its words, for each state that occurs."""
    return [(state, mark, _WORDS[state]) for state, mark in STATE_MARKS.items() if state in states]


class Tally(NamedTuple):
    """The names of implementations by outcome. Negative controls do not compete and are counted apart."""

    holding: tuple[str, ...]
    refuted: tuple[str, ...]
    errors: tuple[str, ...]
    undecided: tuple[str, ...]
    controls: tuple[str, ...]
    loose: tuple[str, ...]
    unjudged: tuple[str, ...]

    @staticmethod
    def of(standings: Iterable[Standing]) -> Tally:
        """The tally of the standings of any operations."""
        found = [(s.implementation, state_of(s)[0], s.control) for s in worst_standings(standings).values()]

        def those(*states: OutcomeState, control: bool | None = None) -> tuple[str, ...]:
            return tuple(name for name, state, known in found if state in states and control in (None, known))

        return Tally(
            holding=those("holds", "waives"),
            refuted=those("refuted", control=False),
            errors=those("error"),
            undecided=those("undecided"),
            controls=those("control"),
            loose=those("refuted", control=True),
            unjudged=those("unjudged"),
        )

    @property
    def judged(self) -> int:
        """How many implementations hold up or are refuted, without negative controls."""
        return len(self.holding) + len(self.refuted)

    def __str__(self) -> str:
        """`15 of 15 implementations hold up, 2 that are known to be wrong are refuted, 1 not judged`"""
        parts = [f"{len(self.holding)} of {self.judged} implementations hold up"] if self.judged else []
        for names, outcome in ((self.controls, "refuted"), (self.loose, "not refuted")):
            be = "is" if len(names) == 1 else "are"
            parts += [f"{len(names)} that {be} known to be wrong {be} {outcome}"] if names else []
        parts += [f"{len(self.errors)} could not be judged"] if self.errors else []
        parts += [f"{len(self.undecided)} undecided"] if self.undecided else []
        parts += [f"{len(self.unjudged)} not judged"] if self.unjudged else []
        return ", ".join(parts) or "Nothing was judged"
