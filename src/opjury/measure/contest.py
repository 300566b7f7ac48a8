"""Who competes, and the lineup of those who are ready to be timed: called once each, verified, with fresh inputs for every call."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from opjury.judge.draw import workload_case
from opjury.judge.text import describe
from opjury.measure.checkout import checkout
from opjury.measure.clock import Times, block
from opjury.measure.inputs import SOURCES, Inputs, Witness
from opjury.model import registry
from opjury.model.case import Case
from opjury.model.setting import Setting

BLOCK = 0.002  # seconds of a block, where a call is shorter
BRIEF = 0.0003  # of one whose shortest time counts: the machine is rarely undisturbed for longer
ROUNDS = 400
OBVIOUSLY = 4.0  # times as long as the best
_MOST_CALLS = 64  # in a block
_INPUT_BYTES = 2**23  # that a block's inputs may have together
_THREE_TELL = 0.01  # seconds of a call; three first ones of an obviously slower competitor tell enough
LONG = 3.0  # seconds of a first call, beside which what a new process costs is nothing: of one so much slower it tells enough
FLOOR = "(floor)"

TimedStep = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]]


@dataclass(frozen=True)
class Competitor:
    """Who takes part.

    Parameters
    ----------
    name : str
        A registered implementation's, or what a plain function is called.
    function : opjury.run.ship.Function, optional
        For plain functions.
    compiled : bool
        Through `torch.compile`.
    copy : int
        For self-tests, where the same implementation takes part twice.
    slowed : float
        For self-tests: every call waits for this share of its own time after it.
    folder : str
        The checkout whose implementation it is; "" for the registered one.
    """

    name: str
    function: Any = None
    compiled: bool = False
    copy: int = 0
    slowed: float = 0.0
    folder: str = ""

    @property
    def label(self) -> str:
        """`unfold_flip`, `unfold_flip+compile`"""
        return self.name + ("+compile" if self.compiled else "") + (f"#{self.copy}" if self.copy else "")

    def load(self, operation: str) -> Callable[..., Any]:
        """The function that is called."""
        if self.folder:
            function = checkout(self.folder).function(operation, self.name)
        else:
            function = self.function.load() if self.function else registry.entry(operation, self.name).function
        if self.compiled:
            function = torch.compile(function, dynamic=False)
        return function

    def at_home(self) -> contextlib.AbstractContextManager[None]:
        """While it is loaded or called: imports find the modules of its checkout."""
        return checkout(self.folder).active() if self.folder else contextlib.nullcontext()


@dataclass(frozen=True)
class Contest:
    """Everything that a measurement depends on; picklable.

    Parameters
    ----------
    setting : Setting
    competitors : tuple of Competitor
    seconds : float
        For all rounds together; the first calls come on top.
    rounds : int
    seed : int
    to_the_end : bool
        For a history, which needs the shortest times: who is near the best stays to the end, and the baseline; blocks are brief.
    longest : float
        Seconds after which a contest to the end is given no more processes than it must have.
    """

    setting: Setting
    competitors: tuple[Competitor, ...]
    seconds: float = 6.0
    rounds: int = ROUNDS
    seed: int = 0
    to_the_end: bool = False
    longest: float = math.inf

    @property
    def operation(self) -> str:
        """The operation's name."""
        return self.setting.operation


@dataclass
class ContestResult:
    """What a contest showed, by competitors' labels.

    Parameters
    ----------
    seconds : dict of str to numpy.ndarray of shape (rounds,)
        Of one call; NaN where a competitor sat out. `FLOOR` stands for copying the least bytes.
    least : dict of str to float
        Of the shortest block, by the longer of both clocks: of a block that nothing disturbed.
    calls : dict of str to int
        In a block.
    faults : dict of str to str
        Why a competitor was disqualified.
    ulps : dict of str to float
        The largest error seen.
    left : set of str
        Who left early, slower than the best by far in every round.
    """

    seconds: dict[str, np.ndarray] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    ulps: dict[str, float] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    def add_one_call(self, name: str, seconds: float) -> None:
        """Add a competitor of which one call has told enough."""
        column = np.full(len(next(iter(self.seconds.values()), ())) or 1, np.nan)
        column[0] = seconds
        self.seconds[name] = column
        self.least[name] = seconds
        self.left.add(name)

    def joined(self, other: ContestResult) -> ContestResult:
        """The rounds of this and, after them, those of another; who has a fault in either has none."""
        faults = {**other.faults, **self.faults}
        return ContestResult(
            {n: np.concatenate([c, other.seconds[n]]) for n, c in self.seconds.items() if n in other.seconds},
            {name: min(value, other.least.get(name, value)) for name, value in self.least.items()},
            self.calls,
            faults,
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
    incoming: dict[Any, torch.Tensor] = {}

    def step(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        result = function(*args, **kwargs)
        key = result.dtype
        if key not in incoming:
            generator = torch.Generator().manual_seed(0)
            drawn = torch.randn(result.shape, dtype=torch.float64, generator=generator)
            incoming[key] = drawn.to(result.device, key)
        leaves = [args[place] if isinstance(place, int) else kwargs[place] for place in places]
        return (result, *torch.autograd.grad(result, leaves, incoming[key]))

    return step


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """So many threads for torch and for the libraries beneath NumPy."""
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


class Lineup:
    """The competitors of a contest, called once each, verified, and ready to be timed in any order.

    Parameters
    ----------
    contest : Contest

    Attributes
    ----------
    steps : dict of str to callable
        By label, that of the floor included; empty where nobody is ready.
    first : dict of str to list of Times
        The calls before the rounds.
    outcome : ContestResult
        Filled with the calls in a block, faults and errors as they are found.
    """

    def __init__(self, contest: Contest) -> None:
        self.contest, self.setting = contest, contest.setting
        self.workload = registry.workload(contest.operation)
        self.outcome = ContestResult()
        self.cases = [workload_case(self.workload, self.setting, contest.seed + i) for i in range(SOURCES)]
        self.steps: dict[str, TimedStep] = {}
        self.homes = {c.label: c.at_home for c in contest.competitors if c.folder}
        self.first: dict[str, list[Times]] = {}
        self.inputs = Inputs(self.cases, self.setting.device, self.setting.gradient, 1)
        self.witness: Witness | None = None
        for competitor in contest.competitors:
            with self._home(competitor.label):
                self._first_calls(competitor)
        if not self.steps:
            return
        expected = {name: min(times.clock for times in calls) for name, calls in self.first.items()}
        best = min(expected.values())
        length = BRIEF if contest.to_the_end else BLOCK
        most = int(min(_MOST_CALLS, max(1, length / best), max(1, _INPUT_BYTES // max(_bytes(self.cases[0]), 1))))
        self.inputs = Inputs(self.cases, self.setting.device, self.setting.gradient, most)
        self.steps[FLOOR] = self._copying()
        # The first call of a block is the coldest: what may turn out to be as fast as the best gets as many calls.
        for name, seconds in {FLOOR: best, **expected}.items():
            self.outcome.calls[name] = most if seconds < OBVIOUSLY * best else int(min(most, max(1, length / seconds)))
        if not contest.to_the_end:
            self.outcome.left = {name for name, s in expected.items() if s > max(OBVIOUSLY * best, _THREE_TELL)}

    def turn(self, name: str, verify: bool = False) -> Times | None:
        """The time of one block on fresh inputs; None for a fault."""
        live = self.inputs.refresh(self.outcome.calls[name])
        try:
            with self._home(name):
                times, result = block(self.steps[name], live, self.setting.device)
        except Exception as error:
            self.outcome.faults[name] = f"raises {describe(error)}"
            return None
        if verify:
            self._verified(name, result, self.inputs.held[len(live) - 1])
        return times

    def _home(self, name: str) -> contextlib.AbstractContextManager[None]:
        return self.homes[name]() if name in self.homes else contextlib.nullcontext()

    def _called_at_home(self, name: str, step: TimedStep) -> TimedStep:
        def call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
            with self._home(name):
                return step(args, kwargs)

        return call

    def _first_calls(self, competitor: Competitor) -> None:
        name = competitor.label
        try:
            function = competitor.load(self.contest.operation)
            step = step_of(function, self.cases[0], self.setting.gradient, competitor.slowed)
            if competitor.compiled:
                block(step, self.inputs.refresh(1), self.setting.device)
            calls, result = block(step, self.inputs.refresh(1), self.setting.device)
            if self.witness is None:
                self.witness = Witness(
                    self._called_at_home(name, step), self.cases, self.setting.device, self.setting.gradient
                )
            if not self._verified(name, result, self.inputs.held[0]):
                return
            del result
            best = min((times.clock for known in self.first.values() for times in known), default=calls.clock)
            told = not self.contest.to_the_end and calls.clock > max(OBVIOUSLY * best, LONG)
            self.first[name] = [calls]
            for _ in range(0 if told else 2):
                self.first[name].append(block(step, self.inputs.refresh(1), self.setting.device)[0])
            self.steps[name] = step
        except Exception as error:
            self.outcome.faults[name] = f"raises {describe(error)}"

    def _verified(self, name: str, result: Any, number: int) -> bool:
        assert self.witness is not None
        found = self.witness.deviation(result, number)
        self.outcome.ulps[name] = max(found.ulps, self.outcome.ulps.get(name, 0.0))
        if found.wrong:
            self.outcome.faults[name] = (
                f"returns something else than the others at these sizes: off by {found.relative:.2g} of the largest element"
            )
        return not found.wrong

    def _copying(self) -> TimedStep:
        """Copying the least bytes that a call must read and write: half of them, into fresh memory."""
        width = torch.empty((), dtype=getattr(torch, self.setting.dtype)).element_size()
        least = self.workload.least_bytes(width, **self.setting.sizes) * (2 if self.setting.gradient else 1)
        source = torch.zeros(max(least // 2, 1), dtype=torch.uint8, device=self.setting.device)
        return lambda args, kwargs: (source.clone(),)


def _bytes(case: Case) -> int:
    return case.elements * 8
