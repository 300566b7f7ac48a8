"""as_strided(x, size, stride, storage_offset=0): a strided selection from the elements of x.

The elements of x in row-major order, whatever x's own strides, are the buffer: out[i0, …] = buffer[storage_offset + Σ i_k·stride_k]. Strides
may be zero or negative. Every address must lie in the buffer; an empty result addresses nothing, so that any offset and strides are legal.
"""

from math import prod

import numpy as np

from opjury.contract import COMPLEX, FLOATING, INTEGER, Case, Law, Operation, Space, Tensor, composite, illegal, st

LARGEST_RESULT = 20_000
BEFORE, BEHIND = "an address is negative", "an address is ≥ the number of elements of x"


def as_strided(x, size, stride, storage_offset=0):
    """Address by address."""
    return x.ravel()[addresses(size, stride, storage_offset)]


def addresses(size, stride, storage_offset):
    """storage_offset + Σ i_k·stride_k, for all i, in the shape `size`."""
    steps = [np.arange(length) * int(step) for length, step in zip(size, stride, strict=True)]
    return sum(np.ix_(*steps), start=np.full(size, int(storage_offset)))


@composite
def views_of(draw, space: Space, elements: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Size, stride and offset within a buffer: overlapping, repeating, reversed and gapped views, and empty ones."""
    lengths = list(draw(space.shapes(0, 6, min_side=1)))
    if not space.large:  # as many dimensions as x has would be too few combinations
        lengths = [0] * draw(st.sampled_from([0, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5, 6]))
    if elements == 0 or (lengths and draw(st.integers(0, 9)) == 9):
        size = [draw(st.integers(0, 8)) for _ in lengths or [0]]
        size[draw(st.integers(0, len(size) - 1))] = 0
        return tuple(size), tuple(draw(st.integers(-9, 9)) for _ in size), draw(st.integers(0, 99))
    size, stride, low, high = [1] * len(lengths), [1] * len(lengths), 0, 0
    for k in sorted(draw(st.permutations(range(len(lengths)))), key=lambda k: -lengths[k]):
        room, budget = elements - 1 - (high - low), LARGEST_RESULT // prod(size)
        most_apart = room // max(lengths[k] - 1, 1) + (not lengths[k])
        step = max(-most_apart, min(draw(st.integers(-3, 3) | st.integers(-most_apart, most_apart)), most_apart))
        most = min(room // abs(step) + 1 if step else budget, budget)
        short, long = st.integers(1, min(most, 8)), st.integers(max(1, most - 2), most) if step else st.just(1)
        length = min(lengths[k], most) or draw(short | long)
        low, high = low + min(0, (length - 1) * step), high + max(0, (length - 1) * step)
        size[k], stride[k] = length, step
    return tuple(size), tuple(stride), draw(st.integers(-low, elements - 1 - high))


@composite
def cases(draw, space: Space) -> Case:
    shape = draw(space.shapes(0, 6))
    size, stride, offset = draw(views_of(space, prod(shape)))
    reached = addresses(size, stride, offset)
    x = draw(space.tensor(shape, terms=int(np.bincount(reached.ravel()).max(initial=1))))
    return Case.of(x, size, stride, offset)


@composite
def rejects(draw, space: Space) -> Case:
    n = draw(st.integers(0, 6))
    x = draw(space.tensor((n,)))
    beyond = draw(st.integers(1, 3))
    if n and draw(st.booleans()):  # a legal view, pushed over either end of the buffer
        size, stride, _ = draw(views_of(space, n))
        if 0 not in size:
            reach = [(length - 1) * step for length, step in zip(size, stride, strict=True)]
            first, last = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
            rule, offset = draw(st.sampled_from([(BEFORE, -first - beyond), (BEHIND, n - 1 - last + beyond)]))
            return illegal(rule, x, size, stride, offset)
    rule, *view = draw(
        st.sampled_from(
            [
                (BEHIND, (n + beyond,), (1,), 0),
                (BEHIND, (n + 1,), (1,)),
                (BEHIND, (2, 2), (n, 1), beyond),
                (BEHIND, (1,), (1,), n),
                (BEHIND, (), (), n + beyond),
                (BEFORE, (1,), (0,), -beyond),
                (BEFORE, (2,), (-1,), 0),
                (BEFORE if n else BEHIND, (n + 1,), (-1,), max(n - 1, 0)),
                (BEHIND, (2, 2), (1, -n - beyond), n + beyond),
                (BEFORE, (3, 3), (2, -2), 3),
                ("size and stride differ in length", (1, 1), (1,), 0),
                ("size and stride differ in length", (1,), (1, 1), 0),
                ("size and stride differ in length", (), (1,), 0),
                ("a size is negative", (-1,), (1,), 0),
                ("a size is negative", (0, -beyond), (1, 1), 0),
                ("a size is negative", (-beyond, 2), (-1, 1), 0),
            ]
        )
    )
    return illegal(rule, x, *view)


def reversed_axis(f, rng, x, size, stride, storage_offset=0):
    if not size or 0 in size:
        return None
    axis = int(rng.integers(len(size)))
    backward = tuple(-step if k == axis else step for k, step in enumerate(stride))
    return f(x, size, backward, storage_offset + (size[axis] - 1) * stride[axis]), f(
        x, size, stride, storage_offset
    ).flip(axis)


def permuted_axes(f, rng, x, size, stride, storage_offset=0):
    order = [int(axis) for axis in rng.permutation(len(size))]
    moved = f(x, tuple(size[k] for k in order), tuple(stride[k] for k in order), storage_offset)
    return moved, f(x, size, stride, storage_offset).permute(order)


def one_slice(f, rng, x, size, stride, storage_offset=0):
    if not size or 0 in size:
        return None
    i = int(rng.integers(size[0]))
    return f(x, size[1:], stride[1:], storage_offset + i * stride[0]), f(x, size, stride, storage_offset)[i]


def row_major(f, rng, x, size, stride, storage_offset=0):
    strides = tuple(prod(x.shape[k + 1 :]) for k in range(x.ndim))
    return f(x, tuple(x.shape), strides), x


Operation(
    "as_strided",
    "out[i0, …] = buffer[storage_offset + Σ i_k·stride_k], strides of either sign",
    kind="movement",
    reference=as_strided,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX + INTEGER,
    laws=(
        Law("a negated stride reverses the axis", reversed_axis),
        Law("permuting sizes and strides permutes the axes", permuted_axes),
        Law("fixing the first index moves the offset", one_slice),
        Law("row-major strides give x back", row_major),
    ),
    forms=dict.fromkeys(("size", "stride"), lambda value: [list(value)]),
    examples=(  # one element beyond either end, where memory goes on
        illegal(BEHIND, Tensor(np.arange(3.0), "float32", "offset"), (2,), (1,), 2),
        illegal(BEFORE, Tensor(np.arange(3.0), "float32", "offset"), (2,), (-1,), 0),
    ),
    baseline="broadcasted_index",
    usual=("strided_view", "numpy_round_trip", "broadcasted_index"),
)
