"""Modules that are imported by name when they are needed, and the extras of the installation that bring some of them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any


def wing(name: str) -> ModuleType:
    """The module `opjury.<name>` of a wing (`track`, `report` or `scale`), which nothing else imports: `wing("scale.cluster")`."""
    return importlib.import_module(f"opjury.{name}")


EXTRAS = {
    "track": ("asv", "filelock", "ruptures"),
    "report": ("jinja2", "markdown_it", "markupsafe", "plotly"),
    "cluster": ("distributed",),
    "team": ("redis",),
}
"""The modules that each extra of the installation brings."""


class MissingExtra(ImportError):
    """A module of an extra is not installed. The message gives the command that installs it."""


def require_extra(extra: str, what: str) -> None:
    """Raise `MissingExtra`, which says what needs the extra, unless all its modules are installed."""
    if any(importlib.util.find_spec(module) is None for module in EXTRAS[extra]):
        raise MissingExtra(f"{what} needs the extra `{extra}`: pip install 'opjury[{extra}]'")


def lazily(module: str, places: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a module that offers names of other modules and imports these on first use."""
    origin = {name: place for place, names in places.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in origin:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(origin[name]), name)
        setattr(sys.modules[module], name, value)
        return value

    return __getattr__


def moved(old: str, *new: str) -> Callable[[str], Any]:
    """The `__getattr__` of an old module: it forwards to the first new module with the name, with a `DeprecationWarning`."""

    def __getattr__(name: str) -> Any:
        for place in new:
            module = importlib.import_module(place)
            if name in module.__all__:
                warnings.warn(f"import {name} from {place}, not from {old}", DeprecationWarning, stacklevel=2)
                return getattr(module, name)
        raise AttributeError(f"module {old!r} has no attribute {name!r}")

    return __getattr__
