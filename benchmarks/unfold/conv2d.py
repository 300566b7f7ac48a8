"""Sizes at which conv2d is worth measuring: few and many channels, small and large kernels, strides."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, batch, inputs, outputs, side, kernel, stride):
    """Square images and kernels. Padding keeps the side at stride 1."""
    x = Tensor(rng.standard_normal((batch, inputs, side, side)), "float64")
    weight = Tensor(rng.standard_normal((outputs, inputs, kernel, kernel)), "float64")
    return Case.of(x, weight, (stride, stride), (kernel // 2, kernel // 2), (1, 1))


def windows(side, kernel, stride):
    """How many, in one image."""
    return ((side + 2 * (kernel // 2) - kernel) // stride + 1) ** 2


Workload(
    "conv2d",
    sizes={
        "small": dict(batch=1, inputs=1, outputs=4, side=16, kernel=3, stride=1),
        "medium": dict(batch=8, inputs=16, outputs=32, side=64, kernel=3, stride=1),
        "large": dict(batch=8, inputs=64, outputs=64, side=64, kernel=3, stride=1),
        "wide": dict(batch=4, inputs=4, outputs=4, side=128, kernel=31, stride=1),
        "strided": dict(batch=8, inputs=3, outputs=64, side=224, kernel=7, stride=2),
    },
    long=(dict(batch=140_000, inputs=1, outputs=1, side=2, kernel=3, stride=1),),
    growths=(Growth(lambda rng: arguments(rng, 2, 3, outputs=4, side=8, kernel=3, stride=1), {0: 0}, (0,)),),
    arguments=arguments,
    read_from=dict(
        batch="x.shape[0]",
        inputs="x.shape[1]",
        outputs="weight.shape[0]",
        side="x.shape[-1]",
        kernel="weight.shape[-1]",
    ),
    least_bytes=lambda itemsize, batch, inputs, outputs, side, kernel, stride: (
        itemsize
        * (batch * inputs * side**2 + outputs * inputs * kernel**2 + batch * outputs * windows(side, kernel, stride))
    ),
    least_operations=lambda batch, inputs, outputs, side, kernel, stride: (
        batch * outputs * windows(side, kernel, stride)
    ),
)
