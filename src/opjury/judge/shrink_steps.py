"""The steps by which a failing case is made smaller: each yields cases that are smaller than a given one."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case
from opjury.model.dtypes import is_floating
from opjury.model.exact import carrier, round_to


def _chunks(length: int) -> Iterator[tuple[int, int]]:
    """Parts of a length to take away, (start, end): all of it, then halves, and so on to single ones, the last of each width first."""
    width = length
    while width:
        starts = range(0, length - width + 1, max(width, -(-length // 8)))
        last = length - width
        yield from ((start, start + width) for start in dict.fromkeys((last, *starts)))
        width = width // 2 if width < length else (length + 1) // 2 if length > 1 else 0


def fewer_elements(case: Case) -> Iterator[Case]:
    """Without some rows, columns and so on, in all sides of that length, or in one of them."""
    sides: dict[int, list[tuple[int | str, int]]] = {}
    for place, leaf in case.leaves():
        for axis, length in enumerate(leaf.shape if isinstance(leaf, Tensor) else ()):
            sides.setdefault(length, []).append((place, axis))
    yield from _sparser(case)
    for length in sorted(sides, reverse=True):
        where = sides[length]
        sets = [where] * (len(where) > 1) + _by_axis(where) + [[side] for side in where]
        for start, end in _chunks(length):
            for chosen in sets:
                cut = case
                for place, axis in chosen:
                    leaf = dict(cut.leaves())[place]
                    cut = cut.with_leaf(place, replace(leaf, values=np.delete(leaf.values, slice(start, end), axis)))
                yield from _renumbered(cut, start, end)


def _by_axis(where: list[tuple[int | str, int]]) -> list[list[tuple[int | str, int]]]:
    """The sides that are the same axis of several arguments, unless these are all sides."""
    groups = [[side for side in where if side[1] == axis] for axis in dict.fromkeys(axis for _, axis in where)]
    return [group for group in groups if 1 < len(group) < len(where)]


def _renumbered(case: Case, start: int, end: int) -> Iterator[Case]:
    """With lower indices and bounds beyond the part that was taken away, then with each count lowered by its width, then as it is."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.data or leaf.dtype != "int64":
            return leaf
        return replace(leaf, values=leaf.values - np.clip(leaf.values - start, 0, end - start))

    if any(isinstance(leaf, Tensor) and not leaf.data for _, leaf in case.leaves()):
        yield case.map(moved)
    for place, leaf in case.leaves():
        if is_count(leaf) and leaf >= end - start:
            yield case.with_leaf(place, int(leaf) - (end - start))
    yield case


def _sparser(case: Case) -> Iterator[Case]:
    """Sparse matrices with fewer stored entries, rows or columns."""
    for place, leaf in case.leaves():
        if not isinstance(leaf, Sparse) or leaf.format == "dense":
            continue
        stored = len(leaf.values)
        for start, end in _chunks(stored):
            kept = np.r_[0:start, end:stored]
            parts = tuple(part[kept] for part in leaf.places)
            yield case.with_leaf(place, replace(leaf, values=leaf.values[kept], places=parts))
        if leaf.format == "dia":
            for start, end in _chunks(leaf.values.shape[1]):
                yield case.with_leaf(place, replace(leaf, values=np.delete(leaf.values, slice(start, end), 1)))
        for axis in (0, 1):
            for start, end in _chunks(leaf.shape[axis]):
                cut = _cut(leaf, axis, start, end)
                if cut is not None:
                    yield from _renumbered(case.with_leaf(place, cut), start, end)


def _cut(leaf: Sparse, axis: int, start: int, end: int) -> Sparse | None:
    """Without some rows or columns, and what is stored there, or None where that leaves no whole blocks."""
    less = end - start
    shape = (leaf.shape[0] - less * (axis == 0), leaf.shape[1] - less * (axis == 1))
    if leaf.format == "dia":
        return replace(leaf, shape=shape)
    block = leaf.values.shape[1 + axis] if leaf.format == "bsr" else 1
    if start % block or end % block:
        return None
    first, last = start // block, end // block
    kept = (leaf.places[axis] < first) | (leaf.places[axis] >= last)
    parts = [part[kept] for part in leaf.places]
    parts[axis] = np.where(parts[axis] >= last, parts[axis] - (last - first), parts[axis])
    return replace(leaf, shape=shape, values=leaf.values[kept], places=tuple(parts))


def lower_counts(case: Case) -> Iterator[Case]:
    """Integer arguments, alone or in tuples, nearer to 0, several at once where they were equal."""
    for place, leaf in case.leaves():
        for value in dict.fromkeys(numbers_in(leaf)):
            for lower in _nearer(value):
                for changed in _with_number(leaf, value, lower):
                    yield case.with_leaf(place, changed)


def other_axes(case: Case) -> Iterator[Case]:
    """A count nearer to 0 by one, and the axes of all tensors moved by one, since the count may name an axis."""
    for place, leaf in case.leaves():
        if is_count(leaf) and leaf:
            lower = leaf - (1 if leaf > 0 else -1)
            for start, end in ((0, -1), (-1, 0)):
                yield case.map(functools.partial(_rolled, start=start, end=end)).with_leaf(place, lower)


def _rolled(leaf: Any, start: int, end: int) -> Any:
    if not isinstance(leaf, Tensor) or leaf.values.ndim < 2:
        return leaf
    return replace(leaf, values=np.ascontiguousarray(np.moveaxis(leaf.values, start, end)))


def _nearer(value: int) -> list[int]:
    """Integers nearer to 0."""
    nearer = dict.fromkeys((0, 1, value // 2, value - (value > 0) + (value < 0), -value))
    return [lower for lower in nearer if (abs(lower), lower < 0) < (abs(value), value < 0)]


def _with_number(leaf: Any, value: int, lower: int) -> Iterator[Any]:
    """The argument with another number in place of all the equal ones, then of each one."""
    if not isinstance(leaf, tuple):
        yield lower
        return
    at = [k for k, part in enumerate(leaf) if is_count(part) and part == value]
    for chosen in [at, *([k] for k in at if len(at) > 1)]:
        yield tuple(lower if k in chosen else part for k, part in enumerate(leaf))


def fewer_arguments(case: Case) -> Iterator[Case]:
    """Without an argument, or with tuples of equal length without one of their places."""
    for place, leaf in case.leaves():
        if isinstance(place, str):
            yield replace(case, kwargs={name: value for name, value in case.kwargs.items() if name != place})
        elif place == len(case.args) - 1 or isinstance(leaf, Tensor):
            yield replace(case, args=(*case.args[:place], *case.args[place + 1 :]))
    for length in dict.fromkeys(len(leaf) for _, leaf in case.leaves() if isinstance(leaf, tuple)):
        for k in range(length):
            yield case.map(functools.partial(_without_place, length=length, k=k))


def _without_place(leaf: Any, length: int, k: int) -> Any:
    return (*leaf[:k], *leaf[k + 1 :]) if isinstance(leaf, tuple) and len(leaf) == length else leaf


def fewer_axes(case: Case) -> Iterator[Case]:
    """Without an axis of one element, or with two axes as one, in all arguments that have as many or in one, with lower counts."""
    ranks = dict.fromkeys(leaf.values.ndim for _, leaf in case.leaves() if isinstance(leaf, Tensor))
    for rank in sorted(ranks, reverse=True):
        places = [place for place, leaf in case.leaves() if isinstance(leaf, Tensor) and leaf.values.ndim == rank]
        for axis in range(rank):
            for chosen in [places, *([place] for place in places if len(places) > 1)]:
                fewer = case
                for place in chosen:
                    leaf = dict(fewer.leaves())[place]
                    if leaf.shape[axis] == 1 or axis + 1 < rank:
                        fewer = fewer.with_leaf(place, replace(leaf, values=_without_axis(leaf.values, axis)))
                if fewer is not case:
                    yield from _renumbered(fewer, 0, 1)


def _without_axis(values: np.ndarray, axis: int) -> np.ndarray:
    """One axis less: of one element, or joined with the next."""
    if values.shape[axis] == 1:
        return values.squeeze(axis)
    return values.reshape(*values.shape[:axis], values.shape[axis] * values.shape[axis + 1], *values.shape[axis + 2 :])


def plainer(case: Case) -> Iterator[Case]:
    """Contiguous memory, arrays instead of matrices, 32-bit indices."""
    for place, leaf in case.leaves():
        if isinstance(leaf, Tensor) and leaf.layout != "contiguous":
            yield case.with_leaf(place, replace(leaf, layout="contiguous"))
        if isinstance(leaf, Sparse) and leaf.container != "array":
            yield case.with_leaf(place, replace(leaf, container="array"))
        if isinstance(leaf, Sparse) and leaf.index_dtype != "int32":
            yield case.with_leaf(place, replace(leaf, index_dtype="int32"))


def simpler_dtypes(case: Case, dtypes: tuple[str, ...]) -> Iterator[Case]:
    """The same values in each simpler dtype that can hold them, rounded."""
    for dtype in dtypes[: dtypes.index(case.dtype)] if case.dtype in dtypes else ():
        with contextlib.suppress(OverflowError):
            yield case.map(functools.partial(_in_dtype, dtype=dtype))


def _in_dtype(leaf: Any, dtype: str) -> Any:
    """Raises `OverflowError` where the dtype has no finite value for a finite one."""
    if not isinstance(leaf, (Tensor, Sparse)) or not leaf.data:
        return leaf
    values = leaf.values.real if not dtype.startswith("complex") else leaf.values
    with np.errstate(all="ignore"):
        rounded = round_to(values, dtype) if is_floating(dtype) else values.astype(carrier(dtype))
    if np.any(np.isfinite(values) & ~np.isfinite(rounded)):
        raise OverflowError
    return replace(leaf, values=rounded, dtype=dtype)


def simpler_values(case: Case) -> Iterator[Case]:
    """Values nearer to 0 and 1, argument by argument."""
    for place, leaf in case.leaves():
        if isinstance(leaf, (Tensor, Sparse)):
            found = _nearer_values(leaf.values) if leaf.data else _lower_indices(leaf.values)
            yield from (case.with_leaf(place, replace(leaf, values=values)) for values in found)


def simpler_beside(case: Case) -> Iterator[Case]:
    """What the check used beside the arguments in contiguous memory, and with values nearer to 0 and 1."""
    for name, used in case.beside.items():
        plain = [replace(used, layout="contiguous")] * (used.layout != "contiguous")
        for simpler in (*plain, *(replace(used, values=values) for values in _nearer_values(used.values))):
            yield replace(case, beside={**case.beside, name: simpler})


def _lower_indices(values: np.ndarray) -> Iterator[np.ndarray]:
    """Each index nearer to 0, and all of them."""
    flat = values.reshape(-1)
    if flat.dtype.kind != "i" or flat.size > 64:
        return
    if flat.size and flat.min() > 0:
        yield values - flat.min()
    for at, value in enumerate(flat.tolist()):
        for lower in _nearer(value):
            changed = flat.copy()
            changed[at] = lower
            yield changed.reshape(values.shape)


def _nearer_values(values: np.ndarray) -> Iterator[np.ndarray]:
    """All 0, all 1, blocks of zeros from halves to single elements, single ones, then everything rounded to integers."""
    size, flat = values.size, values.reshape(-1)
    if not size:
        return
    simple = [np.zeros_like(values), np.ones_like(values)]
    if not any(np.array_equal(values, each) for each in simple):
        yield from simple
    widths = [math.ceil(size / 2**k) for k in range(1, (size - 1).bit_length() + 1)] or [1]
    blocks = [(start, start + width) for width in widths for start in range(0, size, width)]
    for start, end in blocks[:64]:
        part = flat[start:end]
        for target in (0, 1) if end - start == 1 else (0,):
            if np.any((part != 0) & (part != target)):  # 0 is the simplest value, then 1
                changed = flat.copy()
                changed[start:end] = target
                yield changed.reshape(values.shape)
    if flat.dtype.kind == "f":
        with np.errstate(all="ignore"):
            rounded = np.rint(flat)
        if not np.array_equal(rounded, flat, equal_nan=True):
            yield rounded.reshape(values.shape)


def numbers_in(leaf: Any) -> list[int]:
    """The integers that an argument consists of."""
    if isinstance(leaf, tuple):
        return [number for part in leaf for number in numbers_in(part)]
    return [int(leaf)] if is_count(leaf) else []


def is_count(leaf: Any) -> bool:
    """Whether an argument is an integer."""
    return isinstance(leaf, (int, np.integer)) and not isinstance(leaf, bool)
