"""Where more cases pay: what was never tried, what has changed, then what still shows something new, by the second."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from opjury.judge.task import Task
from opjury.model import registry
from opjury.model.operation import Operation
from opjury.model.outcome import tried_label
from opjury.model.records import Verdict
from opjury.model.sources import digest, files_of
from opjury.track.history import Chronicle

_ROUND = 0.25  # of the tasks is one round, where all have been tried with the present source

Key = tuple[str, str, str]  # `operation:implementation`, device, `check dtypes`


@dataclass(frozen=True)
class Past:
    """What came of the cases that a task has had since its source changed.

    Parameters
    ----------
    examples : int
        In all.
    latest, seconds, once : int, float, int
        The examples of the last time, how long they took, and how many of them showed a kind of behaviour that no other did.
    refuted : bool
        More of them would show the same again.
    """

    examples: int
    latest: int
    seconds: float
    once: int
    refuted: bool = False

    @property
    def worth(self) -> float:
        """New kinds of behaviour to be expected by the second.

        The chance that the next case shows a kind not seen yet is estimated by the share of cases whose kind was seen once (Good,
        *Biometrika* 40, 1953); one more is added, so that nothing is given up for good.
        """
        return 0.0 if self.refuted else (self.once + 1) / max(self.examples, 1) * self.latest / self.seconds

    def then(self, examples: int, seconds: float, once: int, refuted: bool) -> Past:
        """With what came later."""
        return Past(self.examples + examples, examples, max(seconds, 1e-3), once, refuted)


NOTHING = Past(0, 0, 1e-3, 0)


def code_digest(operation: str, implementation: str) -> str:
    """A digest of the files in which an implementation and its contract are written; "" where there are none."""
    functions = (registry.entry(operation, implementation).function, registry.operation(operation).reference)
    files = [files_of(function) for function in functions]
    return digest(itertools.chain(*files)) if all(files) else ""


def sources(contracts: Iterable[Operation]) -> dict[str, str]:
    """Of all implementations of these operations, by name."""
    return {
        f"{contract.name}:{entry.name}": code_digest(contract.name, entry.name)
        for contract in contracts
        for entry in registry.implementations(contract.name)
    }


def next_round(
    tasks: Sequence[Task],
    present: Mapping[str, str],
    nights: Sequence[Chronicle],
    tonight: Sequence[Verdict],
    seed: int,
) -> list[Task]:
    """What to try next, the best first.

    All that was not tried since its source changed, the latest change first and negative controls last; where there is nothing of that
    kind, the quarter of the tasks that is worth most.

    Parameters
    ----------
    tasks : sequence of Task
    present : mapping of name to digest
        The sources now.
    nights : sequence of Chronicle
        Earlier ones, the oldest first.
    tonight : sequence of Verdict
        What was tried already.
    seed : int
        Of the order of those that are equal.
    """
    changed = {name: _changed(name, digest, nights) for name, digest in present.items()}
    past = _past(nights, tonight, changed)
    rng = random.Random(seed)
    mixed = rng.sample(tasks, len(tasks))
    untried = [task for task in mixed if key_of(task) not in past]
    if untried:
        return sorted(untried, key=lambda task: (_is_control(task), -changed[_name(task)]))
    best = sorted(mixed, key=lambda task: -past[key_of(task)].worth)
    return best[: math.ceil(_ROUND * len(best))]


def key_of(entry: Task | Verdict) -> Key:
    """The key of a task's past."""
    return (_name(entry), entry.device, tried_label(entry))


def _is_control(task: Task) -> bool:
    return bool(registry.entry(task.operation, task.implementation).refuted)


def _name(entry: Task | Verdict) -> str:
    return f"{entry.operation}:{entry.implementation}"


def _changed(name: str, digest: str, nights: Sequence[Chronicle]) -> int:
    """The number of the first night of those that have had the present source without a break."""
    number = len(nights)
    while number and nights[number - 1].night.sources.get(name) == digest:
        number -= 1
    return number


def _past(nights: Sequence[Chronicle], tonight: Sequence[Verdict], changed: Mapping[str, int]) -> dict[Key, Past]:
    """The past of what was tried since its source changed."""
    past: dict[Key, Past] = {}
    for number, chronicle in enumerate(nights):
        for (name, device), standing in chronicle.standings.items():
            if number < changed.get(name, 0):
                continue
            for label, (examples, seconds, once) in standing.tried.items():
                refuted = standing.verdicts.get(label.partition(" ")[0]) == "refuted"
                key = (name, device, label)
                past[key] = past.get(key, NOTHING).then(examples, seconds, once, refuted)
    for v in tonight:
        past[key_of(v)] = past.get(key_of(v), NOTHING).then(v.examples, v.seconds, v.once, v.status == "refuted")
    return past
