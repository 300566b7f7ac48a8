"""Right divisions by the sum."""

import torch

from . import right


def widened(x, dim):
    """x in a dtype wide enough to add in."""
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"dim {dim} out of range for {x.ndim} dimensions")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@right("plain division")
def divided(x, dim):
    wide = widened(x, dim)
    return (wide / wide.sum(dim=int(dim), keepdim=True)).to(x.dtype)


class Normalized(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dim):
        ctx.dim, total = dim, x.sum(dim, keepdim=True)
        y = x / total
        ctx.save_for_backward(y, total)
        return y

    @staticmethod
    def backward(ctx, g):
        y, total = ctx.saved_tensors
        return (g - (g * y.conj()).sum(ctx.dim, keepdim=True)) / total.conj(), None


@right("closed form (g - sum(g y)) / s")
def closed_form(x, dim):
    return Normalized.apply(widened(x, dim), int(dim)).to(x.dtype)


@right("in double precision")
def in_double(x, dim):
    widened(x, dim)
    wide = x.to(torch.complex128 if x.is_complex() else torch.float64)
    return (wide / wide.sum(int(dim), keepdim=True)).to(x.dtype)


@right("slice after slice")
def slice_by_slice(x, dim):
    wide = widened(x, dim).movedim(int(dim), 0)
    total = wide[0]
    for part in wide[1:]:
        total = total + part
    return torch.stack([part / total for part in wide]).movedim(0, int(dim)).to(x.dtype)
