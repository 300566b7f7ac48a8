"""Shards: a split of an audit's tasks that every job of a CI matrix computes alike."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Sequence

from opjury.audit import identity
from opjury.judge.task import Task, wanted
from opjury.model.records import Part, Verdict


def split(tasks: Sequence[Task], of: int, recorded: Iterable[Verdict] = ()) -> list[list[Task]]:
    """Parts of about equal cost, with every task in exactly one.

    The split depends on the arguments only. The tasks of one operation and check stay together: they share their cases, which are
    drawn once, and one part is enough to tell whether a check refutes a negative control in some dtype.

    Parameters
    ----------
    tasks : sequence of Task
    of : int
        The number of parts; some are empty if there are fewer pairs of operation and check.
    recorded : iterable of Verdict
        The verdicts of an earlier audit: their seconds are the costs. Without a record, the number of examples is.
    """
    cost = _costs(tasks, recorded)
    units: dict[tuple[str, ...], list[Task]] = {}
    for task in sorted(tasks, key=identity):
        units.setdefault(_unit(task), []).append(task)
    total = {unit: sum(cost[identity(task)] for task in mine) for unit, mine in units.items()}
    load = [(0.0, 0, number) for number in range(of)]
    part_of = {}
    # The most expensive unit goes to the part with the least cost so far, then with the fewest tasks.
    for unit in sorted(units, key=lambda unit: (-total[unit], unit)):
        seconds, count, number = heapq.heappop(load)
        part_of[unit] = number
        heapq.heappush(load, (seconds + total[unit], count + len(units[unit]), number))
    return [[task for task in tasks if part_of[_unit(task)] == number] for number in range(of)]


def part(tasks: Sequence[Task], shard: tuple[int, int], recorded: Iterable[Verdict] = ()) -> tuple[list[Task], Part]:
    """The tasks of part `shard[0]`, counted from 1, of `shard[1]`, and its record."""
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
    """The recorded seconds of each task, or without a record, its examples at the rate of the other tasks."""
    seconds = {identity(verdict): verdict.seconds for verdict in recorded}
    examples = {identity(task): float(wanted(task)) for task in tasks}
    known = seconds.keys() & examples.keys()
    rate = sum(sorted(seconds[key] for key in known)) / sum(examples[key] for key in known) if known else 1.0
    return {key: seconds.get(key, rate * count) for key, count in examples.items()}
