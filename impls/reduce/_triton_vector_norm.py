"""Kernels of vector_norm: squares added at three scales at once, so that none over- or underflows."""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED
from opjury.impls._triton_arithmetic import divide, root

BLOCK = 128 if INTERPRETED else 2048  # elements that a program adds at a time
PROGRAMS = 4 if INTERPRETED else 1024


@triton.jit
def add_squares(
    x, sums, count,
    SMALL: tl.constexpr, LARGE: tl.constexpr, UP: tl.constexpr, DOWN: tl.constexpr,
    BLOCK: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """Every program adds every so-manieth block: squares of small numbers times UP, of large ones times DOWN, and of the others."""
    low = tl.zeros((BLOCK,), ACCUMULATOR)
    middle = tl.zeros((BLOCK,), ACCUMULATOR)
    high = tl.zeros((BLOCK,), ACCUMULATOR)
    number, programs = tl.program_id(0), tl.num_programs(0)
    for first in range(number.to(tl.int64) * BLOCK, count, programs * BLOCK):
        at = first + tl.arange(0, BLOCK)
        values = tl.load(x + at, mask=at < count, other=0).to(ACCUMULATOR)
        size = tl.abs(values)
        is_small, is_large = size < SMALL, size > LARGE
        scaled = tl.where(is_small, values * UP, tl.where(is_large, values * DOWN, values))
        square = scaled * scaled
        low += tl.where(is_small, square, 0)
        high += tl.where(is_large, square, 0)
        middle += tl.where(is_small | is_large, 0, square)
    tl.store(sums + number, tl.sum(low, 0))
    tl.store(sums + programs + number, tl.sum(middle, 0))
    tl.store(sums + 2 * programs + number, tl.sum(high, 0))


@triton.jit
def join_squares(
    sums, out, programs, UP: tl.constexpr, DOWN: tl.constexpr, PROGRAMS: tl.constexpr, ACCUMULATOR: tl.constexpr
):  # fmt: skip
    """The root of all of them together, at the scale of the largest."""
    at = tl.arange(0, PROGRAMS)
    low = tl.sum(tl.load(sums + at, mask=at < programs, other=0), 0)
    middle = tl.sum(tl.load(sums + programs + at, mask=at < programs, other=0), 0)
    high = tl.sum(tl.load(sums + 2 * programs + at, mask=at < programs, other=0), 0)
    one = tl.full((), 1, ACCUMULATOR)
    usual, rest = root(middle), root(low) * (1 / UP)
    longer, shorter = tl.maximum(usual, rest), tl.minimum(usual, rest)
    safe = (longer > 0) & (longer < float("inf"))
    ratio = divide(shorter, tl.where(safe, longer, one))
    norm = longer * root(one + ratio * ratio)
    norm = tl.where(high > 0, root(high + middle * DOWN * DOWN) * (1 / DOWN), norm)
    norm = tl.where((low + middle + high) != (low + middle + high), float("nan"), norm)
    tl.store(out, norm.to(out.dtype.element_ty))


@torch.library.custom_op("opjury::vector_norm", mutates_args=())
def norm_of(x: torch.Tensor, small: float, large: float, up: float, down: float) -> torch.Tensor:
    """√Σ|x|², with the scales of `blue_constants` for the dtype that is added in."""
    row = (torch.view_as_real(x) if x.is_complex() else x).reshape(-1).contiguous()
    kind = tl.float64 if row.dtype == torch.float64 else tl.float32
    out = like_norm(x, small, large, up, down)
    programs = min(triton.cdiv(row.numel(), BLOCK), PROGRAMS)
    if not programs:
        return out.zero_()
    with torch.cuda.device_of(x):
        sums = torch.empty((3, programs), dtype=torch.promote_types(out.dtype, torch.float32), device=x.device)
        scales = dict(SMALL=small, LARGE=large, UP=up, DOWN=down)
        add_squares[(programs,)](row, sums, row.numel(), **scales, BLOCK=BLOCK, ACCUMULATOR=kind, num_warps=8)
        join_squares[(1,)](sums, out, programs, UP=up, DOWN=down, PROGRAMS=PROGRAMS, ACCUMULATOR=kind)
    return out


@norm_of.register_fake
def like_norm(x, small, large, up, down):
    """Memory for the norm."""
    return x.new_empty((), dtype=x.dtype.to_real())


def _remember(ctx, inputs, output):
    ctx.save_for_backward(inputs[0], output)


def _backward(ctx, weight):
    x, norm = ctx.saved_tensors
    positive = norm > 0
    unit = torch.where(positive, x / torch.where(positive, norm, 1), norm.to(x.dtype))
    return unit * weight, None, None, None, None


norm_of.register_autograd(_backward, setup_context=_remember)
