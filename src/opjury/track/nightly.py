"""One night: an audit, the choices at all workloads, then more cases in the time that is left."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import platform
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from opjury.audit import identity, judge_tasks
from opjury.choose import choose, setting_of
from opjury.judge.database import local_folder
from opjury.judge.task import Request, Task, applies
from opjury.model import registry
from opjury.model.environment import environment
from opjury.model.operation import Operation
from opjury.model.records import Journal, Night, Recommendation, Record, Verdict
from opjury.model.registry import Impossible
from opjury.track import history, more_cases
from opjury.track.repository import commit_of, git

Notify = Callable[[str, int, int], None]  # a stage, how much of it is done, and of how much

SEED = 0  # of the inputs of all measurements: every night measures the errors of the same numbers
_MEASURING = 0.8  # of the budget at most; the rest is for more cases
_SHARE = 0.2  # of the nightly profile's cases in one task: short tasks end soon after the budget does
_REMEMBERED = 60  # the last nights; anything not tried in these counts as never tried
JOURNAL = ".tonight.partial"


@dataclass(frozen=True)
class Plan:
    """What a night is to do."""

    operations: tuple[str, ...] = ()  # all of them where none is given
    workloads: tuple[str, ...] = ("small", "medium", "large")  # an operation may lack some of them
    devices: tuple[str, ...] = ("cpu",)
    budget: float = 2400.0  # seconds after the end of the first audit; nothing new begins later
    seconds: float = 2.0  # for the rounds of one choice
    scale: float = 1.0  # the first audit's share of the quick profile's cases
    folder: Path = history.FOLDER
    machine: str = field(default_factory=platform.node)
    database: str = field(default_factory=local_folder)  # of failing cases
    allow_dirty: bool = False  # measure files although they differ from the commit

    @property
    def contracts(self) -> list[Operation]:
        """The operations to audit and measure."""
        return [registry.operation(name) for name in self.operations] if self.operations else registry.operations()


@dataclass(frozen=True)
class Done:
    """What a night did."""

    night: Night
    path: Path  # of its file
    records: tuple[Record, ...]
    resumed: int  # how many of the records are an interrupted run's
    left_out: list[str]  # workloads that were not measured, with the reason
    failed: list[str]  # workloads where opjury itself failed, with its error


def run_night(planned: Plan, *, jobs: int | None = None, notify: Notify = lambda stage, done, total: None) -> Done:
    """Audit, measure, choose, and add the night to the history.

    A journal beside the history keeps each record as soon as it is found. After an interruption, whatever its cause, the next run
    continues from there.

    Parameters
    ----------
    jobs : int, optional
        Worker processes of the audit; by default one for each core.

    Raises
    ------
    Impossible
        For a repository without a commit, changed files, or another run at work.
    UnknownName
    OSError
        When the history cannot be written; the journal is kept.
    """
    for contract in planned.contracts:
        registry.workload(contract.name)  # raises before the night for an operation without a workload
    started = time.monotonic()
    where = f"{' '.join(planned.workloads)} on {' '.join(planned.devices)}"
    commit, dirty = state_of_repository(planned)
    records_folder = planned.folder / history.file_name(planned.machine)
    with _locked(records_folder):
        night = Night(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            commit=commit,
            dirty=dirty,
            machine=planned.machine,
            profile="quick",
            seconds=0.0,
            sources=more_cases.sources(planned.contracts),
            plan=f"{planned.scale:g} of the quick profile; {where}, {planned.seconds:g} s each",
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
    return Done(night, path, tuple(found), resumed, left_out, failed)


def _continued(night: Night, before: list[Record]) -> list[Record]:
    """The records of an earlier run of the same commit, machine, versions and plan, or else this night alone."""
    same = ("commit", "dirty", "machine", "sources", "plan", "environment")
    first = before[0] if before else None
    if isinstance(first, Night) and all(getattr(first, name) == getattr(night, name) for name in same):
        return before
    return [night]


def state_of_repository(planned: Plan) -> tuple[str, bool]:
    """The commit of the working directory's repository, "" outside of one, and whether files differ from it.

    Raises
    ------
    Impossible
        For a repository without a commit, and for files that differ where the plan does not allow it.
    """
    if git("rev-parse", "--git-dir").returncode:
        return "", False
    commit = commit_of("HEAD")
    if commit is None:
        raise Impossible("the repository has no commit yet; a night is kept by its commit")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/").stdout.splitlines()
    changed = [line[3:] for line in changed if not line[3:].startswith(planned.folder.as_posix())]
    if changed and not planned.allow_dirty:
        some = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
        raise Impossible(
            f"{len(changed)} files differ from commit {commit[:10]} ({some}); commit them, or take them as they are with --dirty"
        )
    return commit, bool(changed)


def _locked(folder: Path) -> contextlib.AbstractContextManager[Any]:
    """Keep other runs from writing to this machine's history."""
    import filelock  # of the extra `track`

    folder.mkdir(parents=True, exist_ok=True)
    try:
        return filelock.FileLock(folder / ".lock").acquire(timeout=0)
    except filelock.Timeout:
        raise Impossible(f"another run is writing to {folder}; wait for it, or name another --history") from None


def _audit(planned: Plan, journal: Journal, jobs: int | None, notify: Notify) -> None:
    """Audit everything in the quick profile."""
    tasks = _tasks(planned, "quick", planned.scale)
    there = {identity(verdict) for verdict in journal.kept if isinstance(verdict, Verdict)}
    waiting = [task for task in tasks if identity(task) not in there]
    for number, verdict in enumerate(judge_tasks(waiting, jobs=jobs), start=len(tasks) - len(waiting) + 1):
        journal.add([verdict])
        notify("judging", number, len(tasks))


def _tasks(planned: Plan, profile: str, scale: float) -> list[Task]:
    seed, database = datetime.now(UTC).toordinal(), planned.database
    requests = [Request(profile=profile, device=d, seed=seed, scale=scale, database=database) for d in planned.devices]
    return [
        task
        for request in requests
        for contract in planned.contracts
        for entry in registry.implementations(contract.name)
        for task in request.tasks(contract.name, entry.name)
    ]


def _choices(
    planned: Plan, journal: Journal, until: float, jobs: int | None, notify: Notify
) -> tuple[list[str], list[str]]:
    """Choose at every workload, in equal shares of the time, first where the last choice is the longest ago.

    Returns the workloads that were left out, and those where opjury failed, with the reasons.
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
        except Exception as error:  # the other workloads are measured all the same
            failed.append(f"{setting}: {type(error).__name__}: {error}")
        else:
            journal.add(found)
    return left_out, failed


def _more_cases(planned: Plan, journal: Journal, until: float, jobs: int | None, notify: Notify) -> None:
    """Judge in the nightly profile what promises most, in rounds with different cases, until the time is over."""
    tasks = [task for task in _tasks(planned, "nightly", _SHARE) if applies(task)]
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
    """The seed of a round: different for each round, night and machine, so that no two try the same cases."""
    told = f"{night.date} {night.machine} {night.commit} {number}"
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:4])
