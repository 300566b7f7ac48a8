"""toeplitz(c, r=None): the matrix with first column c and first row r, constant along its diagonals.

Every implementation lays the m + n − 1 diagonals out in one vector, from the lower left corner to the upper right or
around it, and reads the rows of the matrix from there: n elements, each row starting one before the row above.
"""

import numpy as np
import scipy
import torch

from opjury.contract import COMPLEX, FLOATING, INTEGER, Gradient, implementation
from opjury.impls._triton import DEVICES, plain, rounded

QUESTION = "question 1: Toeplitz matrix with torch.as_strided and negative strides"
ALL_MODES = Gradient(second=True, forward=True, vmap=True)


@implementation("toeplitz", source=QUESTION, gradient=ALL_MODES)
def strided_flip(c, r=None):
    """Overlapping rows of the diagonals by as_strided with positive strides, bottom row first, then flipped.

    O(m·n) work and memory for the flip, which copies; the strided view itself costs nothing.
    """
    c, r = check_vectors(c, r)
    diagonals = torch.cat([c.flip(0), r[1:]])
    return diagonals.as_strided((len(c), len(r)), (1, 1)).flip(0)


@implementation("toeplitz", source="torch.Tensor.unfold", gradient=ALL_MODES)
def unfold_flip(c, r=None):
    """Windows of n diagonals by Tensor.unfold, bottom row first, then flipped.

    O(m·n) work and memory for the flip, which copies.
    """
    c, r = check_vectors(c, r)
    diagonals = torch.cat([c.flip(0), r[1:]])
    if len(c) == 0:
        return diagonals[:0].reshape(0, len(r))
    return diagonals.unfold(0, len(r), 1)[: len(c)].flip(0)


@implementation("toeplitz", source="NumPy: broadcasting and advanced indexing", gradient=ALL_MODES)
def broadcasted_index(c, r=None):
    """Index the diagonals with j − i, broadcast from a column and a row of numbers.

    O(m·n) work; an index of 8 bytes beside each element.
    """
    c, r = check_vectors(c, r)
    return torch.cat([c.flip(0), r[1:]])[diagonal_numbers(c, r)]


@implementation("toeplitz", source=f"{QUESTION}, the index version put right", gradient=ALL_MODES)
def nonzero_index(c, r=None):
    """Index the diagonals with j − i for all (i, j) that nonzero() lists. Negative numbers count from the end.

    O(m·n) work; a mask and four indices of 8 bytes beside each element.
    """
    c, r = check_vectors(c, r)
    diagonals = torch.cat([c[:1], r[1:], c[1:].flip(0)])
    i, j = torch.ones((len(c), len(r)), dtype=torch.bool, device=c.device).nonzero().unbind(1)
    return diagonals[j - i].reshape(len(c), len(r))


@implementation("toeplitz", source="torch.gather", gradient=ALL_MODES)
def gather(c, r=None):
    """Gather the diagonals by number, the vector expanded to the rows of the matrix.

    O(m·n) work; an index of 8 bytes beside each element. The gradient is summed from an m × (m + n) matrix.
    """
    c, r = check_vectors(c, r)
    diagonals = torch.cat([c.flip(0), r[1:]])
    return diagonals.expand(len(c), -1).gather(1, diagonal_numbers(c, r))


@implementation("toeplitz", source="torch.index_select", gradient=ALL_MODES)
def index_select(c, r=None):
    """Select the diagonals by number, all rows in one vector.

    O(m·n) work; an index of 8 bytes beside each element.
    """
    c, r = check_vectors(c, r)
    numbers = diagonal_numbers(c, r)
    return torch.cat([c.flip(0), r[1:]]).index_select(0, numbers.flatten()).reshape(numbers.shape)


@implementation("toeplitz", source="skewing by a row length one short of the period", gradient=ALL_MODES)
def repeat_and_skew(c, r=None):
    """Repeat m + n elements m times and cut them into rows one shorter: each row lags by one behind the row above.

    O(m·(m + n)) work and memory, no index; the result is a view of that.
    """
    c, r = check_vectors(c, r)
    if len(c) == 0:
        return r[:0].reshape(0, len(r))
    period = torch.cat([c[:1], r[1:], c.new_zeros(1 + (len(r) == 0)), c[1:].flip(0)])
    rows = period.repeat(len(c))[: len(c) * (len(period) - 1)].reshape(len(c), len(period) - 1)
    return rows[:, : len(r)]


@implementation("toeplitz", source="slices of the diagonals, stacked", gradient=ALL_MODES)
def stack_of_rows(c, r=None):
    """One slice of the diagonals for each row, stacked.

    O(m·n) work and memory, m calls; in backward O(m·(m + n)), a full gradient for each row.
    """
    c, r = check_vectors(c, r)
    diagonals = torch.cat([c.flip(0), r[1:]])
    if len(c) == 0:
        return diagonals[:0].reshape(0, len(r))
    return torch.stack([diagonals[start : start + len(r)] for start in range(len(c) - 1, -1, -1)])


@implementation(
    "toeplitz", source="Linux: transparent huge pages; skewing by a row length", gradient=ALL_MODES, devices=("cpu",)
)
def windows_into_large_pages(c, r=None):
    """Windows of the diagonals copied bottom row first into pages of 2 MiB. In backward, sums of diagonals by bands of rows.

    O(m·n) work, no memory beside the result; in backward O(m·n) work and O(m + n) memory.
    """
    from opjury.impls.as_strided._diagonals import Matrix

    c, r = check_vectors(c, r)
    diagonals = torch.cat([c.flip(0), r[1:]])
    if 0 in (len(c), len(r)):
        return diagonals[:0].reshape(len(c), len(r))
    return Matrix.apply(diagonals, len(c))


@implementation(
    "toeplitz",
    source="Triton: each element from its diagonal",
    gradient=Gradient(second=True),
    devices=DEVICES,
    dtypes=rounded(*FLOATING, *COMPLEX, *INTEGER),
    requires="triton",
    asynchronous=True,
)
def diagonal_kernel(c, r=None):
    """A Triton kernel that writes every element once. In backward, sums of diagonals by bands of rows, without atomics.

    O(m·n) work, no memory beside the result; in backward O(m·n) work and a 64th of that in memory.
    """
    from opjury.impls.as_strided._triton_toeplitz import matrix

    return matrix(*map(plain, check_vectors(c, r)))


@implementation("toeplitz", source="scipy.linalg.toeplitz", gradient=None, devices=("cpu",))
def scipy_toeplitz(c, r=None):
    """scipy.linalg.toeplitz: a NumPy view with a negative stride, copied.

    O(m·n) work and memory. Leaves autograd.
    """
    c, r = check_vectors(c, r)
    wide = torch.float32 if c.dtype == torch.bfloat16 else c.dtype  # NumPy has no bfloat16
    column, row = (vector.detach().resolve_conj().resolve_neg().to(wide).numpy() for vector in (c, r))
    if column.size == 0 or row.size == 0:
        return torch.from_numpy(np.zeros((len(c), len(r)), column.dtype)).to(c.dtype)
    matrix = scipy.linalg.toeplitz(column, row)
    return torch.from_numpy(matrix).to(c.dtype)


@implementation(
    "toeplitz",
    source=f"{QUESTION}, the index version as published",
    refuted={
        "agreement": "([1], [2]) gives 2 where SciPy gives 1: the diagonal is r[0]",
        "gradient": "the gradient of the diagonal reaches r[0] and never c[0]",
    },
    gradient=ALL_MODES,
)
def published_nonzero_index(c, r=None):
    """Index the row, followed by the column without its first element, with j − i for all (i, j).

    O(m·n) work. The diagonal comes from r[0] instead of c[0].
    """
    c, r = check_vectors(c, r)
    diagonals = torch.cat([r, c[1:].flip(0)])
    i, j = torch.ones((len(c), len(r)), dtype=torch.bool, device=c.device).nonzero().unbind(1)
    return diagonals[j - i].reshape(len(c), len(r))


def diagonal_numbers(c, r):
    """The number of each element's diagonal, counted from the lower left corner."""
    return torch.arange(len(c) - 1, -1, -1, device=c.device)[:, None] + torch.arange(len(r), device=c.device)


def check_vectors(c, r):
    """c, and r or its default.

    Raises
    ------
    ValueError
        Naming the argument that is not one-dimensional.
    """
    for name, vector in (("c", c), ("r", r)):
        if vector is not None and vector.ndim != 1:
            raise ValueError(f"{name} has shape {tuple(vector.shape)}; expected one dimension")
    return c, c.conj() if r is None else r
