"""track compare: two commits in turns in one process, or two environments in two processes that take turns."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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

IN_ONE = 3  # processes, where both sides are in one
LEAST_ROUNDS, MOST_ROUNDS = 15, 300  # of two processes


@dataclass(frozen=True)
class Side:
    """What is compared: a tree of files, an interpreter, or both.

    Parameters
    ----------
    label : str
    python : str
        The interpreter.
    folder : Path, optional
        A checkout; its `impls/` or its modules take the place of the installed ones. The harness is this one on both sides.
    """

    label: str
    python: str = sys.executable
    folder: Path | None = None

    @property
    def impls(self) -> str:
        """The folder of implementations; "" where the checkout has none."""
        there = self.folder is not None and (self.folder / "impls" / "__init__.py").is_file()
        return str(self.folder / "impls") if there and self.folder else ""

    @property
    def environment(self) -> dict[str, str]:
        """What the process is started with."""
        source = PACKAGE.parent
        installed = (source / "torch").is_dir()  # beside libraries, which another interpreter is not to see
        paths = [*(() if installed else (source,)), *((self.folder, self.folder / "src") if self.folder else ())]
        before = os.environ.get("PYTHONPATH")
        return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), *([before] if before else [])])}


@dataclass(frozen=True)
class SpeedComparison:
    """One implementation at one workload on both sides.

    Parameters
    ----------
    setting : Setting
    implementation : str
    seconds : tuple of float
        Of a call, on the first and the second side: medians, or the shortest ones of processes that take turns.
    ratio : Ratio
        How many times as long it takes on the second, at 99 %; of processes that take turns, as far as the best of a side differ.
    fault : str
        Why there is no ratio, "" otherwise.
    """

    setting: Setting
    implementation: str
    seconds: tuple[float, float] = (0.0, 0.0)
    ratio: Ratio = field(default=Ratio(1.0, 0.0, float("inf")))
    fault: str = ""

    @property
    def name(self) -> str:
        """`operation:implementation`"""
        return f"{self.setting.operation}:{self.implementation}"


@contextlib.contextmanager
def side(text: str) -> Iterator[Side]:
    """A commit (in a worktree of its own while this lasts), `.` for the files as they are, or the path of an interpreter.

    Raises
    ------
    Impossible
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
    """Time the same implementations on two sides, block by block in turns: in one process where both have this interpreter.

    Parameters
    ----------
    first, second : Side
    operation : str
    implementations : sequence of str
    workload : str or dict of str to int
    gradient : bool
    device : str
    seconds : float
        For each implementation.
    seed : int
    enough : callable, optional
        Of two interpreters: for which ratios it need not be known better. By default everybody is timed until it is known to 1 %.
    notify : callable, optional

    Returns
    -------
    list of Comparison, dict of str to (str, str)
        The comparisons, and the versions that differ between the sides.
    """
    device_checked(device)
    setting = setting_of(operation, workload, device=device, gradient=gradient)
    options: dict[str, Any] = dict(seconds=seconds, seed=seed, notify=notify)
    if {first.python, second.python} != {sys.executable}:
        return _in_two_processes((first, second), implementations, setting, enough=enough, **options)
    found = []
    for name in implementations:
        notify(f"{operation}:{name}")
        found.append(_in_one_process((first, second), name, setting, seconds, seed))
    return found, {}


def _in_one_process(
    sides: tuple[Side, Side], name: str, setting: Setting, seconds: float, seed: int
) -> SpeedComparison:
    """Both sides as competitors of one contest, in several processes one after the other."""
    competitors = tuple(
        Competitor(name, copy=i, folder=str(each.folder) if each.folder else "")
        for i, each in enumerate(sides, start=1)
    )
    contest = Contest(setting, competitors, seconds=seconds / IN_ONE, seed=seed)
    try:
        outcome = functools.reduce(ContestResult.joined, (run_contest(contest, {}) for _ in range(IN_ONE)))
    except Impossible as error:
        return SpeedComparison(setting, name, fault=str(error))
    labels = [competitor.label for competitor in competitors]
    for each, label in zip(sides, labels):
        if label in outcome.faults:
            return SpeedComparison(setting, name, fault=f"{outcome.faults[label]}, with {each.label}")
    one, other = (outcome.seconds[label] for label in labels)
    if outcome.left:  # so much slower in every round that it left: these rounds tell enough
        ratios = (other / one)[~np.isnan(other / one)]
        seen = Ratio(float(np.median(ratios)), float(ratios.min()), float(ratios.max()))
    else:
        seen = ratio(other, one)
    return SpeedComparison(setting, name, seconds=(float(np.nanmedian(one)), float(np.nanmedian(other))), ratio=seen)


def _in_two_processes(
    sides: tuple[Side, Side],
    implementations: Sequence[str],
    setting: Setting,
    *,
    seconds: float,
    seed: int,
    enough: Callable[[Ratio], bool],
    notify: Callable[[str], None],
) -> tuple[list[SpeedComparison], dict[str, tuple[str, str]]]:
    """Each side in processes of its own, which differ by a few percent: until the best ones of both agree on the shortest time."""
    least: dict[str, _Least] = {}
    faults: dict[str, str] = {}
    versions: dict[str, tuple[str, str]] = {}
    unknown = tuple(implementations)
    for number in range(MOST_PROCESSES):
        notify(f"{setting.operation}: pair {number + 1} of {PROCESSES} to {MOST_PROCESSES}")
        opening = [Opening(setting, unknown, seed=seed + number, impls=each.impls) for each in sides]
        with _Server(sides[0]) as a, _Server(sides[1]) as b:
            for server, what in zip((a, b), opening):
                server.say(what)
            ready = [server.hear(Ready) for server in (a, b)]
            for where, each in zip(sides, ready):
                faults.update({name: f"{why}, with {where.label}" for name, why in each.faults.items()})
            versions = {n: (v, ready[1].versions[n]) for n, v in ready[0].versions.items() if ready[1].versions[n] != v}
            calls = {name: min(r.calls[name] for r in ready) for name in ready[0].calls if name in ready[1].calls}
            calls = {name: count for name, count in calls.items() if name not in faults}
            for name, times in _shortest((a, b), calls, seconds / PROCESSES, seed + number).items():
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
            continue
        one, other = map(min, least[name])
        found.append(SpeedComparison(setting, name, seconds=(one, other), ratio=_of_least(least[name])))
    return found, versions


def versions_of(where: Side) -> dict[str, str]:
    """The versions that a side's interpreter has of itself and of the libraries beneath. Raises `Impossible` where it cannot tell."""
    with _Server(where) as server:
        server.say(Opening(Setting(operation="", sizes={}, dtype=""), (), seed=0))
        versions: dict[str, str] = server.hear(Ready).versions
    return versions


_Least = tuple[list[float], list[float]]  # shortest seconds of a call in each process, of both sides


def _of_least(least: _Least) -> Ratio:
    one, other = map(sorted, least)
    return Ratio(other[0] / one[0], other[0] / one[ALIKE - 1], other[ALIKE - 1] / one[0])


def _shortest(
    servers: tuple[_Server, _Server], calls: dict[str, int], seconds: float, seed: int
) -> dict[str, tuple[float, float]]:
    """The shortest block of each on both sides, from rounds in which the two time a block of each, in random order."""
    order, until = random.Random(seed), time.monotonic() + seconds * len(calls)
    rounds: dict[str, _Least] = {name: ([], []) for name in calls}
    for number in range(MOST_ROUNDS):
        if not calls or (number >= LEAST_ROUNDS and time.monotonic() > until):
            break
        for name in order.sample(list(calls), len(calls)):
            for each in order.sample((0, 1), 2):
                servers[each].say(Turn({name: calls[name]}))
                times = servers[each].hear(dict[str, float])
                rounds[name][each].extend(times.values())
    return {name: (min(one), min(other)) for name, (one, other) in rounds.items() if one and other}


class _Server:
    """A process on one side."""

    def __init__(self, where: Side) -> None:
        self.where = where

    def __enter__(self) -> _Server:
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            # -P: what stands in this folder is neither side's
            [self.where.python, "-P", "-m", "opjury.track.timing_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=self.where.environment,
        )
        return self

    def say(self, what: object) -> None:
        """Send a request; one that has ended does not hear it, and `hear` tells."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(msgspec.json.encode(what) + b"\n")
            self.process.stdin.flush()

    def hear(self, answer: Any) -> Any:
        """The answer. Raises `Impossible`, with the end of what the process printed, where it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.said.seek(0)
            told = self.said.read().decode(errors="replace").strip().splitlines()
            raise Impossible(f"{self.where.label}: the process ended: {' '.join(told[-2:]) or 'it said nothing'}")
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
