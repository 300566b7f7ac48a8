"""The wings of opjury (`track`, `report`, `scale`), which the rest finds by name and never imports."""

from __future__ import annotations

import importlib
from types import ModuleType


def wing(name: str) -> ModuleType:
    """The module `opjury.<name>`: `wing("scale.cluster")`."""
    return importlib.import_module(f"opjury.{name}")
