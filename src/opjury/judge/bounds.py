"""How far a right result may be from the exact one, and whether an observed result is within that bound.

For each element |computed − exact| ≤ u·|exact| + γ(k)·Σ|a_j·x_j| + the smallest subnormal, with γ(k) = k·u/(1 − k·u)
(Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., ch. 3 and 4). A product that underflows loses up to half the smallest
subnormal of its format besides (ch. 2), so that k of them are added. Half types accumulate in float32 and are rounded
once, unless an implementation declares otherwise. Complex errors are measured in modulus, with √5·u for a product
(Brent, Percival, Zimmermann, *Error bounds on complex floating-point multiplication*, 2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from opjury.model.case import Repetition
from opjury.model.dtypes import HALF

_REAL = {  # unit roundoff, smallest subnormal, largest finite value
    "float16": (2.0**-11, 2.0**-24, 65504.0),
    "bfloat16": (2.0**-8, 2.0**-133, 3.3895e38),
    "float32": (2.0**-24, 2.0**-149, 3.4028e38),
    "float64": (2.0**-53, 2.0**-1074, 1.7976e308),
}
_FLOATING = {**_REAL, "complex64": _REAL["float32"], "complex128": _REAL["float64"]}
UNIT_ROUNDOFF, SUBNORMAL, LARGEST = ({dtype: row[k] for dtype, row in _FLOATING.items()} for k in range(3))
_CHUNK = 2**24  # elements of a repeated result that are compared at a time


@dataclass(frozen=True)
class Expected:
    """The right result of a call, and how far an observed one may be from it.

    Parameters
    ----------
    value : numpy.ndarray
        The exact result rounded to float64, complex128 or int64.
    rest : numpy.ndarray or float
        Exact result minus `value`.
    bound : numpy.ndarray or float
        The largest allowed distance from the exact result.
    signed_zeros : bool
        Whether −0 and +0 differ.
    componentwise : bool
        Whether non-finite real and imaginary parts are compared separately (movement), or a complex number as a whole.
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
    """The first place where a result is wrong (None where it is right), and its largest error."""

    wrong_at: tuple[int, ...] | None
    of_bound: float
    ulps: float


def gamma(terms: np.ndarray | float, unit: float) -> np.ndarray:
    """Higham's γ(k) = k·u/(1 − k·u), infinite where k·u ≥ 1."""
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
        The exact result, Σ|a_j·x_j| and k of the formula. The last two are broadcast to the first.
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
    computed = "float32" if dtype in HALF and accumulates == "float32" else dtype
    unit = UNIT_ROUNDOFF[computed]
    factor = 5**0.5 if dtype.startswith("complex") else 1.0
    magnitude = np.abs(np.asarray(magnitude)).astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = factor * gamma(terms, unit) + gamma(np.asarray(terms) + 1, reference_unit)
        bound = roundings * result_unit * factor * (1 + spread) * np.abs(exact).astype(np.float64) + spread * magnitude
    # Beyond the largest finite value a sum may overflow in one order and not in another: nothing is promised.
    overflows = np.isfinite(magnitude) & (magnitude > LARGEST[dtype])
    loosest = LARGEST["float64"]  # any finite value; an infinite bound lets NaN pass as well
    underflow = (roundings + 1) * SUBNORMAL[dtype] + factor * np.asarray(terms) * SUBNORMAL[computed]
    bound = np.nan_to_num(bound, nan=loosest, posinf=loosest) + underflow
    return np.where(overflows, np.inf, bound)


def ulp(value: np.ndarray, dtype: str) -> np.ndarray:
    """The spacing of the dtype at |value|."""
    size = np.maximum(np.abs(value), SUBNORMAL[dtype] / UNIT_ROUNDOFF[dtype] / 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return 2.0 ** np.floor(np.log2(size)) * 2 * UNIT_ROUNDOFF[dtype]


def _same_non_finite(observed: np.ndarray, expected: np.ndarray, componentwise: bool) -> np.ndarray:
    if observed.dtype.kind != "c":
        return (observed == expected) | (np.isnan(observed) & np.isnan(expected))
    if not componentwise:
        return ~np.isfinite(observed)
    real, imag = (observed.real, expected.real), (observed.imag, expected.imag)
    return _same_non_finite(*real, True) & _same_non_finite(*imag, True)


def compare(observed: np.ndarray, expected: Expected) -> Comparison:
    """Compare a result of the right shape with the expected one."""
    value = expected.value
    if value.size == 0:
        return Comparison(None, 0.0, 0.0)
    if value.dtype.kind in "iub":
        return Comparison(first_place(observed != value), 0.0, 0.0)
    finite = np.isfinite(value)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        error = np.abs((observed - value) - expected.rest)
        close = (error <= expected.bound) | np.isposinf(expected.bound)
        fine = np.where(finite, close, _same_non_finite(observed, value, expected.componentwise))
        if expected.signed_zeros:
            fine &= _signs_of_zero(observed) == _signs_of_zero(value)
        meaningful = finite & np.isfinite(observed) & (error > 0)
        of_bound = np.where(meaningful, error / np.maximum(expected.bound, 1e-320), 0.0)
        ulps = np.where(meaningful, error / ulp(value, expected.dtype), 0.0)
    return Comparison(first_place(~fine), float(np.max(of_bound, initial=0.0)), float(np.max(ulps, initial=0.0)))


def _signs_of_zero(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "c":
        return _signs_of_zero(values.real) + 3 * _signs_of_zero(values.imag)
    return (np.signbit(values) & (values == 0)).astype(np.int8)


def first_place(wrong: np.ndarray) -> tuple[int, ...] | None:
    """The place of the first true element, or None where there is none."""
    if not np.any(wrong):
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


def repeated_shape(expected: Expected, repeated: Repetition) -> tuple[int, ...]:
    """The shape of the result of a call whose arguments are repeated, by that of the small case."""
    return tuple(n * (repeated.times if dim in repeated.result else 1) for dim, n in enumerate(expected.value.shape))


def wrong_at(result: torch.Tensor, expected: Expected, repeated: Repetition) -> tuple[int, ...] | None:
    """The first place, along the first repeated dimension, where a repeated result is wrong, or None where it is right.

    The result stays on its device, and is compared with the small case's in parts: it has more than 2³¹ elements.
    """
    first, *others = repeated.result
    value = torch.from_numpy(expected.value)
    bound = torch.from_numpy(np.broadcast_to(expected.bound, value.shape).copy())
    reps = [repeated.times if dim in others else 1 for dim in range(value.ndim)]
    value, bound = (each.repeat(reps).movedim(first, 0).to(result.device) for each in (value, bound))
    rows, count = result.detach().movedim(first, 0), len(value)
    step = max(1, _CHUNK // value.numel())
    for start in range(0, repeated.times, step):
        part = rows[start * count : (start + step) * count].reshape(-1, *value.shape)
        wrong = ~((part.to(value.dtype) - value).abs() <= bound)  # NaN is wrong
        if wrong.any():
            number, row, *rest = (int(place) for place in wrong.nonzero()[0])
            return (*rest[:first], (start + number) * count + row, *rest[first:])
    return None
