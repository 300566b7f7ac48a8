"""Question 1: a Toeplitz matrix with torch.as_strided, which has no negative strides. Is there a way, and do gradients flow?"""

import numpy as np
import scipy
import torch

import opjury
from opjury.contract import claim

QUESTION = "1. A Toeplitz matrix with torch.as_strided and negative strides"


def column_and_row():
    return torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 4, 5, 6])


@claim(QUESTION, "torch.as_strided does not support negative strides", expected="holds")
def negative_strides_are_refused():
    try:
        torch.as_strided(torch.arange(4.0), (4,), (-1,), 3)
    except RuntimeError as error:
        return True, f"RuntimeError: {str(error).splitlines()[0]}"
    return False, "as_strided(arange(4), (4,), (-1,), 3) is accepted"


@claim(
    QUESTION,
    "as_strided copies nothing: the matrix is M[i, j] = F[j - i] in the memory of one vector",
    expected="holds",
)
def strided_view_copies_nothing():
    c, r = column_and_row()
    base = torch.cat([c.flip(0), r[1:]])
    view = base.as_strided((3, 4), (1, 1)).flip(0)
    shares = base.as_strided((3, 4), (1, 1)).untyped_storage().data_ptr() == base.untyped_storage().data_ptr()
    return shares and torch.equal(
        view, torch.tensor(scipy.linalg.toeplitz(c, r))
    ), f"{view.int().tolist()}, view shares memory: {shares}"


@claim(QUESTION, "a Toeplitz matrix cannot be built with as_strided", expected="refuted")
def as_strided_cannot_build_it():
    c, r = column_and_row()
    built = opjury.get("toeplitz", "strided_flip")(c, r)
    return not np.array_equal(
        built, scipy.linalg.toeplitz(c, r)
    ), f"positive strides on cat(c.flip(0), r[1:]), rows flipped: {built.int().tolist()}"


@claim(QUESTION, "as_strided has no backward", expected="refuted")
def as_strided_has_no_backward():
    x = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(x.as_strided((3, 4), (1, 1)).sum(), x)
    second = torch.autograd.gradgradcheck(lambda v: v.as_strided((3, 4), (1, 1)) ** 2, x)
    return not (
        grad.tolist() == [1, 2, 3, 3, 2, 1] and second
    ), f"gradient of the sum {grad.int().tolist()}, second order passes: {second}"


@claim(QUESTION, "storage_offset is relative to the slice that as_strided is called on", expected="refuted")
def offset_is_relative():
    first = torch.arange(10)[3:9].as_strided((2,), (1,), 2)[0].item()
    return first == 5, f"as_strided of arange(10)[3:9] with offset 2 begins with {first}"


@claim(QUESTION, "the gradient of as_strided on a slice reaches all memory that it reads", expected="refuted")
def gradient_reaches_what_is_read():
    v = torch.zeros(6, requires_grad=True)
    (grad,) = torch.autograd.grad(v[2:].as_strided((3, 2), (1, 1), 0).sum(), v)
    return grad.tolist() == [1, 2, 2, 1, 0, 0], f"gradient {grad.int().tolist()}; true [1, 2, 2, 1, 0, 0]"


@claim(QUESTION, "indexing a flat vector with j - i builds SciPy's Toeplitz matrix", expected="refuted")
def published_index_is_right():
    c, r = torch.tensor([1.0], requires_grad=True), torch.tensor([2.0], requires_grad=True)
    made = opjury.get("toeplitz", "published_nonzero_index")(c, r)
    to_c, _ = torch.autograd.grad(made.sum(), [c, r], allow_unused=True)
    reached = to_c is not None and bool(to_c.any())
    return made.item() == 1, f"c=[1], r=[2] gives {made.item():g}, SciPy 1; the gradient reaches c: {reached}"
