"""Kernels of moving_mean: sums over windows without subtraction, from running sums within blocks of one window.

Every window is the end of one block and the start of the next (van Herk, 1992; Gil and Werman, 1993).
"""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED, accumulator, parts, power_of_two
from opjury.impls._triton_arithmetic import divide
from opjury.impls.cumsum._triton_cumsum import scan

TILE = 1024 if INTERPRETED else 4096  # elements
LONGEST = 128 if INTERPRETED else 4096  # windows that fit a tile


@triton.jit
def sum_windows(
    x, out, rows, n, count, window, shift, row_stride, stride, out_stride, groups,
    GROUPS: tl.constexpr, WIDTH: tl.constexpr, INDEX: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """GROUPS blocks of one window: the ends of each, and the starts of the next, added."""
    item = tl.program_id(0).to(tl.int64) * GROUPS + tl.arange(0, GROUPS)[:, None]
    row, group = item // groups, item % groups
    k = tl.arange(0, WIDTH)[None, :].to(INDEX)
    within = (k < window) & (row < rows)
    start = group * window  # of the windows that begin here; their first elements come `shift` before
    here = (start - shift).to(INDEX) + k
    there = here + window - 1
    place = x + row * row_stride + (start - shift) * stride
    first = tl.load(place + k * stride, mask=within & (here >= 0) & (here < n), other=0)
    # The next block, one place later: nothing at k = 0, where the window is the whole block.
    later = tl.load(place + (k + window - 1) * stride, mask=within & (k > 0) & (there >= 0) & (there < n), other=0)
    ends = tl.cumsum(first.to(ACCUMULATOR), 1, reverse=True)
    starts = tl.cumsum(later.to(ACCUMULATOR), 1)
    mean = divide(ends + starts, tl.full((GROUPS, WIDTH), window, ACCUMULATOR))
    to = out + (row * count + start) * out_stride
    tl.store(to + k * out_stride, mean.to(out.dtype.element_ty), mask=within & (start.to(INDEX) + k < count))


@torch.library.custom_op("opjury::moving_mean", mutates_args=())
def means(x: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    """The means over windows of rows (rows, n) that have `shift` zeros before and behind them."""
    out = means_like(x, window, shift)
    if out.numel():
        with torch.cuda.device_of(x):
            if window > LONGEST:
                return _by_scans(x, window, shift)
            rows, count = out.shape
            width = power_of_two(window, LONGEST)
            groups = triton.cdiv(count, window)
            together = power_of_two(rows * groups, TILE // width)
            kind = tl.float64 if accumulator(x.dtype) == torch.float64 else tl.float32
            for part, whole in zip(parts(x), parts(out), strict=True):
                extent = (count + 2 * window) * max(part.stride(1), 1)
                sum_windows[(triton.cdiv(rows * groups, together),)](
                    part, whole, rows, x.shape[1], count, window, shift, *part.stride(), whole.stride(1), groups,
                    GROUPS=together, WIDTH=width, ACCUMULATOR=kind, INDEX=tl.int32 if extent < 2**30 else tl.int64,
                    num_warps=8,
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
