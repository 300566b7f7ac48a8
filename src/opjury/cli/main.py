"""The command `opjury`."""

from __future__ import annotations

import sys

import click

from opjury.cli.exit import USAGE
from opjury.cli.group import LazyGroup
from opjury.cli.later import import_later
from opjury.model.files import Unwritable
from opjury.model.modules import MissingExtra
from opjury.model.records import NoRecord
from opjury.model.registry import Impossible, UnknownName

COMMANDS = {
    "list": "opjury.cli.list",
    "audit": "opjury.cli.audit",
    "merge": "opjury.scale.commands",
    "choose": "opjury.cli.choose",
    "track": "opjury.track.commands",
    "report": "opjury.report.commands",
    "replay": "opjury.cli.replay",
    "schema": "opjury.cli.schema",
}


@click.group(cls=LazyGroup, modules=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opjury")
def main() -> None:
    """Put competing implementations of a tensor operation on trial.

    Exit status: 0 good, 1 something refuted or a regression, 2 usage, 3 nothing ran.
    """


def run() -> None:
    """The entry point: what the world is at fault for becomes one line, never a traceback."""
    import_later("numpy", "scipy", "torch")
    try:
        sys.exit(main(standalone_mode=False))
    except (UnknownName, Impossible, MissingExtra, NoRecord, Unwritable) as error:
        click.echo(f"opjury: {error}", err=True)
        sys.exit(USAGE)
    except click.exceptions.Exit as status:
        sys.exit(status.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("opjury: interrupted", err=True)
        sys.exit(130)
