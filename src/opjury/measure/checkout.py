"""Implementations of another checkout in this process: its modules replace those here while they are called."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from opjury.model import declared, registry

_OURS = "opjury.impls"


class Checkout:
    """The implementations of a checkout, and the modules that they need.

    The folder has `impls/`, or the modules that installed plug-ins name. Raises what importing one of them raises.
    """

    def __init__(self, folder: str) -> None:
        registry.operations()
        registry.implementations()
        self.paths = [folder, str(Path(folder, "src"))]
        package = Path(folder, "impls", "__init__.py")
        self.names = {info.name for info in pkgutil.iter_modules(self.paths)} - {"opjury"}  # the harness stays as it is
        if package.is_file():
            self.names.add(_OURS)
        plugins = {point.value for point in importlib.metadata.entry_points(group=_OURS)} - {_OURS}
        self.modules: dict[str, ModuleType] = {}
        with self.active(), declared.apart() as found:
            if _OURS in self.names:
                declared.import_all(take_over(_OURS, package))
            for module in plugins:
                if module.partition(".")[0] in self.names:
                    declared.import_all(importlib.import_module(module))
        self.functions = {key: entry.function for key, entry in found.items()}

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the block, imports find this checkout's modules."""
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


checkout = functools.cache(Checkout)


def take_over(package: str, file: Path) -> ModuleType:
    """Import a package from a file, in place of the installed one."""
    spec = importlib.util.spec_from_file_location(package, file, submodule_search_locations=[str(file.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[package] = module
    spec.loader.exec_module(module)
    return module
