"""Sizes at which outer_map is worth measuring: products of two vectors, from a small table to one beyond the caches."""

from opjury.contract import Case, Growth, Tensor, Workload
from opjury.properties.gather.outer_map import Elementwise


def arguments(rng, rows, columns):
    """Two vectors of normal numbers, multiplied."""
    return Case.of(Elementwise("product"), *(Tensor(rng.standard_normal(n), "float64") for n in (rows, columns)))


Workload(
    "outer_map",
    sizes={
        "small": dict(rows=20, columns=20),
        "medium": dict(rows=200, columns=200),
        "large": dict(rows=1000, columns=1000),
    },
    long=(dict(rows=140_000, columns=3), dict(rows=3, columns=140_000)),
    growths=(Growth(lambda rng: arguments(rng, rows=50, columns=40), {1: 0, 2: 0}, (0, 1)),),
    arguments=arguments,
    read_from=dict(rows="len(vectors[0]) if vectors else 1", columns="len(vectors[-1]) if vectors else 1"),
    least_bytes=lambda itemsize, rows, columns: itemsize * (rows + columns + rows * columns),
    least_operations=lambda rows, columns: rows * columns,
)
