"""Kinds of options, and the options that several commands have."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from opjury.run.ship import imported

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


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def combined(*declared: Decorator) -> Decorator:
    """Several options as one decorator."""
    return lambda command: functools.reduce(lambda inner, option: option(inner), reversed(declared), command)


DEVICE = click.option(
    "--device", default="cpu", show_default=True, metavar="cpu|cuda|cuda:N", help="The device of all tensors."
)
JOBS = click.option(
    "--jobs", type=click.IntRange(1), help="Worker processes of an audit; by default one for each core."
)
JUNIT = click.option("--junit", "junit_file", type=OutputFile(), help="Write JUnit XML.")
ALL_VERDICTS = click.option(
    "--all-verdicts", is_flag=True, help="Show every verdict, not one line for each implementation."
)
CLUSTER = combined(
    click.option("--cluster", default="", metavar="tcp://HOST:PORT", help="Run on the workers of this dask scheduler."),
    click.option(
        "--mixed", is_flag=True, help="Accept workers with other versions of opjury, Python, torch, NumPy or SciPy."
    ),
)
EXAMPLE_DB = click.option(
    "--example-db",
    metavar="FOLDER|redis://HOST:PORT/NUMBER",
    help="Where failing cases are kept to be tried first; a server shares them between machines (extra `team`).",
)
RECORDS_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def json_option(help: str) -> Decorator:
    """The option `--json`."""
    return click.option("--json", "json_file", type=OutputFile(), help=help)


def refuse_others(context: click.Context, option: str, *honoured: str) -> None:
    """Raise `click.UsageError` for what was given and `option` would ignore."""
    given = [
        p
        for p in context.command.params
        if p.name not in honoured and context.get_parameter_source(p.name or "") is ParameterSource.COMMANDLINE
    ]
    names = [
        p.opts[0] if isinstance(p, click.Option) else "an operation" for p in given if context.params[p.name or ""]
    ]
    if names:
        raise click.UsageError(f"{option} does not go with {', '.join(dict.fromkeys(names))}")


def database_of(example_db: str | None) -> str:
    """The folder or server to use. Raises `click.UsageError` for what is neither."""
    from opjury.judge.database import local_folder, usable

    try:
        database, problem = usable(example_db or local_folder())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if problem:
        click.echo(f"opjury: {problem}; failing cases are kept in {database} alone", err=True)
    return database


def warn_if_gone(database: str) -> None:
    """After a run: whether the server stayed."""
    from opjury.judge.database import usable

    folder, problem = usable(database)
    if problem:
        click.echo(f"opjury: {problem} any more; the failing cases since then are kept in {folder} alone", err=True)
