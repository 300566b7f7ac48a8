"""A check is a function and a row: declaring one is all that it takes."""

import json
import re

import numpy as np
import pytest
import torch

import opjury
from opjury.choose import setting_of
from opjury.cli import exports, terminal
from opjury.contract import Check, Refuted, Unsuitable, implementation
from opjury.judge.checks.values import check_agreement
from opjury.judge.trial import Trial
from opjury.measure.recommend import ChoiceRequest
from opjury.model import declared, registry
from tests.mutation import mutants

SUMMARY = "No element of the result is beyond a million."


def check_bounded(trial, case):
    result = trial.call(case)
    if not isinstance(result, torch.Tensor):
        raise Unsuitable
    if result.numel() and not result.abs().max() <= 1e6:
        raise Refuted("an element is beyond a million", steps="assert f(*args, **kwargs).abs().max() <= 1e6")


def row(**fields):
    given = dict(name="bounded", summary=SUMMARY, run=check_bounded, elementary=("agreement",))
    return Check(**{**given, **fields})


@pytest.fixture
def bounded(declarations_end_with_the_test):
    return row(weight=0.2, required="request")


def huge(x, dim):
    return x.cumsum(dim) + 1e7


OPTIONS = dict(operation="cumsum", dtypes="float32", seed=1, database="")


@pytest.mark.parametrize("isolate", [False, True], ids=["here", "in workers"])
def test_a_check_that_is_declared_is_tried_here_and_in_workers(bounded, isolate):
    assert opjury.audit(torch.cumsum, checks="bounded", isolate=isolate, **OPTIONS).ok
    (refuted,) = opjury.audit(huge, checks="bounded", isolate=isolate, **OPTIONS).refuted
    assert (refuted.message, refuted.cause) == ("an element is beyond a million", "")
    assert opjury.Case.from_json(refuted.counterexample).elements <= 1


def test_a_check_that_is_declared_is_known_everywhere(bounded, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = opjury.audit(huge, isolate=False, first=True, **OPTIONS)
    assert found.verdicts[0].check != "bounded"
    (refuted,) = opjury.audit(huge, checks="bounded", isolate=False, **OPTIONS).refuted
    terminal.show_audit(opjury.Audit((refuted,)), all_verdicts=False)
    assert re.search(r"^huge +[\d]+ +0 ✗ bounded *$", capsys.readouterr().out, re.M)
    log = json.loads(
        exports.sarif([opjury.Verdict(operation="o", implementation="i", check="bounded", status="refuted")])
    )
    assert log["runs"][0]["tool"]["driver"]["rules"] == [{"id": "bounded", "shortDescription": {"text": SUMMARY}}]
    assert "bounded" in mutants.order()
    implementation("cumsum", name="another", waives={"bounded": "why"})(huge)
    assert registry.entry("cumsum", "another").waived_on("cpu") == {"bounded": "why"}


@pytest.mark.parametrize(
    ("required", "gradient", "needs", "counts"),
    [
        ("always", False, (), True),
        ("gradient", False, (), False),
        ("gradient", True, (), True),
        ("request", True, (), False),
        ("request", False, ("bounded",), True),
    ],
)
def test_a_choice_requires_what_the_row_says(declarations_end_with_the_test, required, gradient, needs, counts):
    row(required=required)
    request = ChoiceRequest(setting_of("cumsum", gradient=gradient), needs=needs)
    assert ("bounded" in request.checks) == counts


def test_a_check_applies_where_its_row_says(declarations_end_with_the_test):
    def why_not(operation="cumsum", device="cpu", **fields):
        entry = registry.implementations(operation)[0]
        return row(**fields).why_not(registry.operation(operation), entry, device)

    assert why_not() is None
    assert why_not(devices=("cuda",)) == ("skipped", "judged on CUDA only")
    assert why_not(applies=lambda operation: f"not of {operation.name}") == ("skipped", "not of cumsum")
    assert why_not("sparse_diff", floating=True) == ("skipped", "the operation takes no floating tensors")
    assert why_not("sparse_diff", floating=True, needs="second") == ("skipped", "the operation has no gradient")
    leaves_autograd = next(e for e in registry.implementations() if e.gradient is None and "cpu" in e.devices)
    check = row(floating=True, needs="forward")
    assert not check.promised(leaves_autograd)
    contract = registry.operation("cumsum")
    assert check.why_not(contract, leaves_autograd, "cpu") == ("not declared", "bounded is not promised")


@pytest.mark.parametrize(
    ("field", "value", "kind", "words"),
    [
        ("name", "two words", ValueError, "a name without spaces"),
        ("summary", "", ValueError, "a str that is not empty"),
        ("run", lambda trial: None, TypeError, r"callable as \(trial, case\)"),
        ("tiers", ("exakt",), ValueError, "did you mean 'exact'"),
        ("tiers", (), ValueError, "not empty"),
        ("layouts", "contiguous", TypeError, "a tuple of str"),
        ("sizes", ("largest",), ValueError, "'medium', 'long' or 'beyond'"),
        ("weight", -1, ValueError, "at least 0"),
        ("needs", "third", ValueError, "'second'"),
        ("needs", "second", ValueError, "it must be True where"),
        ("together", 1, TypeError, "a bool"),
        ("devices", ("gpu",), ValueError, "'cpu' or 'cuda'"),
        ("required", "sometimes", ValueError, "'always', 'gradient' or 'request'"),
    ],
)
def test_a_row_is_validated_where_it_is_declared(declarations_end_with_the_test, field, value, kind, words):
    with pytest.raises(kind, match=f"test_checks.py:.*check .*{words}"):
        row(**{field: value})


def test_an_elementary_check_must_be_declared(declarations_end_with_the_test):
    row(elementary=("agrement",))
    with pytest.raises(ValueError, match=r"test_checks.py:.*elementary\[0\] is 'agrement'.*did you mean 'agreement'"):
        registry.checks()


def test_two_checks_of_one_name_are_refused(declarations_end_with_the_test):
    with pytest.raises(ValueError, match="check 'agreement' is declared twice"):
        row(name="agreement", elementary=())


def test_the_rows_lead_to_their_functions():
    entry = registry.entry("cumsum", "torch_cumsum")
    trial = Trial(registry.operation("cumsum"), entry)
    for check in registry.checks().values():
        assert check.run.__module__.startswith("opjury.judge.checks.")
        assert check.run.__qualname__ == f"check_{check.name}"
    case = opjury.Case.of(opjury.Tensor(np.array([1.0, 2.0]), "float32"), 0)
    registry.check("agreement").run(trial, case)
    check_agreement(trial, case)
    assert declared.own == set()
