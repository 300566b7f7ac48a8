"""Sizes at which vector_norm is worth measuring: one call's overhead, within the cache, and memory alone."""

from opjury.contract import Case, Tensor, Workload


def arguments(rng, n):
    """Normal values, at which every implementation is safe."""
    return Case.of(Tensor(rng.standard_normal(n), "float64"))


Workload(
    "vector_norm",
    sizes={"small": dict(n=100), "medium": dict(n=100_000), "large": dict(n=10_000_000)},
    long=(dict(n=140_000),),
    arguments=arguments,
    read_from=dict(n="x.numel()"),
    least_bytes=lambda itemsize, n: itemsize * n,
    least_operations=lambda n: 2 * n,
)
