"""The command `opjury merge`."""

from __future__ import annotations

from pathlib import Path

import click

from opjury.audit import Audit
from opjury.cli import exports
from opjury.cli.exit import BAD, NOTHING
from opjury.cli.options import ALL_VERDICTS, ALLOW_UNDECIDED, JUNIT, RECORDS_FILE, json_option
from opjury.cli.terminal import exit_status, show_audit
from opjury.model import files, records
from opjury.scale.merge import merge


@click.command("merge")
@click.argument("paths", nargs=-1, required=True, metavar="RECORDS.jsonl...", type=RECORDS_FILE)
@json_option("Write all records to one file (JSON Lines).")
@JUNIT
@ALLOW_UNDECIDED
@ALL_VERDICTS
@click.pass_context
def merge_command(
    context: click.Context,
    /,
    paths: tuple[Path, ...],
    *,
    json_file: str | None,
    junit_file: str | None,
    allow_undecided: bool,
    all_verdicts: bool,
) -> None:
    """Join the records of several runs into those of one audit.

    The table and the exit status are those of one audit of everything. The exit status is 1, too, if a shard or a part of it is
    missing, or if two runs contradict each other.
    """
    merged = merge(paths)
    for told in (*merged.notes, *merged.problems):
        click.echo(f"opjury: {told}", err=True)
    found = Audit(merged.verdicts)
    if merged.verdicts:
        show_audit(found, all_verdicts)
    if json_file:
        records.write(json_file, [*merged.others, *merged.verdicts])
    if junit_file:
        files.write_whole(junit_file, exports.junit(merged.verdicts))
    if not merged.verdicts:
        click.echo("opjury: these files hold no verdict", err=True)
        context.exit(NOTHING)
    context.exit(BAD if merged.problems else exit_status(found, allow_undecided=allow_undecided))
