"""Numbers: exact ones, the values of a dtype, and numbers as Python."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from opjury.model.dtypes import is_floating


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of a name, where "default" is torch's current default dtype."""
    return torch.get_default_dtype() if name == "default" else getattr(torch, name)


def carrier(dtype: str) -> np.dtype:
    """The NumPy dtype that holds every value of the dtype exactly."""
    if dtype.startswith("complex"):
        return np.dtype(np.complex128)
    return np.dtype(np.float64 if is_floating(dtype) else np.bool_ if dtype == "bool" else np.int64)


def round_to(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values rounded to the dtype, in its carrier."""
    carried = torch.from_numpy(np.array(values, dtype=carrier(dtype), order="C"))
    return carried.to(torch_dtype(dtype)).to(carried.dtype).numpy()


class ExactComplex:
    """A complex number of two `Fraction`s."""

    __slots__ = ("imag", "real")

    def __init__(self, real: Any, imag: Any = 0) -> None:
        self.real, self.imag = Fraction(real), Fraction(imag)

    @staticmethod
    def _of(other: Any) -> ExactComplex:
        return other if isinstance(other, ExactComplex) else ExactComplex(other.real, other.imag)

    def __add__(self, other: Any) -> ExactComplex:
        other = self._of(other)
        return ExactComplex(self.real + other.real, self.imag + other.imag)

    def __neg__(self) -> ExactComplex:
        return ExactComplex(-self.real, -self.imag)

    def __sub__(self, other: Any) -> ExactComplex:
        return self + -self._of(other)

    def __rsub__(self, other: Any) -> ExactComplex:
        return self._of(other) + -self

    def __mul__(self, other: Any) -> ExactComplex:
        other = self._of(other)
        real = self.real * other.real - self.imag * other.imag
        return ExactComplex(real, self.real * other.imag + self.imag * other.real)

    def __truediv__(self, other: Any) -> ExactComplex:
        other = self._of(other)
        size = other.real**2 + other.imag**2
        product = self * other.conjugate()
        return ExactComplex(product.real / size, product.imag / size)

    __radd__, __rmul__ = __add__, __mul__

    def __rtruediv__(self, other: Any) -> ExactComplex:
        return self._of(other) / self

    def conjugate(self) -> ExactComplex:
        """The number with the opposite imaginary part."""
        return ExactComplex(self.real, -self.imag)

    def __abs__(self) -> float:
        return math.hypot(float(self.real), float(self.imag))

    def __bool__(self) -> bool:
        return bool(self.real or self.imag)

    def __eq__(self, other: object) -> bool:
        other = self._of(other)
        return self.real == other.real and self.imag == other.imag

    __hash__ = None  # type: ignore[assignment]


def exactly(value: Any) -> Any:
    """A number as a `Fraction` or an `ExactComplex`."""
    return ExactComplex(value.real, value.imag) if isinstance(value, complex) else Fraction(value)


def literal(value: Any) -> str:
    """Numbers, and lists of them, as Python."""
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, complex):
        return f"complex({literal(value.real)}, {literal(value.imag)})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 and str(value) != "-0.0":
        return f"{int(value)}."
    return repr(value)


def integer_limits(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer dtype (bool: 0 and 1)."""
    if dtype == "bool":
        return 0, 1
    limits = np.iinfo(dtype)
    return limits.min, limits.max
