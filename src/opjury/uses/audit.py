"""audit: a verdict for every implementation and check, each refuted one with a smallest counterexample."""

from __future__ import annotations

import os
import secrets
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opjury import registry
from opjury.case import is_floating
from opjury.model import declared
from opjury.model.dtypes import DTYPES, group_dtypes
from opjury.model.implementation import DEVICES, Error, Waives, as_error, waived_on
from opjury.model.operation import Operation
from opjury.model.outcome import Outcome, by_implementation, standing, standings
from opjury.model.validate import Declaration
from opjury.records import SEVERITY, Verdict
from opjury.shipping import Function, Here, Sent
from opjury.verify.device import present
from opjury.verify.examples import local_folder, usable
from opjury.verify.task import PROFILES, Task, implementation_of


@dataclass(frozen=True, repr=False)
class Audit:
    """What an audit found; in print, a line for each implementation and for each refuted check.

    Parameters
    ----------
    verdicts : tuple of Verdict
    """

    verdicts: tuple[Verdict, ...]

    def __repr__(self) -> str:
        """A line for each implementation, and one for each refuted check."""
        lines = []
        for mine in by_implementation(self.verdicts):
            worst: dict[str, Verdict] = {}
            for v in mine:
                worst[v.check] = max(worst.get(v.check, v), v, key=lambda v: SEVERITY.index(v.status))
            counts = Counter(v.status for v in worst.values())
            told = ", ".join(f"{counts[status]} {status}" for status in reversed(SEVERITY) if counts[status])
            lines.append(f"{mine[0].name}: {told}; {sum(v.examples for v in mine):,} cases")
            refuted = (v for v in worst.values() if v.status == "refuted")
            lines += [f"  ✗ {v.check} ({', '.join(v.dtypes)}): {v.message}" for v in refuted]
        return "\n".join(lines) or "nothing was judged"

    @property
    def refuted(self) -> tuple[Verdict, ...]:
        """The refuted verdicts, negative controls' among them."""
        return tuple(v for v in self.verdicts if v.status == "refuted")

    @property
    def judged(self) -> set[str]:
        """The full names of those of whom something is known; a call that never returned is known, though no example was executed."""
        return {s.name for s in standings(self.verdicts) if Outcome(s).judged}

    @property
    def ok(self) -> bool:
        """Whether something was judged, and all of it is as declared (`opjury.model.outcome.Outcome`)."""
        return bool(self.judged) and not self.surprises()

    def surprises(self) -> list[str]:
        """Everything that is not as declared, in words."""
        return list(dict.fromkeys(text for _, text in surprising(self.verdicts)))

    def summary(self) -> str:
        """One line a refuted verdict."""
        return "\n".join(f"{v.name} {v.check}: {v.message}" for v in self.refuted)


def surprising(verdicts: Iterable[Verdict]) -> Iterator[tuple[Verdict, str]]:
    """The verdicts that are not as declared, and why."""
    for mine in by_implementation(verdicts):
        outcome = Outcome.of(standing(mine))
        for v in mine:
            why = outcome.unexpected.get(v.check)
            if why and v.status == outcome.standing.verdicts[v.check]:
                yield v, f"{v.name}: {why}" + (f": {v.message}" if v.status in ("refuted", "error") else "")


def plan(
    operation: Operation,
    name: str,
    *,
    function: Any = None,
    profile: str = "quick",
    checks: str | Sequence[str] | None = None,
    dtypes: str | Sequence[str] | None = None,
    device: str = "cpu",
    seed: int = 0,
    scale: float = 1.0,
    waives: Waives | None = None,
    database: str = "",
    first: bool = False,
    error: Any = None,
) -> list[Task]:
    """The tasks of one implementation's audit: each check for each group of dtypes (quick) or each dtype.

    `function` and `error` are those of a plain function, in a form that travels.

    Raises
    ------
    UnknownName
        For a profile, check, dtype or device that does not exist.
    """
    checks, dtypes = as_names(checks), as_names(dtypes)
    names_checked("profile", [profile], PROFILES)
    names_checked("check", checks or (), registry.checks())
    waives_checked(waives or {})
    dtypes_checked(operation, dtypes or ())
    names_checked("device", [device.partition(":")[0]], DEVICES)
    waived = tuple(waived_on(waives or {}, device).items())
    base = Task(
        operation.name,
        name,
        "agreement",
        (),
        profile,
        device,
        scale=scale,
        waives=waived,
        database=database,
        function=function,
        error=error,
        shrink=not first,
    )
    declared = implementation_of(base).dtypes or operation.dtypes
    wanted = tuple(d for d in declared if dtypes is None or d in dtypes)
    groups = list(group_dtypes(wanted).values()) if PROFILES[profile].grouped else [(d,) for d in wanted]
    tasks = []
    kind = device.partition(":")[0]
    usual = [name for name, check in registry.checks().items() if kind in check.devices]
    for check in map(registry.check, checks or usual):
        for group in [wanted] if check.together and PROFILES[profile].grouped else groups:
            group = tuple(d for d in group if is_floating(d) or not check.floating)
            if group:
                tasks.append(replace(base, check=check.name, dtypes=group, seed=seed))
    return tasks


def names_checked(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UnknownName` for the first that is not known."""
    known = list(known)
    for name in given:
        if name not in known:
            raise registry.UnknownName(registry.unknown(what, name, known))


def as_names(given: str | Sequence[str] | None) -> Sequence[str] | None:
    """One name alone as a sequence of names."""
    return [given] if isinstance(given, str) else given


def waives_checked(given: Waives) -> None:
    """Raise `TypeError` unless it is a mapping, `UnknownName` for a check that does not exist, `ValueError` for want of a reason."""
    if not isinstance(given, Mapping):
        raise TypeError(f"waives is {given!r}; it must be a mapping of checks to reasons")
    names_checked("check", given, registry.checks())
    for check, reason in given.items():
        if not reason:
            raise ValueError(f"waives[{check!r}] is {reason!r}; it must be the reason why the check is not passed")


def dtypes_checked(operation: Operation, given: Iterable[str]) -> None:
    """Raise `UnknownName` for the first dtype that does not exist, or that the operation does not have."""
    given = list(given)
    names_checked("dtype", given, DTYPES)
    for name in given:
        if name not in operation.dtypes:
            raise registry.UnknownName(f"{operation.name} does not have {name}; it has {', '.join(operation.dtypes)}")


def error_checked(model: Error | None, operation: Operation) -> Error | None:
    """The error model of a plain function; `TypeError` for what is none, or cannot be called like the operation."""
    if model is not None and not isinstance(model, Error):
        raise TypeError(f"error is {model!r}; it must be an Error, a callable that gives its magnitude, or None")
    if model is not None:
        place = "{}:{}".format(*declared.place_of(model.magnitude or model.terms))
        model.check_like(operation.reference, Declaration(f"error model for {operation.name}", place))
    return model


def device_checked(device: str) -> None:
    """Raise for a device that there is not: `UnknownName` for none in the world, `Impossible` for none here."""
    names_checked("device", [device.partition(":")[0]], DEVICES)
    if not present(device):
        raise registry.Impossible("no CUDA device is present")


def run(
    tasks: Sequence[Task],
    *,
    jobs: int | None = None,
    isolate: bool = True,
    cluster: str = "",
    mixed: bool = False,
    notify: Callable[[int], None] = lambda workers: None,
) -> Generator[Verdict, None, None]:
    """Judge the tasks, on a cluster where one is named; verdicts come as they are done."""
    from opjury import execute

    if cluster:
        from opjury.cluster import run_on_cluster

        results = run_on_cluster(tasks, cluster, mixed=mixed, notify=notify)
    else:
        results = execute.run_isolated(tasks, jobs or os.cpu_count() or 1) if isolate else execute.run_here(tasks)
    for _, verdict in results:
        yield verdict


def identity(entry: Task | Verdict) -> tuple[object, ...]:
    """What a task has in common with its verdict, and with no other."""
    return (entry.operation, entry.implementation, entry.check, tuple(entry.dtypes), entry.device)


def in_order(tasks: Sequence[Task], verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Verdicts in the order of their tasks."""
    place = {(t.operation, t.implementation, t.check, t.dtypes): i for i, t in enumerate(tasks)}
    return tuple(
        sorted(verdicts, key=lambda v: place.get((v.operation, v.implementation, v.check, tuple(v.dtypes)), len(place)))
    )


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
    """Put an implementation on trial.

    Parameters
    ----------
    implementation : callable or str
        Any plain function, or a registered name: "slice_mean:python_loop", or "slice_mean" for all of an operation's.
    operation : str, optional
        The contract that a plain function is held to.
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
        By default a new one; it stands in every verdict.
    scale : float
        The share of the profile's cases that is tried.
    jobs : int, optional
        Worker processes; by default one for each core.
    isolate : bool
        Judge in worker processes, so that a hang or a crash is a verdict. False: in this process.
    database : str, optional
        Folder of failing cases that are tried first, or the address of a redis server besides the local one, `redis://HOST:PORT/NUMBER`
        (extra `team`); "" for none.
    first : bool
        Stop at the first refutation, and leave its counterexample as it was found.
    cluster : str, optional
        The address of a dask scheduler, "tcp://host:8786", whose workers judge.
    mixed : bool
        Let workers of a cluster have other versions of opjury, Python, torch, NumPy and SciPy than this process.

    Returns
    -------
    Audit

    Raises
    ------
    Impossible
        For a cluster that cannot be reached, lacks something, or is lost in the middle; for worker processes that do not start.
    UnknownName
        For an operation, implementation, check, profile or dtype that does not exist, with the nearest that do.
    ValueError
        For a database that is neither a folder nor the address of a redis server.
    TypeError
        For something that is neither a name nor callable, a function without an operation, or one that cannot be sent to a
        cluster.

    Examples
    --------
    >>> found = opjury.audit(my_mean, operation="slice_mean")
    >>> found.ok, [v.check for v in found.refuted]
    (False, ['specials', 'locality'])
    """
    seed = secrets.randbits(32) if seed is None else seed
    if database is None:
        database = "" if cluster else local_folder()
    database, problem = usable(database)
    if problem:
        warnings.warn(f"{problem}; failing cases are kept in {database} alone", stacklevel=2)
    if isinstance(implementation, str) and (waives or error):
        raise TypeError(
            f"waives and error are for plain functions; {implementation!r} has what @implementation declares"
        )
    options: dict[str, Any] = dict(profile=profile, checks=checks, dtypes=dtypes, device=device, waives=waives)
    options |= dict(seed=seed, scale=scale, database=database, first=first, error=error)
    tasks, isolate = planned(implementation, operation, isolate=isolate, far=bool(cluster), **options)
    verdicts = run(tasks, jobs=jobs, isolate=isolate, cluster=cluster, mixed=mixed)
    return Audit(in_order(tasks, _up_to_first_refutation(verdicts) if first else verdicts))


def planned(
    implementation: Callable[..., Any] | str,
    operation: str | None,
    *,
    waives: Waives | None = None,
    error: Callable[..., Any] | Error | None = None,
    isolate: bool = True,
    far: bool = False,
    **options: Any,
) -> tuple[list[Task], bool]:
    """The tasks of a function, of a registered implementation, or of all of an operation's; and whether they can travel.

    Raises what `audit` raises. `options` are those of `plan`; `far`: to other machines.
    """
    if isinstance(implementation, str):
        contract_name, _, only = implementation.partition(":")
        if operation and not only and contract_name != operation:
            contract_name, only = operation, implementation
        contract = registry.operation(contract_name)
        entries = [registry.implementation(contract_name, only)] if only else registry.implementations(contract_name)
        tasks = [task for entry in entries for task in plan(contract, entry.name, waives=entry.waives, **options)]
        return tasks, isolate
    if not callable(implementation):
        raise TypeError(f"{implementation!r} is neither a function nor a registered name")
    if operation is None:
        raise TypeError("a plain function needs operation=...: the contract that it is held to")
    contract = registry.operation(operation)
    shipped, isolate = ship(implementation, isolate, far)
    model = error_checked(as_error(error), contract)
    sent = model and (Sent.error(model) if isolate else Here(model))
    name = getattr(implementation, "__name__", type(implementation).__name__)
    return plan(contract, name, function=shipped, waives=waives, error=sent, **options), isolate


def _up_to_first_refutation(verdicts: Iterator[Verdict]) -> Iterator[Verdict]:
    for verdict in verdicts:
        yield verdict
        if verdict.status == "refuted":
            return


def ship(function: Callable[..., Any], isolate: bool, far: bool = False) -> tuple[Any, bool]:
    """The function in a form that reaches workers (`far` ones too), or, with a warning, to be judged in this process."""
    if far:
        return Function.to_send(function), True
    if not isolate:
        return Here(function), False
    try:
        return Function.of(function), True
    except TypeError as error:
        warnings.warn(f"{error}. It is judged in this process: a crash or a hang ends the audit.", stacklevel=4)
        return Here(function), False


__all__ = ["Audit", "Verdict", "audit"]
