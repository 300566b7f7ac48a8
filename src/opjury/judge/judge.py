"""judge(task) → Verdict: whether one check of one implementation holds.

Tasks are judged in this process, or in isolated worker processes, where a hang or a crash becomes a verdict.
"""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from opjury.judge.checks.state import preserved_modules, preserved_state
from opjury.judge.oracle import ContractError
from opjury.judge.rehearsal import rehearsed
from opjury.judge.replay import repeated, write_script
from opjury.judge.search import Search, pace_of
from opjury.judge.task import PROFILES, SHRINKING, Task, call_limit, implementation_of
from opjury.judge.text import describe
from opjury.judge.time_limit import PATIENCE
from opjury.judge.trial import Trial
from opjury.model import registry
from opjury.model.declared import source_of
from opjury.model.device import lost
from opjury.model.environment import environment
from opjury.model.implementation import Implementation
from opjury.model.records import Verdict
from opjury.run.pool import Dropped, Fallen, isolated


def judge(task: Task) -> Verdict:
    """Try one check on drawn cases, and shrink a refutation to a smallest counterexample.

    Returns
    -------
    Verdict
        Never raises for what an implementation does.
    """
    started = time.perf_counter()
    operation, check = registry.operation(task.operation), registry.check(task.check)
    try:
        implementation = implementation_of(task)
    except Exception as error:
        why = f"the function cannot be loaded: {type(error).__name__}: {error}"
        return Verdict(**verdict_fields(task), status="refuted", message=why)
    base = verdict_fields(task, implementation)
    reason = check.why_not(operation, implementation, task.device)
    if reason:
        return Verdict(**base, status=reason[0], message=reason[1])
    if lost():
        return Verdict(**base, status="error", message="an earlier call made the GPU unusable for this process")
    trial = Trial(operation, implementation, task.device, pace_of(task, implementation), declared=task.function is None)
    search = Search(trial, task)
    with preserved_state(), preserved_modules(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            search.run()
            cause = search.cause() if search.refuted and task.shrink else ""
        except Exception as error:  # the contract's or our own fault: nothing is known about the implementation
            message = str(error) if isinstance(error, ContractError) else describe(error)
            tried = trial.in_flight.to_json() if trial.in_flight else None
            return Verdict(**base, status="error", message=message, counterexample=tried)
    base |= dict(
        examples=search.executed,
        error_of_bound=trial.of_bound,
        error_ulps=trial.ulps,
        seconds=time.perf_counter() - started,
        once=sum(count == 1 for count in search.seen.values()),
    )
    waiver = implementation.waived_on(task.device).get(task.check, "")
    if search.refuted is None:
        if search.slow and not search.enough:
            return Verdict(**base, status="waived" if waiver else "undecided", waiver=waiver, message=search.slow)
        if search.executed:
            return Verdict(**base, status="holds", waiver=waiver, message=search.slow)
        return Verdict(**base, status="skipped", message=search.problem)
    case, refuted = search.refuted

    def script(message: str, many: bool) -> str:
        function, parameters = implementation.function, list(inspect.signature(operation.reference).parameters)
        told = f"{task.operation}:{task.implementation}, {task.check}: {message}"
        return write_script(function, parameters, case, told, repeated(refuted.steps) if many else refuted.steps)

    message = (refuted.mechanism if not cause and refuted.mechanism else refuted.message) + search.note
    message, text = rehearsed(script, message, 10 * trial.pace.limit if search.can_be_shown else 0.0)
    return Verdict(
        **base,
        status="waived" if waiver else "refuted",
        message=message,
        waiver=waiver,
        observed=refuted.observed,
        expected=refuted.expected,
        cause=cause,
        counterexample=case.settled.to_json(),
        script=text,
    )


def verdict_fields(task: Task, implementation: Implementation | None = None) -> dict[str, Any]:
    """The fields of a verdict that do not depend on what is found."""
    file, line = source_of(implementation.function) if implementation else ("", 0)
    return dict(
        operation=task.operation,
        implementation=task.implementation,
        check=task.check,
        dtypes=task.dtypes,
        device=task.device,
        seed=task.seed,
        profile=task.profile,
        control=bool(implementation and implementation.refuted),
        file=file,
        line=line,
        environment=environment(),
    )


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
    """Judge in `jobs` worker processes, and yield verdicts as they are done."""
    device = next((task.device for task in tasks), "cpu")
    for task, outcome in isolated(judge, tasks, jobs, time_limit_of, device=device):
        yield task, verdict_of(task, outcome)


def time_limit_of(task: Task) -> float:
    """Seconds for a whole task, far above what its calls and its shrinking may take, on a busy machine too."""
    return 60 + 10 * PATIENCE * call_limit(task) + 4 * SHRINKING + PROFILES[task.profile].examples


def verdict_of(task: Task, outcome: Verdict | Fallen | Dropped) -> Verdict:
    """The verdict itself, or one that says why there is none."""
    if isinstance(outcome, Verdict):
        return outcome
    entry = None if task.function else registry.entry(task.operation, task.implementation)
    fields = verdict_fields(task, entry)
    if isinstance(outcome, Dropped):
        return Verdict(**fields, status="error", message=outcome.why)
    waiver = (entry.waived_on(task.device) if entry else dict(task.waives)).get(task.check, "")
    return Verdict(**fields, status="waived" if waiver else "refuted", waiver=waiver, examples=1, message=outcome.why)
