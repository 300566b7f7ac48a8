"""compose_conv2d(first, second): the kernel that does at once what two unpadded convolutions of stride 1 do one after the other.

first (M, I, h1, w1), second (O, M, h2, w2) → (O, I, h1 + h2 − 1, w1 + w2 − 1), such that
conv2d(conv2d(x, first), second) = conv2d(x, composed): out[o, i] is the sum over m of the full convolutions of second[o, m] and first[m, i].
Subnormal bfloat16 numbers may count as zero, which is how processors' instructions for dot products take them.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, Case, Law, Operation, Space, composite, illegal, st
from opjury.properties.unfold._windows import affordable, factors, sum_of_products

SIDES = (
    (None, 8),
    (None, 5),
    (300, 4),
    (300, 4),
)  # the largest ones, and the usual ones; the reference loops over the second kernel's


def compose_conv2d(first, second):
    """out[o, i, a + p, b + q] = Σ second[o, m, a, b]·first[m, i, p, q]."""
    _, inputs, h1, w1 = first.shape
    outputs, _, h2, w2 = second.shape
    out = np.zeros((outputs, inputs, h1 + h2 - 1, w1 + w2 - 1), dtype=np.result_type(first, second))
    for a in range(h2):
        for b in range(w2):
            out[:, :, a : a + h1, b : b + w1] += (second[:, :, a, b, None, None, None] * first).sum(axis=1)
    return out


def terms(first, second):
    """One product and one addition for each middle channel and each place that the smaller kernel can take."""
    overlap = min(first.shape[2], second.shape[2]) * min(first.shape[3], second.shape[3])
    return sum_of_products(first.shape[0] * overlap, first.dtype)


@composite
def cases(draw, space: Space) -> Case:
    counts = [draw(space.sizes(1, usual=3)) for _ in range(3)]
    h1, w1, h2, w2 = (draw(space.sizes(1, most, usual=usual)) for most, usual in SIDES)
    inputs, middle, outputs = affordable(counts, h1 * w1 * h2 * w2)
    added = max(middle * min(h1 * w1, h2 * w2), outputs * h2 * w2, inputs * h1 * w1)
    return Case.of(*draw(factors(space, (middle, inputs, h1, w1), (outputs, middle, h2, w2), terms=added)))


@composite
def rejects(draw, space: Space) -> Case:
    middle = draw(st.integers(1, 4))
    other = draw(st.sampled_from([m for m in (1, 2, 3, 4, 6) if m != middle]))
    inputs, outputs, *kernels = (draw(st.integers(1, 4)) for _ in range(6))
    first = draw(space.tensor((middle, inputs, *kernels[:2]), factors=2))
    second = draw(space.tensor((outputs, other, *kernels[2:]), factors=2))
    return illegal("first.shape[0] ≠ second.shape[1]", first, second)


def one_after_the_other(f, rng, first, second):
    height, width = first.shape[2] + second.shape[2] - 1, first.shape[3] + second.shape[3] - 1
    x = torch.zeros((1, first.shape[1], height, width), dtype=first.dtype, device=first.device)
    x.view(-1)[int(rng.integers(x.numel()))] = 1  # a single one: sums stay as small as those of the composition
    convolve = torch.nn.functional.conv2d
    return convolve(x, f(first, second)), convolve(convolve(x, first), second)


def transposed(f, rng, first, second):
    if first.shape[2] * first.shape[3] > 700:  # work grows with the second kernel
        return None
    return f(second.transpose(0, 1), first.transpose(0, 1)).transpose(0, 1), f(first, second)


def units(f, rng, first, second):
    eye = torch.eye(first.shape[0], dtype=first.dtype, device=first.device)[:, :, None, None]
    return (f(first, eye), first) if rng.integers(2) else (f(eye, second), second)


def mirrored(f, rng, first, second):
    return f(first.flip(2, 3), second.flip(2, 3)), f(first, second).flip(2, 3)


Operation(
    "compose_conv2d",
    "the kernel of two convolutions in a row",
    kind="arithmetic",
    reference=compose_conv2d,
    terms=terms,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX,
    laws=(
        Law("one convolution with the composed kernel is the two convolutions", one_after_the_other),
        Law("exchanging the kernels and their channels transposes the channels", transposed),
        Law("the unit kernel of one element changes nothing", units),
        Law("mirroring both kernels mirrors their composition", mirrored),
    ),
    baseline="torch_conv2d_flipped",
    usual=("torch_conv2d_flipped",),
)
