"""Judging tasks: in this process, or in isolated worker processes, where a hang or a crash becomes a verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from opjury.judge.judge import judge, verdict_fields
from opjury.judge.task import PROFILES, SHRINKING, Task, call_limit
from opjury.judge.time_limit import PATIENCE
from opjury.model import registry
from opjury.model.records import Verdict
from opjury.run.pool import Dropped, Fallen, isolated


def run_here(tasks: Sequence[Task]) -> Iterator[tuple[Task, Verdict]]:
    """Judge in this process, one after another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for task in tasks:
            yield task, judge(task)
    finally:
        torch.set_num_threads(before)


def run_isolated(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Verdict]]:
    """Judge in `jobs` worker processes; results come as they are done. A hang or a crash becomes a verdict."""
    device = next((task.device for task in tasks), "cpu")
    for task, outcome in isolated(judge, tasks, jobs, time_limit_of, device=device):
        yield task, verdict_of(task, outcome)


def time_limit_of(task: Task) -> float:
    """Seconds for a whole task, far above what its calls and its shrinking may take, on a busy machine too."""
    profile = PROFILES[task.profile]
    return 60 + 10 * PATIENCE * call_limit(task) + 4 * SHRINKING + profile.examples


def verdict_of(task: Task, outcome: Verdict | Fallen | Dropped) -> Verdict:
    """The verdict itself, or what it means that there is none."""
    if isinstance(outcome, Verdict):
        return outcome
    known = isinstance(outcome, Fallen)
    entry = None if task.function else registry.entry(task.operation, task.implementation)
    waiver = (entry.waived_on(task.device) if entry else dict(task.waives)).get(task.check, "")
    return Verdict(
        **verdict_fields(task, entry),
        status="error" if not known else "waived" if waiver else "refuted",
        waiver=waiver if known else "",
        examples=int(known),
        message=outcome.why,
    )
