"""Sizes at which circulant is worth measuring: from a matrix within the first cache to one of 64 MB."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, n):
    """A column of n normal numbers."""
    return Case.of(Tensor(rng.standard_normal(n), "float64"))


Workload(
    "circulant",
    sizes={"small": dict(n=64), "medium": dict(n=512), "large": dict(n=4096)},
    growths=(Growth(lambda rng: arguments(rng, n=50), {0: 0}, (0, 1)),),
    arguments=arguments,
    read_from=dict(n="len(c)"),
    least_bytes=lambda itemsize, n: itemsize * (n + n * n),
    least_operations=lambda n: 0,
)
