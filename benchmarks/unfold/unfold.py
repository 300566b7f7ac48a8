"""Sizes at which unfold is worth measuring: one small image to batches of large ones, dense and dilated windows, patches."""

from opjury.contract import Case, Growth, Tensor, Workload


def arguments(rng, batch, channels, side, kernel, dilation, stride):
    """Square images and kernels, without padding."""
    x = Tensor(rng.standard_normal((batch, channels, side, side)), "float64")
    return Case.of(x, (kernel, kernel), (dilation, dilation), (0, 0), (stride, stride))


def elements(batch, channels, side, kernel, dilation, stride):
    """Of the result."""
    return batch * channels * (kernel * ((side - (kernel - 1) * dilation - 1) // stride + 1)) ** 2


Workload(
    "unfold",
    sizes={
        "small": dict(batch=1, channels=3, side=16, kernel=3, dilation=1, stride=1),
        "medium": dict(batch=8, channels=16, side=64, kernel=3, dilation=1, stride=1),
        "large": dict(batch=8, channels=16, side=128, kernel=5, dilation=1, stride=1),
        "dilated": dict(batch=8, channels=16, side=64, kernel=3, dilation=4, stride=1),
        "patches": dict(batch=16, channels=3, side=224, kernel=16, dilation=1, stride=16),
    },
    long=(
        dict(batch=140_000, channels=1, side=2, kernel=2, dilation=1, stride=1),
        dict(batch=1, channels=140_000, side=2, kernel=2, dilation=1, stride=1),
    ),
    growths=(
        Growth(lambda rng: arguments(rng, 2, 3, side=8, kernel=3, dilation=1, stride=1), {0: 0}, (0,)),
        Growth(lambda rng: arguments(rng, 2, 3, side=8, kernel=3, dilation=2, stride=1), {0: 1}, (1,)),
    ),
    arguments=arguments,
    read_from=dict(batch="x.shape[0]", channels="x.shape[1]", side="x.shape[-1]"),
    least_bytes=lambda itemsize, **sizes: (
        itemsize * (sizes["batch"] * sizes["channels"] * sizes["side"] ** 2 + elements(**sizes))
    ),
    least_operations=lambda **sizes: 0,
)
