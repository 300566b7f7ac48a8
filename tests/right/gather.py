"""Right gathers."""

import torch

from . import right


def checked(x, dim, index):
    """The axis, counted from the front."""
    if index.dtype != torch.int64:
        raise TypeError(f"index must be int64, not {index.dtype}")
    if max(x.ndim, 1) != max(index.ndim, 1):
        raise ValueError(f"index has {index.ndim} dimensions, x has {x.ndim}")
    if not -max(x.ndim, 1) <= dim < max(x.ndim, 1):
        raise IndexError(f"dim {dim} out of range for {x.ndim} dimensions")
    axis = int(dim) % max(x.ndim, 1)
    if x.ndim and index.ndim and any(i > n for k, (i, n) in enumerate(zip(index.shape, x.shape)) if k != axis):
        raise ValueError(f"index of shape {tuple(index.shape)} is larger than x {tuple(x.shape)} outside dim {axis}")
    size = x.shape[axis] if x.ndim else 1
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= size):
        raise IndexError(f"index must lie in 0..{size - 1}")
    return axis


@right("torch's own, which refuses negative indices itself")
def builtin(x, dim, index):
    return torch.gather(x, int(dim), index)


@right("advanced indexing with broadcast ranges")
def advanced(x, dim, index):
    axis = checked(x, dim, index)
    if index.numel() == 0:
        return x.reshape(-1)[:0].reshape(index.shape)
    if x.ndim == 0 or index.ndim == 0:
        return x.reshape(-1)[index.reshape(-1)].reshape(index.shape)
    places = [torch.arange(n).reshape([-1 if k == j else 1 for k in range(x.ndim)]) for j, n in enumerate(index.shape)]
    places[axis] = index
    return x[tuple(places)]


@right("computed addresses in the flat tensor")
def flat_addresses(x, dim, index):
    axis = checked(x, dim, index)
    address, reach = torch.zeros(index.shape, dtype=torch.int64), 1
    for k in range(x.ndim - 1, -1, -1) if index.ndim else ():
        place = index if k == axis else torch.arange(index.shape[k]).reshape(-1, *[1] * (x.ndim - 1 - k))
        address, reach = address + place * reach, reach * x.shape[k]
    return x.reshape(-1).take(address if index.ndim else index)


class Accumulating(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, axis, index):
        ctx.axis, ctx.shape = axis, x.shape
        ctx.save_for_backward(index)
        return torch.gather(x, axis, index)

    @staticmethod
    def backward(ctx, g):
        wide = g.float() if g.dtype.itemsize == 2 else g
        return wide.new_zeros(ctx.shape).scatter_add(ctx.axis, *ctx.saved_tensors, wide).to(g.dtype), None, None


@right("a custom function whose backward adds in float32 for half types")
def accumulating(x, dim, index):
    return Accumulating.apply(x, checked(x, dim, index), index)
