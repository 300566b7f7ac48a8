"""Right means of slices."""

import numpy as np
import torch

from . import right


def ready(x, slices):
    """The rows in a dtype wide enough to add them up, and the dtype of the result."""
    if slices.ndim != 2 or slices.shape[1] != 2 or slices.dtype != torch.int64:
        raise ValueError(f"slices must be an int64 tensor of shape (k, 2), not {slices.dtype} {tuple(slices.shape)}")
    start, end = slices.unbind(1)
    if bool(((start < 0) | (end > len(x)) | (start >= end)).any()):
        raise ValueError(f"every slice needs 0 <= start < end <= {len(x)}")
    dtype = x.dtype if x.is_floating_point() or x.is_complex() else torch.get_default_dtype()
    wide = {torch.float16: torch.float32, torch.bfloat16: torch.float32}.get(x.dtype, x.dtype)
    return x.to(wide if wide.is_floating_point or wide.is_complex else torch.float64), dtype


def shaped(length, x):
    return length.reshape(-1, *[1] * (x.ndim - 1))


def ragged(slices):
    """The rows of all slices one after another, and the slice that each belongs to."""
    length = slices[:, 1] - slices[:, 0]
    owner = torch.repeat_interleave(torch.arange(len(slices)), length)
    first = length.cumsum(0) - length
    return torch.arange(len(owner)) - first[owner] + slices[owner, 0], owner


@right("a loop over slices with torch's sum")
def loop(x, slices):
    wide, dtype = ready(x, slices)
    rows = [wide[start:end].sum(0) / (end - start) for start, end in slices.tolist()]
    return (torch.stack(rows) if rows else wide[:0]).to(dtype)


@right("a loop with torch.mean and an output filled in place")
def loop_into_output(x, slices):
    wide, dtype = ready(x, slices)
    out = wide.new_zeros(len(slices), *x.shape[1:]) + 0 * wide[:0].sum()
    for row, (start, end) in enumerate(slices.tolist()):
        out[row] = torch.mean(wide[start:end], dim=0)
    return out.to(dtype)


@right("gather padded to the longest slice, where() instead of a product with the mask")
def padded_gather(x, slices):
    wide, dtype = ready(x, slices)
    length = slices[:, 1] - slices[:, 0]
    step = torch.arange(int(length.max()) if len(slices) else 0)
    inside = step < length[:, None]
    rows = wide[torch.where(inside, slices[:, :1] + step, slices[:, :1])]
    rows = torch.where(inside.reshape(*inside.shape, *[1] * (x.ndim - 1)), rows, torch.zeros((), dtype=wide.dtype))
    return (rows.sum(1) / shaped(length, wide)).to(dtype)


@right("index_add over the ragged rows")
def ragged_index_add(x, slices):
    wide, dtype = ready(x, slices)
    row, owner = ragged(slices)
    total = wide.new_zeros(len(slices), *x.shape[1:]).index_add(0, owner, wide.index_select(0, row))
    return (total / shaped(slices[:, 1] - slices[:, 0], wide)).to(dtype)


class SliceMean(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slices):
        ctx.rows = len(x)
        ctx.save_for_backward(slices)
        row, owner = ragged(slices)
        total = x.new_zeros(len(slices), *x.shape[1:]).index_add_(0, owner, x[row])
        return total / shaped(slices[:, 1] - slices[:, 0], x)

    @staticmethod
    def backward(ctx, g):
        (slices,) = ctx.saved_tensors
        row, owner = ragged(slices)
        share = g / shaped(slices[:, 1] - slices[:, 0], g)
        return g.new_zeros(ctx.rows, *g.shape[1:]).index_add_(0, row, share[owner]), None


@right("a custom autograd function that scatters the shares back")
def custom_function(x, slices):
    wide, dtype = ready(x, slices)
    return SliceMean.apply(wide, slices).to(dtype)


class ReduceAt(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, slices):
        ctx.slices, ctx.rows = slices.tolist(), len(x)
        rows = np.concatenate(
            [x.detach().resolve_conj().resolve_neg().numpy(), np.zeros((1, *x.shape[1:]), x.numpy(force=True).dtype)]
        )
        total = np.add.reduceat(rows, slices.numpy().reshape(-1), axis=0)[::2] if len(slices) else rows[:0]
        return torch.from_numpy(np.ascontiguousarray(total)) / shaped(slices[:, 1] - slices[:, 0], x)

    @staticmethod
    def backward(ctx, g):
        gradient = g.new_zeros(ctx.rows, *g.shape[1:])
        for (start, end), row in zip(ctx.slices, g):
            gradient[start:end] += row / (end - start)
        return gradient, None


@right("numpy's add.reduceat behind a custom function")
def numpy_reduceat(x, slices):
    wide, dtype = ready(x, slices)
    return ReduceAt.apply(wide, slices).to(dtype)


@right("always in double precision, one rounding at the end")
def in_double(x, slices):
    wide, dtype = ready(x, slices)
    wide = wide.to(torch.complex128 if wide.is_complex() else torch.float64)
    return loop(wide, slices).to(dtype)
