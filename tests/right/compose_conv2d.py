"""Right compositions of two convolutions."""

import torch

from . import right


def checked(first, second):
    """Both in a dtype wide enough to add in."""
    if first.ndim != 4 or second.ndim != 4:
        raise ValueError("both kernels need four dimensions")
    if second.shape[1] != first.shape[0]:
        raise ValueError(f"second takes {second.shape[1]} channels where first gives {first.shape[0]}")
    wide = torch.float32 if first.dtype in (torch.float16, torch.bfloat16) else first.dtype
    return first.to(wide), second.to(wide)


class Composed(torch.autograd.Function):
    """Shift and accumulate into slices: nothing is multiplied with padding."""

    @staticmethod
    def forward(ctx, first, second):
        ctx.save_for_backward(first, second)
        _, inputs, h, w = first.shape
        out = first.new_zeros(len(second), inputs, h + second.shape[2] - 1, w + second.shape[3] - 1)
        for i in range(second.shape[2]):
            for j in range(second.shape[3]):
                out[:, :, i : i + h, j : j + w] += torch.einsum("om,mihw->oihw", second[:, :, i, j], first)
        return out

    @staticmethod
    def backward(ctx, g):
        first, second = ctx.saved_tensors
        h, w = first.shape[2:]
        to_first, to_second = torch.zeros_like(first), torch.zeros_like(second)
        for i in range(second.shape[2]):
            for j in range(second.shape[3]):
                piece = g[:, :, i : i + h, j : j + w]
                to_first += torch.einsum("om,oihw->mihw", second[:, :, i, j].conj(), piece)
                to_second[:, :, i, j] = torch.einsum("mihw,oihw->om", first.conj(), piece)
        return to_first, to_second


@right("shift and accumulate with a custom backward")
def shift_and_accumulate(first, second):
    return Composed.apply(*checked(first, second)).to(first.dtype)


@right("the same, one slice for each element of the smaller kernel, through autograd, in double precision")
def in_double(first, second):
    checked(first, second)
    if first.shape[2:].numel() > second.shape[2:].numel():
        return in_double(second.transpose(0, 1), first.transpose(0, 1)).transpose(0, 1)
    wide = torch.complex128 if first.is_complex() else torch.float64
    a, b, (h, w) = first.to(wide), second.to(wide), first.shape[2:]
    out = torch.zeros(len(second), first.shape[1], h + second.shape[2] - 1, w + second.shape[3] - 1, dtype=wide)
    for i in range(h):
        for j in range(w):
            part = torch.einsum("om...,mi->oi...", b, a[:, :, i, j])
            out[:, :, i : i + second.shape[2], j : j + second.shape[3]] += part
    return out.to(first.dtype)


@right("every output element by itself from the products that reach it, gathered for all of them at once")
def element_by_element(first, second):
    a, b = checked(first, second)
    (h, w), (rows, columns) = a.shape[2:], b.shape[2:]
    p = torch.arange(h + rows - 1)[:, None, None, None] - torch.arange(rows)[:, None]
    q = torch.arange(w + columns - 1)[:, None, None] - torch.arange(columns)
    reached = (p >= 0) & (p < h) & (q >= 0) & (q < w)
    left = torch.where(reached, a[:, :, p.clamp(0, h - 1), q.clamp(0, w - 1)], 0)
    right = torch.where(reached, b[:, :, None, None], 0)
    return torch.einsum("mipqkl,ompqkl->oipq", left, right).to(first.dtype)
