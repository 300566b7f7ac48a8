"""Old names of modules, which forward for one release."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any


def forwarding(old: str, new: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module that has moved: what the new one has, with a `DeprecationWarning`."""

    def __getattr__(name: str) -> Any:
        found = importlib.import_module(new)
        if name.startswith("_") or not hasattr(found, name):
            raise AttributeError(f"module {old!r} has no attribute {name!r}")
        warnings.warn(f"import {name} from {new}, not from {old}", DeprecationWarning, stacklevel=2)
        return getattr(found, name)

    return __getattr__
