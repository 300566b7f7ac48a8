"""convolve2d(a, b): the full two-dimensional convolution of two matrices.

Below, A and B are the numbers of elements of the factors, K that of the result: A·B products are needed.
"""

import numpy as np
import scipy
import torch

from opjury.contract import Error, Gradient, implementation

QUESTION = "question 9: is convolution associative in torch?"
ALL = Gradient(second=True, forward=True, vmap=True)


def whole_magnitude(a, b):
    """Transforms err by the size of whole matrices, not by that of the overlap."""
    shape = (a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1)
    return np.broadcast_to(np.abs(a).sum() * np.abs(b).sum(), shape)


def transform_terms(a, b):
    """Three transforms of logarithmic depth."""
    return 10 * np.log2((a.shape[0] + b.shape[0]) * (a.shape[1] + b.shape[1])) + 10


@implementation(
    "convolve2d",
    source=QUESTION,
    gradient=ALL,
    waives={
        "specials": "NaN and inf of the second matrix are multiplied by the zeros around the first",
        "locality": "NaN and inf of the second matrix are multiplied by the zeros around the first",
    },
)
def torch_conv2d_flipped(a, b):
    """conv2d of the first matrix, padded all round, with the second one mirrored. O(B·K) work, the backend's memory."""
    check_matrices(a, b)
    padding = (b.shape[0] - 1, b.shape[1] - 1)
    return torch.nn.functional.conv2d(a[None, None], b.flip(0, 1)[None, None], padding=padding)[0, 0]


@implementation(
    "convolve2d",
    source="torch.nn.functional.fold",
    gradient=ALL,
    error=Error(accumulates="input", worst="half types: 2048 + 1 + 1 = 2048"),
)
def outer_product_scatter(a, b):
    """All products of an element with an element, folded to where they belong. O(A·B) work and memory.

    Half types are added up in the half type itself.
    """
    size = check_matrices(a, b)
    products = b.reshape(-1, 1) * a.reshape(1, -1)
    return torch.nn.functional.fold(products[None], size, tuple(b.shape))[0, 0]


@implementation(
    "convolve2d",
    source="definition",
    gradient=ALL,
    error=Error(accumulates="input", worst="half types: 2048 + 1 + 1 = 2048"),
)
def shift_and_accumulate(a, b):
    """Add up copies of the larger matrix, shifted and multiplied by one element of the smaller. O(min(A, B)·K) work, O(K) memory.

    Half types are added up in the half type itself.
    """
    height, width = check_matrices(a, b)
    large, small = (a, b) if a.numel() >= b.numel() else (b, a)
    out = None
    for i in range(small.shape[0]):
        for j in range(small.shape[1]):
            rim = (j, width - large.shape[1] - j, i, height - large.shape[0] - i)
            part = torch.nn.functional.pad(large * small[i, j], rim)
            out = part if out is None else out + part
    return out.contiguous()


@implementation(
    "convolve2d",
    source="convolution theorem",
    error=Error(magnitude=whole_magnitude, terms=transform_terms, worst="1e8 elsewhere in a matrix: 0.5 for 1"),
    waives={
        "specials": "a transform spreads NaN and inf over the whole matrix",
        "locality": "a transform spreads NaN and inf, and rounding residues of the gradient, over the whole matrix",
    },
    gradient=ALL,
)
def fft(a, b):
    """Multiply the transforms, along rows and then along columns: those of both at once are slower for a real inverse.

    O(K·log K) work and O(K) memory. Errs by the size of whole matrices, not by that of one overlap.
    """
    height, width = check_matrices(a, b)
    wide = torch.promote_types(a.dtype, torch.float32)
    along_rows, back = (torch.fft.fft, torch.fft.ifft) if a.is_complex() else (torch.fft.rfft, torch.fft.irfft)
    down, across = (scipy.fft.next_fast_len(side, not a.is_complex()) for side in (height, width))
    spectra = (torch.fft.fft(along_rows(matrix.to(wide), across), down, dim=0) for matrix in (a, b))
    product = torch.fft.ifft(next(spectra) * next(spectra), dim=0)[:height]
    return back(product, across)[:, :width].to(a.dtype)


@implementation(
    "convolve2d",
    source=QUESTION + ", lifting to doubly block Toeplitz matrices",
    gradient=ALL,
    waives={
        "specials": "NaN and inf are multiplied by the zeros of the matrix",
        "locality": "NaN and inf are multiplied by the zeros of the matrix",
    },
)
def doubly_block_toeplitz(a, b):
    """The matrix M of the larger factor times the vector of the smaller one. O(min(A, B)·K) work and memory."""
    height, width = check_matrices(a, b)
    large, small = (a, b) if a.numel() >= b.numel() else (b, a)
    (r, s) = small.shape
    room = torch.nn.functional.pad(large, (s - 1, s - 1, r - 1, r - 1))
    rows = torch.arange(height, device=a.device)[:, None] + (r - 1) - torch.arange(r, device=a.device)
    columns = torch.arange(width, device=a.device)[:, None] + (s - 1) - torch.arange(s, device=a.device)
    matrix = room[rows[:, None, :, None], columns[None, :, None, :]].reshape(height * width, r * s)
    return (matrix @ small.reshape(-1)).reshape(height, width)


@implementation(
    "convolve2d",
    source="scipy.signal.convolve2d",
    gradient=None,
    devices=("cpu",),
    dtypes=("float32", "float64", "complex64", "complex128"),
    waives={
        "specials": "NaN and inf of the smaller matrix are multiplied by the fill value around the larger",
        "locality": "NaN and inf of the smaller matrix are multiplied by the fill value around the larger",
    },
)
def scipy_convolve2d(a, b):
    """SciPy's direct sum. O(A·B) work, O(K) memory."""
    check_matrices(a, b)
    arrays = (matrix.detach().cpu().resolve_conj().resolve_neg().numpy() for matrix in (a, b))
    return torch.from_numpy(scipy.signal.convolve2d(*arrays)).to(a.device)


def check_matrices(a, b):
    """Height and width of the full convolution.

    Raises
    ------
    ValueError
        If an argument is not two-dimensional, or empty.
    """
    for name, matrix in (("a", a), ("b", b)):
        if matrix.ndim != 2 or matrix.numel() == 0:
            raise ValueError(
                f"{name} has shape {tuple(matrix.shape)}; expected a matrix with at least one row and one column"
            )
    return a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1
