"""Right differences of sparse matrices."""

import itertools

import numpy as np
import scipy.sparse as sp

from . import right


def checked(matrix, order):
    """Both; where no column is left, an empty matrix and order 0."""
    if not sp.issparse(matrix):
        raise TypeError(f"matrix must be sparse, not {type(matrix).__name__}")
    if isinstance(order, (bool, np.bool_)) or not isinstance(order, (int, np.integer)):
        raise TypeError(f"order must be an integer, not {order!r}")
    if order < 0:
        raise ValueError(f"order must be >= 0, not {order}")
    if order >= matrix.shape[1]:
        return sp.csc_array((matrix.shape[0], 0), dtype=matrix.dtype), 0
    return matrix, int(order)


@right("repeated slicing of columns")
def sliced(matrix, order=1):
    matrix, order = checked(matrix, order)
    columns = sp.csc_array(matrix, copy=True)
    columns.sum_duplicates()
    for _ in range(order):
        columns = sp.csc_array(columns[:, 1:] - columns[:, :-1])
    columns.sort_indices()
    return columns.astype(matrix.dtype)


@right("entries of a COO copy sent to two columns, summed when duplicates meet")
def shift_and_merge(matrix, order=1):
    matrix, order = checked(matrix, order)
    coo = matrix.tocoo(copy=True)
    rows, columns = coo.shape
    result = sp.csc_array((coo.data, (coo.row, coo.col)), shape=coo.shape)
    result.sum_duplicates()
    for n in range(columns - 1, columns - 1 - order, -1):
        coo = result.tocoo()
        row, column = np.r_[coo.row, coo.row], np.r_[coo.col - 1, coo.col]
        keep = (column >= 0) & (column < n)
        result = sp.csc_array((np.r_[coo.data, -coo.data][keep], (row[keep], column[keep])), shape=(rows, n))
        result.sum_duplicates()
    result.sort_indices()
    return result


@right("dense differences of an array that keeps the dtype")
def dense(matrix, order=1):
    matrix, order = checked(matrix, order)
    full = matrix.toarray()
    return sp.csc_array(np.diff(full, n=order, axis=1).astype(matrix.dtype))


@right("products with first differences in the matrix's own dtype")
def products(matrix, order=1):
    matrix, order = checked(matrix, order)
    result = sp.csc_array(matrix, copy=True)
    result.sum_duplicates()
    for n in range(result.shape[1], result.shape[1] - order, -1):
        ones = np.ones(n - 1, matrix.dtype)
        place = np.arange(n - 1)
        step = sp.csc_array((np.r_[ones, -ones], (np.r_[place + 1, place], np.r_[place, place])), shape=(n, n - 1))
        result = result @ step
    result.sort_indices()
    return sp.csc_array(result)


@right("column after column in Python")
def by_column(matrix, order=1):
    matrix, order = checked(matrix, order)
    result = sp.csc_array(matrix, copy=True)
    result.sum_duplicates()
    columns = [dict(zip(*part)) for part in _columns(result)]
    for _ in range(order):
        columns = [
            {row: right.get(row, 0) - left.get(row, 0) for row in {**left, **right}}
            for left, right in itertools.pairwise(columns)
        ]
    entries = [(value, row, column) for column, kept in enumerate(columns) for row, value in kept.items()]
    values, rows, places = map(list, zip(*entries)) if entries else ([], [], [])
    shape = result.shape[0], len(columns)
    result = sp.csc_array((np.array(values, dtype=matrix.dtype), (rows, places)), shape=shape)
    result.sort_indices()
    return result


def _columns(matrix):
    for start, end in itertools.pairwise(matrix.indptr):
        yield matrix.indices[start:end].tolist(), list(matrix.data[start:end])
