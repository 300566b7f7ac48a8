"""sparse_diff(matrix, order=1): np.diff(dense, n=order, axis=1) of a sparse matrix, as a csc_array."""

from math import comb

import numpy as np
import scipy

from opjury.contract import implementation

QUESTION = "question 4: differences of the identity in a sparse format"


@implementation("sparse_diff", source="numpy.diff", gradient=None)
def dense_then_convert(matrix, order=1):
    """np.diff of the dense matrix. O(order·rows·columns) work, O(rows·columns) memory, however few entries are stored."""
    matrix, order = check_matrix(matrix, order)
    return scipy.sparse.csc_array(np.diff(matrix.toarray(), n=order, axis=1))


@implementation("sparse_diff", source=QUESTION, gradient=None)
def difference_matrix_product(matrix, order=1):
    """Product with the band matrix of signed binomials, in steps of at most 56, up to where they are exact in float64.

    O(stored·order + columns·order) work and memory.
    """
    matrix, order = check_matrix(matrix, order)
    out = scipy.sparse.csc_array(matrix)
    while order > 0:
        step = min(order, 56)
        signed = [[(-1) ** (step - k) * comb(step, k)] for k in range(step + 1)]
        size = (out.shape[1], out.shape[1] - step)
        band = scipy.sparse.diags_array(signed, offsets=-np.arange(step + 1), shape=size, dtype=np.int64)
        out, order = out @ band.astype(wide_dtype(matrix.dtype)).tocsc(), order - step
    out = scipy.sparse.csc_array(out.astype(matrix.dtype), copy=True)
    out.sum_duplicates()
    return out


@implementation("sparse_diff", source="scipy.sparse: slicing and subtraction", gradient=None)
def column_slicing(matrix, order=1):
    """All columns but the first less all but the last, `order` times over. O(order·stored·order) work at the most."""
    matrix, order = check_matrix(matrix, order)
    out = scipy.sparse.csc_array(matrix, copy=True)
    for _ in range(order):
        out = out[:, 1:] - out[:, :-1]
    out.sum_duplicates()
    return out


@implementation("sparse_diff", source=QUESTION, gradient=None)
def shift_and_merge(matrix, order=1):
    """In coordinates: every entry once, negated, where it is, once a column earlier, then merged. O(order·stored·log) work."""
    matrix, order = check_matrix(matrix, order)
    out = matrix.tocoo(copy=True)
    columns = out.shape[1]
    for _ in range(order):
        columns -= 1
        rows, values = np.tile(out.row, 2), np.concatenate([out.data, -out.data])
        places = np.concatenate([out.col - 1, out.col])
        inside = (places >= 0) & (places < columns)
        shape = (out.shape[0], columns)
        out = scipy.sparse.coo_array((values[inside], (rows[inside], places[inside])), shape=shape)
        out.sum_duplicates()
    out = scipy.sparse.csc_array(out)
    out.sum_duplicates()
    return out


@implementation("sparse_diff", source="scipy.sparse: slicing the rows of a CSR array", gradient=None)
def row_slicing_of_transpose(matrix, order=1):
    """The differences of the rows of the transpose, in CSR. Work and memory as column slicing."""
    matrix, order = check_matrix(matrix, order)
    out = scipy.sparse.csc_array(matrix, copy=True).T  # by way of CSC: SciPy transposes long DIA data wrongly
    for _ in range(order):
        out = out[1:] - out[:-1]
    out = scipy.sparse.csc_array(out.T)
    out.sum_duplicates()
    return out


@implementation("sparse_diff", source="scipy.sparse.lil_array", gradient=None)
def list_of_lists(matrix, order=1):
    """Row by row, merging neighbours in a dictionary of columns. O(order·stored) work, in Python."""
    matrix, order = check_matrix(matrix, order)
    merged = scipy.sparse.csr_array(matrix, copy=True)
    merged.sum_duplicates()
    lists = merged.tolil()
    columns = lists.shape[1]
    out = scipy.sparse.lil_array((lists.shape[0], columns - order), dtype=matrix.dtype)
    for row, (places, values) in enumerate(zip(lists.rows, lists.data, strict=True)):
        entries = dict(zip(places, np.array(values, dtype=matrix.dtype), strict=True))
        for step in range(1, order + 1):
            zero = matrix.dtype.type(0)
            reached = sorted({k for j in entries for k in (j - 1, j) if 0 <= k < columns - step})
            with np.errstate(all="ignore"):
                entries = {k: entries.get(k + 1, zero) - entries.get(k, zero) for k in reached}
        out.rows[row], out.data[row] = list(entries), [value.item() for value in entries.values()]
    return out.tocsc()


@implementation(
    "sparse_diff",
    source=QUESTION + ", proposal B",
    gradient=None,
    refuted={"agreement": "row-major places are paired with column-major values"},
)
def row_major_places(matrix, order=1):
    """Shift and merge, the places from nonzero() (row by row), the values from .data of a CSC array (column by column).

    Right for diagonal matrices. A stored zero makes the two lengths differ.
    """
    matrix, order = check_matrix(matrix, order)
    out = scipy.sparse.csc_array(matrix, copy=True)
    for _ in range(order):
        rows, places = out.nonzero()
        shape = (out.shape[0], out.shape[1] - 1)
        entries = np.concatenate([out.data, -out.data]), (np.tile(rows, 2), np.concatenate([places - 1, places]))
        inside = (entries[1][1] >= 0) & (entries[1][1] < shape[1])
        out = scipy.sparse.csc_array((entries[0][inside], tuple(part[inside] for part in entries[1])), shape=shape)
    out.sum_duplicates()
    return out


@implementation(
    "sparse_diff",
    source=QUESTION + ", proposal B",
    gradient=None,
    refuted={"agreement": "as many values are taken as there are non-zeros: stored zeros push the last ones out"},
)
def values_up_to_count(matrix, order=1):
    """Shift and merge in column order, of the first count_nonzero() values. Right as long as no zero is stored."""
    matrix, order = check_matrix(matrix, order)
    out = scipy.sparse.csc_array(matrix, copy=True)
    for _ in range(order):
        out.sum_duplicates()
        entries, count = out.tocoo(), out.count_nonzero()
        rows, places, values = entries.row[:count], entries.col[:count], entries.data[:count]
        shifted = np.concatenate([places - 1, places])
        shape = (out.shape[0], out.shape[1] - 1)
        inside = (shifted >= 0) & (shifted < shape[1])
        entries = np.concatenate([values, -values])[inside], (np.tile(rows, 2)[inside], shifted[inside])
        out = scipy.sparse.csc_array(entries, shape=shape)
    out.sum_duplicates()
    return out


def check_matrix(matrix, order):
    """The arguments, if they are legal, the order as an int. Where no column is left: an empty matrix, and order 0.

    Raises
    ------
    TypeError
        If the matrix is not a sparse one, or the order not an integer.
    ValueError
        If the order is negative.
    """
    if not scipy.sparse.issparse(matrix):
        raise TypeError(f"matrix is a {type(matrix).__name__}; expected a SciPy sparse matrix or array")
    if isinstance(order, (bool, np.bool_)) or not isinstance(order, (int, np.integer)):
        raise TypeError(f"order is {order!r} of type {type(order).__name__}; expected an integer")
    if order < 0:
        raise ValueError(f"order is {order}; expected at least 0")
    if order >= matrix.shape[1]:
        return scipy.sparse.csc_array((matrix.shape[0], 0), dtype=matrix.dtype), 0
    return matrix, int(order)


def wide_dtype(dtype):
    """The dtype in which binomials are exact: 64 bits of the same kind."""
    return np.dtype({"i": np.int64, "f": np.float64, "c": np.complex128}[dtype.kind])
