"""Wrong cross-correlations."""

import torch
import torch.nn.functional as F

from . import wrong


def pair(value):
    return (int(value), int(value)) if not isinstance(value, (tuple, list)) else (int(value[0]), int(value[1]))


def checked(x, weight, stride, padding, dilation):
    step, pad, gap = map(pair, (stride, padding, dilation))
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"x {tuple(x.shape)} and weight {tuple(weight.shape)} do not fit")
    if min(*step, *gap) < 1 or min(pad) < 0:
        raise ValueError(f"illegal stride {step}, padding {pad} or dilation {gap}")
    count = [(x.shape[2 + k] + 2 * pad[k] - gap[k] * (weight.shape[2 + k] - 1) - 1) // step[k] + 1 for k in (0, 1)]
    if min(count) < 1:
        raise ValueError("the kernel is larger than the padded input")
    return step, pad, gap, count


def windows(x, weight, step, pad, gap, count):
    padded = F.pad(x, (pad[1], pad[1], pad[0], pad[0]))
    i, j = (torch.arange(weight.shape[2 + k])[:, None] * gap[k] + torch.arange(count[k]) * step[k] for k in (0, 1))
    return padded[:, :, i[:, None, :, None], j[None, :, None, :]]


def right_one(x, weight, stride=1, padding=0, dilation=1):
    step, pad, gap, count = checked(x, weight, stride, padding, dilation)
    wide = torch.float32 if x.dtype.itemsize == 2 and not x.is_complex() else x.dtype
    rows = windows(x.to(wide), weight, step, pad, gap, count).flatten(1, 3).flatten(2)
    return (weight.to(wide).flatten(1) @ rows).reshape(len(x), len(weight), *count).to(x.dtype)


@wrong("easy", "a convolution: the kernel is flipped", ("agreement",))
def flipped(x, weight, stride=1, padding=0, dilation=1):
    return right_one(x, weight.flip(2, 3), stride, padding, dilation)


@wrong("medium", "half types add up in the half type, channel by channel", ("agreement",))
def half_accumulator(x, weight, stride=1, padding=0, dilation=1):
    if x.is_complex() or x.dtype.itemsize > 2:
        return right_one(x, weight, stride, padding, dilation)
    rows = windows(x, weight, *checked(x, weight, stride, padding, dilation))
    total = 0
    for c in range(x.shape[1]):
        for i in range(weight.shape[2]):
            for j in range(weight.shape[3]):
                total = total + rows[:, None, c, i, j] * weight[:, c, i, j][:, None, None]
    return total


@wrong("medium", "stride (2, 1) is taken for (2, 2): the first of a pair for both", ("agreement", "form"))
def stride_of_first(x, weight, stride=1, padding=0, dilation=1):
    return right_one(x, weight, pair(stride)[0], padding, dilation)


@wrong("medium", "one-channel inputs are broadcast to any number of channels", ("rejects",))
def channels_broadcast(x, weight, stride=1, padding=0, dilation=1):
    if x.ndim == weight.ndim == 4 and x.shape[1] == 1:
        x = x.expand(-1, weight.shape[1], -1, -1)
    return right_one(x, weight, stride, padding, dilation)


@wrong("hard", "groups are guessed when the channels are twice the weight's", ("rejects",))
def groups_guessed(x, weight, stride=1, padding=0, dilation=1):
    if x.ndim == weight.ndim == 4 and x.shape[1] == 2 * weight.shape[1] and weight.shape[0] % 2 == 0:
        return F.conv2d(x, weight, None, pair(stride), pair(padding), pair(dilation), 2)
    return right_one(x, weight, stride, padding, dilation)


@wrong("medium", "the output of one image loses its batch axis", ("form",))
def one_image_squeezed(x, weight, stride=1, padding=0, dilation=1):
    return right_one(x, weight, stride, padding, dilation).squeeze(0)


@wrong("hard", "the gradient of the weight is averaged over the batch when x needs one too", ("gradient",))
def weight_gradient_averaged(x, weight, stride=1, padding=0, dilation=1):
    if weight.requires_grad and x.requires_grad and len(x) > 1:
        weight = weight.clone()
        weight.register_hook(lambda g: g / len(x))
    return right_one(x, weight, stride, padding, dilation)


@wrong("hard", "complex: the gradient of x is not conjugated", ("gradient",))
def gradient_not_conjugated(x, weight, stride=1, padding=0, dilation=1):
    result = right_one(x.detach(), weight, stride, padding, dilation)
    if x.is_complex() and x.requires_grad:
        other = right_one(x, weight.detach().conj(), stride, padding, dilation)
        return torch.where(torch.ones((), dtype=torch.bool), result + (other - other.detach()), result)
    return right_one(x, weight, stride, padding, dilation)


@wrong("medium", "an empty batch raises", ("agreement",))
def empty_batch_raises(x, weight, stride=1, padding=0, dilation=1):
    result = right_one(x, weight, stride, padding, dilation)
    return result.reshape(len(x), -1, *result.shape[2:])


@wrong("hard", "by Fourier transform: an inf in a corner makes everything NaN", ("specials",))
def by_fourier(x, weight, stride=1, padding=0, dilation=1):
    step, pad, gap, count = checked(x, weight, stride, padding, dilation)
    if x.dtype is not torch.float64 or step != (1, 1) or gap != (1, 1) or len(x) == 0:
        return right_one(x, weight, step, pad, gap)
    padded = F.pad(x, (pad[1], pad[1], pad[0], pad[0]))
    spectrum = torch.fft.fft2(padded.contiguous())[:, None] * torch.fft.fft2(weight, padded.shape[2:]).conj()
    return torch.fft.ifft2(spectrum.sum(2)).real[..., : count[0], : count[1]]


@wrong("hard", "the kernel is taken as symmetric when dilated in both directions", ("agreement",))
def dilated_transposed(x, weight, stride=1, padding=0, dilation=1):
    gap = pair(dilation)
    square = weight.ndim == 4 and weight.shape[2] == weight.shape[3]
    return right_one(x, weight.transpose(2, 3) if square and min(gap) > 1 else weight, stride, padding, dilation)


@wrong("hard", "large kernels take another way, on which rows and columns of windows are exchanged", ("agreement",))
def large_kernels_transposed(x, weight, stride=1, padding=0, dilation=1):
    step, pad, gap, count = checked(x, weight, stride, padding, dilation)
    if weight.shape[2] * weight.shape[3] <= 16 or max(gap) > 1:
        return right_one(x, weight, stride, padding, dilation)
    wide = torch.float32 if x.dtype.itemsize == 2 and not x.is_complex() else x.dtype
    image = F.pad(x.to(wide), (pad[1], pad[1], pad[0], pad[0]))
    seen = image.unfold(2, weight.shape[2], step[0]).unfold(3, weight.shape[3], step[1])
    rows = seen.permute(0, 1, 4, 5, 3, 2).flatten(4).flatten(1, 3)
    return (weight.to(wide).flatten(1) @ rows).reshape(len(x), len(weight), *count).to(x.dtype)


@wrong("medium", "one row and column of zeros around the image where padding is left out", ("calls",))
def padded_by_default(x, weight, stride=1, padding=1, dilation=1):
    return right_one(x, weight, stride, padding, dilation)


@wrong("hard", "channels beyond the last whole block of 16 are dropped, from 17 on", ("agreement",))
def channel_tail_dropped(x, weight, stride=1, padding=0, dilation=1):
    checked(x, weight, stride, padding, dilation)
    whole = x.shape[1] // 16 * 16 or x.shape[1]
    return right_one(x[:, :whole], weight[:, :whole], stride, padding, dilation)


@wrong("hard", "the gradient of the weight comes from the last 64 images, or fewer, of a larger batch", ("gradient",))
def weight_gradient_of_last_chunk(x, weight, stride=1, padding=0, dilation=1):
    checked(x, weight, stride, padding, dilation)
    chunks = [*x.split(64)]
    results = [right_one(chunk, weight.detach(), stride, padding, dilation) for chunk in chunks[:-1]]
    return torch.cat([*results, right_one(chunks[-1], weight, stride, padding, dilation)])


@wrong("hard", "a gradient is lost: kernels from the 129th on have none", ("gradient",))
def kernels_beyond_128_detached(x, weight, stride=1, padding=0, dilation=1):
    checked(x, weight, stride, padding, dilation)
    weight = torch.cat([weight[:128], weight[128:].detach()])
    return right_one(x, weight, stride, padding, dilation)
