"""Sizes at which slice_mean is worth measuring: few long slices, many short ones, sparse ones, heavily overlapping ones."""

import numpy as np

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, rows, features, slices, length):
    """Uniformly placed slices of one length over `rows` rows."""
    if not 0 < length <= rows:
        raise ValueError(f"slices of length {length} in {rows} rows; it should be between 1 and {rows}")
    starts = rng.integers(0, rows - length + 1, slices)
    x = Tensor(rng.standard_normal((rows, features)), "float64")
    return Case.of(x, Tensor(np.stack([starts, starts + length], axis=1), "int64", data=False))


Workload(
    "slice_mean",
    sizes={
        "small": dict(rows=100, features=16, slices=20, length=10),
        "medium": dict(rows=10_000, features=64, slices=500, length=100),
        "large": dict(rows=100_000, features=64, slices=1000, length=3000),
        "sparse": dict(rows=1_000_000, features=16, slices=100, length=10),
        "many": dict(rows=100_000, features=16, slices=20_000, length=8),
    },
    long=(
        dict(rows=140_000, features=2, slices=20, length=3),
        dict(rows=5, features=140_000, slices=2, length=3),
    ),
    growths=(
        Growth(lambda rng: arguments(rng, rows=9, features=40, slices=7, length=3), {0: 1}, (1,)),
        Growth(lambda rng: arguments(rng, rows=9, features=64, slices=7, length=3), {1: 0}, (0,)),
    ),
    arguments=arguments,
    read_from=dict(rows="len(x)", features="x.numel() // max(len(x), 1)", slices="len(slices)"),
    least_bytes=lambda itemsize, rows, features, slices, length: (
        itemsize * features * (min(rows, slices * length) + slices)
    ),
    least_operations=lambda rows, features, slices, length: features * min(rows, slices * length),
)
