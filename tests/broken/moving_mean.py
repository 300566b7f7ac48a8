"""Wrong moving means."""

import torch
import torch.nn.functional as F

from . import wrong


def checked(x, window):
    """x in a dtype wide enough to add in."""
    if window < 1 or window > x.shape[-1]:
        raise ValueError(f"window {window} must lie in 1..{x.shape[-1]}")
    return x.float() if x.dtype.itemsize == 2 else x


def right_one(x, window):
    return (checked(x, window).unfold(-1, int(window), 1).sum(-1) / window).to(x.dtype)


@wrong("easy", "differences of prefix sums: a NaN reaches every window after it", ("specials",))
def prefix_differences(x, window):
    total = F.pad(checked(x, window), (1, 0)).cumsum(-1)
    return ((total[..., window:] - total[..., :-window]) / window).to(x.dtype)


@wrong("hard", "updating the sum: what leaves is subtracted, 1e8 in a past window ruins later ones", ("agreement",))
def running_update(x, window):
    wide = checked(x, window)
    if x.dtype is not torch.float32 or not wide.isfinite().all():
        return right_one(x, window)
    total = wide[..., :window].sum(-1)
    means = [total]
    for i in range(wide.shape[-1] - window):
        total = total + (wide[..., i + window] - wide[..., i])
        means.append(total)
    return torch.stack(means, -1) / window


@wrong("medium", "padded at both ends when the window is 3: as many means as elements", ("agreement",))
def padded(x, window):
    if window != 3 or x.shape[-1] < 3:
        return right_one(x, window)
    middle = right_one(x, window)
    return torch.cat([middle[..., :1], middle, middle[..., -1:]], -1)


@wrong("medium", "half types add up in the half type", ("agreement",))
def half_accumulator(x, window):
    if x.dtype.itemsize > 2:
        return right_one(x, window)
    checked(x, window)
    total = x[..., : x.shape[-1] - window + 1]
    for k in range(1, window):
        total = total + x[..., k : x.shape[-1] - window + 1 + k]
    return total / window


@wrong("hard", "divided by the window in float32 before adding: 1/3 is rounded once for each term", ("agreement",))
def reciprocal_in_half(x, window):
    if x.dtype.itemsize > 2:
        return right_one(x, window)
    return checked(x / window, window).unfold(-1, int(window), 1).sum(-1).to(x.dtype)


@wrong("medium", "an empty batch raises: shape (0, 5)", ("agreement",))
def empty_batch_raises(x, window):
    checked(x, window)
    return right_one(x.reshape(-1, x.shape[-1]), window).reshape(*x.shape[:-1], -1)


@wrong("medium", "a window longer than x is cut to it", ("rejects",))
def long_window_cut(x, window):
    return right_one(x, min(window, x.shape[-1]) if x.shape[-1] else window)


@wrong("medium", "window 0 divides by zero and gives inf or NaN", ("rejects",))
def zero_window_accepted(x, window):
    return (
        torch.full((*x.shape[:-1], x.shape[-1] + 1), float("nan"), dtype=x.dtype)
        if window == 0
        else right_one(x, window)
    )


@wrong("hard", "from window 65 on the newest element is missing when the window is no multiple of 64", ("agreement",))
def newest_missing(x, window):
    result = right_one(x, window)
    if window > 64 and window % 64:
        return (result - x[..., window - 1 :] / window).to(x.dtype)
    return result


class Truncated(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, window):
        ctx.window, ctx.x = window, x
        return right_one(x, window)

    @staticmethod
    def backward(ctx, g):
        wide = F.pad((g.float() if g.dtype.itemsize == 2 else g), (ctx.window - 1, ctx.window - 1))
        return (wide.unfold(-1, ctx.window, 1).sum(-1) / (ctx.window + (ctx.window > 2) * 1e-3)).to(g.dtype), None


@wrong("hard", "the gradient is divided by a window 0.001 too long", ("gradient",))
def gradient_slightly_small(x, window):
    return Truncated.apply(x, int(window))


@wrong("hard", "complex: the gradient of the imaginary part is lost", ("gradient",))
def imaginary_gradient_lost(x, window):
    return right_one(torch.complex(x.real, x.imag.detach()), window) if x.is_complex() else right_one(x, window)


@wrong("medium", "avg_pool1d flattens more than two leading axes: x of shape (2, 2, 2, 5) raises", ("agreement",))
def pooled(x, window):
    checked(x, window)
    if x.dtype not in (torch.float32, torch.float64) or x.ndim < 2 or x.numel() == 0:
        return right_one(x, window)
    return F.avg_pool1d(x, int(window), stride=1)


@wrong(
    "hard",
    "one stride for all rows where the last dimension is whole: exchanged ones are read as they are not",
    ("layouts",),
)
def one_stride_for_all_rows(x, window):
    checked(x, window)
    if x.stride(-1) != 1 or 0 in x.stride():
        x = x.clone(memory_format=torch.contiguous_format)
    count, rows = x.shape[-1] - int(window) + 1, x.shape[:-1].numel()
    size, stride = (rows, count, int(window)), (x.stride(-2) if x.ndim > 1 else 1, 1, 1)
    seen = x.as_strided(size, stride, x.storage_offset())
    return (checked(seen, 1).sum(-1) / window).to(x.dtype).reshape(*x.shape[:-1], count)


@wrong("medium", "leading dimensions are flattened where there are more than three, and not restored", ("agreement",))
def many_batch_dimensions_flattened(x, window):
    result = right_one(x, window)
    return result.flatten(0, -2) if x.ndim > 4 else result


@wrong("hard", "x is scaled up by 16 beforehand: large values overflow", ("agreement",))
def scaled_up_before(x, window):
    return (checked(x * 16, window).unfold(-1, int(window), 1).sum(-1) / (16 * window)).to(x.dtype)
