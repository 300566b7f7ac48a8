"""opjury.audit on registered names and on plain functions, good and bad."""

import copy
import dataclasses
import gc
import os
import pickle
import signal
import sys

import numpy as np
import pytest
import torch

import opjury
from opjury import Implementation
from opjury.judge.search import Search
from opjury.judge.task import PROFILES
from opjury.judge.time_limit import Pace, TimeLimitExceeded, time_limit
from opjury.judge.trial import Trial
from opjury.model import declared, registry
from opjury.run import pool
from opjury.run.ship import Function
from tests.hostile import aborting, endless
from tests.hostile import right as mean_of_slices

QUICK = dict(operation="slice_mean", seed=1, database="")


def statuses(found):
    return {v.check: v.status for v in found.verdicts}


@pytest.mark.slow(reason="a whole audit")
def test_a_right_plain_function_holds_up():
    found = opjury.audit(mean_of_slices, **QUICK)
    assert found.ok, found.summary()
    assert sum(v.examples for v in found.verdicts) > 1000
    assert not any(v.status == "holds" and v.examples == 0 for v in found.verdicts)


def test_a_wrong_one_is_refuted_with_a_smallest_counterexample():
    def last_row_missing(x, slices):
        return mean_of_slices(x, torch.stack([slices[:, 0], (slices[:, 1] - 1).maximum(slices[:, 0] + 1)], 1))

    found = opjury.audit(last_row_missing, checks=["agreement"], dtypes=["float32"], **QUICK)
    (verdict,) = found.refuted
    case = opjury.Case.from_json(verdict.counterexample)
    assert case.args[0].values.shape[0] == 2
    assert len(case.args[1].values) == 1
    assert np.count_nonzero(case.args[0].values) == 1
    assert "it should be" in verdict.message
    assert "last_row_missing" in verdict.script


def test_one_check_and_one_dtype_are_named_alone_and_print_tells_what_was_found():
    found = opjury.audit(lambda x, slices: x, checks="agreement", dtypes="float32", isolate=False, **QUICK)
    assert [v.check for v in found.verdicts] == ["agreement"]
    first, second = str(found).splitlines()
    assert first.startswith("slice_mean:<lambda>: 1 refuted; ")
    assert second.startswith("  ✗ agreement (float32): ")
    assert str(opjury.audit("slice_mean:python_loop", checks="form", dtypes="float32", seed=1)).endswith(" cases")


def test_a_waiver_of_a_check_that_is_never_tried_of_a_plain_function_does_nothing():
    options = dict(checks="form", dtypes="float32", isolate=False)
    assert opjury.audit(mean_of_slices, waives={"vmap": "why"}, **options, **QUICK).ok


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        (dict(error="magnitude"), TypeError, "error is 'magnitude'; it must be an Error"),
        (dict(waives="laws"), TypeError, "waives is 'laws'; it must be a mapping"),
        (dict(waives={"laws": ""}), ValueError, "it must be the reason"),
        (dict(waives={"lows": "why"}), opjury.UnknownName, "did you mean 'laws'"),
    ],
)
def test_what_a_plain_function_says_of_itself_is_validated(given, kind, words):
    with pytest.raises(kind, match=words):
        opjury.audit(mean_of_slices, **given, **QUICK)


def test_what_is_declared_cannot_be_overruled():
    with pytest.raises(TypeError, match="has what @implementation declares"):
        opjury.audit("slice_mean:python_loop", waives={"specials": "why"})


def test_an_error_model_of_a_plain_function_counts_here_and_in_workers():
    def inexact(x, slices):
        return mean_of_slices(x, slices) * (1 + 2.0**-12)

    def loose(x, slices):
        return np.full((len(slices), *x.shape[1:]), abs(x).sum() * 2.0**14)

    options = dict(checks="agreement", dtypes="float32", **QUICK)
    assert not opjury.audit(inexact, **options).ok
    assert opjury.audit(inexact, error=loose, **options).ok
    assert opjury.audit(inexact, error=opjury.Error(magnitude=loose), isolate=False, **options).ok
    with pytest.raises(TypeError, match=r"magnitude is <lambda>\(x\); it must be callable as \(x, slices\)"):
        opjury.audit(inexact, error=lambda x: x, **options)


@pytest.mark.parametrize(
    "result", [None, [1.0], np.zeros(3), torch.zeros(3).to("meta"), "text", float("nan")], ids=repr
)
def test_results_of_another_kind_are_refuted_in_form(result):
    found = opjury.audit(
        lambda x, slices: result, checks=["form", "agreement"], isolate=False, dtypes=["float32"], **QUICK
    )
    assert statuses(found)["form"] == "refuted"
    assert not found.ok


def test_a_wrong_signature_is_a_verdict():
    found = opjury.audit(lambda x: x, checks=["agreement"], isolate=False, **QUICK)
    assert "cannot be called as slice_mean(x, slices)" in found.refuted[0].message


@pytest.mark.parametrize(("function", "message"), [(endless, "no answer within"), (aborting, "the process was ended")])
def test_a_hang_or_a_crash_is_a_verdict(function, message):
    found = opjury.audit(function, checks=["terminates"], dtypes=["float32"], **QUICK)
    assert message in found.refuted[0].message


def test_a_timer_of_others_goes_on():
    def rang(*_):
        raise AssertionError("an hour is over")

    before = signal.signal(signal.SIGALRM, rang)
    try:
        signal.setitimer(signal.ITIMER_REAL, 3600)
        trial(mean_of_slices).invoke((torch.ones(4, 1), torch.tensor([[0, 2]])), {})
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] < 3600
        assert signal.getsignal(signal.SIGALRM) is rang
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("where", ["finalizer", "garbage collector"])
def test_a_limit_holds_where_python_drops_exceptions(where, monkeypatch):
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)
    hook = sys.unraisablehook

    class Slow:
        def __del__(self):
            interrupted.append("finalizer")
            endless(None, None)

    def collected(phase, info):
        gc.callbacks.remove(collected)
        interrupted.append("garbage collector")
        endless(None, None)

    def interrupted_twice():
        if where == "finalizer":
            Slow()
        else:
            gc.callbacks.append(collected)
            gc.collect()
        endless(None, None)

    interrupted = []
    with pytest.raises(TimeLimitExceeded), time_limit(0.05):
        interrupted_twice()
    assert interrupted == [where]
    assert dropped == []
    assert sys.unraisablehook is hook


def test_a_derivative_that_does_not_return_is_refuted(monkeypatch):
    class Endless(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, dim):
            return x.cumsum(dim)

        @staticmethod
        def backward(ctx, grad):
            return endless(grad, None)

    monkeypatch.setitem(PROFILES, "quick", dataclasses.replace(PROFILES["quick"], limit=0.1, shrink=0.2))
    options = dict(operation="cumsum", checks=["gradient"], dtypes=["float32"], seed=1, database="", isolate=False)
    (found,) = opjury.audit(Endless.apply, **options).refuted
    assert "no answer" in found.message


def test_a_function_of_keywords_is_shown_as_it_has_to_be_called():
    def by_keyword(x, *, slices):
        return mean_of_slices(x, slices) + 1

    (found,) = opjury.audit(by_keyword, checks=["agreement"], dtypes=["float32"], isolate=False, **QUICK).refuted
    assert "f = lambda x, slices, **kwargs: by_keyword(x, slices=slices, **kwargs)" in found.script


def trial(function):
    return Trial(registry.operation("slice_mean"), Implementation("slice_mean", "mine", function), pace=Pace(0.05))


def test_a_contract_that_fails_refutes_nobody(monkeypatch):
    def failing(x, dim):
        if x.size > 3:
            raise KeyError("not for so many")
        return np.cumsum(x, dim).reshape(x.shape)

    contract = copy.copy(registry.operation("cumsum"))
    vars(contract).update(name="failing", reference=failing, baseline=None, usual=())
    monkeypatch.setitem(declared.OPERATIONS, "failing", contract)
    checks = ["agreement", "specials", "form", "gradient", "locality", "terminates"]
    found = opjury.audit(torch.cumsum, "failing", checks=checks, dtypes="float32", isolate=False, seed=1, database="")
    assert statuses(found) == dict.fromkeys(checks, "error") | {"terminates": "holds"}
    assert found.verdicts[0].message == "the contract's reference raises KeyError: 'not for so many'"
    assert opjury.Case.from_json(found.verdicts[0].counterexample).args[0].values.size > 3
    assert not found.ok
    assert f"  ! agreement (float32): {found.verdicts[0].message}" in str(found)
    assert found.surprises()[0] == f"failing:cumsum: agreement could not be judged: {found.verdicts[0].message}"


def test_other_verdicts_survive_a_crash():
    def crashing_on_empty(x, slices):
        if not len(slices):
            aborting(x, slices)
        return mean_of_slices(x, slices)

    found = opjury.audit(crashing_on_empty, checks=["agreement", "rejects"], dtypes=["float32"], **QUICK)
    assert statuses(found) == {"agreement": "refuted", "rejects": "holds"}


def test_failing_cases_are_kept_and_tried_first(tmp_path, monkeypatch):
    def wrong_for_some(x, slices):
        return mean_of_slices(x, slices) + (len(x) == 7)

    options = dict(checks=["agreement"], dtypes=["float32"], isolate=False) | QUICK | dict(database=str(tmp_path))
    assert opjury.audit(wrong_for_some, **options).refuted
    assert any(tmp_path.rglob("*"))
    assert opjury.audit(mean_of_slices, **options).ok
    monkeypatch.setattr(Search, "_drawn", lambda *search: pytest.fail("a new case was drawn"))
    assert opjury.audit(wrong_for_some, **options | dict(seed=2)).refuted


def test_waived_checks_still_run():
    found = opjury.audit(
        lambda x, slices: x, checks=["rejects"], waives={"rejects": "left to the caller"}, isolate=False, **QUICK
    )
    assert statuses(found) == {"rejects": "waived"}
    assert found.ok
    assert found.verdicts[0].waiver == "left to the caller"


def test_a_waiver_may_be_for_one_kind_of_device():
    declared = dict(checks=["rejects"], waives={"rejects": {"cpu": "left to the caller"}}, isolate=False, **QUICK)
    found = opjury.audit(lambda x, slices: x, **declared)
    assert statuses(found) == {"rejects": "waived"}
    assert found.verdicts[0].waiver == "left to the caller"
    declared["waives"] = {"rejects": {"cuda": "left to the caller"}}
    assert statuses(opjury.audit(lambda x, slices: x, **declared)) == {"rejects": "refuted"}


def test_waivers_are_told_with_their_devices():
    waives = {"specials": {"cpu": "NaN spreads", "cuda": "inf is lost"}, "vmap": "no batches"}
    entry = Implementation("cumsum", "mine", torch.cumsum, waives=waives)
    assert entry.waived_on("cuda:1") == {"specials": "inf is lost", "vmap": "no batches"}
    assert entry.waived == [
        ("specials on cpu", "NaN spreads"),
        ("specials on cuda", "inf is lost"),
        ("vmap", "no batches"),
    ]


def test_a_waiver_that_is_not_needed_is_reported():
    found = opjury.audit(
        mean_of_slices, checks=["rejects"], waives={"rejects": "left to the caller"}, isolate=False, **QUICK
    )
    assert found.verdicts[0].status == "holds"
    assert found.verdicts[0].told == "waived (left to the caller), but the check holds"


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (dict(operation="slice_men"), "slice_mean"),
        (dict(operation="slice_mean", profile="quik"), "quick"),
        (dict(operation="slice_mean", checks=["agrement"]), "agreement"),
        (dict(operation="slice_mean", dtypes=["float23"]), "float32"),
        (dict(operation="slice_mean", device="cud"), "cuda"),
    ],
)
def test_unknown_names_get_the_nearest_known(arguments, nearest):
    with pytest.raises(opjury.UnknownName, match=nearest):
        opjury.audit(mean_of_slices, **arguments)


def test_unknown_implementation():
    with pytest.raises(opjury.UnknownName, match="python_loop"):
        opjury.audit("slice_mean:python_lop")
    with pytest.raises(opjury.UnknownName, match="python_loop"):
        opjury.get("slice_mean", "pythonloop")


def test_what_is_neither_a_name_nor_a_function():
    with pytest.raises(TypeError, match="needs operation="):
        opjury.audit(mean_of_slices)
    with pytest.raises(TypeError, match="neither a function nor"):
        opjury.audit(7, operation="slice_mean")


def test_an_audit_repeats_from_its_seed():
    first, second = (
        opjury.audit(
            "slice_mean:python_loop", checks=["agreement"], dtypes=["float32"], isolate=False, database="", seed=5
        )
        for _ in range(2)
    )
    assert [(v.examples, v.error_ulps) for v in first.verdicts] == [(v.examples, v.error_ulps) for v in second.verdicts]


def test_a_negative_control_that_holds_up_is_a_surprise():
    right = registry.entry("slice_mean", "python_loop")
    verdicts = opjury.audit("slice_mean:python_loop", checks=["form"], isolate=False, database="", seed=5).verdicts
    assert opjury.Audit(verdicts).ok
    control = next(e for e in registry.implementations("slice_mean") if e.refuted)
    import msgspec

    pretended = tuple(
        msgspec.structs.replace(v, implementation=control.name, control=True, check=next(iter(control.refuted)))
        for v in verdicts
    )
    assert not opjury.Audit(pretended).ok
    assert right.refuted == {}


def test_functions_travel_by_name_or_by_value():
    by_name = Function.of(mean_of_slices)
    assert not by_name.pickled
    assert by_name.load() is mean_of_slices
    local = Function.of(lambda x: x + 1)
    assert local.pickled
    assert pickle.loads(pickle.dumps(local)).load()(1) == 2


def test_a_worker_process_is_replaced_after_so_many_items(monkeypatch):
    monkeypatch.setattr(pool, "RENEWED", 3)
    found = [outcome for _, outcome in pool.isolated(own_process, range(9), 1, lambda _: 60.0)]
    assert sorted(found.count(process) for process in set(found)) == [3, 3, 3]


def own_process(_):
    return os.getpid()
