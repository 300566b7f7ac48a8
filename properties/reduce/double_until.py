"""double_until(x, threshold): x·2^k for the smallest k ≥ 0 with ‖x·2^k‖ ≥ threshold.

x floating or complex, finite and not all zero; threshold a positive finite number, in double precision whatever the
dtype of x. The comparison is exact: (3, 4) reaches 5, and not the next number after it. x·2^k is representable. The
gradient is 2^k·g, k being a constant.
"""

from dataclasses import replace
from fractions import Fraction
from math import isqrt

import numpy as np

from opjury.contract import COMPLEX, Case, Law, Operation, Space, Tensor, composite, illegal, round_to, seeds, st

# The largest threshold, the smallest scale of x, and the most doublings for which gradients stay finite too.
LIMITS = {"float16": (2.0**15, -23, 12), "float64": (2.0**1022, -1073, 900), "complex128": (2.0**1022, -1073, 900)}
SINGLE = (2.0**126, -132, 78)


def double_until(x, threshold):
    """By exact integer arithmetic."""
    parts = [float(part) for e in x.ravel() for part in (e.real, e.imag)]
    if not np.all(np.isfinite(parts)):
        return x * np.nan
    return scaled(x, doublings(exact_square(np.array(parts)), threshold))


def scaled(x, k):
    """x·2^k."""
    if x.dtype == object:
        return x * Fraction(2**k)
    return np.ldexp(x.real, k) + 1j * np.ldexp(x.imag, k) if x.dtype.kind == "c" else np.ldexp(x, k)


def exact_square(parts):
    """Σ parts², as a Fraction."""
    mantissas, exponents = np.frexp(parts[parts != 0])
    total = Fraction(0)
    for exponent in np.unique(exponents).tolist():
        whole = (mantissas[exponents == exponent] * 2.0**53).astype(np.int64).tolist()
        total += sum(m * m for m in whole) * Fraction(4) ** (exponent - 53)
    return total


def doublings(square, threshold):
    """The smallest k ≥ 0 with square·4^k ≥ threshold²."""
    if not square:
        raise ValueError("x is zero or empty: no doubling ever reaches the threshold")
    goal = Fraction(threshold) ** 2 / square
    k = max(0, (goal.numerator.bit_length() - goal.denominator.bit_length()) // 2 - 1)
    while 4**k < goal:
        k += 1
    return k


def gradient(w, x, threshold):
    """2^k·w, exactly."""
    square = exact_square(np.concatenate([x.real.ravel(), x.imag.ravel()]))
    return [(scaled(w, doublings(square, threshold)), np.zeros(x.shape))]


@composite
def cases(draw, space: Space) -> Case:
    shape = draw(space.shapes(0, 6, min_side=1))
    largest, smallest, most = LIMITS.get(space.dtype, SINGLE)
    x = draw(space.tensor(shape, terms=int(np.prod(shape))))
    rng = np.random.default_rng(draw(seeds))
    family = draw(st.integers(0, 4))
    values = x.values if space.tier != "special" and family == 0 else small(rng, shape, space.dtype, family)
    if x.layout == "expanded" and values.ndim:
        values = np.broadcast_to(values[:1], shape).copy()
    values = np.where(np.any(values), values, 1)
    if space.tier == "special":
        values, most = values * 2.0**smallest, 2200
        values = np.where(values, values, -0.0)
    values = round_to(values, space.dtype)
    norm = exact_norm(values)
    room = int(np.floor(np.log2(largest) - np.log2(norm)))
    k = draw(st.integers(-2, min(most, 8))) if draw(st.booleans()) else draw(st.integers(-2, most))
    threshold = float(np.ldexp(norm, min(k, room - 1)))
    threshold *= draw(st.sampled_from([1.0, 1.0, 0.75, 1 - 2.0**-53, 1 + 2.0**-52, 1 + 2.0**-24, 1 - 2.0**-11]))
    whole = threshold.is_integer() and threshold < 2**53 and draw(st.booleans())
    return Case.of(replace(x, values=values), int(threshold) if whole else max(threshold, 5e-324))


def small(rng, shape, dtype, family):
    """Small integers at any scale: (3, 4) or (2, 3, 6) among zeros, equal ones, any."""
    values = np.zeros(int(np.prod(shape)))
    if family == 1:
        values = rng.integers(-9, 10, values.size).astype(float)
    elif family == 2:
        values[:] = 1
    else:
        picked = [3.0, -4.0] if family == 3 else [2.0, 3.0, 6.0]
        values[: len(picked)] = picked[: values.size]
        values = rng.permutation(values)
    values = values.reshape(shape)
    return values * rng.choice([1, 1j, 0.6 + 0.8j, 3 + 4j]).astype(np.complex64) if dtype in COMPLEX else values


def exact_norm(values):
    """The norm rounded down to double precision, exact where it is representable."""
    square = exact_square(np.concatenate([values.real.ravel(), values.imag.ravel()]))
    shift = max(0, 70 - (square.numerator.bit_length() - square.denominator.bit_length()) // 2)
    return float(Fraction(isqrt((square.numerator << 2 * shift) // square.denominator), 1 << shift))


@composite
def rejects(draw, space: Space) -> Case:
    shape = draw(space.shapes(0, 2, min_side=1))
    rng = np.random.default_rng(draw(seeds))
    good = small(rng, shape, space.dtype, 2)
    poisoned = np.array(good)
    poison = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    poisoned.reshape(-1)[rng.integers(good.size)] = poison
    empty = np.zeros(draw(st.sampled_from([(0,), (2, 0), (0, 3)])), good.dtype)
    wrong = [
        ("x is all zeros", good * 0),
        ("x is all zeros", good * -0.0),
        ("x contains NaN" if np.isnan(poison) else "x contains an infinity", poisoned),
        ("x is empty", empty),
    ]
    thresholds = [
        ("threshold is 0", 0.0),
        ("threshold is 0", -0.0),
        ("threshold is negative", -1.0),
        ("threshold is 0", 0),
        ("threshold is negative", -3),
        ("threshold is NaN", np.nan),
        ("threshold is infinite", np.inf),
        ("threshold is infinite", -np.inf),
    ]
    (rule, values), threshold = draw(
        st.one_of(
            st.tuples(st.sampled_from(wrong), st.sampled_from([1.0, 0.5, 5, 1000.0])),
            st.sampled_from(thresholds).map(lambda drawn: ((drawn[0], good), drawn[1])),
        )
    )
    return illegal(rule, Tensor(round_to(values, space.dtype), space.dtype), threshold)


def again(f, rng, x, threshold):
    return f(f(x, threshold), threshold), f(x, threshold)


def doubled(f, rng, x, threshold):
    return f(x * 2, threshold * 2), f(x, threshold) * 2


def head_start(f, rng, x, threshold):
    out = f(x, threshold)
    return (f(x * 2, threshold), out) if not (out == x).all() else None


def permuted(f, rng, x, threshold):
    order = rng.permutation(x.numel())
    return f(x.reshape(-1)[order], threshold), f(x, threshold).reshape(-1)[order]


def negated(f, rng, x, threshold):
    return f(-x, threshold), -f(x, threshold)


Operation(
    "double_until",
    "x doubled until its 2-norm reaches a threshold",
    kind="exact",
    reference=double_until,
    gradient=gradient,
    cases=cases,
    rejects=rejects,
    tiers=("rounding",),
    laws=(
        Law("what has reached the threshold stays", again),
        Law("doubling x and the threshold doubles the result", doubled),
        Law("one doubling given is one doubling saved", head_start),
        Law("permuting x permutes the result", permuted),
        Law("the sign of x is the sign of the result", negated),
    ),
    effort=2,
    baseline="doubling_loop",
    usual=("doubling_loop",),
)
