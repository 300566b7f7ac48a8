"""Cases: built afresh, laid out as told, stored and read back."""

import json
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from opjury.judge.strategies import BOUNDARIES, any_case, illegal, usable_layouts
from opjury.model import registry
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.exact import ExactComplex, carrier, round_to
from opjury.model.layouts import LAYOUTS

QUIET = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
VALUES = np.array([[1.0, -2.0, 3.5], [0.0, np.inf, -0.0]])


LAID_OUT = ("float16", "bfloat16", "float32", "float64", "complex64", "int8", "bool")


@pytest.mark.parametrize(
    ("dtype", "layout"), [(dtype, layout) for dtype in LAID_OUT for layout in usable_layouts(tuple(LAYOUTS), dtype)]
)
def test_layouts_hold_the_same_values(dtype, layout):
    values = np.nan_to_num(VALUES, posinf=4).astype(int) if dtype in ("int8", "bool") else VALUES
    values = values != 0 if dtype == "bool" else values.astype(complex) if dtype == "complex64" else values
    if layout == "expanded":
        values = np.broadcast_to(values[:1], values.shape)
    laid, plain = (Tensor(values, dtype, name).build() for name in (layout, "contiguous"))
    assert torch.equal(laid.resolve_conj().resolve_neg(), plain)
    assert laid.stride() != plain.stride() or laid.is_conj() or laid.is_neg() or layout == "contiguous"


def test_every_build_has_memory_of_its_own():
    case = Case.of(Tensor(VALUES, "float64"), 3, dim=1)
    (first, _), _ = case.build()
    first.fill_(7)
    assert case.build()[0][0][0, 0] == 1


def test_requires_grad_only_where_it_can_be():
    case = Case.of(Tensor(VALUES, "float32"), Tensor(np.array([1]), "int64", data=False))
    args, _ = case.build(requires_grad=True)
    assert [a.requires_grad for a in args] == [True, False]


@pytest.mark.parametrize("operation", registry.operations(), ids=lambda o: o.name)
def test_cases_of_every_contract_survive_storage_and_read_as_code(operation):
    @QUIET
    @given(any_case(operation, operation.dtypes, (*operation.tiers, "special"), tuple(LAYOUTS), (0, *BOUNDARIES[:3])))
    def stored(case):
        again = Case.from_json(json.loads(json.dumps(case.to_json())))
        assert again.to_json() == case.to_json()
        rebuilt = eval(
            f"(lambda *args, **kwargs: args)({case.code()})", {"torch": torch, "np": np, "scipy": __import__("scipy")}
        )
        assert len(rebuilt) == len(case.args)
        for ours, theirs in zip(case.build()[0], rebuilt, strict=True):
            if isinstance(ours, torch.Tensor):
                assert ours.dtype == theirs.dtype
                assert ours.shape == theirs.shape
                if ours.layout is torch.strided and ours.is_floating_point() and ours.dtype != torch.bool:
                    assert torch.equal(torch.nan_to_num(ours), torch.nan_to_num(theirs))

    stored()


def test_what_a_check_used_beside_the_arguments_is_stored_and_used_again():
    made = Tensor(np.array([1.0, 2.0]), "float32")
    case = Case.of(made)
    assert "beside" not in case.to_json()
    assert case.settled.beside == {}
    assert case.drawn("incoming", made) is made
    again = Case.from_json(json.loads(json.dumps(case.settled.to_json())))
    other = Tensor(np.array([5.0, 6.0]), "float32")
    assert again.plain.drawn("incoming", other).values.tolist() == [1, 2]
    assert again.settled.to_json() == case.settled.to_json()
    for unfit in (Tensor(np.zeros(3), "float32"), Tensor(np.zeros(2), "float64")):
        assert again.drawn("incoming", unfit) is unfit
    assert again.drawn("direction", other) is other


def test_unknown_arguments_in_a_record_are_named():
    with pytest.raises(ValueError, match="unknown kind"):
        Case.from_json({"args": [{"what": 1}], "kwargs": {}, "tier": "exact", "seed": 0})
    with pytest.raises(ValueError, match="no contract"):
        Case.from_json({"args": [{"recipe": "os:system"}], "kwargs": {}, "tier": "exact", "seed": 0})


def test_numbers_and_tuples_read_as_code():
    given = (float("inf"), (1.5, float("-inf")), (), (np.float64("nan"), np.int8(3)), complex(0, float("inf")), "same")
    code = Case.of(*given, none=None).code()
    assert repr(eval(f"(lambda *args, **kwargs: args)({code})", {"np": np})) == repr(given)


def test_illegal_cases_say_so():
    case = illegal("start ≥ end", 2, end=1)
    assert (case.tier, case.rule, case.args, case.kwargs) == ("illegal", "start ≥ end", (2,), {"end": 1})
    assert Case.from_json(case.to_json()).rule == "start ≥ end"
    with pytest.raises(TypeError, match="must be a str such as"):
        illegal(1, 2)


def test_round_to_is_the_dtypes_rounding():
    assert round_to(np.array([2049.0]), "float16")[0] == 2048
    assert round_to(np.array([257.0]), "bfloat16")[0] == 256
    assert round_to(np.array([0.1]), "float64")[0] == 0.1


def test_exact_complex_arithmetic():
    a, b = ExactComplex(Fraction(1, 3), 2), ExactComplex(Fraction(1, 7), -1)
    assert (a * b) / b == a
    assert a - a == 0
    assert not a - a
    assert 2 * a == a + a
    assert 1 / b * b == 1
    assert a.conjugate().imag == -2
    assert abs(ExactComplex(3, 4)) == 5.0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_python_of_a_layout_lays_it_out_in_the_same_way(layout):
    for dtype, shape in product(
        ["float32", "bfloat16", "complex64", "int64", "bool"],
        [(), (3,), (2, 3), (0,), (2, 0), (2, 3, 4), (1, 2, 3, 2)],
    ):
        values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(carrier(dtype))
        if layout == "expanded" and shape and shape[0]:
            values = np.broadcast_to(values[:1], shape).copy()
        recipe = Tensor(values, dtype, usable_layouts((layout,), dtype)[0])
        one, other = recipe.build(), eval(recipe.code(), {"torch": torch})
        assert facts(one) == facts(other), recipe.code()


def facts(x):
    memory = bytes(x.untyped_storage().tolist()) if x.numel() else b""
    form = (x.shape, x.stride(), x.storage_offset(), x.dtype, x.is_conj(), x.is_neg(), memory)
    return (*form, x.resolve_conj().resolve_neg().tolist())
