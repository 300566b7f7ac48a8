"""Sizes at which difference_matrix is worth measuring: few differences of many columns, and high orders."""

from opjury.contract import Case, Workload


def arguments(rng, size, order):
    """The two counts."""
    return Case.of(size, order)


def least_bytes(itemsize, size, order):
    """The three arrays of the result, with indices of 4 bytes."""
    columns = max(size - order, 0)
    return columns * (order + 1) * (itemsize + 4) + (columns + 1) * 4


Workload(
    "difference_matrix",
    sizes={
        "small": dict(size=100, order=2),
        "medium": dict(size=2000, order=2),
        "large": dict(size=10_000, order=2),
        "high": dict(size=2000, order=20),
    },
    arguments=arguments,
    read_from=dict(size="size", order="order"),
    least_bytes=least_bytes,
    least_operations=lambda size, order: 0,
)
