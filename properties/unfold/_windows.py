"""Windows of an image for the references, and the geometries that contracts of this family draw."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from opjury.contract import Space, composite, st

MOST_WORK = 20_000  # products of a case, or copies
WIDEST = 140  # sides of a kernel: at 280, torch's backward pass writes outside its memory (docs/findings.md)


def pair(value):
    """An int as two, a pair as it is."""
    return (int(value), int(value)) if isinstance(value, (int, np.integer)) else tuple(int(part) for part in value)


def written_pairs(value):
    """The ways to write two sizes: as a tuple, as a list, and as one number where they are equal."""
    down, across = pair(value)
    return [(down, across), [down, across], *([down] if down == across else [])]


def windows(x, kernel_size, dilation=1, padding=0, stride=1):
    """(N, C, H, W) → (N, C, h, w, rows, columns): every window of the image padded with zeros."""
    (top, left), sides, steps, strides = pair(padding), pair(kernel_size), pair(dilation), pair(stride)
    x = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    places = []
    for length, side, step, stride_ in zip(x.shape[2:], sides, steps, strides, strict=True):
        count = (length - (side - 1) * step - 1) // stride_ + 1
        places.append(np.arange(side)[:, None] * step + np.arange(count) * stride_)
    rows, columns = places
    return x[:, :, rows[:, None, :, None], columns[None, :, None, :]]


def sum_of_products(count, dtype):
    """Roundings of a sum of so many products, in any order.

    Complex ones may be made of three real products, (a + b)(c + d) − ac − bd: the imaginary part then errs by up to 3·γ(count + 4).
    """
    return 1.5 * (count + 4) if dtype.kind == "c" else count + 1


@dataclass(frozen=True)
class Geometry:
    """An image, a kernel that fits it, and how it moves."""

    image: tuple[int, int]
    kernel: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]

    @property
    def work(self) -> int:
        """Elements of all windows of one channel."""
        axes = zip(self.image, self.kernel, self.dilation, self.padding, self.stride, strict=True)
        places = ((n + 2 * padding - (side - 1) * step - 1) // stride + 1 for n, side, step, padding, stride in axes)
        return prod(self.kernel) * prod(places)


@composite
def geometries(draw, space: Space) -> Geometry:
    """Kernels of one element to the whole padded image, with dilation, padding and stride, or without, and at times large ones that move."""
    kernel = draw(space.sizes(1, WIDEST, usual=4)), draw(space.sizes(1, WIDEST, usual=4))
    image = draw(space.sizes(1)), draw(space.sizes(1))
    if not space.large and draw(st.integers(0, 9)) == 9:
        sides = [draw(st.integers(5, 7)) for _ in range(2)]
        image = tuple(side + draw(st.integers(0, 3)) for side in sides)
        return Geometry(image, tuple(sides), (1, 1), (0, 0), (draw(st.integers(1, 2)), 1))
    plain = draw(st.integers(0, 2)) == 0
    axes = []
    for length, side in zip(image, kernel, strict=True):
        padding = 0 if plain else draw(st.integers(0, 3))
        dilation = 1 if plain or side > 4 else draw(st.integers(1, 3))
        if side > max(4, length):  # a large kernel, with room to move
            length = side + draw(st.integers(0, 2))
        most = (length + 2 * padding - 1) // dilation + 1
        side = min(side, most)
        if most <= 9 and draw(st.integers(0, 5)) == 0:
            side = most
        axes.append((length, side, dilation, padding, 1 if plain else draw(st.integers(1, 4))))
    return Geometry(*map(tuple, zip(*axes, strict=True)))


def affordable(counts: list[int], work: int) -> list[int]:
    """The counts, of which the lowest are 1 where the product with the work for each would exceed what a case may cost."""
    counts = list(counts)
    for k in sorted(range(len(counts)), key=counts.__getitem__):
        if prod(counts) * work > MOST_WORK:
            counts[k] = min(counts[k], max(1, MOST_WORK // (work * max(1, prod(counts) // max(1, counts[k])))))
    return counts


@composite
def written(draw, values: tuple[int, int], default: int | None = None):
    """Two sizes as an argument: a pair, a number where they are equal, None where the default says it."""
    if values == (default, default) and draw(st.booleans()):
        return None
    if values[0] == values[1] and draw(st.booleans()):
        return np.int64(values[0]) if draw(st.integers(0, 3)) == 3 else values[0]
    return tuple(map(np.int64, values)) if draw(st.integers(0, 7)) == 7 else values


@composite
def movements(draw, geometry: Geometry, order: tuple[str, ...], defaults: tuple[int, ...]):
    """How the kernel moves, as positional and keyword arguments in the operation's order."""
    given = [draw(written(getattr(geometry, name), default)) for name, default in zip(order, defaults, strict=True)]
    positional = []
    while given and given[0] is not None and draw(st.booleans()):
        positional.append(given.pop(0))
    named = {name: value for name, value in zip(order[len(positional) :], given, strict=True) if value is not None}
    return positional, named


def spoiled(geometry: Geometry) -> list[tuple[str, Geometry]]:
    """Rules, each with the geometry changed so that it is broken: no stride or dilation, negative padding, a kernel too large."""
    out = []
    for axis in (0, 1):

        def put(rule, name, value, axis=axis):
            sides = list(getattr(geometry, name))
            sides[axis] = value
            return rule, replace(geometry, **{name: tuple(sides)})

        room = geometry.image[axis] + 2 * geometry.padding[axis]
        out += [put("the kernel does not fit the padded image", "kernel", room + more) for more in (1, 4)]
        out += [put("a stride is 0", "stride", 0), put("a stride is negative", "stride", -1)]
        out += [put("a dilation is 0", "dilation", 0), put("a dilation is negative", "dilation", -2)]
        out += [put("a padding is negative", "padding", value) for value in (-1, -2)]
        if geometry.kernel[axis] > 1:
            out.append(put("the dilated kernel does not fit the padded image", "dilation", room))
    return out


@composite
def factors(draw, space: Space, *shapes: tuple[int, ...], terms: int):
    """Two data arguments that are multiplied: `terms` products are added up at the most, in the result or a gradient."""
    return [draw(space.tensor(shape, terms=terms, factors=2)) for shape in shapes]
