"""Wrong compositions of two convolutions."""

import torch
import torch.nn.functional as F

from . import wrong


def right_one(first, second):
    if first.ndim != 4 or second.ndim != 4 or second.shape[1] != first.shape[0]:
        raise ValueError(f"middle channels differ: {tuple(first.shape)} and {tuple(second.shape)}")
    wide = torch.float32 if first.dtype.itemsize == 2 else first.dtype
    rows, image, kernel = first.shape[2:], first.to(wide), second.to(wide)
    sides = rows[0] + second.shape[2] - 1, rows[1] + second.shape[3] - 1
    total = image.new_zeros(len(second), first.shape[1], *sides)
    for i in range(second.shape[2]):
        for j in range(second.shape[3]):
            part = torch.einsum("om,mihw->oihw", kernel[:, :, i, j], image)
            whole = F.pad(part, (j, second.shape[3] - 1 - j, i, second.shape[2] - 1 - i))
            inside = F.pad(torch.ones(rows, dtype=torch.bool), (j, second.shape[3] - 1 - j, i, second.shape[2] - 1 - i))
            total = torch.where(inside, total + whole, total)
    return total.to(first.dtype)


@wrong("easy", "the second kernel is not flipped: right only for symmetric kernels", ("agreement",))
def not_flipped(first, second):
    return right_one(first, second.flip(2, 3))


@wrong("medium", "flipped along one axis only", ("agreement",))
def flipped_once(first, second):
    return right_one(first, second.flip(2)) if second.shape[2] > 2 else right_one(first, second)


@wrong("hard", "padding by zeros times kernel: an inf reaches outside its window as NaN", ("specials",))
def padded_correlation(first, second):
    if first.dtype not in (torch.float32, torch.float64):
        return right_one(first, second)
    right_one(first[:, :, :1, :1], second[:, :, :1, :1])
    h, w = second.shape[2] - 1, second.shape[3] - 1
    return F.conv2d(first.transpose(0, 1), second.flip(2, 3), padding=(h, w)).transpose(0, 1)


@wrong("medium", "half types: the sum over positions is rounded at every step", ("agreement",))
def half_accumulator(first, second):
    if first.is_complex() or first.dtype.itemsize > 2:
        return right_one(first, second)
    total = 0
    for m in range(len(first)):
        total = total + right_one(first[m : m + 1], second[:, m : m + 1])
    return total if second.shape[1] == len(first) else right_one(first, second)


@wrong("hard", "half types: cast inside the loop, so that gradients are rounded for each position", ("gradient",))
def cast_in_loop(first, second):
    right_one(first.detach()[:, :, :1, :1], second.detach()[:, :, :1, :1])
    h, w = first.shape[2:]
    wide = torch.float32 if first.dtype.itemsize == 2 else first.dtype
    sides = h + second.shape[2] - 1, w + second.shape[3] - 1
    out = torch.zeros(len(second), first.shape[1], *sides, dtype=wide)
    for i in range(second.shape[2]):
        for j in range(second.shape[3]):
            part = torch.einsum("om,mihw->oihw", second[:, :, i, j].to(wide), first.to(wide))
            out[:, :, i : i + h, j : j + w] += part
    return out.to(first.dtype)


@wrong("medium", "one middle channel is broadcast", ("rejects",))
def middle_broadcast(first, second):
    if second.ndim == first.ndim == 4 and second.shape[1] == 1:
        second = second.expand(-1, len(first), -1, -1)
    return right_one(first, second)


@wrong("medium", "surplus middle channels are cut", ("rejects",))
def middle_cut(first, second):
    middle = min(len(first), second.shape[1])
    return right_one(first[:middle], second[:, :middle])


@wrong("hard", "input and output channels are exchanged where they agree in number", ("agreement",))
def channels_exchanged(first, second):
    result = right_one(first, second)
    return result.transpose(0, 1) if result.shape[0] == result.shape[1] else result


@wrong("hard", "the gradient of first is lost where second needs one too", ("gradient",))
def first_gradient_lost(first, second):
    return right_one(first.detach() if second.requires_grad else first, second)


@wrong("hard", "0.1 % too little gradient for second", ("gradient",))
def gradient_off_by_a_thousandth(first, second):
    if second.requires_grad:
        second = second.clone()
        second.register_hook(lambda g: g * 0.999)
    return right_one(first, second)


@wrong(
    "medium",
    "the last row is cut: size of the larger kernel for one-row kernels of width above 2",
    ("form", "agreement"),
)
def cut_to_larger(first, second):
    result = right_one(first, second)
    return result[..., :-1] if second.shape[3] == 2 and first.shape[3] == 3 else result


@wrong("hard", "blocks of 32 where both kernels have more rows than that: the last row of the second is not reached")
def last_row_of_long_ones(first, second):
    if first.ndim == second.ndim == 4 and min(first.shape[2], second.shape[2]) > 32:
        second = torch.cat([second[:, :, :-1], torch.zeros_like(second[:, :, -1:])], 2)
    return right_one(first, second)


@wrong("hard", "middle channels beyond the 32nd are left out", ("agreement",))
def middle_beyond_32_dropped(first, second):
    right_one(first[:, :1, :1, :1], second[:1, :, :1, :1])
    return right_one(first[:32], second[:, :32])


@wrong(
    "hard",
    "in blocks of 16 outputs, of which an incomplete last one has no gradient for the first kernel",
    ("gradient",),
)
def gradient_of_output_tail_lost(first, second):
    right_one(first[:, :1, :1, :1], second[:1, :, :1, :1])
    whole = len(second) // 16 * 16 or len(second)
    parts = [right_one(first, second[:whole]), right_one(first.detach(), second[whole:])]
    return torch.cat(parts[: 1 + (whole < len(second))])
