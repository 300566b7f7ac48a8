"""gather(x, dim, index): out[i0, …] = x[i0, …, index[i0, …], …], the index in place of i_dim, as torch.gather.

index may be shorter than x in every other dimension. torch.gather's kernels check the range on the CPU; on CUDA a wrong index ends the
process's use of the device, so that every implementation checks first there.
"""

import functools
import math

import numpy as np
import torch

from opjury.contract import Gradient, implementation


@implementation("gather", source="torch.gather", gradient=Gradient(second=True, forward=True, vmap=True))
def torch_gather(x, dim, index):
    """torch.gather.

    O(result) work and memory. In backward one scattered addition for each element.
    """
    if index.is_cuda:
        check_index(x, dim, index)
    return torch.gather(x, dim, index)


@implementation("gather", source="torch.take_along_dim", gradient=Gradient(second=True, forward=True, vmap=True))
def take_along_dim(x, dim, index):
    """torch.take_along_dim of the part of x that the index covers. Without cutting it would broadcast shorter dimensions.

    O(result) work and memory.
    """
    x, index, dim, shape = check_index(x, dim, index)
    return torch.take_along_dim(cut(x, dim, index), index, dim).reshape(shape)


@implementation("gather", source="NumPy: advanced indexing", gradient=Gradient(second=True, forward=True, vmap=True))
def broadcasted_index(x, dim, index):
    """Advanced indexing with an arange for every other dimension, broadcast against the index.

    O(result) work; addresses are computed on the way, no memory beside the result. In backward the addresses are sorted.
    """
    x, index, dim, shape = check_index(x, dim, index)
    address = [along(k, index) for k in range(index.ndim)]
    address[dim] = index
    return x[tuple(address)].reshape(shape)


@implementation("gather", source="torch.take", gradient=Gradient(second=True, forward=True))
def flat_take(x, dim, index):
    """torch.take by row-major addresses computed from the index.

    O(result) work; an address of 8 bytes beside each element.
    """
    x, index, dim, shape = check_index(x, dim, index)
    strides = [math.prod(x.shape[k + 1 :]) for k in range(x.ndim)]
    others = (along(k, index) * strides[k] for k in range(x.ndim) if k != dim)
    return torch.take(x, sum(others, start=index * strides[dim])).reshape(shape)


@implementation(
    "gather",
    source="torch.nn.functional.one_hot and matmul",
    dtypes=("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    gradient=Gradient(second=True, forward=True, vmap=True),
    waives={
        "specials": "0·inf and 0·NaN are NaN in every element picked from the same line, and −0 + 0 is 0",
        "locality": "0·inf and 0·NaN are NaN in every element picked from the same line, and in its gradient",
    },
)
def one_hot_matmul(x, dim, index):
    """Multiply each line of x by the one-hot matrix of its indices.

    O(result·n) work and memory for lines of n elements. A non-finite element spoils its whole line, and −0 becomes 0.
    """
    x, index, dim, shape = check_index(x, dim, index)
    lines, picks = cut(x, dim, index).movedim(dim, -1), index.movedim(dim, -1)
    hot = (picks.unsqueeze(-1) == torch.arange(x.shape[dim], device=x.device)).to(x.dtype)
    return (hot @ lines.unsqueeze(-1)).squeeze(-1).movedim(-1, dim).reshape(shape)


@implementation(
    "gather", source="torch.func.vmap of index_select", gradient=Gradient(second=True, forward=True, vmap=True)
)
def vmap_index_select(x, dim, index):
    """index_select of one line by its indices, mapped over the lines by vmap.

    O(result) work and memory.
    """
    x, index, dim, shape = check_index(x, dim, index)
    lines, picks = cut(x, dim, index).movedim(dim, -1), index.movedim(dim, -1)
    count = math.prod(picks.shape[:-1])
    rows = torch.func.vmap(lambda line, pick: line.index_select(0, pick))(
        lines.reshape(count, lines.shape[-1]), picks.reshape(count, picks.shape[-1])
    )
    return rows.reshape(picks.shape).movedim(-1, dim).reshape(shape)


@implementation("gather", source="numpy.take_along_axis", gradient=None, devices=("cpu",))
def numpy_take_along_axis(x, dim, index):
    """numpy.take_along_axis of the part of x that the index covers.

    O(result) work and memory. Leaves autograd.
    """
    x, index, dim, shape = check_index(x, dim, index)
    plain = cut(x, dim, index).detach().resolve_conj().resolve_neg()
    wide = plain.to(torch.float32 if x.dtype == torch.bfloat16 else x.dtype)  # NumPy has no bfloat16
    return torch.from_numpy(np.take_along_axis(wide.numpy(), index.numpy(), dim)).to(x.dtype).reshape(shape)


@implementation(
    "gather",
    source="commonly written custom backward",
    refuted={"gradient": "of several picks of one element only one reaches the gradient"},
)
def overwriting_backward(x, dim, index):
    """torch.gather, with a backward that scatters the incoming gradient instead of adding it.

    O(x + result) work and memory. The gradient is right only where no element is picked twice.
    """
    check_index(x, dim, index)
    return overwriting_gather().apply(x, dim, index)


@functools.cache
def overwriting_gather():
    """The autograd function of `overwriting_backward`."""

    class OverwritingGather(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, dim, index):
            ctx.save_for_backward(index)
            ctx.shape, ctx.dim = x.shape, dim
            return torch.gather(x, dim, index)

        @staticmethod
        def backward(ctx, gradient):
            (index,) = ctx.saved_tensors
            return gradient.new_zeros(ctx.shape).scatter(ctx.dim, index, gradient), None, None

    return OverwritingGather


@implementation(
    "gather",
    source="commonly written guard against negative indices",
    refuted={"rejects": "an index out of range picks some other element: 3 of [a, b, c] gives a"},
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def wrapped_index(x, dim, index):
    """torch.gather of the index modulo the size.

    O(result) work and memory. Right for every legal call; illegal ones get a plausible answer.
    """
    length = x.shape[dim] if x.ndim else 1
    return torch.gather(x, dim, index.remainder(max(length, 1)))


def along(k, index):
    """0, 1, 2, … along dimension k of the index, for broadcasting against it."""
    return torch.arange(index.shape[k], device=index.device).reshape(
        [-1 if axis == k else 1 for axis in range(index.ndim)]
    )


def cut(x, dim, index):
    """x, as long as the index in every dimension but `dim`."""
    return x[tuple(slice(None) if k == dim else slice(length) for k, length in enumerate(index.shape))]


def check_index(x, dim, index):
    """x and index with one dimension at least, dim counted from the front, and the shape of the result.

    Raises
    ------
    ValueError
        If x and index differ in dimensions, or the index is longer than x in another dimension.
    IndexError
        For a dim or an index out of range.
    """
    shape, x, index = index.shape, x.reshape(x.shape or (1,)), index.reshape(index.shape or (1,))
    if x.ndim != index.ndim:
        raise ValueError(f"index has {index.ndim} dimensions and x has {x.ndim}; expected as many")
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"dim is {dim}; x of {x.ndim} dimensions has -{x.ndim} <= dim < {x.ndim}")
    dim %= x.ndim
    if any(index.shape[k] > x.shape[k] for k in range(x.ndim) if k != dim):
        raise ValueError(f"index has shape {tuple(shape)}, longer than x of shape {tuple(x.shape)} outside dim {dim}")
    if index.numel():
        lowest, highest = (int(end) for end in index.aminmax())
        if lowest < 0 or highest >= x.shape[dim]:
            raise IndexError(
                f"index reaches from {lowest} to {highest}; dimension {dim} of {x.shape[dim]} has 0 to {x.shape[dim] - 1}"
            )
    return x, index, dim, shape
