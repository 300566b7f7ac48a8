"""How numbers, arrays, errors and their differences are written in messages."""

from __future__ import annotations

from typing import Any

import numpy as np


def differs(what: str, at: tuple[int, ...], observed: Any, exact: Any, bound: Any) -> str:
    """`result[0, 3] is 2; it should be 1, within 1e-07`"""
    place = f"{what}[{', '.join(map(str, at))}]" if at else what
    allowed = f"within {float(bound):.3g}" if bound and np.isfinite(exact) else "exactly"
    return f"{place} is {number(observed)}; it should be {number(exact)}, {allowed}"


def describe(error: BaseException) -> str:
    """`ValueError: the first line of its message`."""
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__


def number(value: Any) -> str:
    """A number in print, with all digits that distinguish it from its neighbours."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, complex):
        return f"{number(value.real)}{'+' if np.copysign(1, value.imag) > 0 else '-'}{number(abs(value.imag))}j"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 and repr(value) != "-0.0":
        value = int(value)
    return repr(value)


def show(values: np.ndarray, digits: int = 8) -> str:
    """An array in print, abbreviated where it is long."""
    array = np.asarray(values)
    return np.array2string(array, threshold=40, edgeitems=3, max_line_width=100, separator=", ", precision=digits)


def show_both(observed: np.ndarray, expected: np.ndarray, at: tuple[int, ...]) -> tuple[str, str]:
    """Two arrays in print, with enough digits to show that they differ at one place, or that place alone where abbreviation hides it."""
    for digits in (8, 17):
        both = show(observed, digits), show(expected, digits)
        if both[0] != both[1]:
            return both
    return f"{list(at)}: {number(observed[at])}", f"{list(at)}: {number(expected[at])}"
