"""Right cross-correlations."""

import torch
import torch.nn.functional as F

from . import right


def pair(value):
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else (int(value), int(value))


def checked(x, weight, stride, padding, dilation):
    """The three as pairs, the output's sides, and a dtype wide enough to add in."""
    step, pad, gap = map(pair, (stride, padding, dilation))
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"x {tuple(x.shape)} and weight {tuple(weight.shape)} do not fit")
    if min(*step, *gap) < 1 or min(pad) < 0:
        raise ValueError(f"illegal stride {step}, padding {pad} or dilation {gap}")
    count = [(x.shape[2 + k] + 2 * pad[k] - gap[k] * (weight.shape[2 + k] - 1) - 1) // step[k] + 1 for k in (0, 1)]
    if min(count) < 1:
        raise ValueError("the kernel is larger than the padded input")
    return step, pad, gap, count, torch.float32 if x.dtype in (torch.float16, torch.bfloat16) else x.dtype


@right("torch's own on float32 or wider")
def builtin(x, weight, stride=1, padding=0, dilation=1):
    step, pad, gap, _, wide = checked(x, weight, stride, padding, dilation)
    return F.conv2d(x.to(wide), weight.to(wide), stride=step, padding=pad, dilation=gap).to(x.dtype)


@right("shifted images times a weight each, added up")
def shifted(x, weight, stride=1, padding=0, dilation=1):
    step, pad, gap, count, wide = checked(x, weight, stride, padding, dilation)
    image, kernel = F.pad(x, (pad[1], pad[1], pad[0], pad[0])).to(wide), weight.to(wide)
    total = 0
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            piece = image[:, :, i * gap[0] :: step[0], j * gap[1] :: step[1]][:, :, : count[0], : count[1]]
            total = total + torch.einsum("nchw,oc->nohw", piece, kernel[:, :, i, j])
    return total.to(x.dtype)


@right("overlapping windows, multiplied and summed in double precision")
def windows_times_weight(x, weight, stride=1, padding=0, dilation=1):
    step, pad, gap, _, _ = checked(x, weight, stride, padding, dilation)
    wide = torch.complex128 if x.is_complex() else torch.float64
    image = F.pad(x, (pad[1], pad[1], pad[0], pad[0])).to(wide)
    for k in (0, 1):
        image = image.unfold(2 + k, gap[k] * (weight.shape[2 + k] - 1) + 1, step[k])
    rows = image[..., :: gap[0], :: gap[1]].permute(0, 2, 3, 1, 4, 5).flatten(3)
    result = rows.unsqueeze(3).mul(weight.to(wide).flatten(1)).sum(-1)
    return result.permute(0, 3, 1, 2).to(x.dtype)
