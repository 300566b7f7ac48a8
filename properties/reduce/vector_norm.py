"""vector_norm(x): the 2-norm of all elements, a 0-d real tensor.

Floating and complex. Finite whenever the true norm is representable, whatever the scale of x; a norm below the normal
numbers is right within the smallest one of all. Empty gives 0. NaN wins over infinity. The gradient is x/‖x‖, and 0 at
x = 0.
"""

from dataclasses import replace
from fractions import Fraction
from math import isqrt

import numpy as np
import torch

from opjury.contract import (
    COMPLEX,
    Case,
    Law,
    Operation,
    Space,
    Tensor,
    composite,
    illegal,
    integer_limits,
    round_to,
    seeds,
    st,
)

# Exponents of the smallest normal and above the largest number, and digits, of the real numbers of each dtype.
RANGE = {"float16": (-14, 16, 11), "bfloat16": (-126, 128, 8), "float32": (-126, 128, 24), "complex64": (-126, 128, 24)}
DOUBLE = (-1022, 1024, 53)


def vector_norm(x):
    """√Σ|x|², exactly for rational numbers (to 2^-220), elsewhere scaled by a power of two."""
    if x.dtype == object:
        return np.array(root(sum((e.real * e.real + e.imag * e.imag for e in x.ravel()), Fraction(0))))
    parts = real_parts(x)
    if parts.size == 0 or not np.all(np.isfinite(parts)):
        return np.array(np.nan if np.isnan(parts).any() else np.inf if parts.size else 0.0)
    exponent = np.frexp(np.abs(parts).max())[1]
    return np.ldexp(np.sqrt((np.ldexp(parts, -exponent) ** 2).sum()), exponent)


def root(square):
    """The square root of a Fraction, as a Fraction, rounded down after at least 220 bits."""
    if not square:
        return square
    shift = max(0, 240 - (square.numerator.bit_length() - square.denominator.bit_length()) // 2)
    return Fraction(isqrt((square.numerator << 2 * shift) // square.denominator), 1 << shift)


def real_parts(x):
    """Real and imaginary parts in one row."""
    return np.concatenate([x.real.ravel(), x.imag.ravel()]) if x.dtype.kind == "c" else x.ravel()


def terms(x):
    """The additions and squares count half under the root, with some more for a scaling of the elements and of the root."""
    return real_parts(x).size / 2 + 5


def gradient(w, x):
    """w·x/‖x‖, and 0 at 0."""
    exponent = np.frexp(np.abs(real_parts(x)).max(initial=0.0))[1]
    scaled = np.ldexp(x.real, -exponent) + (1j * np.ldexp(x.imag, -exponent) if x.dtype.kind == "c" else 0)
    norm = float(vector_norm(scaled))
    value = w * (scaled / norm) if norm else np.zeros_like(x)
    return [(value, np.abs(value))]


@composite
def cases(draw, space: Space) -> Case:
    shape = draw(space.shapes(0, 6))
    x = draw(space.tensor(shape, terms=int(np.prod(shape))))
    own = draw(st.integers(0, 2)) != 1
    low, high, digits = RANGE.get(space.dtype, DOUBLE)
    if space.tier == "special" and (own or space.dtype in COMPLEX):
        exponent = draw(st.integers(low - digits + 2, low))
    elif space.tier != "special" and (own or not normal(x.values, low)):
        edges = [low + 2, high, low // 2, high // 2, high // 2 - digits // 2, (low - digits) // 2, 0]
        exponent = draw(st.one_of(st.sampled_from(edges), st.integers(low + 2, high)))
    else:
        return Case.of(replace(x, values=poisoned(x.values)) if space.tier == "special" and draw(st.booleans()) else x)
    values = of_norm(np.random.default_rng(draw(seeds)), shape, space.dtype, exponent, draw(st.integers(0, 5)))
    return Case.of(replace(x, values=values, layout=x.layout if x.layout != "expanded" else "contiguous"))


def normal(values, low):
    """Whether the norm is zero or well above the subnormal numbers."""
    norm = vector_norm(values)
    return not norm or norm > 2.0 ** (low + 1)


def of_norm(rng, shape, dtype, exponent, family):
    """Values whose norm is about 0.9·2^exponent: normal, wide range, one spike, all equal, mostly zeros, all zeros."""
    parts = rng.standard_normal((2, *shape) if dtype in COMPLEX else (1, *shape))
    if family == 1:
        parts *= 2.0 ** rng.uniform(-80, 0, parts.shape)
    elif family == 2 and parts.size:
        parts.reshape(-1)[rng.integers(parts.size)] = 2.0**14
    elif family == 3:
        parts[:] = 1
    elif family == 4:
        parts *= rng.random(parts.shape) < 0.2
    norm = np.sqrt((parts**2).sum())
    parts = np.ldexp(parts * (0.9 / norm), exponent) if norm and family != 5 else np.zeros_like(parts)
    return round_to(parts[0] + 1j * parts[1] if dtype in COMPLEX else parts[0], dtype)


def poisoned(values):
    """With an infinity first and a NaN last."""
    flat = values.copy().reshape(-1)
    flat[:1], flat[1:][-1:] = np.inf, np.nan
    return flat.reshape(values.shape)


@composite
def rejects(draw, space: Space) -> Case:
    dtype = draw(st.sampled_from(["uint8", "int8", "int16", "int32", "int64"]))
    shape = draw(space.shapes(0, 2))
    rng = np.random.default_rng(draw(seeds))
    values = rng.integers(max(integer_limits(dtype)[0], -9), 9, shape).astype(np.int64)
    return illegal("x is of an integer dtype", Tensor(values, dtype))


def permuted(f, rng, x):
    return f(x.reshape(-1)[rng.permutation(x.numel())]), f(x)


def padded(f, rng, x):
    return f(torch.cat([x.reshape(-1), x.new_zeros(int(rng.integers(1, 9)))])), f(x)


def halved(f, rng, x):
    half = x / 2
    return (f(half) * 2, f(x)) if torch.equal(half * 2, x) else None


def rotated(f, rng, x):
    return f(x * 1j if x.is_complex() else -x), f(x)


def in_two_steps(f, rng, x):
    at = int(rng.integers(x.numel() + 1))
    return f(torch.stack([f(x.reshape(-1)[:at]), f(x.reshape(-1)[at:])])), f(x)


Operation(
    "vector_norm",
    "the 2-norm of all elements",
    kind="arithmetic",
    reference=vector_norm,
    terms=terms,
    gradient=gradient,
    cases=cases,
    rejects=rejects,
    result_dtype=lambda case: {"complex64": "float32", "complex128": "float64"}.get(case.dtype, case.dtype),
    tiers=("rounding",),
    laws=(
        Law("the order of the elements does not matter", permuted),
        Law("zeros add nothing", padded),
        Law("half of x has half the norm", halved),
        Law("the sign, or a factor i, does not matter", rotated),
        Law("the norms of two parts have the norm of the whole", in_two_steps),
    ),
    baseline="library",
    usual=("library",),
)
