"""What the oracle says, against NumPy, SciPy, torch and numbers known by hand."""

import dataclasses
import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import scipy
import torch

import opjury
from opjury.contract import Operation, composite, illegal, round_to
from opjury.judge import oracle
from opjury.judge.bounds import Expected, compare, error_bound, gamma, ulp
from opjury.judge.judge import judge
from opjury.judge.task import Task
from opjury.judge.trial import Trial, Unsuitable
from opjury.model import registry
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.implementation import Error

CUMSUM, TOEPLITZ, MEAN, DIFFERENCES = map(registry.operation, ("cumsum", "toeplitz", "slice_mean", "difference_matrix"))
RNG = np.random.default_rng(0)


def slices(*pairs):
    return Tensor(np.array(pairs).reshape(-1, 2), "int64", data=False)


def test_references_against_numpy_and_scipy():
    x = RNG.standard_normal((4, 5))
    np.testing.assert_allclose(CUMSUM.reference(x, 1), np.cumsum(x, 1))
    np.testing.assert_array_equal(TOEPLITZ.reference(x[0], x[1]), scipy.linalg.toeplitz(x[0], x[1]))
    np.testing.assert_array_equal(TOEPLITZ.reference(x[0] + 1j), scipy.linalg.toeplitz(x[0] + 1j))
    for order in range(5):
        np.testing.assert_array_equal(DIFFERENCES.reference(6, order), np.diff(np.eye(6), n=order))
    means = MEAN.reference(np.arange(40.0).reshape(10, 4), np.array([[3, 5], [1, 8], [4, 8], [6, 9]]))
    np.testing.assert_array_equal(means, [[14, 15, 16, 17], [16, 17, 18, 19], [22, 23, 24, 25], [28, 29, 30, 31]])


def test_the_exact_reference_sees_what_float64_loses():
    case = Case((Tensor(np.array([1e16, 1.0, -1e16]), "float64"), 0), tier="rounding")
    found = oracle.expected(CUMSUM, case)
    assert found.value[-1] == 1.0
    assert found.value[1] + found.rest[1] != found.value[1] or found.rest[1] == 1.0


def test_movement_gradients_add_up_where_elements_are_copied():
    case = Case((Tensor(np.array([1.0, 2, 3]), "float64"), Tensor(np.array([9.0, 4, 5, 6]), "float64")))
    found = oracle.expected_gradient(TOEPLITZ, case, 0, np.ones((3, 4)))
    np.testing.assert_array_equal(found.value, [3, 2, 1])
    np.testing.assert_array_equal(oracle.expected_gradient(TOEPLITZ, case, 1, np.ones((3, 4))).value, [0, 3, 2, 1])


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_gradients_against_autograd(dtype):
    values = RNG.standard_normal(5) + (1j * RNG.standard_normal(5) if dtype == "complex128" else 0)
    weights = RNG.standard_normal((5, 5)) + (1j * RNG.standard_normal((5, 5)) if dtype == "complex128" else 0)
    case = Case((Tensor(values, dtype),), tier="rounding")
    (c,), _ = case.build(requires_grad=True)
    indices = torch.arange(5)[:, None] - torch.arange(5)
    made = torch.where(indices >= 0, c[indices.clamp(min=0)], c.conj()[(-indices).clamp(min=0)])
    (grad,) = torch.autograd.grad(made, c, torch.from_numpy(weights))
    np.testing.assert_allclose(oracle.expected_gradient(TOEPLITZ, case, 0, weights).value, grad.numpy(), atol=1e-14)


def test_the_jacobian_of_means_is_one_over_the_length():
    case = Case((Tensor(np.arange(4.0), "float64"), slices((0, 2), (1, 4))))
    found = oracle.jacobian(MEAN, case, 0, np.arange(4))
    np.testing.assert_allclose(found.straight.T, [[1 / 2, 1 / 2, 0, 0], [0, 1 / 3, 1 / 3, 1 / 3]])


def test_dependence():
    case = Case((Tensor(np.arange(4.0), "float64"), slices((0, 2), (3, 4))))
    np.testing.assert_array_equal(oracle.dependence(MEAN, case, 0).T, [[1, 1, 0, 0], [0, 0, 0, 1]])


def test_the_exact_tier_has_no_slack_unless_an_error_model_is_declared():
    case = Case((Tensor(np.arange(4.0), "float32"), slices((0, 2))))
    assert oracle.expected(MEAN, case).bound == 0.0
    prefix = Error(magnitude=lambda x, slices: np.abs(x).sum() * np.ones(len(slices)))
    assert np.all(oracle.expected(MEAN, case, prefix).bound > 0)


def test_gamma_and_bounds():
    assert gamma(3, 2.0**-24) == pytest.approx(3 * 2.0**-24, rel=1e-6)
    assert gamma(2**24, 2.0**-24) == np.inf
    one = error_bound(np.array(1.0), 1.0, 1, "float32")
    assert one == pytest.approx(2 * 2.0**-24, rel=1e-3)
    half = error_bound(np.array(1.0), 1.0, 1, "float16")
    assert half == pytest.approx(2.0**-11, rel=1e-2)
    assert error_bound(np.array(1.0), 1.0, 1, "float16", accumulates="input") == pytest.approx(2 * 2.0**-11, rel=1e-2)
    assert ulp(np.array([1.0, 1.5, 2.0]), "float32").tolist() == [2.0**-23, 2.0**-23, 2.0**-22]


def test_comparison():
    nan, inf = np.nan, np.inf
    expected = Expected(np.array([1.0, nan, inf, -0.0]))
    assert compare(np.array([1.0, nan, inf, 0.0]), expected).wrong_at is None
    assert compare(np.array([1.0, nan, -inf, 0.0]), expected).wrong_at == (2,)
    assert compare(np.array([1.0, 0.0, inf, 0.0]), expected).wrong_at == (1,)
    assert compare(np.array([nan, nan, inf, 0.0]), expected).wrong_at == (0,)
    signed = Expected(np.array([-0.0]), signed_zeros=True)
    assert compare(np.array([0.0]), signed).wrong_at == (0,)
    assert compare(np.array([1.0 + 2.0**-23]), Expected(np.array([1.0]), bound=2.0**-24)).wrong_at == (0,)
    assert compare(np.array([True]), Expected(np.array([False]), dtype="bool")).wrong_at == (0,)


def test_half_types_must_not_accumulate_in_half():
    case = Case((Tensor(np.ones(4000), "float16"), 0), tier="rounding")
    found = oracle.expected(CUMSUM, case)
    in_half = np.minimum(np.arange(1, 4001.0), 2048)
    assert compare(in_half, found).wrong_at is not None
    assert compare(np.arange(1, 4001.0).astype(np.float16).astype(float), found).wrong_at is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, at its first forward-mode derivative
def test_a_bound_without_limit_refutes_nobody():
    """The first column nearly cancels: the bound of its gradient is infinite in float16."""
    values = np.array([-18.515625, *[0.0] * 11, 18.234375, *[1.0] * 11]).reshape(2, 2, 6)
    case = Case((Tensor(values, "float16"), 0), tier="rounding", seed=0)
    right = registry.entry("normalize_sum", "closed_form_backward")
    trial = Trial(registry.operation("normalize_sum"), right)
    with pytest.raises(Unsuitable):
        registry.check("forward_mode").run(trial, case)


@pytest.mark.parametrize("contract", registry.operations(), ids=lambda contract: contract.name)
def test_laws_ask_for_nothing_outside_of_a_domain(contract):
    """They call with other arguments than those of the case."""
    largest = 12
    called, right = [], registry.entry(contract.name, contract.baseline)

    def spying(*args, **kwargs):
        called.append(extent(*args, **kwargs))
        return right.function(*args, **kwargs)

    def small(*args, **kwargs):
        return extent(*args, **kwargs) <= largest

    mine = dataclasses.replace(right, name="spying", function=spying, domain=small)
    task = Task(contract.name, "spying", "laws", contract.dtypes[:1], function=SimpleNamespace(load=lambda: mine))
    found = judge(task)
    assert found.status == "holds", found.message
    assert 0 < max(called) <= largest


def extent(*args, **kwargs):
    """The most elements of an argument, or the largest number."""
    values = (*args, *kwargs.values())
    return max(value if isinstance(value, int) else math.prod(getattr(value, "shape", ())) for value in values)


DTYPES = ("float32", "float64")


@composite
def positive(draw, space):
    x = draw(space.tensor(draw(space.shapes(0, 2))))
    return Case.of(dataclasses.replace(x, values=round_to(np.clip(np.abs(x.values), 1e-3, 8), x.dtype)))


def declare(name, reference, **fields):
    """An elementwise contract."""
    fields = {"kind": "arithmetic", "tiers": ("rounding",), "dtypes": DTYPES, "cases": positive, **fields}
    return Operation(name, name, reference=reference, rejects=lambda space: illegal("x is missing"), **fields)


def refuting(function, operation, **options):
    """The checks that refute a function."""
    options = {"checks": ["agreement", "gradient", "specials"], "isolate": False, "seed": 0, "database": "", **options}
    found = opjury.audit(function, operation, **options)
    assert all(verdict.status in ("holds", "refuted") for verdict in found.verdicts), found.summary()
    return {(verdict.check, *verdict.dtypes) for verdict in found.refuted}


TRANSCENDENTAL = {
    "exp": (lambda x: np.exp(x), lambda x: np.exp(x)),
    "log": (lambda x: np.log(x), lambda x: 1 / x),
    "sqrt": (lambda x: np.sqrt(x), lambda x: 0.5 / np.sqrt(x)),
    "power": (lambda x: x**0.5, lambda x: 0.5 / np.sqrt(x)),  # of a Fraction that is a float
}


@pytest.mark.usefixtures("declarations_end_with_the_test")
@pytest.mark.parametrize("name", TRANSCENDENTAL)
def test_a_reference_that_takes_no_exact_numbers_is_computed_in_long_double(name):
    reference, slope = TRANSCENDENTAL[name]

    def gradient(w, x):
        return [(w * slope(x), np.abs(w * slope(x)))]

    contract = declare(name, reference, conditioned=True, terms=lambda x: 2, gradient=gradient)
    right = torch.sqrt if name == "power" else getattr(torch, name)
    assert refuting(lambda x: right(x), name) == set()
    off = refuting(lambda x: right(x) * (1 + 1e-6), name, checks="agreement")
    assert off == {("agreement", dtype) for dtype in DTYPES}
    case = Case((Tensor(np.ones(1), "float64"),), tier="rounding")
    assert oracle.finest(contract, case, "float64")[1] == np.finfo(np.longdouble).eps / 2


@pytest.mark.usefixtures("declarations_end_with_the_test")
def test_values_that_have_no_exact_result_say_nothing_about_others():
    contract = declare("inverse", lambda x: 1 / x)
    with np.errstate(divide="ignore"):
        found = oracle.expected(contract, Case((Tensor(np.array([0.0]), "float64"),), tier="rounding"))
    assert found.value == np.inf
    third = oracle.expected(contract, Case((Tensor(np.array([3.0]), "float64"),), tier="rounding"))
    assert third.rest == float(Fraction(1, 3) - Fraction(1 / 3))


@pytest.mark.usefixtures("declarations_end_with_the_test")
def test_an_exact_contract_takes_no_result_that_is_one_ulp_off():
    declare("negative", lambda x: -x, kind="exact")
    declare("nearly_negative", lambda x: -x, kind="exact", ulps=1)

    def off(x):
        return torch.nextafter(-x, x.new_zeros(()))

    assert refuting(lambda x: -x, "negative") == set()
    assert ("agreement", "float32") in refuting(off, "negative", checks="agreement")
    assert refuting(off, "nearly_negative", checks="agreement") == set()


@pytest.mark.usefixtures("declarations_end_with_the_test")
def test_what_is_not_exact_is_not_required_to_be():
    """The contract draws thirds in the exact tier."""
    declare("third", lambda x: x / 3, tiers=("exact", "rounding"))
    assert refuting(lambda x: x / 3, "third") == set()


@pytest.mark.usefixtures("declarations_end_with_the_test")
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"magnitude": lambda x: np.ones((3, *x.shape))},
            "the magnitude has shape",
        ),
        (
            {"terms": lambda x: np.ones((3, *x.shape))},
            "the number of terms has shape",
        ),
        ({"terms": lambda x: x.no_such_field}, "terms raises AttributeError"),
        ({"gradient": lambda w, x: []}, "the contract's gradient returns 0 values"),
        ({"gradient": lambda w, x: [w]}, "the contract's gradient"),
        (
            {"gradient": lambda w, x: [(np.ones((3, *x.shape)), w)]},
            "the contract's gradient has shape",
        ),
        ({"kind": "movement"}, "the contract's reference returns what is no element of an argument"),
    ],
)
def test_nobody_is_refuted_for_a_fault_of_the_contract(fields, words):
    declare("doubled", lambda x: x + x, **fields)
    found = opjury.audit(
        lambda x: 2 * x, "doubled", checks=["agreement", "gradient"], isolate=False, seed=0, database=""
    )
    assert not found.refuted
    assert words in " ".join(verdict.message for verdict in found.verdicts if verdict.status == "error")
