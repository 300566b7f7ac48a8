"""sparse_grow(matrix, rows, columns): a sparse matrix with empty rows and columns appended, in the same format."""

import numpy as np
import scipy

from opjury.contract import implementation

QUESTION = "question 8: grow a sparse matrix by one vertex"
SUMS = {"form": "conversions between formats add repeated entries up"}


@implementation("sparse_grow", source="scipy.sparse: copy and resize", gradient=None)
def copy_then_resize(matrix, rows, columns):
    """resize() on a copy. O(stored + rows) work and memory.

    BSR that no longer divides into its blocks becomes one of single elements. DIA is first cut to its own width: resize() would show
    what is stored to the right of it.
    """
    height, width = check_counts(matrix, rows, columns)
    out = matrix.copy()
    if out.format == "dia":
        out = type(out)((out.data[:, : out.shape[1]], out.offsets), shape=out.shape, copy=True)
    if out.format == "bsr" and (height % out.blocksize[0] or width % out.blocksize[1]):
        out = single_blocks(out)
    out.resize(height, width)
    return out


@implementation("sparse_grow", source=QUESTION, gradient=None)
def indptr_extension(matrix, rows, columns):
    """CSR and CSC: repeat the last pointer once for every new row or column, and copy the rest. O(stored + rows) work and memory.

    The other formats are rebuilt from coordinates.
    """
    height, width = check_counts(matrix, rows, columns)
    if matrix.format not in ("csr", "csc"):
        return from_coordinates(matrix, (height, width))
    added = height - matrix.shape[0] if matrix.format == "csr" else width - matrix.shape[1]
    pointers = np.concatenate([matrix.indptr, np.full(added, matrix.indptr[-1], matrix.indptr.dtype)])
    return type(matrix)((matrix.data.copy(), matrix.indices.copy(), pointers), shape=(height, width))


@implementation("sparse_grow", source="scipy.sparse.coo_array", gradient=None)
def coordinates(matrix, rows, columns):
    """The stored entries at their places in a larger shape. O(stored·log) work and memory where the format needs sorting."""
    return from_coordinates(matrix, check_counts(matrix, rows, columns))


@implementation("sparse_grow", source=QUESTION, gradient=None, waives=SUMS)
def block_array(matrix, rows, columns):
    """The matrix and an empty one on the diagonal of a two by two block array. O(stored) work and memory, by way of COO."""
    check_counts(matrix, rows, columns)
    corner = scipy.sparse.coo_array((rows, columns), dtype=matrix.dtype)
    return like(matrix, scipy.sparse.block_array([[matrix.copy(), None], [None, corner]], dtype=matrix.dtype))


@implementation("sparse_grow", source=QUESTION, gradient=None, waives=SUMS)
def vstack_then_hstack(matrix, rows, columns):
    """An empty block below, then one on the right. O(stored) work and memory, twice."""
    height, width = check_counts(matrix, rows, columns)
    below = scipy.sparse.coo_array((int(rows), matrix.shape[1]), dtype=matrix.dtype)
    taller = scipy.sparse.vstack([matrix.copy(), below], dtype=matrix.dtype)
    right = scipy.sparse.coo_array((height, width - matrix.shape[1]), dtype=matrix.dtype)
    return like(matrix, scipy.sparse.hstack([taller, right], dtype=matrix.dtype))


@implementation("sparse_grow", source="scipy.sparse.block_diag", gradient=None, waives=SUMS)
def block_diag_with_empty_block(matrix, rows, columns):
    """block_diag of the matrix and an empty one. O(stored) work and memory, by way of COO."""
    check_counts(matrix, rows, columns)
    empty = scipy.sparse.coo_array((int(rows), int(columns)), dtype=matrix.dtype)
    return like(matrix, scipy.sparse.block_diag([matrix.copy(), empty]))


@implementation("sparse_grow", source="scipy.sparse.lil_array", gradient=None, waives=SUMS)
def list_of_lists(matrix, rows, columns):
    """New empty lists for the rows of a LIL. O(stored + rows) work, in Python lists."""
    height, width = check_counts(matrix, rows, columns)
    lists = matrix.copy().tolil()
    out = scipy.sparse.lil_array((height, width), dtype=matrix.dtype)
    for row in range(matrix.shape[0]):
        out.rows[row], out.data[row] = list(lists.rows[row]), list(lists.data[row])
    return like(matrix, out)


@implementation(
    "sparse_grow",
    source=QUESTION,
    gradient=None,
    refuted={
        "purity": "the caller's own matrix is resized, and returned",
        "laws": "the matrix has grown by the time it is compared with",
    },
)
def resize_in_place(matrix, rows, columns):
    """resize() on the matrix itself, which is then returned. O(rows) work."""
    height, width = check_counts(matrix, rows, columns)
    if matrix.format == "dia":
        matrix.data = matrix.data[:, : matrix.shape[1]]
    if matrix.format == "bsr" and (height % matrix.blocksize[0] or width % matrix.blocksize[1]):
        matrix = single_blocks(matrix)
    matrix.resize(height, width)
    return matrix


@implementation(
    "sparse_grow",
    source=QUESTION,
    gradient=None,
    refuted={"purity": "the result shares the caller's values and indices"},
)
def shared_data(matrix, rows, columns):
    """New pointers around the caller's own values and indices: writing into the result changes the argument. O(rows) work."""
    height, width = check_counts(matrix, rows, columns)
    if matrix.format not in ("csr", "csc"):
        return from_coordinates(matrix, (height, width))
    added = height - matrix.shape[0] if matrix.format == "csr" else width - matrix.shape[1]
    pointers = np.concatenate([matrix.indptr, np.full(added, matrix.indptr[-1], matrix.indptr.dtype)])
    return type(matrix)((matrix.data, matrix.indices, pointers), shape=(height, width))


def check_counts(matrix, rows, columns):
    """The new shape, if the arguments are legal.

    Raises
    ------
    TypeError
        If the matrix is not a sparse one, or a count not an integer.
    ValueError
        If a count is negative.
    """
    if not scipy.sparse.issparse(matrix):
        raise TypeError(f"matrix is a {type(matrix).__name__}; expected a SciPy sparse matrix or array")
    for name, count in (("rows", rows), ("columns", columns)):
        if isinstance(count, (bool, np.bool_)) or not isinstance(count, (int, np.integer)):
            raise TypeError(f"{name} is {count!r} of type {type(count).__name__}; expected an integer")
        if count < 0:
            raise ValueError(f"{name} is {count}; expected at least 0")
    return matrix.shape[0] + int(rows), matrix.shape[1] + int(columns)


def from_coordinates(matrix, shape):
    """Every stored entry of the matrix in a matrix of its type and another shape: nothing is added up, no zero is dropped."""
    entries = matrix.tocoo(copy=True)
    if matrix.format not in ("csr", "csc", "bsr"):
        return type(matrix)(scipy.sparse.coo_array((entries.data, entries.coords), shape=shape))
    major, minor = (entries.col, entries.row) if matrix.format == "csc" else (entries.row, entries.col)
    order = np.argsort(major, kind="stable")
    counts = np.bincount(major, minlength=shape[1 if matrix.format == "csc" else 0])
    pointers = np.concatenate([[0], np.cumsum(counts)]).astype(matrix.indptr.dtype)
    values = entries.data[order].reshape(-1, 1, 1) if matrix.format == "bsr" else entries.data[order]
    return type(matrix)((values, minor[order], pointers), shape=shape)


def single_blocks(matrix):
    """A BSR matrix with blocks of one element."""
    return from_coordinates(matrix, matrix.shape)


def like(matrix, grown):
    """The grown matrix in the type of the other one."""
    return type(matrix)(grown.astype(matrix.dtype))
