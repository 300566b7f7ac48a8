"""Who competes and by which contract: the only module with mutable state.

Modules that declare are found through entry points, the built-in ones and third parties' alike:
`opjury.impls`, `opjury.properties` and `opjury.benchmarks`. A module that declares several kinds may stand in several groups.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opjury.claims import Claim
    from opjury.operation import Implementation, Operation, Workload

GROUPS = ("opjury.impls", "opjury.properties", "opjury.benchmarks")

_operations: dict[str, Operation] = {}
_implementations: dict[tuple[str, str], Implementation] = {}
_workloads: dict[str, Workload] = {}
_claims: dict[str, Claim] = {}
_loaded: set[str] = set()
problems: list[str] = []


class UnknownName(ValueError):
    """A name that nothing is registered under. The message gives the nearest known ones."""


class Impossible(ValueError):
    """Sizes that an operation or the machine cannot have, or a request that nothing can fulfil. The message says why."""


def unknown(what: str, given: object, known: Iterable[str]) -> str:
    """`unknown check 'agrement'; did you mean 'agreement'?`"""
    known = sorted(known)
    near = difflib.get_close_matches(str(given), known, n=3, cutoff=0.5)
    if near:
        return f"unknown {what} {given!r}; did you mean {' or '.join(repr(name) for name in near)}?"
    return f"unknown {what} {given!r}; known: {', '.join(known) or 'none'}"


def _origin(function: Any) -> tuple[str, str]:
    code = getattr(function, "__code__", None)
    return (getattr(code, "co_filename", ""), getattr(function, "__qualname__", repr(function)))


def _same(first: Any, second: Any) -> bool:
    """Whether two functions are one that was imported twice: from one file, or by asv from its checkout beside the installed package."""
    modules = [str(getattr(each, "__module__", "")).removeprefix("opjury.") for each in (first, second)]
    (file, name), (other_file, other_name) = map(_origin, (first, second))
    return name == other_name and (file == other_file or modules[0] == modules[1])


def _add(table: dict[Any, Any], key: Any, entry: Any, what: str, origin: Callable[[Any], Any]) -> None:
    # pytest and asv may import the declaring folders a second time under another name: the same
    # function declared again replaces itself, another one is an error.
    if key in table and not _same(origin(table[key]), origin(entry)):
        first, second = _origin(origin(table[key])), _origin(origin(entry))
        raise ValueError(
            f"{what} is declared twice: {first[1]} in {first[0]} and {second[1]} in {second[0]}; rename one"
        )
    table[key] = entry


def add_operation(entry: Operation) -> None:
    """Register a contract; `ValueError` if another has its name."""
    _add(_operations, entry.name, entry, f"operation {entry.name!r}", lambda e: e.reference)


def add_implementation(entry: Implementation) -> None:
    """Register a competitor; `ValueError` if another has its name."""
    label = f"implementation {entry.operation}:{entry.name}"
    _add(_implementations, (entry.operation, entry.name), entry, label, lambda e: e.function)


def add_workload(entry: Workload) -> None:
    """Register benchmark inputs; `ValueError` if the operation has others."""
    _add(_workloads, entry.operation, entry, f"workload of {entry.operation!r}", lambda e: e.arguments)


def add_claim(entry: Claim) -> None:
    """Register a claim; `ValueError` if another has its id."""
    _add(_claims, entry.name, entry, f"claim {entry.name!r}", lambda e: e.check)


class _Deferred(ModuleType):
    """A module that is imported when an attribute of it is first asked for.

    A file that declares implementations begins with `import torch` like any other; listing what is declared must not pay
    the seconds that this takes. (The standard library's LazyLoader loads at the `import` statement already, before Python 3.12.)
    """

    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        if sys.modules.get(name) is self:
            del sys.modules[name]
        real = importlib.import_module(name)
        for module in list(sys.modules.values()):
            names = (
                [key for key, value in list(vars(module).items()) if value is self]
                if isinstance(module, ModuleType)
                else []
            )
            for key in names:
                setattr(module, key, real)
        return getattr(real, attribute)


def _defer(*names: str) -> None:
    for name in names:
        if name not in sys.modules:
            module = _Deferred(name)
            module.__spec__ = importlib.util.find_spec(name)
            sys.modules[name] = module


@contextlib.contextmanager
def apart() -> Iterator[dict[tuple[str, str], Implementation]]:
    """What is declared while this lasts is no part of the registry; the implementations, by operation and name."""
    tables: tuple[dict[Any, Any], ...] = (_operations, _implementations, _workloads, _claims)
    before = [dict(table) for table in tables]
    found: dict[tuple[str, str], Implementation] = {}
    for table in tables:
        table.clear()
    try:
        yield found
        found.update(_implementations)
    finally:
        for table, content in zip(tables, before):
            table.clear()
            table.update(content)


def import_all(module: ModuleType) -> None:
    """Import the public modules of a package; of one with families (packages in it) nothing that stands beside them."""
    found = list(pkgutil.iter_modules(getattr(module, "__path__", []), module.__name__ + "."))
    families = [info for info in found if info.ispkg]
    for info in families or found:
        if not info.name.rpartition(".")[2].startswith(("_", "test_", "bench_", "conftest")):  # private, or a runner's
            import_all(importlib.import_module(info.name))


def _load(group: str) -> None:
    if group in _loaded:
        return
    _loaded.add(group)
    _defer("numpy", "scipy", "torch")
    found = {point.value: point for point in importlib.metadata.entry_points(group=group)}
    for target in {group: None, **found}:  # the built-in group also without installation (PYTHONPATH alone)
        try:
            import_all(importlib.import_module(target))
        except Exception as error:
            if target == group:
                raise
            owner = getattr(found[target].dist, "name", "an unknown distribution")
            problem = f"plug-in {target!r} of {owner} was left out: {type(error).__name__}: {error}"
            problems.append(problem)
            warnings.warn(problem, stacklevel=2)


def implementations(operation: str | None = None) -> list[Implementation]:
    """All implementations, or one operation's, in order of declaration."""
    _load("opjury.impls")
    entries = [entry for entry in _implementations.values() if operation in (None, entry.operation)]
    if operation is not None and not entries:
        operations()
        if operation not in _operations:
            raise UnknownName(unknown("operation", operation, {key for key, _ in _implementations} | set(_operations)))
    return entries


def implementation(operation: str, name: str) -> Implementation:
    """One implementation by its names.

    Raises
    ------
    UnknownName
        With the nearest known names.
    """
    known = {entry.name: entry for entry in implementations(operation)}
    if name not in known:
        raise UnknownName(unknown(f"implementation of {operation}", name, known))
    return known[name]


def controls() -> dict[tuple[str, str], Mapping[str, str]]:
    """The checks in which negative controls are declared to be wrong, by operation and name."""
    return {(entry.operation, entry.name): entry.refuted for entry in implementations() if entry.refuted}


def operations() -> list[Operation]:
    """All contracts, by the names of their modules: whichever was imported first, the order is the same."""
    _load("opjury.properties")
    return sorted(_operations.values(), key=lambda entry: entry.cases.__module__.removeprefix("opjury."))


def operation(name: str) -> Operation:
    """One contract by its name; `UnknownName` otherwise."""
    operations()
    if name not in _operations:
        raise UnknownName(unknown("operation", name, _operations))
    return _operations[name]


def claims() -> list[Claim]:
    """All claims, question by question."""
    _load("opjury.properties")

    def number(claim: Claim) -> tuple[int, str]:
        first = claim.question.partition(".")[0]
        return (int(first) if first.isdigit() else len(_claims), claim.question)

    return sorted(_claims.values(), key=number)


def workloads() -> dict[str, Workload]:
    """All benchmark inputs, by operation."""
    _load("opjury.benchmarks")
    return dict(_workloads)


def workload(operation: str) -> Workload:
    """One operation's benchmark inputs by its name; `UnknownName` otherwise."""
    known = workloads()
    if operation not in known:
        raise UnknownName(unknown("workload", operation, known))
    return known[operation]
