"""Old names of modules, which forward for one release."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any


def moved(old: str, *new: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module whose content has moved: what the first new one offers that has it, with a `DeprecationWarning`."""

    def __getattr__(name: str) -> Any:
        for place in new:
            module = importlib.import_module(place)
            if name in module.__all__:
                warnings.warn(f"import {name} from {place}, not from {old}", DeprecationWarning, stacklevel=2)
                return getattr(module, name)
        raise AttributeError(f"module {old!r} has no attribute {name!r}")

    return __getattr__
