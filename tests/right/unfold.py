"""Right two-dimensional windows."""

import torch
import torch.nn.functional as F

from . import right


def pair(value):
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else (int(value), int(value))


def checked(x, kernel_size, dilation, padding, stride):
    """All four as pairs, and the number of windows along either side."""
    kernel, gap, pad, step = map(pair, (kernel_size, dilation, padding, stride))
    if x.ndim != 4:
        raise ValueError(f"x must have four dimensions, not {x.ndim}")
    if min(*kernel, *gap, *step) < 1:
        raise ValueError(f"kernel {kernel}, dilation {gap} and stride {step} must be positive")
    if min(pad) < 0:
        raise ValueError(f"padding {pad} must not be negative")
    reach = [x.shape[2 + k] + 2 * pad[k] - gap[k] * (kernel[k] - 1) for k in (0, 1)]
    if min(reach) < 1:
        raise ValueError(f"kernel {kernel} with dilation {gap} is larger than the padded input")
    return kernel, gap, pad, step, [(reach[k] - 1) // step[k] + 1 for k in (0, 1)]


@right("shifted slices, stacked")
def shifted(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, count = checked(x, kernel_size, dilation, padding, stride)
    padded = F.pad(x, (pad[1], pad[1], pad[0], pad[0]))
    parts = []
    for i in range(0, kernel[0] * gap[0], gap[0]):
        for j in range(0, kernel[1] * gap[1], gap[1]):
            reach = (
                slice(i, i + (count[0] - 1) * step[0] + 1, step[0]),
                slice(j, j + (count[1] - 1) * step[1] + 1, step[1]),
            )
            parts.append(padded[:, :, reach[0], reach[1]])
    return torch.stack(parts, 2).reshape(len(x), x.shape[1] * len(parts), count[0] * count[1])


@right("advanced indexing")
def indexed(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, count = checked(x, kernel_size, dilation, padding, stride)
    padded = F.pad(x, (pad[1], pad[1], pad[0], pad[0]))
    i, j = (torch.arange(kernel[k])[:, None] * gap[k] + torch.arange(count[k]) * step[k] for k in (0, 1))
    windows = padded[:, :, i[:, None, :, None], j[None, :, None, :]]
    return windows.reshape(len(x), x.shape[1] * kernel[0] * kernel[1], count[0] * count[1])


@right("Tensor.unfold twice, the dilated ones picked out")
def unfolded_twice(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, count = checked(x, kernel_size, dilation, padding, stride)
    windows = F.pad(x, (pad[1], pad[1], pad[0], pad[0]))
    for k in (0, 1):
        windows = windows.unfold(2 + k, gap[k] * (kernel[k] - 1) + 1, step[k])
    windows = windows[..., :: gap[0], :: gap[1]].permute(0, 1, 4, 5, 2, 3)
    return windows.reshape(len(x), x.shape[1] * kernel[0] * kernel[1], count[0] * count[1])


@right("torch's own for the types it takes, real and imaginary part apart")
def builtin(x, kernel_size, dilation=1, padding=0, stride=1):
    kernel, gap, pad, step, _ = checked(x, kernel_size, dilation, padding, stride)
    if x.is_complex():
        return torch.complex(F.unfold(x.real, kernel, gap, pad, step), F.unfold(x.imag, kernel, gap, pad, step))
    return F.unfold(x, kernel, gap, pad, step)
