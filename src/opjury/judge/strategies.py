"""What contracts draw their cases from: sizes, shapes, values and layouts for the dtype and tier on trial.

Hypothesis draws the structure (sizes, shapes, slices, a seed), NumPy fills in layout and values from the seed: a case of
4097 elements costs as little as one of four, and shapes shrink independently of values. A failing case itself is
then made smaller by `opjury.judge.shrink`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from opjury.judge.numbers import general, integers, small_integers, specials, with_specials
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import HALF, is_floating
from opjury.model.exact import carrier
from opjury.model.layouts import LAYOUTS
from opjury.model.operation import Operation

__all__ = ["BOUNDARIES", "Case", "Space", "Tensor", "composite", "illegal", "seeds", "st"]

composite = st.composite

BOUNDARIES = (*(2**k + d for k in range(5, 11) for d in (-1, 0, 1)), 2048, 2049, 4096, 4097)
BETWEEN, FURTHER = (tuple(n for n in sizes if n % 16) for sizes in (range(17, 128), range(129, 300)))
SIZES = (0, *BOUNDARIES, *BETWEEN, *FURTHER)
_MOST_BESIDE = 129  # the largest size beside which a second dimension is large
_REDRAWN = 4  # times, where the dimension that is to be large does not occur
_RANKS = (1, 2, 3, 0, 1, 2, 0, 4, 5, 6)  # in turn: more than three dimensions seldom show another fault
seeds = st.integers(0, 2**32 - 1)


@dataclass
class Space:
    """What one case may be drawn from.

    Parameters
    ----------
    dtype : str
        The dtype of data arguments.
    tier : {"exact", "rounding", "special"}
    large : dict of int to int
        Sizes of the dimensions that are large in this case (63, 64, 65, …, 4097, or any between), by the numbers in which they are drawn.
    layouts : tuple of str
        The layouts that data arguments are drawn from.
    largest : int
        The largest size of other dimensions.
    turn : int
        Which number of dimensions comes next, and which of them a `dim` is.

    Attributes
    ----------
    places : int
        How many dimensions were drawn that may be large.
    taken : set of int
        Those of `large` that were.
    """

    dtype: str = "float32"
    tier: str = "exact"
    large: dict[int, int] = field(default_factory=dict)
    layouts: tuple[str, ...] = ("contiguous",)
    largest: int = 8
    turn: int = 0
    places: int = field(default=0, init=False, repr=False)
    taken: set[int] = field(default_factory=set, init=False, repr=False)

    @property
    def beside(self) -> int:
        """The largest size of the others where one is large."""
        return 3 if max(self.large.values()) <= FURTHER[-1] else 2

    def sizes(
        self, minimum: int = 0, maximum: int | None = None, *, usual: int | None = None
    ) -> st.SearchStrategy[int]:
        """One dimension: up to `usual`, or large where it is its turn, with the others small and not empty."""
        return _Light(_size, self, minimum, maximum, self.largest if usual is None else usual)

    def shapes(self, min_dims: int = 0, max_dims: int = 3, *, min_side: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
        """Shapes of all ranks in turn, with smaller sides where there are more, or with a large first, middle or last side."""
        return _Light(_shape, self, min_dims, max_dims, min_side)

    def axes(self, dims: int) -> st.SearchStrategy[int]:
        """A `dim` of so many dimensions, from either end: all in turn, the outermost first."""
        return _Light(_axis, self, dims)

    def lengths(self, maximum: int) -> st.SearchStrategy[int]:
        """A length from 1 to `maximum`: a power of two in the exact tier, where a division by it must be exact."""
        if self.tier == "exact":
            return st.integers(0, max(maximum, 1).bit_length() - 1).map(lambda k: 2**k)
        return st.integers(1, maximum)

    def index(self, shape: tuple[int, ...], stop: int) -> st.SearchStrategy[Tensor]:
        """int64 indices below `stop`, repeated ones and both ends among them."""
        return _Light(_index, shape, stop)

    def tensor(
        self, shape: tuple[int, ...], *, terms: int = 1, factors: int = 1, nonzero: bool = False
    ) -> st.SearchStrategy[Tensor]:
        """A data argument.

        Parameters
        ----------
        shape : tuple of int
        terms : int
            How many elements are added up at the most, in the result or in a gradient: sums stay exact in the exact
            tier and finite in the others.
        factors : int
            How many data arguments are multiplied together in each term.
        nonzero : bool
            Draw no zeros in the exact and rounding tiers.
        """
        return _Light(_tensor, self, shape, max(terms, 1), factors, nonzero)


class _Light(st.SearchStrategy):
    """A function of `draw` as a strategy, as by `composite`, which would be slow: each case makes dozens of strategies."""

    is_empty = False
    has_reusable_values = False
    label = 1

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        super().__init__()
        self._function, self._arguments = function, arguments

    def do_draw(self, data: Any) -> Any:
        """Draw from hypothesis's data."""
        return self._function(data.draw, *self._arguments)

    def validate(self) -> None:
        """There is nothing to validate."""


def _size(draw: st.DrawFn, space: Space, minimum: int, maximum: int | None, usual: int) -> int:
    place = space.places
    space.places += 1
    if place in space.large and (maximum is None or maximum >= BETWEEN[0]):
        space.taken.add(place)
        size = max(space.large[place], minimum)
        return size if maximum is None or size <= maximum else maximum - size % 4
    if space.large:
        minimum, usual = max(minimum, 1), min(usual, space.beside)
    top = usual + (minimum if minimum > 1 else 0)
    least = minimum if maximum is None else min(minimum, maximum)
    return draw(st.integers(least, top if maximum is None else min(max(top, least), maximum)))


def _shape(draw: st.DrawFn, space: Space, min_dims: int, max_dims: int, min_side: int) -> tuple[int, ...]:
    if space.large:
        return _large_shape(draw, space, min_dims, max_dims, min_side)
    space.places += min(max_dims, 3)
    ranks = [rank for rank in _RANKS if min_dims <= rank <= max_dims]
    dims = ranks[space.turn % len(ranks)]
    if dims > 1 and draw(st.integers(0, 5)) == 5:
        # Squares and cubes: a function that takes one side for another raises for other shapes, and is wrong for these.
        return (draw(st.integers(min_side, 5 if dims <= 3 else 2)),) * dims
    if dims <= 3:
        return tuple(draw(st.integers(min_side, space.largest if dims <= 2 else 4)) for _ in range(dims))
    sides = [draw(st.sampled_from([1, 2, 2])) for _ in range(dims)]
    sides[draw(st.integers(0, dims - 1))] = draw(st.sampled_from([*[3] * 7, min_side]))
    return tuple(sides)


def _large_shape(draw: st.DrawFn, space: Space, min_dims: int, max_dims: int, min_side: int) -> tuple[int, ...]:
    """A shape of which the first, the middle or the last side may be large: three places, or fewer where there are fewer dimensions."""
    most = min(max_dims, 3)
    mine = {place: space.large[place] for place in range(space.places, space.places + most) if place in space.large}
    enough = (1, *[3] * (most - 2), 2)  # dimensions for each place: an inner side is neither the first nor the last
    least = max([min_dims, *(enough[place - space.places] for place in mine)])
    dims = draw(st.integers(min(least, max(most, min_dims)), max(most, min_dims)))
    sides = [draw(st.integers(max(min_side, 1), max(min_side, space.beside))) for _ in range(dims)]
    for place, size in mine.items():
        number = place - space.places
        sides[dims - 1 if number and number == most - 1 else number] = size
        space.taken.add(place)
    space.places += most
    return tuple(sides)


def _axis(draw: st.DrawFn, space: Space, dims: int) -> int:
    if space.large:
        return draw(st.integers(-dims, dims - 1))
    depth, from_front = divmod(space.turn // len(_RANKS) % (2 * dims), 2)
    return dims - 1 - depth if from_front else depth - dims


def _index(draw: st.DrawFn, shape: tuple[int, ...], stop: int) -> Tensor:
    size = math.prod(shape)
    if size <= 6:
        flat = [draw(st.integers(0, stop - 1)) for _ in range(size)]
        return Tensor(np.array(flat, dtype=np.int64).reshape(shape), "int64", data=False)
    rng = np.random.default_rng(draw(seeds))
    narrow = draw(st.integers(1, stop))
    values = rng.integers(0, narrow, shape) + rng.integers(0, stop - narrow + 1)
    return Tensor(values, "int64", data=False)


def _tensor(draw: st.DrawFn, space: Space, shape: tuple[int, ...], terms: int, factors: int, nonzero: bool) -> Tensor:
    dtype, tier = space.dtype, space.tier
    rng = np.random.default_rng(draw(seeds))
    layout = space.layouts[rng.integers(len(space.layouts))]
    if not is_floating(dtype):
        values = integers(rng, shape, dtype, terms, int(rng.integers(4)), special=tier == "special")
    elif tier == "rounding":
        values = general(rng, shape, dtype, terms, factors, int(rng.integers(9)))
    else:
        values = small_integers(rng, shape, dtype, terms, factors, int(rng.integers(4)))
    if nonzero and tier != "special":
        values = np.where(values == 0, carrier(dtype).type(1), values)
    if tier == "special" and is_floating(dtype):
        names = [str(name) for name in rng.choice(specials(dtype, factors), rng.integers(1, 4))]
        values = with_specials(rng, values, dtype, names)
    if layout == "expanded" and values.ndim and values.shape[0]:
        values = np.broadcast_to(values[:1], values.shape).copy()
    return Tensor(values, dtype, layout)


def illegal(rule: str, /, *args: Any, **kwargs: Any) -> Case:
    """A call that must be rejected.

    Parameters
    ----------
    rule : str
        Why it is illegal, as it is true of the call: "start ≥ end". A verdict names it.
    *args, **kwargs
        The arguments, as of `Case.of`.

    Raises
    ------
    TypeError
        For a rule that is not a str.
    """
    if not isinstance(rule, str):
        raise TypeError(f"the rule of an illegal call is {reprlib.repr(rule)}; it must be a str such as 'start ≥ end'")
    return Case(args, kwargs, tier="illegal", rule=rule)


@st.composite
def any_case(
    draw: st.DrawFn,
    operation: Operation,
    dtypes: tuple[str, ...],
    tiers: tuple[str, ...],
    layouts: tuple[str, ...],
    sizes: tuple[int, ...],
) -> Case:
    """A case for one of the dtypes, tiers and sizes of a large dimension, with a seed for whatever a check needs beside it."""
    dtype = _one_of(draw, dtypes)
    tier = _one_of(draw, tiers_of(tiers, dtype))
    size, place, turn = _one_of(draw, sizes), draw(st.integers(0, 255)), draw(st.integers(0, 255))
    if tier == "illegal":
        space = Space(dtype, "exact", {}, tuple(usable_layouts(tuple(LAYOUTS), dtype)), turn=turn)
        return replace(draw(operation.rejects(space)), tier="illegal", seed=draw(seeds))
    large = {place: size} if size else {}
    if 0 < size <= _MOST_BESIDE and draw(st.integers(0, 2)) == 2:
        large.setdefault(draw(st.integers(0, 7)), draw(st.sampled_from(BETWEEN[:50])))
    space = Space(dtype, tier, large, tuple(usable_layouts(layouts, dtype)), turn=turn)
    with np.errstate(all="ignore"):
        case = draw(operation.cases(space))
        for _ in range(_REDRAWN):
            if not size or place in space.taken:
                break
            place %= max(space.places, 1)
            space = replace(space, large={place: size})
            case = draw(operation.cases(space))
    return Case(case.args, case.kwargs, tier, draw(seeds))


def _one_of(draw: st.DrawFn, options: tuple[Any, ...]) -> Any:
    """One of the options, from one byte or two: 0 is the first."""
    return options[draw(st.integers(0, len(options) - 1))] if len(options) > 1 else options[0]


def tiers_of(tiers: tuple[str, ...], dtype: str) -> tuple[str, ...]:
    """The tiers that a dtype has, twice the rounding one for half types, whose exact sums are too small to show much.

    Integers are special only where nothing else is wanted: ordinary ones are large too.
    """
    if not is_floating(dtype):
        legal = "special" if set(tiers) == {"special"} else "exact"
        return tuple(dict.fromkeys(t if t == "illegal" else legal for t in tiers))
    return (*tiers, "rounding") if dtype in HALF and "rounding" in tiers else tiers


def usable_layouts(layouts: tuple[str, ...], dtype: str) -> list[str]:
    """Those of the layouts that the dtype can have: conj for complex, neg for floating and complex."""
    possible = {"conj": dtype.startswith("complex"), "neg": is_floating(dtype)}
    return [name for name in layouts if possible.get(name, True)] or ["contiguous"]
