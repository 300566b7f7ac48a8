"""Calls beyond 2³¹ elements: what grows, what is compared, and who is refuted; here with a smaller limit than that."""

import math

import numpy as np
import pytest

from opjury.judge import bounds, draw, oracle
from opjury.judge.draw import repeated_cases
from opjury.judge.judge import judge
from opjury.judge.task import Task
from opjury.model import registry
from opjury.model.case import Case
from opjury.run.ship import Function

FEW = 3000  # elements, beyond which a call is tried here
GROWING = [o.name for o in registry.operations() if registry.workload(o.name).growths]


@pytest.fixture(autouse=True)
def a_smaller_limit(monkeypatch):
    monkeypatch.setattr(draw, "BEYOND", FEW)
    monkeypatch.setattr(bounds, "_CHUNK", FEW // 2)


def judged(operation, implementation, function=None, check="agreement"):
    """The nightly profile, of which these tests want the last cases alone."""
    function = Function.of(function) if function else None
    return judge(Task(operation, implementation, check, ("float32",), "nightly", scale=0.001, function=function))


@pytest.mark.parametrize("operation", GROWING)
def test_what_is_repeated_gives_the_result_repeated(operation):
    contract = registry.operation(operation)
    cases = list(repeated_cases(contract, ("float32",), 1, "cpu"))
    assert len(cases) == len(registry.workload(operation).growths)
    for case in cases:
        args, kwargs = case.build()
        result = registry.entry(operation, contract.baseline).function(*args, **kwargs)
        assert result.numel() > FEW
        expected = oracle.expected(contract, case)
        assert tuple(result.shape) == bounds.repeated_shape(expected, case.repeated)
        assert bounds.wrong_at(result, expected, case.repeated) is None


@pytest.mark.parametrize("operation", GROWING)
def test_one_wrong_element_is_found_wherever_it_is(operation):
    contract, rng = registry.operation(operation), np.random.default_rng(0)
    for case in repeated_cases(contract, ("float32",), 1, "cpu"):
        args, kwargs = case.build()
        result = registry.entry(operation, contract.baseline).function(*args, **kwargs)
        expected = oracle.expected(contract, case)
        for flat in (0, result.numel() - 1, *rng.integers(result.numel(), size=5).tolist()):
            at = tuple(int(place) for place in np.unravel_index(flat, result.shape))
            for value in (result[at] + 9, math.nan):
                spoilt = result.clone()
                spoilt[at] = value
                assert bounds.wrong_at(spoilt, expected, case.repeated) == at


def narrow_cumsum(x, dim):
    """Right as long as an index fits into twelve bits."""
    result = x.cumsum(dim)
    if result.numel() > 4095 and x.shape[0] > 140:
        result.view(-1)[4096:] = 0
    return result


def test_who_is_wrong_beyond_the_limit_alone_is_refuted_with_a_short_script(monkeypatch):
    monkeypatch.setattr(draw, "BEYOND", 2 * FEW)
    assert judged("cumsum", "torch_cumsum").status == "holds"
    verdict = judged("cumsum", "narrow", narrow_cumsum)
    assert verdict.status == "refuted"
    assert "repetitions of a small case" in verdict.message
    assert verdict.message.startswith("result[102, 16] is 0; it should be")
    assert ".repeat([20, 1])" in verdict.script
    assert "result = f(*args, **kwargs)[102, 16]" in verdict.script
    assert len(verdict.script) < 20_000
    scope: dict = {}
    with pytest.raises(AssertionError):
        exec(verdict.script, scope)
    assert scope["args"][0].shape == (160, 40)
    again = Case.from_json(verdict.counterexample)
    assert again.repeated.times == 20
    assert (
        judge(
            Task(
                "cumsum", "narrow", "agreement", ("float32",), function=Function.of(narrow_cumsum), only=again.to_json()
            )
        ).status
        == "refuted"
    )


def raising(x, dim):
    if x.numel() > FEW:
        raise RuntimeError("CUDA out of memory. Tried to allocate 8.00 GiB")
    return x.cumsum(dim)


def cut_off(x, dim):
    return x.cumsum(dim)[:-1] if x.numel() > FEW and 40 in x.shape[:2] else x.cumsum(dim)


@pytest.mark.parametrize(("function", "message"), [(raising, ""), (cut_off, "repetitions of a small case")])
def test_want_of_memory_refutes_nobody_a_wrong_shape_does(function, message):
    verdict = judged("cumsum", "mine", function)
    assert verdict.status == ("refuted" if message else "holds"), verdict.message
    assert message in verdict.message


def test_what_does_not_fit_is_not_tried(monkeypatch):
    contract = registry.operation("cumsum")
    monkeypatch.setattr(draw, "BEYOND", 2**31)
    needed = 3 * 2 * 4 * 2**31  # bytes: three times an argument and a result of float32
    for free, count in ((1.1 * needed, 2), (0.9 * needed, 0)):
        monkeypatch.setattr(draw, "free_memory", lambda device, free=free: free)
        cases = list(repeated_cases(contract, ("float32",), 1, "cpu"))
        assert len(cases) == count
        assert all(2**31 < case.elements * case.repeated.times < 2**31 + 1000 for case in cases)
    assert not list(repeated_cases(contract, ("float64",), 1, "cpu"))
