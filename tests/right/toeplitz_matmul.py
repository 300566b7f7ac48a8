"""Right products with a Toeplitz matrix."""

import torch
import torch.nn.functional as F

from . import right


def checked(c, r, x):
    """All three in a dtype wide enough to add in."""
    if c.ndim != 1 or r.ndim != 1 or x.ndim not in (1, 2):
        raise ValueError("c and r must be one-dimensional, x one- or two-dimensional")
    if len(x) != len(r):
        raise ValueError(f"x has {len(x)} rows where r has {len(r)} entries")
    wide = torch.float32 if c.dtype in (torch.float16, torch.bfloat16) else c.dtype
    return c.to(wide), r.to(wide), x.to(wide)


def build(c, r):
    if len(c) == 0 or len(r) == 0:
        return torch.cat([c, r])[:0].reshape(len(c), len(r))
    return torch.cat([c.flip(0), r[1:]]).unfold(0, len(r), 1).flip(0)


@right("the matrix, then @")
def build_and_multiply(c, r, x):
    wide_c, wide_r, wide_x = checked(c, r, x)
    return (build(wide_c, wide_r) @ wide_x).to(c.dtype)


@right("products summed over the last axis, no BLAS")
def elementwise_sum(c, r, x):
    wide_c, wide_r, wide_x = checked(c, r, x)
    columns = wide_x.t() if x.ndim == 2 else wide_x[None]
    result = (build(wide_c, wide_r)[:, None, :] * columns[None]).sum(-1)
    return (result if x.ndim == 2 else result[:, 0]).to(c.dtype)


@right("a convolution of the line with every column of x")
def correlated(c, r, x):
    wide_c, wide_r, wide_x = checked(c, r, x)
    if len(c) == 0 or len(r) == 0 or x.numel() == 0:
        return (build(wide_c, wide_r) @ wide_x).to(c.dtype)
    line = torch.cat([wide_c.flip(0), wide_r[1:]])[None, None]
    columns = wide_x.t() if x.ndim == 2 else wide_x[None]
    windows = line[0, 0].unfold(0, len(r), 1).flip(0)
    result = (
        torch.einsum("ij,kj->ik", windows, columns)
        if x.is_complex()
        else F.conv1d(line, columns[:, None])[0].flip(1).t()
    )
    return (result if x.ndim == 2 else result[:, 0]).to(c.dtype)


@right("column after column in double precision")
def column_by_column(c, r, x):
    checked(c, r, x)
    wide = torch.complex128 if c.is_complex() else torch.float64
    full, rows = build(c.to(wide), r.to(wide)), x.to(wide)
    total = full[:, :0] @ rows[:0]
    for j in range(len(r)):
        total = total + (full[:, j] * rows[j] if x.ndim == 1 else full[:, j, None] * rows[j])
    return total.to(c.dtype)
