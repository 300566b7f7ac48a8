"""The old place of what `opjury.contract` offers; it goes with the next release."""

from __future__ import annotations

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    from opjury import contract

    if name in contract.__all__:
        warnings.warn(
            f"import {name} from opjury.contract, not from opjury.operation", DeprecationWarning, stacklevel=2
        )
        return getattr(contract, name)
    raise AttributeError(f"module 'opjury.operation' has no attribute {name!r}")
