"""Contests: competitors, results, and a lineup that calls and verifies each competitor before the timed rounds."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from opjury.judge.draw import workload_case
from opjury.judge.text import describe
from opjury.measure.block import SOURCES, Inputs, TimedStep, Times, block, deviation, expected_results
from opjury.measure.checkout import checkout
from opjury.model import registry
from opjury.model.case import Case
from opjury.model.exact import torch_dtype
from opjury.model.setting import Setting

BLOCK = 0.002  # seconds of a block, where a call is shorter
BRIEF = 0.0003  # of a block whose shortest time counts: the machine is rarely undisturbed for longer
OBVIOUSLY = 4.0  # times as long as the best
_MOST_CALLS = 64  # in a block
_INPUT_BYTES = 2**23  # of a block's inputs together
_THREE_TELL = 0.01  # seconds of a call from which three calls of an obviously slower competitor tell enough
LONG = 3.0  # seconds of a call from which one tells enough: the cost of a new process is negligible beside it
_ANOTHER_RESULT = 0.02  # error, as a share of the largest element, of a different result
FLOOR = "(floor)"


@dataclass(frozen=True)
class Competitor:
    """An implementation that takes part in a contest."""

    name: str  # of a registered implementation, or what a plain function is called
    function: Any = None  # for plain functions: an `opjury.run.ship.Function` or `Here`
    compiled: bool = False  # called through `torch.compile`
    copy: int = 0  # tells copies apart where the same implementation takes part twice
    slowed: float = 0.0  # for self-tests: every call waits for this share of its own time after it
    folder: str = ""  # the checkout whose implementation it is; "" for the registered one
    ranked: bool = True  # may be recommended; others are timed beside the ranked ones

    @property
    def label(self) -> str:
        """`unfold_flip`, `unfold_flip+compile`"""
        return self.name + ("+compile" if self.compiled else "") + (f"#{self.copy}" if self.copy else "")

    def load(self, operation: str) -> Callable[..., Any]:
        """The function that is called."""
        if self.folder:
            function = checkout(self.folder).functions.get((operation, self.name))
            if function is None:
                raise registry.UnknownName(f"{operation} has no {self.name} there")
        else:
            function = self.function.load() if self.function else registry.entry(operation, self.name).function
        return torch.compile(function, dynamic=False) if self.compiled else function

    def at_home(self) -> contextlib.AbstractContextManager[None]:
        """While the function is loaded or called, imports find the modules of its checkout."""
        return checkout(self.folder).active() if self.folder else contextlib.nullcontext()


@dataclass(frozen=True)
class Contest:
    """Everything that a measurement depends on, in a form that can be pickled."""

    setting: Setting
    competitors: tuple[Competitor, ...]
    seconds: float = 6.0  # for all rounds together; the first calls come on top
    rounds: int = 400  # at most
    seed: int = 0
    # For histories, which need the shortest times: blocks are brief, and the baseline and all near the best stay to the end.
    to_the_end: bool = False
    longest: float = math.inf  # seconds after which a contest to the end starts no more processes than it needs

    @property
    def operation(self) -> str:
        """The operation's name."""
        return self.setting.operation

    def ranked(self, labels: Iterable[str]) -> list[str]:
        """Those of the labels whose competitors may be recommended, or all competitors where none may."""
        labels = [label for label in labels if label != FLOOR]
        may = {competitor.label for competitor in self.competitors if competitor.ranked}
        return [label for label in labels if label in may] or labels


@dataclass
class ContestResult:
    """What a contest showed, by competitors' labels, where `FLOOR` stands for copying the least bytes."""

    seconds: dict[str, np.ndarray] = field(default_factory=dict)  # of one call, by round; NaN where it sat out
    least: dict[str, float] = field(default_factory=dict)  # of one call in the shortest block, by the longer clock
    calls: dict[str, int] = field(default_factory=dict)  # in a block
    faults: dict[str, str] = field(default_factory=dict)  # why a competitor was disqualified
    ulps: dict[str, float] = field(default_factory=dict)  # the largest error seen
    left: set[str] = field(default_factory=set)  # left early, being slower than the best by far in every round

    def add_one_call(self, name: str, seconds: float) -> None:
        """Add a competitor that was called once only."""
        column = np.full(len(next(iter(self.seconds.values()), ())) or 1, np.nan)
        column[0] = seconds
        self.seconds[name] = column
        self.least[name] = seconds
        self.left.add(name)

    def joined(self, other: ContestResult) -> ContestResult:
        """The rounds of this and then of another result, of the competitors that have times in both."""
        return ContestResult(
            {n: np.concatenate([c, other.seconds[n]]) for n, c in self.seconds.items() if n in other.seconds},
            {name: min(value, other.least.get(name, value)) for name, value in self.least.items()},
            self.calls,
            {**other.faults, **self.faults},
            {name: max(value, other.ulps.get(name, value)) for name, value in self.ulps.items()},
            self.left | other.left,
        )


def step_of(function: Callable[..., Any], case: Case, gradient: bool, slowed: float = 0.0) -> TimedStep:
    """What is timed: the call, and the gradients of all floating arguments where they are asked for."""
    step = _backward(function, case) if gradient else lambda args, kwargs: (function(*args, **kwargs),)
    if not slowed:
        return step

    def slower(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        started = time.perf_counter()
        result = step(args, kwargs)
        until = time.perf_counter()
        until += slowed * (until - started)
        while time.perf_counter() < until:
            pass
        return result

    return slower


def _backward(function: Callable[..., Any], case: Case) -> TimedStep:
    places = case.differentiable
    incoming: dict[torch.dtype, torch.Tensor] = {}

    def step(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        result = function(*args, **kwargs)
        dtype = result.dtype
        if dtype not in incoming:
            drawn = torch.randn(result.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
            incoming[dtype] = drawn.to(result.device, dtype)
        leaves = [args[place] if isinstance(place, int) else kwargs[place] for place in places]
        return (result, *torch.autograd.grad(result, leaves, incoming[dtype]))

    return step


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Limit torch and the libraries beneath NumPy to `count` threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


class Lineup:
    """The competitors of a contest, called once each, verified, and ready to be timed in any order."""

    def __init__(self, contest: Contest) -> None:
        self.contest, self.setting = contest, contest.setting
        self.workload = registry.workload(contest.operation)
        self.outcome = ContestResult()  # calls in a block, faults and errors are added as they are found
        self.cases = [workload_case(self.workload, self.setting, contest.seed + i) for i in range(SOURCES)]
        self.steps: dict[str, TimedStep] = {}  # by label, with `FLOOR`; empty where no competitor is ready
        self.first: dict[str, list[Times]] = {}  # of the calls before the rounds
        self.at_home = {FLOOR: contextlib.nullcontext, **{c.label: c.at_home for c in contest.competitors}}
        self.inputs = Inputs(self.cases, self.setting.device, self.setting.gradient, 1)
        self.expected: list[list[np.ndarray]] = []  # by case, of the first competitor that can be called
        for competitor in contest.competitors:
            with competitor.at_home():
                try:
                    self._first_calls(competitor)
                except Exception as error:
                    self.outcome.faults[competitor.label] = f"raises {describe(error)}"
        if not self.steps:
            return
        expected = {name: min(times.clock for times in calls) for name, calls in self.first.items()}
        best = min(expected.values())
        length = BRIEF if contest.to_the_end else BLOCK
        input_bytes = 8 * max(self.cases[0].elements, 1)
        most = int(min(_MOST_CALLS, max(1, length / best), max(1, _INPUT_BYTES // input_bytes)))
        self.inputs = Inputs(self.cases, self.setting.device, self.setting.gradient, most)
        self.steps[FLOOR] = self._copying()
        # The first call of a block is the coldest: what may turn out to be as fast as the best gets as many calls.
        best_ranked = min(expected[name] for name in contest.ranked(expected))
        for name, seconds in {FLOOR: best, **expected}.items():
            like = next((each for each in (best, best_ranked) if seconds < OBVIOUSLY * each), seconds)
            self.outcome.calls[name] = int(min(most, max(1, length / like)))
        if not contest.to_the_end:
            self.outcome.left = {name for name, s in expected.items() if s > max(OBVIOUSLY * best_ranked, _THREE_TELL)}

    def turn(self, name: str, verify: bool = False) -> Times | None:
        """The times of one block on fresh inputs, or None for a fault."""
        live = self.inputs.refresh(self.outcome.calls[name])
        try:
            with self.at_home[name]():
                times, result = block(self.steps[name], live, self.setting.device)
        except Exception as error:
            self.outcome.faults[name] = f"raises {describe(error)}"
            return None
        if verify:
            self._verified(name, result, self.inputs.held[len(live) - 1])
        return times

    def _timed_call(self, step: TimedStep) -> tuple[Times, tuple[Any, ...]]:
        return block(step, self.inputs.refresh(1), self.setting.device)

    def _first_calls(self, competitor: Competitor) -> None:
        name = competitor.label
        function = competitor.load(self.contest.operation)
        step = step_of(function, self.cases[0], self.setting.gradient, competitor.slowed)
        if competitor.compiled:
            self._timed_call(step)
        times, result = self._timed_call(step)
        if not self.expected:
            self.expected = expected_results(step, self.cases, self.setting.device, self.setting.gradient)
        if not self._verified(name, result, self.inputs.held[0]):
            return
        del result
        best = min((times.clock for known in self.first.values() for times in known), default=times.clock)
        told = not self.contest.to_the_end and times.clock > max(OBVIOUSLY * best, LONG)
        self.first[name] = [times]
        for _ in range(0 if told else 2):
            self.first[name].append(self._timed_call(step)[0])
        self.steps[name] = step

    def _verified(self, name: str, result: tuple[Any, ...], number: int) -> bool:
        """Whether a result is the expected one of a case, which otherwise disqualifies the competitor."""
        # Smaller errors are for the audit, which knows the exact result.
        relative, ulps = deviation(result, self.expected[number], self.cases[number].dtype)
        self.outcome.ulps[name] = max(ulps, self.outcome.ulps.get(name, 0.0))
        if relative < _ANOTHER_RESULT:
            return True
        self.outcome.faults[name] = (
            f"returns a different result than the others at these sizes: off by {relative:.2g} of the largest element"
        )
        return False

    def _copying(self) -> TimedStep:
        """Copy the least bytes that a call must read and write: half of them, into fresh memory."""
        width = torch_dtype(self.setting.dtype).itemsize
        least = self.workload.least_bytes(width, **self.setting.sizes) * (2 if self.setting.gradient else 1)
        source = torch.zeros(max(least // 2, 1), dtype=torch.uint8, device=self.setting.device)
        return lambda args, kwargs: (source.clone(),)
