"""Who competes and by which contract: what was declared, by name."""

from __future__ import annotations

import ast
import builtins
import operator
from collections.abc import Iterable, Iterator, Mapping

from opjury.model import declared
from opjury.model.check import Check
from opjury.model.claims import Claim
from opjury.model.implementation import Implementation
from opjury.model.operation import Operation
from opjury.model.validate import near, parameters, shown_parameters
from opjury.model.workload import Workload


class UnknownName(ValueError):
    """A name that nothing is registered under. The message gives the nearest known ones."""


class Impossible(ValueError):
    """Sizes that an operation or the machine cannot have, or a request that nothing can fulfil. The message says why."""


def unknown(what: str, given: object, known: Iterable[str]) -> str:
    """`unknown check 'agrement'; did you mean 'agreement'?`"""
    known = sorted(known)
    meant = near(given, known)
    if meant:
        return f"unknown {what} {given!r}; did you mean {' or '.join(map(repr, meant))}?"
    return f"unknown {what} {given!r}; known: {', '.join(known) or 'none'}"


def implementations(operation: str | None = None) -> list[Implementation]:
    """All implementations, or one operation's, in order of declaration."""
    declared.load("opjury.impls")
    entries = [entry for entry in declared.IMPLEMENTATIONS.values() if operation in (None, entry.operation)]
    if operation is not None and not entries:
        declared.load("opjury.properties")
        if operation not in declared.OPERATIONS:
            known = {key for key, _ in declared.IMPLEMENTATIONS} | set(declared.OPERATIONS)
            raise UnknownName(unknown("operation", operation, known))
    return entries


def entry(operation: str, name: str) -> Implementation:
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


def refutes(operation: str, name: str) -> Mapping[str, str] | None:
    """The checks in which a negative control is declared to be wrong, with the reasons; None for what is no control here."""
    declared.load("opjury.impls")
    entry = declared.IMPLEMENTATIONS.get((operation, name))
    return entry.refuted if entry and entry.refuted else None


def operations() -> list[Operation]:
    """All contracts, by the names of their modules: whichever was imported first, the order is the same.

    Raises
    ------
    TypeError, ValueError
        For declarations that do not go together: an implementation of no operation, a baseline that is not declared. What a plug-in
        declared is left out instead, with a warning.
    """
    declared.load("opjury.properties")
    declared.load("opjury.impls")
    for name in {*declared.OPERATIONS, *(key for key, _ in declared.IMPLEMENTATIONS)}:
        _check(name)
    return sorted(declared.OPERATIONS.values(), key=lambda entry: entry.cases.__module__.removeprefix("opjury."))


def operation(name: str) -> Operation:
    """One contract by its name.

    Raises
    ------
    UnknownName
        With the nearest known names.
    TypeError, ValueError
        As `operations`.
    """
    declared.load("opjury.properties")
    declared.load("opjury.impls")
    if name in declared.OPERATIONS:
        _check(name)
    if name not in declared.OPERATIONS:
        raise UnknownName(unknown("operation", name, declared.OPERATIONS))
    found: Operation = declared.OPERATIONS[name]
    return found


_checked: dict[str, tuple[object, ...]] = {}


def _check(name: str) -> None:
    """Check what was declared of an operation together, once for all that is declared of it now."""
    entries = [entry for (operation, _), entry in declared.IMPLEMENTATIONS.items() if operation == name]
    contract, workload = declared.OPERATIONS.get(name), declared.WORKLOADS.get(name)
    now, before = (contract, workload, *entries), _checked.get(name, ())
    if len(now) == len(before) and all(map(operator.is_, now, before)):
        return
    for table, key, error in _faults(name, contract, entries, workload):
        plugin = declared.plugins.get((table, key))
        if plugin is None:
            raise error
        declared.leave_out(plugin, str(error))
        del declared.TABLES[table][key]
    _checked[name] = now


def _faults(
    name: str, contract: Operation | None, entries: list[Implementation], workload: Workload | None
) -> Iterator[tuple[int, object, Exception]]:
    """What is wrong with declarations beside each other: the number of the table, the key in it, the error."""
    for entry in entries:
        try:
            _check_implementation(entry, contract)
        except (TypeError, ValueError) as error:
            yield 1, (name, entry.name), error
    if contract is None:
        return
    try:
        known = [entry.name for entry in entries if not entry.refuted]
        for field, names in (("baseline", [contract.baseline] if contract.baseline else []), ("usual", contract.usual)):
            for each in names:
                contract.declaration.one_of(field, each, known)
    except ValueError as error:
        yield 0, name, error
    try:
        if workload is not None:
            _check_workload(workload, contract)
    except (TypeError, ValueError) as error:
        yield 2, name, error


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
                given.fail(
                    "growths", place, f"places of arguments of {contract.name}{shown_parameters(contract.reference)}"
                )


def checks() -> dict[str, Check]:
    """All checks by name, in the order of declaration.

    Raises
    ------
    ValueError
        For a check that names an elementary one which is not declared.
    """
    declared.load("opjury.properties")
    entries = list(declared.CHECKS.values())
    if len(entries) != len(_sound) or not all(map(operator.is_, entries, _sound)):
        for entry in entries:
            for number, name in enumerate(entry.elementary):
                entry.declaration.one_of(f"elementary[{number}]", name, list(declared.CHECKS))
        _sound[:] = entries
    return dict(declared.CHECKS)


_sound: list[Check] = []  # the checks whose elementary ones are known to be declared


def place_of_check(name: str) -> tuple[int, str]:
    """Where a check stands in the order of declaration; those that are not declared here stand last, by name."""
    known = list(checks())
    return (known.index(name) if name in known else len(known), name)


def check(name: str) -> Check:
    """One check by its name.

    Raises
    ------
    UnknownName
        With the nearest known names.
    """
    if name not in declared.CHECKS and name not in checks():
        raise UnknownName(unknown("check", name, declared.CHECKS))
    found: Check = declared.CHECKS[name]
    return found


def claims() -> list[Claim]:
    """All claims, question by question."""
    declared.load("opjury.properties")

    def number(claim: Claim) -> tuple[int, str]:
        first = claim.question.partition(".")[0]
        return (int(first) if first.isdigit() else len(declared.CLAIMS), claim.question)

    return sorted(declared.CLAIMS.values(), key=number)


def workloads() -> dict[str, Workload]:
    """All benchmark inputs, by operation; raises as `operations`."""
    declared.load("opjury.benchmarks")
    operations()
    return dict(declared.WORKLOADS)


def workload(name: str) -> Workload:
    """One operation's benchmark inputs.

    Raises
    ------
    UnknownName
        With the nearest known names: for an operation that does not exist, and for one that has no workload.
    """
    declared.load("opjury.benchmarks")
    operation(name)
    if name not in declared.WORKLOADS:
        raise UnknownName(f"{name} has no workload: nothing says at which sizes it matters; declare a Workload")
    found: Workload = declared.WORKLOADS[name]
    return found
