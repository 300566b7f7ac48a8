"""Sparse arguments to draw: every format and container, with whatever the format allows to be stored."""

from dataclasses import replace

import numpy as np
import scipy

from opjury.contract import Space, Sparse, Tensor, composite, st
from opjury.model.arguments import FORMATS

REPEATS = 3  # entries at one place, at the most
_REPEATING = ("bsr", "coo", "csc", "csr")


@composite
def sparse_matrices(draw, space: Space, shape=None, *, terms: int = 1, most: int = 400) -> Sparse:
    """A sparse matrix or array of the dtype on trial: empty to dense, sorted or not, with repeated entries and stored zeros.

    `terms` counts as in `Space.tensor`: how many different entries are added up at the most. `most` is how many are stored.
    """
    rows, columns = draw(st.tuples(space.sizes(), space.sizes())) if shape is None else shape
    form = draw(st.sampled_from(FORMATS))
    container = draw(st.sampled_from(["array", "array", "matrix"]))
    index_dtype = draw(st.sampled_from(["int32", "int32", "int64"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if form == "dia":
        places, stored = draw(_diagonals(rows, columns, rng))
    else:
        blocks = draw(_blocks(rows, columns)) if form == "bsr" else (1, 1)
        repeats = REPEATS if form in _REPEATING and draw(st.booleans()) else 1
        unsorted = form != "lil" and draw(st.booleans())
        cells = (rows // blocks[0], columns // blocks[1])
        count = draw(st.integers(0, min(cells[0] * cells[1], 12)) | st.just(min(cells[0] * cells[1], most)))
        places = _cells(rng, cells, count, repeats, unsorted)
        stored = (len(places[0]), *blocks) if form == "bsr" else (len(places[0]),)
    drawn = draw(replace(space, layouts=("contiguous",)).tensor(stored, terms=terms * REPEATS))
    values = drawn.values.copy()
    if draw(st.integers(0, 2)) == 0:
        values[rng.random(stored) < 0.3] = 0
    return Sparse(form, (rows, columns), space.dtype, values, places, container, index_dtype)


@composite
def _diagonals(draw, rows: int, columns: int, rng: np.random.Generator):
    """Offsets, some of them wholly outside the matrix, and the shape of the data: shorter or longer than the rows."""
    offsets = rng.permutation(np.arange(-rows - 2, columns + 3))[: draw(st.integers(0, 5))]
    width = max(columns + draw(st.sampled_from([0, 0, 0, -1, 1, 3])), 0)
    return (offsets,), (len(offsets), width)


@composite
def _blocks(draw, rows: int, columns: int):
    return tuple(
        draw(st.sampled_from([k for k in (1, 2, 3, 4) if side and side % k == 0] or [1])) for side in (rows, columns)
    )


def _cells(rng: np.random.Generator, shape, count: int, repeats: int, unsorted: bool):
    """Rows and columns of `count` different cells, some of them repeated."""
    flat = rng.permutation(shape[0] * shape[1])[:count]
    flat = np.repeat(flat, rng.integers(1, repeats, len(flat), endpoint=True))
    flat = rng.permutation(flat) if unsorted else np.sort(flat)
    return tuple(part.astype(np.int64) for part in np.divmod(flat, max(shape[1], 1)))


@composite
def dense_arrays(draw, space: Space):
    """What is no sparse matrix: a NumPy array, or a tensor."""
    tensor = draw(replace(space, layouts=("contiguous",)).tensor(draw(st.sampled_from([(1, 1), (2, 3), (3, 0)]))))
    if draw(st.booleans()):
        return tensor
    return Sparse("dense", tensor.values.shape, space.dtype, tensor.values)


def fault(count) -> str:
    """What makes it no count of rows, columns or differences."""
    return "negative" if type(count) in (int, np.int64) else f"a {type(count).__name__}"


EMPTY_ROWS, EMPTY_COLUMNS = 2**15, 2**20  # places of such a matrix, row by row, need more than 32 bits
WIDE = 8  # bytes of an element, of which nobody finds the memory for all places


def behind_empty(matrix):
    """The matrix, as CSC, CSR or COO, behind many empty rows and columns."""
    form = matrix.format if matrix.format in ("csc", "csr") else "coo"
    entries = matrix.tocoo(copy=True)
    places = entries.row.astype(np.int64) + EMPTY_ROWS, entries.col.astype(np.int64) + EMPTY_COLUMNS
    shape = matrix.shape[0] + EMPTY_ROWS, matrix.shape[1] + EMPTY_COLUMNS
    return scipy.sparse.coo_array((entries.data, places), shape=shape).asformat(form)


__all__ = [
    "EMPTY_COLUMNS",
    "EMPTY_ROWS",
    "REPEATS",
    "WIDE",
    "Sparse",
    "Tensor",
    "behind_empty",
    "dense_arrays",
    "fault",
    "sparse_matrices",
]
