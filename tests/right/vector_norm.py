"""Right norms."""

import math

import numpy as np
import torch

from . import right


def real_parts(x):
    """All real components in double precision."""
    if not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"x must be floating or complex, not {x.dtype}")
    x = x.detach().resolve_conj().resolve_neg()
    return (torch.view_as_real(x) if x.is_complex() else x).double().reshape(-1)


def norm_by_hypot(values):
    return math.nan if values.isnan().any() else math.hypot(*values.tolist())


def norm_by_scaling(values):
    array = values.numpy()
    big = np.abs(array).max() if array.size else 0.0
    if big == 0 or not np.isfinite(big):
        return float(big)
    power = int(np.frexp(big)[1])
    return float(np.ldexp(np.sqrt(np.square(np.ldexp(array, -power)).sum()), power))


def norm_by_three_sums(values):
    big, small = values.abs() > 1e140, values.abs() < 1e-140
    if values.isnan().any():
        return math.nan
    high = (values[big] * 2.0**-600).square().sum().sqrt().item()
    middle = values[~big & ~small].square().sum().sqrt().item()
    low = (values[small] * 2.0**600).square().sum().sqrt().item()
    if high:
        return math.hypot(high, middle * 2.0**-600) * 2.0**600
    return math.hypot(low, middle * 2.0**600) * 2.0**-600 if low and middle < 1 else math.hypot(middle, low * 2.0**-600)


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, norm_of):
        ctx.norm = norm_of(real_parts(x))
        ctx.save_for_backward(x)
        return torch.tensor(ctx.norm, dtype=torch.float64).to(x.real.dtype if x.is_complex() else x.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        if ctx.norm == 0:
            return torch.zeros_like(x), None
        wide, norm = x.to(torch.complex128 if x.is_complex() else torch.float64), ctx.norm
        if norm < 1e-290:
            wide, norm = wide * 2.0**300, norm * 2.0**300
        return (wide / norm * g.double()).to(x.dtype), None


@right("math.hypot on a list")
def hypot(x):
    return Norm.apply(x, norm_by_hypot)


@right("scaled by a power of two")
def scaled(x):
    return Norm.apply(x, norm_by_scaling)


@right("three accumulators")
def three_sums(x):
    return Norm.apply(x, norm_by_three_sums)
