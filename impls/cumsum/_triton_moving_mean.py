"""Kernels of moving_mean: sums over windows without subtraction, from running sums within blocks of one window.

Every window is the end of one block and the start of the next (van Herk, 1992; Gil and Werman, 1993).
"""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED, accumulator, parts, power_of_two
from opjury.impls._triton_arithmetic import divide_all, index_type
from opjury.impls.cumsum._triton_cumsum import LAST_FIRST, scan, sum_before

TILE = 4096  # elements
LONGEST = 128 if INTERPRETED else 4096  # windows that fit a tile


@triton.jit
def fourth(x, line, place, stride, n, inside):
    """One element of every four."""
    return tl.load(x + (line + place * stride), mask=inside & (place >= 0) & (place < n), other=0)


@triton.jit(do_not_specialize=("x", "rows", "n", "count", "window", "shift", "row_stride", "stride", "group_blocks"))
def sum_windows(
    x, out, rows, n, count, window, shift, row_stride, stride, out_stride, group_blocks,
    ROWS: tl.constexpr, GROUPS: tl.constexpr, WIDTH: tl.constexpr, INDEX: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """Of ROWS rows, GROUPS blocks of one window: the ends of each, and the starts of the next, added."""
    number, item = tl.program_id(0), tl.arange(0, ROWS * GROUPS)
    row = (number // group_blocks).to(INDEX) * ROWS + item // GROUPS
    start = (
        (number % group_blocks).to(INDEX) * GROUPS + item % GROUPS
    ) * window  # windows begin here, and see from `shift` before
    # A thread has four neighbours, and adds them alone: passing sums on between threads would cost more than reading.
    AXIS: tl.constexpr = 1 if LAST_FIRST else 0
    k = tl.expand_dims(tl.arange(0, WIDTH // 4) * 4, 1 - AXIS)
    inside, line = tl.expand_dims(row < rows, AXIS), tl.expand_dims(row * row_stride, AXIS)
    here = tl.expand_dims(start - shift, AXIS) + k
    a0 = fourth(x, line, here, stride, n, inside & (k < window)).to(ACCUMULATOR)
    a1 = fourth(x, line, here + 1, stride, n, inside & (k + 1 < window)).to(ACCUMULATOR)
    a2 = fourth(x, line, here + 2, stride, n, inside & (k + 2 < window)).to(ACCUMULATOR)
    a3 = fourth(x, line, here + 3, stride, n, inside & (k + 3 < window)).to(ACCUMULATOR)
    # The next block, one place later: nothing at the first place, where the window is the whole block.
    there = here + window - 1
    b0 = fourth(x, line, there, stride, n, inside & (k > 0) & (k < window)).to(ACCUMULATOR)
    b1 = fourth(x, line, there + 1, stride, n, inside & (k + 1 < window)).to(ACCUMULATOR)
    b2 = fourth(x, line, there + 2, stride, n, inside & (k + 2 < window)).to(ACCUMULATOR)
    b3 = fourth(x, line, there + 3, stride, n, inside & (k + 3 < window)).to(ACCUMULATOR)
    a2 += a3
    a1 += a2
    a0 += a1
    b1 += b0
    b2 += b1
    b3 += b2
    behind, before = sum_before(a0, AXIS, True), sum_before(b3, AXIS, False)
    even = tl.join((a0 + behind) + (b0 + before), (a2 + behind) + (b2 + before))
    odd = tl.join((a1 + behind) + (b1 + before), (a3 + behind) + (b3 + before))
    sums = tl.join(even, odd)
    sums = tl.reshape(tl.permute(sums, (1, 0, 2, 3)) if AXIS == 0 else sums, (ROWS * GROUPS, WIDTH))
    place = tl.arange(0, WIDTH)[None, :]
    to = out + ((row * count + start)[:, None] + place) * out_stride
    within = (row < rows)[:, None] & (place < window) & (start[:, None] + place < count)
    tl.store(to, divide_all(sums, window).to(out.dtype.element_ty), mask=within)


@torch.library.custom_op("opjury::moving_mean", mutates_args=())
def means(x: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """The means over windows of rows (rows, n) that have `shift` zeros before and behind them."""
    out = means_like(x, window, shift)
    if out.numel():
        with torch.cuda.device_of(x):
            if window > LONGEST:
                return _by_scans(x, window, shift)
            rows, count = out.shape
            width = max(power_of_two(window, LONGEST), 4)
            groups = triton.cdiv(count, window)
            together = power_of_two(groups, TILE // width)
            abreast = power_of_two(rows, TILE // width // together)
            group_blocks = triton.cdiv(groups, together)
            kind = tl.float64 if accumulator(x.dtype) == torch.float64 else tl.float32
            for part, whole in zip(parts(x), parts(out), strict=True):
                # The furthest places that are counted, those beyond the ends among them.
                length = group_blocks * together * window + 2 * width
                extents = (
                    (rows + abreast) * abs(part.stride(0)) + length * part.stride(1),
                    ((rows + abreast) * count + length) * whole.stride(1),
                )
                sum_windows[(triton.cdiv(rows, abreast) * group_blocks,)](
                    part, whole, rows, x.shape[1], count, window, shift, *part.stride(), whole.stride(1), group_blocks,
                    ROWS=abreast, GROUPS=together, WIDTH=width, ACCUMULATOR=kind, INDEX=index_type(*extents), num_warps=8,
                )  # fmt: skip
    return out


@means.register_fake
def means_like(x, window, shift):
    """Memory for the means."""
    return x.new_empty((x.shape[0], x.shape[1] + 2 * shift - window + 1))


def _by_scans(x, window, shift):
    """Windows that do not fit a tile: the running sums within blocks by scans of their own."""
    wide = x.to(torch.float32) if x.dtype in (torch.float16, torch.bfloat16) else x
    n = x.shape[1] + 2 * shift
    count, length = n - window + 1, (n - 1) // window * window + 2 * window
    blocks = torch.nn.functional.pad(wide, (shift, length - n + shift)).unflatten(1, (-1, window))
    ends, starts = scan(blocks, 2, True), scan(blocks, 2, False).flatten(1)[:, window - 1 :]
    whole = torch.arange(window, device=x.device) == 0  # a window that is a block: counted once
    ends = ends.masked_fill_(whole, 0).flatten(1)
    return ((ends[:, :count] + starts[:, :count]) / window).to(x.dtype)


def _remember(ctx, inputs, output):
    _, ctx.window, ctx.shift = inputs


def _backward(ctx, weight):
    return means(weight, ctx.window, ctx.window - 1 - ctx.shift), None, None


means.register_autograd(_backward, setup_context=_remember)
