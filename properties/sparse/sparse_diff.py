"""sparse_diff(matrix, order=1): np.diff(dense, n=order, axis=1) as a csc_array.

The matrix may be a sparse matrix or array in any SciPy format, of any signed integer, floating or complex dtype, which is kept;
integers wrap as NumPy's do. Repeated entries, explicit zeros and unsorted indices are ordinary input. The result has sorted
indices and no repeated ones; explicit zeros may remain. An order of at least the number of columns gives (rows, 0).
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import scipy

from opjury.contract import COMPLEX, REAL, Case, Law, Operation, Space, Sparse, composite, illegal, st
from opjury.properties.sparse._matrices import (
    EMPTY_COLUMNS,
    EMPTY_ROWS,
    REPEATS,
    WIDE,
    behind_empty,
    dense_arrays,
    fault,
    sparse_matrices,
)

HIGHEST = {"float32": 12, "complex64": 10, "float64": 40, "complex128": 40}  # exact with sums of 2^order small integers


def sparse_diff(matrix, order=1):
    """out[:, j] = Σ_k (−1)^(order−k)·C(order, k)·matrix[:, j + k]."""
    return np.diff(matrix, n=order, axis=1) if order < matrix.shape[1] else matrix[:, :0]


def magnitude(matrix, order=1):
    """Σ_k C(order, k)·|matrix[:, j + k]|."""
    out = np.abs(matrix)
    for _ in range(min(order, out.shape[1])):
        out = out[:, 1:] + out[:, :-1]
    return out


def terms(matrix, order=1):
    """One product and one addition for each stored piece of each entry, and the rounding of the binomial."""
    return REPEATS * (int(order) + 1) + 2


def invariants(result, matrix, order=1):
    """None, or what is wrong with the form of the result."""
    if not isinstance(result, scipy.sparse.csc_array):
        return f"a {type(result).__name__}; a csc_array is promised"
    if result.dtype != matrix.dtype:
        return f"of dtype {result.dtype}; it should be {matrix.dtype}"
    if any(
        later <= row for start, end in pairwise(result.indptr) for row, later in pairwise(result.indices[start:end])
    ):
        return "not in canonical format: row indices unsorted or repeated"
    return None


@composite
def cases(draw, space: Space) -> Case:
    rows, columns = draw(space.sizes()), draw(space.sizes())
    highest = 3 if space.tier == "special" else 60 if space.tier == "rounding" else HIGHEST.get(space.dtype, 70)
    order = draw(st.sampled_from([1, columns, columns + 1, columns + 3]) | st.integers(0, 4))
    if draw(st.integers(0, 7)) == 7:
        order = draw(st.integers(0, highest))
    if columns > order > highest:
        order = highest
    wraps, empty = space.dtype.startswith("int"), order >= columns
    most = 400 if order < 6 or empty else 12
    matrix = draw(sparse_matrices(space, (rows, columns), terms=1 if wraps or empty else 2**order, most=most))
    if space.tier == "special":
        matrix = _room(matrix)
    return Case.of(matrix, order)


def _room(matrix):
    """The largest values made small enough for binomials up to 3 and for repeated entries."""
    values = matrix.values
    with np.errstate(invalid="ignore"):
        return replace(
            matrix, values=np.where(np.isfinite(values) & (np.abs(values) > 2.0**100), values / 2.0**5, values)
        )


@composite
def rejects(draw, space: Space) -> Case:
    if draw(st.integers(0, 2)) == 0:
        return illegal("matrix is dense", draw(dense_arrays(space)), draw(st.integers(0, 3)))
    matrix = draw(sparse_matrices(space, (draw(st.integers(0, 3)), draw(st.integers(0, 5)))))
    bad = draw(st.sampled_from([-1, -3, np.int64(-1), 1.0, 2.5, np.float64(1.0), True, False, np.True_, "1"]))
    return illegal(f"order is {fault(bad)}", matrix, bad)


def composed(f, rng, matrix, order=1):
    split = int(rng.integers(0, int(order) + 1))
    return f(f(matrix, split), int(order) - split).toarray(), f(matrix, order).toarray()


def other_format(f, rng, matrix, order=1):
    other = str(rng.choice(["coo", "csc", "csr", "lil"]))
    return f(matrix.copy().asformat(other), order).toarray(), f(matrix, order).toarray()


def permuted(f, rng, matrix, order=1):
    rows = rng.permutation(matrix.shape[0])
    return f(scipy.sparse.csr_array(matrix, copy=True)[rows], order).toarray(), f(matrix, order).toarray()[rows]


def large(f, rng, matrix, order=1):
    if order > 3 or order >= matrix.shape[1] or matrix.dtype.itemsize < WIDE or rng.integers(3):
        return None
    return f(behind_empty(matrix), order)[EMPTY_ROWS:, EMPTY_COLUMNS:].toarray(), f(matrix, order).toarray()


def stored(shape, values, rows, columns):
    """A CSC array of these entries."""
    return Sparse("csc", shape, "float64", np.array(values), (np.array(rows), np.array(columns)))


Operation(
    "sparse_diff",
    "np.diff along the rows of a sparse matrix",
    kind="arithmetic",
    reference=sparse_diff,
    magnitude=magnitude,
    terms=terms,
    cases=cases,
    rejects=rejects,
    dtypes=REAL + COMPLEX + ("int8", "int16", "int32", "int64"),
    differentiable=False,
    result="sparse",
    invariants=invariants,
    laws=(
        Law("order a, then order b, is order a + b", composed),
        Law("the storage format does not matter", other_format),
        Law("permuting the rows permutes the differences", permuted),
        Law("many empty rows and columns in front change nothing", large, large=True),
    ),
    examples=(
        Case.of(stored((2, 2), [1.0, 2.0], [0, 1], [1, 0]), 1),
        Case.of(stored((1, 3), [1.0, 1.0, 2.0], [0, 0, 0], [0, 1, 2]), 2),
        Case.of(stored((1, 3), [0.0, 1.0, 2.0], [0, 0, 0], [0, 1, 2]), 1),
    ),
    effort=2.5,
    baseline="column_slicing",
    usual=("column_slicing",),
)
