"""Wrong circulant matrices."""

import torch

from . import wrong


def right_one(c):
    if c.ndim != 1:
        raise ValueError(f"c must be one-dimensional, not {tuple(c.shape)}")
    n = len(c)
    return c[(torch.arange(n)[:, None] - torch.arange(n)) % n] if n else c.reshape(0, 1)[:, :0]


@wrong("easy", "transposed: C[i, j] = c[j - i]", ("agreement",))
def transposed(c):
    return right_one(c).t()


@wrong("medium", "conjugated above the diagonal as a Toeplitz matrix of c alone would be", ("agreement",))
def hermitian(c):
    full = right_one(c)
    return torch.where(torch.ones(full.shape, dtype=torch.bool).tril(), full, full.conj())


@wrong("medium", "no element raises: modulo zero", ("agreement",))
def empty_raises(c):
    n = len(c)
    1 % n
    return right_one(c)


@wrong("hard", "one element comes back as shape (1,)", ("form",))
def one_element_squeezed(c):
    return right_one(c).squeeze(0) if c.shape == (1,) else right_one(c)


@wrong("medium", "a column (n, 1) is accepted", ("rejects",))
def column_accepted(c):
    return right_one(c[:, 0] if c.ndim == 2 and c.shape[1] == 1 else c)


class FirstColumn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, c):
        return right_one(c)

    @staticmethod
    def backward(ctx, g):
        return g[:, 0].clone() if g.numel() else g.reshape(-1)


@wrong("medium", "the gradient is that of the first column", ("gradient",))
def first_column_gradient(c):
    return FirstColumn.apply(c)


@wrong("hard", "rows from 128 on are rolled by one too few", ("agreement",))
def roll_off_past_128(c):
    full = right_one(c)
    return torch.cat([full[:128], full[128:].roll(-1, 1)])


@wrong(
    "hard", "the eigenvectors' way: right to rounding, but a movement must be exact, and NaN spreads", ("agreement",)
)
def by_fourier(c):
    if c.dtype not in (torch.float32, torch.float64) or c.ndim != 1 or len(c) == 0:
        return right_one(c)
    basis = torch.fft.fft(torch.eye(len(c), dtype=c.dtype), dim=0)
    return torch.fft.ifft(torch.fft.fft(c)[:, None] * basis, dim=0).real


LAST = {}


@wrong("hard", "remembered for the shape and the sum: a permuted c gives the old matrix", ("agreement", "determinism"))
def cached_by_sum(c):
    if c.requires_grad or c.ndim != 1 or not c.is_floating_point() or c.dtype.itemsize == 2:
        return right_one(c)
    key = len(c), c.dtype, float(c.sum())
    return LAST.setdefault(key, right_one(c)).clone()


steps = {}


@wrong("hard", "indices kept from a call under inference mode, which autograd does not take", ("determinism",))
def inference_tensors_kept(c):
    right_one(c[:0])
    n = len(c)
    if n not in steps:
        steps[n] = (torch.arange(n)[:, None] - torch.arange(n)) % max(n, 1)
    return c[steps[n]]


@wrong("hard", "the gradient of a complex c is not conjugated back", ("gradient", "determinism"))
def gradient_left_conjugated(c):
    full = right_one(c)
    return full.detach() + (full.conj() - full.conj().detach()) if c.is_complex() and c.requires_grad else full
