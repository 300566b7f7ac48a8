"""suffix_sum(x, dim): out[i] = x[i] + x[i+1] + … along one dimension; and one more way to take means of slices.

A whole operation in one module: what it means, who competes, at which sizes it matters.
"""

import numpy as np
import torch

from opjury.contract import (
    Case,
    Gradient,
    Law,
    Operation,
    Space,
    Tensor,
    Workload,
    composite,
    illegal,
    implementation,
    st,
)

ALL = Gradient(second=True, forward=True, vmap=True)


def suffix_sum(x, dim):
    """What it means: plain, slow, on NumPy arrays of any element type."""
    return np.flip(np.cumsum(np.flip(x, dim), axis=dim), dim)


def terms(x, dim):
    """Additions on the longest path."""
    return max(x.shape[dim] - 1, 0)


@composite
def cases(draw, space: Space) -> Case:
    shape = draw(space.shapes(1, 3))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    return Case.of(draw(space.tensor(shape, terms=max(shape[dim], 1))), dim)


@composite
def rejects(draw, space: Space) -> Case:
    shape = draw(space.shapes(1, 3))
    x, dim = draw(space.tensor(shape)), draw(st.sampled_from([len(shape), -len(shape) - 1]))
    rule = "dim is before the first dimension" if dim < 0 else "dim is beyond the last dimension"
    return illegal(rule, x, dim)


def zeros_in_front(f, rng, x, dim):
    zeros = torch.zeros_like(x)
    return f(torch.cat([zeros, x], dim), dim).narrow(dim, x.shape[dim], x.shape[dim]), f(x, dim)


Operation(
    "suffix_sum",
    "sums of all elements from each one on",
    kind="arithmetic",
    reference=suffix_sum,
    terms=terms,
    cases=cases,
    rejects=rejects,
    laws=(Law("zeros in front change nothing behind them", zeros_in_front),),
    baseline="flipped_cumsum",
)


@implementation("suffix_sum", source="torch.cumsum", gradient=ALL)
def flipped_cumsum(x, dim):
    """cumsum of the flipped tensor, flipped again. O(n) work and memory."""
    return x.flip(dim).cumsum(dim).flip(dim)


@implementation(
    "suffix_sum",
    source="linear algebra",
    gradient=ALL,
    waives={
        "specials": "zero times NaN: a matrix product spreads it",
        "locality": "zero times NaN: a matrix product spreads it",
    },
)
def triangular_matmul(x, dim):
    """A triangle of ones times x. O(n²) work for each column, O(n²) memory."""
    rows = x.movedim(dim, 0)
    wide = rows.float() if x.dtype in (torch.float16, torch.bfloat16) else rows
    triangle = torch.ones(len(rows), len(rows), dtype=wide.dtype, device=x.device).triu()
    return (triangle @ wide.reshape(len(rows), rows[:1].numel())).reshape(rows.shape).movedim(0, dim).to(x.dtype)


@implementation(
    "suffix_sum",
    source="a common slip",
    refuted={
        "agreement": "the element itself is left out",
        "gradient": "the element itself is left out",
        "specials": "the element itself is left out",
    },
)
def exclusive(x, dim):
    """The sum of all elements behind each one: one off. O(n) work and memory."""
    return x.flip(dim).cumsum(dim).flip(dim) - x


Workload(
    "suffix_sum",
    sizes={"small": {"n": 100}, "medium": {"n": 10_000}, "large": {"n": 1_000_000}},
    arguments=lambda rng, n: Case.of(Tensor(rng.standard_normal(n), "float64"), 0),
    least_bytes=lambda itemsize, n: 2 * n * itemsize,
    least_operations=lambda n: n,
)


@implementation("slice_mean", source="torch.Tensor.narrow", gradient=ALL)
def narrowed(x, slices):
    """One narrow and one mean for each slice. O(total length) work, O(k) calls."""
    if slices.dtype != torch.int64 or slices.ndim != 2 or slices.shape[1] != 2:
        raise ValueError(f"slices of shape {tuple(slices.shape)} and {slices.dtype}; (k, 2) and torch.int64 are needed")
    wide = x if x.is_floating_point() or x.is_complex() else x.to(torch.get_default_dtype())
    means = [wide[:0]]
    for row, (start, end) in enumerate(slices.tolist()):
        if not 0 <= start < end <= len(x):
            raise ValueError(f"slice {row}: [{start}, {end}]; 0 <= start < end <= {len(x)} is needed")
        means.append(wide.narrow(0, start, end - start).mean(0, keepdim=True))
    return torch.cat(means)
