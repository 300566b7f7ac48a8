"""sparse_grow(matrix, rows, columns): the matrix with so many empty rows and columns appended.

Same format and dtype, the input unchanged, no memory in common with it. Every stored entry survives with its position: explicit zeros
where the format holds them, in COO, CSC and CSR repeated entries too. What a DIA matrix stores outside its shape does not appear.
BSR may fall back to blocks of one element.
"""

import numpy as np

from opjury.contract import COMPLEX, INTEGER, REAL, Case, Law, Operation, Space, Sparse, composite, illegal, st
from opjury.properties.sparse._matrices import (
    EMPTY_COLUMNS,
    EMPTY_ROWS,
    REPEATS,
    WIDE,
    behind_empty,
    fault,
    sparse_matrices,
)


def sparse_grow(matrix, rows, columns):
    """Zeros below and to the right."""
    return np.pad(matrix, ((0, rows), (0, columns)))


def invariants(result, matrix, rows, columns):
    """None, or what is wrong with the form of the result."""
    if getattr(result, "format", None) != matrix.format:
        return f"a {type(result).__name__}; the format is to stay {matrix.format}"
    if result.dtype != matrix.dtype:
        return f"of dtype {result.dtype}; it should be {matrix.dtype}"
    if matrix.format == "dia":
        return None
    if matrix.format == "bsr":
        lost = {entry[:2] for entry in _entries(matrix)} - {entry[:2] for entry in _entries(result)}
        return f"without the stored entries at {sorted(lost)[:3]}" if lost else None
    before, after = _entries(matrix), _entries(result)
    if before != after:
        changed = next(pair for pair in zip([*before, None], [*after, None], strict=False) if pair[0] != pair[1])
        return f"storing {len(after)} entries where {len(before)} are to survive as they are; {changed[1]} in place of {changed[0]}"
    return None


def _entries(matrix):
    """Everything stored: row, column and bits of the value, sorted."""
    coordinates = matrix.tocoo(copy=True)
    bits = [value.tobytes().hex() for value in coordinates.data]
    return sorted(zip(coordinates.row.tolist(), coordinates.col.tolist(), bits, strict=True))


@composite
def cases(draw, space: Space) -> Case:
    matrix = draw(sparse_matrices(space))
    return Case.of(matrix, *(draw(space.sizes(usual=5)) for _ in range(2)))


@composite
def rejects(draw, space: Space) -> Case:
    matrix = draw(sparse_matrices(space, (draw(st.integers(0, 3)), draw(st.integers(0, 3)))))
    good = draw(st.integers(0, 3))
    bad = draw(st.sampled_from([-1, -4, np.int64(-1), 1.0, 0.5, np.float64(2.0), True, False, np.True_, "1"]))
    name, *counts = draw(st.sampled_from([("columns", good, bad), ("rows", bad, good)]))
    return illegal(f"{name} is {fault(bad)}", matrix, *counts)


def in_two_steps(f, rng, matrix, rows, columns):
    first, second = int(rng.integers(0, int(rows) + 1)), int(rng.integers(0, int(columns) + 1))
    return f(f(matrix, first, second), rows - first, columns - second).toarray(), f(matrix, rows, columns).toarray()


def transposed(f, rng, matrix, rows, columns):
    turned = matrix.tocoo(copy=True).T  # by way of COO: SciPy transposes long DIA data wrongly
    return f(turned, columns, rows).toarray().T, f(matrix, rows, columns).toarray()


def cut_back(f, rng, matrix, rows, columns):
    height, width = matrix.shape
    return f(matrix, rows, columns).toarray()[:height, :width], matrix.toarray()


def large(f, rng, matrix, rows, columns):
    if rows > 9 or columns > 9 or matrix.dtype.itemsize < WIDE or rng.integers(6):
        return None
    grown = f(behind_empty(matrix), rows, columns).tocsc()
    return grown[EMPTY_ROWS:, EMPTY_COLUMNS:].toarray(), f(matrix, rows, columns).toarray()


Operation(
    "sparse_grow",
    "a sparse matrix with empty rows and columns appended",
    kind="exact",
    reference=sparse_grow,
    terms=lambda matrix, rows, columns: REPEATS,
    cases=cases,
    rejects=rejects,
    dtypes=REAL + COMPLEX + INTEGER,
    differentiable=False,
    result="sparse",
    fresh=True,
    invariants=invariants,
    laws=(
        Law("growing in two steps is growing by the sum", in_two_steps),
        Law("growing the transpose transposes", transposed),
        Law("cutting the new rows and columns off gives the matrix back", cut_back),
        Law("many empty rows and columns in front change nothing", large, large=True),
    ),
    examples=(
        Case.of(Sparse("csr", (1, 2), "float64", np.array([1.0, 2.0]), (np.array([0, 0]), np.array([1, 1]))), 1, 1),
        Case.of(Sparse("dia", (1, 1), "float64", np.array([[1.0, 2.0, 3.0]]), (np.array([0]),)), 2, 2),
        Case.of(Sparse("bsr", (2, 2), "float64", np.ones((1, 2, 2)), (np.array([0]), np.array([0]))), 1, 1),
    ),
    effort=2.5,
    baseline="block_array",
    usual=("copy_then_resize", "block_array"),
)
