"""Right sliding windows."""

import torch

from . import right


def checked(x, size, step):
    """The number of windows."""
    if x.ndim == 0:
        raise ValueError("x needs at least one dimension")
    if size < 1 or size > x.shape[-1]:
        raise ValueError(f"size {size} must lie in 1..{x.shape[-1]}")
    if step < 1:
        raise ValueError(f"step {step} must be at least 1")
    return (x.shape[-1] - int(size)) // int(step) + 1


@right("Tensor.unfold")
def unfolded(x, size, step=1):
    checked(x, size, step)
    return x.unfold(-1, int(size), int(step))


@right("windows stacked one by one")
def stacked(x, size, step=1):
    count = checked(x, size, step)
    return torch.stack([x[..., i * step : i * step + size] for i in range(count)], -2)


@right("shifted slices side by side")
def shifted(x, size, step=1):
    count = checked(x, size, step)
    reach = (count - 1) * step + 1
    return torch.stack([x[..., k : k + reach : step] for k in range(size)], dim=-1)


@right("as_strided on a contiguous copy")
def strided(x, size, step=1):
    count = checked(x, size, step)
    flat = x.clone(memory_format=torch.contiguous_format)
    if x.numel() == 0:
        return flat.unfold(-1, int(size), int(step))
    return torch.as_strided(flat, (*x.shape[:-1], count, int(size)), (*flat.stride()[:-1], int(step), 1))
