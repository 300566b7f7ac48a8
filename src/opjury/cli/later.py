"""Modules whose code runs when one of their attributes is first used."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

_NAMES = ("__class__", "__file__", "__name__", "__spec__")  # what `isinstance` and import statements look at


class _LazyModule(ModuleType):
    """A module whose code runs, in this same object, when an attribute of it is first asked for.

    The standard library's LazyLoader runs the code at the `import` statement already, before Python 3.12.
    """

    def __getattribute__(self, attribute: str) -> Any:
        if attribute in _NAMES:
            return ModuleType.__getattribute__(self, attribute)
        spec: Any = self.__spec__
        self.__class__ = ModuleType  # type: ignore[assignment]
        try:
            spec.loader.exec_module(self)
        except BaseException:
            self.__class__ = _LazyModule
            sys.modules.pop(spec.name, None)
            raise
        return getattr(self, attribute)


def import_later(*names: str) -> None:
    """Let `import torch` cost nothing until torch is used, for a process that may only list what is declared.

    Files that declare implementations can then begin with a plain `import torch`. Call this at the start of a process, while it has
    one thread.
    """
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is not None:
            sys.modules[name] = importlib.util.module_from_spec(spec)
            sys.modules[name].__class__ = _LazyModule
