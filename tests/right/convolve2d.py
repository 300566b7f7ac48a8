"""Right full convolutions."""

import torch
import torch.nn.functional as F

from . import right


def checked(a, b):
    """Both in a dtype wide enough to add in, and the shape of the result."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"both arguments need two dimensions, not {a.ndim} and {b.ndim}")
    if 0 in (*a.shape, *b.shape):
        raise ValueError(f"empty arguments: {tuple(a.shape)} and {tuple(b.shape)}")
    wide = torch.float32 if a.dtype in (torch.float16, torch.bfloat16) else a.dtype
    return a.to(wide), b.to(wide), (a.shape[0] + b.shape[0] - 1, a.shape[1] + b.shape[1] - 1)


@right("shift and accumulate into slices")
def shift_and_accumulate(a, b):
    left, right_, shape = checked(a, b)
    total = left.new_zeros(shape)
    for i in range(len(b)):
        for j in range(b.shape[1]):
            total[i : i + len(a), j : j + a.shape[1]] += left * right_[i, j]
    return total.to(a.dtype)


@right("all products scattered to their place by index_add")
def scattered_products(a, b):
    left, right_, shape = checked(a, b)
    row = torch.arange(a.shape[0])[:, None, None, None] + torch.arange(b.shape[0])[:, None]
    column = torch.arange(a.shape[1])[:, None, None] + torch.arange(b.shape[1])
    products = left[:, :, None, None] * right_
    place = (row * shape[1] + column).reshape(-1)
    return left.new_zeros(shape[0] * shape[1]).index_add(0, place, products.reshape(-1)).reshape(shape).to(a.dtype)


@right("each element as a sum over the overlap")
def overlaps(a, b):
    left, right_, shape = checked(a, b)
    p = torch.arange(shape[0])[:, None, None, None] - torch.arange(b.shape[0])[:, None]
    q = torch.arange(shape[1])[:, None, None] - torch.arange(b.shape[1])
    met = (p >= 0) & (p < a.shape[0]) & (q >= 0) & (q < a.shape[1])
    gathered = left[p.clamp(0, a.shape[0] - 1), q.clamp(0, a.shape[1] - 1)]
    return (torch.where(met, gathered, 0) * torch.where(met, right_, 0)).sum((2, 3)).to(a.dtype)


@right("rows pushed apart by padding and added where they are")
def padded_products(a, b):
    left, right_, shape = checked(a, b)
    if a.numel() > b.numel():
        return padded_products(b, a)
    total = None
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            room = (j, shape[1] - b.shape[1] - j, i, shape[0] - b.shape[0] - i)
            part = F.pad(left[i, j] * right_, room)
            total = part if total is None else total + part
    return total.to(a.dtype)
