"""Kernels of toeplitz: the matrix from its vectors, and the sums of a matrix's diagonals.

A matrix (m, n) has m + n − 1 diagonals, numbered from the lower left corner: element (i, j) is on diagonal m − 1 − i + j.
"""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED, accumulator, moved_parts, parts, power_of_two
from opjury.impls._triton_arithmetic import index_type

TILE = 2048 if INTERPRETED else 4096  # elements
WIDEST = 512 if INTERPRETED else 1024  # columns of a tile
BAND = 16 if INTERPRETED else 64  # rows whose diagonals one program sums


@triton.jit(do_not_specialize=("m", "c_stride", "r_stride", "column_blocks"))
def fill(
    c, r, out, m, n, c_stride, r_stride, out_stride, column_blocks, ROWS: tl.constexpr, COLUMNS: tl.constexpr, INDEX: tl.constexpr
):  # fmt: skip
    """A tile of the matrix: below the diagonal and on it from c, above it from r."""
    number = tl.program_id(0)
    first_row = (number // column_blocks).to(INDEX) * ROWS
    first_column = (number % column_blocks).to(INDEX) * COLUMNS
    row, column = tl.arange(0, ROWS)[:, None], tl.arange(0, COLUMNS)[None, :]
    i, j = first_row + row, first_column + column
    inside, offset = (i < m) & (j < n), i - j
    to = out + (first_row.to(tl.int64) * n + first_column) * out_stride + (row.to(INDEX) * n + column) * out_stride
    if first_row >= first_column + COLUMNS:
        values = tl.load(c + offset * c_stride, mask=inside, other=0)
    elif first_row + ROWS <= first_column:
        values = tl.load(r - offset * r_stride, mask=inside, other=0)
    else:
        lower = tl.load(c + offset * c_stride, mask=inside & (offset >= 0), other=0)
        upper = tl.load(r - offset * r_stride, mask=inside & (offset < 0), other=0)
        values = tl.where(offset >= 0, lower, upper)
    tl.store(to, values, mask=inside)


@triton.jit(do_not_specialize=("m", "n", "row_stride", "blocks"))
def sum_bands(
    weight, sums, m, n, row_stride, column_stride, blocks,
    BAND: tl.constexpr, BLOCK: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """Of BAND rows, the sums of BLOCK of their n + BAND − 1 diagonals, numbered from the last row's first element."""
    number = tl.program_id(0).to(tl.int64)
    band, block = number // blocks, number % blocks
    diagonal = block * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), ACCUMULATOR)
    for row in tl.range(BAND, loop_unroll_factor=8):  # eight loads at a time
        i, j = band * BAND + row, diagonal - (BAND - 1) + row
        inside = (i < m) & (j >= 0) & (j < n)
        total += tl.load(weight + i * row_stride + j * column_stride, mask=inside, other=0).to(ACCUMULATOR)
    width = n + BAND - 1
    tl.store(sums + band * width + diagonal, total, mask=diagonal < width)


@triton.jit(do_not_specialize=("m", "n", "bands"))
def join_bands(
    sums, c, r, m, n, bands, out_stride, BAND: tl.constexpr, BLOCK: tl.constexpr, ACCUMULATOR: tl.constexpr
):  # fmt: skip
    """The sums of BLOCK of the matrix's diagonals from those of the bands that meet them, to where c and r lie."""
    width = n + BAND - 1
    first = tl.program_id(0).to(tl.int64) * BLOCK
    diagonal = first + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), ACCUMULATOR)
    # Band b begins with diagonal m − (b + 1)·BAND: those that meet this block lie next to each other.
    lowest = tl.maximum((m - first - BLOCK) // BAND - 1, 0)
    highest = tl.minimum((m - first + width) // BAND + 1, bands)
    for start in range(lowest, highest, 8):
        band = start + tl.arange(0, 8)[:, None]
        at = diagonal[None, :] - (m - (band + 1) * BAND)
        met = (band < highest) & (at >= 0) & (at < width)
        total += tl.sum(tl.load(sums + band * width + at, mask=met, other=0), 0)
    k = diagonal - (m - 1)
    tl.store(c - k * out_stride, total.to(c.dtype.element_ty), mask=(k <= 0) & (diagonal < m + n - 1))
    tl.store(r + k * out_stride, total.to(r.dtype.element_ty), mask=(k > 0) & (k < n))


@torch.library.custom_op("opjury::toeplitz", mutates_args=())
def matrix(c: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
    """The matrix with first column c and, but for its first element, first row r."""
    out = c.new_empty((len(c), len(r)))
    if out.numel():
        columns = power_of_two(len(r), WIDEST)
        rows = power_of_two(len(c), TILE // columns)
        column_blocks = triton.cdiv(len(r), columns)
        with torch.cuda.device_of(c):
            for one, other, whole in zip(moved_parts(c), moved_parts(r), moved_parts(out), strict=True):
                steps = max(one.stride(0), other.stride(0), rows * whole.stride(-1))
                extent = (len(c) + len(r) + rows + columns) * steps
                fill[(triton.cdiv(len(c), rows) * column_blocks,)](
                    one, other, whole, len(c), len(r), one.stride(0), other.stride(0), whole.stride(-1), column_blocks,
                    ROWS=rows, COLUMNS=columns, INDEX=index_type(extent),
                )  # fmt: skip
    return out


@matrix.register_fake
def _(c, r):
    return c.new_empty((c.shape[0], r.shape[0]))


@torch.library.custom_op("opjury::toeplitz_adjoint", mutates_args=())
def diagonal_sums(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the elements of c and of r are to be given: the sums of their diagonals, and 0 for the first of r."""
    m, n = weight.shape
    c, r = weight.new_zeros(m), weight.new_zeros(n)
    if weight.numel():
        width, bands = n + BAND - 1, triton.cdiv(m, BAND)
        block = power_of_two(width, WIDEST // 4)
        blocks = triton.cdiv(width, block)
        total = accumulator(weight.dtype)
        kind = tl.float64 if total == torch.float64 else tl.float32
        with torch.cuda.device_of(weight):
            sums = torch.empty((bands, width), dtype=total, device=weight.device)
            for part, one, other in zip(parts(weight), parts(c), parts(r), strict=True):
                sum_bands[(bands * blocks,)](
                    part, sums, m, n, *part.stride(), blocks, BAND=BAND, BLOCK=block, ACCUMULATOR=kind
                )
                join_bands[(triton.cdiv(m + n - 1, block),)](
                    sums, one, other, m, n, bands, one.stride(0), BAND=BAND, BLOCK=block, ACCUMULATOR=kind
                )
    return c, r


@diagonal_sums.register_fake
def _(weight):
    return weight.new_empty(weight.shape[0]), weight.new_empty(weight.shape[1])


def _nothing(ctx, inputs, output):
    pass


matrix.register_autograd(lambda ctx, weight: diagonal_sums(weight), setup_context=_nothing)
diagonal_sums.register_autograd(lambda ctx, c, r: matrix(c, r), setup_context=_nothing)
