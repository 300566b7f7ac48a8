"""The registry: what was declared, by name."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from opjury.model import declared
from opjury.model.check import Check
from opjury.model.claims import Claim
from opjury.model.implementation import Implementation
from opjury.model.operation import Operation
from opjury.model.validate import near, parameters, shown_parameters
from opjury.model.workload import Workload


class UnknownName(ValueError):
    """A name is not registered, and the message gives the nearest known names."""


class Impossible(ValueError):
    """The operation or the machine cannot fulfil sizes or a request, for the reason in the message."""


def unknown(what: str, given: object, known: Iterable[str]) -> str:
    """`unknown check 'agrement'; did you mean 'agreement'?`"""
    known = sorted(known)
    meant = " or ".join(map(repr, near(given, known)))
    hint = f"did you mean {meant}?" if meant else f"known: {', '.join(known) or 'none'}"
    return f"unknown {what} {given!r}; {hint}"


def implementations(operation: str | None = None) -> list[Implementation]:
    """All implementations, or those of one operation, in order of declaration."""
    declared.load("opjury.impls")
    entries = [entry for entry in declared.IMPLEMENTATIONS.values() if operation in (None, entry.operation)]
    if operation is not None and not entries:
        declared.load("opjury.properties")
        if operation not in declared.OPERATIONS:
            known = {key for key, _ in declared.IMPLEMENTATIONS} | set(declared.OPERATIONS)
            raise UnknownName(unknown("operation", operation, known))
    return entries


def entry(operation: str, name: str) -> Implementation:
    """One implementation by its names (raises `UnknownName`)."""
    known = {entry.name: entry for entry in implementations(operation)}
    if name not in known:
        raise UnknownName(unknown(f"implementation of {operation}", name, known))
    return known[name]


def refutes(operation: str, name: str) -> Mapping[str, str] | None:
    """The checks that a negative control is declared to fail, with the reasons, or None if it is no registered control."""
    declared.load("opjury.impls")
    entry = declared.IMPLEMENTATIONS.get((operation, name))
    return entry.refuted if entry and entry.refuted else None


def operations() -> list[Operation]:
    """All contracts, ordered by the names of their modules, so that the order of imports does not matter.

    Raises
    ------
    TypeError, ValueError
        For declarations that do not go together: an implementation of no operation, a baseline that is not declared. A declaration of
        a plug-in is left out instead, with a warning.
    """
    declared.load("opjury.properties")
    declared.load("opjury.impls")
    for name in {*declared.OPERATIONS, *(key for key, _ in declared.IMPLEMENTATIONS)}:
        _check(name)
    return sorted(declared.OPERATIONS.values(), key=lambda entry: entry.cases.__module__.removeprefix("opjury."))


def operation(name: str) -> Operation:
    """One contract by its name (raises `UnknownName`, or as `operations`)."""
    declared.load("opjury.properties")
    declared.load("opjury.impls")
    if name in declared.OPERATIONS:
        _check(name)
    if name not in declared.OPERATIONS:  # `_check` may have left it out
        raise UnknownName(unknown("operation", name, declared.OPERATIONS))
    return declared.OPERATIONS[name]


_checked: dict[str, Sequence[object]] = {}
"""The declarations that go together, by operation; all checks stand under ""."""


def _known_right(name: str, now: Sequence[object]) -> bool:
    """Whether these very declarations were checked before."""
    before = _checked.get(name, ())
    return len(now) == len(before) and all(map(operator.is_, now, before))


def _check(name: str) -> None:
    """Check the declarations of an operation against each other, unless they are the same as the last time."""
    entries = [entry for (operation, _), entry in declared.IMPLEMENTATIONS.items() if operation == name]
    contract, workload = declared.OPERATIONS.get(name), declared.WORKLOADS.get(name)
    now = (contract, workload, *entries)
    if _known_right(name, now):
        return
    steps: list[tuple[int, object, Callable[[], None]]] = [
        (1, (name, entry.name), partial(_check_implementation, entry, contract)) for entry in entries
    ]
    if contract is not None:
        steps.append((0, name, partial(_check_operation, contract, entries)))
        if workload is not None:
            steps.append((2, name, partial(_check_workload, workload, contract)))
    for table, key, check_one in steps:
        try:
            check_one()
        except (TypeError, ValueError) as error:
            plugin = declared.plugins.get((table, key))
            if plugin is None:
                raise
            declared.leave_out(plugin, str(error))
            del declared.TABLES[table][key]
    _checked[name] = now


def _check_operation(contract: Operation, entries: list[Implementation]) -> None:
    known = [entry.name for entry in entries if not entry.refuted]
    if contract.baseline:
        contract.declaration.one_of("baseline", contract.baseline, known)
    for name in contract.usual:
        contract.declaration.one_of("usual", name, known)


def _check_implementation(entry: Implementation, contract: Operation | None) -> None:
    given = entry.declaration
    if contract is None:
        given.one_of("operation", entry.operation, sorted(declared.OPERATIONS))
        return
    for number, dtype in enumerate(entry.dtypes or ()):
        given.one_of(f"dtypes[{number}]", dtype, contract.dtypes)
    if entry.view and contract.fresh:
        given.fail("view", True, f"left out: {contract.name} returns memory of its own (fresh)")
    given.like("function", entry.function, contract.reference, by_name=False)
    if entry.domain is not None:
        given.like("domain", entry.domain, contract.reference)
    if entry.error is not None:
        entry.error.check_like(contract.reference, given, "error.")


def _check_workload(entry: Workload, contract: Operation) -> None:
    given = entry.declaration
    found = parameters(contract.reference) or []
    names = [each.name for each in found]
    open_ended = any(each.kind is each.VAR_POSITIONAL for each in found)
    for size, code in entry.read_from.items():
        used = {node.id for node in ast.walk(ast.parse(code, mode="eval")) if isinstance(node, ast.Name)}
        for name in sorted(used - set(dir(builtins)) - set(names)):
            given.fail(f"read_from[{size!r}]", code, f"in terms of {', '.join(names)}; {name} is not one of them")
    for growth in entry.growths:
        for place in growth.arguments:
            if place >= len(names) and not open_ended:
                wanted = f"places of arguments of {contract.name}{shown_parameters(contract.reference)}"
                given.fail("growths", place, wanted)


def checks() -> dict[str, Check]:
    """All checks by name, in the order of declaration.

    Raises
    ------
    ValueError
        For an elementary check that is not declared.
    """
    declared.load("opjury.properties")
    entries = list(declared.CHECKS.values())
    if not _known_right("", entries):
        for entry in entries:
            entry.declaration.tuple_of("elementary", entry.elementary, str, list(declared.CHECKS))
        _checked[""] = entries
    return dict(declared.CHECKS)


def place_of_check(name: str) -> tuple[int, str]:
    """A sort key: the order of declaration, with undeclared checks last, by name."""
    known = list(checks())
    return (known.index(name) if name in known else len(known), name)


def check(name: str) -> Check:
    """One check by its name (raises `UnknownName`)."""
    if name not in declared.CHECKS and name not in checks():
        raise UnknownName(unknown("check", name, declared.CHECKS))
    return declared.CHECKS[name]


def claims() -> list[Claim]:
    """All claims, ordered by the number of their question."""
    declared.load("opjury.properties")

    def number(claim: Claim) -> tuple[int, str]:
        first = claim.question.partition(".")[0]
        return (int(first) if first.isdigit() else len(declared.CLAIMS), claim.question)

    return sorted(declared.CLAIMS.values(), key=number)


def workloads() -> dict[str, Workload]:
    """All workloads by operation (raises as `operations`)."""
    declared.load("opjury.benchmarks")
    operations()
    return dict(declared.WORKLOADS)


def workload(name: str) -> Workload:
    """The workload of an operation (raises `UnknownName` if either does not exist)."""
    declared.load("opjury.benchmarks")
    operation(name)
    if name not in declared.WORKLOADS:
        raise UnknownName(f"{name} has no workload: nothing says at which sizes it matters; declare a Workload")
    return declared.WORKLOADS[name]
