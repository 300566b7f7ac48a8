"""A pytest decorator that makes each function × check (× dtypes) a test."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from opjury.audit import judge_tasks, planned
from opjury.judge.task import Request, Task, implementation_of
from opjury.model.case import Case
from opjury.model.implementation import Error, Waives
from opjury.model.outcome import Outcome, standing
from opjury.model.records import Verdict


def parametrize_with_checks(
    implementations: Iterable[Callable[..., Any] | str],
    operation: str,
    *,
    profile: str = "quick",
    checks: str | Sequence[str] | None = None,
    waives: Waives | None = None,
    error: Callable[..., Any] | Error | None = None,
    dtypes: str | Sequence[str] | None = None,
    device: str = "cpu",
    seed: int = 0,
    scale: float = 1.0,
    database: str = "",
    isolate: bool = False,
) -> pytest.MarkDecorator:
    """Make a test of each function × check (× group of dtypes), which judges when it calls its argument `check`.

    A refuted check fails with its counterexample. One that does not apply, or is undecided, is skipped, with the reason. A waived one is an expected
    failure, tried with all dtypes in one test. Registered implementations keep their own waivers; negative controls must be refuted.

    The parameters that are not listed are those of `opjury.audit`, `waives` and `error` for all of the plain functions. By default
    every run draws the same cases, and failing cases are not kept.

    Parameters
    ----------
    implementations : iterable of callable or str
        Plain functions, or names of registered implementations.
    operation : str
        The operation that they implement.
    isolate : bool
        Judge in worker processes, so that a crash fails one test and does not end the test run.

    Raises
    ------
    UnknownName
        For an operation, implementation, check, profile or dtype that does not exist, with the nearest that do.

    Examples
    --------
    >>> @opjury.parametrize_with_checks([my_mean], operation="slice_mean")
    ... def test_mine(check):
    ...     check()
    """
    request = Request(
        profile=profile,
        checks=checks,
        dtypes=dtypes,
        device=device,
        seed=seed,
        scale=scale,
        database=database,
        waives=waives,
        error=error,
    )
    parameters = []
    for implementation in implementations:
        tasks, isolated = planned(request, implementation, operation, isolate=isolate)
        for group in grouped(tasks):
            first = group[0]
            dtypes_name = first.group if len(group) == 1 else "all"
            name = f"{first.implementation}-{first.check}-{dtypes_name}-{device}"
            parameters.append(pytest.param(functools.partial(require, group, isolate=isolated), id=name))
    return pytest.mark.parametrize("check", parameters)


def grouped(tasks: Iterable[Task]) -> list[list[Task]]:
    """The tasks of each test: one, or those of all dtypes for a waived check and a negative control, which may fail for some only."""
    groups: dict[Any, list[Task]] = {}
    for task in tasks:
        entry = implementation_of(task)
        together = bool(entry.refuted) or task.check in entry.waived_on(task.device)
        groups.setdefault((task.implementation, task.check, () if together else task.dtypes), []).append(task)
    return list(groups.values())


def require(tasks: Sequence[Task], *, isolate: bool = False) -> None:
    """Judge tasks of one implementation and one check, and fail the test unless the verdicts are as declared."""
    __tracebackhide__ = True
    entry, check = implementation_of(tasks[0]), tasks[0].check
    verdicts = list(judge_tasks(tasks, jobs=1, isolate=isolate))
    outcome = Outcome(standing(verdicts), entry.refuted)
    status = outcome.standing.verdicts[check]
    shown = next(v for v in verdicts if v.status == status)
    if why := outcome.unexpected.get(check):
        pytest.fail(report(shown) if status in ("refuted", "error") else f"{shown.name}: {why}", pytrace=False)
    if not outcome.judged or status == "undecided":
        pytest.skip(f"{status}: {shown.message}")
    if status == "waived":
        pytest.xfail(shown.told)
    if shown.waiver:
        pytest.skip(f"{check} is {shown.told}")


def report(verdict: Verdict) -> str:
    """A verdict in print: the case, what was observed and expected, and the script that repeats it."""
    lines = [f"{verdict.name}: {verdict.check} ({', '.join(verdict.dtypes)}): {verdict.message}"]
    rows = {
        "case": Case.from_json(verdict.counterexample).code() if verdict.counterexample else "",
        "observed": verdict.observed,
        "expected": verdict.expected,
        "cause": f"{verdict.cause} fails for the same reason" if verdict.cause else "",
        "seed": f"{verdict.seed}, {verdict.examples} cases tried",
    }
    lines += [f"{name + ':':10}" + text.replace("\n", "\n" + " " * 10) for name, text in rows.items() if text]
    if verdict.script:
        lines += ["", verdict.script]
    return "\n".join(lines)
