"""Kernels of normalize_sum: lanes that fit a tile are read once, in both directions."""

import torch
import triton
import triton.language as tl

from opjury.impls._triton import INTERPRETED, accumulator, power_of_two
from opjury.impls._triton_arithmetic import divide, index_type

TILE = 1024 if INTERPRETED else 16384  # elements
LONGEST = (
    {True: 512, False: 1024} if INTERPRETED else {True: 2048, False: 16384}
)  # lanes in a tile, by whether side by side
SIDE_BY_SIDE = 8  # lanes of a tile: sectors of the memory are no shorter


@triton.jit
def quotient(a, b, c, d):
    """(a + bi) / (c + di), scaled so that no square leaves the range: its real and imaginary parts."""
    size = tl.maximum(tl.abs(c), tl.abs(d))
    c, d = divide(c, size), divide(d, size)
    square = c * c + d * d
    return divide(divide(a * c + b * d, square), size), divide(divide(b * c - a * d, square), size)


@triton.jit(do_not_specialize=("lanes",))
def normalize(
    x, weight, out, n, inner, lanes,
    LANES: tl.constexpr, BLOCK: tl.constexpr, AXIS: tl.constexpr, COMPLEX: tl.constexpr, BACKWARD: tl.constexpr,
    INDEX: tl.constexpr, ACCUMULATOR: tl.constexpr,
):  # fmt: skip
    """A few whole lanes: x / s with s their sums, or, backwards, (w − Σ w·x̄/s̄) / s̄."""
    lane = tl.program_id(0).to(tl.int64) * LANES + tl.arange(0, LANES)
    at = tl.arange(0, BLOCK).to(INDEX)
    if AXIS == 1:
        offsets, inside = (lane * n).to(INDEX)[:, None] + at[None, :], (lane < lanes)[:, None] & (at < n)[None, :]
    else:
        base = (lane // inner * n * inner + lane % inner).to(INDEX)
        offsets, inside = at[:, None] * inner + base[None, :], (at < n)[:, None] & (lane < lanes)[None, :]
    if COMPLEX:
        offsets = 2 * offsets
        a = tl.load(x + offsets, mask=inside, other=0)
        b = tl.load(x + offsets + 1, mask=inside, other=0)
        c, d = tl.expand_dims(tl.sum(a, AXIS), AXIS), tl.expand_dims(tl.sum(b, AXIS), AXIS)
        c = tl.where(inside, c, 1)
        d = tl.where(inside, d, 0)
        real, imaginary = quotient(a, b, c, d)
        if BACKWARD:
            u = tl.load(weight + offsets, mask=inside, other=0)
            v = tl.load(weight + offsets + 1, mask=inside, other=0)
            e = tl.sum(u * real + v * imaginary, AXIS)
            f = tl.sum(v * real - u * imaginary, AXIS)
            real, imaginary = quotient(u - tl.expand_dims(e, AXIS), v - tl.expand_dims(f, AXIS), c, -d)
        tl.store(out + offsets, real, mask=inside)
        tl.store(out + offsets + 1, imaginary, mask=inside)
    else:
        values = tl.load(x + offsets, mask=inside, other=0).to(ACCUMULATOR)
        total = tl.where(inside, tl.expand_dims(tl.sum(values, AXIS), AXIS), 1)
        values = divide(values, total)
        if BACKWARD:
            given = tl.load(weight + offsets, mask=inside, other=0).to(ACCUMULATOR)
            values = divide(given - tl.expand_dims(tl.sum(given * values, AXIS), AXIS), total)
        tl.store(out + offsets, values.to(out.dtype.element_ty), mask=inside)


@torch.library.custom_op("opjury::normalize_sum", mutates_args=())
def quotients(x: torch.Tensor, dim: int) -> torch.Tensor:
    """x / x.sum(dim, keepdim=True)."""
    return _launched(x, None, dim)


@torch.library.custom_op("opjury::normalize_sum_adjoint", mutates_args=())
def gradient(x: torch.Tensor, weight: torch.Tensor, dim: int) -> torch.Tensor:
    """The gradient of ⟨weight, x / Σx⟩."""
    return _launched(x, weight, dim)


def _launched(x, weight, dim):
    n, inner = x.shape[dim], x.shape[dim + 1 :].numel()
    lanes = x.shape[:dim].numel() * inner
    if n > LONGEST[inner > 1]:
        return _in_steps(x, weight, dim)
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if out.numel():
        block = power_of_two(n, LONGEST[inner > 1])
        most = TILE // block
        across = power_of_two(lanes, most if inner == 1 else min(most, max(SIDE_BY_SIDE, 4096 // block)))
        backward = weight is not None
        x, weight = x.contiguous(), weight.contiguous() if backward else x
        kind = tl.float64 if accumulator(x.dtype) == torch.float64 else tl.float32
        arguments = [torch.view_as_real(t) if t.is_complex() else t for t in (x, weight, out)]
        warps = 16 if block * across > 4096 else 4
        slim = inner == 1 and warps == 16 and not backward and not x.is_complex() and kind == tl.float32
        with torch.cuda.device_of(x):
            normalize[(triton.cdiv(lanes, across),)](
                *arguments, n, inner, lanes, LANES=across, BLOCK=block, AXIS=1 if inner == 1 else 0,
                COMPLEX=x.is_complex(), BACKWARD=backward, ACCUMULATOR=kind,
                INDEX=index_type(2 * (lanes + across) * max(n, block)),
                num_warps=warps, maxnreg=64 if slim else None,  # with which two programs fit a multiprocessor
            )  # fmt: skip
    return out


def _in_steps(x, weight, dim):
    """Lanes that do not fit a tile: sums first, and everything read again."""
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    total = wide.sum(dim, keepdim=True)
    result = wide / total
    if weight is not None:
        result = (weight - (weight * result.conj()).sum(dim, keepdim=True)) / total.conj()
    return result.to(x.dtype).contiguous()


@quotients.register_fake
def _(x, dim):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@gradient.register_fake
def _(x, weight, dim):
    return torch.empty_like(x, memory_format=torch.contiguous_format)


def _remember(ctx, inputs, output):
    x, ctx.dim = inputs
    ctx.save_for_backward(x)


def _backward(ctx, weight):
    return gradient(*ctx.saved_tensors, weight, ctx.dim), None


quotients.register_autograd(_backward, setup_context=_remember)
