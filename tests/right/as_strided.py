"""Right strided views."""

import itertools

import numpy as np
import torch

from . import right


def checked(x, size, stride, storage_offset):
    """Size and stride as tuples, the smallest and largest address being inside the buffer."""
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise ValueError(f"size has {len(size)} entries, stride {len(stride)}")
    if any(n < 0 for n in size):
        raise ValueError(f"size must not be negative: {size}")
    if 0 not in size:
        reach = [(n - 1) * step for n, step in zip(size, stride)]
        low = storage_offset + sum(min(r, 0) for r in reach)
        high = storage_offset + sum(max(r, 0) for r in reach)
        if low < 0 or high >= x.numel():
            raise IndexError(f"addresses {low} to {high} leave a buffer of {x.numel()} elements")
    return size, stride


@right("address arithmetic and take")
def taken(x, size, stride, storage_offset=0):
    size, stride = checked(x, size, stride, storage_offset)
    if 0 in size:
        return x.reshape(-1)[:0].reshape(size)
    place = torch.full((), int(storage_offset))
    for n, step in zip(size, stride):
        place = place.unsqueeze(-1) + step * torch.arange(n)
    return x.reshape(-1).index_select(0, place.reshape(-1)).reshape(size)


@right("torch.as_strided with the strides' absolute values, then flip")
def strided_and_flipped(x, size, stride, storage_offset=0):
    size, stride = checked(x, size, stride, storage_offset)
    buffer = x.reshape(-1).clone(memory_format=torch.contiguous_format)
    if 0 in size:
        return buffer[:0].reshape(size)
    offset = storage_offset + sum((n - 1) * step for n, step in zip(size, stride) if step < 0)
    view = buffer.as_strided(size, [abs(step) for step in stride], offset)
    return view.flip([axis for axis, step in enumerate(stride) if step < 0])


class Scattered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, place):
        ctx.place, ctx.shape = place, x.shape
        return x.reshape(-1)[place]

    @staticmethod
    def backward(ctx, g):
        wide = g.float() if g.dtype.itemsize == 2 else g
        gradient = wide.new_zeros(ctx.shape.numel()).index_add_(0, ctx.place.reshape(-1), wide.reshape(-1))
        return gradient.reshape(ctx.shape).to(g.dtype), None


@right("NumPy's strides on the addresses, index_add on the way back")
def numpy_addresses(x, size, stride, storage_offset=0):
    size, stride = checked(x, size, stride, storage_offset)
    if 0 in size:
        return x.reshape(-1)[:0].reshape(size)
    place = np.full((), storage_offset, np.int64)
    for n, step in zip(size, stride):
        place = np.add.outer(place, np.arange(n) * step)
    return Scattered.apply(x, torch.from_numpy(np.asarray(place)))


@right("one scalar after another")
def scalars(x, size, stride, storage_offset=0):
    size, stride = checked(x, size, stride, storage_offset)
    buffer = x.reshape(-1)
    places = [
        storage_offset + sum(i * step for i, step in zip(index, stride))
        for index in itertools.product(*map(range, size))
    ]
    return buffer[torch.tensor(places, dtype=torch.long)].reshape(size)
