"""measure(contest) → Outcome: competitors take turns in short blocks, in random order, on fresh inputs, and are verified."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from opjury import registry
from opjury.case import Case
from opjury.measure.clock import Times, block
from opjury.measure.inputs import SOURCES, Inputs, Witness, workload_case
from opjury.measure.statistics import fastest, ratio
from opjury.verify.trial import describe

BLOCK = 0.002  # seconds of a block, where a call is shorter
ROUNDS = 400
_ENOUGH_ROUNDS = 100  # where every interval is narrow by then
_NARROW = 1.015
_MOST_CALLS = 64  # in a block
_INPUT_BYTES = 2**23  # that a block's inputs may have together
_TRIAL_ROUNDS = 15  # after which what is clearly slower leaves
_CLEARLY = 1.3
_OBVIOUSLY = 4.0
_LONG = 0.01  # seconds of a call; three first ones of an obviously slower competitor tell enough
_WAITING = 2.0  # times as long by the clock as by the processor, compared with the others
FLOOR = "(floor)"

Step = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Any, ...]]


@dataclass(frozen=True)
class Competitor:
    """Who takes part.

    Parameters
    ----------
    name : str
        A registered implementation's, or what a plain function is called.
    function : opjury.execute.Function, optional
        For plain functions.
    compiled : bool
        Through `torch.compile`.
    copy : int
        For self-tests, where the same implementation takes part twice.
    slowed : float
        For self-tests: every call waits for this share of its own time after it.
    """

    name: str
    function: Any = None
    compiled: bool = False
    copy: int = 0
    slowed: float = 0.0

    @property
    def label(self) -> str:
        """`unfold_flip`, `unfold_flip+compile`"""
        return self.name + ("+compile" if self.compiled else "") + (f"#{self.copy}" if self.copy else "")

    def load(self, operation: str) -> Callable[..., Any]:
        """The function that is called."""
        function = self.function.load() if self.function else registry.implementation(operation, self.name).function
        if self.compiled:
            function = torch.compile(function, dynamic=False)
        return function


@dataclass(frozen=True)
class Contest:
    """Everything that a measurement depends on; picklable.

    Parameters
    ----------
    operation : str
    competitors : tuple of Competitor
    sizes : tuple of (str, int)
        The workload's sizes.
    dtype, device : str
    gradient : bool
        Forward and backward together.
    threads : int
    seconds : float
        For all rounds together; the first calls come on top.
    rounds : int
    seed : int
    """

    operation: str
    competitors: tuple[Competitor, ...]
    sizes: tuple[tuple[str, int], ...]
    dtype: str = "float32"
    device: str = "cpu"
    gradient: bool = False
    threads: int = 1
    seconds: float = 6.0
    rounds: int = ROUNDS
    seed: int = 0


@dataclass
class Outcome:
    """What a contest showed, by competitors' labels.

    Parameters
    ----------
    seconds : dict of str to numpy.ndarray of shape (rounds,)
        Of one call; NaN where a competitor sat out. `FLOOR` stands for copying the least bytes.
    calls : dict of str to int
        In a block.
    faults : dict of str to str
        Why a competitor was sent off.
    ulps : dict of str to float
        The largest error seen.
    left : set of str
        Who left early, slower than the best by far in every round.
    """

    seconds: dict[str, np.ndarray] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    ulps: dict[str, float] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    def add_one_call(self, name: str, seconds: float) -> None:
        """Add a competitor of which one call has told enough."""
        column = np.full(len(next(iter(self.seconds.values()), ())) or 1, np.nan)
        column[0] = seconds
        self.seconds[name] = column
        self.left.add(name)


def step_of(function: Callable[..., Any], case: Case, gradient: bool, slowed: float = 0.0) -> Step:
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


def _backward(function: Callable[..., Any], case: Case) -> Step:
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


def measure(contest: Contest) -> Outcome:
    """Let the competitors take turns; what cannot be called, or returns something else than the others, is a fault.

    Returns
    -------
    Outcome
        Never raises for what a competitor does.
    """
    with threads(contest.threads):
        return _Race(contest).run()


class _Race:
    def __init__(self, contest: Contest) -> None:
        self.contest = contest
        self.workload = registry.workload(contest.operation)
        self.sizes = dict(contest.sizes)
        self.outcome = Outcome()
        self.rng = np.random.default_rng(contest.seed)
        self.cases = [workload_case(self.workload, self.sizes, contest.dtype, contest.seed + i) for i in range(SOURCES)]
        self.steps: dict[str, Step] = {}
        self.first: dict[str, list[Times]] = {}  # calls before the rounds

    def run(self) -> Outcome:
        device, gradient = self.contest.device, self.contest.gradient
        self.inputs = Inputs(self.cases, device, gradient, 1)
        self.witness: Witness | None = None
        for competitor in self.contest.competitors:
            self._first_calls(competitor)
        if not self.steps:
            return self.outcome
        expected = {name: min(times.clock for times in calls) for name, calls in self.first.items()}
        best = min(expected.values())
        most = int(min(_MOST_CALLS, max(1, BLOCK / best), max(1, _INPUT_BYTES // max(_bytes(self.cases[0]), 1))))
        self.inputs = Inputs(self.cases, device, gradient, most)
        self.steps[FLOOR] = self._copying()
        # The first call of a block is the coldest: what may turn out to be as fast as the best gets as many calls.
        for name, seconds in {FLOOR: best, **expected}.items():
            self.outcome.calls[name] = most if seconds < _OBVIOUSLY * best else int(min(most, max(1, BLOCK / seconds)))
        self.outcome.left = {name for name, s in expected.items() if s > max(_OBVIOUSLY * best, _LONG)}
        self._rounds()
        return self.outcome

    def _first_calls(self, competitor: Competitor) -> None:
        name = competitor.label
        try:
            function = competitor.load(self.contest.operation)
            step = step_of(function, self.cases[0], self.contest.gradient, competitor.slowed)
            if competitor.compiled:
                block(step, self.inputs.refresh(1), self.contest.device)
            calls, result = block(step, self.inputs.refresh(1), self.contest.device)
            if self.witness is None:
                self.witness = Witness(step, self.cases, self.contest.device, self.contest.gradient)
            if not self._verified(name, result, self.inputs.held[0]):
                return
            del result
            self.first[name] = [calls] + [block(step, self.inputs.refresh(1), self.contest.device)[0] for _ in range(2)]
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

    def _copying(self) -> Step:
        """Copying the least bytes that a call must read and write: half of them, into fresh memory."""
        width = torch.empty((), dtype=getattr(torch, self.contest.dtype)).element_size()
        least = self.workload.least_bytes(width, **self.sizes) * (2 if self.contest.gradient else 1)
        source = torch.zeros(max(least // 2, 1), dtype=torch.uint8, device=self.contest.device)
        return lambda args, kwargs: (source.clone(),)

    def _rounds(self) -> None:
        taken: list[dict[str, Times]] = []
        active = [name for name in self.steps if name not in self.outcome.left]
        checked = {name: {*self.rng.integers(0, 10, 2).tolist(), int(self.rng.integers(10, 100))} for name in active}
        until = time.monotonic() + self.contest.seconds
        for number in range(self.contest.rounds):
            late = time.monotonic() - until
            if (number >= _TRIAL_ROUNDS and late > 0) or (number >= 5 and late > 2 * self.contest.seconds):
                break
            if number % _ENOUGH_ROUNDS == 0 and number and self._narrow(active, taken):
                break
            row: dict[str, Times] = {}
            for name in self.rng.permutation(active).tolist():
                live = self.inputs.refresh(self.outcome.calls[name])
                try:
                    row[name], result = block(self.steps[name], live, self.contest.device)
                except Exception as error:
                    self.outcome.faults[name] = f"raises {describe(error)}"
                    continue
                if name != FLOOR and number in checked[name]:
                    self._verified(name, result, self.inputs.held[len(live) - 1])
                del result
            taken.append(row)
            active = [name for name in active if name not in self.outcome.faults]
            if number == 4:
                active = self._still_in(active, taken, _OBVIOUSLY)
            elif number + 1 == _TRIAL_ROUNDS:
                active = self._still_in(active, taken, _CLEARLY)
        self._waiting(taken)
        for name in self.steps:
            if name not in self.outcome.faults:
                self.outcome.seconds[name] = self._column(name, taken)

    def _column(self, name: str, taken: list[dict[str, Times]]) -> np.ndarray:
        """Seconds by rounds: the processor's where one thread was asked for. Of who left before the first, the calls before."""
        which = "processor" if self.contest.threads == 1 else "clock"
        rounds = [row.get(name) for row in taken]
        if not any(rounds):
            rounds[: len(self.first[name])] = self.first[name]
        return np.array([getattr(times, which) if times else np.nan for times in rounds])

    def _waiting(self, taken: list[dict[str, Times]]) -> None:
        """Send off who lets time pass without using the processor: its time would look too short."""
        waits = {}
        for name in self.steps:
            mine = [row[name].clock / max(row[name].processor, 1e-9) for row in taken if name in row]
            if len(mine) > _TRIAL_ROUNDS:  # who left before was slow enough
                waits[name] = min(mine)
        usual = min(waits.values(), default=1.0)
        for name, wait in waits.items():
            if name != FLOOR and wait > _WAITING * usual:
                self.outcome.faults[name] = f"takes {wait:.3g} times as long by the clock as by the processor: it waits"

    def _narrow(self, active: Sequence[str], taken: list[dict[str, Times]]) -> bool:
        """Whether more rounds would tell nothing more."""
        columns = {name: self._column(name, taken) for name in active if name != FLOOR}
        best = fastest(columns)
        seen = [ratio(column, columns[best], len(columns)) for column in columns.values()]
        return all(r.high <= r.median * _NARROW and r.low * _NARROW >= r.median for r in seen)

    def _still_in(self, active: Sequence[str], taken: list[dict[str, Times]], times: float) -> list[str]:
        """Without those that took so many times as long as the best in every round."""
        table = {name: self._column(name, taken) for name in active}
        best = min((name for name in active if name != FLOOR), key=lambda name: float(np.median(table[name])))
        left = {name for name in active if name != FLOOR and np.all(table[name] > times * table[best])}
        self.outcome.left |= left
        return [name for name in active if name not in left]


def _bytes(case: Case) -> int:
    return case.elements * 8
