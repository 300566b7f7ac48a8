"""Wrong sliding windows."""

import torch
import torch.nn.functional as F

from . import wrong


def checked(x, size, step):
    if x.ndim == 0 or size < 1 or step < 1 or size > x.shape[-1]:
        raise ValueError(f"size {size} and step {step} do not fit an axis of {tuple(x.shape)[-1:]}")


def right_one(x, size, step=1):
    checked(x, size, step)
    count = (x.shape[-1] - size) // step + 1
    return x[..., torch.arange(count)[:, None] * step + torch.arange(size)]


@wrong("easy", "windows in number n // step: arange(5), 3, 2 raises or has one more", ("agreement",))
def windows_rounded_up(x, size, step=1):
    checked(x, size, step)
    count = -(-(x.shape[-1] - size + 1) // step)
    if (x.shape[-1] - size) % step:
        count += 1
    place = torch.arange(count)[:, None] * step + torch.arange(size)
    return x[..., place.clamp(max=x.shape[-1] - 1)]


@wrong("medium", "a convolution with one-hot kernels: an inf makes its whole window NaN", ("specials",))
def one_hot_conv(x, size, step=1):
    checked(x, size, step)
    if x.dtype not in (torch.float32, torch.float64) or x.numel() == 0:
        return right_one(x, size, step)
    rows = F.conv1d(x.reshape(-1, 1, x.shape[-1]), torch.eye(size, dtype=x.dtype)[:, None], stride=int(step))
    return rows.transpose(1, 2).reshape(*x.shape[:-1], -1, size)


@wrong("hard", "strides of x's last axis are taken for 1: x[..., ::2]", ("layouts",))
def unit_stride_assumed(x, size, step=1):
    checked(x, size, step)
    if x.numel() == 0 or x.stride(-1) < 1:
        return right_one(x, size, step)
    count = (x.shape[-1] - size) // step + 1
    return x.as_strided((*x.shape[:-1], count, size), (*x.stride()[:-1], step, 1))


@wrong("medium", "step = 0 is taken for 1", ("rejects",))
def zero_step_accepted(x, size, step=1):
    return right_one(x, size, step or 1)


@wrong("medium", "size 0 gives empty windows, as Tensor.unfold does", ("rejects",))
def zero_size_accepted(x, size, step=1):
    return x.unfold(-1, int(size), int(step)) if size == 0 and x.ndim else right_one(x, size, step)


@wrong("medium", "0-d x is one window of one: Tensor.unfold's habit", ("rejects",))
def zero_d_accepted(x, size, step=1):
    return x.unfold(0, int(size), int(step)).clone() if x.ndim == 0 else right_one(x, size, step)


@wrong("medium", "an empty batch raises: the number of columns cannot be guessed", ("agreement",))
def empty_batch_raises(x, size, step=1):
    checked(x, size, step)
    return right_one(x.reshape(-1, x.shape[-1]), size, step).reshape(*x.shape[:-1], -1, size)


class StepsOverwritten(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, size, step):
        ctx.shape, ctx.step = x.shape, step
        return right_one(x, size, step)

    @staticmethod
    def backward(ctx, g):
        gradient = g.new_zeros(ctx.shape)
        for i in range(g.shape[-2]):
            gradient[..., i * ctx.step : i * ctx.step + g.shape[-1]] += g[..., i, :] if i < 64 else g[..., 63, :] * 0
        return gradient, None, None


@wrong("hard", "no gradient from window 64 on", ("gradient",))
def gradient_stops_at_64(x, size, step=1):
    return StepsOverwritten.apply(x, size, step)


@wrong("hard", "every window is a copy kept by (shape, size, step) and filled again", ("determinism",))
def reused_buffer(x, size, step=1, *, kept={}):  # noqa: B006
    result = right_one(x, size, step)
    if result.requires_grad:
        return result
    return kept.setdefault((result.shape, result.dtype), torch.empty_like(result)).copy_(result)


@wrong("medium", "step is a required argument", ("calls",))
def step_required(x, size, step):
    return right_one(x, size, step)
