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
import torch
from hypothesis import strategies as st

from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import HALF, is_floating
from opjury.model.exact import carrier, integer_limits, round_to, torch_dtype
from opjury.model.layouts import LAYOUTS
from opjury.model.operation import Operation

__all__ = ["BOUNDARIES", "Case", "Space", "Tensor", "composite", "illegal", "seeds", "st"]

composite = st.composite

BOUNDARIES = (*(2**k + d for k in range(5, 11) for d in (-1, 0, 1)), 2048, 2049, 4096, 4097)
_BETWEEN = (9, 70)
_MOST_BESIDE = 129  # the largest side beside which a second one is long
_CAP = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "complex64": 2**22}
_LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.38e38,
    "float32": 3.4e38,
    "complex64": 1.7e38,
    "float64": 1.7e308,
    "complex128": 8e307,
}

seeds = st.integers(0, 2**32 - 1)


@dataclass
class Space:
    """What one case may be drawn from.

    Parameters
    ----------
    dtype : str
        The dtype of data arguments.
    tier : {"exact", "rounding", "special"}
    boundary : int
        0, or the one boundary size (63, 64, 65, …, 4097), or one between, that one dimension of this case takes.
    layouts : tuple of str
        The layouts that data arguments are drawn from.
    largest : int
        The largest size of the other dimensions.
    passed : int
        How many sizes pass before one takes the boundary.
    second : int
        0, or the size that another dimension takes then.
    """

    dtype: str = "float32"
    tier: str = "exact"
    boundary: int = 0
    layouts: tuple[str, ...] = ("contiguous",)
    largest: int = 8
    passed: int = 0
    second: int = 0
    taken: bool = field(default=False, init=False, repr=False)

    def sizes(self, minimum: int = 0, maximum: int | None = None, *, boundary: bool = True) -> st.SearchStrategy[int]:
        """One dimension: small, or the case's boundary, which only one dimension takes, or sometimes a second long size."""
        return _Light(_size, self, minimum, maximum, boundary)

    def beside(self, usual: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
        """One dimension: as usual, or, where another one took the boundary, sometimes long."""
        return _Light(lambda draw: _second(self) if self.taken and self.second else draw(usual))

    def shapes(self, min_dims: int = 0, max_dims: int = 3, *, min_side: int = 0) -> st.SearchStrategy[tuple[int, ...]]:
        """Shapes from 0-d and zero-size to across block boundaries, with smaller sides where there are more dimensions."""
        return _Light(_shape, self, min_dims, max_dims, min_side)

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


def _size(draw: st.DrawFn, space: Space, minimum: int, maximum: int | None, boundary: bool) -> int:
    long = space.second if space.taken else space.boundary
    fits = long >= minimum and (maximum is None or long <= maximum)
    if boundary and long and fits:
        if space.taken:
            return _second(space)
        space.taken = space.passed == 0
        space.passed -= 1
        if space.taken:
            return long
    top = (3 if space.taken else space.largest) + (minimum if minimum > 1 else 0)
    return draw(st.integers(minimum, top if maximum is None else min(max(top, minimum), maximum)))


def _second(space: Space) -> int:
    """The second long size, which only one dimension takes."""
    size, space.second = space.second, 0
    return size


def _shape(draw: st.DrawFn, space: Space, min_dims: int, max_dims: int, min_side: int) -> tuple[int, ...]:
    dims = draw(st.integers(min_dims, max_dims))
    if dims > max(min_dims, 3) and draw(st.integers(0, 3)):  # seldom more than three: they rarely show another fault
        dims = draw(st.integers(min_dims, 3))
    widest = None if dims <= 2 else 4 + space.boundary
    if dims > 1 and not space.boundary and draw(st.integers(0, 5)) == 5:
        # Squares and cubes: a function that takes one side for another raises for other shapes, and is wrong for these.
        return (_size(draw, space, min_side, 5, False),) * dims
    return tuple(_size(draw, space, min_side, widest, True) for _ in range(dims))


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
        values = general(rng, shape, dtype, terms, factors, int(rng.integers(7)))
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


def integers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str, terms: int, family: int, *, special: bool = False
) -> np.ndarray:
    """Integers of a dtype (small, all different, any, or extremes) of which `terms` add up within 64 bits.

    Special ones stand beside the limits of the dtype, or of those that float32 and float64 hold, at up to three places.
    """
    low, high = integer_limits(dtype)
    if dtype == "int64" and terms > 1:
        low, high = -(2**62) // terms, 2**62 // terms
    if family == 0:
        values = rng.integers(max(low, -3), min(high, 3), shape, endpoint=True)
    elif family == 1:
        values = rng.permutation(math.prod(shape)).reshape(shape) % (min(high, 2**31) + 1)
    elif family == 2:
        values = rng.integers(low, high, shape, endpoint=True)
    else:
        values = rng.choice(np.array([low, high, 0, 1]), shape)
    values = np.array(values)
    if special and values.size:
        edges = (low, high, 2**24, 2**53, -(2**24), -(2**53))
        near = [edge + step for edge in edges for step in (-1, 0, 1) if low <= edge + step <= high]
        values.reshape(-1)[rng.integers(values.size, size=3)] = rng.choice(np.array(near), 3)
    return values.astype(carrier(dtype))


def general(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str, terms: int, factors: int, family: int
) -> np.ndarray:
    """Values that round: normal, wide range, cancelling pairs, one spike, narrow range, common scale, all equal.

    Wide ranges stay away from the overflow of any sum of `terms` products of `factors` values, and from underflow.
    """
    room = (math.log2(_LARGEST[dtype]) - math.log2(terms) - 2) / factors - 1
    spread = max(2.0, min(room, 9.0 if dtype == "float16" else 40.0))

    def real() -> np.ndarray:
        values = rng.standard_normal(shape).clip(-4, 4)
        if family == 1:
            values = values * 2.0 ** rng.uniform(-spread, spread - 2, shape)
        elif family == 2:
            large = np.asarray(values * 2.0 ** min(spread - 2, 24))
            flat = large.reshape(-1)
            flat[1::2] = -flat[: flat.size - 1 : 2][: flat[1::2].size]
            values = large + rng.standard_normal(shape)
        elif family == 3 and values.size:
            np.asarray(values).reshape(-1)[rng.integers(values.size)] = 2.0 ** min(spread - 1, 30)
        elif family == 4:
            values = 1 + rng.random(shape) / 8
        elif family == 5:
            values = values * 2.0 ** rng.uniform(-spread, spread - 2)
        elif family == 6:
            values = np.full(shape, rng.choice([0.1, 1 + 2.0**-9, 1 / 3]))
        largest = _LARGEST[dtype] ** (1 / factors) / (4 * terms)
        return np.asarray(values).clip(-largest, largest)

    return round_to(real() + 1j * real() if dtype.startswith("complex") else real(), dtype)


def with_specials(rng: np.random.Generator, values: np.ndarray, dtype: str, names: list[str]) -> np.ndarray:
    """The values with special ones at random places, at most one "largest", since two may overflow in one order of addition only."""
    flat = values.reshape(-1)
    for number, name in enumerate(names if flat.size else []):
        if name == "largest" and name in names[:number]:
            continue
        special, place = special_value(name, dtype), rng.integers(flat.size)
        imaginary = dtype.startswith("complex") and not rng.integers(2)
        flat[place] = complex(flat[place].real, special) if imaginary else special
    return values


SPECIALS = ("nan", "inf", "-inf", "-0.0", "subnormal", "largest")


def specials(dtype: str, factors: int) -> list[str]:
    """Those that have one right result in whatever order products of so many factors are added up.

    Products of the largest values overflow. Processors' instructions for dot products treat subnormal bfloat16 numbers as zero.
    """
    if factors == 1:
        return list(SPECIALS)
    return [name for name in SPECIALS if name != "largest" and (name, dtype) != ("subnormal", "bfloat16")]


def special_value(name: str, dtype: str) -> float:
    """NaN, ±inf, −0, half the smallest normal number, or a value close to the largest finite one."""
    if name == "subnormal":
        return torch.finfo(torch_dtype(dtype)).smallest_normal / 2
    if name == "largest":
        return {"float16": 32768.0, "float64": 2.0**1023, "complex128": 2.0**1022}.get(dtype, 2.0**126)
    return float(name)


def small_integers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: str, terms: int = 1, factors: int = 1, family: int = 0
) -> np.ndarray:
    """Small integers whose sums and products are exact in the dtype, in the dtype's carrier.

    Families: 0 small values, 1 all different (where that many are exact), 2 zeros and ones, 3 few non-zeros. Where the dtype is too
    narrow for `terms` non-zeros, most are zeros, so that every partial sum stays exact.
    """
    size = math.prod(shape)
    cap = _CAP.get(dtype, 2**50)
    top = int(max(1, min(5, (cap / terms) ** (1 / factors))))
    if family == 1 and terms * size**factors < cap:
        flat = rng.permutation(size).astype(np.float64) + 1
    else:
        low, high = (0, 1) if family == 2 else (-top, top)
        flat = rng.integers(low, high, size, endpoint=True).astype(np.float64)
    if dtype.startswith("complex"):
        flat = flat + 1j * rng.integers(-top, top, size, endpoint=True)
    allowed = int(cap // top**factors)
    if family == 3 or terms > allowed:
        keep = rng.permutation(size)[: max(1, min(allowed, size // 8 + 1))]
        sparse = np.zeros_like(flat)
        sparse[keep] = flat[keep]
        flat = sparse
    return flat.reshape(shape)


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
    boundaries: tuple[int, ...],
) -> Case:
    """A case for one of the dtypes, tiers and boundaries, with a seed for whatever a check needs beside it."""
    dtype = _one_of(draw, dtypes)
    tier = _one_of(draw, tiers_of(tiers, dtype))
    boundary = _one_of(draw, boundaries)
    if tier == "illegal":
        space = Space(dtype, "exact", 0, tuple(usable_layouts(tuple(LAYOUTS), dtype)))
        return replace(draw(operation.rejects(space)), tier="illegal", seed=draw(seeds))
    passed = second = 0
    if len(boundaries) > 1:
        passed = max(0, draw(st.integers(-1, 2)))
        if draw(st.integers(0, 12)) == 12:
            boundary = draw(st.integers(*_BETWEEN))
        if 0 < boundary <= _MOST_BESIDE and draw(st.integers(0, 2)) == 2:
            second = draw(st.integers(*_BETWEEN))
    space = Space(dtype, tier, boundary, tuple(usable_layouts(layouts, dtype)), passed=passed, second=second)
    with np.errstate(all="ignore"):
        case = draw(operation.cases(space))
        if space.boundary and not space.taken:
            case = draw(operation.cases(replace(space, passed=0)))
    return Case(case.args, case.kwargs, tier, draw(seeds))


def _one_of(draw: st.DrawFn, options: tuple[Any, ...]) -> Any:
    """One of the options, from one byte: 0 is the first."""
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
