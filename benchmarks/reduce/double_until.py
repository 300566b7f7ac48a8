"""Sizes at which double_until is worth measuring: few and many elements, few and many doublings."""

import numpy as np

from opjury.contract import Case, Tensor, Workload


def arguments(rng, n, doublings):
    """Normal values, and a threshold half-way between two powers of two times their norm."""
    values = rng.standard_normal(n)
    return Case.of(Tensor(values, "float64"), float(np.sqrt(values @ values) * 0.75 * 2.0**doublings))


Workload(
    "double_until",
    sizes={
        "small": dict(n=3, doublings=9),
        "medium": dict(n=10_000, doublings=10),
        "large": dict(n=1_000_000, doublings=10),
        "far": dict(n=10_000, doublings=60),
    },
    long=(dict(n=140_000, doublings=3),),
    arguments=arguments,
    read_from=dict(n="x.numel()"),
    least_bytes=lambda itemsize, n, doublings: 2 * itemsize * n,
    least_operations=lambda n, doublings: 3 * n,
)
