"""The cases that checks are tried on: drawn once, and shared by everything that wants the same kind of case.

Hypothesis draws them from seeded random bytes (`fuzz_one_input`): uniformly, and at half the time of its engine. The first bytes
decide dtype, tier and boundary; they are dealt like cards, so that every combination gets its turn.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings

from opjury.judge import oracle
from opjury.judge.strategies import BOUNDARIES, any_case, tiers_of
from opjury.model import registry
from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case, Repetition
from opjury.model.check import Check
from opjury.model.device import free_memory
from opjury.model.dtypes import is_floating
from opjury.model.exact import round_to, torch_dtype
from opjury.model.operation import Operation
from opjury.model.setting import Setting
from opjury.model.workload import Workload

CHUNK = 32
_BYTES = 4096  # more than any case draws
_MOST_ELEMENTS, _MOST_WORK = 2**20, 2**24  # of its arguments, and least operations: what the reference can afford
BEYOND = 2**31  # elements, of a call whose arguments are repeated
_ROOM = 3  # times the memory of its arguments and result: what is needed besides


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

    @property
    def strategy(self) -> Any:
        """The hypothesis strategy of these cases."""
        contract = registry.operation(self.operation)
        return any_case(contract, self.dtypes, self.tiers, self.layouts, (0, *BOUNDARIES) if self.boundaries else (0,))


def kind_for(operation: Operation, check: Check, dtypes: tuple[str, ...], seed: int) -> Kind | None:
    """The kind of case that a check wants, or None where it makes no sense for these dtypes."""
    floating = all(map(is_floating, dtypes))
    if check.floating and not floating:
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
    found: list[Case] = []

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(kind.strategy)
    def collect(case: Case) -> None:
        found.append(case)

    draw = collect.hypothesis.fuzz_one_input
    rng = np.random.default_rng(_seed(kind, number))
    for choice in _hand(kind, number):
        draw(choice + rng.bytes(_BYTES))
    return tuple(found)


def _seed(kind: Kind, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{kind} {number}".encode()).digest()[:8])


def _hand(kind: Kind, number: int) -> list[bytes]:
    """The first bytes of a chunk's cases; dealing goes on where it stood, since every card depends on those before it."""
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
    edges = _shuffled(rng, range(1, len(BOUNDARIES) + 1))
    at_edge = _shuffled(rng, [False, False, False, True, True])
    while True:
        dtype = next(dtypes)
        choices = [(dtype, len(kind.dtypes)), (next(tiers[dtype]), len(tiers_of(kind.tiers, kind.dtypes[dtype])))]
        if kind.boundaries:
            choices.append((next(edges) if next(at_edge) else 0, 2))
        yield bytes(choice for choice, options in choices if options > 1)


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
    """The dtype in which large cases are tried; "" where there is none."""
    return next((name for name in ("float32", "float64") if name in operation.dtypes), "")


@lru_cache(maxsize=8)
def sized_cases(operation: str, wanted: tuple[str, ...], dtypes: tuple[str, ...], seed: int) -> tuple[Case, ...]:
    """Cases of a workload's sizes, far beyond those that are drawn, as far as the reference can afford them.

    `wanted` are those of a check: "medium" for the usual sizes, "long" for the long ones.
    """
    dtype = _usual(registry.operation(operation))
    if len(dtypes) == 1 and dtypes[0] not in ("float64", "complex128"):  # of doubles float32's cases tell enough
        dtype = dtypes[0]
    if dtype not in dtypes or not wanted:
        return ()
    try:
        workload = registry.workload(operation)
    except registry.UnknownName:
        return ()
    usual = [workload.sizes["medium"]] if "medium" in wanted else []
    long = workload.long if "long" in wanted else ()
    affordable = (sizes for sizes in (*usual, *long) if workload.least_operations(**sizes) <= _MOST_WORK)
    settings = (Setting(operation=operation, sizes=dict(sizes), dtype=dtype) for sizes in affordable)
    cases = (workload_case(workload, setting, seed) for setting in settings)
    return tuple(case for case in cases if case.elements <= _MOST_ELEMENTS)


def repeated_cases(operation: Operation, dtypes: tuple[str, ...], seed: int, device: str) -> Iterator[Case]:
    """A case for each way in which calls of an operation grow, where there is memory for it on the device."""
    dtype = _usual(operation)
    if dtype not in dtypes:
        return
    try:
        growths = registry.workload(operation.name).growths
    except registry.UnknownName:
        return
    for growth in growths:
        case = in_dtype(growth.small(np.random.default_rng(seed)), dtype, seed)
        shape = oracle.evaluate(operation, case).shape
        times = math.ceil((BEYOND / math.prod(shape)) ** (1 / len(growth.result))) + 1
        case = replace(case, repeated=Repetition(times, tuple(growth.arguments.items()), tuple(growth.result)))
        if _ROOM * _bytes(case, shape) < free_memory(device):
            yield case


def _bytes(case: Case, shape: tuple[int, ...]) -> int:
    """Of the arguments and a result that is new."""
    assert case.repeated is not None
    leaves, times = dict(case.leaves()), case.repeated.times
    arguments = [
        math.prod(leaves[place].shape) * torch_dtype(leaves[place].dtype).itemsize
        for place, _ in case.repeated.arguments
    ]
    return (
        times * sum(arguments)
        + times ** len(case.repeated.result) * math.prod(shape) * torch_dtype(case.dtype).itemsize
    )
