"""Outcomes: whether an implementation holds up, and what of its verdicts is not as declared."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from opjury.model import registry
from opjury.model.records import SEVERITY, Standing, Status, Verdict

JUDGED: tuple[Status, ...] = ("holds", "waived", "refuted")  # by which something is known of an implementation
NOT_TRIED: tuple[Status, ...] = ("not declared", "skipped")
OutcomeState = Literal["holds", "waives", "refuted", "control", "error", "unjudged"]


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of several statuses."""
    return max(statuses, key=SEVERITY.index)


@dataclass(frozen=True)
class Outcome:
    """What the verdicts of one implementation on one device amount to.

    An implementation holds up if something was judged, no check is refuted, and none ended in an error of the contract or the harness.
    A negative control is as declared if each judged check that it declares is refuted, and no other check for a reason of its own.

    Parameters
    ----------
    standing : Standing
        The worst status of each check.
    refutes : collection of str, optional
        The checks in which a negative control is declared to be wrong, empty for every other implementation; None for a control that is
        not registered here.
    """

    standing: Standing
    refutes: Collection[str] | None = ()

    @staticmethod
    def of(standing: Standing) -> Outcome:
        """By what is registered here."""
        if not standing.control:
            return Outcome(standing)
        return Outcome(standing, registry.refutes(standing.operation, standing.implementation))

    @property
    def judged(self) -> bool:
        """Whether something is known of the implementation."""
        return any(status in JUDGED for status in self.standing.verdicts.values())

    @cached_property
    def unexpected(self) -> dict[str, str]:
        """The checks whose status is not as declared, and why."""
        if self.standing.control and self.refutes is None:
            first = next(iter(self.standing.verdicts))
            return {first: "a negative control that is not registered here: what it declares is not known"}
        found = {}
        for check, status in self.standing.verdicts.items():
            if status == "error":
                found[check] = f"{check} could not be judged"
            elif self._missing(check):
                found[check] = f"a negative control, but {check} is not refuted"
            elif status == "refuted" and not self.standing.control:
                found[check] = f"{check} is refuted"
            elif status == "refuted" and not self._declared(check):
                found[check] = f"a negative control, {check} is refuted too, which it does not declare"
        return found

    def followed(self, check: str) -> bool:
        """Whether a history follows a check: of a negative control only those that it declares.

        What else refutes a control follows from that, on some nights' cases and not on others'.
        """
        return not self.standing.control or check in (self.refutes or ())

    def _missing(self, check: str) -> bool:
        """Whether a negative control is not refuted in a check that it declares."""
        return check in (self.refutes or ()) and self.standing.verdicts[check] in ("holds", "waived")

    def _declared(self, check: str) -> bool:
        """Whether a negative control declares a refuted check, or those that it follows from, as far as these were recorded."""
        declared, causes = self.refutes or (), self.standing.causes
        return check in declared or causes is None or all(cause in declared for cause in causes.get(check, ("",)))

    @property
    def state(self) -> OutcomeState:
        """What became of the implementation, in one word."""
        found = self.standing.verdicts
        if not self.judged:
            return "error" if "error" in found.values() else "unjudged"
        if self.standing.control:
            if any(map(self._missing, found)):
                return "refuted"
            # Where none of the checks that it declares was judged, the others may hold.
            return "control" if "refuted" in found.values() else "unjudged"
        states: dict[Status, OutcomeState] = {"waived": "waives", "error": "error", "refuted": "refuted"}
        return states.get(worst(found.values()), "holds")


def standings(verdicts: Iterable[Verdict]) -> list[Standing]:
    """The verdicts in short, implementation by implementation and device by device."""
    return [standing(mine) for mine in by_implementation(verdicts)]


def by_implementation(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """Those of one implementation on one device together."""
    found: dict[tuple[str, str], list[Verdict]] = {}
    for v in verdicts:
        found.setdefault((v.name, v.device), []).append(v)
    return list(found.values())


def standing(verdicts: Iterable[Verdict]) -> Standing:
    """The verdicts of one implementation on one device in short; the worst where a check has several, by dtype."""
    verdicts = list(verdicts)
    statuses: dict[str, Status] = {}
    causes: dict[str, tuple[str, ...]] = {}
    tried: dict[str, tuple[int, float, int]] = {}
    for v in verdicts:
        statuses[v.check] = worst((v.status, statuses.get(v.check, v.status)))
        if v.status == "refuted":
            causes[v.check] = tuple(dict.fromkeys((*causes.get(v.check, ()), v.cause)))
        if v.profile == "nightly":
            label = tried_label(v)
            examples, seconds, _ = tried.get(label, (0, 0.0, 0))
            tried[label] = (examples + v.examples, round(seconds + v.seconds, 3), v.once)
    first = verdicts[0]
    return Standing(
        operation=first.operation,
        implementation=first.implementation,
        device=first.device,
        verdicts=statuses,
        causes=causes,
        examples=sum(v.examples for v in verdicts),
        tried=tried,
        error_of_bound=max(v.error_of_bound for v in verdicts),
        error_ulps=max(v.error_ulps for v in verdicts),
        control=first.control,
    )


def tried_label(entry: Any) -> str:
    """What a task or its verdict is called in `Standing.tried`: `agreement float32`."""
    return f"{entry.check} {' '.join(entry.dtypes)}"
