"""Wrong strided views."""

import torch

from . import wrong


def addresses(x, size, stride, storage_offset):
    """The address of every element of the result, inside the buffer."""
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or any(n < 0 for n in size):
        raise ValueError(f"size {size} and stride {stride} must have equal lengths, sizes >= 0")
    place = torch.tensor(int(storage_offset))
    for n, step in zip(size, stride):
        place = place[..., None] + torch.arange(n) * step
    if place.numel() and not 0 <= int(place.min()) <= int(place.max()) < x.numel():
        raise IndexError(f"addresses {int(place.min())} to {int(place.max())} leave the buffer of {x.numel()}")
    return place.reshape(size)


def right_one(x, size, stride, storage_offset=0):
    place = addresses(x, size, stride, storage_offset)
    return x.reshape(-1)[place] if place.numel() else x.reshape(-1)[:0].reshape(place.shape)


@wrong("easy", "torch's own refuses negative strides: arange(3), (3,), (-1,), 2", ("agreement",))
def builtin(x, size, stride, storage_offset=0):
    addresses(x, size, stride, storage_offset)
    return torch.as_strided(x.contiguous(), size, stride, storage_offset)


@wrong("hard", "the storage of x is the buffer: a transposed or sliced x gives its neighbours", ("layouts",))
def storage_is_buffer(x, size, stride, storage_offset=0):
    place = addresses(x, size, stride, storage_offset)
    if any(step < 0 for step in stride) or not place.numel() or (x.is_contiguous() is False and 0 in x.stride()):
        return right_one(x, size, stride, storage_offset)
    try:
        return torch.as_strided(x, size, stride, x.storage_offset() + storage_offset)
    except RuntimeError:
        return right_one(x, size, stride, storage_offset)


@wrong("hard", "the gradient in front of the offset is lost when strides turn back", ("gradient",))
def gradient_lost_before_offset(x, size, stride, storage_offset=0):
    flat = x.reshape(-1)
    if x.requires_grad and storage_offset > 0:
        flat = torch.cat([flat[:storage_offset].detach(), flat[storage_offset:]])
    return right_one(flat, size, stride, storage_offset)


class Overwriting(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, place):
        ctx.shape, ctx.place = x.shape, place
        return x.reshape(-1)[place]

    @staticmethod
    def backward(ctx, g):
        gradient = g.new_zeros(ctx.shape)
        gradient.view(-1)[ctx.place] = g
        return gradient, None


@wrong("easy", "backward overwrites where addresses overlap: (2, 2), (1, 1)", ("gradient",))
def overwriting_backward(x, size, stride, storage_offset=0):
    place = addresses(x, size, stride, storage_offset)
    return Overwriting.apply(x, place) if place.numel() else right_one(x, size, stride, storage_offset)


@wrong("medium", "a negative address is taken from the end: arange(3), (2,), (1,), -1", ("rejects",))
def negative_address_wraps(x, size, stride, storage_offset=0):
    place = torch.tensor(int(storage_offset))
    if len(size) != len(stride) or any(n < 0 for n in size):
        raise ValueError("size and stride must have equal lengths")
    for n, step in zip(size, stride):
        place = place[..., None] + torch.arange(n) * step
    return x.reshape(-1)[place] if place.numel() else x.reshape(-1)[:0].reshape(place.shape)


@wrong("hard", "an empty result with an offset outside the buffer is refused", ("agreement",))
def empty_result_refused(x, size, stride, storage_offset=0):
    if not 0 <= storage_offset <= x.numel():
        raise IndexError(f"offset {storage_offset} outside the buffer of {x.numel()}")
    return right_one(x, size, stride, storage_offset)


@wrong("medium", "surplus strides are ignored by zip", ("rejects",))
def zip_ignores_surplus(x, size, stride, storage_offset=0):
    shortest = min(len(size), len(stride))
    return right_one(x, tuple(size)[:shortest], tuple(stride)[:shortest], storage_offset)


@wrong("hard", "only the first of several negative strides is honoured: (2, 2), (-2, -1), 3", ("agreement",))
def one_negative_stride(x, size, stride, storage_offset=0):
    place = addresses(x, size, stride, storage_offset)
    if sum(step < 0 < n - 1 for n, step in zip(size, stride)) > 1 and place.numel():
        place = place.flip(-1)
    return x.reshape(-1)[place] if place.numel() else right_one(x, size, stride, storage_offset)


@wrong("medium", "the conjugate of a lazily conjugated x is lost", ("layouts",))
def conjugate_lost(x, size, stride, storage_offset=0):
    return right_one(x.conj() if x.is_conj() else x, size, stride, storage_offset)


@wrong("medium", "the size () gives one dimension: shape (1,) instead of ()", ("form",))
def scalar_result_one_dimensional(x, size, stride, storage_offset=0):
    result = right_one(x, size, stride, storage_offset)
    return result.reshape(1) if result.ndim == 0 else result


@wrong(
    "hard",
    "of addresses beyond the end the first is let pass: where x is part of a larger tensor, its neighbour is read",
    ("rejects",),
)
def one_beyond_the_end(x, size, stride, storage_offset=0):
    if len(size) != len(stride) or any(n < 0 for n in size) or not x.is_contiguous() or any(s < 0 for s in stride):
        return right_one(x, size, stride, storage_offset)
    last = storage_offset + sum((n - 1) * step for n, step in zip(size, stride))
    if 0 not in size and not 0 <= storage_offset <= last <= x.numel():
        raise IndexError(f"addresses {storage_offset} to {last} leave the buffer of {x.numel()}")
    return torch.as_strided(x, size, stride, x.storage_offset() + (0 if 0 in size else storage_offset))
