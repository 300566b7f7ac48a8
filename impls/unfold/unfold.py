"""unfold(x, kernel_size, dilation=1, padding=0, stride=1): every window of an image as a column.

Below, k is the number of elements of a kernel, L that of windows. The result has N·C·k·L elements, and nobody does with less work.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, Gradient, implementation
from opjury.impls._triton import DEVICES, plain, rounded
from opjury.impls.unfold._geometry import check_windows, padded, shifted, strided_windows

ALL = Gradient(second=True, forward=True, vmap=True)


@implementation("unfold", source="torch.nn.functional.unfold", gradient=ALL)
def torch_unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """The library's own im2col. O(result) work and memory."""
    kernel, dilation, padding, stride, _ = check_windows(x, kernel_size, dilation, padding, stride)
    return torch.nn.functional.unfold(x, kernel, dilation, padding, stride)


@implementation("unfold", source="torch.Tensor.unfold", gradient=ALL)
def tensor_unfold_twice(x, kernel_size, dilation=1, padding=0, stride=1):
    """Windows of rows, then of columns, each thinned out by the dilation, with one copy at the end. O(result) work and memory."""
    kernel, dilation, padding, stride, _ = check_windows(x, kernel_size, dilation, padding, stride)
    seen = padded(x, padding)
    for dim in (0, 1):
        seen = seen.unfold(2 + dim, (kernel[dim] - 1) * dilation[dim] + 1, stride[dim])[..., :: dilation[dim]]
    return columns(seen.permute(0, 1, 4, 5, 2, 3))


@implementation("unfold", source="torch.Tensor.as_strided", gradient=ALL)
def strided_view(x, kernel_size, dilation=1, padding=0, stride=1):
    """One view with a stride for each of the six dimensions, with one copy at the end. O(result) work and memory."""
    kernel, dilation, padding, stride, counts = check_windows(x, kernel_size, dilation, padding, stride)
    return columns(strided_windows(padded(x, padding), kernel, dilation, stride, counts))


@implementation("unfold", source="Linux: transparent huge pages", gradient=ALL, devices=("cpu",))
def windows_into_large_pages(x, kernel_size, dilation=1, padding=0, stride=1):
    """The strided view of all windows copied into pages of 2 MiB. In backward, one addition for each element of the kernel.

    O(result) work, no memory beside the result and the padded image.
    """
    from opjury.impls.unfold._windows import Windows

    kernel, dilation, padding, stride, counts = check_windows(x, kernel_size, dilation, padding, stride)
    windows = Windows.apply(padded(x, padding), kernel, dilation, stride, counts)
    return windows.flatten(4).flatten(1, 3)


@implementation("unfold", source="advanced indexing", gradient=ALL)
def broadcasted_index(x, kernel_size, dilation=1, padding=0, stride=1):
    """Index rows and columns by sums of kernel and window positions. O(result) work and memory, with index arithmetic."""
    kernel, dilation, padding, stride, counts = check_windows(x, kernel_size, dilation, padding, stride)
    rows, across = positions(kernel, dilation, stride, counts, x.device)
    return columns(padded(x, padding)[:, :, rows[:, None, :, None], across[None, :, None, :]])


@implementation("unfold", source="torch.gather", gradient=ALL)
def gather(x, kernel_size, dilation=1, padding=0, stride=1):
    """Gather from the flat image. O(result) work and memory. The index, k·L long, is expanded."""
    kernel, dilation, padding, stride, counts = check_windows(x, kernel_size, dilation, padding, stride)
    image = padded(x, padding)
    rows, across = positions(kernel, dilation, stride, counts, x.device)
    flat = (rows[:, None, :, None] * image.shape[3] + across[None, :, None, :]).reshape(-1)
    taken = image.flatten(2).gather(2, flat.expand(*image.shape[:2], flat.numel()))
    return taken.reshape(x.shape[0], x.shape[1] * kernel[0] * kernel[1], counts[0] * counts[1])


@implementation("unfold", source="one strided slice for each element of the kernel", gradient=ALL)
def stack_of_slices(x, kernel_size, dilation=1, padding=0, stride=1):
    """Stack the k slices of the image that the elements of the kernel meet. O(result) work and memory, k calls."""
    kernel, dilation, padding, stride, counts = check_windows(x, kernel_size, dilation, padding, stride)
    image = padded(x, padding)
    places = [(a, b) for a in range(kernel[0]) for b in range(kernel[1])]
    stacked = torch.stack([shifted(image, place, dilation, stride, counts) for place in places], dim=2)
    return stacked.reshape(x.shape[0], x.shape[1] * len(places), counts[0] * counts[1])


@implementation(
    "unfold",
    source="convolution with one-hot kernels",
    gradient=ALL,
    waives={
        "specials": "NaN and inf are multiplied by the zeros of the one-hot kernels, and −0 is added to 0",
        "locality": "NaN and inf are multiplied by the zeros of the one-hot kernels",
    },
)
def one_hot_convolution(x, kernel_size, dilation=1, padding=0, stride=1):
    """conv2d of every channel with k kernels that have a single one. O(result·k) work, O(result) memory.

    Spreads NaN and inf over every window that contains them. Real and imaginary parts go separately.
    """
    kernel, dilation, padding, stride, counts = check_windows(x, kernel_size, dilation, padding, stride)
    if x.is_complex():
        arguments = (kernel, dilation, padding, stride)
        return torch.complex(one_hot_convolution(x.real, *arguments), one_hot_convolution(x.imag, *arguments))
    count = kernel[0] * kernel[1]
    ones = torch.eye(count, dtype=x.dtype, device=x.device).reshape(count, 1, *kernel)
    single = x.reshape(x.shape[0] * x.shape[1], 1, *x.shape[2:])
    found = torch.nn.functional.conv2d(single, ones, stride=stride, padding=padding, dilation=dilation)
    return found.reshape(x.shape[0], x.shape[1] * count, counts[0] * counts[1])


@implementation(
    "unfold",
    source="Triton: each element from its pixel",
    gradient=Gradient(second=True),
    devices=DEVICES,
    dtypes=rounded(*FLOATING, *COMPLEX),
    requires="triton",
    asynchronous=True,
)
def window_kernel(x, kernel_size, dilation=1, padding=0, stride=1):
    """A Triton kernel that writes every element once, from an image in any layout. In backward, each pixel adds what shows it.

    O(result) work, no memory beside the result; no atomics in backward.
    """
    from opjury.impls.unfold._triton_unfold import columns as written

    kernel, dilation, padding, stride, _ = check_windows(x, kernel_size, dilation, padding, stride)
    return written(plain(x), kernel, dilation, padding, stride)


@implementation(
    "unfold",
    source="numpy.lib.stride_tricks.sliding_window_view",
    gradient=None,
    devices=("cpu",),
    dtypes=("float16", "float32", "float64", "complex64", "complex128"),
)
def numpy_sliding_window_view(x, kernel_size, dilation=1, padding=0, stride=1):
    """NumPy's windows, thinned out by dilation and stride, with one copy. O(result) work and memory."""
    kernel, dilation, padding, stride, _ = check_windows(x, kernel_size, dilation, padding, stride)
    image = padded(x.detach(), padding).resolve_conj().resolve_neg().numpy()
    extent = [(side - 1) * step + 1 for side, step in zip(kernel, dilation, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(image, extent, axis=(2, 3))
    seen = seen[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]].transpose(0, 1, 4, 5, 2, 3)
    n, c, height, width, down, across = seen.shape
    return torch.from_numpy(np.array(seen, order="C").reshape(n, c * height * width, down * across))


def columns(seen):
    """(N, C, h, w, rows, columns) → (N, C·h·w, rows·columns), never a view of the image."""
    n, c, height, width, down, across = seen.shape
    return seen.clone(memory_format=torch.contiguous_format).view(n, c * height * width, down * across)


def positions(kernel, dilation, stride, counts, device):
    """Rows (h, rows) and columns (w, columns) of the padded image, by position in the kernel and of the window."""
    return tuple(
        torch.arange(side, device=device)[:, None] * step + torch.arange(count, device=device) * move
        for side, step, move, count in zip(kernel, dilation, stride, counts, strict=True)
    )
