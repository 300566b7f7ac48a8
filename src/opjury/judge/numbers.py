"""Families of values that tensors are filled with: integers whose sums are exact, values that round, special values."""

from __future__ import annotations

import math

import numpy as np
import torch

from opjury.model.exact import carrier, integer_limits, round_to, torch_dtype

_CAP = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "complex64": 2**22}
_LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.38e38,
    "float32": 3.4e38,
    "complex64": 1.7e38,
    "float64": 1.7e308,
    "complex128": 8e307,
}


NEAR_OVERFLOW, NEAR_UNDERFLOW = 7, 8  # families of `general`


def integers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str, terms: int, family: int, *, special: bool = False
) -> np.ndarray:
    """Integers of a dtype (small, all different, any, or extremes) of which `terms` add up within 64 bits.

    Special ones stand beside the limits of the dtype, or of those that float32 and float64 hold, at up to three places.
    """
    low, high = integer_limits(dtype)
    if dtype == "int64" and terms > 1:
        low, high = -(2**62) // terms, 2**62 // terms
    if family == 0:
        values = rng.integers(max(low, -3), min(high, 3), shape, endpoint=True)
    elif family == 1:
        values = rng.permutation(math.prod(shape)).reshape(shape) % (min(high, 2**31) + 1)
    elif family == 2:
        values = rng.integers(low, high, shape, endpoint=True)
    else:
        values = rng.choice(np.array([low, high, 0, 1]), shape)
    values = np.array(values)
    if special and values.size:
        edges = (low, high, 2**24, 2**53, -(2**24), -(2**53))
        near = [edge + step for edge in edges for step in (-1, 0, 1) if low <= edge + step <= high]
        values.reshape(-1)[rng.integers(values.size, size=3)] = rng.choice(np.array(near), 3)
    return values.astype(carrier(dtype))


def general(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str, terms: int, factors: int, family: int
) -> np.ndarray:
    """Values that round: normal, wide range, cancelling pairs, one spike, narrow range, common scale, all equal, near overflow, near underflow.

    Wide ranges stay away from the overflow of any sum of `terms` products of `factors` values, and from underflow. Near overflow sums stay
    below half of the largest value, so that the deviations from a mean add up too, with more room where Fourier transforms, which add
    up all, are of the same range. Near underflow values are normal numbers where instructions take subnormal ones for zero.
    """
    room = (math.log2(_LARGEST[dtype]) - math.log2(terms) - 2) / factors - 1
    spread = max(2.0, min(room, 9.0 if dtype == "float16" else 40.0))

    largest = _LARGEST[dtype] ** (1 / factors) / (4 * terms)
    if family == NEAR_OVERFLOW and factors == 1:
        largest = _LARGEST[dtype] / (2.2 * terms ** (1 if dtype == "float16" else 1.5))

    def real() -> np.ndarray:
        values = rng.standard_normal(shape).clip(-4, 4)
        if family == 1:
            values = values * 2.0 ** rng.uniform(-spread, spread - 2, shape)
        elif family == 2:
            large = np.asarray(values * 2.0 ** min(spread - 2, 24))
            flat = large.reshape(-1)
            flat[1::2] = -flat[: flat.size - 1 : 2][: flat[1::2].size]
            values = large + rng.standard_normal(shape)
        elif family == 3 and values.size:
            np.asarray(values).reshape(-1)[rng.integers(values.size)] = 2.0 ** min(spread - 1, 30)
        elif family == 4:
            values = 1 + rng.random(shape) / 8
        elif family == 5:
            values = values * 2.0 ** rng.uniform(-spread, spread - 2)
        elif family == 6:
            values = np.full(shape, rng.choice([0.1, 1 + 2.0**-9, 1 / 3]))
        elif family == NEAR_OVERFLOW:
            values = np.copysign(largest * rng.uniform(0.5, 1, shape), values)
        elif family == NEAR_UNDERFLOW:
            values = values * 2.0 ** (_least_exponent(dtype, factors) + rng.integers(0, 8))
        return np.asarray(values).clip(-largest, largest)

    values = real() + 1j * real() if dtype.startswith("complex") else real()
    return round_to(values, dtype) + 0.0  # what rounds to zero has no sign: −0 is a special value


def _least_exponent(dtype: str, factors: int) -> int:
    """The power of two of values of which products are about the smallest normal number, or of values about the smallest of all."""
    info = torch.finfo(torch_dtype(dtype))
    normal = round(math.log2(info.smallest_normal))
    if dtype == "bfloat16":
        return normal // factors + 14
    return normal // factors if factors > 1 else normal + round(math.log2(info.eps)) + 2


def with_specials(rng: np.random.Generator, values: np.ndarray, dtype: str, names: list[str]) -> np.ndarray:
    """The values with special ones at random places, at most one "largest", since two may overflow in one order of addition only."""
    flat = values.reshape(-1)
    for number, name in enumerate(names if flat.size else []):
        if name == "largest" and name in names[:number]:
            continue
        special, place = special_value(name, dtype), rng.integers(flat.size)
        imaginary = dtype.startswith("complex") and not rng.integers(2)
        flat[place] = complex(flat[place].real, special) if imaginary else special
    return values


SPECIALS = ("nan", "inf", "-inf", "-0.0", "subnormal", "largest")


def specials(dtype: str, factors: int) -> list[str]:
    """Those that have one right result in whatever order products of so many factors are added up.

    Products of the largest values overflow. Processors' instructions for dot products treat subnormal bfloat16 numbers as zero.
    """
    if factors == 1:
        return list(SPECIALS)
    return [name for name in SPECIALS if name != "largest" and (name, dtype) != ("subnormal", "bfloat16")]


def special_value(name: str, dtype: str) -> float:
    """NaN, ±inf, −0, half the smallest normal number, or a value close to the largest finite one."""
    if name == "subnormal":
        return torch.finfo(torch_dtype(dtype)).smallest_normal / 2
    if name == "largest":
        return {"float16": 32768.0, "float64": 2.0**1023, "complex128": 2.0**1022}.get(dtype, 2.0**126)
    return float(name)


def small_integers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str, terms: int = 1, factors: int = 1, family: int = 0
) -> np.ndarray:
    """Small integers whose sums and products are exact in the dtype, in the dtype's carrier.

    Families: 0 small values, 1 all different (where that many are exact), 2 zeros and ones, 3 few non-zeros. Where the dtype is too
    narrow for `terms` non-zeros, most are zeros, so that every partial sum stays exact.
    """
    size = math.prod(shape)
    cap = _CAP.get(dtype, 2**50)
    top = int(max(1, min(5, (cap / terms) ** (1 / factors))))
    if family == 1 and terms * size**factors < cap:
        flat = rng.permutation(size).astype(np.float64) + 1
    else:
        low, high = (0, 1) if family == 2 else (-top, top)
        flat = rng.integers(low, high, size, endpoint=True).astype(np.float64)
    if dtype.startswith("complex"):
        flat = flat + 1j * rng.integers(-top, top, size, endpoint=True)
    allowed = int(cap // top**factors)
    if family == 3 or terms > allowed:
        keep = rng.permutation(size)[: max(1, min(allowed, size // 8 + 1))]
        sparse = np.zeros_like(flat)
        sparse[keep] = flat[keep]
        flat = sparse
    return flat.reshape(shape)
