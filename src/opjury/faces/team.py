"""Where failing cases are kept, as told on the command line; with one warning where a server cannot be used."""

from __future__ import annotations

import click

from opjury.verify.examples import local_folder, usable


def database_of(example_db: str | None) -> str:
    """The folder or server to use. Raises `click.UsageError` for what is neither."""
    try:
        database, problem = usable(example_db or local_folder())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if problem:
        click.echo(f"opjury: {problem}; failing cases are kept in {database} alone", err=True)
    return database


def warn_if_gone(database: str) -> None:
    """After a run: whether the server stayed."""
    folder, problem = usable(database)
    if problem:
        click.echo(f"opjury: {problem} any more; the failing cases since then are kept in {folder} alone", err=True)
