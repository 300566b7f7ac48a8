"""Audits of what is right, with ever other cases: whatever they refute is a false alarm, or news."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from opjury.judge.judge import run_here
from opjury.judge.task import Request
from opjury.model import registry
from opjury.model.records import Verdict


@dataclass(frozen=True)
class Sample:
    """One audit of one implementation.

    Parameters
    ----------
    operation, implementation : str
    seed : int
    profile : str
    scale : float
    dtypes : tuple of str
        Only these; all of them if there is none.
    """

    operation: str
    implementation: str
    seed: int
    profile: str = "quick"
    scale: float = 1.0
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Parameters
    ----------
    examples : int
    alarms : tuple of str
        Everything refuted, in words.
    """

    examples: int
    alarms: tuple[str, ...]


def samples(operations: Iterable[str], seeds: Iterable[int], *options: Any) -> Iterator[Sample]:
    """Every implementation that is not known to be wrong with every seed; those of one seed, which share cases, together."""
    seeds = list(seeds)
    for operation in operations or [operation.name for operation in registry.operations()]:
        right = [entry.name for entry in registry.implementations(operation) if not entry.refuted]
        yield from (Sample(operation, name, seed, *options) for seed in seeds for name in right)


def alarmed(sample: Sample) -> Outcome:
    """Audit one implementation with one seed, in what it does not waive."""
    waived = registry.entry(sample.operation, sample.implementation).waived_on("cpu")
    checks = [check for check in registry.checks() if check not in waived]
    options = dict(profile=sample.profile, seed=sample.seed, scale=sample.scale)
    request = Request(checks=checks, dtypes=sample.dtypes or None, **options)
    verdicts = [verdict for _, verdict in run_here(request.tasks(sample.operation, sample.implementation))]
    return Outcome(sum(v.examples for v in verdicts), tuple(alarms_of(verdicts)))


def alarms_of(verdicts: Iterable[Verdict]) -> Iterator[str]:
    """Refutations, and what could not be judged, with all that is needed to see them again."""
    for v in verdicts:
        if v.status in ("refuted", "error"):
            case = json.dumps(v.counterexample) if v.counterexample else "none"
            yield f"{v.name} {v.check} ({', '.join(v.dtypes)}), seed {v.seed}: {v.message}\n    case {case}"
