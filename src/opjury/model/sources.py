"""The source files of functions, and digests of them, which tell whether code has changed."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]


def files_of(function: Callable[..., Any]) -> list[Path]:
    """The file of a registered function, if it has one, and the private modules beside and above it."""
    try:
        source = Path(inspect.getsourcefile(inspect.unwrap(function)) or os.devnull)
    except TypeError:  # built in
        return []
    if not source.is_file():
        return []
    return [source, *source.parent.glob("_*.py"), *source.parent.parent.glob("_*.py")]


def family_of(function: Callable[..., Any]) -> list[Path]:
    """The files of a function and the public modules beside it, because these may use one another."""
    files = files_of(function)
    return [*files, *files[0].parent.glob("*.py")] if files else []


def judging() -> list[Path]:
    """The files of opjury that every verdict depends on."""
    return [file for part in ("model", "run", "judge") for file in (PACKAGE / part).rglob("*.py")]


def digest(files: Iterable[Path], *words: str) -> str:
    """A digest of the contents of files, in any order, and of words."""
    found = hashlib.sha256(repr(words).encode())
    for file in sorted(set(files)):
        found.update(file.read_bytes())
    return found.hexdigest()[:16]
