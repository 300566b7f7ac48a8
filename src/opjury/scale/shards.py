"""One audit as several runs, a CI matrix: a split of its tasks that every run computes alike."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Sequence

from opjury.audit import identity
from opjury.judge.judge import wanted
from opjury.judge.task import Task
from opjury.model.records import Part, Verdict

Shard = tuple[int, int]  # the third of eight


def split(tasks: Sequence[Task], of: int, recorded: Iterable[Verdict] = ()) -> list[list[Task]]:
    """Parts of about equal cost, with every task in exactly one.

    It depends on nothing but the arguments. The tasks of one operation and check stay together: they share their cases, which
    are drawn once, and what must hold of a check in whatever dtype, that a negative control is refuted in it, can be said of a
    part alone.

    Parameters
    ----------
    tasks : sequence of Task
    of : int
        How many parts; some are empty where there are more of them than operations with checks.
    recorded : iterable of Verdict
        What an earlier audit found: its seconds are the costs. Without a record, examples are.
    """
    cost = _costs(tasks, recorded)
    units: dict[tuple[str, ...], list[Task]] = {}
    for task in sorted(tasks, key=identity):
        units.setdefault(_unit(task), []).append(task)
    total = {unit: sum(cost[identity(task)] for task in mine) for unit, mine in units.items()}
    load = [(0.0, 0, number) for number in range(of)]  # the dearest unit goes where cost and tasks are least
    part_of = {}
    for unit in sorted(units, key=lambda unit: (-total[unit], unit)):
        seconds, count, number = heapq.heappop(load)
        part_of[unit] = number
        heapq.heappush(load, (seconds + total[unit], count + len(units[unit]), number))
    return [[task for task in tasks if part_of[_unit(task)] == number] for number in range(of)]


def part(tasks: Sequence[Task], shard: Shard, recorded: Iterable[Verdict] = ()) -> tuple[list[Task], Part]:
    """The tasks of one part, counted from 1, and its record."""
    number, of = shard
    parts = split(tasks, of, recorded)
    mine = parts[number - 1]
    told = [sorted((identity(task), task.profile, task.seed, task.scale) for task in each) for each in parts]
    whole = hashlib.sha256(repr(told).encode()).hexdigest()[:16]
    seed = tasks[0].seed if tasks else 0
    count = len(set(map(identity, mine)))
    return mine, Part(number=number, of=of, tasks=count, whole=whole, seed=seed)


def _unit(task: Task) -> tuple[str, ...]:
    return (task.operation, task.check, task.device)


def _costs(tasks: Sequence[Task], recorded: Iterable[Verdict]) -> dict[tuple[object, ...], float]:
    """Recorded seconds, and for tasks without a record what their examples would cost at the rate of the others."""
    seconds = {identity(verdict): verdict.seconds for verdict in recorded}
    examples = {identity(task): float(wanted(task)) for task in tasks}
    known = seconds.keys() & examples.keys()
    rate = sum(sorted(seconds[key] for key in known)) / sum(examples[key] for key in known) if known else 1.0
    return {key: seconds.get(key, rate * count) for key, count in examples.items()}
