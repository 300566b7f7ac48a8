"""Numbers and texts as they are shown."""

from __future__ import annotations


def seconds(value: float) -> str:
    """`12.3 µs`"""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{times(value / size)} {unit}"
    return f"{times(value / 1e-9)} ns"


def memory(value: int | None) -> str:
    """`1.5 MiB`"""
    if value is None:
        return ""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if value >= size:
            return f"{times(value / size)} {unit}"
    return f"{times(value / 2**10)} KiB"


def times(value: float) -> str:
    """`1.25`, `23.4`, `1,250`"""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def counted(count: int, what: str) -> str:
    """`1 night`, `2 nights`, `no nights`"""
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def shortened(text: str, length: int) -> str:
    """The text, cut after `length` characters."""
    return text if len(text) < length else text[:length] + " …"
