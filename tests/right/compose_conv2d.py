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


@right("the same with slices of the output, through autograd, in double precision")
def in_double(first, second):
    checked(first, second)
    wide = torch.complex128 if first.is_complex() else torch.float64
    a, b, (h, w) = first.to(wide), second.to(wide), first.shape[2:]
    out = torch.zeros(len(second), first.shape[1], h + second.shape[2] - 1, w + second.shape[3] - 1, dtype=wide)
    for i in range(h):
        for j in range(w):
            part = torch.einsum("om...,mi->oi...", b, a[:, :, i, j])
            out[:, :, i : i + second.shape[2], j : j + second.shape[3]] += part
    return out.to(first.dtype)


@right("every output element by itself from the products that reach it")
def element_by_element(first, second):
    a, b = checked(first, second)
    rows = []
    for p in range(a.shape[2] + b.shape[2] - 1):
        for q in range(a.shape[3] + b.shape[3] - 1):
            i = torch.arange(max(0, p - b.shape[2] + 1), min(p + 1, a.shape[2]))
            j = torch.arange(max(0, q - b.shape[3] + 1), min(q + 1, a.shape[3]))
            left = a[:, :, i][:, :, :, j].permute(1, 0, 2, 3).flatten(1)
            rows.append(b[:, :, p - i][:, :, :, q - j].flatten(1) @ left.t())
    shape = len(b), a.shape[1], a.shape[2] + b.shape[2] - 1, a.shape[3] + b.shape[3] - 1
    return torch.stack(rows, -1).reshape(shape).to(first.dtype)
