"""Functions that go to other processes and machines, and modules from files."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import os
import pickle
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from opjury.model import declared
from opjury.model.implementation import Error
from opjury.model.registry import Impossible

_unpickled = functools.lru_cache(maxsize=16)(pickle.loads)  # the same declarations come with every item


@dataclass(frozen=True)
class Function:
    """A plain function in a form that travels: by module and name where it can be imported, else by value."""

    name: str
    module: str = ""
    path: str = ""
    pickled: bytes = b""

    @staticmethod
    def of(function: Callable[..., Any]) -> Function:
        """For another process on this machine, with `TypeError` raised for what can be neither imported nor pickled."""
        name = getattr(function, "__qualname__", "")
        module = sys.modules.get(getattr(function, "__module__", "") or "")
        path = getattr(module, "__file__", None) or ""
        if module is not None and module.__name__ != "__main__" and path and _attribute(module, name) is function:
            return Function(name, module.__name__, os.path.abspath(path))
        try:
            return Function(name, pickled=_by_value(function, ()))
        except Exception as error:
            why = f"{name or function!r} cannot be sent to another process ({error})"
            raise TypeError(f"{why}; define it in a module") from error

    @staticmethod
    def to_send(function: Callable[..., Any]) -> Function:
        """For another machine, which may not have the function's file: by value, with what it uses of the files beside it.

        What belongs to a package goes by name and has to be installed there. Raises `TypeError` for what cannot be pickled.
        """
        name = getattr(function, "__qualname__", "")
        try:
            return Function(name, pickled=_self_contained(function, [function]))
        except Exception as error:
            raise TypeError(f"{name or function!r} cannot be sent to another machine ({error})") from error

    def load(self) -> Callable[..., Any]:
        """The function, in any process."""
        if self.pickled:
            return pickle.loads(self.pickled)
        return _attribute(import_file(self.path, self.module), self.name)


@dataclass(frozen=True)
class Here:
    """A function or an error model that stays in this process."""

    function: Any

    def load(self) -> Any:
        """The function or the error model itself."""
        return self.function


@dataclass(frozen=True)
class Sent:
    """An error model, or declarations, in a form that travels: by value."""

    pickled: bytes

    @staticmethod
    def error(model: Error) -> Sent:
        """An error model, with `TypeError` raised for one that cannot be pickled."""
        try:
            return Sent(_self_contained(model, [model.magnitude, model.terms]))
        except Exception as error:
            raise TypeError(f"the error model cannot be sent to another process ({error})") from error

    @staticmethod
    def declarations(operation: str) -> Sent | None:
        """What only this process has declared of an operation, or None, with `Impossible` raised for what cannot be pickled."""
        entries = declared.own_entries(operation)
        if not entries:
            return None
        functions = [value for _, _, entry in entries for value in vars(entry).values() if callable(value)]
        try:
            return Sent(_self_contained(entries, functions))
        except Exception as error:
            why = f"{operation} was declared in this process and cannot be sent to workers ({error})"
            raise Impossible(f"{why}; declare it in a module") from error

    def load(self) -> Any:
        """The error model, or the declarations."""
        return _unpickled(self.pickled)


def register(declarations: Iterable[Sent]) -> None:
    """Add what another process declared to this one's tables."""
    for sent in declarations:
        declared.adopt(sent.load())


def _self_contained(value: Any, functions: Iterable[Any]) -> bytes:
    """A value, pickled together with what these functions use of files that are in no package."""
    modules = [module for each in functions for module in _loose(getattr(each, "__module__", "") or "")]
    return _by_value(value, {module.__name__: module for module in modules}.values())


def _by_value(value: Any, modules: Collection[ModuleType]) -> bytes:
    """A value, pickled together with what it uses of these modules, and loaded once, to see that this works."""
    import cloudpickle

    added = [module for module in modules if module.__name__ not in cloudpickle.list_registry_pickle_by_value()]
    for module in added:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled: bytes = cloudpickle.dumps(value)
    finally:
        for module in added:
            cloudpickle.unregister_pickle_by_value(module)
    pickle.loads(pickled)
    return pickled


def _loose(name: str) -> list[ModuleType]:
    """The module and those beside it, if they are files in no package and not installed."""

    def folder(module: Any) -> str:
        return os.path.dirname(os.path.abspath(getattr(module, "__file__", None) or os.sep))

    installed = {sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    home = folder(sys.modules.get(name))
    if "." in name or name not in sys.modules or home in installed:
        return []
    modules = [module for key, module in list(sys.modules.items()) if "." not in key and key != "__main__"]
    return [m for m in modules if folder(m) == home and not hasattr(m, "__path__") and m.__name__ in sys.modules]


def _attribute(module: Any, qualified: str) -> Any:
    for part in qualified.split("."):
        module = getattr(module, part, None)
    return module


def import_file(path: str, name: str = "") -> ModuleType:
    """The module at a path: the one that is imported already, else by its name if that leads to the path, else from the file."""
    path = os.path.abspath(path)

    def is_there(module: Any) -> bool:
        file = getattr(module, "__file__", None) or ""
        return os.path.abspath(file) == path and module.__name__ != "__main__"

    for module in list(sys.modules.values()):
        if is_there(module):
            return module
    if name:
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            if is_there(module):
                return module
    name = name or os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, os.path.dirname(path))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(os.path.dirname(path))
    return module


def imported(place: str) -> ModuleType:
    """The module at `path/to/file.py`, or of the name `package.module`."""
    return import_file(place) if place.endswith(".py") else importlib.import_module(place)
