"""Sizes at which sliding_window is worth measuring: narrow and wide windows, steps, and a batch."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, rows, n, size, step):
    """`rows` series of n normal numbers."""
    return Case.of(Tensor(rng.standard_normal((rows, n)), "float64"), size, step)


def least_bytes(itemsize, rows, n, size, step):
    """Each element read, each element of each window written. An implementation that returns a view stays below."""
    return itemsize * rows * (n + ((n - size) // step + 1) * size)


Workload(
    "sliding_window",
    sizes={
        "small": dict(rows=1, n=1000, size=16, step=1),
        "medium": dict(rows=1, n=100_000, size=32, step=1),
        "large": dict(rows=1, n=1_000_000, size=32, step=1),
        "batch": dict(rows=64, n=4096, size=64, step=32),
    },
    long=(dict(rows=140_000, n=5, size=3, step=2),),
    growths=(Growth(lambda rng: arguments(rng, rows=8, n=40, size=3, step=2), {0: 0}, (0,)),),
    arguments=arguments,
    read_from=dict(rows="x.numel() // max(x.shape[-1], 1)", n="x.shape[-1]", size="size", step="step"),
    least_bytes=least_bytes,
    least_operations=lambda rows, n, size, step: 0,
)
