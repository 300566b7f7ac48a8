"""measure(contest) → ContestResult: competitors take turns in short blocks, in random order, on fresh inputs, and are verified."""

from __future__ import annotations

import math
import time

import numpy as np

from opjury.measure.block import Times
from opjury.measure.contest import FLOOR, OBVIOUSLY, Contest, ContestResult, Lineup, threads
from opjury.measure.statistics import fastest, ratio
from opjury.model import registry

_FEW_ROUNDS = 5  # after which obviously slower competitors leave
_TRIAL_ROUNDS = 15  # after which clearly slower competitors leave
_CLEARLY = 1.3  # times as long as the best
_ENOUGH_ROUNDS = 100  # after which a contest ends if every interval is narrow
_NARROW = 1.015  # times the median, or a share of it: the bounds of a narrow interval
_WAITING = 2.0  # times as long by the clock as by the processor, compared with the others


def measure(contest: Contest) -> ContestResult:
    """Let the competitors take turns.

    Never raises for what a competitor does: one that raises, waits or returns a different result than the others is disqualified.
    """
    with threads(contest.setting.threads):
        lineup = Lineup(contest)
        if lineup.steps:
            _Race(lineup).run()
    return lineup.outcome


class _Race:
    """The rounds: the competitors of a lineup take turns, until enough is known or the time is over."""

    def __init__(self, lineup: Lineup) -> None:
        self.lineup, self.contest, self.outcome = lineup, lineup.contest, lineup.outcome
        self.active = [name for name in lineup.steps if name not in lineup.outcome.left]
        self.times: dict[str, list[Times | None]] = {name: [] for name in lineup.steps}  # None for rounds without it

    def run(self) -> None:
        rng = np.random.default_rng(self.contest.seed)
        checked = {name: {*rng.integers(0, 10, 2).tolist(), int(rng.integers(10, 100))} for name in self.active}
        until = time.monotonic() + self.contest.seconds
        for number in range(self.contest.rounds):
            late = time.monotonic() - until
            if (number >= _TRIAL_ROUNDS and late > 0) or (number >= _FEW_ROUNDS and late > 2 * self.contest.seconds):
                break
            if number and number % _ENOUGH_ROUNDS == 0 and self._narrow():
                break
            turns = rng.permutation(self.active).tolist()
            row = {name: self.lineup.turn(name, name != FLOOR and number in checked[name]) for name in turns}
            for name, column in self.times.items():
                column.append(row.get(name))
            self.active = [name for name in self.active if name not in self.outcome.faults]
            if not {*self.active} - {FLOOR}:
                break
            if number + 1 == (_TRIAL_ROUNDS if self.contest.to_the_end else _FEW_ROUNDS):
                self._release(OBVIOUSLY)
            elif number + 1 == _TRIAL_ROUNDS:
                self._release(_CLEARLY)
        self._disqualify_waiting()
        for name in self.lineup.steps:
            if name not in self.outcome.faults:
                if not any(self.times[name]):  # it left before the first round: its first calls count
                    first = self.lineup.first[name]
                    self.times[name][: len(first)] = first
                self.outcome.seconds[name] = self._seconds(name)
                self.outcome.least[name] = min(times.longer for times in self.times[name] if times)

    def _seconds(self, name: str) -> np.ndarray:
        """Seconds by round: the processor's where one thread was asked for, else the clock's."""
        which = "processor" if self.contest.setting.threads == 1 else "clock"
        return np.array([getattr(times, which) if times else np.nan for times in self.times[name]])

    def _disqualify_waiting(self) -> None:
        """Disqualify competitors that let time pass without using the processor: their times would look too short."""
        waits = {}
        for name in self.lineup.steps:
            mine = [times.clock / max(times.processor, 1e-9) for times in self.times[name] if times]
            if len(mine) > _TRIAL_ROUNDS:  # those with fewer rounds left because they are slow
                waits[name] = min(mine)
        usual = max(1.0, min(waits.values(), default=1.0))
        for name, wait in waits.items():
            if name != FLOOR and wait > _WAITING * usual:
                self.outcome.faults[name] = f"takes {wait:.3g} times as long by the clock as by the processor: it waits"

    def _narrow(self) -> bool:
        """Whether every interval is so narrow that more rounds would not change the outcome."""
        columns = {name: self._seconds(name) for name in self.active if name != FLOOR}
        best = fastest({name: columns[name] for name in self.contest.ranked(columns)})
        seen = [ratio(column, columns[best], math.comb(len(columns), 2) or 1) for column in columns.values()]
        return all(r.high <= r.median * _NARROW and r.low * _NARROW >= r.median for r in seen)

    def _release(self, times: float) -> None:
        """Let competitors leave that took so many times as long as the best in every round, but for a pinned baseline."""
        table = {name: self._seconds(name) for name in self.active}
        best = min(self.contest.ranked(self.active), key=lambda name: float(np.median(table[name])))
        pinned = {FLOOR, registry.operation(self.contest.operation).baseline if self.contest.to_the_end else ""}
        self.outcome.left |= {n for n in self.active if n not in pinned and np.all(table[n] > times * table[best])}
        self.active = [name for name in self.active if name not in self.outcome.left]
