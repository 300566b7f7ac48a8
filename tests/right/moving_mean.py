"""Right moving means."""

import torch

from . import right


def checked(x, window):
    """x in a dtype wide enough to add in."""
    if window < 1:
        raise ValueError(f"window {window} must be at least 1")
    if window > x.shape[-1]:
        raise ValueError(f"window {window} is longer than the axis, {x.shape[-1]}")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


@right("windows and their mean")
def unfolded(x, window):
    return checked(x, window).unfold(-1, int(window), 1).mean(-1).to(x.dtype)


@right("windows times weights: of each product half a subnormal number may be lost")
def weighted(x, window):
    wide = checked(x, window)
    return (
        (wide.unfold(-1, int(window), 1) * torch.full((int(window),), 1 / window, dtype=wide.dtype)).sum(-1).to(x.dtype)
    )


@right("shifted slices added up")
def shifted(x, window):
    wide = checked(x, window)
    count = x.shape[-1] - window + 1
    return (sum(wide[..., k : k + count] for k in range(window)) / window).to(x.dtype)


@right("sums over powers of two, put together without subtraction")
def doubling(x, window):
    level, size, done, total = checked(x, window), 1, 0, None
    count = x.shape[-1] - window + 1
    while size <= window:
        if window & size:
            part = level[..., done : done + count]
            total, done = part if total is None else total + part, done + size
        level, size = (
            level[..., : level.shape[-1] - size] + level[..., size:] if 2 * size <= window else level,
            2 * size,
        )
    return (total / int(window)).to(x.dtype)


class Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, window):
        ctx.window, ctx.shape = window, x.shape
        return x.unfold(-1, window, 1).sum(-1) / window

    @staticmethod
    def backward(ctx, g):
        gradient = g.new_zeros(ctx.shape)
        for k in range(ctx.window):
            gradient[..., k : k + g.shape[-1]] += g
        return gradient / ctx.window, None


@right("custom backward that spreads each mean over its window, in double precision")
def spread(x, window):
    checked(x, window)
    wide = x.to(torch.complex128 if x.is_complex() else torch.float64)
    return Spread.apply(wide, int(window)).to(x.dtype)
