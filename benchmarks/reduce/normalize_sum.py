"""Sizes at which normalize_sum is worth measuring: square, tall and wide matrices, normalised by columns."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, rows, columns):
    """Values between 0.1 and 1.1: well-conditioned sums."""
    return Case.of(Tensor(rng.random((rows, columns)) + 0.1, "float64"), 0)


Workload(
    "normalize_sum",
    sizes={
        "small": dict(rows=16, columns=16),
        "medium": dict(rows=256, columns=256),
        "large": dict(rows=2048, columns=2048),
        "tall": dict(rows=100_000, columns=4),
        "wide": dict(rows=8, columns=10_000),
    },
    long=(dict(rows=140_000, columns=3), dict(rows=3, columns=140_000)),
    growths=(Growth(lambda rng: arguments(rng, rows=40, columns=8), {0: 1}, (1,)),),
    arguments=arguments,
    read_from=dict(rows="x.shape[0] if x.ndim else 1", columns="x.shape[-1] if x.ndim else 1"),
    least_bytes=lambda itemsize, rows, columns: 2 * itemsize * rows * columns,
    least_operations=lambda rows, columns: 2 * rows * columns,
)
