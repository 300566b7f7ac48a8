"""convolve2d(a, b): the full two-dimensional convolution of two matrices, as scipy.signal.convolve2d with mode="full".

a (m, n), b (p, q) → (m + p − 1, n + q − 1), out[i, j] = Σ a[k, l]·b[i − k, j − l]. Commutative and associative.
Subnormal bfloat16 numbers may count as zero, which is how processors' instructions for dot products take them.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, Case, Law, Operation, Space, composite, illegal, st
from opjury.properties.unfold._windows import factors, sum_of_products


def convolve2d(a, b):
    """The larger matrix at every offset of the smaller one."""
    if a.size < b.size:
        a, b = b, a
    out = np.zeros((a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1), dtype=np.result_type(a, b))
    for i, row in enumerate(b):
        for j, value in enumerate(row):
            out[i : i + a.shape[0], j : j + a.shape[1]] += a * value
    return out


def terms(a, b):
    """One product and one addition for each place of overlap."""
    return sum_of_products(min(a.shape[0], b.shape[0]) * min(a.shape[1], b.shape[1]), a.dtype)


@composite
def cases(draw, space: Space) -> Case:
    sides = [draw(space.sizes(1, usual=usual)) for usual in (8, 8, 5, 5)]
    shapes = [sides[:2], sides[2:]]
    shapes = [tuple(shape) for shape in (shapes if draw(st.booleans()) else shapes[::-1])]
    return Case.of(*draw(factors(space, *shapes, terms=max(map(np.prod, shapes)))))


@composite
def rejects(draw, space: Space) -> Case:
    good = draw(space.tensor((draw(st.integers(1, 4)), draw(st.integers(1, 4))), factors=2))
    shape = draw(st.sampled_from([(0, 2), (2, 0), (0, 0), (), (3,), (1, 2, 2), (1, 1, 2, 2)]))
    bad, fault = draw(space.tensor(shape, factors=2)), "empty" if 0 in shape else "not 2-d"
    return illegal(*draw(st.sampled_from([(f"b is {fault}", good, bad), (f"a is {fault}", bad, good)])))


def exchanged(f, rng, a, b):
    return f(b, a), f(a, b)


def associative(f, rng, a, b):
    c = torch.zeros((2, 3), dtype=a.dtype, device=a.device)
    c.view(-1)[int(rng.integers(6))] = 1  # a single one: sums stay as small as those of the first product
    return f(f(a, b), c), f(a, f(b, c))


def unit(f, rng, a, b):
    return f(a, torch.ones((1, 1), dtype=a.dtype, device=a.device)), a


def transposed(f, rng, a, b):
    return f(a.T, b.T), f(a, b).T


def mirrored(f, rng, a, b):
    return f(a.flip(0, 1), b.flip(0, 1)).flip(0, 1), f(a, b)


Operation(
    "convolve2d",
    "full two-dimensional convolution of two matrices",
    kind="arithmetic",
    reference=convolve2d,
    terms=terms,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX,
    laws=(
        Law("convolution is commutative", exchanged),
        Law("convolution is associative", associative),
        Law("one is the unit", unit),
        Law("transposing both transposes the result", transposed),
        Law("mirroring both mirrors the result", mirrored),
    ),
    baseline="torch_conv2d_flipped",
    usual=("scipy_convolve2d", "torch_conv2d_flipped"),
)
