"""moving_mean(x, window): the mean of each window of the last dimension, step 1."""

import functools

import numpy as np
import scipy
import torch

from opjury.contract import COMPLEX, FLOATING, Error, Gradient, implementation
from opjury.impls._triton import DEVICES, plain, rounded


def prefix_magnitude(x, window):
    """Differences of prefix sums err by the size of the whole prefixes, not by that of the window."""
    padded = np.concatenate([np.zeros((*x.shape[:-1], 1)), np.cumsum(x, axis=-1)], axis=-1)
    return (padded[..., window:] + padded[..., :-window]) / window


def prefix_terms(x, window):
    """The longest prefix, and what follows it."""
    return x.shape[-1] + 2


def transform_magnitude(x, window):
    """A transform spreads its error evenly: ‖x‖·‖weights‖ at every place (here with the larger 1-norm of x)."""
    return np.repeat(x.sum(axis=-1, keepdims=True) / window**0.5, x.shape[-1] - window + 1, axis=-1)


def transform_terms(x, window):
    """Three transforms of about n elements, some roundings for each of their levels."""
    return 12 * (np.log2(x.shape[-1]) + 3)


@implementation(
    "moving_mean", source="torch: Tensor.unfold and mean", gradient=Gradient(second=True, forward=True, vmap=True)
)
def unfold_mean(x, window):
    """The mean over a view of all windows. O(n·window) work. The backward pass also takes O(n·window) memory."""
    x, window = check_window(x, window)
    return x.unfold(-1, window, 1).mean(-1)


@implementation("moving_mean", source="torch: as_strided", gradient=Gradient(second=True, forward=True))
def strided_mean(x, window):
    """The mean over overlapping strides of the buffer. O(n·window) work. It needs a contiguous copy of other layouts."""
    x, window = check_window(x, window)
    x = x.resolve_conj().resolve_neg().contiguous()
    size = (*x.shape[:-1], x.shape[-1] - window + 1, window)
    return x.as_strided(size, (*x.stride(), x.stride(-1))).mean(-1)


@implementation(
    "moving_mean", source="torch: nn.functional.avg_pool1d", gradient=Gradient(second=True, forward=True, vmap=True)
)
def average_pool(x, window):
    """Pooling with stride 1, with complex numbers as two channels. O(n·window) work, O(n) memory."""
    x, window = check_window(x, window)
    rows, restore = real_rows(x)
    return restore(torch.nn.functional.avg_pool1d(rows[:, None], window, 1)[:, 0])


@implementation(
    "moving_mean", source="torch: nn.functional.conv1d", gradient=Gradient(second=True, forward=True, vmap=True)
)
def ones_convolution(x, window):
    """Convolution with ones, then a division. O(n·window) work, O(n) memory for most back ends."""
    x, window = check_window(x, window)
    rows, restore = real_rows(x.to(accumulator(x.dtype)))
    ones = torch.ones((1, 1, window), dtype=rows.dtype, device=rows.device)
    return restore(torch.nn.functional.conv1d(rows[:, None], ones)[:, 0] / window).to(x.dtype)


@implementation(
    "moving_mean",
    source="question 2, moved to fixed windows",
    error=Error(magnitude=prefix_magnitude, terms=prefix_terms, worst="after 1e8: 0 for 1"),
    waives={
        "specials": "a NaN before a window reaches it through the prefix sum",
        "locality": "a NaN before a window reaches it through the prefix sum",
    },
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def prefix_sum_difference(x, window):
    """Difference of two prefix sums. O(n) work and memory for any window. It errs by the size of the whole prefix."""
    x, window = check_window(x, window)
    total = torch.nn.functional.pad(x.cumsum(-1, dtype=accumulator(x.dtype)), (1, 0))
    return ((total[..., window:] - total[..., :-window]) / window).to(x.dtype)


@implementation(
    "moving_mean",
    source="Blelloch, Prefix sums and their applications (1990): pointer jumping",
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def doubling_shifts(x, window):
    """Sums over 2, 4, 8, … elements by shifted additions, put together for the bits of the window. O(n·log window)."""
    x, window = check_window(x, window)
    return mean_by_doubling(x.to(accumulator(x.dtype)), window).to(x.dtype)


@implementation(
    "moving_mean",
    source="the adjoint of a moving mean is one of the padded gradient",
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def doubling_both_ways(x, window):
    """Sums by doubling, of x and, in backward, of the incoming gradient padded on both sides. O(n·log window), O(n) memory both ways."""
    x, window = check_window(x, window)
    return window_means().apply(x.to(accumulator(x.dtype)), window).to(x.dtype)


@implementation(
    "moving_mean",
    source="van Herk (1992) and Gil & Werman (1993): running extrema by blocks, here for sums",
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def block_suffix_and_prefix(x, window):
    """Blocks of one window: each window is the end of a block and the start of the next. O(n) work, no subtraction."""
    x, window = check_window(x, window)
    n, count = x.shape[-1], x.shape[-1] - window + 1
    padded = torch.nn.functional.pad(x, (0, -n % window + window)).to(accumulator(x.dtype))
    blocks = padded.unflatten(-1, (-1, window))
    starts = blocks.cumsum(-1).flatten(-2)[..., window - 1 : window - 1 + count]
    ends = blocks.flip(-1).cumsum(-1).flip(-1)
    inner = torch.arange(window, device=x.device) > 0  # a window at a block's start is that block: counted once
    ends = torch.where(inner, ends, 0).flatten(-2)[..., :count]
    return ((starts + ends) / window).to(x.dtype)


@implementation(
    "moving_mean",
    source="van Herk (1992) and Gil & Werman (1993), in one Triton kernel",
    gradient=Gradient(second=True),
    devices=DEVICES,
    dtypes=rounded(*FLOATING, *COMPLEX),
    requires="triton",
    asynchronous=True,
)
def block_kernel(x, window):
    """The ends and the starts of blocks of one window, scanned where they are read. O(n) work. Windows beyond a tile take two scans."""
    from opjury.impls.cumsum._triton_moving_mean import means

    x, window = check_window(x, window)
    rows = means(plain(x).reshape(x.shape[:-1].numel(), x.shape[-1]), window, 0)
    return rows.reshape(*x.shape[:-1], rows.shape[-1])


@implementation(
    "moving_mean",
    source="convolution theorem",
    error=Error(magnitude=transform_magnitude, terms=transform_terms, worst="1e8 elsewhere in the row: 2 for 1"),
    waives={
        "specials": "a transform spreads NaN and inf everywhere",
        "locality": "a transform spreads NaN, and rounding, everywhere",
    },
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def fft_convolution(x, window):
    """Product of the transforms of x and of ones. O(n·log n) for any window. It errs by the norm of all of x."""
    x, window = check_window(x, window)
    if not x.numel():
        return x[..., window - 1 :] / window
    rows, restore = real_rows(x.to(accumulator(x.dtype)))
    length = scipy.fft.next_fast_len(x.shape[-1], True)  # what wraps around stays before the first window's sum
    ones = torch.ones(window, dtype=rows.dtype, device=rows.device)
    product = torch.fft.rfft(rows, length) * torch.fft.rfft(ones, length)
    sums = torch.fft.irfft(product, length)[..., window - 1 : x.shape[-1]]
    return restore(sums / window).to(x.dtype)


@implementation(
    "moving_mean",
    source="common: differences of np.cumsum, in the dtype of x and by the error bound of a mean",
    refuted={
        "agreement": "the size of the whole prefix is rounded away",
        "gradient": "the same, from the other side",
        "specials": "a NaN reaches every later window",
        "locality": "a NaN reaches every later window",
    },
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def rounded_prefix_sums(x, window):
    """Prefix sums kept in the dtype of x. O(n). 2048 + 1 = 2048 in float16."""
    x, window = check_window(x, window)
    total = x.cumsum(-1)
    sums = torch.cat([total[..., window - 1 : window], total[..., window:] - total[..., :-window]], -1)
    return sums / window


def mean_by_doubling(x, window):
    """The means of all windows, from sums over 2, 4, 8, … elements."""
    power, length, total, done = x, 1, None, 0
    count = x.shape[-1] - window + 1
    while length <= window:
        if window & length:
            part = power[..., done : done + count]
            total, done = (part if total is None else total + part), done + length
        if 2 * length <= window:
            power = power[..., :-length] + power[..., length:]
        length *= 2
    return total / window


@functools.cache
def window_means():
    """The autograd function of `doubling_both_ways`, defined when it is first needed because it derives from torch's."""

    class WindowMeans(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x, window):
            return mean_by_doubling(x, window)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.window = inputs[1]

        @staticmethod
        def backward(ctx, weight):
            room = (ctx.window - 1, ctx.window - 1)
            return WindowMeans.apply(torch.nn.functional.pad(weight, room), ctx.window), None

        @staticmethod
        def jvp(ctx, tangent, _):
            return WindowMeans.apply(tangent, ctx.window)

    return WindowMeans


def accumulator(dtype):
    """float32 for half types, the dtype itself for others."""
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def real_rows(x):
    """x as real rows (rows, n), complex numbers as two rows, and the way back for a result in this form."""
    batch = x.shape[:-1]
    if not x.is_complex():
        return x.reshape(batch.numel(), x.shape[-1]), lambda rows: rows.reshape(*batch, rows.shape[-1])
    parts = torch.stack([x.real, x.imag])
    rows = parts.reshape(2 * batch.numel(), x.shape[-1])
    return rows, lambda rows: torch.complex(*rows.reshape(2, *batch, rows.shape[-1]).unbind(0))


def check_window(x, window):
    """x and the window as an int.

    Raises
    ------
    ValueError
        For a window that does not fit.
    """
    n = x.shape[-1]
    if not 1 <= window <= n:
        raise ValueError(f"window is {window} for {n} elements; expected 1 <= window <= {n}")
    return x, int(window)
