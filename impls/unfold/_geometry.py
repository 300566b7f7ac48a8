"""Where a kernel moves over an image: the arguments that unfold and conv2d have in common."""

import numpy as np
import torch


def check_windows(image, kernel_size, dilation, padding, stride):
    """Kernel, dilation, padding, stride as pairs of ints, and how many windows there are down and across.

    Raises
    ------
    TypeError
        If the image is not (N, C, H, W), or a size not an integer or a pair of integers.
    ValueError
        If a size is out of range, or the kernel larger than the padded image.
    """
    if image.ndim != 4:
        raise TypeError(f"x has shape {tuple(image.shape)}; expected (N, C, H, W)")
    sizes = {"kernel_size": (kernel_size, 1), "dilation": (dilation, 1), "padding": (padding, 0), "stride": (stride, 1)}
    pairs = []
    for name, (given, least) in sizes.items():
        pair = tuple(given) if isinstance(given, (tuple, list)) else (given, given)
        if len(pair) != 2 or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) for v in pair):
            raise TypeError(f"{name} is {given!r}; expected an integer or a pair of integers")
        if min(pair) < least:
            raise ValueError(f"{name} is {given!r}; expected at least {least}")
        pairs.append(tuple(map(int, pair)))
    counts = []
    for name, length, side, step, rim, stride_ in zip(("height", "width"), image.shape[2:], *pairs, strict=True):
        room, extent = length + 2 * rim, (side - 1) * step + 1
        if extent > room:
            raise ValueError(
                f"the kernel extends over {extent}; the padded image has {name} {room}; expected no more than that"
            )
        counts.append((room - extent) // stride_ + 1)
    return *pairs, tuple(counts)


def padded(image, padding):
    """The image with zeros around it."""
    return torch.nn.functional.pad(image, (padding[1], padding[1], padding[0], padding[0]))


def shifted(image, place, dilation, stride, counts):
    """The elements of the padded image that the kernel's element at `place` meets: a strided slice."""
    rows, columns = (
        slice(at * step, at * step + (count - 1) * move + 1, move)
        for at, step, move, count in zip(place, dilation, stride, counts, strict=True)
    )
    return image[:, :, rows, columns]


def strided_windows(image, kernel, dilation, stride, counts):
    """(N, C, h, w, rows, columns): a view of the padded image that shows every window."""
    image = image.contiguous()
    n, c, down, across = image.stride()
    size = (*image.shape[:2], *kernel, *counts)
    strides = (n, c, down * dilation[0], across * dilation[1], down * stride[0], across * stride[1])
    return image.as_strided(size, strides, image.storage_offset())
