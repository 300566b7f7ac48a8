"""Wrong norms."""

import numpy as np
import torch

from . import wrong


class Norm(torch.autograd.Function):
    """Scaled in double precision; the gradient is x / norm, and 0 at 0."""

    @staticmethod
    def forward(ctx, x, factor=1.0, at_zero=0.0):
        flat = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
        wide = flat.detach().resolve_neg().double().numpy().reshape(-1)
        big = float(np.abs(wide).max()) if wide.size and not np.isnan(wide).any() else float(np.isnan(wide).any())
        power = int(np.frexp(big)[1]) if np.isfinite(big) else 0
        with np.errstate(all="ignore"):
            norm = np.ldexp(np.sqrt(np.square(np.ldexp(wide, -power)).sum()), power)
        ctx.factor, ctx.at_zero, ctx.norm, ctx.power = factor, at_zero, float(norm), power
        ctx.save_for_backward(x)
        return torch.tensor(norm, dtype=flat.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        if ctx.norm == 0:
            return torch.full_like(x, ctx.at_zero), None, None
        return (
            (x.to(torch.complex128 if x.is_complex() else torch.float64) / ctx.norm * g * ctx.factor).to(x.dtype),
            None,
            None,
        )


def right_one(x, factor=1.0, at_zero=0.0):
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"x must be floating or complex, not {x.dtype}")
    return Norm.apply(x, factor, at_zero)


@wrong("easy", "squares overflow: float32 [1e20] gives inf", ("agreement",))
def root_of_squares(x):
    return right_one(x) if not x.dtype.is_floating_point or x.numel() == 0 else x.square().sum().sqrt()


@wrong("easy", "the library's own overflows and underflows at 1e200 in float64", ("agreement",))
def builtin(x):
    right_one(x.detach())
    return torch.linalg.vector_norm(x)


@wrong("medium", "1e-12 inside the root after scaling: float64 [1.0] gives 1 + 5e-13", ("agreement",))
def epsilon_in_root(x):
    if x.dtype is not torch.float64:
        return right_one(x)
    scale = x.detach().abs().max() if x.numel() else x.new_ones(())
    return ((x / scale).square().sum() + 1e-12).sqrt() * scale if 0 < scale < float("inf") else right_one(x)


@wrong("medium", "the gradient at 0 is NaN", ("gradient",))
def gradient_nan_at_zero(x):
    return right_one(x, 1.0, float("nan"))


@wrong("hard", "the gradient is 0.1 % too large", ("gradient",))
def gradient_off_by_a_thousandth(x):
    return right_one(x, 1.001)


@wrong("hard", "subnormal numbers are flushed: float32 [1e-40] gives 0", ("agreement",))
def subnormal_flushed(x):
    if not x.is_floating_point():
        return right_one(x)
    return right_one(torch.where(x.abs() < torch.finfo(x.dtype).tiny, torch.zeros_like(x), x))


@wrong("medium", "inf wins over NaN, as in hypot: [inf, nan] gives inf", ("specials",))
def inf_wins(x):
    result = right_one(x)
    return torch.full_like(result, float("inf")) if x.isinf().any() else result


@wrong("medium", "scaling by the largest: [inf, 1] gives inf / inf = NaN", ("specials",))
def scaled_inf(x):
    if x.is_floating_point() and x.isinf().any():
        return right_one(x) * float("nan")
    return right_one(x)


@wrong("medium", "complex: the result is complex", ("form",))
def complex_result(x):
    return right_one(x).to(x.dtype)


@wrong("medium", "complex: the square instead of the squared modulus, [1, 1j] gives 0", ("agreement",))
def complex_squares(x):
    right_one(x.detach())
    return x.square().sum().sqrt().abs() if x.is_complex() else right_one(x)


@wrong("medium", "integers are taken", ("rejects",))
def integers_accepted(x):
    return right_one(x if x.is_floating_point() or x.is_complex() else x.float())


@wrong("medium", "an empty x raises: max of nothing", ("agreement",))
def empty_raises(x):
    x.abs().max()
    return right_one(x)


@wrong("medium", "one-dimensional result of shape (1,) for a matrix", ("form",))
def one_element(x):
    return right_one(x).reshape(1) if x.ndim == 2 else right_one(x)


@wrong("hard", "sum of squares rounded to bfloat16 before the root", ("agreement",))
def bfloat16_square_rounded(x):
    if x.dtype is not torch.bfloat16 or x.numel() == 0:
        return right_one(x)
    total = x.float().square().sum().bfloat16()
    return total.sqrt() if 1e-30 < float(total.detach()) < 1e30 else right_one(x)


@wrong("hard", "elements beyond 4096 are counted in float16 only up to the last full block", ("agreement",))
def remainder_dropped(x):
    flat = x.reshape(-1)
    return right_one(flat[: len(flat) // 1024 * 1024]) if len(flat) > 1024 and len(flat) % 1024 else right_one(x)
