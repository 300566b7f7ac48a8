"""Sizes at which toeplitz_matmul is worth measuring: where the matrix fits the caches, where it does not, and several columns."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, n, columns):
    """A square matrix of normal numbers and `columns` columns to multiply."""
    return Case.of(*(Tensor(rng.standard_normal(shape), "float64") for shape in (n, n, (n, columns))))


Workload(
    "toeplitz_matmul",
    sizes={
        "small": dict(n=128, columns=1),
        "medium": dict(n=1024, columns=1),
        "large": dict(n=8192, columns=1),
        "block": dict(n=1024, columns=64),
    },
    growths=(Growth(lambda rng: arguments(rng, n=40, columns=8), {2: 1}, (1,)),),
    arguments=arguments,
    read_from=dict(n="len(x)", columns="x.numel() // max(len(x), 1)"),
    least_bytes=lambda itemsize, n, columns: itemsize * (2 * n + 2 * n * columns),
    least_operations=lambda n, columns: 2 * n * columns,
)
