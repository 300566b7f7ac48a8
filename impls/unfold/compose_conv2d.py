"""compose_conv2d(first, second): the kernel of two unpadded convolutions of stride 1 in a row.

Below, k1 and k2 are the numbers of elements of one channel of the kernels, K that of the result: O·I·M·k1·k2 products are needed.
"""

import numpy as np
import torch

from opjury.contract import Error, Gradient, implementation
from opjury.impls.unfold._transforms import images_of, spectrum

QUESTION = "question 9: is convolution associative in torch?"
ALL = Gradient(second=True, forward=True, vmap=True)
PADDED = {
    "specials": "NaN and inf of the second kernel are multiplied by the zeros around the first",
    "locality": "NaN and inf of the second kernel are multiplied by the zeros around the first",
}


def whole_magnitude(first, second):
    """Transforms err by the size of whole kernels, not by that of the overlap."""
    total = np.einsum("om,mi->oi", np.abs(second).sum(axis=(2, 3)), np.abs(first).sum(axis=(2, 3)))
    sides = (first.shape[2] + second.shape[2] - 1, first.shape[3] + second.shape[3] - 1)
    return np.broadcast_to(total[:, :, None, None], (*total.shape, *sides))


def transform_terms(first, second):
    """Three transforms of logarithmic depth, and the sum over the middle channels."""
    size = (first.shape[2] + second.shape[2]) * (first.shape[3] + second.shape[3])
    return 10 * np.log2(size) + first.shape[0] + 10


@implementation("compose_conv2d", source=QUESTION, gradient=ALL, waives=PADDED)
def torch_conv2d_flipped(first, second):
    """conv2d of the first kernel, padded all round, with the second one mirrored. O(O·I·M·k2·K) work.

    Mirrored, because conv2d is a cross-correlation: that alone is not associative.
    """
    height, width = check_kernels(first, second)
    padding = (height - first.shape[2], width - first.shape[3])
    return torch.nn.functional.conv2d(first.transpose(0, 1), second.flip(2, 3), padding=padding).transpose(0, 1)


@implementation(
    "compose_conv2d",
    source=QUESTION,
    gradient=ALL,
    error=Error(accumulates="input", worst="half types: 2048 + 1 + 1 = 2048"),
    waives={"specials": {"cpu": "half types: NaN was seen where an infinity is right"}},
)
def torch_conv_transpose2d(first, second):
    """The transpose of a convolution mirrors the kernel by itself. O(O·I·M·k1·k2) work.

    On CPUs, half types are added up in the half type itself.
    """
    check_kernels(first, second)
    return torch.nn.functional.conv_transpose2d(second, first)


@implementation(
    "compose_conv2d",
    source="convolution theorem",
    error=Error(magnitude=whole_magnitude, terms=transform_terms, worst="1e8 elsewhere in a kernel: 0.5 for 1"),
    waives={
        "specials": "a transform spreads NaN and inf over the whole kernel",
        "locality": "a transform spreads NaN and inf, and rounding residues of the gradient, over the whole kernel",
    },
    gradient=ALL,
)
def fft(first, second):
    """Multiply the transforms, summing over the middle channels. O((I·M + O·M + O·I)·K·log + O·I·M·K) work.

    Errs by the size of whole kernels, not by that of one overlap.
    """
    size = check_kernels(first, second)
    wide = torch.float32 if first.dtype in (torch.float16, torch.bfloat16) else first.dtype
    both = torch.einsum("omhw,mihw->oihw", spectrum(second.to(wide), size), spectrum(first.to(wide), size))
    return images_of(both, size, real=not first.is_complex()).to(first.dtype)


@implementation(
    "compose_conv2d",
    source="definition",
    gradient=ALL,
    error=Error(accumulates="input", worst="half types: 2048 + 1 + 1 = 2048"),
)
def shifted_einsum(first, second):
    """Add up k2 shifted copies of the first kernel, each with one element of the second. O(O·I·M·k1·k2 + k2·O·I·K) work.

    Half types are added up in the half type itself.
    """
    height, width = check_kernels(first, second)
    out = None
    for a in range(second.shape[2]):
        for b in range(second.shape[3]):
            part = torch.einsum("om,mihw->oihw", second[:, :, a, b], first)
            rim = (b, width - first.shape[3] - b, a, height - first.shape[2] - a)
            part = torch.nn.functional.pad(part, rim)
            out = part if out is None else out + part
    return out.contiguous()


@implementation("compose_conv2d", source="torch.nn.functional.unfold and matmul", gradient=ALL, waives=PADDED)
def unfold_then_matmul(first, second):
    """Windows of the padded first kernel as columns, times the mirrored second. O(O·I·M·k2·K) work, O(I·M·k2·K) memory."""
    size = check_kernels(first, second)
    rim = (size[0] - first.shape[2], size[1] - first.shape[3])
    seen = torch.nn.functional.unfold(first.transpose(0, 1), tuple(second.shape[2:]), padding=rim)
    return (second.flip(2, 3).flatten(1) @ seen).unflatten(2, size).transpose(0, 1).contiguous()


@implementation(
    "compose_conv2d",
    source=QUESTION + ", lifting to doubly block Toeplitz matrices",
    gradient=ALL,
    waives={
        "specials": "NaN and inf are multiplied by the zeros of the matrix",
        "locality": "NaN and inf are multiplied by the zeros of the matrix",
    },
)
def doubly_block_toeplitz(first, second):
    """Write the kernel with more elements as matrices, multiply by the other one's vectors. O(O·I·M·K·min(k1, k2)) work.

    O(M·(I or O)·K·min(k1, k2)) memory.
    """
    size = check_kernels(first, second)
    if first[0, 0].numel() >= second[0, 0].numel():
        out = torch.einsum("mikv,omv->oik", toeplitz_matrices(first, second.shape[2:]), second.flatten(2))
    else:
        out = torch.einsum("omkv,miv->oik", toeplitz_matrices(second, first.shape[2:]), first.flatten(2))
    return out.reshape(*out.shape[:2], *size).contiguous()


@implementation(
    "compose_conv2d",
    source=QUESTION,
    refuted={
        "agreement": "the second kernel is not mirrored: right only for symmetric ones",
        "specials": "NaN and inf appear at mirrored places",
        "gradient": "the gradient is that of the wrong composition",
        "locality": "dependence is mirrored, too",
        "laws": "two convolutions in a row are not the composed one",
    },
)
def torch_conv2d_unflipped(first, second):
    """conv2d of the first kernel, padded all round, with the second one as it is: composes correlations wrongly."""
    height, width = check_kernels(first, second)
    padding = (height - first.shape[2], width - first.shape[3])
    return torch.nn.functional.conv2d(first.transpose(0, 1), second, padding=padding).transpose(0, 1)


def check_kernels(first, second):
    """Height and width of the composed kernel.

    Raises
    ------
    TypeError
        If a kernel is not four-dimensional.
    ValueError
        If the middle channels do not match.
    """
    for name, kernel in (("first", first), ("second", second)):
        if kernel.ndim != 4:
            raise TypeError(f"{name} has shape {tuple(kernel.shape)}; expected (outputs, inputs, height, width)")
    if first.shape[0] != second.shape[1]:
        raise ValueError(
            f"first has {first.shape[0]} output channels, second {second.shape[1]} input channels; expected as many"
        )
    return first.shape[2] + second.shape[2] - 1, first.shape[3] + second.shape[3] - 1


def toeplitz_matrices(kernels, sides):
    """(…, p, q) → (…, elements of the full convolution, elements of the other factor with these sides)."""
    (p, q), (r, s) = kernels.shape[-2:], sides
    room = torch.nn.functional.pad(kernels, (s - 1, s - 1, r - 1, r - 1))
    down, across = (torch.arange(length, device=kernels.device) for length in (p + r - 1, q + s - 1))
    rows = down[:, None] + (r - 1) - torch.arange(r, device=kernels.device)
    columns = across[:, None] + (s - 1) - torch.arange(s, device=kernels.device)
    return room[..., rows[:, None, :, None], columns[None, :, None, :]].flatten(-2).flatten(-3, -2)
