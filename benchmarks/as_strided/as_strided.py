"""Sizes at which as_strided is worth measuring: overlapping windows, read forwards and backwards."""

from opjury.contract import Case, Tensor, Workload


def arguments(rng, rows, columns, backward):
    """`rows` windows of `columns` elements, each one element further. `backward` (0 or 1) reads every window from its end."""
    buffer = Tensor(rng.standard_normal(rows + columns - 1), "float64")
    return Case.of(buffer, (rows, columns), (1, -1 if backward else 1), columns - 1 if backward else 0)


def least_bytes(itemsize, rows, columns, backward):
    """The buffer read, each element of the result written. An implementation that returns a view stays below."""
    return itemsize * (rows + columns - 1 + rows * columns)


Workload(
    "as_strided",
    sizes={
        "small": dict(rows=64, columns=64, backward=1),
        "medium": dict(rows=512, columns=512, backward=1),
        "large": dict(rows=4096, columns=4096, backward=1),
        "forward": dict(rows=512, columns=512, backward=0),
    },
    long=(dict(rows=140_000, columns=3, backward=1), dict(rows=3, columns=140_000, backward=1)),
    arguments=arguments,
    read_from=dict(rows="size[0] if size else 1", columns="size[-1] if size else 1"),
    least_bytes=least_bytes,
    least_operations=lambda rows, columns, backward: 0,
)
