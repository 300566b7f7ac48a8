"""Names of dtypes, and the groups that are judged together."""

from __future__ import annotations

HALF = ("float16", "bfloat16")
REAL = ("float32", "float64")
FLOATING = HALF + REAL
COMPLEX = ("complex64", "complex128")
INTEGER = ("uint8", "int8", "int16", "int32", "int64", "bool")
DTYPES = FLOATING + COMPLEX + INTEGER


def group_dtypes(dtypes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Partition dtype names into float32, float64, half, complex, integer."""
    labels = dict.fromkeys(HALF, "half") | dict.fromkeys(COMPLEX, "complex") | dict.fromkeys(INTEGER, "integer")
    groups: dict[str, tuple[str, ...]] = {}
    for dtype in dtypes:
        label = labels.get(dtype, dtype)
        groups[label] = (*groups.get(label, ()), dtype)
    return groups


def is_floating(dtype: str) -> bool:
    """Whether the dtype is floating or complex, so that gradients exist."""
    return dtype.startswith(("float", "bfloat", "complex"))
