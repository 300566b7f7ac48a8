"""toeplitz_matmul(c, r, x): T(c, r) @ x with T[i, j] = c[i − j] if i ≥ j else r[j − i], for x of one or two dimensions.

Most implementations lay the m + n − 1 diagonals out in one vector, from the upper right corner to the lower left: row i of the
matrix, read from right to left, is the n elements from number i on.
"""

import numpy as np
import scipy
import torch

from opjury.contract import Error, Gradient, implementation

ROWS = 64


def global_magnitude(c, r, x):
    """Transforms mix everything: each element errs by the size of all diagonals times that of its column of x."""
    return np.broadcast_to((np.abs(c).sum() + np.abs(r).sum()) * np.abs(x).sum(axis=0), (len(c), *x.shape[1:]))


def transform_terms(c, r, x):
    """Three transforms of length N with about 8 roundings in each of their log2(N) stages (Higham, ch. 24), and a product."""
    return 24 * int(len(c) + len(r)).bit_length() + 8


SPREADS = {
    "specials": "a transform spreads NaN and inf over the whole column",
    "locality": "a transform spreads NaN, inf and the rounding errors of large elements over the whole column",
}


@implementation("toeplitz_matmul", source="torch.matmul", gradient=Gradient(second=True, forward=True, vmap=True))
def build_and_multiply(c, r, x):
    """Index the whole matrix out of its diagonals, and multiply.

    O(m·n·k) work, O(m·n) memory and an index of 8 bytes beside each element.
    """
    check_lengths(c, r, x)
    return torch.cat([r[1:].flip(0), c])[numbers(len(c), len(r), c.device)] @ x


@implementation(
    "toeplitz_matmul", source="torch.as_strided and einsum", gradient=Gradient(second=True, forward=True, vmap=True)
)
def strided_einsum(c, r, x):
    """Overlapping rows of the diagonals by as_strided, contracted with the reversed x.

    O(m·n·k) work; the matrix is a view of m + n − 1 elements, unless the multiplication copies it.
    """
    check_lengths(c, r, x)
    diagonals = torch.cat([r[1:].flip(0), c])
    rows = diagonals.as_strided((len(c), len(r)), (1, 1)) if len(c) and len(r) else c[:, None].expand(len(c), len(r))
    return torch.einsum("ij,j...->i...", rows, x.flip(0))


@implementation("toeplitz_matmul", source="blocks of rows", gradient=Gradient(second=True, forward=True, vmap=True))
def chunked_rows(c, r, x):
    """Build 64 rows of the matrix at a time, and multiply.

    O(m·n·k) work, O(64·n) memory forward; autograd keeps every block.
    """
    check_lengths(c, r, x)
    diagonals, m, n = torch.cat([r[1:].flip(0), c]), len(c), len(r)
    starts = range(0, m, ROWS) or [0]
    blocks = (diagonals[start : start + min(ROWS, m - start) + n - 1] for start in starts)
    return torch.cat(
        [block[numbers(min(ROWS, m - start), n, c.device)] @ x for start, block in zip(starts, blocks, strict=True)]
    )


@implementation(
    "toeplitz_matmul",
    source="torch.nn.functional.conv1d",
    devices=("cpu",),  # cuDNN rounds float32 to TF32
    error=Error(
        terms=lambda c, r, x: 4 * len(r) + 4 if np.iscomplexobj(c) else len(r),
        worst="complex: a product errs by nearly 6 roundings",
    ),
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def convolution(c, r, x):
    """Cross-correlate the diagonals with the reversed columns of x.

    O(m·n·k) work, O(m + n) memory. Complex products are made of three real ones, with about twice the error; half types are
    computed in float32, since oneDNN's kernels for them let NaN and inf reach the neighbours.
    """
    check_lengths(c, r, x)
    if 0 in (len(c), *x.shape):
        return c[:, None].expand(len(c), len(r)) @ x
    wide = torch.promote_types(c.dtype, torch.float32)
    diagonals = torch.cat([r[1:].flip(0), c]).to(wide)
    kernels = x.flip(0).reshape(len(r), -1).mT.unsqueeze(1).to(wide)
    products = torch.nn.functional.conv1d(diagonals[None, None], kernels)[0]
    return products.mT.reshape(len(c), *x.shape[1:]).to(c.dtype)


@implementation(
    "toeplitz_matmul",
    source="Golub and Van Loan, Matrix Computations, on circulant systems",
    error=Error(magnitude=global_magnitude, terms=transform_terms, worst="1e8 elsewhere in x: 0.25 for 1"),
    waives=SPREADS,
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def fft_circulant_embedding(c, r, x):
    """Embed the matrix in a circulant one, which Fourier transforms make diagonal.

    O((m + n)·k·log(m + n)) work, O((m + n)·k) memory. Errors are relative to the largest elements, not to each; half types are
    computed in float32.
    """
    check_lengths(c, r, x)
    if 0 in (len(c), *x.shape):
        return c[:, None].expand(len(c), len(r)) @ x
    wide = torch.promote_types(c.dtype, torch.float32)
    length = scipy.fft.next_fast_len(len(c) + len(r) - 1, not wide.is_complex)
    zeros = torch.zeros(length - len(c) - len(r) + 1, dtype=wide, device=c.device)
    column = torch.cat([c.to(wide), zeros, r[1:].flip(0).to(wide)])
    forward, inverse = (torch.fft.fft, torch.fft.ifft) if wide.is_complex else (torch.fft.rfft, torch.fft.irfft)
    spectrum = forward(column).reshape(-1, *[1] * (x.ndim - 1))
    return inverse(spectrum * forward(x.to(wide), length, 0), length, 0)[: len(c)].to(c.dtype)


@implementation(
    "toeplitz_matmul",
    source="scipy.linalg.matmul_toeplitz",
    error=Error(magnitude=global_magnitude, terms=transform_terms, worst="1e20 elsewhere in x: 0 for 1"),
    waives=SPREADS,
    gradient=None,
    devices=("cpu",),
)
def scipy_matmul_toeplitz(c, r, x):
    """scipy.linalg.matmul_toeplitz in double precision, a circulant embedding too.

    O((m + n)·k·log(m + n)) work, O((m + n)·k) memory. Leaves autograd.
    """
    check_lengths(c, r, x)
    wide = torch.promote_types(c.dtype, torch.float64)
    column, row, columns = (t.detach().resolve_conj().resolve_neg().to(wide).numpy() for t in (c, r, x))
    if 0 in (len(c), *x.shape):
        return torch.zeros((len(c), *x.shape[1:]), dtype=c.dtype)
    return torch.from_numpy(scipy.linalg.matmul_toeplitz((column, row), columns, check_finite=False)).to(c.dtype)


def numbers(rows, columns, device):
    """The number of each element's diagonal: i + n − 1 − j."""
    return torch.arange(rows, device=device)[:, None] + torch.arange(columns - 1, -1, -1, device=device)


def check_lengths(c, r, x):
    """Raise ValueError unless c and r are vectors, and x is a vector or matrix with a row for each element of r."""
    for name, vector in (("c", c), ("r", r)):
        if vector.ndim != 1:
            raise ValueError(f"{name} has shape {tuple(vector.shape)}; expected one dimension")
    if x.ndim not in (1, 2) or len(x) != len(r):
        raise ValueError(
            f"x has shape {tuple(x.shape)}; expected ({len(r)},) or ({len(r)}, k), a row for each of the {len(r)} elements of r"
        )
