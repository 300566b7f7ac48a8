"""measure(contest) → ContestResult: competitors take turns in short blocks, in random order, on fresh inputs, and are verified."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from opjury.measure.clock import Times
from opjury.measure.contest import FLOOR, OBVIOUSLY, Contest, ContestResult, Lineup, threads
from opjury.measure.statistics import fastest, ratio
from opjury.model import registry

_ENOUGH_ROUNDS = 100  # where every interval is narrow by then
_NARROW = 1.015
_TRIAL_ROUNDS = 15  # after which what is clearly slower leaves
_CLEARLY = 1.3
_WAITING = 2.0  # times as long by the clock as by the processor, compared with the others


def measure(contest: Contest) -> ContestResult:
    """Let the competitors take turns; what cannot be called, or returns something else than the others, is a fault.

    Returns
    -------
    ContestResult
        Never raises for what a competitor does.
    """
    with threads(contest.setting.threads):
        return _Race(Lineup(contest)).run()


class _Race:
    """The rounds: the competitors of a lineup take turns, until enough is known or the time is over."""

    def __init__(self, lineup: Lineup) -> None:
        self.lineup, self.contest, self.outcome = lineup, lineup.contest, lineup.outcome
        self.rng = np.random.default_rng(self.contest.seed)

    def run(self) -> ContestResult:
        if self.lineup.steps:
            self._rounds()
        return self.outcome

    def _rounds(self) -> None:
        taken: list[dict[str, Times]] = []
        active = [name for name in self.lineup.steps if name not in self.outcome.left]
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
                times = self.lineup.turn(name, verify=name != FLOOR and number in checked[name])
                if times is not None:
                    row[name] = times
            taken.append(row)
            active = [name for name in active if name not in self.outcome.faults]
            if number + 1 == (_TRIAL_ROUNDS if self.contest.to_the_end else 5):
                active = self._still_in(active, taken, OBVIOUSLY)
            elif number + 1 == _TRIAL_ROUNDS:
                active = self._still_in(active, taken, _CLEARLY)
        self._waiting(taken)
        for name in self.lineup.steps:
            if name not in self.outcome.faults:
                self.outcome.seconds[name] = self._column(name, taken)
                self.outcome.least[name] = min(times.longer for times in self._rounds_of(name, taken) if times)

    def _column(self, name: str, taken: list[dict[str, Times]]) -> np.ndarray:
        """Seconds by rounds: the processor's where one thread was asked for. Of who left before the first, the calls before."""
        which = "processor" if self.contest.setting.threads == 1 else "clock"
        return np.array([getattr(times, which) if times else np.nan for times in self._rounds_of(name, taken)])

    def _rounds_of(self, name: str, taken: list[dict[str, Times]]) -> list[Times | None]:
        rounds = [row.get(name) for row in taken]
        if not any(rounds):
            rounds[: len(self.lineup.first[name])] = self.lineup.first[name]
        return rounds

    def _waiting(self, taken: list[dict[str, Times]]) -> None:
        """Send off who lets time pass without using the processor: its time would look too short."""
        waits = {}
        for name in self.lineup.steps:
            mine = [row[name].clock / max(row[name].processor, 1e-9) for row in taken if name in row]
            if len(mine) > _TRIAL_ROUNDS:  # who left before was slow enough
                waits[name] = min(mine)
        usual = max(1.0, min(waits.values(), default=1.0))
        for name, wait in waits.items():
            if name != FLOOR and wait > _WAITING * usual:
                self.outcome.faults[name] = f"takes {wait:.3g} times as long by the clock as by the processor: it waits"

    def _narrow(self, active: Sequence[str], taken: list[dict[str, Times]]) -> bool:
        """Whether more rounds would tell nothing more."""
        columns = {name: self._column(name, taken) for name in active if name != FLOOR}
        best = fastest(columns)
        seen = [ratio(column, columns[best], math.comb(len(columns), 2) or 1) for column in columns.values()]
        return all(r.high <= r.median * _NARROW and r.low * _NARROW >= r.median for r in seen)

    def _still_in(self, active: Sequence[str], taken: list[dict[str, Times]], times: float) -> list[str]:
        """Without those that took so many times as long as the best in every round; to the end, the baseline stays."""
        table = {name: self._column(name, taken) for name in active}
        best = min((name for name in active if name != FLOOR), key=lambda name: float(np.median(table[name])))
        pinned = {FLOOR, registry.operation(self.contest.operation).baseline if self.contest.to_the_end else ""}
        left = {name for name in active if name not in pinned and np.all(table[name] > times * table[best])}
        self.outcome.left |= left
        return [name for name in active if name not in left]
