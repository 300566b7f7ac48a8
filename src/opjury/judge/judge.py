"""judge(task) → Verdict: one check of one implementation, tried on drawn cases until it is refuted or they are used up."""

from __future__ import annotations

import inspect
import time
import warnings
from typing import Any

from opjury.judge.checks.state import preserved_modules, preserved_state
from opjury.judge.oracle import ContractError
from opjury.judge.replay import write_script
from opjury.judge.search import Search
from opjury.judge.task import PROFILES, Task, call_limit, implementation_of
from opjury.judge.text import describe
from opjury.judge.trial import Trial
from opjury.model import registry
from opjury.model.declared import source_of
from opjury.model.device import lost
from opjury.model.environment import environment
from opjury.model.implementation import Implementation
from opjury.model.records import Verdict


def judge(task: Task) -> Verdict:
    """Try one check on drawn cases; a refutation is shrunk to a smallest counterexample.

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
        return Verdict(**base, status="error", message="an earlier call has lost this process the GPU")
    profile = PROFILES[task.profile]
    trial = Trial(operation, implementation, task.device, call_limit(task), declared=task.function is None)
    search = Search(trial, check, profile)
    with preserved_state(), preserved_modules(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            search.run(task)
            cause = search.cause(task) if search.refuted and task.shrink else ""
        except Exception as error:  # the contract's or our own fault: nothing is known about the implementation
            message = str(error) if isinstance(error, ContractError) else describe(error)
            tried = trial.in_flight.to_json() if trial.in_flight else None
            return Verdict(**base, status="error", message=message, counterexample=tried)
    base |= dict(
        examples=search.executed,
        error_of_bound=trial.of_bound,
        error_ulps=trial.ulps,
        seconds=time.perf_counter() - started,
        once=search.once,
    )
    waiver = implementation.waived_on(task.device).get(task.check, "")
    if search.refuted is None:
        if not search.executed:
            return Verdict(
                **base, status="skipped", message=search.problem or "no drawn case was suitable for this check"
            )
        return Verdict(**base, status="holds", waiver=waiver)
    case, refuted = search.refuted
    message = refuted.message + search.note
    return Verdict(
        **base,
        status="waived" if waiver else "refuted",
        message=message,
        waiver=waiver,
        observed=refuted.observed,
        expected=refuted.expected,
        cause=cause,
        counterexample=case.to_json(),
        script=write_script(
            implementation.function,
            list(inspect.signature(operation.reference).parameters),
            case,
            f"{task.operation}:{task.implementation}, {task.check}: {message}",
            refuted.steps,
        ),
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
