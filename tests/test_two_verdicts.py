"""What is easily overlooked is refuted by two checks, each for a reason of its own."""

import pytest

import opjury
from tests import broken

# Wrong functions, the dtype in which each is wrong, and two checks that refute it.
TWICE = {
    "cumsum-int64_through_float64": ("int64", "agreement", "specials"),
    "cumsum-int32_through_float32": ("int32", "agreement", "specials"),
    "cumsum-wraps_in_32_bits": ("int32", "agreement", "specials"),
    "toeplitz-int64_through_float64": ("int64", "agreement", "specials"),
    "cumsum-single_integer_not_promoted": (("int8", "uint8", "bool"), "form", "specials"),
    "cumsum-conjugated_once_too_often": ("complex64", "gradient", "determinism"),
    "circulant-gradient_left_conjugated": ("complex64", "gradient", "determinism"),
    "difference_matrix-claims_to_be_canonical": ("float64", "form", "agreement"),
    "sparse_diff-claims_to_be_sorted": ("float64", "form", "agreement"),
    "sparse_grow-claims_to_be_canonical": ("float64", "form", "agreement"),
    "cumsum-coarser_without_gradients": ("float64", "agreement", "determinism"),
    "cumsum-coarser_with_gradients": ("float64", "agreement", "determinism"),
}
WRONG = {f"{operation}-{function.__name__}": (operation, function) for operation, function in broken.catalogue()}


@pytest.mark.parametrize(("name", "check"), [(name, check) for name, row in TWICE.items() for check in row[1:]])
def test_two_checks_refute_it(name, check):
    operation, function = WRONG[name]
    alone = dict(checks=check, dtypes=TWICE[name][0], isolate=False, seed=0, database="", first=True)
    found = opjury.audit(function, operation, **alone)
    assert found.refuted, found.summary()
