"""track run: one night, the audit, the choices at all workloads, and what is left of the time for more cases; to the history."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import platform
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import msgspec

from opjury.audit import identity, judge_tasks
from opjury.choose import choose, setting_of
from opjury.judge.database import local_folder
from opjury.judge.task import Request, Task, applies
from opjury.model import registry
from opjury.model.environment import environment
from opjury.model.journal import Journal
from opjury.model.operation import Operation
from opjury.model.records import Night, Recommendation, Record, Verdict
from opjury.model.registry import Impossible
from opjury.track import history, more_cases
from opjury.track.repository import commit_of, git

Notify = Callable[[str, int, int], None]  # a stage, how much of it is done, and of how much

SEED = 0  # of the inputs of all measurements: errors are those of the same numbers every night
_MEASURING = 0.8  # of the budget, at most; the rest is for more cases
_SHARE = 0.2  # of the nightly profile's cases in one task: short ones end near the time that they were given
_REMEMBERED = 60  # nights; what was not tried in so many is tried as if it never was
JOURNAL = ".tonight.partial"


@dataclass(frozen=True)
class Plan:
    """What a night is to do.

    Parameters
    ----------
    operations : tuple of str
        By default all.
    workloads : tuple of str
        Named ones; those that an operation lacks are left out.
    devices : tuple of str
    budget : float
        Seconds, counted from the end of the first audit, after which nothing new is begun.
    seconds : float
        For the rounds of one choice.
    scale : float
        The share of the quick profile's cases that the first audit tries.
    folder : Path
        Of the history.
    machine : str
    database : str
        Where failing cases are kept.
    allow_dirty : bool
        Measure files as they are, though they differ from the commit.
    """

    operations: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ("small", "medium", "large")
    devices: tuple[str, ...] = ("cpu",)
    budget: float = 2400.0
    seconds: float = 2.0
    scale: float = 1.0
    folder: Path = history.FOLDER
    machine: str = field(default_factory=platform.node)
    database: str = field(default_factory=local_folder)
    allow_dirty: bool = False

    @property
    def contracts(self) -> list[Operation]:
        """The operations themselves."""
        return [registry.operation(name) for name in self.operations] if self.operations else registry.operations()

    @property
    def in_short(self) -> str:
        """What is tried and measured, apart from the operations, which the sources tell."""
        where = f"{' '.join(self.workloads)} on {' '.join(self.devices)}"
        return f"{self.scale:g} of the quick profile; {where}, {self.seconds:g} s each"


@dataclass(frozen=True)
class Done:
    """What came of a night.

    Parameters
    ----------
    night : Night
    path : Path
        Of its file.
    records : tuple of Record
    resumed : int
        How many were there from an interrupted run.
    left_out : tuple of str
        Workloads that were not measured, with the reason.
    failed : tuple of str
        Those where opjury itself failed, with its error.
    """

    night: Night
    path: Path
    records: tuple[Record, ...]
    resumed: int = 0
    left_out: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Unready(registry.Impossible):
    """Why a night cannot begin."""


def run_night(planned: Plan, *, jobs: int | None = None, notify: Notify = lambda stage, done, total: None) -> Done:
    """Audit, measure, choose, and add the night to the history.

    What is done is kept in a journal beside the history from one record to the next: a run that was ended, by whatever, goes on
    where it stood.

    Parameters
    ----------
    planned : Plan
    jobs : int, optional
        Worker processes of the audit.
    notify : callable, optional

    Raises
    ------
    Unready
        For a repository without a commit, changed files, or another run at work.
    UnknownName
    OSError
        When the history cannot be written; the journal is kept.
    """
    for contract in planned.contracts:
        registry.workload(contract.name)
    started = time.monotonic()
    commit, dirty = state_of_repository(planned)
    records_folder = planned.folder / history.file_name(planned.machine)
    with _alone(records_folder):
        night = Night(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=commit,
            dirty=dirty,
            machine=planned.machine,
            profile="quick",
            seconds=0.0,
            sources=more_cases.sources(planned.contracts),
            plan=planned.in_short,
            environment=environment(),
        )
        journal = Journal(records_folder / JOURNAL, lambda before: _continued(night, before))
        resumed = len(journal.kept) - 1
        _audit(planned, journal, jobs, notify)
        until = time.monotonic() + planned.budget
        left_out, failed = _choices(planned, journal, until - (1 - _MEASURING) * planned.budget, jobs, notify)
        _more_cases(planned, journal, until, jobs, notify)
        first, *found = journal.kept
        assert isinstance(first, Night)
        night = msgspec.structs.replace(first, seconds=time.monotonic() - started)
        path = history.add_night(night, found, planned.folder)
        journal.end()
    return Done(night, path, tuple(found), resumed, tuple(left_out), tuple(failed))


def _continued(night: Night, before: list[Record]) -> list[Record]:
    """What an earlier run found, where it was of the same commit, machine, versions and plan; else this night alone."""
    same = ("commit", "dirty", "machine", "sources", "plan", "environment")
    first = before[0] if before else None
    if isinstance(first, Night) and all(getattr(first, name) == getattr(night, name) for name in same):
        return before
    return [night]


def state_of_repository(planned: Plan) -> tuple[str, bool]:
    """The commit of the repository that this is run in, "" outside of one, and whether files differ from it.

    Raises
    ------
    Unready
    """
    if git("rev-parse", "--git-dir").returncode:
        return "", False
    commit = commit_of("HEAD")
    if commit is None:
        raise Unready("the repository has no commit yet; a night is kept by its commit")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/").stdout.splitlines()
    changed = [line[3:] for line in changed if not line[3:].startswith(planned.folder.as_posix())]
    if changed and not planned.allow_dirty:
        some = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
        raise Unready(
            f"{len(changed)} files differ from commit {commit[:10]} ({some}); commit them, or take them as they are with --dirty"
        )
    return commit, bool(changed)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else writes to this machine's history meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise Unready(f"another run is writing to {folder}; wait for it, or name another --history") from None
    try:
        yield
    finally:
        lock.release()


def _audit(planned: Plan, journal: Journal, jobs: int | None, notify: Notify) -> None:
    """The quick audit of everything."""
    tasks = [task for device in planned.devices for task in _tasks(planned, "quick", device, planned.scale)]
    there = {identity(verdict) for verdict in journal.kept if isinstance(verdict, Verdict)}
    waiting = [task for task in tasks if identity(task) not in there]
    for number, verdict in enumerate(judge_tasks(waiting, jobs=jobs), start=len(tasks) - len(waiting) + 1):
        journal.add([verdict])
        notify("judging", number, len(tasks))


def _tasks(planned: Plan, profile: str, device: str, scale: float = 1.0) -> list[Task]:
    request = Request(
        profile=profile,
        device=device,
        seed=datetime.now(UTC).toordinal(),
        scale=scale,
        database=planned.database,
    )
    return [
        task
        for contract in planned.contracts
        for entry in registry.implementations(contract.name)
        for task in request.tasks(contract.name, entry.name)
    ]


def _choices(
    planned: Plan, journal: Journal, until: float, jobs: int | None, notify: Notify
) -> tuple[list[str], list[str]]:
    """A choice at every workload, what was left out the longest first, in equal shares of the time; those left out and those where opjury
    failed, with the reason: the others are measured all the same.
    """
    wanted = [
        setting_of(contract.name, workload, device=device, gradient=gradient)
        for contract in planned.contracts
        for workload in planned.workloads
        if workload in registry.workload(contract.name).sizes
        for device in planned.devices
        for gradient in ((False, True) if contract.differentiable else (False,))
    ]
    there = {record.setting for record in journal.kept if isinstance(record, Recommendation)}
    wanted = [setting for setting in wanted if setting not in there]
    nights = history.latest(planned.machine, _REMEMBERED, planned.folder)
    last = {setting: at for at, night in enumerate(nights) for setting in night.recommendations}
    random.shuffle(wanted)
    left_out, failed = [], []
    for number, setting in enumerate(sorted(wanted, key=lambda setting: last.get(setting, -1))):
        notify("measuring", number + 1 + len(there), len(wanted) + len(there))
        share = (until - time.monotonic()) / (len(wanted) - number)
        if share < 0:
            left_out.append(f"{setting}: no time left")
            continue
        options: dict[str, Any] = dict(device=setting.device, gradient=setting.gradient, seconds=planned.seconds)
        options |= dict(jobs=jobs, trust=journal.path, seed=SEED, thorough=True, longest=share)
        try:
            found = choose(setting.operation, setting.sizes, **options).records
        except Impossible as error:
            left_out.append(f"{setting}: {error}")
        except Exception as error:
            failed.append(f"{setting}: {type(error).__name__}: {error}")
        else:
            journal.add(found)
    return left_out, failed


def _more_cases(planned: Plan, journal: Journal, until: float, jobs: int | None, notify: Notify) -> None:
    """The nightly profile where it pays, round after round with other cases, until the time is over."""
    everything = [task for device in planned.devices for task in _tasks(planned, "nightly", device, _SHARE)]
    tasks = [task for task in everything if applies(task)]
    nights = history.latest(planned.machine, _REMEMBERED, planned.folder)
    first = journal.kept[0]
    assert isinstance(first, Night)
    earlier: list[Verdict] = []  # of tonight's rounds
    for number in itertools.count():
        if time.monotonic() > until or not tasks:
            return
        seed = _seed(first, number)
        mine = [r for r in journal.kept if isinstance(r, Verdict) and r.profile == "nightly" and r.seed == seed]
        there = {identity(verdict) for verdict in mine}
        wanted = more_cases.next_round(tasks, first.sources, nights, earlier, seed)
        waiting = [replace(task, seed=seed) for task in wanted if identity(task) not in there]
        with contextlib.closing(judge_tasks(waiting, jobs=jobs)) as verdicts:
            for done, verdict in enumerate(verdicts, start=1 + len(wanted) - len(waiting)):
                journal.add([verdict])
                mine.append(verdict)
                notify("more cases", done, len(wanted))
                if time.monotonic() > until:
                    return
        earlier += mine


def _seed(night: Night, number: int) -> int:
    """Of a round: another one for each round, night and machine, so that no two try the same cases."""
    told = f"{night.date} {night.machine} {night.commit} {number}"
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:4])
