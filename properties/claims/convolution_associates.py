"""Question 9: is convolution associative in torch? conv2d(conv2d(x, a), b) differs from conv2d(x, conv2d(a, b))."""

import numpy as np
import scipy
import torch

import opjury
from opjury.contract import claim

QUESTION = "9. Is convolution associative in torch?"


def integers(*shape, seed=0):
    """Small integers, for which convolutions in float64 are exact."""
    return torch.from_numpy(np.random.default_rng(seed).integers(-3, 4, shape).astype(float))


@claim(QUESTION, "the difference comes from batching and channels", expected="refuted")
def batching_is_to_blame():
    x, a, b = integers(1, 1, 8, 8), integers(1, 1, 3, 3, seed=1), integers(1, 1, 3, 3, seed=2)
    conv = torch.nn.functional.conv2d
    gap = (conv(conv(x, a), b) - conv(x, conv(a, b, padding=2))).abs().max().item()
    return gap == 0, f"one image, one channel: still differs by {gap:g}; smallest: x=[1], a=b=[1, 0] in one dimension"


@claim(QUESTION, "conv2d is cross-correlation: with the second kernel flipped, composition agrees", expected="holds")
def flipping_composes():
    conv = torch.nn.functional.conv2d
    x, a, b = integers(2, 3, 9, 9), integers(4, 3, 3, 3, seed=1), integers(5, 4, 2, 3, seed=2)
    composed = opjury.get("compose_conv2d", "torch_conv2d_flipped")(a, b)
    gap = (conv(conv(x, a), b) - conv(x, composed)).abs().max().item()
    return gap == 0, f"3 → 4 → 5 channels, integers in float64: differs by {gap:g}"


@claim(QUESTION, "conv_transpose2d composes the kernels directly", expected="holds")
def transposed_convolution_composes():
    a, b = integers(4, 3, 3, 3, seed=1), integers(5, 4, 2, 3, seed=2)
    first, second = (
        opjury.get("compose_conv2d", name)(a, b) for name in ("torch_conv2d_flipped", "torch_conv_transpose2d")
    )
    return torch.equal(first, second), f"equal: {torch.equal(first, second)}"


def associativity(mode, boundary="fill"):
    """The largest difference between the two orders of three convolutions."""
    a, b, c = (integers(5, 5, seed=seed).numpy() for seed in range(3))

    def convolve(first, second):
        return scipy.signal.convolve2d(first, second, mode=mode, boundary=boundary)

    return float(np.abs(convolve(convolve(a, b), c) - convolve(a, convolve(b, c))).max())


@claim(QUESTION, "scipy.signal.convolve2d is associative, mode full", expected="holds")
def full_associates():
    return associativity("full") == 0, f"differs by {associativity('full'):g}"


@claim(QUESTION, "scipy.signal.convolve2d is associative, mode same", expected="refuted")
def same_associates():
    return associativity("same") == 0, f"differs by {associativity('same'):g}"


@claim(QUESTION, "scipy.signal.convolve2d is associative, mode same with wrapped boundary", expected="holds")
def wrapped_associates():
    return associativity("same", "wrap") == 0, f"differs by {associativity('same', 'wrap'):g}"


@claim(QUESTION, "a convolution is a product with a doubly block Toeplitz matrix", expected="holds")
def lifting_is_right():
    a, b = integers(3, 4, seed=1), integers(2, 3, seed=2)
    lifted = opjury.get("convolve2d", "doubly_block_toeplitz")(a, b).numpy()
    gap = float(np.abs(lifted - scipy.signal.convolve2d(a, b)).max())
    return gap == 0, f"differs by {gap:g}"
