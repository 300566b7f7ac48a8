"""Sizes at which cumsum is worth measuring: single long lanes, and many lanes that are not contiguous."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, rows, columns, dim):
    """A matrix of normal values, with one row for a lane alone."""
    return Case.of(Tensor(rng.standard_normal((rows, columns)), "float64"), dim)


Workload(
    "cumsum",
    sizes={
        "small": dict(rows=1, columns=1000, dim=1),
        "medium": dict(rows=1, columns=100_000, dim=1),
        "large": dict(rows=4096, columns=512, dim=0),
        "batch": dict(rows=4096, columns=512, dim=1),
        "long": dict(rows=1, columns=10_000_000, dim=1),
    },
    long=(dict(rows=140_000, columns=3, dim=1), dict(rows=3, columns=140_000, dim=1)),
    growths=(
        Growth(lambda rng: arguments(rng, rows=8, columns=40, dim=1), {0: 0}, (0,)),
        Growth(lambda rng: arguments(rng, rows=40, columns=8, dim=0), {0: 1}, (1,)),
    ),
    arguments=arguments,
    read_from=dict(rows="x.numel() // max(x.shape[-1], 1) if x.ndim else 1", columns="x.shape[-1] if x.ndim else 1"),
    least_bytes=lambda itemsize, rows, columns, dim: 2 * itemsize * rows * columns,
    least_operations=lambda rows, columns, dim: rows * columns,
)
