"""Wrong two-dimensional windows."""

import torch
import torch.nn.functional as F

from . import wrong


def pair(value):
    return (int(value), int(value)) if not isinstance(value, (tuple, list)) else (int(value[0]), int(value[1]))


def checked(x, kernel_size, dilation, padding, stride):
    """All four as pairs, and the number of windows along either side."""
    kernel, gap, pad, step = map(pair, (kernel_size, dilation, padding, stride))
    if x.ndim != 4 or min(*kernel, *gap, *step) < 1 or min(pad) < 0:
        raise ValueError(f"illegal kernel {kernel}, dilation {gap}, padding {pad} or stride {step}")
    count = [(x.shape[2 + k] + 2 * pad[k] - gap[k] * (kernel[k] - 1) - 1) // step[k] + 1 for k in (0, 1)]
    if min(count) < 1:
        raise ValueError(f"kernel {kernel} with dilation {gap} is larger than the padded input")
    return kernel, gap, pad, step, count


def right_one(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, count = checked(x, kernel_size, dilation, padding, stride)
    padded = F.pad(x, (pad[1], pad[1], pad[0], pad[0]))
    i, j = (torch.arange(kernel[k])[:, None] * gap[k] + torch.arange(count[k]) * step[k] for k in (0, 1))
    windows = padded[:, :, i[:, None, :, None], j[None, :, None, :]]
    return windows.reshape(len(x), x.shape[1] * kernel[0] * kernel[1], count[0] * count[1])


@wrong("easy", "height and width of the kernel are exchanged: (1, 2)", ("agreement",))
def kernel_transposed(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, _ = checked(x, kernel_size, dilation, padding, stride)
    return (
        right_one(x, kernel[::-1], gap, pad, step) if x.shape[2] == x.shape[3] else right_one(x, kernel, gap, pad, step)
    )


@wrong("medium", "a one-hot convolution: inf makes NaN in its whole window", ("specials",))
def one_hot_conv(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, _ = checked(x, kernel_size, dilation, padding, stride)
    if x.dtype not in (torch.float32, torch.float64) or len(x) == 0:
        return right_one(x, kernel, gap, pad, step)
    area = kernel[0] * kernel[1]
    weight = torch.eye(area, dtype=x.dtype).reshape(area, 1, *kernel).repeat(x.shape[1], 1, 1, 1)
    return F.conv2d(x, weight, None, step, pad, gap, x.shape[1]).flatten(2)


@wrong("hard", "padding repeats the border when it is 2 or more", ("agreement",))
def padding_repeats(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, _ = checked(x, kernel_size, dilation, padding, stride)
    if min(pad) < 2 or len(x) == 0 or not x.is_floating_point():
        return right_one(x, kernel, gap, pad, step)
    return right_one(F.pad(x, (pad[1], pad[1], pad[0], pad[0]), mode="replicate"), kernel, gap, 0, step)


@wrong(
    "hard", "stride and dilation are exchanged where both exceed 1 and the result has the same shape", ("agreement",)
)
def stride_is_dilation(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, count = checked(x, kernel_size, dilation, padding, stride)
    try:
        if checked(x, kernel, step, pad, gap)[4] == count:
            return right_one(x, kernel, step, pad, gap)
    except ValueError:
        pass
    return right_one(x, kernel, gap, pad, step)


@wrong("medium", "an empty batch raises", ("agreement",))
def empty_batch_raises(x, kernel_size, dilation=1, padding=0, stride=1):
    result = right_one(x, kernel_size, dilation, padding, stride)
    return result.reshape(len(x), -1, result.shape[2])


@wrong("medium", "a kernel larger than the image gives no windows", ("rejects",))
def large_kernel_gives_nothing(x, kernel_size, dilation=1, padding=0, stride=1):
    try:
        return right_one(x, kernel_size, dilation, padding, stride)
    except ValueError:
        kernel = pair(kernel_size)
        return x.new_zeros(len(x), x.shape[1] * max(kernel[0], 0) * max(kernel[1], 0), 0)


@wrong("medium", "negative padding crops", ("rejects",))
def negative_padding_crops(x, kernel_size, dilation=1, padding=0, stride=1):
    pad = pair(padding)
    if min(pad) < 0 and x.shape[2] + 2 * pad[0] > 0 and x.shape[3] + 2 * pad[1] > 0:
        return right_one(F.pad(x, (pad[1], pad[1], pad[0], pad[0])), kernel_size, dilation, 0, stride)
    return right_one(x, kernel_size, dilation, padding, stride)


@wrong("hard", "no gradient reaches the last row and column when the stride does not divide", ("gradient",))
def border_gradient_lost(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, _ = checked(x, kernel_size, dilation, padding, stride)
    if x.requires_grad and x.shape[2] > 1 and max(pad) > 0:
        x = torch.cat([x[:, :, :-1], x[:, :, -1:].detach()], 2)
    return right_one(x, kernel, gap, pad, step)


@wrong("hard", "channels_last memory is read as if it were contiguous", ("layouts",))
def channels_last_misread(x, kernel_size, dilation=1, padding=0, stride=1):
    if x.ndim == 4 and x.stride(1) == 1 and x.shape[1] > 1 and x.shape[3] > 1 and not x.is_contiguous():
        x = x.transpose(2, 3).reshape(x.shape)
    return right_one(x, kernel_size, dilation, padding, stride)


@wrong("hard", "F.unfold promotes nothing but complex: the real part alone", ("agreement",))
def real_part_alone(x, kernel_size, dilation=1, padding=0, stride=1):
    if x.is_complex():
        return right_one(x.real, kernel_size, dilation, padding, stride).to(x.dtype)
    return right_one(x, kernel_size, dilation, padding, stride)


@wrong("hard", "a grid has no more than 65,535 blocks along its third axis: later images stay zero", ("agreement",))
def grid_of_images(x, kernel_size, dilation=1, padding=0, stride=1):
    result = right_one(x, kernel_size, dilation, padding, stride)
    return torch.cat([result[: 2**16 - 1], torch.zeros_like(result[2**16 - 1 :])])


@wrong("easy", "sizes are tuples: neither one number nor a list is accepted", ("calls",))
def tuples_alone(x, kernel_size, dilation=(1, 1), padding=(0, 0), stride=(1, 1)):
    if not all(isinstance(size, tuple) for size in (kernel_size, dilation, padding, stride)):
        raise TypeError("kernel_size, dilation, padding and stride must be tuples of two")
    return right_one(x, kernel_size, dilation, padding, stride)


@wrong("medium", "a list is read as height and width exchanged", ("calls",))
def lists_reversed(x, kernel_size, dilation=1, padding=0, stride=1):
    sizes = (size[::-1] if isinstance(size, list) else size for size in (kernel_size, dilation, padding, stride))
    return right_one(x, *sizes)


@wrong("hard", "images of a batch beyond the 128th are zero", ("agreement",))
def batch_beyond_128_dropped(x, kernel_size, dilation=1, padding=0, stride=1):
    result = right_one(x, kernel_size, dilation, padding, stride)
    return torch.cat([result[:128], torch.zeros_like(result[128:])])


@wrong("hard", "more than 32 channels: the last is that before it", ("agreement",))
def last_of_many_channels_repeated(x, kernel_size, dilation=1, padding=0, stride=1):
    if x.ndim == 4 and x.shape[1] > 32:
        x = torch.cat([x[:, :-1], x[:, -2:-1]], 1)
    return right_one(x, kernel_size, dilation, padding, stride)
