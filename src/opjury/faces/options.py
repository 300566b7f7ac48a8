"""Kinds of options: sizes in bytes and spans of time, with units; files; functions in files."""

from __future__ import annotations

import os
import re
from typing import Any

import click

from opjury.shipping import imported

_BYTES = re.compile(r"([\d.]+(?:e\d+)?) *([kmgt]?)(i?)b?", re.IGNORECASE)
_SHARD = re.compile(r"(\d+)/(\d+)")
_SPAN = re.compile(r"([\d.]+) *([smh]?)")


def function_at(target: str) -> Any:
    """The function at `path/to/file.py:function` or `package.module:function`; `click.UsageError` where there is none."""
    place, _, name = target.rpartition(":")
    if not place:
        raise click.UsageError(f"{target} is no FILE.py:FUNCTION or MODULE:FUNCTION")
    try:
        return getattr(imported(place), name)
    except BaseException as error:
        raise click.UsageError(f"{target} cannot be imported: {type(error).__name__}: {error}") from None


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes, with a unit or without: 4096, 64MiB, 1.5 GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In bytes."""
        found = _BYTES.fullmatch(str(value).strip())
        try:
            number, prefix, binary = found.groups()  # type: ignore[union-attr]
            return float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
        except (AttributeError, ValueError):
            self.fail(f"{value!r} is no size in bytes; write it like 64MiB or 1.5GB", param, ctx)


class ShardOf(click.ParamType):  # type: ignore[type-arg]
    """One part of several: 3/8."""

    name = "shard"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Its number, from 1, and how many there are."""
        found = _SHARD.fullmatch(str(value).strip())
        number, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= of:
            self.fail(f"{value!r} is no shard; the third of eight is 3/8, the last 8/8", param, ctx)
        return number, of


class Reason(click.ParamType):  # type: ignore[type-arg]
    """A check and why it is waived: `specials=prefix sums`."""

    name = "reason"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The two."""
        check, _, reason = value if isinstance(value, tuple) else str(value).partition("=")
        if not reason.strip():
            self.fail(f"{value!r} names no reason; write it like specials='a NaN spreads'", param, ctx)
        return check.strip(), reason.strip()


class OutputFile(click.Path):
    """A file to be written, in a folder that exists."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a folder that does not exist is an error before anything is run."""
        folder = os.path.dirname(value)
        if folder and not os.path.isdir(folder):
            self.fail(f"there is no folder {folder!r}", param, ctx)
        return super().convert(value, param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A span of time: 90s, 50m, 2h; seconds without a unit."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In seconds."""
        found = _SPAN.fullmatch(str(value).strip())
        try:
            number, unit = found.groups()  # type: ignore[union-attr]
            return float(number) * {"": 1, "s": 1, "m": 60, "h": 3600}[unit]
        except (AttributeError, ValueError):
            self.fail(f"{value!r} is no span of time; write it like 90s, 50m or 2h", param, ctx)
