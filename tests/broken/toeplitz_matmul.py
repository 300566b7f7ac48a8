"""Wrong products with a Toeplitz matrix."""

import torch

from . import wrong


def matrix(c, r, x):
    """The Toeplitz matrix in a dtype wide enough to add in, and x in the same."""
    if c.ndim != 1 or r.ndim != 1 or x.ndim not in (1, 2) or len(x) != len(r):
        raise ValueError(f"x has {len(x)} rows where r has {len(r)} entries")
    wide = torch.float32 if c.dtype in (torch.float16, torch.bfloat16) else c.dtype
    line = torch.cat([r[1:].flip(0), c]).to(wide)
    step = torch.arange(len(c))[:, None] - torch.arange(len(r))
    full = line[step + len(r) - 1] if len(r) and len(c) else line[:0].reshape(len(c), len(r))
    return full, x.to(wide)


def right_one(c, r, x):
    full, wide = matrix(c, r, x)
    return (full @ wide).to(c.dtype)


@wrong("medium", "circulant embedding by FFT: a NaN in the last c reaches every row, and 1e8 next to 1 costs digits")
def fft_embedding(c, r, x):
    full, wide = matrix(c, r, x)
    if not len(c) or not x.numel():
        return (full @ wide).to(c.dtype)
    n = len(c) + len(r) - 1
    line = torch.cat([c, r[1:].flip(0)]).to(full.dtype)
    spectrum = torch.fft.fft(line).reshape(-1, *[1] * (x.ndim - 1)) * torch.fft.fft(wide, n, dim=0)
    product = torch.fft.ifft(spectrum, dim=0)[: len(c)]
    return (product if c.is_complex() else product.real).to(c.dtype)


@wrong("easy", "r[0] stands on the diagonal: ([1], [2], [1]) gives 2", ("agreement",))
def diagonal_from_row(c, r, x):
    if len(c) and len(r):
        c = torch.cat([r[:1], c[1:]])
    return right_one(c, r, x)


@wrong("medium", "one column gives shape (m,): the trailing axis is squeezed", ("form",))
def one_column_squeezed(c, r, x):
    return right_one(c, r, x).squeeze(-1) if x.ndim == 2 else right_one(c, r, x)


@wrong("medium", "rows of T are added up in the half type", ("agreement",))
def half_accumulator(c, r, x):
    if c.dtype not in (torch.float16, torch.bfloat16) or not len(r):
        return right_one(c, r, x)
    full, _ = matrix(c, r, x)
    full, total = full.to(c.dtype), 0
    for j in range(len(r)):
        total = total + (full[:, j] if x.ndim == 1 else full[:, j, None]) * x[j]
    return total


@wrong("hard", "x longer than r is cut, shorter is refused", ("rejects",))
def longer_x_cut(c, r, x):
    return right_one(c, r, x[: len(r)])


@wrong("hard", "the gradient of r is lost where c and x need one too", ("gradient",))
def row_gradient_lost(c, r, x):
    return right_one(c, r.detach() if c.requires_grad and x.requires_grad else r, x)


@wrong("hard", "the gradient of x is 0.1 % too large", ("gradient",))
def gradient_off_by_a_thousandth(c, r, x):
    if x.requires_grad:
        x = x.clone()
        x.register_hook(lambda g: g * 1.001)
    return right_one(c, r, x)


@wrong("medium", "an empty r raises: nothing to start the sum with", ("agreement",))
def empty_row_raises(c, r, x):
    return right_one(c, torch.cat([r[0].reshape(1), r[1:]]), x)


@wrong("hard", "columns beyond 64 are dropped when n is no multiple of 64: n = 65", ("agreement",))
def remainder_dropped(c, r, x):
    n = len(r)
    if n > 64 and n % 64 and len(x) == n:
        return right_one(c, r[: n // 64 * 64], x[: n // 64 * 64])
    return right_one(c, r, x)


@wrong("hard", "rows of T with an exact zero are skipped, so 0 * inf gives 0", ("specials",))
def zeros_skipped(c, r, x):
    full, wide = matrix(c, r, x)
    wide = wide[:, None] if x.ndim == 1 else wide
    product = full[:, :, None] * wide
    product = torch.where((full == 0)[:, :, None], torch.zeros_like(product), product).sum(1)
    return (product[:, 0] if x.ndim == 1 else product).to(c.dtype)


@wrong("medium", "complex: x is conjugated, as vdot does", ("agreement",))
def conjugated(c, r, x):
    return right_one(c, r, x.conj())


@wrong("medium", "x of three dimensions is taken for a batch, whatever its length", ("rejects",))
def batch_accepted(c, r, x):
    if x.ndim == 3 and x.shape[1] == len(r):
        return (matrix(c, r, r)[0] @ x.to(matrix(c, r, r)[0].dtype)).to(c.dtype)
    return right_one(c, r, x)


@wrong("hard", "blocks of 32 in both directions: of a larger matrix that is not square the last column is not reached")
def last_column_of_large_flat(c, r, x):
    if len(c) != len(r) and min(len(c), len(r)) > 32 and len(x) == len(r):
        return right_one(c, r[:-1], x[:-1])
    return right_one(c, r, x)
