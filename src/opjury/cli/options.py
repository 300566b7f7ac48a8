"""Types of options, and options that several commands share."""

from __future__ import annotations

import functools
import os
import re
import reprlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from click.core import ParameterSource

from opjury.model import registry
from opjury.run.ship import imported

_NUMBER = r"((?:\d+\.?\d*|\.\d+)(?:e\d+)?)"
_SIZE = re.compile(_NUMBER + r" *([kmgt]?)(i?)b?", re.IGNORECASE)
_DURATION = re.compile(_NUMBER + r" *([smh]?)")
_SHARD = re.compile(r"(\d+)/(\d+)")


def module_at(place: str) -> ModuleType:
    """The module at `path/to/file.py`, or of the name `package.module` (raises `click.UsageError` if it cannot be imported)."""
    if place.endswith(".py") and not Path(place).is_file():
        raise click.UsageError(f"there is no file {place}")
    try:
        return imported(place)
    except BaseException as error:
        raise click.UsageError(f"{place} cannot be imported: {type(error).__name__}: {error}") from None


def function_at(target: str) -> Callable[..., Any]:
    """The function at `path/to/file.py:function` or `package.module:function` (raises `click.UsageError` if there is none)."""
    place, _, name = target.rpartition(":")
    if not place:
        raise click.UsageError(f"{target} is not of the form FILE.py:FUNCTION or MODULE:FUNCTION")
    module = module_at(place)
    if not hasattr(module, name):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise click.UsageError(registry.unknown(f"function of {place}", name, known))
    function = getattr(module, name)
    if not callable(function):
        raise click.UsageError(f"{target} is {reprlib.repr(function)}, which is not callable")
    return function


def size_in_bytes(text: str) -> float:
    """Bytes from a number with an optional unit: 4096, 64MiB, 1.5 GB."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is not a size in bytes; write it like 64MiB or 1.5GB")
    number, prefix, binary = found.groups()
    return float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")


def duration(text: str) -> float:
    """Seconds from a number with an optional unit: 90s, 50m, 2h."""
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is not a duration; write it like 90s, 50m or 2h")
    number, unit = found.groups()
    return float(number) * {"": 1, "s": 1, "m": 60, "h": 3600}[unit]


def shard_of(text: str) -> tuple[int, int]:
    """The number of a shard, from 1, and how many shards there are: 3/8."""
    found = _SHARD.fullmatch(text.strip())
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        raise click.BadParameter(f"{text!r} is not a shard; the third of eight is 3/8, the last 8/8")
    return number, of


def names(text: str) -> tuple[str, ...]:
    """Names between commas: `specials,error`."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def waiver(text: str) -> tuple[str, str]:
    """A check and the reason why it is waived: `specials=prefix sums`."""
    check, _, reason = map(str.strip, text.partition("="))
    if not reason:
        raise click.BadParameter(f"{text!r} gives no reason; write it like specials='a NaN spreads'")
    return check, reason


class OutputFile(click.Path):
    """A file to write, in a folder that exists."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path. A missing folder is an error before anything runs."""
        folder = os.path.dirname(value)
        if folder and not os.path.isdir(folder):
            self.fail(f"there is no folder {folder!r}", param, ctx)
        return super().convert(value, param, ctx)


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def combined(*declared: Decorator) -> Decorator:
    """Several options as one decorator."""
    return lambda command: functools.reduce(lambda inner, option: option(inner), reversed(declared), command)


DEVICE = click.option(
    "--device", default="cpu", show_default=True, metavar="cpu|cuda|cuda:N", help="The device of all tensors."
)
JOBS = click.option(
    "--jobs", type=click.IntRange(1), help="Worker processes of the audit; by default one for each core."
)
GRADIENT = click.option("--gradient", is_flag=True, help="Measure forward and backward together.")
JUNIT = click.option("--junit", "junit_file", type=OutputFile(), help="Write the verdicts as JUnit XML.")
ALLOW_UNDECIDED = click.option(
    "--allow-undecided", is_flag=True, help="Exit with 0, not 3, where calls take too long for a verdict."
)
ALL_VERDICTS = click.option("--all-verdicts", is_flag=True, help="Also show each verdict on a line of its own.")
CLUSTER = combined(
    click.option(
        "--cluster",
        default="",
        metavar="tcp://HOST:PORT",
        help="Run on the workers of this dask scheduler (extra `cluster`).",
    ),
    click.option(
        "--mixed",
        is_flag=True,
        help="With --cluster: accept workers with other versions of opjury, Python, torch, NumPy or SciPy.",
    ),
)
EXAMPLE_DB = click.option(
    "--example-db",
    metavar="FOLDER|redis://HOST:PORT/NUMBER",
    help="Where failing cases are kept, to be tried first in the next audit. A redis server (extra `team`) shares them between machines.",
)
RECORDS_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def json_option(help: str) -> Decorator:
    """The option `--json`."""
    return click.option("--json", "json_file", type=OutputFile(), help=help)


def seconds_option(default: float, help: str, *, least: float = 0.1) -> Decorator:
    """The option `--seconds`: the time for measuring."""
    return click.option("--seconds", type=click.FloatRange(least), default=default, show_default=True, help=help)


def refuse_others(context: click.Context, option: str, *honoured: str) -> None:
    """Raise `click.UsageError` for parameters that were given and that `option` would ignore."""
    names = [
        p.opts[0] if isinstance(p, click.Option) else "an operation"
        for p in context.command.params
        if p.name not in honoured
        and context.params[p.name or ""]
        and context.get_parameter_source(p.name or "") is ParameterSource.COMMANDLINE
    ]
    if names:
        raise click.UsageError(f"{option} does not go with {', '.join(dict.fromkeys(names))}")


def database_of(example_db: str | None) -> str:
    """The folder or server to use (raises `click.UsageError` for anything else)."""
    from opjury.judge.database import local_folder, usable

    try:
        database, problem = usable(example_db or local_folder())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if problem:
        click.echo(f"opjury: {problem}; failing cases are kept in {database} alone", err=True)
    return database


def warn_if_gone(database: str) -> None:
    """Print a warning if the server stopped answering during the run."""
    from opjury.judge.database import usable

    folder, problem = usable(database)
    if problem:
        click.echo(f"opjury: {problem} any more; failing cases since then are kept in {folder} alone", err=True)
