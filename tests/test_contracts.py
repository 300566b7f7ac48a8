"""Contracts are tested by themselves, before anybody is judged by them."""

import numpy as np
import pytest

import opjury
from opjury.contract import Case, Law, Operation, composite, illegal
from opjury.model import registry


@pytest.mark.parametrize("contract", registry.operations(), ids=lambda contract: contract.name)
def test_built_in_contracts_fit_together(contract):
    notes = opjury.check_contract(contract.name)
    assert not [note for note in notes if note.startswith("reference")]


@composite
def vectors(draw, space):
    return Case.of(draw(space.tensor((3,), terms=3)))


@composite
def matrices(draw, space):
    return illegal("x is not 1-d", draw(space.tensor((2, 2))))


def declare(name, reference, **fields):
    """A contract of a name of its own, since drawn cases are remembered by name."""
    fields = {"kind": "arithmetic", "cases": vectors, "rejects": matrices, "dtypes": ("float32", "float64"), **fields}
    Operation(name, "an operation of this test", reference=reference, **fields)


def total(x):
    return x.sum()


def third(f, rng, x):
    return f(x), f(x), f(x)


def unequal(f, rng, x):
    return f(x) + 1, f(x) - 1


def nothing(f, rng, x):
    return None


WRONG = {
    "values are added": (dict(reference=total, kind="movement"), "kind is 'movement'"),
    "a value is doubled": (dict(reference=lambda x: 2 * x, kind="movement"), "kind is 'movement'"),
    "terms": (
        dict(reference=total, terms=lambda x: [1, 2]),
        r"number of terms has shape \(2,\).*broadcast to \(\)",
    ),
    "magnitude": (
        dict(reference=lambda x: x, magnitude=lambda x: np.ones(4)),
        r"magnitude has shape \(4,\)",
    ),
    "magnitude raises": (dict(reference=total, magnitude=lambda x: x.total), "magnitude raises AttributeError"),
    "no pair": (dict(reference=total, gradient=lambda w, x: []), "gradient returns 0 values"),
    "gradient's shape": (
        dict(reference=total, gradient=lambda w, x: [(np.ones(2), w)]),
        r"gradient has shape \(2,\)",
    ),
    "no gradient": (dict(reference=lambda x: x * x), "not linear in argument 0; gradient must be declared"),
    "inexact": (dict(reference=lambda x: x / 3), r"not representable in float\d\d; cases must draw"),
    "complex": (dict(reference=lambda x: x * 1j), "complex numbers; result_dtype is float32"),
    "whole": (dict(reference=lambda x: x / 2, result_dtype=lambda case: "int64"), "result_dtype is int64"),
    "narrow": (
        dict(reference=lambda x: 2 * x, dtypes=("uint8",), differentiable=False),
        r"the reference returns .*; result_dtype is uint8",
    ),
    "unknown": (dict(reference=total, result_dtype=lambda case: "float33"), "result_dtype returns 'float33'"),
    "reference": (dict(reference=lambda x: x.total), "reference raises AttributeError"),
    "arguments": (dict(reference=lambda x, y: x), r"missing a required argument: 'y'"),
    "rule": (dict(reference=total, rejects=lambda space: vectors(space)), "an illegal call has no rule"),
    "three sides": (dict(reference=total, laws=(Law("it is itself", third),)), "the law 'it is itself' returns"),
    "false law": (dict(reference=total, laws=(Law("one is none", unequal),)), "'one is none' does not hold"),
}


@pytest.mark.usefixtures("declarations_end_with_the_test")
@pytest.mark.parametrize("fault", WRONG)
def test_what_does_not_fit_is_named(fault):
    (fields, words), name = WRONG[fault], fault.replace(" ", "_")
    declare(name, **fields)
    with pytest.raises(AssertionError, match=rf"^{name}: .*{words}.* \[for .*torch.tensor\(.* tier\]$"):
        opjury.check_contract(name)


@pytest.mark.usefixtures("declarations_end_with_the_test")
def test_what_is_no_fault_is_noted():
    def gradient(w, x):
        return [(w * np.exp(x), np.abs(w * np.exp(x)))]

    declare("exponential", lambda x: np.exp(x), tiers=("rounding",), gradient=gradient, laws=(Law("never", nothing),))
    reference, rejects, laws = opjury.check_contract("exponential")
    assert "takes no elements of Fraction" in reference
    assert rejects == "rejects: the reference itself takes calls where x is not 1-d"
    assert laws == "laws: 'never' was not tried on what was drawn"


@pytest.mark.usefixtures("declarations_end_with_the_test")
def test_a_reference_in_float64_alone_is_noted():
    declare("half", lambda x: x.astype(np.float64) / 2, tiers=("rounding",))
    assert "Fraction or numpy.longdouble" in opjury.check_contract("half")[0]
