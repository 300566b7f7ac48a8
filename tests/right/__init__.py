"""Right functions in many styles, written against the contract alone: an audit must refute none of them."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator


def right(why: str) -> Callable:
    """Mark a function as right; `why` names the style that makes it worth keeping."""

    def mark(function: Callable) -> Callable:
        function.right = (why,)
        return function

    return mark


def catalogue() -> Iterator[tuple[str, Callable]]:
    """Every (operation, right function) of this folder."""
    for module in sorted(found.name for found in pkgutil.iter_modules(__path__)):
        for value in list(vars(importlib.import_module(f"{__name__}.{module}")).values()):
            if hasattr(value, "right"):
                yield module, value
