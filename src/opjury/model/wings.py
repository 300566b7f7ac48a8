"""The wings of opjury (`track`, `report`, `scale`), which the rest finds by name and never imports, and the extras that they need."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

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
    """Raise `MissingExtra` unless all modules of an extra are installed; `what` needs them."""
    if any(importlib.util.find_spec(module) is None for module in EXTRAS[extra]):
        raise MissingExtra(f"{what} needs the extra `{extra}`: pip install 'opjury[{extra}]'")


def wing(name: str) -> ModuleType:
    """The module `opjury.<name>`: `wing("scale.cluster")`."""
    return importlib.import_module(f"opjury.{name}")
