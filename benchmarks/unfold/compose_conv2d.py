"""Sizes at which compose_conv2d is worth measuring: bottlenecks, many channels all along, and large kernels."""

from opjury.contract import Case, Tensor, Workload


def arguments(rng, inputs, middle, outputs, first, second):
    """Two square kernels with sides `first` and `second`."""
    one = Tensor(rng.standard_normal((middle, inputs, first, first)), "float64")
    return Case.of(one, Tensor(rng.standard_normal((outputs, middle, second, second)), "float64"))


Workload(
    "compose_conv2d",
    sizes={
        "small": dict(inputs=1, middle=4, outputs=1, first=3, second=3),
        "medium": dict(inputs=3, middle=64, outputs=3, first=3, second=3),
        "large": dict(inputs=64, middle=64, outputs=64, first=3, second=3),
        "wide": dict(inputs=4, middle=16, outputs=4, first=31, second=31),
        "blur": dict(inputs=1, middle=1, outputs=1, first=101, second=5),
    },
    arguments=arguments,
    read_from=dict(
        inputs="first.shape[1]",
        middle="first.shape[0]",
        outputs="second.shape[0]",
        first="first.shape[-1]",
        second="second.shape[-1]",
    ),
    least_bytes=lambda itemsize, inputs, middle, outputs, first, second: (
        itemsize * (middle * (inputs * first**2 + outputs * second**2) + inputs * outputs * (first + second - 1) ** 2)
    ),
    least_operations=lambda inputs, middle, outputs, first, second: middle * (inputs * first**2 + outputs * second**2),
)
