"""Right prefix sums."""

import numpy as np
import torch
from torch.nn import functional

from . import right


def axis_of(x, dim):
    """The axis, counted from the front."""
    if not -max(x.ndim, 1) <= dim < max(x.ndim, 1):
        raise IndexError(f"dim {dim} is out of range for {x.ndim} dimensions")
    return int(dim) % max(x.ndim, 1)


def widened(x):
    """A dtype wide enough to add in, and the dtype of the result."""
    if x.is_complex():
        return x, x.dtype
    if x.is_floating_point():
        return (x.float() if x.dtype.itemsize == 2 else x), x.dtype
    return x.long(), torch.int64


@right("torch's own")
def builtin(x, dim):
    return torch.cumsum(x, dim=int(dim))


@right("doubling by Hillis and Steele")
def doubling(x, dim):
    axis = axis_of(x, dim)
    total, dtype = widened(x)
    if x.ndim == 0:
        return total.to(dtype).clone()
    total, step = total.movedim(axis, 0), 1
    while step < len(total):
        total, step = torch.cat([total[:step], total[step:] + total[:-step]]), 2 * step
    return total.movedim(0, axis).to(dtype)


@right("a Python loop over the entries")
def running_total(x, dim):
    axis = axis_of(x, dim)
    wide, dtype = widened(x)
    if x.ndim == 0 or x.shape[axis] == 0:
        return wide.to(dtype)
    rows = list(wide.unbind(axis))
    for i in range(1, len(rows)):
        rows[i] = rows[i] + rows[i - 1]
    return torch.stack(rows, axis).to(dtype)


@right("blocks of 128, sums of blocks carried over; zero padding at the end reaches nothing")
def two_levels(x, dim):
    axis = axis_of(x, dim)
    wide, dtype = widened(x)
    if x.ndim == 0:
        return wide.to(dtype)
    rows = wide.movedim(axis, -1)
    n = rows.shape[-1]
    blocks = functional.pad(rows, (0, -n % 128)).unflatten(-1, (-(-n // 128), 128))
    inner = blocks.cumsum(-1)
    carry = inner[..., -1].cumsum(-1)[..., :-1]
    inner = torch.cat([inner[..., :1, :], inner[..., 1:, :] + carry[..., None]], -2)
    return inner.flatten(-2)[..., :n].movedim(-1, axis).to(dtype)


class Prefix(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, axis):
        ctx.axis = axis
        return torch.from_numpy(np.cumsum(x.detach().resolve_conj().resolve_neg().numpy(), axis=axis)).reshape(x.shape)

    @staticmethod
    def backward(ctx, g):
        reverse = np.flip(g.resolve_conj().resolve_neg().numpy(), ctx.axis) if g.ndim else g.numpy(force=True)
        total = np.cumsum(reverse, axis=ctx.axis).reshape(g.shape)
        return torch.from_numpy(np.flip(total, ctx.axis).copy() if g.ndim else total), None


@right("numpy with a custom backward")
def numpy_cumsum(x, dim):
    axis = axis_of(x, dim)
    wide, dtype = widened(x)
    return Prefix.apply(wide, axis).to(dtype)


@right("scan along the first axis of a contiguous copy, in double precision for every floating type")
def transposed_double(x, dim):
    axis = axis_of(x, dim)
    wide, dtype = widened(x)
    if dtype in (torch.float16, torch.bfloat16, torch.float32):
        wide = wide.double()
    if x.ndim == 0:
        return wide.to(dtype)
    return wide.movedim(axis, 0).contiguous().cumsum(0).movedim(0, axis).to(dtype)


@right("the sum of everything behind, flipped twice")
def flipped(x, dim):
    axis = axis_of(x, dim)
    wide, dtype = widened(x)
    if x.ndim == 0:
        return wide.to(dtype)
    padded = torch.cat([wide.flip(axis), wide.narrow(axis, 0, 0)], axis)
    rows = padded.movedim(axis, 0).flip(0)
    return torch.cumsum(rows, 0).movedim(0, axis).to(dtype)
