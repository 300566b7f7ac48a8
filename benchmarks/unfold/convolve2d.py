"""Sizes at which convolve2d is worth measuring: images with small and large kernels, and matrices of one size."""

from opjury.contract import Case, Tensor, Workload


def arguments(rng, side, kernel):
    """Two square matrices with these sides."""
    return Case.of(*(Tensor(rng.standard_normal((length, length)), "float64") for length in (side, kernel)))


Workload(
    "convolve2d",
    sizes={
        "small": dict(side=16, kernel=3),
        "medium": dict(side=256, kernel=5),
        "large": dict(side=1024, kernel=9),
        "wide": dict(side=256, kernel=31),
        "equal": dict(side=64, kernel=64),
    },
    arguments=arguments,
    read_from=dict(side="a.shape[-1]", kernel="b.shape[-1]"),
    least_bytes=lambda itemsize, side, kernel: itemsize * (side**2 + kernel**2 + (side + kernel - 1) ** 2),
    least_operations=lambda side, kernel: (side + kernel - 1) ** 2,
)
