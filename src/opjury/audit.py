"""audit: a verdict for each implementation and check, with a smallest counterexample for each refuted one."""

from __future__ import annotations

import os
import secrets
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opjury.judge.task import Request, Task
from opjury.model import registry
from opjury.model.implementation import Error, Waives
from opjury.model.modules import wing
from opjury.model.outcome import JUDGED, Outcome, by_implementation, causes_checked, standing
from opjury.model.records import SEVERITY, Verdict
from opjury.run.ship import Function, Here


@dataclass(frozen=True, repr=False)
class Audit:
    """What an audit found."""

    verdicts: tuple[Verdict, ...]

    def __repr__(self) -> str:
        """A line for each implementation, and for each check that is refuted or could not be judged."""
        lines, marks = [], {"refuted": "✗", "error": "!", "undecided": "?"}
        for mine in by_implementation(self.verdicts):
            worst: dict[str, Verdict] = {}
            for v in mine:
                worst[v.check] = max(worst.get(v.check, v), v, key=lambda v: SEVERITY.index(v.status))
            counts = Counter(v.status for v in worst.values())
            told = ", ".join(f"{counts[status]} {status}" for status in reversed(SEVERITY) if counts[status])
            lines.append(f"{mine[0].name}: {told}; {sum(v.examples for v in mine):,} cases")
            bad = (v for v in worst.values() if v.status in marks)
            lines += [f"  {marks[v.status]} {v.check} ({', '.join(v.dtypes)}): {v.message}" for v in bad]
        return "\n".join(lines) or "nothing was judged"

    @property
    def refuted(self) -> tuple[Verdict, ...]:
        """The refuted verdicts, negative controls' among them."""
        return tuple(v for v in self.verdicts if v.status == "refuted")

    @property
    def judged(self) -> set[str]:
        """The full names of the implementations of which something is known, if only that a call never returned."""
        return {v.name for v in self.verdicts if v.status in JUDGED}

    @property
    def ok(self) -> bool:
        """Whether something was judged, nothing is undecided, and everything is as declared (`opjury.model.outcome.Outcome`)."""
        return bool(self.judged) and not self.undecided and not self.surprises()

    @property
    def undecided(self) -> tuple[Verdict, ...]:
        """The undecided verdicts of implementations that should hold up."""
        return tuple(v for v in self.verdicts if v.status == "undecided" and not v.control)

    def surprises(self) -> list[str]:
        """A line for each check that is not as declared."""
        return list(dict.fromkeys(text for _, text in surprising(self.verdicts)))

    def summary(self) -> str:
        """A line for each refuted verdict."""
        return "\n".join(f"{v.name} {v.check}: {v.message}" for v in self.refuted)


def surprising(verdicts: Iterable[Verdict]) -> Iterator[tuple[Verdict, str]]:
    """The verdicts that are not as declared, and why."""
    for mine in by_implementation(verdicts):
        outcome = Outcome.of(standing(mine))
        for v in mine:
            why = outcome.unexpected.get(v.check)
            if why and v.status == outcome.standing.verdicts[v.check]:
                yield v, f"{v.name}: {why}" + (f": {v.message}" if v.status in ("refuted", "error") else "")


def judge_tasks(
    tasks: Sequence[Task],
    *,
    jobs: int | None = None,
    isolate: bool = True,
    cluster: str = "",
    mixed: bool = False,
    notify: Callable[[int], None] = lambda workers: None,
) -> Generator[Verdict, None, None]:
    """Judge the tasks, on a cluster if its address is given, and yield verdicts in the order of completion."""
    if cluster:
        results = wing("scale.cluster").run_on_cluster(tasks, cluster, mixed=mixed, notify=notify)
    else:
        from opjury.judge.judge import run_here, run_isolated

        results = run_isolated(tasks, jobs or os.cpu_count() or 1) if isolate else run_here(tasks)
    yield from (verdict for _, verdict in results)


def identity(entry: Task | Verdict) -> tuple[object, ...]:
    """What a task and its verdict have in common, and no other task has."""
    return (entry.operation, entry.implementation, entry.check, tuple(entry.dtypes), entry.device)


def in_order(tasks: Sequence[Task], verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """The verdicts in the order of their tasks."""
    place = {identity(task): number for number, task in enumerate(tasks)}
    return tuple(sorted(verdicts, key=lambda verdict: place.get(identity(verdict), len(place))))


def audit(
    implementation: Callable[..., Any] | str,
    operation: str | None = None,
    *,
    profile: str = "quick",
    checks: str | Sequence[str] | None = None,
    waives: Waives | None = None,
    error: Callable[..., Any] | Error | None = None,
    dtypes: str | Sequence[str] | None = None,
    device: str = "cpu",
    seed: int | None = None,
    scale: float = 1.0,
    jobs: int | None = None,
    isolate: bool = True,
    database: str | None = None,
    first: bool = False,
    cluster: str = "",
    mixed: bool = False,
) -> Audit:
    """Judge an implementation, or all implementations of an operation.

    Parameters
    ----------
    implementation : callable or str
        Any plain function, or a registered name: "slice_mean:python_loop", or "slice_mean" for all of an operation's.
    operation : str, optional
        The operation that a plain function implements.
    profile : {"quick", "full", "nightly"}
    checks : str or sequence of str, optional
        Only these.
    waives : mapping of check to reason, optional
        For a plain function: checks that it is known not to pass.
    error : Error or callable, optional
        For a plain function: its own error model; a callable is its magnitude. Called like the operation, with NumPy arrays.
    dtypes : str or sequence of str, optional
        Only these; by default all of the contract's.
    device : str
        "cpu" or "cuda".
    seed : int, optional
        By default a new one; every verdict has it.
    scale : float
        The share of the profile's cases that is tried.
    jobs : int, optional
        Worker processes; by default one for each core.
    isolate : bool
        Judge in worker processes, so that a hang or a crash becomes a verdict. False: in this process.
    database : str, optional
        Folder of failing cases that are tried first, or the address of a redis server besides the local one, `redis://HOST:PORT/NUMBER`
        (extra `team`); "" for none.
    first : bool
        Stop at the first refutation, and leave its counterexample as it was found.
    cluster : str, optional
        The address of a dask scheduler, "tcp://host:8786", whose workers judge.
    mixed : bool
        Let workers of a cluster have other versions of opjury, Python, torch, NumPy and SciPy than this process.

    Raises
    ------
    Impossible
        For a cluster that cannot be reached, lacks something, or is lost during the audit; for worker processes that do not start.
    UnknownName
        For an operation, implementation, check, profile or dtype that does not exist, with the nearest that do.
    ValueError
        For a database that is neither a folder nor the address of a redis server.
    TypeError
        For what is neither a name nor callable, a function without an operation, or one that cannot be sent to a cluster.

    Examples
    --------
    >>> found = opjury.audit(my_mean, operation="slice_mean")
    >>> found.ok, [v.check for v in found.refuted]
    (False, ['specials', 'locality'])
    """
    from opjury.judge.database import local_folder, usable

    if database is None:
        database = "" if cluster else local_folder()
    if database:
        database, problem = usable(database)
        if problem:
            warnings.warn(f"{problem}; failing cases are kept in {database} alone", stacklevel=2)
    if isinstance(implementation, str) and (waives or error):
        why = f"waives and error are for plain functions; {implementation!r} has what @implementation declares"
        raise TypeError(why)
    request = Request(
        profile=profile,
        checks=checks,
        dtypes=dtypes,
        device=device,
        seed=secrets.randbits(32) if seed is None else seed,
        scale=scale,
        database=database,
        first=first,
        waives=waives,
        error=error,
    )
    tasks, isolate = planned(request, implementation, operation, isolate=isolate, far=bool(cluster))
    found = []
    for verdict in judge_tasks(tasks, jobs=jobs, isolate=isolate, cluster=cluster, mixed=mixed):
        found.append(verdict)
        if first and verdict.status == "refuted":
            break
    return Audit(in_order(tasks, causes_checked(found)))


def planned(
    request: Request,
    implementation: Callable[..., Any] | str,
    operation: str | None,
    *,
    isolate: bool = True,
    far: bool = False,
) -> tuple[list[Task], bool]:
    """The tasks of a function, a registered implementation or all of an operation's, and whether workers can judge them.

    With `far` the workers are on other machines. Raises what `audit` raises.
    """
    if isinstance(implementation, str):
        contract, _, only = implementation.partition(":")
        if operation and not only and contract != operation:
            contract, only = operation, implementation
        registry.operation(contract)  # leaves out wrong declarations of plug-ins, before implementations are listed
        entries = [registry.entry(contract, only)] if only else registry.implementations(contract)
        return [task for entry in entries for task in request.tasks(contract, entry.name)], isolate
    if not callable(implementation):
        raise TypeError(f"{implementation!r} is neither a function nor a registered name")
    if operation is None:
        raise TypeError("a plain function needs operation=...: the operation that it implements")
    registry.operation(operation)  # an unknown one is reported before anything is pickled
    shipped: Function | Here = Here(implementation)
    if far:
        shipped, isolate = Function.to_send(implementation), True
    elif isolate:
        try:
            shipped = Function.of(implementation)
        except TypeError as error:
            warnings.warn(f"{error}. It is judged in this process: a crash or a hang ends the audit.", stacklevel=3)
            isolate = False
    name = getattr(implementation, "__name__", type(implementation).__name__)
    return request.tasks(operation, name, shipped), isolate
