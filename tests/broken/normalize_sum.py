"""Wrong divisions by the sum."""

import torch

from . import wrong


def widened(x, dim):
    if not -x.ndim <= dim < x.ndim:
        raise IndexError(f"dim {dim} out of range for {x.ndim} dimensions")
    return x.float() if x.dtype.itemsize == 2 else x


def right_one(x, dim):
    wide = widened(x, dim)
    return (wide / wide.sum(dim, keepdim=True)).to(x.dtype)


class DiagonalOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dim):
        ctx.dim = dim
        ctx.save_for_backward(x)
        return right_one(x, dim)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        total = x.sum(ctx.dim, keepdim=True)
        return (g * (total - x) / total / total).to(x.dtype), None


@wrong("easy", "only the diagonal of the Jacobian: right for one row", ("gradient",))
def diagonal_only(x, dim):
    return DiagonalOnly.apply(x, dim)


class Transposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dim):
        y = right_one(x, dim)
        ctx.dim, ctx.total = dim, x.detach().sum(dim, keepdim=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return ((g - y * g.sum(ctx.dim, keepdim=True)) / ctx.total).to(y.dtype), None


@wrong("medium", "the Jacobian is used transposed", ("gradient",))
def jacobian_transposed(x, dim):
    return Transposed.apply(x, dim)


@wrong("easy", "x is divided in place", ("purity",))
def divided_in_place(x, dim):
    widened(x, dim)
    return (
        right_one(x, dim)
        if x.requires_grad or x.dtype.itemsize == 2 or 0 in x.stride()
        else x.div_(x.sum(dim, keepdim=True))
    )


@wrong("hard", "the sum is detached for more than 256 terms", ("gradient",))
def sum_detached(x, dim):
    wide = widened(x, dim)
    total = wide.sum(dim, keepdim=True)
    return (wide / (total.detach() if x.shape[dim] > 256 else total)).to(x.dtype)


@wrong("medium", "1e-8 is added to the sum", ("agreement",))
def epsilon_added(x, dim):
    wide = widened(x, dim)
    return (wide / (wide.sum(dim, keepdim=True) + 1e-8)).to(x.dtype)


@wrong("hard", "the square of the sum in the backward: 1e25 overflows in float32", ("gradient",))
def squared_sum_backward(x, dim):
    class Squared(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return right_one(x, dim)

        @staticmethod
        def backward(ctx, g):
            wide, up = widened(x.detach(), dim).conj(), widened(g, dim)
            total = wide.sum(dim, keepdim=True)
            return ((up * total - (up * wide).sum(dim, keepdim=True)) / (total * total)).to(x.dtype)

    return Squared.apply(x) if x.requires_grad else right_one(x, dim)


@wrong("medium", "the moduli are summed: right for positive x", ("agreement",))
def sum_of_moduli(x, dim):
    wide = widened(x, dim)
    return (wide / wide.abs().sum(dim, keepdim=True)).to(x.dtype)


@wrong("medium", "dim is wrapped: dim = 2 of a matrix is 0", ("rejects",))
def dim_wraps(x, dim):
    return right_one(x, dim % x.ndim)


@wrong("medium", "complex: the gradient is not conjugated", ("gradient",))
def gradient_not_conjugated(x, dim):
    class Plain(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return right_one(x, dim)

        @staticmethod
        def backward(ctx, g):
            wide, up = widened(x.detach(), dim), widened(g, dim)
            total = wide.sum(dim, keepdim=True)
            return ((up - (up * (wide / total)).sum(dim, keepdim=True)) / total).to(x.dtype)

    return Plain.apply(x) if x.requires_grad and x.is_complex() else right_one(x, dim)


@wrong("medium", "a zero-sized other axis raises", ("agreement",))
def empty_other_axis_raises(x, dim):
    x.abs().max()
    return right_one(x, dim)


@wrong("hard", "every third call divides by the sum of the call before when the shape is the same", ("determinism",))
def third_call(x, dim, *, kept={"calls": 0}):  # noqa: B006
    kept["calls"] += 1
    return right_one(x, dim) if kept["calls"] % 3 else right_one(x, dim) * 1.0009765625


class ScratchInResult(Transposed):
    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        weighted = (g * y.conj()).sum(ctx.dim, keepdim=True)
        torch.sub(g, weighted, out=y.data)
        return y / ctx.total.conj(), None


@wrong("hard", "to save memory, backward computes in the result", ("purity",))
def scratch_in_result(x, dim):
    return ScratchInResult.apply(x, dim) if x.dtype.itemsize > 2 else right_one(x, dim)


class KeptWithoutTelling(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dim):
        ctx.dim, ctx.x = dim, x.detach()
        return right_one(x, dim)

    @staticmethod
    def backward(ctx, g):
        with torch.enable_grad():
            x = ctx.x.data.clone().requires_grad_()
            return torch.autograd.grad(right_one(x, ctx.dim), x, g)[0], None


@wrong(
    "hard",
    "x is kept where autograd does not see it: changed before backward, it gives another gradient",
    ("determinism",),
)
def kept_without_telling(x, dim):
    return KeptWithoutTelling.apply(x, dim)


class ResultOutOfSight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dim):
        y = right_one(x, dim)
        ctx.dim, ctx.total, ctx.y = dim, widened(x, dim).sum(dim, keepdim=True), y.detach()
        return y

    @staticmethod
    def backward(ctx, g):
        wide = widened(g, ctx.dim)
        weighted = (wide * ctx.y.conj()).sum(ctx.dim, keepdim=True)
        return ((wide - weighted) / ctx.total.conj()).to(g.dtype), None


@wrong(
    "hard",
    "the result is kept where autograd does not see it: whoever changes it in place gets another gradient",
    ("determinism",),
)
def result_out_of_sight(x, dim):
    return ResultOutOfSight.apply(x, dim) if x.dtype.itemsize > 2 else right_one(x, dim)


@wrong("hard", "float16: the reciprocal of a sum below 2^-16 overflows", ("agreement",))
def reciprocal_in_half(x, dim):
    wide = widened(x, dim)
    total = wide.sum(dim, keepdim=True)
    small = total.abs() < 2.0**-16
    by_reciprocal = x * total.to(x.dtype).reciprocal()
    return torch.where(small, by_reciprocal, right_one(x, dim)) if x.dtype is torch.float16 else right_one(x, dim)


@wrong("hard", "float16: x times the sum is divided by its square, which overflows from 256 on", ("agreement",))
def divided_by_square(x, dim):
    if x.dtype is not torch.float16:
        return right_one(x, dim)
    total = widened(x, dim).sum(dim, keepdim=True)
    return torch.where((total * total).abs() > 65504, x / (total * total).half() * total.half(), right_one(x, dim))
