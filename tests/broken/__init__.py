"""Wrong functions, written against the contract alone: an audit must refute every one of them."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator


def wrong(grade: str, why: str, checks: tuple[str, ...] = ()) -> Callable:
    """Mark a function as wrong. `checks` names checks that must refute it (others may refute it too)."""

    def mark(function: Callable) -> Callable:
        function.wrong = (grade, why, (checks,) if isinstance(checks, str) else tuple(checks))
        return function

    return mark


def catalogue() -> Iterator[tuple[str, Callable]]:
    """Every (operation, wrong function) of this folder."""
    for module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
        for value in list(vars(importlib.import_module(f"{__name__}.{module}")).values()):
            if hasattr(value, "wrong"):
                yield module, value
