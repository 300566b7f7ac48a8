"""Implementations as another checkout has them, in this process: their modules take the place of those here while they are called."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from opjury.model import declared, registry

_OURS = "opjury.impls"


class Checkout:
    """The implementations of a checkout, and the modules that they are made of.

    Parameters
    ----------
    folder : Path
        With `impls/`, or with the modules that plug-ins here name as theirs.

    Raises
    ------
    Exception
        Whatever importing a module of it does.
    """

    def __init__(self, folder: Path) -> None:
        registry.operations()
        registry.implementations()
        self.paths = [str(folder), str(folder / "src")]
        package = folder / "impls" / "__init__.py"
        self.names = _modules_in(self.paths) | ({_OURS} if package.is_file() else set())
        targets = {point.value for point in importlib.metadata.entry_points(group=_OURS)} - {_OURS}
        self.modules: dict[str, ModuleType] = {}
        with self.active(), declared.apart() as found:
            if _OURS in self.names:
                declared.import_all(take_over(_OURS, package))
            for target in targets:
                if target.partition(".")[0] in self.names:
                    declared.import_all(importlib.import_module(target))
        self.functions = {key: entry.function for key, entry in found.items()}

    @contextmanager
    def active(self) -> Iterator[None]:
        """For as long as this lasts, imports find this checkout's modules."""
        here = self._taken_out()
        sys.modules.update(self.modules)
        sys.path[:0] = self.paths
        try:
            yield
        finally:
            del sys.path[: len(self.paths)]
            self.modules = self._taken_out()
            sys.modules.update(here)

    def _taken_out(self) -> dict[str, ModuleType]:
        mine = [name for name in sys.modules if any(name == n or name.startswith(n + ".") for n in self.names)]
        return {name: sys.modules.pop(name) for name in mine}

    def function(self, operation: str, name: str) -> Callable[..., Any]:
        """Raises `UnknownName` where the checkout has no such implementation."""
        if (operation, name) not in self.functions:
            raise registry.UnknownName(f"{operation} has no {name} there")
        return self.functions[operation, name]


@functools.cache
def checkout(folder: str) -> Checkout:
    """Of each folder one."""
    return Checkout(Path(folder))


def take_over(package: str, file: Path) -> ModuleType:
    """Let a package be the one in a file, instead of the installed one."""
    spec = importlib.util.spec_from_file_location(package, file, submodule_search_locations=[str(file.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    return module


def _modules_in(paths: list[str]) -> set[str]:
    """The names of modules and packages in these folders; the harness itself stays what it is."""
    return {info.name for info in pkgutil.iter_modules(paths)} - {"opjury"}
