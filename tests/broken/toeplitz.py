"""Wrong Toeplitz matrices."""

import numpy as np
import scipy.linalg
import torch

from . import wrong


def lines(c, r):
    """Column and row, the row's default filled in."""
    r = c.conj() if r is None else r
    if c.ndim != 1 or r.ndim != 1:
        raise ValueError(f"c and r must be one-dimensional, not {tuple(c.shape)} and {tuple(r.shape)}")
    return c, r


def steps(c, r):
    return torch.arange(len(c))[:, None] - torch.arange(len(r))


def right_one(c, r=None):
    """The right answer, which most functions here then spoil."""
    c, r = lines(c, r)
    line = torch.cat([r[1:].flip(0), c])
    return line[steps(c, r) + len(r) - 1] if len(c) and len(r) else line[:0].reshape(len(c), len(r))


@wrong("easy", "the diagonal comes from r[0]: ([1], [2]) gives 2", ("agreement",))
def diagonal_from_row(c, r=None):
    c, r = lines(c, r)
    if len(c) == 0 or len(r) == 0:
        return right_one(c, r)
    return torch.cat([r.flip(0), c[1:]])[steps(c, r) + len(r) - 1]


@wrong("medium", "r defaults to c, not to its conjugate: [1, 1j]", ("agreement",))
def conjugate_forgotten(c, r=None):
    return right_one(c, c if r is None else r)


@wrong("hard", "the defaulted row is detached: half of the gradient is missing", ("gradient",))
def default_row_detached(c, r=None):
    return right_one(c, c.detach().conj() if r is None else r)


@wrong("hard", "the conjugate in the defaulted row is forgotten in the gradient: complex c = [1, 1j]", ("gradient",))
def gradient_not_conjugated(c, r=None):
    if r is None and c.is_complex():
        row = c + (c.conj() - c).detach()
        return right_one(c, row)
    return right_one(c, r)


@wrong("medium", "an empty column raises: c of shape (0,), r of shape (2,)", ("agreement",))
def empty_column_raises(c, r=None):
    c, r = lines(c, r)
    return torch.where(steps(c, r) == 0, c[0], right_one(c, r))


@wrong("medium", "an empty row raises: c of shape (2,), r of shape (0,)", ("agreement",))
def empty_row_raises(c, r=None):
    c, r = lines(c, r)
    r[-1]
    return right_one(c, r)


@wrong("hard", "-0 becomes 0: lower and upper part are added", ("specials",))
def parts_added(c, r=None):
    c, r = lines(c, r)
    if c.dtype is torch.bool:
        return right_one(c, r)
    full = right_one(c, r)
    lower = torch.where(steps(c, r) >= 0, full, torch.zeros_like(full))
    return lower + torch.where(steps(c, r) < 0, full, torch.zeros_like(full))


@wrong("medium", "masks by multiplication: an inf in c gives NaN above the diagonal", ("specials",))
def parts_masked(c, r=None):
    c, r = lines(c, r)
    if not (c.is_floating_point() or c.is_complex()) or len(c) == 0 or len(r) == 0:
        return right_one(c, r)
    step = steps(c, r)
    return c[step.clamp(min=0)] * (step >= 0) + r[(-step).clamp(min=0)] * (step < 0)


@wrong("medium", "bool gives uint8", ("form",))
def bool_to_bytes(c, r=None):
    return right_one(c, r).to(torch.uint8) if c.dtype is torch.bool else right_one(c, r)


@wrong("hard", "int64 goes through float64: 2**53 + 1 becomes 2**53", ("agreement",))
def int64_through_float64(c, r=None):
    if c.dtype is torch.int64:
        return right_one(c.double(), None if r is None else r.double()).long()
    return right_one(c, r)


@wrong("medium", "SciPy ravels: a matrix for c is accepted", ("rejects",))
def ravelled(c, r=None):
    return right_one(c.reshape(-1), None if r is None else r.reshape(-1))


@wrong("hard", "a 0-d r is accepted and repeated", ("rejects",))
def zero_d_row_accepted(c, r=None):
    return right_one(c, r.expand(1) if r is not None and r.ndim == 0 else r)


@wrong("medium", "two-dimensional c raises AssertionError", ("rejects",))
def asserts(c, r=None):
    assert c.ndim == 1 and (r is None or r.ndim == 1), "c and r must be one-dimensional"  # noqa: PT018
    return right_one(c, r)


@wrong("hard", "c with a step is read without it: torch.arange(6)[::2]", ("layouts",))
def unit_stride_assumed(c, r=None):
    if c.ndim == 1 and len(c):
        c = c.as_strided((len(c),), (1,)) if c.stride(0) > 1 else c
    return right_one(c, r)


KNOWN = {}


@wrong(
    "hard", "remembered by the identity of c and r: overwritten in place, the old matrix comes back", ("determinism",)
)
def cached_by_identity(c, r=None):
    if c.requires_grad or (r is not None and r.requires_grad):
        return right_one(c, r)
    if id(c) not in KNOWN or KNOWN[id(c)][0] is not c or KNOWN[id(c)][1] is not r:
        KNOWN[id(c)] = c, r, right_one(c, r)
    return KNOWN[id(c)][2].clone()


@wrong("medium", "gradients of c and r are swapped where both are needed and lengths agree", ("gradient",))
def gradients_swapped(c, r=None):
    if r is not None and c.requires_grad and r.requires_grad and c.shape == r.shape:
        return right_one(c.detach() + (r - r.detach()), r.detach() + (c - c.detach()))
    return right_one(c, r)


@wrong("hard", "the gradient of r is lost where c needs one too", ("gradient",))
def second_gradient_lost(c, r=None):
    return right_one(c, r.detach() if r is not None and c.requires_grad else r)


@wrong("hard", "0.1 % too much gradient for c", ("gradient",))
def gradient_off_by_a_thousandth(c, r=None):
    if c.requires_grad:
        c = c.clone()
        c.register_hook(lambda g: g * 1.001)
    return right_one(c, r)


class Overwriting(torch.autograd.Function):
    @staticmethod
    def forward(ctx, c, r):
        ctx.step, ctx.c, ctx.r = steps(c, r), c, r
        return right_one(c, r)

    @staticmethod
    def backward(ctx, g):
        column, row, step = torch.zeros_like(ctx.c), torch.zeros_like(ctx.r), ctx.step
        column[step[step >= 0]] = g[step >= 0]
        row[-step[step < 0]] = g[step < 0]
        return column, row


@wrong("medium", "backward overwrites instead of accumulating along a diagonal", ("gradient",))
def overwriting_backward(c, r=None):
    return Overwriting.apply(*lines(c, r))


@wrong("hard", "past 256 rows the rows repeat from the start of their block", ("agreement",))
def rows_past_256(c, r=None):
    full = right_one(c, r)
    if len(full) > 256:
        return torch.cat([full[:256], full[: len(full) - 256]])
    return full


@wrong("hard", "a square matrix of a size above 64 that is no multiple of 64 loses its last corner", ("agreement",))
def corner_lost(c, r=None):
    full = right_one(c, r)
    m, n = full.shape
    if m > 64 and n > 64 and m % 64 and n % 64:
        keep = (torch.arange(m) < m - 1)[:, None] | (torch.arange(n) > 0)
        return torch.where(keep, full, torch.zeros_like(full))
    return full


@wrong("medium", "SciPy without a way back: the result has no gradient history", ("gradient",))
def scipy_detached(c, r=None):
    c, r = lines(c, r)
    if c.dtype is torch.bfloat16 or not len(c) or not len(r):
        return right_one(c, r)
    return torch.from_numpy(scipy.linalg.toeplitz(c.numpy(force=True), r.numpy(force=True)))


@wrong("medium", "c is overwritten: its first element gets r's", ("purity",))
def overwrites_column(c, r=None):
    result = right_one(c, r)
    if r is not None and len(r) and len(c) and not c.requires_grad and not c.is_complex() and 0 not in c.stride():
        with torch.no_grad():
            c[0] = r[0]
    return result


@wrong("hard", "NaN payload aside, every NaN becomes zero in bfloat16", ("specials",))
def bfloat16_nan_to_zero(c, r=None):
    full = right_one(c, r)
    return torch.where(full.isnan(), torch.zeros_like(full), full) if c.dtype is torch.bfloat16 else full


@wrong("hard", "float64 through the default dtype: 1 + 1e-12 becomes 1 under float32", ("agreement", "determinism"))
def through_default_dtype(c, r=None):
    return right_one(c, r).to(torch.get_default_dtype()).to(c.dtype) if c.dtype is torch.float64 else right_one(c, r)


@wrong("medium", "numpy.asarray of a lazily conjugated c raises", ("layouts",))
def numpy_of_lazy_view(c, r=None):
    if c.is_complex() and not c.requires_grad:
        np.asarray(c)
    return right_one(c, r)


@wrong(
    "hard", "blocks of 32 in both directions: a matrix larger than that both ways, and not square, is read transposed"
)
def large_flat_matrix_transposed(c, r=None):
    c, r = lines(c, r)
    if min(len(c), len(r)) > 32 and len(c) != len(r):
        return right_one(c, torch.cat([r[:1], r[1:].flip(0)]))
    return right_one(c, r)


@wrong("hard", "the very same tensor for c and r is taken for a default: its conjugate stands above the diagonal")
def same_tensor_is_default(c, r=None):
    return right_one(c, None if r is c else r)


class SumKeptOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, c, r):
        ctx.sizes, ctx.same = (len(c), len(r)), c is r
        return right_one(c, r)

    @staticmethod
    def backward(ctx, g):
        c, r = (g.new_zeros(n, requires_grad=True) for n in ctx.sizes)
        with torch.enable_grad():
            column, row = torch.autograd.grad(right_one(c, r), (c, r), g)
        return column, None if ctx.same else row


@wrong("hard", "one gradient where c and r are one tensor: that of r is lost")
def gradient_of_same_tensor_lost(c, r=None):
    return right_one(c) if r is None else SumKeptOnce.apply(*lines(c, r))


class LargeGradientCleaned(torch.autograd.Function):
    @staticmethod
    def forward(ctx, full):
        return full.clone()

    @staticmethod
    def backward(ctx, g):
        return g.nan_to_num() if g.numel() > 40 else g


@wrong("hard", "incoming gradients of more than 40 elements are cleaned of NaN and inf")
def large_gradients_cleaned(c, r=None):
    return LargeGradientCleaned.apply(right_one(c, r))


@wrong("hard", "columns are unrolled by 16: from 17 to 30 elements the last is that before it")
def remainder_of_sixteen(c, r=None):
    if c.ndim == 1 and 16 < len(c) < 31:
        c = torch.cat([c[:-1], c[-2:-1]])
    return right_one(c, r)
