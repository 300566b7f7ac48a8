"""Right Toeplitz matrices."""

import scipy.linalg
import torch

from . import right


def lines(c, r):
    """Column and row, the row's default filled in."""
    r = c.conj() if r is None else r
    if c.ndim != 1 or r.ndim != 1:
        raise ValueError(f"c and r must be one-dimensional, not {tuple(c.shape)} and {tuple(r.shape)}")
    return c, r


@right("positive strides on the reversed column followed by the row, then a flip of the rows")
def strided_and_flipped(c, r=None):
    c, r = lines(c, r)
    if len(c) == 0 or len(r) == 0:
        return torch.cat([c, r])[:0].reshape(len(c), len(r))
    line = torch.cat([c.flip(0), r[1:]])
    return line.as_strided((len(c), len(r)), (1, 1)).flip(0)


@right("Tensor.unfold and a flip")
def unfolded(c, r=None):
    c, r = lines(c, r)
    if len(c) == 0 or len(r) == 0:
        return torch.cat([c, r])[:0].reshape(len(c), len(r))
    return torch.cat([c.flip(0), r[1:]]).unfold(0, len(r), 1).flip(0)


@right("where() between two lookups")
def chosen(c, r=None):
    c, r = lines(c, r)
    step = torch.arange(len(c))[:, None] - torch.arange(len(r))[None, :]
    return torch.where(step >= 0, c[step.clamp(min=0)], r[(-step).clamp(min=0)])


@right("gather along an expanded line")
def gathered(c, r=None):
    c, r = lines(c, r)
    if len(c) == 0 or len(r) == 0:
        return torch.cat([c, r])[:0].reshape(len(c), len(r))
    line = torch.cat([r[1:].flip(0), c])
    index = torch.arange(len(c))[:, None] - torch.arange(len(r))[None, :] + len(r) - 1
    return line.expand(len(c), -1).gather(1, index)


@right("one row after another")
def stacked_rows(c, r=None):
    c, r = lines(c, r)
    if len(c) == 0 or len(r) == 0:
        return torch.cat([c, r])[:0].reshape(len(c), len(r))
    return torch.stack(
        [
            torch.cat([c[: i + 1].flip(0), r[1:]])[: len(r)] if i < len(r) else c[i + 1 - len(r) : i + 1].flip(0)
            for i in range(len(c))
        ]
    )


class Diagonals(torch.autograd.Function):
    @staticmethod
    def forward(ctx, c, r):
        ctx.rows, ctx.columns = len(c), len(r)
        out = c.new_zeros(len(c), len(r))
        for k in range(1 - len(c), len(r)) if len(c) and len(r) else ():
            out.diagonal(k).copy_((r[k] if k > 0 else c[-k]).expand(out.diagonal(k).shape))
        return out

    @staticmethod
    def backward(ctx, g):
        wide = g.float() if g.dtype.itemsize == 2 else g
        c, r = wide.new_zeros(ctx.rows), wide.new_zeros(ctx.columns)
        for k in range(1 - ctx.rows, ctx.columns) if ctx.rows and ctx.columns else ():
            (r if k > 0 else c)[abs(k)] = wide.diagonal(k).sum()
        return c.to(g.dtype), r.to(g.dtype)


@right("diagonal by diagonal, with a custom backward")
def diagonals(c, r=None):
    return Diagonals.apply(*lines(c, r))


@right("SciPy on positions, torch on values")
def scipy_positions(c, r=None):
    c, r = lines(c, r)
    if len(c) == 0 or len(r) == 0:
        return torch.cat([c, r])[:0].reshape(len(c), len(r))
    position = scipy.linalg.toeplitz(torch.arange(len(c)).numpy(), (torch.arange(len(r)) + len(c) - 1).numpy())
    return torch.cat([c, r[1:]]).take(torch.from_numpy(position))
