"""track compare: two commits, or two environments, in two processes that take turns."""

from __future__ import annotations

import contextlib
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

import opjury
from opjury import registry
from opjury.measure.statistics import Ratio, ratio
from opjury.measure.turns import Opening, Ready, Turn
from opjury.registry import Impossible
from opjury.uses.choose import sizes_of, usual_dtype

PAIRS = 3  # of new processes: one differs from the next by a few percent
LEAST_ROUNDS, MOST_ROUNDS = 15, 300


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
        source = Path(opjury.__file__).parents[1]
        paths = [source, *((self.folder, self.folder / "src") if self.folder else ())]
        before = os.environ.get("PYTHONPATH")
        return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, paths), *([before] if before else [])])}


@dataclass(frozen=True)
class Comparison:
    """One implementation at one workload on both sides.

    Parameters
    ----------
    operation, implementation : str
    sizes : dict of str to int
    dtype : str
    gradient : bool
    seconds : tuple of float
        Medians, of the first and the second side.
    ratio : Ratio
        How many times as long it takes on the second.
    fault : str
        Why there is no ratio, "" otherwise.
    """

    operation: str
    implementation: str
    sizes: dict[str, int]
    dtype: str
    gradient: bool
    seconds: tuple[float, float] = (0.0, 0.0)
    ratio: Ratio = field(default=Ratio(1.0, 0.0, float("inf")))
    fault: str = ""


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
    found = _git("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")
    if found.returncode:
        raise Impossible(f"{text} is neither a commit of this repository, nor an interpreter, nor `.`")
    commit = found.stdout.strip()
    with tempfile.TemporaryDirectory(prefix="opjury-") as folder:
        tree = Path(folder) / commit[:10]
        made = _git("worktree", "add", "--detach", str(tree), commit)
        if made.returncode:
            raise Impossible(f"commit {commit[:10]} cannot be checked out: {made.stderr.strip()}")
        try:
            yield Side(text, folder=tree)
        finally:
            _git("worktree", "remove", "--force", str(tree))


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)


def compare(
    first: Side,
    second: Side,
    operation: str,
    implementations: Sequence[str],
    workload: str | dict[str, int] = "medium",
    *,
    gradient: bool = False,
    seconds: float = 3.0,
    seed: int = 0,
    notify: Callable[[str], None] = lambda stage: None,
) -> tuple[list[Comparison], dict[str, tuple[str, str]]]:
    """Time the same implementations on two sides, block by block in turns.

    Parameters
    ----------
    first, second : Side
    operation : str
    implementations : sequence of str
    workload : str or dict of str to int
    gradient : bool
    seconds : float
        For each implementation.
    seed : int
    notify : callable, optional

    Returns
    -------
    list of Comparison, dict of str to (str, str)
        The comparisons, and the versions that differ between the sides.
    """
    sizes, dtype = sizes_of(operation, workload), usual_dtype(registry.operation(operation))
    columns: dict[str, tuple[list[float], list[float]]] = {}
    faults: dict[str, str] = {}
    versions: dict[str, tuple[str, str]] = {}
    for number in range(PAIRS):
        notify(f"{operation}: pair {number + 1} of {PAIRS}")
        opening = [
            Opening(operation, tuple(implementations), sizes, dtype, gradient, seed + number, each.impls)
            for each in (first, second)
        ]
        with _Server(first) as a, _Server(second) as b:
            ready = [server.ask(what, Ready) for server, what in zip((a, b), opening)]
            for where, each in zip((first, second), ready):
                faults.update({name: f"{why}, with {where.label}" for name, why in each.faults.items()})
            versions = {n: (v, ready[1].versions[n]) for n, v in ready[0].versions.items() if ready[1].versions[n] != v}
            calls = {name: min(r.calls[name] for r in ready) for name in ready[0].calls if name in ready[1].calls}
            _rounds(
                (a, b), {n: c for n, c in calls.items() if n not in faults}, columns, seconds / PAIRS, seed + number
            )
    shared: dict[str, Any] = dict(operation=operation, sizes=sizes, dtype=dtype, gradient=gradient)
    found = []
    for name in implementations:
        if name in faults or name not in columns:
            found.append(Comparison(implementation=name, fault=faults.get(name, "was not timed"), **shared))
            continue
        one, other = (np.array(column) for column in columns[name])
        medians = (float(np.median(one)), float(np.median(other)))
        found.append(
            Comparison(implementation=name, seconds=medians, ratio=ratio(other, one, len(implementations)), **shared)
        )
    return found, versions


def _rounds(
    servers: tuple[_Server, _Server],
    calls: dict[str, int],
    columns: dict[str, tuple[list[float], list[float]]],
    seconds: float,
    seed: int,
) -> None:
    """Add rounds until the time for all is over: in each the two sides time a block of each, in random order."""
    order, until = random.Random(seed), time.monotonic() + seconds * len(calls)
    for number in range(MOST_ROUNDS):
        if not calls or (number >= LEAST_ROUNDS and time.monotonic() > until):
            return
        for name in order.sample(list(calls), len(calls)):
            sides = order.sample((0, 1), 2)
            times: dict[int, float | None] = {}
            for each in sides:
                times[each] = servers[each].ask(Turn({name: calls[name]}), dict[str, float]).get(name)
            if None not in times.values():
                for each, column in enumerate(columns.setdefault(name, ([], []))):
                    column.append(times[each] or 0.0)


class _Server:
    """A process on one side."""

    def __init__(self, where: Side) -> None:
        self.where = where

    def __enter__(self) -> _Server:
        self.said = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [self.where.python, "-P", "-m", "opjury.measure.turns"],  # -P: what stands in this folder is neither side's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=self.where.environment,
        )
        return self

    def ask(self, what: object, answer: Any) -> Any:
        """Raises `Impossible`, with the end of what the process printed, where it has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(msgspec.json.encode(what) + b"\n")
            self.process.stdin.flush()
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
