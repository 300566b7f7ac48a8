"""A slow function is not refuted, and a call that does not end is."""

import dataclasses
import itertools
import time

import pytest
import torch

import opjury
from opjury.judge import search, task
from opjury.judge.time_limit import Endless, Pace, TimeLimitExceeded, Unexplained

OPTIONS = dict(operation="cumsum", dtypes="float32", seed=0, database="", isolate=False)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Limits that are a twentieth of the usual ones, and nothing known of functions before."""
    quick = dataclasses.replace(task.PROFILES["quick"], limit=0.2)
    monkeypatch.setitem(task.PROFILES, "quick", quick)
    monkeypatch.setattr(search, "_endless", {})
    monkeypatch.setattr(search, "_HOPELESS", 0.05)


def wait(seconds):
    """Compute for some seconds of processor time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_right_function_that_is_slow_at_all_sizes_is_undecided():
    def slow(x, dim):
        wait(0.3)
        return torch.cumsum(x, dim)

    found = opjury.audit(slow, checks=["agreement", "form", "terminates"], **OPTIONS)
    assert {v.check: v.status for v in found.verdicts} == dict.fromkeys(
        ["agreement", "form", "terminates"], "undecided"
    )
    assert "s a call at these sizes; " in found.verdicts[0].message
    assert not found.ok
    assert not found.surprises()


def test_what_was_not_tried_of_a_function_that_is_slow_for_large_arguments_is_said():
    def quadratic(x, dim):
        wait(1e-6 * x.numel() ** 2)
        return torch.cumsum(x, dim)

    (verdict,) = opjury.audit(quadratic, checks="agreement", **OPTIONS).verdicts
    assert verdict.status == "holds"
    assert verdict.examples >= 20
    assert "tried" in verdict.message


def test_a_slow_function_that_is_wrong_is_refuted():
    def wrong(x, dim):
        wait(0.05)
        return torch.cumsum(x, dim) * 2

    (verdict,) = opjury.audit(wrong, checks="agreement", **OPTIONS).verdicts
    assert verdict.status == "refuted"
    assert opjury.Case.from_json(verdict.counterexample).elements == 1


def test_a_call_that_does_not_end_is_refuted_where_it_is_seen():
    def endless_for_some(x, dim):
        while x.numel() % 5 == 3:
            pass
        return torch.cumsum(x, dim)

    found = opjury.audit(endless_for_some, checks=["agreement", "terminates"], **OPTIONS)
    verdict = found.refuted[0]
    assert "no answer within" in verdict.message
    assert ", where its size explains" in verdict.message
    assert opjury.Case.from_json(verdict.counterexample).elements % 5 == 3
    assert "faulthandler" in verdict.script


def test_a_derivative_that_does_not_end_is_refuted():
    class Endless(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, dim):
            ctx.dim = dim
            return x.cumsum(dim)

        @staticmethod
        def backward(ctx, grad):
            while True:
                pass

    (verdict,) = opjury.audit(Endless.apply, checks="gradient", **OPTIONS).verdicts
    assert verdict.status == "refuted"
    assert "no answer within" in verdict.message


def test_a_function_that_is_known_not_to_end_for_some_case_is_not_waited_for_again():
    def endless_for_some(x, dim):
        while x.numel() % 5 == 3:
            pass
        return torch.cumsum(x, dim)

    found = opjury.audit(endless_for_some, checks=["agreement", "layouts", "terminates"], **OPTIONS)
    agreement, layouts, terminates = found.verdicts
    assert agreement.status == "refuted"
    assert layouts.status in ("holds", "undecided")
    assert "another call of this function does not end" in layouts.message
    assert terminates.status != "undecided"


def test_a_call_that_is_late_by_chance_is_made_again():
    calls = itertools.count(1)

    def late_at_first(x, dim):
        while next(calls) == 1:
            wait(0.3)
        return torch.cumsum(x, dim)

    (verdict,) = opjury.audit(late_at_first, checks="form", **OPTIONS).verdicts
    assert verdict.status == "holds"


def test_a_module_is_imported_to_its_end(tmp_path, monkeypatch):
    text = "import time\nuntil = time.process_time() + 0.6\nwhile time.process_time() < until:\n    pass\n"
    (tmp_path / "slow_to_import.py").write_text(text + f"open({str(tmp_path / 'imports')!r}, 'a').write('x')\n")
    monkeypatch.syspath_prepend(tmp_path)
    calls = itertools.count(1)

    def importing(x, dim):
        if next(calls) == 5:
            import slow_to_import  # noqa: F401
        return torch.cumsum(x, dim)

    (verdict,) = opjury.audit(importing, checks="form", **OPTIONS).verdicts
    assert (verdict.status, verdict.message) == ("holds", "")
    assert (tmp_path / "imports").read_text() == "x"


def spend(pace, elements, seconds):
    with pace.timed(elements):
        wait(seconds)


def test_the_pace_tells_large_from_endless():
    pace = Pace(limit=0.2, budget=0.4)
    with pytest.raises(Unexplained):
        spend(pace, 10, 1)
    spend(pace, 10, 0.002)
    assert pace.allowed(10) == pytest.approx(0.1)  # a quarter of the time
    with pytest.raises(Unexplained):
        spend(pace, 10, 1)
    pace.spent = 0.0
    with pytest.raises(TimeLimitExceeded) as error:
        spend(pace, 1000, 1)  # eight seconds would be explained
    assert error.type is TimeLimitExceeded
    pace.patient = True
    assert pace.allowed(10) > 0.35
    with pytest.raises(Endless, match="where its size explains"):
        spend(pace, 10, 5)


def test_a_task_whose_time_is_over_makes_no_more_calls():
    pace = Pace(limit=1.0, budget=0.01)
    spend(pace, 1, 0.03)
    with pytest.raises(TimeLimitExceeded):
        spend(pace, 1, 0)
