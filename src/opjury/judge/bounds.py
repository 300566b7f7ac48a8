"""How far a right result may be from the exact one, and whether an observed one is within that.

For each element |computed − exact| ≤ u·|exact| + γ(k)·Σ|a_j·x_j| + the smallest subnormal, with γ(k) = k·u/(1 − k·u)
(Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., ch. 3 and 4). Half types accumulate in float32 and are rounded
once, unless an implementation declares otherwise. Complex errors are measured in modulus, with √5·u for a product
(Brent, Percival, Zimmermann, *Error bounds on complex floating-point multiplication*, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNIT_ROUNDOFF = {
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float32": 2.0**-24,
    "float64": 2.0**-53,
    "complex64": 2.0**-24,
    "complex128": 2.0**-53,
}
_SUBNORMAL = {
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
    "float32": 2.0**-149,
    "float64": 2.0**-1074,
    "complex64": 2.0**-149,
    "complex128": 2.0**-1074,
}

LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895e38,
    "float32": 3.4028e38,
    "float64": 1.7976e308,
    "complex64": 3.4028e38,
    "complex128": 1.7976e308,
}


@dataclass(frozen=True)
class Expected:
    """What must come out.

    Parameters
    ----------
    value : numpy.ndarray
        The exact result rounded to float64, complex128 or int64.
    rest : numpy.ndarray or float
        Exact result minus `value`.
    bound : numpy.ndarray or float
        The largest right distance from the exact result.
    signed_zeros : bool
        Whether −0 and +0 differ.
    componentwise : bool
        Whether real and imaginary part must be non-finite separately (movement), or only the number as a whole.
    dtype : str
    """

    value: np.ndarray
    rest: np.ndarray | float = 0.0
    bound: np.ndarray | float = 0.0
    signed_zeros: bool = False
    componentwise: bool = False
    dtype: str = "float32"


@dataclass(frozen=True)
class Comparison:
    """How an observed result compares: the first place where it is wrong (None where it is right), and the largest error."""

    wrong_at: tuple[int, ...] | None
    of_bound: float
    ulps: float


def gamma(terms: np.ndarray | float, unit: float) -> np.ndarray:
    """Higham's γ(k) = k·u/(1 − k·u); infinite where k·u ≥ 1."""
    ku = np.asarray(terms, dtype=np.float64) * unit
    with np.errstate(divide="ignore"):
        return np.where(ku < 1, ku / np.maximum(1 - ku, 1e-300), np.inf)


def error_bound(
    exact: np.ndarray,
    magnitude: np.ndarray | float,
    terms: np.ndarray | float,
    dtype: str,
    *,
    roundings: int = 1,
    accumulates: str = "float32",
    reference_unit: float = 0.0,
) -> np.ndarray:
    """The bound of the module's docstring, elementwise, in float64.

    Parameters
    ----------
    exact, magnitude, terms
        |exact| is taken of the first; the others are broadcast to it.
    dtype : str
        The result's dtype.
    roundings : int
        Roundings to the result's dtype after accumulation.
    accumulates : {"float32", "input"}
        Where half types are summed.
    reference_unit : float
        The unit roundoff of the arithmetic in which the reference itself was computed; 0 where it was exact.
    """
    result_unit = UNIT_ROUNDOFF[dtype]
    unit = min(result_unit, UNIT_ROUNDOFF["float32"]) if accumulates == "float32" else result_unit
    factor = 5**0.5 if dtype.startswith("complex") else 1.0
    magnitude = np.abs(np.asarray(magnitude)).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = factor * gamma(terms, unit) + gamma(np.asarray(terms) + 1, reference_unit)
        bound = roundings * result_unit * factor * (1 + spread) * np.abs(exact).astype(np.float64) + spread * magnitude
    # Beyond the largest finite value a sum may overflow in one order and not in another: nothing is promised.
    overflows = np.isfinite(magnitude) & (magnitude > LARGEST[dtype])
    loosest = LARGEST["float64"]  # any finite value; an infinite bound lets NaN pass as well
    bound = np.nan_to_num(bound, nan=loosest, posinf=loosest) + (roundings + 1) * _SUBNORMAL[dtype]
    return np.where(overflows, np.inf, bound)


def ulp(value: np.ndarray, dtype: str) -> np.ndarray:
    """The spacing of the dtype at |value|."""
    size = np.maximum(np.abs(value), _SUBNORMAL[dtype] / UNIT_ROUNDOFF[dtype] / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2.0 ** np.floor(np.log2(size)) * 2 * UNIT_ROUNDOFF[dtype]


def _same_non_finite(observed: np.ndarray, expected: np.ndarray, componentwise: bool) -> np.ndarray:
    if observed.dtype.kind != "c":
        return (observed == expected) | (np.isnan(observed) & np.isnan(expected))
    if componentwise:
        return _same_non_finite(observed.real, expected.real, True) & _same_non_finite(
            observed.imag, expected.imag, True
        )
    return ~np.isfinite(observed)


def compare(observed: np.ndarray, expected: Expected) -> Comparison:
    """Compare a result of the right shape with what must come out."""
    value = expected.value
    if value.size == 0:
        return Comparison(None, 0.0, 0.0)
    if value.dtype.kind in "iub":
        wrong = observed != value
        return Comparison(_first(wrong), 0.0, 0.0)
    finite = np.isfinite(value)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = np.abs((observed - value) - expected.rest)
        close = (error <= expected.bound) | np.isposinf(expected.bound)
        fine = np.where(finite, close, _same_non_finite(observed, value, expected.componentwise))
        if expected.signed_zeros:
            fine &= _signs_of_zero(observed) == _signs_of_zero(value)
        meaningful = finite & np.isfinite(observed) & (error > 0)
        of_bound = np.where(meaningful, error / np.maximum(expected.bound, 1e-320), 0.0)
        ulps = (
            np.where(meaningful, error / ulp(value, expected.dtype), 0.0)
            if expected.dtype in UNIT_ROUNDOFF
            else np.zeros(1)
        )
    return Comparison(_first(~fine), float(np.max(of_bound, initial=0.0)), float(np.max(ulps, initial=0.0)))


def _signs_of_zero(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "c":
        return _signs_of_zero(values.real) + 3 * _signs_of_zero(values.imag)
    return (np.signbit(values) & (values == 0)).astype(np.int8)


def _first(wrong: np.ndarray) -> tuple[int, ...] | None:
    if not np.any(wrong):
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
