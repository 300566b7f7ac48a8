"""Wrong ways to append empty rows and columns."""

import numpy as np

from . import wrong


def checked(matrix, rows, columns):
    """The new shape."""
    for count in (rows, columns):
        if isinstance(count, (bool, np.bool_)) or not isinstance(count, (int, np.integer)) or count < 0:
            raise ValueError(f"rows and columns must be integers >= 0, not {count!r}")
    return matrix.shape[0] + int(rows), matrix.shape[1] + int(columns)


def right_one(matrix, rows, columns):
    shape = checked(matrix, rows, columns)
    if matrix.format == "dia":
        m, n = matrix.shape
        column = np.arange(matrix.data.shape[1])
        row = column - matrix.offsets[:, None]
        data = np.where((row >= 0) & (row < m) & (column < n), matrix.data, np.zeros((), matrix.dtype))
        return type(matrix)((data, matrix.offsets.copy()), shape=shape)
    if matrix.format == "bsr":
        coo = matrix.tocoo(copy=True)
        return type(matrix)(type(matrix)((coo.data, (coo.row, coo.col)), shape=shape), blocksize=(1, 1))
    grown = matrix.copy()
    grown.resize(shape)
    return grown


@wrong("easy", "resize() on the caller's matrix", ("purity",))
def resized_in_place(matrix, rows, columns):
    shape = checked(matrix, rows, columns)
    if matrix.format in ("dia", "bsr"):
        return right_one(matrix, rows, columns)
    matrix.resize(shape)
    return matrix.copy()


@wrong("medium", "CSR shares the caller's data array", ("purity",))
def shares_data(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    if matrix.format in ("csr", "csc"):
        grown.data = matrix.data
    return grown


@wrong("hard", "CSC and CSR share the caller's indices", ("purity",))
def shares_indices(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    if matrix.format in ("csr", "csc"):
        grown.indices = matrix.indices
    return grown


@wrong("hard", "CSR shares the caller's indptr when no row is appended", ("purity",))
def shares_indptr(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    if matrix.format == "csr" and rows == 0:
        grown.indptr = matrix.indptr
    return grown


@wrong("hard", "COO shares its coordinates", ("purity",))
def shares_coordinates(matrix, rows, columns):
    shape = checked(matrix, rows, columns)
    if matrix.format != "coo":
        return right_one(matrix, rows, columns)
    return type(matrix)((matrix.data.copy(), (matrix.row, matrix.col)), shape=shape)


@wrong("medium", "nothing appended: the matrix itself comes back", ("purity",))
def nothing_appended(matrix, rows, columns):
    checked(matrix, rows, columns)
    return matrix if rows == 0 and columns == 0 else right_one(matrix, rows, columns)


@wrong("medium", "explicit zeros are dropped", ("agreement",))
def zeros_dropped(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    if grown.format in ("csr", "csc", "coo"):
        grown.eliminate_zeros()
    return grown


@wrong("medium", "duplicates are summed", ("agreement",))
def duplicates_summed(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    if grown.format in ("csr", "coo"):
        grown.sum_duplicates()
    return grown


@wrong("hard", "what a DIA matrix stores below its last row becomes visible", ("agreement",))
def dia_rows_appear(matrix, rows, columns):
    shape = checked(matrix, rows, columns)
    if matrix.format != "dia":
        return right_one(matrix, rows, columns)
    data = matrix.data.copy()[:, : matrix.shape[1]]
    return type(matrix)((data, matrix.offsets.copy()), shape=shape)


@wrong("easy", "every format comes back as CSR", ("form",))
def always_csr(matrix, rows, columns):
    return right_one(matrix, rows, columns).asformat("csr")


@wrong("medium", "bool becomes int8, float32 becomes float64, through block_array with an empty float block", ("form",))
def empty_block_promotes(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    return grown.astype(np.result_type(grown.dtype, np.float64)) if columns > 0 and grown.format != "dok" else grown


@wrong("medium", "negative counts shrink the matrix", ("rejects",))
def negative_shrinks(matrix, rows, columns):
    if isinstance(rows, int) and -matrix.shape[0] <= rows < 0 and matrix.format in ("csr", "csc", "coo", "lil", "dok"):
        grown = matrix.copy()
        grown.resize(matrix.shape[0] + rows, matrix.shape[1])
        return grown
    return right_one(matrix, rows, columns)


@wrong("medium", "1.0 is accepted for a count", ("rejects",))
def floats_accepted(matrix, rows, columns):
    return right_one(matrix, *[int(n) if isinstance(n, float) and n.is_integer() else n for n in (rows, columns)])


@wrong("hard", "DOK: a stored complex value loses its imaginary part", ("agreement",))
def dok_complex(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    if grown.format == "dok" and grown.dtype.kind == "c":
        return grown.real.astype(grown.dtype).asformat("dok")
    return grown


@wrong("hard", "places in 32 bits, row times columns plus column: those of large shapes wrap")
def keys_of_32_bits(matrix, rows, columns):
    height, width = checked(matrix, rows, columns)
    if matrix.format != "coo" or not width:
        return right_one(matrix, rows, columns)
    with np.errstate(over="ignore"):
        keys = matrix.row.astype(np.int32) * np.int32(width) + matrix.col.astype(np.int32)
    row, column = np.divmod(keys, np.int32(width))
    row %= np.int32(height)
    return type(matrix)((matrix.data.copy(), (row, column)), shape=(height, width))


@wrong("hard", "the diagonals of a DIA matrix are divided by three and multiplied again: one ulp off", ("agreement",))
def diagonals_rounded(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    if matrix.format == "dia" and matrix.dtype.kind == "f":
        grown.data = (grown.data / 3 * 3).astype(matrix.dtype)
    return grown


@wrong("hard", "a CSR result claims the canonical format, whatever was given", ("form", "agreement"))
def claims_to_be_canonical(matrix, rows, columns):
    grown = right_one(matrix, rows, columns)
    if grown.format == "csr":
        grown.has_sorted_indices = grown.has_canonical_format = True
    return grown
