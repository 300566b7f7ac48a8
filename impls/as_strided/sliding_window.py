"""sliding_window(x, size, step=1): out[…, w, k] = x[…, w·step + k], all windows along the last dimension."""

import operator

import numpy as np
import torch

from opjury.contract import Gradient, implementation


@implementation(
    "sliding_window", source="torch.Tensor.unfold", gradient=Gradient(second=True, forward=True, vmap=True), view=True
)
def tensor_unfold(x, size, step=1):
    """Tensor.unfold: a view.

    O(1) work and memory. In backward O(x + result).
    """
    size, step, _ = check_window(x, size, step)
    return x.unfold(-1, size, step)


@implementation(
    "sliding_window", source="torch.as_strided", gradient=Gradient(second=True, forward=True, vmap=True), view=True
)
def strided_view(x, size, step=1):
    """torch.as_strided with the last stride twice, once times the step: a view, but for the copy of an x that is not contiguous.

    O(1) work and memory for contiguous x. In backward O(x + result), by scattered addition: slower than that of Tensor.unfold.
    """
    size, step, windows = check_window(x, size, step)
    x = x.contiguous()
    *batch, last = x.stride()
    return x.as_strided((*x.shape[:-1], windows, size), (*batch, last * step, last), x.storage_offset())


@implementation(
    "sliding_window",
    source="NumPy: broadcasting and advanced indexing",
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def broadcasted_index(x, size, step=1):
    """Advanced indexing of the last dimension by start + offset.

    O(result) work; an index of 8 bytes for each element of one row. In backward the index is sorted.
    """
    size, step, windows = check_window(x, size, step)
    return x[..., window_indices(size, step, windows, x.device)]


@implementation("sliding_window", source="torch.gather", gradient=Gradient(second=True, forward=True, vmap=True))
def gather(x, size, step=1):
    """torch.gather along the last dimension, by one row of indices expanded to the batch.

    O(result) work; an index of 8 bytes for each element of one row.
    """
    size, step, windows = check_window(x, size, step)
    index = window_indices(size, step, windows, x.device).flatten().expand(*x.shape[:-1], -1)
    return x.gather(-1, index).unflatten(-1, (windows, size))


@implementation(
    "sliding_window", source="shifted slices, stacked", gradient=Gradient(second=True, forward=True, vmap=True)
)
def stacked_shifts(x, size, step=1):
    """One strided slice for each place in the window, stacked in the last dimension.

    O(result) work and memory, `size` calls; in backward O(size·x), a full gradient for each slice.
    """
    size, step, windows = check_window(x, size, step)
    span = (windows - 1) * step + 1
    return torch.stack([x[..., k : k + span : step] for k in range(size)], -1)


@implementation(
    "sliding_window",
    source="torch.nn.functional.unfold",
    dtypes=("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def im2col(x, size, step=1):
    """torch.nn.functional.unfold of images that are one pixel high, transposed.

    O(result) work and memory. Not for integers, of which im2col has none.
    """
    size, step, windows = check_window(x, size, step)
    columns = torch.nn.functional.unfold(x.reshape(-1, 1, 1, x.shape[-1]), (1, size), stride=(1, step))
    return columns.mT.reshape(*x.shape[:-1], windows, size)


def few_products(x, size, step=1):
    """Up to 2³⁰ products, which take a second in half types."""
    return x.size * size * size <= 2**30 * max(step, 1)


@implementation(
    "sliding_window",
    source="torch.nn.functional.conv1d with an identity kernel",
    domain=few_products,
    dtypes=("float16", "float32", "float64"),  # bfloat16: its backward ends the process, see docs/findings.md
    devices=("cpu",),  # cuDNN rounds float32 to TF32
    gradient=Gradient(second=True, forward=True, vmap=True),
    waives={
        "specials": "0·inf and 0·NaN are NaN in all of a window, and −0 + 0 is 0",
        "locality": "0·inf and 0·NaN are NaN in all of a window",
    },
)
def one_hot_convolution(x, size, step=1):
    """Convolution with `size` kernels, each of which is 1 at one place and 0 elsewhere.

    O(result·size) work, O(result) memory. A non-finite element spoils its whole window, and −0 becomes 0. Not for complex
    numbers, whose convolution mixes real and imaginary parts and rounds.
    """
    size, step, windows = check_window(x, size, step)
    kernels = torch.eye(size, dtype=x.dtype, device=x.device).unsqueeze(1)
    columns = torch.nn.functional.conv1d(x.reshape(-1, 1, x.shape[-1]), kernels, stride=step)
    return columns.mT.reshape(*x.shape[:-1], windows, size)


@implementation("sliding_window", source="numpy.lib.stride_tricks.sliding_window_view", gradient=None, devices=("cpu",))
def numpy_sliding_window_view(x, size, step=1):
    """NumPy's sliding_window_view, every step-th window, copied.

    O(result) work and memory. Leaves autograd.
    """
    size, step, _ = check_window(x, size, step)
    plain = x.detach().resolve_conj().resolve_neg()
    wide = plain.to(torch.float32 if x.dtype == torch.bfloat16 else x.dtype)  # NumPy has no bfloat16
    view = np.lib.stride_tricks.sliding_window_view(wide.numpy(), size, axis=-1)
    return torch.from_numpy(view[..., ::step, :].copy()).to(x.dtype)


@implementation(
    "sliding_window",
    source="torch.as_strided with the strides of x",
    gradient=Gradient(),
    view=True,
    refuted={
        "gradient": "where elements of x share memory, each gets the mean of their gradients: an expanded (0, 0) gets (1, 1) for (2, 0)"
    },
)
def strides_of_x(x, size, step=1):
    """torch.as_strided with whatever strides x has, the last one twice: always a view.

    O(1) work and memory. torch.as_strided's backward cannot tell elements apart that lie in one place.
    """
    size, step, windows = check_window(x, size, step)
    *batch, last = x.stride()
    return x.as_strided((*x.shape[:-1], windows, size), (*batch, last * step, last), x.storage_offset())


def window_indices(size, step, windows, device):
    """w·step + k for each window w and each place k in it."""
    starts = torch.arange(windows, device=device) * step
    return starts[:, None] + torch.arange(size, device=device)


def check_window(x, size, step):
    """Size and step as plain integers, and the number of windows.

    Raises
    ------
    ValueError
        Naming the argument, its value and the rule.
    """
    size, step = operator.index(size), operator.index(step)
    if x.ndim == 0:
        raise ValueError("x has no dimensions; windows need a last one")
    n = x.shape[-1]
    if not 1 <= size <= n:
        raise ValueError(f"size is {size}; a last dimension of {n} has windows of 1 <= size <= {n}")
    if step < 1:
        raise ValueError(f"step is {step}; expected step >= 1")
    return size, step, (n - size) // step + 1
