"""Tests for those who write functions, each check a test, and for those who write contracts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
import scipy
import torch

from opjury.audit import judge_tasks, planned
from opjury.judge import oracle
from opjury.judge.bounds import UNIT_ROUNDOFF
from opjury.judge.checks.values import called, wide
from opjury.judge.draw import Kind, stream
from opjury.judge.strategies import tiers_of
from opjury.judge.task import Request, Task, implementation_of
from opjury.model import registry
from opjury.model.case import Case
from opjury.model.dtypes import DTYPES, is_floating
from opjury.model.exact import carrier, integer_limits, round_to, torch_dtype
from opjury.model.implementation import Error, Waives
from opjury.model.operation import Operation
from opjury.model.outcome import Outcome, standing
from opjury.model.records import Verdict

_EACH = 8  # cases of each dtype and tier
_NEAR = 0.05  # how far the sides of a law may be apart, of their largest value, where half types round


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


def check_contract(operation: str, *, seed: int = 0) -> list[str]:
    """Fail unless the functions of a contract fit together, on cases of each dtype and tier that it declares.

    The reference computes whatever is drawn; magnitude, terms and gradient have its shape; a result is of the kind of the declared dtype,
    and representable in the exact tier; a movement only copies; what has no gradient declared is linear; laws are pairs that are near for
    the reference itself. No implementation takes part.

    Parameters
    ----------
    operation : str
        The name of an operation that is declared.

    Returns
    -------
    list of str
        What is no fault: that the reference takes no exact numbers, illegal calls that it takes, laws that never applied.

    Raises
    ------
    AssertionError
        With the case, the field, and what is wrong.

    Examples
    --------
    >>> def test_what_it_means():
    ...     opjury.check_contract("suffix_sum")
    """
    __tracebackhide__ = True
    contract = registry.operation(operation)
    idle, taken = {law.name for law in contract.laws}, set()
    notes: set[str] = set()
    for case in _cases_of(contract, seed):
        try:
            inspect.signature(contract.reference).bind(*case.args, **case.kwargs)
            with np.errstate(all="ignore"):
                if case.tier != "illegal":
                    _check_values(contract, case)
                    notes.update(_arithmetic(contract, case))
                    idle -= set(_laws_tried(contract, case))
                elif _takes(contract, case):
                    taken.add(case.rule)
        except (AssertionError, TypeError, oracle.ContractError) as error:
            raise AssertionError(f"{operation}: {error} [for {case.code()}, {case.tier} tier]") from None
    if taken:
        notes.add(f"rejects: the reference itself takes calls where {'; '.join(sorted(taken))}")
    return sorted(notes) + [f"laws: {name!r} was not tried on what was drawn" for name in sorted(idle)]


def _cases_of(contract: Operation, seed: int) -> Iterator[Case]:
    tiers = (*contract.tiers, *(["special"] if contract.result == "tensor" else []), "illegal")
    for dtype in contract.dtypes:
        for tier in dict.fromkeys(own for each in tiers for own in tiers_of((each,), dtype)):
            kind = Kind(contract.name, (dtype,), (tier,), ("contiguous",), boundaries=False, seed=seed)
            yield from islice(stream(kind), _EACH)


def _demand(holds: Any, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)


def _check_values(contract: Operation, case: Case) -> None:
    """The result has the kind of its dtype, its bound has its shape, and gradients have those of the arguments."""
    dtype, result = oracle.result_dtype(contract, case), oracle.evaluate(contract, case)
    _demand(dtype in DTYPES, f"result_dtype returns {dtype!r}; it must be a dtype: {', '.join(DTYPES)}")
    complex_too = dtype.startswith("complex") or result.dtype.kind != "c"
    _demand(complex_too, f"the reference returns complex numbers; result_dtype is {dtype}")
    if not is_floating(dtype):
        low, high = integer_limits(dtype)
        whole = result.dtype.kind in "biu" and np.all((result >= low) & (result <= high))
        _demand(whole, f"the reference returns {result.tolist()}; result_dtype is {dtype}")
    expected = oracle.expected(contract, case)
    if contract.kind == "movement":
        copied = np.array_equal(expected.value, result.astype(expected.value.dtype), equal_nan=True)
        _demand(copied, "the reference returns other numbers than it copies; kind is 'movement'")
    elif case.tier == "exact" and is_floating(case.dtype):
        exact = np.array_equal(expected.value, round_to(expected.value, dtype), equal_nan=True) and not np.any(
            expected.rest
        )
        draw = "cases must draw what has an exact result, or tiers leave out 'exact'"
        _demand(exact, f"the exact result {expected.value.tolist()} is not representable in {dtype}; {draw}")
    if contract.differentiable and is_floating(dtype) and case.tier != "special" and case.elements <= 40:
        for place in case.differentiable:
            oracle.expected_gradient(contract, case, place, np.ones(result.shape, carrier(dtype)))
            if contract.gradient is None and contract.kind != "movement":
                _check_linear(contract, case, place, result)


def _check_linear(contract: Operation, case: Case, place: int | str, result: np.ndarray) -> None:
    """The reference is its Jacobian times the argument, where no gradient is declared."""
    values = dict(case.leaves())[place].values
    matrix = oracle.jacobian(contract, case, place, np.arange(values.size))
    column = values.reshape(-1, *[1] * result.ndim)
    parts = matrix.straight * column, matrix.conjugate * np.conj(column)
    apart, size = np.abs(sum(part.sum(0) for part in parts) - result), sum(np.abs(part).sum(0) for part in parts)
    linear = np.all(apart <= 1e-9 * size + values.size * np.finfo(float).smallest_subnormal)
    _demand(linear, f"the reference is not linear in argument {place!r}; gradient must be declared")


def _laws_tried(contract: Operation, case: Case) -> Iterator[str]:
    """The laws that apply to a case, each of which holds for the reference."""
    for law in contract.laws:
        args, kwargs = case.plain.build()
        try:
            sides = law.sides(
                functools.partial(_live, contract, case), np.random.default_rng(case.seed), *args, **kwargs
            )
        except Exception:  # as a check: the function may not take these
            continue
        if sides is None:
            continue
        paired = isinstance(sides, (tuple, list)) and len(sides) == 2
        _demand(paired, f"the law {law.name!r} returns {sides!r}; it must be a pair or None")
        left, right = (np.asarray(wide(side)).astype(complex) for side in sides)
        _demand(left.shape == right.shape, f"the law {law.name!r} compares shapes {left.shape} and {right.shape}")
        if case.tier == "exact" and left.size:
            near = np.abs(left - right) <= _NEAR * max(np.abs(left).max(), np.abs(right).max())
            both = f"{left.tolist()} and {right.tolist()}"
            _demand(near.all(), f"the law {law.name!r} does not hold for the reference: {both}")
        yield law.name


def _live(contract: Operation, case: Case, *args: Any, **kwargs: Any) -> Any:
    """The reference as an implementation of a call like that of a case."""
    result = np.asarray(contract.reference(*map(wide, args), **{name: wide(value) for name, value in kwargs.items()}))
    if contract.result == "sparse":
        return scipy.sparse.csc_array(result)
    dtype = oracle.result_dtype(contract, called(case, args, kwargs))
    return torch.from_numpy(result.astype(carrier(dtype))).to(torch_dtype(dtype))


def _takes(contract: Operation, case: Case) -> bool:
    """Whether the reference returns a result for an illegal call."""
    _demand(case.rule, "an illegal call has no rule; rejects must draw illegal(rule, …)")
    try:
        oracle.evaluate(contract, case)
    except oracle.ContractError:
        return False
    return True


def _arithmetic(contract: Operation, case: Case) -> Iterator[str]:
    """In which arithmetic the reference is computed, where that is not exact."""
    dtype = oracle.result_dtype(contract, case)
    if case.tier != "rounding" or not is_floating(dtype) or contract.kind == "movement":
        return
    _, unit = oracle.finest(contract, case, dtype)
    if unit and case.elements <= oracle.EXACT_ELEMENTS:
        yield "reference: it takes no elements of Fraction; it is computed in long double or float64"
    if unit == UNIT_ROUNDOFF["float64"] and dtype in ("float64", "complex128") and np.finfo(np.longdouble).nmant > 52:
        yield "reference: it computes in float64 alone; to judge float64 more closely it must take Fraction or numpy.longdouble"
