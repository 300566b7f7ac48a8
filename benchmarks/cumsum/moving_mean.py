"""Sizes at which moving_mean is worth measuring: short, long and very long windows, one row and many."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, rows, n, window):
    """Normal values: their prefix sums grow like √n."""
    return Case.of(Tensor(rng.standard_normal((rows, n)), "float64"), window)


Workload(
    "moving_mean",
    sizes={
        "small": dict(rows=1, n=1000, window=8),
        "medium": dict(rows=8, n=10_000, window=64),
        "large": dict(rows=1, n=1_000_000, window=32),
        "long": dict(rows=1, n=100_000, window=4096),
        "rows": dict(rows=4096, n=256, window=16),
    },
    long=(dict(rows=140_000, n=5, window=3), dict(rows=1, n=140_000, window=3)),
    growths=(Growth(lambda rng: arguments(rng, rows=8, n=40, window=3), {0: 0}, (0,)),),
    arguments=arguments,
    read_from=dict(rows="x.numel() // max(x.shape[-1], 1)", n="x.shape[-1]", window="window"),
    least_bytes=lambda itemsize, rows, n, window: itemsize * rows * (2 * n - window + 1),
    least_operations=lambda rows, n, window: 2 * rows * n,
)
