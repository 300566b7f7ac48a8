"""The names of dtypes, and the groups that are judged together."""

from __future__ import annotations

HALF = ("float16", "bfloat16")
REAL = ("float32", "float64")
FLOATING = HALF + REAL
COMPLEX = ("complex64", "complex128")
INTEGER = ("uint8", "int8", "int16", "int32", "int64", "bool")
DTYPES = FLOATING + COMPLEX + INTEGER


def group_dtypes(dtypes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Partition dtype names into float32, float64, half, complex, integer."""
    groups: dict[str, list[str]] = {}
    for dtype in dtypes:
        label = dtype
        for name, members in (("half", HALF), ("complex", COMPLEX), ("integer", INTEGER)):
            if dtype in members:
                label = name
        groups.setdefault(label, []).append(dtype)
    return {label: tuple(members) for label, members in groups.items()}


def is_floating(dtype: str) -> bool:
    """Whether the dtype is floating or complex, that is: whether gradients exist."""
    return dtype.startswith(("float", "bfloat", "complex"))
