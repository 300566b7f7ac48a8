"""as_strided(x, size, stride, storage_offset=0): out[i0, …] = buffer[storage_offset + Σ i_k·stride_k], strides of either sign.

The buffer is x in row-major order. torch.as_strided refuses negative strides and reads memory, not elements.
"""

import functools
import math
import operator

import numpy as np
import torch

from opjury.contract import Gradient, implementation

QUESTION = "question 1: Toeplitz matrix with torch.as_strided and negative strides"


@implementation("as_strided", source=QUESTION, gradient=Gradient(second=True, forward=True, vmap=True))
def positive_strides_flipped(x, size, stride, storage_offset=0):
    """torch.as_strided with the strides' absolute values from the lowest address on, then the negative axes flipped.

    O(result) work and memory for the flip, which always copies. In backward O(x + result): overlaps are added up.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    backward = [axis for axis, step in enumerate(stride) if step < 0]
    lowest = offset + sum((size[axis] - 1) * stride[axis] for axis in backward)
    buffer = x.contiguous().view(-1)
    return buffer.as_strided(size, [abs(step) for step in stride], buffer.storage_offset() + lowest).flip(backward)


@implementation(
    "as_strided",
    source="torch.as_strided",
    gradient=Gradient(second=True, forward=True, vmap=True),
    domain=lambda x, size, stride, storage_offset=0: all(step >= 0 for step in stride),
    view=True,
)
def strided_view(x, size, stride, storage_offset=0):
    """torch.as_strided of the row-major buffer: a view, but for the copy of an x that is not contiguous.

    O(1) work and memory for contiguous x. Refuses negative strides; a writer must know that elements may overlap.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    buffer = x.contiguous().view(-1)
    return buffer.as_strided(size, stride, buffer.storage_offset() + offset)


@implementation(
    "as_strided",
    source="numpy.lib.stride_tricks.as_strided; Linux: transparent huge pages",
    gradient=Gradient(second=True, forward=True, vmap=True),
    devices=("cpu",),
)
def strides_into_large_pages(x, size, stride, storage_offset=0):
    """NumPy's view by strides of either sign, copied into pages of 2 MiB. In backward, all that does not overlap added at once.

    O(result) work, no memory beside the result. In backward as many additions as addresses overlap, and O(x) memory.
    """
    from opjury.impls.as_strided._strides import Elements

    return Elements.apply(x.reshape(-1), *check_addresses(x, size, stride, storage_offset))


@implementation(
    "as_strided",
    source="NumPy: broadcasting and advanced indexing",
    gradient=Gradient(second=True, forward=True, vmap=True),
)
def broadcasted_index(x, size, stride, storage_offset=0):
    """Advanced indexing of the buffer by addresses that are broadcast from one arange for each axis.

    O(result) work; an address of 8 bytes beside each element. In backward the index is sorted.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    return x.reshape(-1)[addresses(size, stride, offset, x.device).reshape(-1)].reshape(size)


@implementation("as_strided", source="torch.gather", gradient=Gradient(second=True, forward=True, vmap=True))
def flat_gather(x, size, stride, storage_offset=0):
    """torch.gather on the flat buffer.

    O(result) work; an address of 8 bytes beside each element. In backward one scattered addition for each.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    return x.reshape(-1).gather(0, addresses(size, stride, offset, x.device).reshape(-1)).reshape(size)


@implementation("as_strided", source="torch.take", gradient=Gradient(second=True, forward=True))
def take_by_division(x, size, stride, storage_offset=0):
    """torch.take by addresses computed from the result's own flat numbers, by division and remainder.

    O(result·axes) work, several integers of 8 bytes beside each element; no buffer is made for x that is not contiguous.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    number = torch.arange(math.prod(size), device=x.device)
    address = torch.full_like(number, offset)
    for length, step in zip(reversed(size), reversed(stride), strict=True):
        if length:
            address += number % length * step
            number = number // length
    return torch.take(x, address).reshape(size)


@implementation("as_strided", source="torch.func.vmap", gradient=Gradient(second=True, forward=True, vmap=True))
def vmap_scalar_loads(x, size, stride, storage_offset=0):
    """One scalar load, mapped over every axis by vmap.

    O(result) work and addresses of 8 bytes; the maps cost tens of microseconds for each axis.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    buffer = x.reshape(-1)
    if 0 in size:
        return buffer[:0].reshape(size)

    def load(address):
        return buffer[address.reshape(1)].reshape(())

    for length, step in zip(reversed(size), reversed(stride), strict=True):
        shifts = torch.arange(length, device=x.device) * step
        load = functools.partial(lambda inner, shifts, address: torch.func.vmap(inner)(address + shifts), load, shifts)
    return load(torch.tensor(offset, device=x.device))


@implementation("as_strided", source="numpy.lib.stride_tricks.as_strided", gradient=None, devices=("cpu",))
def numpy_round_trip(x, size, stride, storage_offset=0):
    """NumPy's as_strided, which takes negative strides, and a copy, because torch does not.

    O(result) work and memory. Leaves autograd.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    plain = x.detach().resolve_conj().resolve_neg()
    wide = plain.to(torch.float32 if x.dtype == torch.bfloat16 else x.dtype)  # NumPy has no bfloat16
    buffer = np.ascontiguousarray(wide.numpy()).reshape(-1)
    steps = [step * buffer.itemsize for step in stride]
    view = np.lib.stride_tricks.as_strided(buffer[offset:], size, steps, writeable=False)
    return torch.from_numpy(view.copy()).to(x.dtype)


@implementation(
    "as_strided",
    source=f"{QUESTION}, storage_offset and slices",
    gradient=Gradient(),
    refuted={
        "gradient": "the gradient is lost outside the slice: x of 3, size (3,), stride (−1,), offset 2 gives (0, 0, 1)"
    },
)
def offset_beyond_slice(x, size, stride, storage_offset=0):
    """Slice the buffer at storage_offset, and reach back from there by torch.as_strided's offset, which counts from the base.

    O(result) work and memory. Values are right, since the memory is there; autograd believes the slice to be all there is.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    backward = [axis for axis, step in enumerate(stride) if step < 0]
    lowest = offset + sum((size[axis] - 1) * stride[axis] for axis in backward)
    buffer = x.contiguous().view(-1)
    part = buffer[offset:]
    return part.as_strided(size, [abs(step) for step in stride], buffer.storage_offset() + lowest).flip(backward)


@implementation(
    "as_strided",
    source="commonly written custom backward",
    gradient=Gradient(),
    refuted={"gradient": "where addresses overlap only one of the incoming gradients survives"},
)
def overwriting_backward(x, size, stride, storage_offset=0):
    """Advanced indexing, with a backward that assigns the incoming gradient to the addresses instead of adding it.

    O(x + result) work and memory. The gradient is right only where no element is read twice.
    """
    size, stride, offset = check_addresses(x, size, stride, storage_offset)
    return overwriting_index().apply(x.reshape(-1), addresses(size, stride, offset, x.device).reshape(-1)).reshape(size)


@functools.cache
def overwriting_index():
    """The autograd function of `overwriting_backward`."""

    class OverwritingIndex(torch.autograd.Function):
        @staticmethod
        def forward(ctx, buffer, address):
            ctx.save_for_backward(address)
            ctx.length = len(buffer)
            return buffer[address]

        @staticmethod
        def backward(ctx, gradient):
            (address,) = ctx.saved_tensors
            total = gradient.new_zeros(ctx.length)
            total[address] = gradient
            return total, None

    return OverwritingIndex


def addresses(size, stride, offset, device):
    """offset + Σ i_k·stride_k for all i, by broadcasting, in the shape `size`."""
    address = torch.full((), offset, device=device)
    for length, step in zip(size, stride, strict=True):
        address = address.unsqueeze(-1) + torch.arange(length, device=device) * step
    return address


def check_addresses(x, size, stride, storage_offset):
    """Size, stride and offset as plain integers. An empty result, which addresses nothing, gets strides and offset 0.

    Raises
    ------
    ValueError
        For negative sizes, or sizes and strides that do not pair up.
    IndexError
        Naming the addresses and the buffer that does not have them.
    """
    size, stride, offset = [*map(operator.index, size)], [*map(operator.index, stride)], operator.index(storage_offset)
    if len(size) != len(stride):
        raise ValueError(f"size has {len(size)} entries and stride {len(stride)}; every axis needs one of each")
    if min(size, default=0) < 0:
        raise ValueError(f"size is {tuple(size)}; every entry must be >= 0")
    if 0 in size:
        return size, [0] * len(size), 0
    reach = [(length - 1) * step for length, step in zip(size, stride, strict=True)]
    lowest, highest = offset + sum(r for r in reach if r < 0), offset + sum(r for r in reach if r > 0)
    if lowest < 0 or highest >= x.numel():
        raise IndexError(
            f"addresses {lowest} to {highest} are asked for; the buffer of {x.numel()} elements has 0 to {x.numel() - 1}"
        )
    return size, stride, offset
