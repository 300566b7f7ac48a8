"""Outcomes: whether an implementation holds up, and which verdicts are not as declared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import msgspec

from opjury.model import registry
from opjury.model.records import SEVERITY, Standing, Status, Verdict

JUDGED: tuple[Status, ...] = ("holds", "waived", "refuted")  # these tell something about the implementation
NOT_TRIED: tuple[Status, ...] = ("not declared", "skipped", "undecided")
OutcomeState = Literal["holds", "waives", "refuted", "control", "undecided", "error", "unjudged"]


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of several statuses."""
    return max(statuses, key=SEVERITY.index)


@dataclass(frozen=True)
class Outcome:
    """The verdicts of one implementation on one device, compared with its declaration.

    An implementation holds up if something was judged, no check is refuted or undecided, and none ended in an error of the contract or
    the harness.
    A negative control is as declared if each judged check that it declares is refuted, and no other check for a reason of its own.

    Parameters
    ----------
    standing : Standing
        The worst status of each check.
    refutes : collection of str, optional
        The checks that a negative control is declared to fail, empty for other implementations; None for a control that is not
        registered here.
    """

    standing: Standing
    refutes: Collection[str] | None = ()

    @staticmethod
    def of(standing: Standing) -> Outcome:
        """The outcome according to what is registered here."""
        declared = registry.refutes(standing.operation, standing.implementation) if standing.control else ()
        return Outcome(standing, declared)

    @property
    def judged(self) -> bool:
        """Whether any check was judged."""
        return any(status in JUDGED for status in self.standing.verdicts.values())

    @cached_property
    def unexpected(self) -> dict[str, str]:
        """The checks whose status is not as declared, with the reasons."""
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
        """Whether a history follows a check, which it does not for checks that a negative control does not declare."""
        # Other checks refute a control only with the cases of some nights.
        return not self.standing.control or check in (self.refutes or ())

    def _missing(self, check: str) -> bool:
        """Whether a negative control is not refuted in a check that it declares."""
        return check in (self.refutes or ()) and self.standing.verdicts[check] in ("holds", "waived")

    def _declared(self, check: str) -> bool:
        """Whether a negative control declares a refuted check, or all of the recorded checks that it follows from."""
        declared, causes = self.refutes or (), self.standing.causes
        return check in declared or causes is None or all(cause in declared for cause in causes.get(check, ("",)))

    @property
    def state(self) -> OutcomeState:
        """The outcome in one word."""
        found = self.standing.verdicts
        if not self.judged:
            return next((state for state in ("error", "undecided") if state in found.values()), "unjudged")
        if self.standing.control:
            if any(map(self._missing, found)):
                return "refuted"
            # If no declared check was judged, the others may hold.
            return "control" if "refuted" in found.values() else "unjudged"
        states: dict[Status, OutcomeState] = {
            "waived": "waives",
            "undecided": "undecided",
            "error": "error",
            "refuted": "refuted",
        }
        return states.get(worst(found.values()), "holds")


def standings(verdicts: Iterable[Verdict]) -> list[Standing]:
    """The standing of each implementation on each device."""
    return [standing(mine) for mine in by_implementation(verdicts)]


def by_implementation(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """The verdicts of each implementation on each device."""
    found: dict[tuple[str, str], list[Verdict]] = {}
    for v in verdicts:
        found.setdefault((v.name, v.device), []).append(v)
    return list(found.values())


def causes_checked(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The verdicts of one audit, of which each names as its cause only what fails in this audit.

    The case of a refutation would be lost if it followed from a check that holds. A negative control keeps a cause that was not judged.
    """
    judged = {(v.name, v.device, v.check) for v in verdicts if v.status in JUDGED}
    failed = {(v.name, v.device, v.check) for v in verdicts if v.status in ("refuted", "waived")}

    def follows(v: Verdict) -> bool:
        cause = (v.name, v.device, v.cause)
        return cause in failed or (v.control and cause not in judged)

    return [msgspec.structs.replace(v, cause="") if v.cause and not follows(v) else v for v in verdicts]


def standing(verdicts: Sequence[Verdict]) -> Standing:
    """The verdicts of one implementation on one device in short, with the worst status of a check that has several."""
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
    """The key of a task or its verdict in `Standing.tried`: `agreement float32`."""
    return f"{entry.check} {' '.join(entry.dtypes)}"
