"""Right ways to append empty rows and columns."""

import numpy as np
import scipy.sparse as sp

from . import right


def checked(matrix, rows, columns):
    """The new shape."""
    if not sp.issparse(matrix):
        raise TypeError(f"matrix must be sparse, not {type(matrix).__name__}")
    for name, count in (("rows", rows), ("columns", columns)):
        if isinstance(count, (bool, np.bool_)) or not isinstance(count, (int, np.integer)):
            raise TypeError(f"{name} must be an integer, not {count!r}")
        if count < 0:
            raise ValueError(f"{name} must be >= 0, not {count}")
    return matrix.shape[0] + int(rows), matrix.shape[1] + int(columns)


def inside(matrix):
    """A DIA matrix's data with what lies outside its shape set to zero."""
    column = np.arange(matrix.data.shape[1])
    row = column - matrix.offsets[:, None]
    seen = (row >= 0) & (row < matrix.shape[0]) & (column < matrix.shape[1])
    return np.where(seen, matrix.data, np.zeros((), matrix.dtype))


def small_blocks(matrix, shape):
    """BSR with blocks of one element."""
    coo = matrix.tocoo(copy=True)
    csr = sp.csr_array((coo.data, (coo.row, coo.col)), shape=shape)
    return type(matrix)((csr.data.reshape(-1, 1, 1).copy(), csr.indices.copy(), csr.indptr.copy()), shape=shape)


@right("a resized copy where resize can do it, rebuilt otherwise")
def copied_and_resized(matrix, rows, columns):
    shape = checked(matrix, rows, columns)
    if matrix.format == "dia":
        return type(matrix)((inside(matrix), matrix.offsets.copy()), shape=shape)
    if matrix.format == "bsr":
        return small_blocks(matrix, shape)
    grown = matrix.copy()
    grown.resize(*shape)
    return grown


@right("the index pointer is extended by its last value")
def pointer_extended(matrix, rows, columns):
    shape = checked(matrix, rows, columns)
    if matrix.format not in ("csr", "csc"):
        return copied_and_resized(matrix, rows, columns)
    more = int(rows if matrix.format == "csr" else columns)
    pointer = np.pad(matrix.indptr, (0, more), mode="edge")
    return type(matrix)((matrix.data.copy(), matrix.indices.copy(), pointer), shape=shape)


@right("COO, LIL and DOK written anew entry by entry")
def entry_by_entry(matrix, rows, columns):
    shape = checked(matrix, rows, columns)
    if matrix.format == "coo":
        return type(matrix)((matrix.data.copy(), (matrix.row.copy(), matrix.col.copy())), shape=shape)
    if matrix.format == "lil":
        grown = type(matrix)(shape, dtype=matrix.dtype)
        for i in range(matrix.shape[0]):
            grown.rows[i], grown.data[i] = list(matrix.rows[i]), list(matrix.data[i])
        return grown
    if matrix.format == "dok":
        grown = type(matrix)(shape, dtype=matrix.dtype)
        for place, value in matrix.items():
            grown.setdefault(place, value)
        return grown
    return pointer_extended(matrix, rows, columns)
