"""Wrong differences of sparse matrices."""

import numpy as np
import scipy.sparse as sp

from . import wrong


def checked(matrix, order):
    if not sp.issparse(matrix):
        raise TypeError(f"matrix must be sparse, not {type(matrix).__name__}")
    if isinstance(order, (bool, np.bool_)) or not isinstance(order, (int, np.integer)) or order < 0:
        raise ValueError(f"order must be an integer >= 0, not {order!r}")
    return sp.csc_array(matrix, copy=True)


def right_one(matrix, order=1):
    columns = checked(matrix, order)
    columns.sum_duplicates()
    if order >= columns.shape[1]:
        columns, order = columns[:, :0], 0
    for _ in range(order):
        columns = columns[:, 1:] - columns[:, :-1]
    columns = sp.csc_array(columns).astype(matrix.dtype)
    columns.sort_indices()
    return columns


@wrong("easy", "row-major nonzero() is paired with column-major data: [[0, 1], [2, 0]]", ("agreement",))
def mismatched_pairs(matrix, order=1):
    columns = checked(matrix, order)
    columns.sum_duplicates()
    row, column = columns.nonzero()
    if len(row) != len(columns.data):
        return right_one(matrix, order)
    place = np.lexsort((column, row))
    return right_one(sp.csc_array((columns.data, (row[place], column[place])), shape=columns.shape), order)


@wrong("hard", "a stored zero makes its whole column lose its last entry", ("agreement",))
def stored_zero_counts(matrix, order=1):
    columns = checked(matrix, order)
    if (columns.data == 0).any() and order:
        columns.data[-1:] = 0
    return right_one(columns, order)


@wrong("medium", "duplicates overwrite one another instead of adding up", ("agreement",))
def duplicates_overwrite(matrix, order=1):
    if sp.issparse(matrix) and matrix.format == "coo":
        last = dict(zip(zip(matrix.row.tolist(), matrix.col.tolist()), matrix.data))
        if len(last) < len(matrix.data):
            row, column = zip(*last)
            matrix = sp.coo_array((np.array(list(last.values()), matrix.dtype), (row, column)), shape=matrix.shape)
    return right_one(matrix, order)


@wrong("medium", "the caller's duplicates are summed in place: nnz of the input changes", ("purity",))
def sums_duplicates_in_place(matrix, order=1):
    checked(matrix, order)
    if matrix.format in ("csc", "csr", "coo"):
        matrix.sum_duplicates()
    return right_one(matrix, order)


@wrong("hard", "the caller's indices are sorted in place", ("purity",))
def sorts_in_place(matrix, order=1):
    checked(matrix, order)
    if matrix.format in ("csc", "csr"):
        matrix.sort_indices()
    return right_one(matrix, order)


@wrong("medium", "the product with a float matrix makes integers float64", ("form",))
def integers_become_float(matrix, order=1):
    result = right_one(matrix, order)
    return result.astype(float) if result.dtype.kind == "i" and result.shape[1] == 0 else result


@wrong("hard", "int64 goes through float64: 2**53 + 1", ("agreement",))
def int64_through_float64(matrix, order=1):
    checked(matrix, order)
    return (
        right_one(matrix.astype(float), order).astype(np.int64)
        if matrix.dtype == np.int64
        else right_one(matrix, order)
    )


@wrong("hard", "int8 saturates instead of wrapping: [[-100, 100]] gives 127", ("agreement",))
def int8_saturates(matrix, order=1):
    checked(matrix, order)
    if matrix.dtype == np.int8 and order == 1:
        wide = right_one(matrix.astype(np.int64), order)
        wide.data = wide.data.clip(-128, 127)
        return wide.astype(np.int8)
    return right_one(matrix, order)


@wrong("medium", "order 0 returns the caller's own matrix when it is CSC", ("form", "purity"))
def order_zero_is_input(matrix, order=1):
    checked(matrix, order)
    return matrix if order == 0 and matrix.format == "csc" else right_one(matrix, order)


@wrong("medium", "order = columns raises or gives a column", ("form",))
def order_equal_to_columns(matrix, order=1):
    result = right_one(matrix, order)
    return sp.csc_array((result.shape[0], 1), dtype=result.dtype) if 0 < order == matrix.shape[1] else result


@wrong("medium", "complex: conjugated by a transpose that was meant to be plain", ("agreement",))
def conjugated(matrix, order=1):
    result = right_one(matrix, order)
    return result.conj() if result.dtype.kind == "c" and order > 1 else result


@wrong("medium", "dense arrays are accepted", ("rejects",))
def dense_accepted(matrix, order=1):
    return right_one(sp.csc_array(np.atleast_2d(matrix)) if isinstance(matrix, np.ndarray) else matrix, order)


@wrong("medium", "order -1 gives the matrix itself", ("rejects",))
def negative_order_accepted(matrix, order=1):
    return right_one(matrix, 0 if isinstance(order, int) and order < 0 else order)


@wrong("hard", "the result's indices are not sorted from order 2 on", ("form",))
def unsorted(matrix, order=1):
    result = right_one(matrix, order)
    if order < 2:
        return result
    for j in range(result.shape[1]):
        part = slice(*result.indptr[j : j + 2])
        result.indices[part], result.data[part] = result.indices[part][::-1].copy(), result.data[part][::-1].copy()
    result.has_sorted_indices = False
    return result


@wrong("hard", "entries are put in order by row times columns plus column in 32 bits: large shapes wrap")
def keys_of_32_bits(matrix, order=1):
    columns = checked(matrix, order)
    columns.sum_duplicates()
    entries = columns.tocoo()
    with np.errstate(over="ignore"):
        keys = entries.row.astype(np.int32) * np.int32(columns.shape[1]) + entries.col.astype(np.int32)
    row, column = np.divmod(keys, max(columns.shape[1], 1))
    inside = (row >= 0) & (row < columns.shape[0])
    return right_one(
        sp.csc_array((entries.data[inside], (row[inside], column[inside])), shape=columns.shape, dtype=matrix.dtype),
        order,
    )


@wrong("medium", "second differences where order is left out", ("calls",))
def second_by_default(matrix, order=2):
    return right_one(matrix, order)


@wrong("hard", "a NumPy integer for an order takes its dtype along: int8 becomes int64", ("calls",))
def dtype_of_order(matrix, order=1):
    result = right_one(matrix, order)
    return result.astype(np.result_type(result.dtype, order)) if isinstance(order, np.integer) else result


@wrong(
    "hard", "the result's indices are not sorted from order 2 on, and it claims that they are", ("form", "agreement")
)
def claims_to_be_sorted(matrix, order=1):
    result = unsorted(matrix, order)
    result.has_sorted_indices = True
    return result
