"""Elements of a buffer by address, and a buffer to which elements are added by address, on a CPU: each is the other's gradient."""

import itertools

import numpy as np
import torch

from opjury.impls._memory import array_of, copied


class Elements(torch.autograd.Function):
    """(n,) → size: the elements at offset + Σ i_k·stride_k, strides of either sign, copied into large pages."""

    @staticmethod
    def forward(buffer, size, stride, offset):
        array = array_of(buffer.contiguous())
        steps = [step * array.itemsize for step in stride]
        view = np.lib.stride_tricks.as_strided(array[offset:], size, steps, writeable=False)
        return copied(view, buffer.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.length, ctx.where = len(inputs[0]), inputs[1:]

    @staticmethod
    def backward(ctx, weight):
        return Buffer.apply(weight, ctx.length, *ctx.where), None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return Elements.apply(tangent, *ctx.where)

    @staticmethod
    def vmap(info, in_dims, buffer, size, stride, offset):
        batch = buffer.movedim(in_dims[0], 0)
        return Elements.apply(batch.reshape(-1), *with_batch(*batch.shape, size, stride), offset), 0


class Buffer(torch.autograd.Function):
    """size → (n,): where addresses overlap, the elements are added up, as many at once as do not."""

    @staticmethod
    def forward(weight, length, size, stride, offset):
        total = torch.zeros(length, dtype=torch.float32 if weight.dtype.itemsize == 2 else weight.dtype)
        inner = disjoint(size, stride)
        if inner and stride[inner[0]] < 0:  # torch has no negative strides: count addresses from the end
            mirrored = Buffer.forward(weight, length, size, [-step for step in stride], length - 1 - offset)
            return mirrored.flip(0)
        inner = [axis for axis in inner if stride[axis] > 0]
        outer = [axis for axis in range(len(size)) if axis not in inner]
        sizes, strides = [size[axis] for axis in inner], [stride[axis] for axis in inner]
        slices = weight.permute([*outer, *inner])
        for index in itertools.product(*(range(size[axis]) for axis in outer)):
            start = offset + sum(i * stride[axis] for i, axis in zip(index, outer, strict=True))
            total.as_strided(sizes, strides, start).add_(slices[index])
        return total.to(weight.dtype)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.length, ctx.where = inputs[1], inputs[2:]

    @staticmethod
    def backward(ctx, weight):
        return Elements.apply(weight, *ctx.where), None, None, None, None

    @staticmethod
    def jvp(ctx, tangent, *_):
        return Buffer.apply(tangent, ctx.length, *ctx.where)

    @staticmethod
    def vmap(info, in_dims, weight, length, size, stride, offset):
        batch = weight.movedim(in_dims[0], 0)
        where = with_batch(len(batch), length, size, stride)
        return Buffer.apply(batch, len(batch) * length, *where, offset).unflatten(0, (len(batch), length)), 0


def with_batch(batch, length, size, stride):
    """Size and stride in as many buffers of this length, one after the other."""
    return [batch, *size], [length, *stride]


def disjoint(size, stride):
    """Axes along which no address comes twice, the longest first, of equal ones the last."""
    found = []
    for axis in sorted(range(len(size)), key=lambda axis: (-size[axis], -axis)):
        reach = 0
        for one in sorted([*found, axis], key=lambda one: abs(stride[one])):
            if abs(stride[one]) <= reach and size[one] > 1:
                break
            reach += (size[one] - 1) * abs(stride[one])
        else:
            found.append(axis)
    return found
