"""Sizes at which toeplitz is worth measuring: square matrices from cache to memory, and a flat and a tall one."""

import numpy as np

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, rows, columns):
    """A column and a row of normal values."""
    return Case.of(Tensor(rng.standard_normal(rows), "float64"), Tensor(rng.standard_normal(columns), "float64"))


def wrapped(rng):
    """A row that goes on with the column from its end: diagonals come round again."""
    column = rng.standard_normal(50)
    return Case.of(*(Tensor(values, "float64") for values in (column, np.roll(column[::-1], 1))))


Workload(
    "toeplitz",
    sizes={
        "small": dict(rows=64, columns=64),
        "medium": dict(rows=512, columns=512),
        "large": dict(rows=4096, columns=4096),
        "flat": dict(rows=16, columns=65_536),
        "tall": dict(rows=65_536, columns=16),
    },
    long=(dict(rows=140_000, columns=3), dict(rows=3, columns=140_000)),
    growths=(Growth(wrapped, {0: 0}, (0,)), Growth(wrapped, {0: 0, 1: 0}, (0, 1))),
    arguments=arguments,
    read_from=dict(rows="len(c)", columns="len(c) if r is None else len(r)"),
    least_bytes=lambda itemsize, rows, columns: itemsize * (rows * columns + rows + columns),
    least_operations=lambda rows, columns: 0,
)
