"""The cases that checks are tried on: each kind is drawn once, and shared by all tasks that want it.

Hypothesis draws them from seeded random bytes (`fuzz_one_input`): uniformly, and in half the time of its engine. The first bytes
decide dtype, tier, and which dimension is large or which number of dimensions there is; they are dealt like cards, so that each option
comes up equally often.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from hypothesis import HealthCheck, configuration, given, settings
from hypothesis.strategies import composite

from opjury.judge import oracle
from opjury.judge.strategies import BETWEEN, BOUNDARIES, FURTHER, SIZES, Space, any_case, tiers_of
from opjury.model import registry
from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case, Repetition
from opjury.model.check import Check
from opjury.model.device import free_memory
from opjury.model.dtypes import DTYPES, is_floating
from opjury.model.exact import round_to, torch_dtype
from opjury.model.operation import Operation
from opjury.model.setting import Setting
from opjury.model.workload import Workload

CHUNK = 32
_BYTES = 4096  # more than any case draws
_TURNS_APART, _PLACES_APART = 30, 4  # of dtypes that are judged apart, times their number
_PROBES = 16  # cases by which the dimensions of an operation are counted
_MOST_ELEMENTS, _MOST_WORK = 2**20, 2**24  # elements and least operations of a case that the reference can afford
BEYOND = 2**31  # elements, of a call whose arguments are repeated
_ROOM = 3  # times the memory of its arguments and result must be free for a call


@dataclass(frozen=True)
class Kind:
    """What a check wants its cases to be.

    Parameters
    ----------
    operation : str
    dtypes, tiers, layouts : tuple of str
        Each case has one of them; the layouts are drawn for each argument.
    boundaries : bool
        Whether sizes at the edges of blocks occur.
    seed : int
    """

    operation: str
    dtypes: tuple[str, ...]
    tiers: tuple[str, ...]
    layouts: tuple[str, ...]
    boundaries: bool
    seed: int

    @property
    def without_boundaries(self) -> Kind:
        """The same with small sizes alone."""
        return replace(self, boundaries=False)


def kind_for(operation: Operation, check: Check, dtypes: tuple[str, ...], seed: int) -> Kind | None:
    """The kind of case that a check wants, or None where it makes no sense for these dtypes."""
    if check.floating and not all(map(is_floating, dtypes)):
        return None
    tiers = tuple(t for t in check.tiers if t in (*operation.tiers, "special", "illegal")) or tuple(operation.tiers)
    return Kind(operation.name, dtypes, tiers, check.layouts, check.boundaries, seed)


def stream(kind: Kind) -> Iterator[Case]:
    """Cases of a kind without end, always the same ones."""
    number = 0
    while True:
        yield from _chunk(kind, number)
        number += 1


@lru_cache(maxsize=192)  # all that the quick profile wants of one operation
def _chunk(kind: Kind, number: int) -> tuple[Case, ...]:
    contract, sizes = registry.operation(kind.operation), SIZES if kind.boundaries else (0,)
    rng = np.random.default_rng(_seed(kind, number))
    cases: Any = any_case(contract, kind.dtypes, kind.tiers, kind.layouts, sizes)
    return tuple(_drawn(cases, [choice + rng.bytes(_BYTES) for choice in _hand(kind, number)]))


def _drawn(strategy: Any, buffers: Iterable[bytes]) -> list[Any]:
    """What a strategy draws from each of the buffers, where it draws anything."""
    found: list[Any] = []

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    draw = collect.hypothesis.fuzz_one_input
    with hypothesis_elsewhere():
        for buffer in buffers:
            draw(buffer)
    return found


@lru_cache(maxsize=64)
def places(operation: str) -> int:
    """How many dimensions of an operation's arguments can be large, as a few cases show."""
    contract, rng = registry.operation(operation), np.random.default_rng(0)

    @composite
    def counted(draw: Any) -> int:
        space = Space(contract.dtypes[0], contract.tiers[0])
        draw(contract.cases(space))
        return space.places

    with np.errstate(all="ignore"):
        return max([1, *_drawn(counted(), (rng.bytes(_BYTES) for _ in range(_PROBES)))])


@contextlib.contextmanager
def hypothesis_elsewhere() -> Iterator[None]:
    """Let hypothesis keep its tables in the user's cache folder, not in the working directory, without moving what others keep there."""
    home = "__hypothesis_home_directory"  # which can be set, but not read, by a function
    before = getattr(configuration, home, None)
    configuration.set_hypothesis_home_dir(Path(platformdirs.user_cache_dir("opjury")) / "hypothesis")
    try:
        yield
    finally:
        configuration.set_hypothesis_home_dir(before)


def _seed(kind: Kind, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{kind} {number}".encode()).digest()[:8])


def _hand(kind: Kind, number: int) -> list[bytes]:
    """The first bytes of a chunk's cases, dealt in order from the first chunk, since each card depends on those before it."""
    cards, dealing = _deck(kind)
    cards += islice(dealing, max(0, CHUNK * (number + 1) - len(cards)))
    return cards[CHUNK * number : CHUNK * (number + 1)]


@lru_cache(maxsize=192)
def _deck(kind: Kind) -> tuple[list[bytes], Iterator[bytes]]:
    return [], _dealt(kind)


def _dealt(kind: Kind) -> Iterator[bytes]:
    """The first bytes of each case: one for each choice that there is."""
    rng = np.random.default_rng(_seed(kind, -1))
    dtypes = _shuffled(rng, range(len(kind.dtypes)))
    tiers = {number: _shuffled(rng, range(len(tiers_of(kind.tiers, d)))) for number, d in enumerate(kind.dtypes)}
    start = DTYPES.index(kind.dtypes[0])  # groups of dtypes begin where others end
    turns, large = count(_TURNS_APART * start), _large(rng, places(kind.operation), _PLACES_APART * start)
    at_large = _shuffled(rng, [False, False, False, True, True] if kind.boundaries else [False])
    while True:
        dtype = next(dtypes)
        size, place = next(large) if next(at_large) else (0, 0)
        choices = [(dtype, len(kind.dtypes)), (next(tiers[dtype]), len(tiers_of(kind.tiers, kind.dtypes[dtype])))]
        choices += [(SIZES.index(size), len(SIZES) if kind.boundaries else 1), (place, 256)]
        choices.append((0 if size else next(turns) % 256, 256))
        yield b"".join(choice.to_bytes(1 + (options > 256)) for choice, options in choices if options > 1)


def _large(rng: np.random.Generator, places: int, start: int) -> Iterator[tuple[int, int]]:
    """Sizes and the dimensions that take them: one dimension after another takes one between the edges of blocks, then one beyond.

    Among these come the edges, twice as often where few dimensions share the cases.
    """
    edges, between, beyond = (_shuffled(rng, sizes) for sizes in (BOUNDARIES, BETWEEN, FURTHER))
    for number in count(start):
        yield next(beyond if number // places % 2 else between), number % places
        if places <= 2 or number % 2:
            yield next(edges), number // 2 % places


def _shuffled(rng: np.random.Generator, items: Sequence[Any]) -> Iterator[Any]:
    """The items in random order, again and again."""
    while True:
        for place in rng.permutation(len(items)):
            yield items[int(place)]


def workload_case(workload: Workload, setting: Setting, seed: int) -> Case:
    """The workload's arguments for the sizes and the dtype of a setting."""
    return in_dtype(workload.arguments(np.random.default_rng(seed), **setting.sizes), setting.dtype, seed)


def in_dtype(case: Case, dtype: str, seed: int) -> Case:
    """A workload's arguments in a dtype."""

    def cast(leaf: Any) -> Any:
        if isinstance(leaf, Tensor) and leaf.data:
            return replace(leaf, dtype=dtype, values=round_to(leaf.values, dtype))
        return replace(leaf, dtype=dtype) if isinstance(leaf, Sparse) else leaf

    return replace(case.map(cast), tier="rounding", seed=seed)


def _usual(operation: Operation) -> str:
    """The dtype in which large cases are tried, or ""."""
    return next((name for name in ("float32", "float64") if name in operation.dtypes), "")


def _workload_of(operation: str) -> Workload | None:
    try:
        return registry.workload(operation)
    except registry.UnknownName:
        return None


@lru_cache(maxsize=8)
def sized_cases(operation: str, wanted: tuple[str, ...], dtypes: tuple[str, ...], seed: int) -> tuple[Case, ...]:
    """Cases of a workload's sizes, far beyond those that are drawn, as far as the reference can afford them.

    `wanted` is the `sizes` of a check: "medium" for the usual ones, "long" for the long ones.
    """
    dtype = _usual(registry.operation(operation))
    if len(dtypes) == 1 and dtypes[0] not in ("float64", "complex128"):  # float32 shows what double precision would
        dtype = dtypes[0]
    workload = _workload_of(operation)
    if workload is None or dtype not in dtypes:
        return ()
    usual = [workload.sizes["medium"]] if "medium" in wanted else []
    long = workload.long if "long" in wanted else ()
    affordable = (sizes for sizes in (*usual, *long) if workload.least_operations(**sizes) <= _MOST_WORK)
    settings = (Setting(operation=operation, sizes=dict(sizes), dtype=dtype) for sizes in affordable)
    cases = (workload_case(workload, setting, seed) for setting in settings)
    return tuple(case for case in cases if case.elements <= _MOST_ELEMENTS)


def repeated_cases(operation: Operation, dtypes: tuple[str, ...], seed: int, device: str) -> Iterator[Case]:
    """A case for each way in which calls of an operation grow, if the device has memory for it."""
    dtype, workload = _usual(operation), _workload_of(operation.name)
    if workload is None or dtype not in dtypes:
        return
    for growth in workload.growths:
        case = in_dtype(growth.small(np.random.default_rng(seed)), dtype, seed)
        shape = oracle.evaluate(operation, case).shape
        times = math.ceil((BEYOND / math.prod(shape)) ** (1 / len(growth.result))) + 1
        repeated = Repetition(times, tuple(growth.arguments.items()), tuple(growth.result))
        leaves = dict(case.leaves())
        tensors = [(leaves[place].shape, leaves[place].dtype, times) for place in growth.arguments]
        tensors.append((shape, case.dtype, times ** len(growth.result)))
        needed = sum(math.prod(sides) * torch_dtype(name).itemsize * copies for sides, name, copies in tensors)
        if _ROOM * needed < free_memory(device):
            yield replace(case, repeated=repeated)


def behaviour(case: Case, error: float) -> Hashable:
    """Equal for cases alike in dtype, tier, layouts and powers of two of the sizes, with errors alike to a power of two."""
    far = math.frexp(error)[1] if error else None
    return (case.tier, case.dtype, far, *(_coarse(leaf) for _, leaf in case.leaves()))


def _coarse(leaf: Any) -> Hashable:
    if isinstance(leaf, bool):
        return leaf
    if isinstance(leaf, int):
        return (leaf < 0, leaf.bit_length())
    if isinstance(leaf, tuple):
        return tuple(map(_coarse, leaf))
    if hasattr(leaf, "shape"):
        sizes = tuple(int(size).bit_length() for size in leaf.shape)
        return (sizes, getattr(leaf, "dtype", ""), getattr(leaf, "layout", ""))
    return leaf if isinstance(leaf, str) else type(leaf).__name__
