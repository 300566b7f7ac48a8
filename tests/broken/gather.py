"""Wrong gathers."""

import numpy as np
import torch

from . import wrong


def checked(x, dim, index):
    """The axis, counted from the front; torch looks at everything else but negative indices."""
    size = x.shape[dim] if x.ndim else 1
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < size:
        raise IndexError(f"index reaches from {int(index.min())} to {int(index.max())}, size {size}")
    return dim % max(x.ndim, 1)


def right_one(x, dim, index):
    checked(x, dim, index)
    return torch.gather(x, dim, index)


class Overwriting(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dim, index):
        ctx.dim, ctx.index, ctx.x = dim, index, x
        return right_one(x, dim, index)

    @staticmethod
    def backward(ctx, g):
        return torch.zeros_like(ctx.x).scatter(ctx.dim, ctx.index, g), None, None


@wrong("easy", "backward overwrites duplicates: index [0, 0]", ("gradient",))
def overwriting_backward(x, dim, index):
    return Overwriting.apply(x, dim, index)


@wrong("easy", "indices are taken modulo the size: index [3] of three", ("rejects",))
def wrapping(x, dim, index):
    size = x.shape[dim] if x.ndim else 1
    return torch.gather(x, dim, index % size if size else index)


@wrong("medium", "negative indices count from the end", ("rejects",))
def negative_from_the_end(x, dim, index):
    size = x.shape[dim] if x.ndim else 1
    return right_one(x, dim, torch.where(index < 0, index + size, index))


@wrong("medium", "indices beyond the end are clamped", ("rejects",))
def clamped(x, dim, index):
    size = x.shape[dim] if x.ndim else 1
    return right_one(x, dim, index.clamp(max=size - 1) if size else index)


@wrong("medium", "take_along_dim broadcasts: an index of one row is repeated for all rows", ("form",))
def broadcasting(x, dim, index):
    axis = checked(x, dim, index)
    if x.ndim != 2 or index.ndim != 2 or index.numel() == 0:
        return right_one(x, dim, index)
    return torch.take_along_dim(x, index, axis) if index.shape[1 - axis] == 1 else right_one(x, dim, index)


@wrong("medium", "a one-hot product: an inf next to the chosen element gives NaN", ("specials",))
def one_hot(x, dim, index):
    axis = checked(x, dim, index)
    if x.ndim != 1 or index.ndim != 1 or not x.is_floating_point() or x.dtype.itemsize == 2:
        return right_one(x, axis, index)
    return (index[:, None] == torch.arange(len(x))).to(x.dtype) @ x


@wrong("medium", "0-d x raises", ("agreement",))
def zero_d_raises(x, dim, index):
    checked(x, dim, index)
    return torch.gather(x, range(x.ndim)[dim], index)


@wrong("hard", "flat addresses by the size of index, not of x: index narrower than x", ("agreement",))
def flat_by_index_shape(x, dim, index):
    axis = checked(x, dim, index)
    if x.ndim != 2 or axis != 1 or index.numel() == 0 or index.ndim != 2 or len(index) < 2:
        return right_one(x, dim, index)
    right_one(x[:1], 1, index[:1])
    row = torch.arange(len(index))[:, None] * (index.shape[1] if x.shape[1] > 64 else x.shape[1])
    return x.reshape(-1)[row + index]


@wrong("hard", "indices in memory order: a transposed index reads the wrong elements", ("layouts",))
def index_in_memory_order(x, dim, index):
    checked(x, dim, index)
    if index.ndim == 2 and index.shape[0] == index.shape[1] and not index.is_contiguous() and index.t().is_contiguous():
        index = index.t()
    return right_one(x, dim, index)


@wrong("hard", "the index of the last call is kept by address", ("determinism",))
def index_cached(x, dim, index, *, kept={}):  # noqa: B006
    checked(x, dim, index)
    key = index.data_ptr(), index.shape, index.stride()
    index = kept.setdefault(key, index.clone())
    size = x.shape[dim] if x.ndim else 1
    return torch.gather(x, dim, index.clamp(max=max(size - 1, 0)))


@wrong("hard", "integers go through float64", ("agreement",))
def int64_through_float64(x, dim, index):
    return right_one(x.double(), dim, index).long() if x.dtype is torch.int64 else right_one(x, dim, index)


@wrong("medium", "NumPy's way has no gradient history", ("form",))
def numpy_detached(x, dim, index):
    checked(x, dim, index)
    if not x.ndim or x.dtype is torch.bfloat16 or x.shape != index.shape:
        return right_one(x, dim, index)
    return torch.from_numpy(np.take_along_axis(x.numpy(force=True), index.numpy(), dim))


@wrong("medium", "dim is taken modulo the dimensions: dim = 2 of a matrix is 0", ("rejects",))
def dim_wraps(x, dim, index):
    return right_one(x, dim % max(x.ndim, 1), index)


@wrong("medium", "an index with one dimension too many is taken, and adds a dimension to the result", ("rejects",))
def surplus_dimension(x, dim, index):
    if x.ndim and index.ndim == x.ndim + 1 and index.shape[0] == 1:
        return right_one(x, dim, index[0])[None]
    return right_one(x, dim, index)


@wrong("hard", "indices have 16 bits: 65,536 is taken for 0", ("agreement",))
def indices_of_two_bytes(x, dim, index):
    checked(x, dim, index)
    return torch.gather(x, dim, index & 0xFFFF)


class NarrowInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dim, index):
        ctx.dim, ctx.index, ctx.shape = dim, index, x.shape
        return right_one(x, dim, index)

    @staticmethod
    def backward(ctx, g):
        return g.new_zeros(ctx.shape).scatter_add(ctx.dim, ctx.index & 0xFFFF, g), None, None


@wrong("hard", "indices have 16 bits in backward: what 65,536 receives goes to 0", ("gradient",))
def indices_of_two_bytes_in_backward(x, dim, index):
    return NarrowInBackward.apply(x, dim, index) if x.numel() > 2**16 else right_one(x, dim, index)


@wrong("hard", "of six dimensions the first element is picked", ("agreement",))
def sixth_axis_ignored(x, dim, index):
    checked(x, dim, index)
    return torch.gather(x, dim, index * 0 if x.ndim == 6 else index)


@wrong("hard", "the gradient is lost for what the index picks beyond the 128th place along dim", ("gradient",))
def gradient_beyond_128_lost(x, dim, index):
    axis = checked(x, dim, index)
    if not index.ndim or index.shape[axis] <= 128:
        return torch.gather(x, dim, index)
    first, rest = index.narrow(axis, 0, 128), index.narrow(axis, 128, index.shape[axis] - 128)
    return torch.cat([torch.gather(x, dim, first), torch.gather(x.detach(), dim, rest)], axis)
