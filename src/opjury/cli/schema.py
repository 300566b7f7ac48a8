"""The command `opjury schema`."""

from __future__ import annotations

import json

import click

from opjury.model import records


@click.command("schema")
def schema_command() -> None:
    """Print the JSON schema of the records."""
    click.echo(json.dumps(records.schema(), indent=2))
