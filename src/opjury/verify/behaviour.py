"""What an example showed, coarse enough that examples can be alike: what went in, and how far off it came out."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

from opjury.case import Case


def behaviour(case: Case, error: float) -> Hashable:
    """Equal for cases alike in dtype, tier, layouts and powers of two of the sizes, with errors alike to a power of two."""
    far = math.frexp(error)[1] if error else None
    return (case.tier, case.dtype, far, *(_coarse(leaf) for _, leaf in case.leaves()))


def _coarse(leaf: Any) -> Hashable:
    if isinstance(leaf, bool):
        return leaf
    if isinstance(leaf, int):
        return (leaf < 0, leaf.bit_length())
    if isinstance(leaf, tuple):
        return tuple(map(_coarse, leaf))
    if hasattr(leaf, "shape"):
        sizes = tuple(int(size).bit_length() for size in leaf.shape)
        return (sizes, getattr(leaf, "dtype", ""), getattr(leaf, "layout", ""))
    return str(leaf) if isinstance(leaf, str) else type(leaf).__name__
