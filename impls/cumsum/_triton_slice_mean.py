"""Kernels of slice_mean: one warp for a slice, or a piece of it, and some features. In backward, one program is for some rows."""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED, power_of_two
from opjury.impls._triton_arithmetic import divide

TILE = 1024 if INTERPRETED else 512  # elements that a warp adds at a time
WRITTEN = 1024 if INTERPRETED else 4096  # elements, at most, that a program of the backward pass writes
WIDEST = 256 if INTERPRETED else 128  # features of a tile
PROGRAMS = 4 if INTERPRETED else 4096  # where there are fewer slices, each is split
SPLITS = 64
FEW = 8 if INTERPRETED else 1024  # slices that every program of the backward pass can look through


@triton.jit(do_not_specialize=("feature_blocks", "splits"))
def sum_slices(
    x, slices, out, features, row_stride, feature_blocks, splits,
    ROWS: tl.constexpr, FEATURES: tl.constexpr, ACCUMULATOR: tl.constexpr, MEAN: tl.constexpr,
):  # fmt: skip
    """The sum, or the mean, of one of the `splits` pieces of a slice, for FEATURES features."""
    number = tl.program_id(0).to(tl.int64)
    piece, feature_block = number // feature_blocks, number % feature_blocks
    owner, split = piece // splits, piece % splits
    start, end = tl.load(slices + 2 * owner), tl.load(slices + 2 * owner + 1)
    length = end - start
    first, last = start + length * split // splits, start + length * (split + 1) // splits
    feature = feature_block * FEATURES + tl.arange(0, FEATURES)
    total = tl.zeros((ROWS, FEATURES), ACCUMULATOR)
    for at in range(first, last, ROWS):
        row = at + tl.arange(0, ROWS)
        inside = (row < last)[:, None] & (feature < features)[None, :]
        total += tl.load(x + row[:, None] * row_stride + feature[None, :], mask=inside, other=0).to(ACCUMULATOR)
    result = tl.sum(total, 0)
    if MEAN:
        result = divide(result, tl.zeros((FEATURES,), ACCUMULATOR) + length.to(ACCUMULATOR))
    tl.store(out + piece * features + feature, result.to(out.dtype.element_ty), mask=feature < features)


@triton.jit(do_not_specialize=("feature_blocks", "splits"))
def join_pieces(
    sums, slices, out, features, feature_blocks, splits,
    SPLITS: tl.constexpr, FEATURES: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """The mean of one slice from the sums of its pieces, for FEATURES features."""
    number = tl.program_id(0).to(tl.int64)
    owner, feature = number // feature_blocks, number % feature_blocks * FEATURES + tl.arange(0, FEATURES)
    piece = tl.arange(0, SPLITS)[:, None]
    inside = (piece < splits) & (feature < features)[None, :]
    total = tl.sum(tl.load(sums + (owner * splits + piece) * features + feature[None, :], mask=inside, other=0), 0)
    length = tl.load(slices + 2 * owner + 1) - tl.load(slices + 2 * owner)
    mean = divide(total, tl.zeros((FEATURES,), ACCUMULATOR) + length.to(ACCUMULATOR))
    tl.store(out + owner * features + feature, mean.to(out.dtype.element_ty), mask=feature < features)


@triton.jit
def share_of(weight, slices, owner, row, feature, features, ACCUMULATOR: tl.constexpr):
    """What one slice gives to rows: weight / length for those that it contains."""
    start, end = tl.load(slices + 2 * owner), tl.load(slices + 2 * owner + 1)
    share = tl.load(weight + owner * features + feature, mask=feature < features, other=0).to(ACCUMULATOR)
    share = divide(share, tl.zeros_like(share) + (end - start).to(ACCUMULATOR))
    covered = (row >= start) & (row < end)
    return tl.where(covered[:, None], share[None, :], 0)


@triton.jit(do_not_specialize=("count", "rows", "feature_blocks"))
def spread_means(
    weight, slices, first_of, last_of, out, count, rows, features, feature_blocks,
    FEW: tl.constexpr, ROWS: tl.constexpr, FEATURES: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """For ROWS rows and FEATURES features, the sum over all slices that contain the row of weight / length.

    Of `count` slices: the program looks for those itself where there are no more than FEW; they are first_of to last_of elsewhere.
    """
    number = tl.program_id(0).to(tl.int64)
    block, feature_block = number // feature_blocks, number % feature_blocks
    begin = block * ROWS
    row = begin + tl.arange(0, ROWS)
    feature = feature_block * FEATURES + tl.arange(0, FEATURES)
    total = tl.zeros((ROWS, FEATURES), ACCUMULATOR)
    if FEW:
        each = tl.arange(0, FEW)
        start = tl.load(slices + 2 * each, mask=each < count, other=0)
        end = tl.load(slices + 2 * each + 1, mask=each < count, other=0)
        # Those that meet the block come first, one after the other.
        number_of = tl.where((start < begin + ROWS) & (end > begin), each, FEW)
        owner = tl.min(number_of, 0)
        while owner < FEW:
            total += share_of(weight, slices, owner.to(tl.int64), row, feature, features, ACCUMULATOR)
            number_of = tl.where(number_of > owner, number_of, FEW)
            owner = tl.min(number_of, 0)
    else:
        for owner in range(tl.load(first_of + block), tl.load(last_of + block)):
            total += share_of(weight, slices, owner, row, feature, features, ACCUMULATOR)
    to = out + row[:, None] * features + feature[None, :]
    tl.store(to, total.to(out.dtype.element_ty), mask=(row < rows)[:, None] & (feature < features)[None, :])


def in_triton(dtype):
    """The dtype to add in, as Triton's."""
    return tl.float64 if dtype in (torch.float64, torch.complex128) else tl.float32


def matrix(x):
    """x as a real matrix, its features next to each other, and bool as 0 and 1."""
    x = torch.view_as_real(x) if x.is_complex() else x.view(torch.uint8) if x.dtype == torch.bool else x
    flat = x.reshape(len(x), x.shape[1:].numel())
    return flat if flat.stride(1) == 1 or flat.shape[1] == 1 else flat.contiguous()


def tile(features, most=TILE):
    """Rows and features of a tile of so many elements."""
    across = power_of_two(features, WIDEST)
    return most // across, across


@torch.library.custom_op("opjury::slice_mean", mutates_args=())
def means(x: torch.Tensor, slices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mean of each slice of the rows of x, in a dtype."""
    out = x.new_empty((len(slices), *x.shape[1:]), dtype=dtype)
    if out.numel():
        flat, slices, kind = matrix(x), slices.contiguous(), in_triton(dtype)
        features = flat.shape[1]
        rows, across = tile(features)
        feature_blocks = triton.cdiv(features, across)
        splits = power_of_two(triton.cdiv(PROGRAMS, len(slices) * feature_blocks), SPLITS)
        whole = torch.view_as_real(out) if out.is_complex() else out
        total = torch.float64 if kind == tl.float64 else torch.float32
        sums = whole if splits == 1 else torch.empty((len(slices), splits, features), dtype=total, device=x.device)
        with torch.cuda.device_of(x):
            sum_slices[(len(slices) * splits * feature_blocks,)](
                flat, slices, sums, features, flat.stride(0), feature_blocks, splits,
                ROWS=rows, FEATURES=across, ACCUMULATOR=kind, MEAN=splits == 1, num_warps=1,
            )  # fmt: skip
            if splits > 1:
                join_pieces[(len(slices) * feature_blocks,)](
                    sums, slices, whole, features, feature_blocks, splits,
                    SPLITS=SPLITS, FEATURES=across, ACCUMULATOR=kind,
                )  # fmt: skip
    return out


@means.register_fake
def _(x, slices, dtype):
    return x.new_empty((slices.shape[0], *x.shape[1:]), dtype=dtype)


@torch.library.custom_op("opjury::slice_mean_adjoint", mutates_args=())
def shares(weight: torch.Tensor, slices: torch.Tensor, rows: int) -> torch.Tensor:
    """For each of so many rows the sum of weight / length over the slices that contain it."""
    out = weight.new_empty((rows, *weight.shape[1:]))
    if not len(slices):
        return out.zero_()
    if out.numel():
        count, slices, flat = len(slices), slices.contiguous(), matrix(weight).contiguous()
        features = flat.shape[1]
        down, across = tile(features, WRITTEN)
        down = min(down, power_of_two(triton.cdiv(rows, PROGRAMS), WRITTEN))
        first = last = slices
        few = power_of_two(count, FEW) if count <= FEW else 0
        if (
            not few
        ):  # with the slices in the order of their starts, those that may reach a block of rows lie next to each other
            order = slices[:, 0].argsort(stable=True)
            slices, flat = slices[order].contiguous(), flat[order]
            begins = torch.arange(0, rows, down, device=weight.device)
            first = torch.searchsorted(slices[:, 1].cummax(0).values, begins, right=True)
            last = torch.searchsorted(slices[:, 0].contiguous(), begins + down)
        feature_blocks = triton.cdiv(features, across)
        with torch.cuda.device_of(weight):
            spread_means[(triton.cdiv(rows, down) * feature_blocks,)](
                flat, slices, first, last, torch.view_as_real(out) if out.is_complex() else out,
                count, rows, features, feature_blocks,
                FEW=few, ROWS=down, FEATURES=across, ACCUMULATOR=in_triton(weight.dtype),
            )  # fmt: skip
    return out


@shares.register_fake
def _(weight, slices, rows):
    return weight.new_empty((rows, *weight.shape[1:]))


def _remember_rows(ctx, inputs, output):
    x, slices, _ = inputs
    ctx.rows = x.shape[0]
    ctx.save_for_backward(slices)


def _remember(ctx, inputs, output):
    ctx.save_for_backward(inputs[1])


def _to_rows(ctx, weight):
    return shares(weight, *ctx.saved_tensors, ctx.rows), None, None


def _to_slices(ctx, weight):
    return means(weight, *ctx.saved_tensors, weight.dtype), None, None


means.register_autograd(_to_rows, setup_context=_remember_rows)
shares.register_autograd(_to_slices, setup_context=_remember)
