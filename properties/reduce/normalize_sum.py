"""normalize_sum(x, dim): x / x.sum(dim, keepdim=True).

Floating and complex; the dimension is not empty, and its sums are not zero and representable in the dtype of x. An
error in a sum shows in every quotient, so the bound is conditioned by Σ|x| / |Σx|. Each quotient depends on its own sum
alone. Sums near both ends of the dtype are drawn, subnormal ones too; the gradient is judged where 1 / |Σx| is representable.
"""

from dataclasses import replace

import numpy as np
import torch

from opjury.contract import Case, Law, Operation, Space, composite, illegal, round_to, st

# Powers of two of sums: near overflow, large, small, and two of the subnormal ones; complex quotients stay in the middle.
EXPONENTS = {
    "float16": (14, 7, 5, -16, -20),
    "bfloat16": (126, 70, -70, -127, -130),
    "float32": (126, 70, -70, -128, -140),
    "float64": (1022, 70, -70, -1024, -1060),
    "complex": (70, 70, -70),
}


def normalize_sum(x, dim):
    """Each element by the sum along dim."""
    total = x.sum(axis=dim, keepdims=True)
    if np.any(total == 0):
        raise ValueError("a sum is zero")
    return x / total


def condition(x, dim):
    """Σ|x| / |Σx|, along dim."""
    return np.abs(x).sum(axis=dim, keepdims=True) / np.abs(x.sum(axis=dim, keepdims=True))


def magnitude(x, dim):
    """The quotients, times the condition of their sums."""
    return np.abs(normalize_sum(x, dim)) * condition(x, dim)


def terms(x, dim):
    """Additions along dim, and a few roundings of a quotient or product."""
    return x.shape[dim] + 3


def gradient(w, x, dim):
    """(w − Σ w·ȳ) / s̄, with y the result and s the sums."""
    y, total = normalize_sum(x, dim), x.sum(axis=dim, keepdims=True)
    value = (w - (w * np.conj(y)).sum(axis=dim, keepdims=True)) / np.conj(total)
    size = np.abs(w) + (np.abs(w) * np.abs(y)).sum(axis=dim, keepdims=True)
    return [(value, size * condition(x, dim) / np.abs(total))]


@composite
def cases(draw, space: Space) -> Case:
    n = draw(space.sizes(1))
    others = draw(space.shapes(0, 5))
    dim = draw(space.axes(len(others) + 1))
    place = dim % (len(others) + 1)
    shape = (*others[:place], n, *others[place:])
    x = draw(space.tensor(shape, terms=n))
    exponent = draw(st.sampled_from([0, 3, -2, *EXPONENTS.get(space.dtype, EXPONENTS["complex"])]))
    worst = 2.0 ** (30 if space.dtype in ("float64", "complex128") else 8)
    values = conditioned(agreed(x.values) if space.tier == "special" else x.values, place, worst)
    if space.tier != "special":
        values = summing(round_to(at_scale(values, place, exponent, space.dtype), space.dtype), place, worst)
    return Case.of(replace(x, values=round_to(values, space.dtype)), dim)


def agreed(values):
    """Without infinite and enormous complex numbers: by these, a quotient is not agreed upon."""
    if values.dtype.kind != "c":
        return values
    values = np.where(np.isfinite(values), values, np.nan)
    return np.where(np.abs(values) > 1e9, 1, values)


def conditioned(values, dim, worst):
    """The values, or their absolutes where they cancel too far, and ones where there is next to nothing."""
    size, total = np.sum(np.abs(values), axis=dim, keepdims=True), np.abs(np.sum(values, axis=dim, keepdims=True))
    values = np.where(np.isfinite(total) & (total * worst < size), np.abs(values), values)
    return np.where(size < 2.0**-100, 1, values)


def summing(values, dim, worst):
    """The rounded values, or their absolutes and at least the least number, where a sum has become zero or cancels too far."""
    size, total = np.sum(np.abs(values), axis=dim, keepdims=True), np.abs(np.sum(values, axis=dim, keepdims=True))
    least = np.min(np.abs(values[values != 0]), initial=1)
    return np.where(total * worst <= size, np.maximum(np.abs(values), least), values)


def at_scale(values, dim, exponent, dtype):
    """Each sum between 2^exponent and twice that, with no complex number so small that a quotient underflows.

    The sum of the absolutes stays below the largest number.
    """
    size, total = np.sum(np.abs(values), axis=dim, keepdims=True), np.abs(np.sum(values, axis=dim, keepdims=True))
    room = np.floor(EXPONENTS.get(dtype, EXPONENTS["complex"])[0] - np.log2(size / total))
    shift = (np.minimum(exponent, room) - np.floor(np.log2(total))).astype(int)
    if values.dtype.kind != "c":
        return np.ldexp(values, shift)
    scaled = values * np.ldexp(1.0, shift)
    return np.where(np.abs(scaled) < 2.0**-100, 0, scaled)


@composite
def rejects(draw, space: Space) -> Case:
    shape = draw(space.shapes(1, 3, min_side=1))
    x = draw(space.tensor(shape))
    dim = draw(st.sampled_from([len(shape), len(shape) + 2, -len(shape) - 1, -len(shape) - 4]))
    rule = "dim is before the first dimension" if dim < 0 else "dim is beyond the last dimension"
    return illegal(rule, x, dim)


def scaled(f, rng, x, dim):
    return f(x * 2, dim), f(x, dim)


def permuted(f, rng, x, dim):
    order = rng.permutation(x.shape[dim])
    return f(x.movedim(dim, 0)[order], 0), f(x, dim).movedim(dim, 0)[order]


def sums_to_one(f, rng, x, dim):
    if x.shape[dim] > 4:
        return None
    total = f(x, dim).to(torch.complex128 if x.is_complex() else torch.float64).sum(dim)
    return total, torch.ones_like(total)


def other_dim(f, rng, x, dim):
    return f(x.movedim(dim, -1), -1).movedim(-1, dim), f(x, dim)


def alone(f, rng, x, dim):
    rows = x.movedim(dim, -1).reshape(-1, x.shape[dim])
    if not len(rows):
        return None
    row = int(rng.integers(len(rows)))
    return f(rows[row], 0), f(x, dim).movedim(dim, -1).reshape(rows.shape)[row]


Operation(
    "normalize_sum",
    "each element divided by the sum along one dimension",
    kind="arithmetic",
    reference=normalize_sum,
    magnitude=magnitude,
    terms=terms,
    roundings=3,
    conditioned=True,
    gradient=gradient,
    cases=cases,
    rejects=rejects,
    tiers=("rounding",),
    laws=(
        Law("doubling x changes nothing", scaled),
        Law("permuting along dim permutes the result", permuted),
        Law("the result sums to one", sums_to_one),
        Law("another place for dim changes nothing", other_dim),
        Law("a row has the same result alone as among others", alone),
    ),
    baseline="plain_division",
    usual=("plain_division",),
)
