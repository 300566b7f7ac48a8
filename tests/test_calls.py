"""What fails in one form of a call alone is refuted for that form, and holds in agreement."""

import collections
import dataclasses
import inspect

import numpy as np
import pytest
import torch

import opjury
from opjury.contract import Case, Operation, composite, illegal
from opjury.judge.checks.calls import check_calls
from opjury.judge.task import PROFILES
from opjury.judge.trial import Refuted, Trial, Unsuitable
from opjury.model import registry
from opjury.model.arguments import Tensor
from opjury.model.implementation import Implementation
from tests import broken
from tests.replaying import replayed
from tests.test_replay_scripts import right_one

OPTIONS = dict(isolate=False, seed=0, database="")
FORMS = {  # what the message says of a wrong function, and how its script calls it
    "conv2d-padded_by_default": ("without padding, result has shape", "(1, 1), dilation=(1, 1))"),
    "cumsum-numpy_dim_refused": ("for dim as np.int64; the same call with an int is accepted", ", np.int64(0))"),
    "difference_matrix-numpy_integer_refused": ("for size as np.int64", "f(np.int64(0), 0)"),
    "slice_mean-by_position_alone": (
        "slices by keyword; the same call by position is accepted",
        "slices=args[1])",
    ),
    "sliding_window-step_required": ("without step; the same call with step=1 is accepted", "f(args[0], 1)"),
    "sparse_diff-dtype_of_order": ("for order as np.int64, the result is a csc_array of float64", ", np.int64(0))"),
    "sparse_diff-second_by_default": ("without order, result has shape", "f(args[0])"),
    "unfold-lists_reversed": (" as a list", "f(args[0], "),
    "unfold-tuples_alone": (" as a list; the same call with a tuple is accepted", "[1, 1]"),
}
WRONG = {f"{name}-{f.__name__}": (name, f) for name, f in broken.catalogue() if f.wrong[2] == ("calls",)}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_named_and_shown(name):
    operation, function = WRONG[name]
    assert opjury.audit(function, operation=operation, checks="agreement", dtypes="float64", **OPTIONS).ok
    (verdict,) = opjury.audit(function, operation=operation, checks="calls", **OPTIONS).refuted
    told, called = FORMS[name]
    assert told in verdict.message
    assert called in verdict.script
    assert verdict.cause == ""
    assert replayed(verdict.script)[0]
    assert not replayed(verdict.script, right_one(operation, "calls", ()))[0]


def test_every_function_that_fails_in_a_form_is_there():
    assert set(FORMS) == set(WRONG)


def trial(operation, function):
    return Trial(registry.operation(operation), Implementation(operation, "mine", function))


def test_a_stored_case_replays():
    def cumsum(x, dim):
        return x.cumsum(dim) + isinstance(dim, np.int32)

    (verdict,) = opjury.audit(cumsum, operation="cumsum", checks="calls", dtypes="float32", **OPTIONS).refuted
    with pytest.raises(Refuted) as again:
        check_calls(trial("cumsum", cumsum), Case.from_json(verdict.counterexample))
    assert again.value.message == verdict.message
    assert verdict.message == "for dim as np.int32, result is 1; it should be 0, exactly"


def forms_seen(operation, function, *arguments):
    """The number of arguments in their positions with the names of the others, and how each argument is written."""
    spelled, written = set(), collections.defaultdict(set)
    names = list(inspect.signature(registry.operation(operation).reference).parameters)

    def spy(*args, **kwargs):
        spelled.add((len(args), *sorted(kwargs)))
        for name, value in [*zip(names, args, strict=False), *kwargs.items()]:
            written[name].add(repr(value))
        return function(*args, **kwargs)

    for seed in range(60):
        check_calls(trial(operation, spy), Case(arguments, seed=seed))
    return spelled, written


def test_all_forms_are_tried():
    x = Tensor(np.arange(4.0).reshape(1, 1, 2, 2), "float32")
    unfold = registry.entry("unfold", "torch_unfold").function
    spelled, written = forms_seen("unfold", unfold, x, (2, 2), (1, 1), (0, 0), (1, 2))
    twos = [2, np.int64(2), np.int32(2)]
    assert written["kernel_size"] == {repr(form) for two in twos for form in (two, (two, two), [two, two])}
    assert {repr([1, 2]), repr((np.int32(1), np.int32(2)))} < written["stride"]
    assert not {"1", "2"} & written["stride"]
    assert {(5,), (0, *sorted(["x", "kernel_size", "dilation", "padding", "stride"]))} < spelled
    assert any(0 < len(form) - 1 < 5 and 0 < form[0] < 5 for form in spelled)
    assert any("padding" not in form and "stride" in form for form in spelled)


def test_a_default_that_was_left_out_is_given():
    spelled, written = forms_seen("toeplitz", lambda c, r=None: c[:, None] * 1.0, Tensor(np.ones(1), "float32"))
    assert spelled == {(1,), (0, "c"), (1, "r"), (0, "c", "r")}
    assert written["r"] == {"None"}


def test_a_number_is_not_written_in_a_type_that_cannot_hold_it():
    arguments = Tensor(np.ones(1), "float32"), 2**40, 1
    _, written = forms_seen("sparse_grow", lambda matrix, rows, columns: torch.ones(1), *arguments)
    assert written["rows"] == {repr(2**40), repr(np.int64(2**40))}


def test_what_takes_arguments_by_keyword_alone_is_called_so():
    def slice_mean(x, *, slices):
        return registry.entry("slice_mean", "python_loop").function(x, slices)

    assert opjury.audit(slice_mean, operation="slice_mean", checks="calls", dtypes="float32", **OPTIONS).ok


def two_by_default(x, size, *, step=2):
    return right_one("sliding_window", "calls", ())(x, size, step)


def test_a_script_leaves_out_what_is_taken_by_keyword_alone():
    (verdict,) = opjury.audit(two_by_default, operation="sliding_window", checks="calls", **OPTIONS).refuted
    assert verdict.message.startswith("without step, result has shape")
    assert "f = lambda x, size, step=2, **kwargs: two_by_default(x, size, step=step, **kwargs)" in verdict.script
    assert replayed(verdict.script)[0].startswith("AssertionError")
    assert not replayed(verdict.script.replace("step=2", "step=1"))[0]


def test_other_names_than_the_contracts_are_refuted():
    found = opjury.audit(lambda data, dim: data.cumsum(dim), operation="cumsum", checks="calls", **OPTIONS)
    assert "for x and dim by keyword; the same call by position is accepted" in found.refuted[0].message


def test_what_agreement_judges_is_no_matter_of_forms():
    def cumsum(x, dim):
        raise KeyError(dim)

    with pytest.raises(Unsuitable):
        check_calls(trial("cumsum", cumsum), Case.of(Tensor(np.ones(1), "float32"), 0))


def test_a_form_that_does_not_end_is_refuted(monkeypatch):
    def cumsum(x, dim):
        while isinstance(dim, np.integer):
            pass
        return x.cumsum(dim)

    monkeypatch.setitem(PROFILES, "quick", dataclasses.replace(PROFILES["quick"], limit=0.05))
    options = dict(dtypes="float32", isolate=False, seed=0, database="")
    found = opjury.audit(cumsum, operation="cumsum", checks=["calls", "agreement"], **options)
    assert [v.check for v in found.refuted] == ["calls"]
    assert "no answer within" in found.refuted[0].message


@composite
def cases(draw, space):
    return Case.of(draw(space.tensor((2,))), 3)


def declared(**more):
    def repeated(x, times):
        if type(times) is not int:
            raise TypeError("times is no int")
        return np.tile(x, times)

    return Operation(
        "repeated",
        "x again and again",
        kind="movement",
        reference=repeated,
        cases=cases,
        rejects=lambda space: illegal("x is missing"),
        **more,
    )


def repeat(x, times):
    if type(times) is not int:
        raise TypeError("times is no int")
    return x.repeat(times)


@pytest.mark.usefixtures("declarations_end_with_the_test")
def test_what_the_contract_refuses_is_no_form():
    declared()
    (verdict, *_) = opjury.audit(repeat, operation="repeated", checks="calls", dtypes="float32", **OPTIONS).verdicts
    assert (verdict.status, verdict.examples > 0) == ("holds", True)


@pytest.mark.usefixtures("declarations_end_with_the_test")
@pytest.mark.parametrize(
    ("forms", "kind", "words"),
    [
        (("times",), TypeError, "forms is .*a mapping of str to functions"),
        ({"time": list}, ValueError, "forms has a key that is 'time'; it must be 'x' or 'times'"),
        ({"times": lambda: [3]}, TypeError, r"forms\['times'\] is .*callable as \(value\)"),
    ],
)
def test_forms_are_validated_where_they_are_declared(forms, kind, words):
    with pytest.raises(kind, match=f"test_calls.py:.*{words}"):
        declared(forms=forms)


def test_any_number_of_arguments_has_one_form():
    (verdict, *_) = opjury.audit("outer_map:meshgrid", checks="calls", **OPTIONS).verdicts
    assert (verdict.status, verdict.message) == ("skipped", "a call with any number of arguments has one form")
