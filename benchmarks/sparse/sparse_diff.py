"""Sizes at which sparse_diff is worth measuring: random matrices of a few entries in each row, narrow to wide, orders 1 and 4."""

import numpy as np

from opjury.contract import Case, Sparse, Workload


def arguments(rng, rows, columns, stored, order):
    """A CSC array with `stored` entries in each row, sorted by column."""
    places = np.unique(np.repeat(np.arange(rows), stored) * columns + rng.integers(0, columns, rows * stored))
    row, column = np.divmod(places, columns)
    matrix = Sparse("csc", (rows, columns), "float64", rng.standard_normal(len(places)), (row, column))
    return Case.of(matrix, order)


Workload(
    "sparse_diff",
    sizes={
        "small": dict(rows=100, columns=100, stored=5, order=1),
        "medium": dict(rows=10_000, columns=10_000, stored=10, order=2),
        "large": dict(rows=100_000, columns=100_000, stored=10, order=2),
        "high": dict(rows=10_000, columns=10_000, stored=10, order=8),
        "first": dict(rows=100_000, columns=100_000, stored=10, order=1),
    },
    long=(dict(rows=140_000, columns=5, stored=1, order=1), dict(rows=5, columns=140_000, stored=5, order=1)),
    arguments=arguments,
    read_from=dict(rows="matrix.shape[0]", columns="matrix.shape[1]", order="order"),
    least_bytes=lambda itemsize, rows, columns, stored, order: (
        (itemsize + 4) * rows * stored * (order + 2) + 4 * (2 * columns - order)
    ),
    least_operations=lambda rows, columns, stored, order: rows * stored * (order + 1),
)
