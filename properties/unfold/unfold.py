"""unfold(x, kernel_size, dilation=1, padding=0, stride=1): every window of an image as a column, as torch.nn.functional.unfold.

x (N, C, H, W) → (N, C·h·w, L): column l holds window l, windows counted row by row, elements by channel, row, column. The image is
padded with zeros. Sizes are ints or pairs.
"""

from dataclasses import replace
from math import prod

import numpy as np

from opjury.contract import COMPLEX, FLOATING, Case, Law, Operation, Space, composite, illegal, st
from opjury.properties.unfold._windows import (
    affordable,
    geometries,
    movements,
    spoiled,
    windows,
    written,
    written_pairs,
)

ORDER, DEFAULTS = ("dilation", "padding", "stride"), (1, 0, 1)


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    """The windows, kernel positions before image positions."""
    out = windows(x, kernel_size, dilation, padding, stride)
    return out.reshape(out.shape[0], int(np.prod(out.shape[1:4])), int(np.prod(out.shape[4:])))


@composite
def cases(draw, space: Space) -> Case:
    counts = [draw(space.sizes(0, usual=3)), draw(space.sizes(1, usual=3))]
    geometry = draw(geometries(space))
    shape = affordable(counts, geometry.work)
    x = draw(space.tensor((*shape, *geometry.image), terms=prod(geometry.kernel)))
    return Case.of(x, geometry.kernel, *(getattr(geometry, name) for name in ORDER))


@composite
def rejects(draw, space: Space) -> Case:
    legal = draw(geometries(Space(largest=5)))
    rule, geometry = draw(st.sampled_from(spoiled(legal) + no_kernel(legal)))
    x = draw(space.tensor((draw(st.integers(1, 2)), draw(st.integers(1, 2)), *geometry.image)))
    positional, named = draw(movements(geometry, ORDER, DEFAULTS))
    return illegal(rule, x, draw(written(geometry.kernel)), *positional, **named)


def no_kernel(geometry):
    """Kernels without extent, as `spoiled`."""
    height, width = geometry.kernel
    return [
        ("a kernel size is negative" if min(sides) < 0 else "a kernel size is 0", replace(geometry, kernel=sides))
        for sides in ((0, width), (height, 0), (0, 0), (-1, width), (height, -2))
    ]


def channels_apart(f, rng, x, *args, **kwargs):
    channel = int(rng.integers(x.shape[1]))
    whole = f(x, *args, **kwargs)
    size = whole.shape[1] // x.shape[1]
    return whole[:, channel * size : (channel + 1) * size], f(x[:, channel : channel + 1], *args, **kwargs)


def images_apart(f, rng, x, *args, **kwargs):
    if len(x) == 0:
        return None
    row = int(rng.integers(len(x)))
    return f(x, *args, **kwargs)[row], f(x[row : row + 1], *args, **kwargs)[0]


def whole_image(f, rng, x, *args, **kwargs):
    if x.shape[2] * x.shape[3] > 400:  # as many kernels, for those who multiply by them
        return None
    return f(x, tuple(x.shape[2:])), x.flatten(1)[:, :, None]


def single_elements(f, rng, x, *args, **kwargs):
    return f(x, 1), x.flatten(2)


Operation(
    "unfold",
    "every window of an image as a column",
    kind="movement",
    reference=unfold,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX,
    laws=(
        Law("a channel unfolds alone as among others", channels_apart),
        Law("an image unfolds alone as in a batch", images_apart),
        Law("the window of the whole image is the image", whole_image),
        Law("windows of one element are the image", single_elements),
    ),
    forms=dict.fromkeys(("kernel_size", *ORDER), written_pairs),
    baseline="torch_unfold",
    usual=("torch_unfold",),
)
