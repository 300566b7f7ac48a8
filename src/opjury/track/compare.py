"""Comparisons: two commits timed in turns in one process, or two environments in two processes that take turns."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import numpy as np

from opjury.choose import setting_of
from opjury.judge.task import device_checked
from opjury.measure.apart import ALIKE, MOST_PROCESSES, PROCESSES, run_contest, settled
from opjury.measure.contest import Competitor, Contest, ContestResult
from opjury.measure.statistics import Ratio, ratio
from opjury.model.registry import Impossible
from opjury.model.setting import Setting
from opjury.model.sources import PACKAGE
from opjury.track.repository import checked_out, commit_of
from opjury.track.timing_server import Opening, Ready, Turn

IN_ONE = 3  # processes, each of which times both sides
LEAST_ROUNDS, MOST_ROUNDS = 15, 300  # of two processes

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a checkout, an interpreter, or both. The harness is the present one on both sides."""

    label: str
    python: str = sys.executable
    folder: Path | None = None  # a checkout, whose implementations replace the installed ones

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of this side's process."""
        paths = [self.folder, self.folder / "src"] if self.folder else []
        source = PACKAGE.parent
        if not (source / "torch").is_dir():  # else the other interpreter would import the libraries beside it
            paths.insert(0, source)
        inherited = os.environ.get("PYTHONPATH")
        return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), *([inherited] if inherited else [])])}


@dataclass(frozen=True)
class SpeedComparison:
    """The time of one implementation in one setting on both sides.

    `seconds` are those of a call on the first and the second side: medians of rounds in one process, or the shortest ones of processes
    that take turns. `ratio` is the second side's time as a multiple of the first's. Its interval is at 99 % in one process; for
    processes that take turns it spans the shortest times of the fastest ones. `fault` says why there is no ratio.
    """

    setting: Setting
    implementation: str
    seconds: tuple[float, float] = (0.0, 0.0)
    ratio: Ratio = field(default=Ratio(1.0, 0.0, math.inf))
    fault: str = ""

    @property
    def name(self) -> str:
        """`operation:implementation`"""
        return f"{self.setting.operation}:{self.implementation}"


@contextlib.contextmanager
def side(text: str) -> Iterator[Side]:
    """The side that a user names: a commit (checked out until the end), `.` for the working tree, or the path of an interpreter.

    Raises
    ------
    Impossible
        For anything else, and for a commit that cannot be checked out.
    """
    if text == ".":
        yield Side("the working tree", folder=Path.cwd())
        return
    if os.sep in text and os.access(text, os.X_OK) and Path(text).is_file():
        yield Side(text, python=text)
        return
    commit = commit_of(text)
    if commit is None:
        raise Impossible(f"{text} is neither a commit of this repository, nor an interpreter, nor `.`")
    with checked_out(commit) as tree:
        yield Side(text, folder=tree)


def compare_sides(
    first: Side,
    second: Side,
    operation: str,
    implementations: Sequence[str],
    workload: str | dict[str, int] = "medium",
    *,
    gradient: bool = False,
    device: str = "cpu",
    seconds: float = 3.0,
    seed: int = 0,
    enough: Callable[[Ratio], bool] = lambda seen: False,
    notify: Callable[[str], None] = lambda stage: None,
) -> tuple[list[SpeedComparison], dict[str, tuple[str, str]]]:
    """Time the same implementations on two sides, block by block in turns.

    Both sides are in one process where both have this interpreter; otherwise each has processes of its own.

    Parameters
    ----------
    seconds : float
        For each implementation.
    enough : callable, optional
        Tells for a ratio of two interpreters whether it is precise enough. By default, all are timed until they are known to 1 %.
    notify : callable, optional
        Is told what is being timed.

    Returns
    -------
    list of SpeedComparison, dict of str to (str, str)
        The comparisons, and the versions that differ between the sides.
    """
    device_checked(device)
    setting = setting_of(operation, workload, device=device, gradient=gradient)
    sides = first, second
    if {first.python, second.python} != {sys.executable}:
        return _in_two_processes(sides, implementations, setting, seconds, seed, enough, notify)
    found = []
    for name in implementations:
        notify(f"{operation}:{name}")
        found.append(_in_one_process(sides, name, setting, seconds, seed))
    return found, {}


def _in_one_process(
    sides: tuple[Side, Side], name: str, setting: Setting, seconds: float, seed: int
) -> SpeedComparison:
    """Compare the sides as competitors of one contest, in several processes one after the other."""
    competitors = [Competitor(name, copy=i, folder=str(each.folder or "")) for i, each in enumerate(sides, start=1)]
    contest = Contest(setting, tuple(competitors), seconds=seconds / IN_ONE, seed=seed)
    try:
        outcome = functools.reduce(ContestResult.joined, (run_contest(contest, {}) for _ in range(IN_ONE)))
    except Impossible as error:
        return SpeedComparison(setting, name, fault=str(error))
    for each, competitor in zip(sides, competitors):
        if competitor.label in outcome.faults:
            return SpeedComparison(setting, name, fault=f"{outcome.faults[competitor.label]}, with {each.label}")
    one, other = (outcome.seconds[competitor.label] for competitor in competitors)
    if outcome.left:
        # One side left early, slower by far in every round. Its few rounds are too few for an interval.
        ratios = (other / one)[~np.isnan(other / one)]
        seen = Ratio(float(np.median(ratios)), float(ratios.min()), float(ratios.max()))
    else:
        seen = ratio(other, one)
    return SpeedComparison(setting, name, seconds=(float(np.nanmedian(one)), float(np.nanmedian(other))), ratio=seen)


def _in_two_processes(
    sides: tuple[Side, Side],
    implementations: Sequence[str],
    setting: Setting,
    seconds: float,
    seed: int,
    enough: Callable[[Ratio], bool],
    notify: Callable[[str], None],
) -> tuple[list[SpeedComparison], dict[str, tuple[str, str]]]:
    """Compare the sides in processes of their own.

    Processes of the same code differ by a few percent. New pairs are started until the fastest processes of each side agree.
    """
    least: dict[str, _Least] = {}
    faults: dict[str, str] = {}
    versions: dict[str, tuple[str, str]] = {}
    unknown = tuple(implementations)
    for number in range(MOST_PROCESSES):
        notify(f"{setting.operation}: pair {number + 1} of {PROCESSES} to {MOST_PROCESSES}")
        with _Server(sides[0]) as first, _Server(sides[1]) as second:
            for server in (first, second):
                server.say(Opening(setting, unknown, seed=seed + number, folder=str(server.side.folder or "")))
            one, other = first.hear(Ready), second.hear(Ready)
            for each, ready in zip(sides, (one, other)):
                faults.update({name: f"{why}, with {each.label}" for name, why in ready.faults.items()})
            versions = {n: (v, other.versions[n]) for n, v in one.versions.items() if other.versions[n] != v}
            both = [name for name in one.calls if name in other.calls and name not in faults]
            calls = {name: min(one.calls[name], other.calls[name]) for name in both}
            for name, times in _shortest((first, second), calls, seconds / PROCESSES, seed + number).items():
                for column, time_ in zip(least.setdefault(name, ([], [])), times):
                    column.append(time_)
        unknown = tuple(name for name in unknown if name in least and name not in faults)
        if number + 1 >= PROCESSES:
            unknown = tuple(n for n in unknown if not all(map(settled, least[n])) and not enough(_of_least(least[n])))
        if not unknown:
            break
    found = []
    for name in implementations:
        if name in faults or name not in least:
            found.append(SpeedComparison(setting, name, fault=faults.get(name, "was not timed")))
        else:
            shortest = (min(least[name][0]), min(least[name][1]))
            found.append(SpeedComparison(setting, name, seconds=shortest, ratio=_of_least(least[name])))
    return found, versions


def versions_of(side: Side) -> dict[str, str]:
    """The versions of a side's interpreter and libraries. Raises `Impossible` where its process ends without an answer."""
    with _Server(side) as server:
        server.say(Opening(Setting(operation="", sizes={}, dtype=""), (), seed=0))
        return server.hear(Ready).versions


_Least = tuple[list[float], list[float]]  # the shortest seconds of a call in each process, by side


def _of_least(least: _Least) -> Ratio:
    """The ratio of the shortest times. Its interval compares the fastest process of a side with the other's `ALIKE`th fastest."""
    one, other = map(sorted, least)
    return Ratio(other[0] / one[0], other[0] / one[ALIKE - 1], other[ALIKE - 1] / one[0])


def _shortest(
    servers: tuple[_Server, _Server], calls: dict[str, int], seconds: float, seed: int
) -> dict[str, tuple[float, float]]:
    """The shortest block of each implementation on both sides. In each round both time one block of each, in random order."""
    order, until = random.Random(seed), time.monotonic() + seconds * len(calls)
    rounds: dict[str, _Least] = {name: ([], []) for name in calls}
    for number in range(MOST_ROUNDS):
        if not calls or (number >= LEAST_ROUNDS and time.monotonic() > until):
            break
        for name in order.sample(list(calls), len(calls)):
            for each in order.sample((0, 1), 2):
                servers[each].say(Turn({name: calls[name]}))
                rounds[name][each].extend(servers[each].hear(dict[str, float]).values())
    return {name: (min(one), min(other)) for name, (one, other) in rounds.items() if one and other}


class _Server:
    """The process of one side."""

    def __init__(self, side: Side) -> None:
        self.side = side

    def __enter__(self) -> _Server:
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            # -P: modules in the working directory belong to neither side
            [self.side.python, "-P", "-m", "opjury.track.timing_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=self.side.environment,
        )
        return self

    def say(self, what: object) -> None:
        """Send a request. Where the process has ended, the next `hear` raises."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(msgspec.json.encode(what) + b"\n")
            self.process.stdin.flush()

    def hear(self, answer: type[Answer]) -> Answer:
        """Receive an answer. Raises `Impossible`, with the end of what the process printed, where it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.said.seek(0)
            told = self.said.read().decode(errors="replace").strip().splitlines()
            raise Impossible(f"{self.side.label}: the process ended: {' '.join(told[-2:]) or 'it printed nothing'}")
        return msgspec.json.decode(line, type=answer)

    def __exit__(self, *exception: object) -> None:
        for stream in (self.process.stdin, self.process.stdout, self.said):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
