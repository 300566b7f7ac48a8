"""difference_matrix(size, order): np.diff(np.eye(size), n=order) as a sparse array.

A csc_array of shape (size, max(size − order, 0)) and float64, in canonical format and without explicit zeros. Orders up to 56, where
every binomial coefficient is exact in float64.
"""

from itertools import pairwise
from math import comb

import numpy as np
import scipy

from opjury.contract import Case, Law, Operation, Space, composite, illegal, st
from opjury.properties.sparse._matrices import fault


def difference_matrix(size, order):
    """Column j holds (−1)^(order−k)·C(order, k) in row j + k."""
    out = np.zeros((size, max(size - order, 0)))
    columns = np.arange(out.shape[1])
    for k in range(order + 1):
        out[columns + k, columns] = (-1) ** (order - k) * comb(order, k)
    return out


def invariants(result, size, order):
    """None, or what is wrong with the form of the result."""
    if not isinstance(result, scipy.sparse.csc_array):
        return f"a {type(result).__name__}; a csc_array is promised"
    if any(
        later <= row for start, end in pairwise(result.indptr) for row, later in pairwise(result.indices[start:end])
    ):
        return "not in canonical format: row indices unsorted or repeated"
    if not np.all(result.data):
        return "explicit zeros are stored"
    return None


@composite
def cases(draw, space: Space) -> Case:
    order = draw(st.one_of(st.integers(0, 6), st.integers(0, 56)))
    extra = draw(space.sizes(0, 1030 if order <= 6 else 65))
    return Case.of(max(order + extra - draw(st.integers(0, 3)), 0), order)


@composite
def rejects(draw, space: Space) -> Case:
    good = draw(st.integers(1, 6))
    bad = draw(st.sampled_from([-1, -3, 2.0, 1.5, True, False, np.float64(2.0), "2", None]))
    name, *counts = draw(st.sampled_from([("order", good, bad), ("size", bad, good)]))
    return illegal(f"{name} is {fault(bad)}", *counts)


def composed(f, rng, size, order):
    split = int(rng.integers(0, order + 1))
    return f(size, split) @ f(max(size - split, 0), order - split), f(size, order)


def kills_polynomials(f, rng, size, order):
    if size < order or order == 0 or int(size) ** (int(order) - 1) * 2 ** int(order) > 2**53:
        return None
    powers = np.arange(size, dtype=float) ** int(rng.integers(0, order))
    return (f(size, order).T @ powers), np.zeros(size - order)


Operation(
    "difference_matrix",
    "np.diff(np.eye(size), n=order) as a csc_array",
    kind="exact",
    reference=difference_matrix,
    cases=cases,
    rejects=rejects,
    dtypes=("float64",),
    differentiable=False,
    result="sparse",
    tiers=("exact",),
    invariants=invariants,
    laws=(
        Law("order a times order b is order a + b", composed),
        Law("differences of order n make polynomials of lower degree zero", kills_polynomials),
    ),
    effort=4,
    baseline="dense_then_convert",
    usual=("constant_diagonals",),
)
