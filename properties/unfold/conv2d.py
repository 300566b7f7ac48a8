"""conv2d(x, weight, stride=1, padding=0, dilation=1): cross-correlation of images with kernels, as torch.nn.functional.conv2d.

x (N, C, H, W), weight (O, C, h, w) → (N, O, rows, columns); out[n, o, i, j] = Σ x[n, c, i·stride + a·dilation − padding, …]·weight[o, c, a, b].
Weights are finite where there is padding: the zeros outside the image are multiplied with them.
Subnormal bfloat16 numbers may count as zero, which is how processors' instructions for dot products take them.
"""

from dataclasses import replace
from math import prod

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, Case, Law, Operation, Space, composite, illegal, st
from opjury.properties.unfold._windows import (
    affordable,
    factors,
    geometries,
    movements,
    pair,
    spoiled,
    sum_of_products,
    windows,
    written_pairs,
)

ORDER, DEFAULTS = ("stride", "padding", "dilation"), (1, 0, 1)


def conv2d(x, weight, stride=1, padding=0, dilation=1):
    """Every window times every kernel."""
    seen = windows(x, weight.shape[2:], dilation, padding, stride)
    return (seen[:, None] * weight[:, :, :, :, None, None]).sum(axis=(2, 3, 4))


def terms(x, weight, stride=1, padding=0, dilation=1):
    """One product and one addition for each element of a kernel."""
    return sum_of_products(int(np.prod(weight.shape[1:])), x.dtype)


@composite
def cases(draw, space: Space) -> Case:
    counts = [draw(space.sizes(low, usual=3)) for low in (0, 1, 1)]
    geometry = draw(geometries(space))
    area, kernel = prod(geometry.image), prod(geometry.kernel)
    batch, channels, outputs = affordable(counts, geometry.work)
    shapes = (batch, channels, *geometry.image), (outputs, channels, *geometry.kernel)
    x, weight = draw(factors(space, *shapes, terms=max(channels * kernel, outputs * kernel, batch * area)))
    if any(geometry.padding):
        weight = replace(weight, values=np.where(np.isfinite(weight.values), weight.values, 1))
    if x.layout == "channels_last" and x.dtype == "bfloat16" and geometry.dilation[1] > 1:
        x = replace(x, layout="contiguous")  # oneDNN crashes there on windows that lie outside the image
    return Case.of(x, weight, *(getattr(geometry, name) for name in ORDER))


@composite
def rejects(draw, space: Space) -> Case:
    legal = draw(geometries(Space(largest=5)))
    channels, others = draw(st.sampled_from([(2, 1), (4, 2), (1, 2), (3, 1), (2, 3)]))
    bad = [(*spoilt, channels) for spoilt in spoiled(legal)]
    other = ("x.shape[1] ≠ weight.shape[1]", legal, others)
    rule, geometry, of_weight = draw(st.sampled_from(bad + [other] * len(bad)))
    x = draw(space.tensor((draw(st.integers(1, 2)), channels, *geometry.image), factors=2))
    weight = draw(space.tensor((draw(st.integers(1, 2)), of_weight, *geometry.kernel), factors=2))
    positional, named = draw(movements(geometry, ORDER, DEFAULTS))
    return illegal(rule, x, weight, *positional, **named)


def outputs_apart(f, rng, x, weight, *args, **kwargs):
    output = int(rng.integers(len(weight)))
    one = f(x, weight[output : output + 1], *args, **kwargs)
    return one[:, 0], f(x, weight, *args, **kwargs)[:, output]


def images_apart(f, rng, x, weight, *args, **kwargs):
    if len(x) == 0:
        return None
    row = int(rng.integers(len(x)))
    return f(x[row : row + 1], weight, *args, **kwargs)[0], f(x, weight, *args, **kwargs)[row]


def channels_permuted(f, rng, x, weight, *args, **kwargs):
    order = rng.permutation(x.shape[1])
    return f(x[:, order], weight[:, order], *args, **kwargs), f(x, weight, *args, **kwargs)


def mirrored(f, rng, x, weight, stride=1, padding=0, dilation=1):
    if max(pair(stride)) > 1:
        return None
    moves = stride, padding, dilation
    return f(x.flip(2, 3), weight.flip(2, 3), *moves).flip(2, 3), f(x, weight, *moves)


def identity(f, rng, x, weight, *args, **kwargs):
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)[:, :, None, None]
    return f(x, eye), x


Operation(
    "conv2d",
    "cross-correlation of images with kernels",
    kind="arithmetic",
    reference=conv2d,
    terms=terms,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX,
    laws=(
        Law("an output channel alone is the same as among others", outputs_apart),
        Law("an image alone is the same as in a batch", images_apart),
        Law("permuting the channels of image and kernel changes nothing", channels_permuted),
        Law("mirroring image and kernel mirrors the result", mirrored),
        Law("the unit kernel of one element gives the image back", identity),
    ),
    forms=dict.fromkeys(ORDER, written_pairs),
    baseline="torch_conv2d",
    usual=("torch_conv2d",),
)
