"""conv2d(x, weight, stride=1, padding=0, dilation=1): cross-correlation of images with kernels.

Below, k is the number of elements of a kernel's channel, L that of windows: N·O·C·k·L products are needed.
"""

import numpy as np
import torch

from opjury.contract import Error, Gradient, implementation
from opjury.impls.unfold._geometry import check_windows, padded, shifted, strided_windows
from opjury.impls.unfold._transforms import images_of, spectrum

ALL = Gradient(second=True, forward=True, vmap=True)


def whole_magnitude(x, weight, stride=1, padding=0, dilation=1):
    """Transforms err by the size of whole images and kernels, not by that of one window."""
    rows, columns = (
        (length + 2 * rim - (side - 1) * step - 1) // move + 1
        for length, side, rim, step, move in zip(
            x.shape[2:], weight.shape[2:], *(np.broadcast_to(v, 2) for v in (padding, dilation, stride)), strict=True
        )
    )
    total = np.abs(x).sum(axis=(1, 2, 3))[:, None] * np.abs(weight).sum(axis=(1, 2, 3))
    return np.broadcast_to(total[:, :, None, None], (*total.shape, int(rows), int(columns)))


def transform_terms(x, weight, stride=1, padding=0, dilation=1):
    """Three transforms of logarithmic depth, and the sum over the channels."""
    return 10 * np.log2(2 + x.shape[2] * x.shape[3] + np.max(padding) ** 2) + x.shape[1] + 10


@implementation(
    "conv2d",
    source="torch.nn.functional.conv2d",
    gradient=ALL,
    waives={
        "specials": {"cpu": "oneDNN's bfloat16 kernels for one channel multiply the neighbours of a window by zeros"},
    },
)
def torch_conv2d(x, weight, stride=1, padding=0, dilation=1):
    """The library's own. O(N·O·C·k·L) work, the result's memory and what the backend needs.

    In bfloat16, on processors with instructions for it, NaN and inf reach windows beside those that contain them.
    """
    _, dilation, padding, stride, _ = check_arguments(x, weight, stride, padding, dilation)
    return torch.nn.functional.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation)


@implementation("conv2d", source="torch.nn.functional.unfold and matmul", gradient=ALL)
def unfold_then_matmul(x, weight, stride=1, padding=0, dilation=1):
    """Windows as columns, one matrix product. O(N·O·C·k·L) work, O(N·C·k·L) memory."""
    kernel, dilation, padding, stride, counts = check_arguments(x, weight, stride, padding, dilation)
    seen = torch.nn.functional.unfold(x, kernel, dilation, padding, stride)
    return (weight.flatten(1) @ seen).unflatten(2, counts)


@implementation("conv2d", source="torch.Tensor.as_strided and einsum", gradient=ALL)
def strided_view_then_einsum(x, weight, stride=1, padding=0, dilation=1):
    """Contract a strided view of the windows with the kernels. O(N·O·C·k·L) work. The view is copied by einsum, O(N·C·k·L) memory."""
    kernel, dilation, padding, stride, counts = check_arguments(x, weight, stride, padding, dilation)
    seen = strided_windows(padded(x, padding), kernel, dilation, stride, counts)
    return torch.einsum("nchwij,ochw->noij", seen, weight)


@implementation("conv2d", source="one strided slice for each element of the kernel", gradient=ALL)
def stack_then_matmul(x, weight, stride=1, padding=0, dilation=1):
    """Stack the slices that the elements of the kernel meet, one matrix product. O(N·O·C·k·L) work, O(N·C·k·L) memory."""
    kernel, dilation, padding, stride, counts = check_arguments(x, weight, stride, padding, dilation)
    image = padded(x, padding)
    places = [(a, b) for a in range(kernel[0]) for b in range(kernel[1])]
    seen = torch.stack([shifted(image, place, dilation, stride, counts) for place in places], dim=2)
    return (weight.flatten(1) @ seen.flatten(3).flatten(1, 2)).unflatten(2, counts)


@implementation(
    "conv2d",
    source="one strided slice for each element of the kernel",
    error=Error(accumulates="input", worst="half types: 2048 + 1 + 1 = 2048"),
    gradient=ALL,
)
def shift_and_accumulate(x, weight, stride=1, padding=0, dilation=1):
    """Add up k products of a slice with one element of all kernels. O(N·O·C·k·L) work, O(N·O·L) memory.

    Half types are added up in the half type itself.
    """
    kernel, dilation, padding, stride, counts = check_arguments(x, weight, stride, padding, dilation)
    image = padded(x, padding)
    out = None
    for a in range(kernel[0]):
        for b in range(kernel[1]):
            seen = shifted(image, (a, b), dilation, stride, counts)
            part = torch.einsum("nchw,oc->nohw", seen, weight[:, :, a, b])
            out = part if out is None else out + part
    return out.contiguous()


@implementation(
    "conv2d",
    source="convolution theorem",
    error=Error(magnitude=whole_magnitude, terms=transform_terms, worst="1e8 elsewhere in the image: 0.5 for 1"),
    waives={
        "specials": "a transform spreads NaN and inf over the whole image",
        "locality": "a transform spreads NaN and inf, and rounding residues of the gradient, over the whole image",
    },
    gradient=ALL,
)
def fft(x, weight, stride=1, padding=0, dilation=1):
    """Multiply the transforms of the padded image and the mirrored, dilated kernel, and keep the part that does not wrap around.

    O((N·C + O·C + N·O)·H·W·log + N·O·C·H·W) work whatever k, O((N·C + O·C)·H·W) memory. Errs by the size of the whole image.
    """
    kernel, dilation, padding, stride, counts = check_arguments(x, weight, stride, padding, dilation)
    if x.shape[0] == 0:
        return x.new_zeros((0, weight.shape[0], *counts))
    wide = torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype
    image, mirrored = padded(x, padding).to(wide), weight.flip(2, 3).to(wide)
    size = tuple(image.shape[2:])
    extents = [(side - 1) * step + 1 for side, step in zip(kernel, dilation, strict=True)]
    places = [torch.arange(side, device=x.device) * step for side, step in zip(kernel, dilation, strict=True)]
    spread = torch.eye(extents[0], device=x.device, dtype=wide)[:, places[0]] @ mirrored
    spread = spread @ torch.eye(extents[1], device=x.device, dtype=wide)[places[1]]
    both = torch.einsum("nchw,ochw->nohw", spectrum(image, size), spectrum(spread, size))
    whole = images_of(both, size, real=not x.is_complex())
    return (
        shifted(whole[:, :, extents[0] - 1 :, extents[1] - 1 :], (0, 0), (1, 1), stride, counts)
        .to(x.dtype)
        .contiguous()
    )


def small_matrix(x, weight, stride=1, padding=0, dilation=1):
    """The matrix has an entry for every pair of an input and an output element."""
    area = (x.shape[2] + 2 * np.max(padding)) * (x.shape[3] + 2 * np.max(padding))
    return bool(weight.shape[0] * weight.shape[1] * area**2 <= 2**22)


@implementation(
    "conv2d",
    source="doubly block Toeplitz matrix of the kernel",
    domain=small_matrix,
    waives={
        "specials": "NaN and inf are multiplied by the zeros of the matrix",
        "locality": "NaN and inf are multiplied by the zeros of the matrix",
    },
    gradient=ALL,
)
def doubly_block_toeplitz(x, weight, stride=1, padding=0, dilation=1):
    """The matrix that convolution is, written out, times the flat image. O(N·O·L·C·H·W) work, O(O·L·C·H·W) memory: small images only."""
    kernel, dilation, padding, stride, counts = check_arguments(x, weight, stride, padding, dilation)
    image = padded(x, padding)
    numbers = torch.arange(image.shape[1:].numel(), device=x.device).reshape(1, *image.shape[1:])
    met = strided_windows(numbers, kernel, dilation, stride, counts).reshape(-1, counts[0] * counts[1])
    places = met.T.expand(weight.shape[0], -1, -1)
    values = weight.flatten(1)[:, None, :].expand(places.shape)
    empty = torch.zeros((*places.shape[:2], numbers.numel()), dtype=x.dtype, device=x.device)
    matrix = empty.scatter(2, places, values).flatten(0, 1)
    return (image.flatten(1) @ matrix.T).reshape(x.shape[0], weight.shape[0], *counts)


def check_arguments(x, weight, stride, padding, dilation):
    """What `check_windows` gives, for a kernel whose channels are those of the image.

    Raises
    ------
    TypeError
        If the weight is not (O, C, h, w).
    ValueError
        If the channels do not match.
    """
    if weight.ndim != 4:
        raise TypeError(f"weight has shape {tuple(weight.shape)}; expected (O, C, h, w)")
    checked = check_windows(x, tuple(weight.shape[2:]), dilation, padding, stride)
    if x.shape[1] != weight.shape[1]:
        raise ValueError(f"x has {x.shape[1]} channels, weight {weight.shape[1]}; expected as many")
    return checked
