"""difference_matrix(size, order): np.diff(np.eye(size), n=order) as a csc_array.

Column j holds the binomials of the order with alternating signs in rows j to j + order, the last one positive.
"""

from math import comb

import numpy as np
import scipy
import torch

from opjury.contract import implementation

QUESTION = "question 4: differences of the identity in a sparse format"


@implementation("difference_matrix", source="the format's definition: SciPy, csc_array", gradient=None)
def signed_binomials(size, order):
    """Write the three arrays of the format: every column holds the same order + 1 values.

    O(size·order) work and memory, which the result has anyway.
    """
    size, order, columns = check_counts(size, order)
    data = np.tile(alternating_binomials(order), columns)
    rows = np.arange(columns)[:, None] + np.arange(order + 1)
    starts = np.arange(columns + 1) * (order + 1)
    return scipy.sparse.csc_array((data, rows.ravel(), starts), shape=(size, columns))


@implementation("difference_matrix", source="scipy.sparse.diags_array", gradient=None)
def constant_diagonals(size, order):
    """order + 1 constant diagonals by diags_array.

    O(size·order) work and memory, and a conversion.
    """
    size, order, columns = check_counts(size, order)
    if columns == 0:
        return scipy.sparse.csc_array((size, 0))
    values = alternating_binomials(order)[:, None]
    return scipy.sparse.diags_array(values, offsets=-np.arange(order + 1), shape=(size, columns), format="csc")


@implementation("difference_matrix", source="scipy.sparse.dia_array", gradient=None)
def dia_then_convert(size, order):
    """The diagonals as the rows of a DIA array's data.

    O(size·order) work and memory, and a conversion.
    """
    size, order, columns = check_counts(size, order)
    data = np.repeat(alternating_binomials(order)[:, None], columns, axis=1)
    return scipy.sparse.dia_array((data, -np.arange(order + 1)), shape=(size, columns)).tocsc()


@implementation("difference_matrix", source="scipy.sparse.coo_array", gradient=None)
def coo_then_convert(size, order):
    """Value, row and column of every entry.

    O(size·order) work; two indices for each entry, and a conversion that sorts.
    """
    size, order, columns = check_counts(size, order)
    column, step = (grid.ravel() for grid in np.indices((columns, order + 1)))
    data = alternating_binomials(order)[step]
    return scipy.sparse.coo_array((data, (column + step, column)), shape=(size, columns)).tocsc()


@implementation("difference_matrix", source="differences of differences", gradient=None)
def product_of_first_differences(size, order):
    """Multiply first differences of decreasing size.

    O(size·order²) work, O(size·order) memory. Exact as long as every binomial is.
    """
    size, order, columns = check_counts(size, order)
    if columns == 0:
        return scipy.sparse.csc_array((size, 0))
    result = scipy.sparse.eye_array(size, format="csc")
    for rows in range(size, columns, -1):
        step = scipy.sparse.diags_array([[-1.0], [1.0]], offsets=[0, -1], shape=(rows, rows - 1), format="csc")
        result = result @ step
    result.sort_indices()
    return result


@implementation("difference_matrix", source="np.diff's own definition, on a sparse identity", gradient=None)
def repeated_slicing(size, order):
    """All columns but the first less all columns but the last, again and again.

    O(size·order²) work, O(size·order) memory.
    """
    size, order, _ = check_counts(size, order)
    result = scipy.sparse.eye_array(size, format="csc")
    for _ in range(min(order, size)):
        result = result[:, 1:] - result[:, :-1]
    return result


@implementation("difference_matrix", source=f"{QUESTION}: what was to be avoided", gradient=None)
def dense_then_convert(size, order):
    """np.diff of the dense identity, converted.

    O(size²·order) work, O(size²) memory.
    """
    size, order, _ = check_counts(size, order)
    return scipy.sparse.csc_array(np.diff(np.eye(size), n=order))


@implementation("difference_matrix", source="torch.sparse_coo_tensor", gradient=None)
def torch_coo_then_convert(size, order):
    """Value, row and column of every entry, coalesced by torch.

    O(size·order·log(size·order)) work, and a copy into SciPy's format.
    """
    size, order, columns = check_counts(size, order)
    column = torch.arange(columns).repeat_interleave(order + 1)
    step = torch.arange(order + 1).repeat(columns)
    values = torch.from_numpy(alternating_binomials(order))[step]
    matrix = torch.sparse_coo_tensor(torch.stack([column + step, column]), values, (size, columns)).coalesce()
    entries = (matrix.values().numpy(), tuple(matrix.indices().numpy()))
    return scipy.sparse.coo_array(entries, shape=(size, columns)).tocsc()


@implementation(
    "difference_matrix",
    source=f"{QUESTION}, proposal A as published",
    refuted={
        "agreement": "order 1 gives [1, 1] where [−1, 1] is right: the signs are wrong for every odd order",
        "laws": "an odd order does not make a constant zero",
    },
    gradient=None,
)
def published_pascal_row(size, order):
    """The last row of Pascal's triangle with every second inner term negated.

    O(size·order) work and memory. Right for even orders alone: an odd order's outer terms differ in sign.
    """
    size, order, columns = check_counts(size, order)
    row = np.abs(alternating_binomials(order))
    row[1:order:2] *= -1
    rows = np.arange(columns)[:, None] + np.arange(order + 1)
    starts = np.arange(columns + 1) * (order + 1)
    return scipy.sparse.csc_array((np.tile(row, columns), rows.ravel(), starts), shape=(size, columns))


@implementation(
    "difference_matrix",
    source=f'{QUESTION}: "identity(4) is CSC"',
    refuted={"form": "identity and diagonals are DIA arrays until they are converted"},
    gradient=None,
)
def unconverted_diagonals(size, order):
    """The right diagonals, taken for a CSC array without conversion.

    O(size·order) work and memory. The values are right, the format is DIA.
    """
    size, order, columns = check_counts(size, order)
    data = np.repeat(alternating_binomials(order)[:, None], columns, axis=1)
    return scipy.sparse.dia_array((data, -np.arange(order + 1)), shape=(size, columns))


def alternating_binomials(order):
    """(−1)^(order−k)·C(order, k) for k = 0 … order."""
    return np.array([(-1.0) ** (order - k) * comb(order, k) for k in range(order + 1)])


def check_counts(size, order):
    """size and order as ints, and the number of columns.

    Raises
    ------
    TypeError, ValueError
        Naming the argument that is not an integer, or negative.
    """
    for name, count in (("size", size), ("order", order)):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)):
            raise TypeError(f"{name} is {count!r}; expected an integer")
        if count < 0:
            raise ValueError(f"{name} is {count}; expected 0 or more")
    return int(size), int(order), max(int(size) - int(order), 0)
