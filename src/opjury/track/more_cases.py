"""What to try more cases of: what was never tried or has changed, then what is most likely to show something new."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from opjury.judge.task import Task
from opjury.model import registry
from opjury.model.operation import Operation
from opjury.model.outcome import tried_label
from opjury.model.records import Verdict
from opjury.model.sources import digest, files_of
from opjury.track.history import Chronicle

_ROUND = 0.25  # of the tasks in one round, where all have been tried with the present source

Key = tuple[str, str, str]  # `operation:implementation`, device, `check dtypes`


class Past(NamedTuple):
    """What the cases of a task have shown since its source changed."""

    examples: int  # in all
    latest: int  # the examples of the last time
    seconds: float  # that these took
    once: int  # how many of these showed a kind of behaviour that no other did
    refuted: bool = False  # more cases would show the same again

    @property
    def worth(self) -> float:
        """The expected number of new kinds of behaviour in a second.

        The chance that the next case shows a new kind is estimated by the share of cases whose kind was seen once (Good, *Biometrika*
        40, 1953). One more is added, so that no task is given up for good.
        """
        return 0.0 if self.refuted else (self.once + 1) / max(self.examples, 1) * self.latest / self.seconds


def code_digest(operation: str, implementation: str) -> str:
    """A digest of the source files of an implementation and its contract, or "" where there are none."""
    functions = (registry.entry(operation, implementation).function, registry.operation(operation).reference)
    files = [files_of(function) for function in functions]
    return digest(itertools.chain(*files)) if all(files) else ""


def sources(contracts: Iterable[Operation]) -> dict[str, str]:
    """The digests of all implementations of these operations, by name."""
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
    """What to try next, the most worthwhile first.

    This is everything that was not tried since its source changed: the latest change first, negative controls last. Where all was
    tried, it is the quarter of the tasks that is worth most.

    Parameters
    ----------
    present : mapping of name to digest
        The sources now.
    nights : sequence of Chronicle
        Earlier nights, the oldest first.
    tonight : sequence of Verdict
        What was tried since.
    seed : int
        Of the order of equal tasks.
    """
    changed = {name: _changed(name, digest, nights) for name, digest in present.items()}
    past = _past(nights, tonight, changed)
    rng = random.Random(seed)
    mixed = rng.sample(tasks, len(tasks))
    untried = [task for task in mixed if key_of(task) not in past]
    if untried:
        controls = {task for task in untried if registry.entry(task.operation, task.implementation).refuted}
        return sorted(untried, key=lambda task: (task in controls, -changed[_name(task)]))
    best = sorted(mixed, key=lambda task: -past[key_of(task)].worth)
    return best[: math.ceil(_ROUND * len(best))]


def key_of(entry: Task | Verdict) -> Key:
    """The key of a task's past."""
    return (_name(entry), entry.device, tried_label(entry))


def _name(entry: Task | Verdict) -> str:
    return f"{entry.operation}:{entry.implementation}"


def _changed(name: str, digest: str, nights: Sequence[Chronicle]) -> int:
    """The number of the first night since which the source has been the present one."""
    number = len(nights)
    while number and nights[number - 1].night.sources.get(name) == digest:
        number -= 1
    return number


def _past(nights: Sequence[Chronicle], tonight: Sequence[Verdict], changed: Mapping[str, int]) -> dict[Key, Past]:
    """The past of each task that was tried since its source changed."""
    past: dict[Key, Past] = {}

    def add(key: Key, examples: int, seconds: float, once: int, refuted: bool) -> None:
        earlier = past[key].examples if key in past else 0
        past[key] = Past(earlier + examples, examples, max(seconds, 1e-3), once, refuted)

    for number, chronicle in enumerate(nights):
        for (name, device), standing in chronicle.standings.items():
            if number >= changed.get(name, 0):
                for label, tried in standing.tried.items():
                    refuted = standing.verdicts.get(label.partition(" ")[0]) == "refuted"
                    add((name, device, label), *tried, refuted)
    for v in tonight:
        add(key_of(v), v.examples, v.seconds, v.once, v.status == "refuted")
    return past
