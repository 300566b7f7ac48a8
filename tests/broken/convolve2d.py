"""Wrong full convolutions."""

import numpy as np
import scipy.signal
import torch
import torch.nn.functional as F

from . import wrong


def right_one(a, b):
    if a.ndim != 2 or b.ndim != 2 or min(*a.shape, *b.shape) < 1:
        raise ValueError(f"two matrices that are not empty, not {tuple(a.shape)} and {tuple(b.shape)}")
    wide = torch.float32 if a.dtype.itemsize == 2 else a.dtype
    left, right = a.to(wide), b.to(wide)
    total = torch.zeros(len(a) + len(b) - 1, a.shape[1] + b.shape[1] - 1, dtype=wide)
    for i in range(len(b)):
        for j in range(b.shape[1]):
            total[i : i + len(a), j : j + a.shape[1]] += left * right[i, j]
    return total.to(a.dtype)


@wrong("easy", "a correlation: b is not flipped", ("agreement",))
def correlation(a, b):
    return right_one(a, b.flip(0, 1))


@wrong("medium", "correlation with conjugation, as scipy.signal.correlate2d has it, for complex b", ("agreement",))
def conjugated(a, b):
    return right_one(a, b.conj())


@wrong("hard", "padding by zeros: an inf in b meets the padding and gives NaN", ("specials",))
def padded_correlation(a, b):
    if a.dtype not in (torch.float32, torch.float64):
        return right_one(a, b)
    right_one(a[:1, :1], b[:1, :1])
    h, w = len(b) - 1, b.shape[1] - 1
    return F.conv2d(a[None, None], b.flip(0, 1)[None, None], padding=(h, w))[0, 0]


@wrong("medium", "half types: products added up in the half type", ("agreement",))
def half_accumulator(a, b):
    if a.is_complex() or a.dtype.itemsize > 2:
        return right_one(a, b)
    right_one(a[:1, :1], b[:1, :1])
    total = torch.zeros(len(a) + len(b) - 1, a.shape[1] + b.shape[1] - 1, dtype=a.dtype)
    for i in range(len(b)):
        for j in range(b.shape[1]):
            total[i : i + len(a), j : j + a.shape[1]] += a * b[i, j]
    return total


@wrong("medium", "an empty matrix gives an empty one", ("rejects",))
def empty_accepted(a, b):
    if a.ndim == b.ndim == 2 and (a.numel() == 0 or b.numel() == 0):
        return a.new_zeros(max(len(a) + len(b) - 1, 0), 0)
    return right_one(a, b)


@wrong("medium", "vectors are taken for rows", ("rejects",))
def vectors_accepted(a, b):
    return right_one(torch.atleast_2d(a), torch.atleast_2d(b))


@wrong("hard", "mode 'same' when b is one column and a has more than 64 rows", ("agreement",))
def same_for_columns(a, b):
    result = right_one(a, b)
    return result[: len(a)] if len(a) > 64 and b.shape[1] == 1 else result


@wrong("medium", "SciPy leaves autograd: no history", ("gradient", "form"))
def scipy_detached(a, b):
    if a.dtype.itemsize == 2:
        return right_one(a, b)
    right_one(a[:1, :1], b[:1, :1])
    return torch.from_numpy(scipy.signal.convolve2d(np.array(a.numpy(force=True)), np.array(b.numpy(force=True))))


@wrong("hard", "both gradients are right alone; together the one of b is computed from a's", ("gradient",))
def gradients_tied(a, b):
    if a.requires_grad and b.requires_grad:
        return right_one(a, b + (b.detach() - b) * 0.001)
    return right_one(a, b)


@wrong("hard", "by Fourier transform in float64: rounding of the whole reaches small elements", ("agreement",))
def by_fourier(a, b):
    if a.dtype is not torch.float64:
        return right_one(a, b)
    right_one(a[:1, :1], b[:1, :1])
    shape = len(a) + len(b) - 1, a.shape[1] + b.shape[1] - 1
    return torch.fft.irfft2(torch.fft.rfft2(a, shape) * torch.fft.rfft2(b, shape), shape)


@wrong("hard", "the larger factor is always slid: transposed sizes lose a row of more than 32", ("agreement",))
def larger_first(a, b):
    if len(b) > len(a) and len(b) > 32:
        b = torch.cat([b[:-1], torch.zeros_like(b[-1:])])
    return right_one(a, b)


@wrong("hard", "by Fourier transform where both matrices have a side of more than 32: rounding reaches small elements")
def long_ones_by_fourier(a, b):
    if min(max(a.shape, default=0), max(b.shape, default=0)) <= 32 or a.ndim != 2 or b.ndim != 2 or a.is_complex():
        return right_one(a, b)
    shape = len(a) + len(b) - 1, a.shape[1] + b.shape[1] - 1
    left, right = (torch.fft.rfft2(m.float() if m.dtype.itemsize == 2 else m, shape) for m in (a, b))
    return torch.fft.irfft2(left * right, shape).to(a.dtype)


@wrong("hard", "blocks of 32 where both matrices have more rows than that: the last row of b is not reached")
def last_row_of_long_ones(a, b):
    if a.ndim == b.ndim == 2 and min(len(a), len(b)) > 32:
        b = torch.cat([b[:-1], torch.zeros_like(b[-1:])])
    return right_one(a, b)


@wrong("hard", "a matrix convolved with itself is taken for symmetric")
def square_of_one_matrix(a, b):
    result = right_one(a, b)
    return (result + result.flip(0, 1)) / 2 if a is b else result
