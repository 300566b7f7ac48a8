"""What was declared in this process, which is the only mutable state, and how declaring modules are loaded.

Declaring modules, built-in ones and plug-ins, are found through the entry points `opjury.impls`, `opjury.properties` and
`opjury.benchmarks`. A module that declares several kinds may stand in several groups.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import pkgutil
import traceback
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from opjury.model.validate import short_path

GROUPS = ("opjury.impls", "opjury.properties", "opjury.benchmarks")

OPERATIONS: dict[str, Any] = {}
IMPLEMENTATIONS: dict[tuple[str, str], Any] = {}
WORKLOADS: dict[str, Any] = {}
CLAIMS: dict[str, Any] = {}
CHECKS: dict[str, Any] = {}
TABLES: tuple[dict[Any, Any], ...] = (OPERATIONS, IMPLEMENTATIONS, WORKLOADS, CLAIMS, CHECKS)

# Entries by the number of their table and their key: the plug-in that one comes from, and those declared outside of the modules that
# every process loads, by a script, a notebook or a module that was imported by name.
plugins: dict[tuple[int, Any], str] = {}
own: set[tuple[int, Any]] = set()
problems: list[str] = []
_loaded: set[str] = set()
_loading: list[str] = []  # what is being loaded: plug-ins, or "" for other modules


def place_of(function: Any) -> tuple[str, int]:
    """File and line of a function, or `("", 0)` if it has none."""
    code = getattr(function, "__code__", None)
    return short_path(getattr(code, "co_filename", "")), getattr(code, "co_firstlineno", 0)


def source_of(function: Any) -> tuple[str, int]:
    """File and line of a function for records, or `("", 0)` if it has none.

    In a package the file is made of the module's name, so that it is the same on other machines, else it is relative to the working
    directory.
    """
    try:
        inner = inspect.unwrap(function)
        file, line = place_of(inner)
        name = str(getattr(inner, "__module__", ""))
    except Exception:  # an object on trial may do anything when it is asked for an attribute
        return "", 0
    if "." in name:
        file = name.replace(".", "/") + ".py"
    elif os.path.isabs(file):
        file = os.path.basename(file)
    return (file, int(line)) if file.endswith(".py") else ("", 0)


def _same(first: Any, second: Any) -> bool:
    """Whether two functions are one that was imported twice, from one file, or by asv from its checkout and the installed package."""
    modules = [str(getattr(each, "__module__", "")).removeprefix("opjury.") for each in (first, second)]
    names = [getattr(each, "__qualname__", repr(each)) for each in (first, second)]
    return names[0] == names[1] and (place_of(first)[0] == place_of(second)[0] or modules[0] == modules[1])


def add(table: dict[Any, Any], key: Any, entry: Any, what: str, function: Callable[[Any], Any]) -> None:
    """Add an entry to a table, where `function` returns the function that identifies an entry.

    Raises
    ------
    ValueError
        If another function was declared under the key.
    """
    # The same function replaces itself, because pytest and asv import declaring folders again under another name.
    if key in table and not _same(function(table[key]), function(entry)):
        places = ["{}:{}".format(*place_of(function(each))) for each in (table[key], entry)]
        raise ValueError(f"{what} is declared twice: at {places[0]} and at {places[1]}; rename one")
    table[key] = entry
    number = next(number for number, each in enumerate(TABLES) if each is table)
    if _loading:
        if _loading[-1]:
            plugins[number, key] = _loading[-1]
    elif not _is_ours(str(getattr(function(entry), "__module__", ""))):
        own.add((number, key))


def _is_ours(module: str) -> bool:
    """Whether a module is one of opjury's, which every process loads, maybe under the name by which asv or pytest imports it."""
    name = f"opjury.{module.removeprefix('opjury.')}"
    try:
        return (name == module or name.startswith(GROUPS)) and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def own_entries(operation: str) -> list[tuple[int, Any, Any]]:
    """The declarations of an operation, and the checks, of this process alone, as number of the table, key and entry."""
    found = []
    for number, key in own:
        entry = TABLES[number].get(key)
        if TABLES[number] is CHECKS or getattr(entry, "operation", key) == operation:
            found.append((number, key, entry))
    return sorted(found, key=str)


def adopt(entries: list[tuple[int, Any, Any]]) -> None:
    """Add the declarations of another process to the tables."""
    for number, key, entry in entries:
        TABLES[number][key] = entry
        own.add((number, key))


def is_operation(name: str) -> bool:
    """Whether a contract of this name is declared, or may still be because modules are being loaded."""
    if name not in OPERATIONS and not _loading:
        load("opjury.properties")
    return name in OPERATIONS or bool(_loading)


@contextlib.contextmanager
def apart() -> Iterator[dict[tuple[str, str], Any]]:
    """Keep what is declared meanwhile out of the tables, and yield a dict that holds its implementations afterwards."""
    before = [dict(table) for table in TABLES]
    found: dict[tuple[str, str], Any] = {}
    for table in TABLES:
        if table is not CHECKS:  # the declarations name these checks
            table.clear()
    _loading.append("")
    try:
        yield found
        found.update(IMPLEMENTATIONS)
    finally:
        _loading.pop()
        for table, content in zip(TABLES, before):
            table.clear()
            table.update(content)


def import_all(module: ModuleType) -> None:
    """Import the public modules of a package, or, if it has sub-packages, only those."""
    found = list(pkgutil.iter_modules(getattr(module, "__path__", []), module.__name__ + "."))
    families = [info for info in found if info.ispkg]
    for info in families or found:
        # Private modules, and those that test and benchmark runners import, declare nothing.
        if not info.name.rpartition(".")[2].startswith(("_", "test_", "bench_", "conftest")):
            import_all(importlib.import_module(info.name))


def load(group: str) -> None:
    """Import the modules of a group of entry points once, leaving out plug-ins that fail, with a warning."""
    if group in _loaded:
        return
    _loaded.add(group)
    found = {point.value: point for point in importlib.metadata.entry_points(group=group)}
    for target in {group: None, **found}:  # the built-in group also without installation (PYTHONPATH alone)
        distribution = getattr(getattr(found.get(target), "dist", None), "name", "an unknown distribution")
        plugin = "" if target == group else f"plug-in {target!r} of {distribution}"
        _loading.append(plugin)
        try:
            import_all(importlib.import_module(target))
        except Exception as error:
            if not plugin:
                raise
            leave_out(plugin, _described(error))
        finally:
            _loading.pop()


def leave_out(plugin: str, why: str) -> None:
    """Warn that a plug-in, or one of its declarations, is not used."""
    problems.append(f"{plugin} was left out: {why}")
    warnings.warn(problems[-1], stacklevel=3)


def _described(error: Exception) -> str:
    """An error with the place where it was raised, unless the message names it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{short_path(frames[-1].filename)}:{frames[-1].lineno}: " if frames else ""
    named = any(f"{short_path(frame.filename)}:{frame.lineno}:" in str(error) for frame in frames)
    return f"{'' if named else place}{type(error).__name__}: {error}"
