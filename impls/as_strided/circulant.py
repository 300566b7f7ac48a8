"""circulant(c): C[i, j] = c[(i − j) mod n].

Reading a row from right to left is reading c forwards, so that most implementations lay c out twice or more, read windows and flip them.
"""

import scipy
import torch

from opjury.contract import Gradient, implementation


@implementation("circulant", source="torch.as_strided", gradient=Gradient(second=True, forward=True, vmap=True))
def doubled_strided_flip(c):
    """All windows of c written twice, by as_strided, with the columns flipped.

    O(n²) work and memory for the flip, which copies.
    """
    check_vector(c)
    twice = torch.cat([c, c])
    return twice.as_strided((len(c), len(c)), (1, 1), min(1, len(c))).flip(1)


@implementation(
    "circulant",
    source="scipy.linalg.toeplitz: its relation to circulant",
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def toeplitz_unfold_flip(c):
    """The Toeplitz matrix of column c and row c[0], c[n−1], …, c[1]: windows of the diagonals by Tensor.unfold, rows flipped.

    O(n²) work and memory for the flip, which copies.
    """
    check_vector(c)
    diagonals = torch.cat([c.flip(0), c[1:].flip(0)])
    return diagonals.unfold(0, len(c), 1)[: len(c)].flip(0)


@implementation(
    "circulant",
    source="NumPy: broadcasting and advanced indexing",
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def broadcasted_index(c):
    """Index c with (i − j) mod n, broadcast from a column and a row of numbers.

    O(n²) work; an index of 8 bytes beside each element. In backward the index is sorted.
    """
    check_vector(c)
    return c[rotations(c)]


@implementation("circulant", source="torch.gather", gradient=Gradient(second=True, forward=True, vmap=True))
def gather(c):
    """Gather (i − j) mod n from c expanded to n rows.

    O(n²) work; an index of 8 bytes beside each element. In backward an n × n matrix is added up.
    """
    check_vector(c)
    return c.expand(len(c), -1).gather(1, rotations(c))


@implementation(
    "circulant",
    source="skewing by a row length one beyond the period",
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def repeat_and_skew(c):
    """Repeat c rotated back by one n + 1 times and cut it into rows of n + 1: each row leads by one. The columns are flipped.

    O(n²) work and memory, no index: one copy for repeating, one for flipping.
    """
    check_vector(c)
    return c.roll(-1).repeat(len(c) + 1).view(len(c), len(c) + 1)[:, : len(c)].flip(1)


@implementation("circulant", source="torch.roll", gradient=Gradient(second=True, forward=True, vmap=True))
def rolled_rows(c):
    """One torch.roll of the reversed c for each row, stacked.

    O(n²) work and memory, n calls.
    """
    check_vector(c)
    if len(c) == 0:
        return c.reshape(0, 0)
    backward = c.flip(0)
    return torch.stack([backward.roll(i + 1) for i in range(len(c))])


@implementation(
    "circulant",
    source="Linux: transparent huge pages; skewing by a row length",
    gradient=Gradient(second=True, forward=True, vmap=True),
    devices=("cpu",),
)
def windows_into_large_pages(c):
    """Windows of c, twice reversed, copied bottom row first into pages of 2 MiB. In backward, sums of diagonals by bands of rows.

    O(n²) work, no memory beside the result; in backward O(n²) work and O(n) memory.
    """
    from opjury.impls.as_strided._diagonals import Matrix

    check_vector(c)
    if len(c) == 0:
        return c.reshape(0, 0)
    backward = c.flip(0)
    return Matrix.apply(torch.cat([backward, backward[:-1]]), len(c))


@implementation("circulant", source="scipy.linalg.circulant", gradient=None, devices=("cpu",))
def scipy_circulant(c):
    """scipy.linalg.circulant: a NumPy view of c written twice, copied.

    O(n²) work and memory. Leaves autograd.
    """
    check_vector(c)
    plain = c.detach().resolve_conj().resolve_neg()
    wide = plain.to(torch.float32 if c.dtype == torch.bfloat16 else c.dtype)  # NumPy has no bfloat16
    return torch.from_numpy(scipy.linalg.circulant(wide.numpy())).to(c.dtype)


def rotations(c):
    """(i − j) mod n for all i and j."""
    number = torch.arange(len(c), device=c.device)
    return (number[:, None] - number).remainder(max(len(c), 1))


def check_vector(c):
    """Raise ValueError unless c is one-dimensional."""
    if c.ndim != 1:
        raise ValueError(f"c has shape {tuple(c.shape)}; expected one dimension")
