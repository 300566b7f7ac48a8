"""The command `opjury merge`: the records of several runs shown, judged and written as those of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from opjury import disk, records
from opjury.cli import BAD, NOTHING
from opjury.faces import auditing, exports
from opjury.uses.audit import Audit
from opjury.uses.merge import merge


def run(files: Sequence[Path], *, json_file: str | None, junit_file: str | None, all_verdicts: bool) -> int:
    """Show the records of files as one audit; the exit status."""
    merged = merge(files)
    for note in merged.notes:
        click.echo(f"opjury: {note}", err=True)
    for problem in merged.problems:
        click.echo(f"opjury: {problem}", err=True)
    found = Audit(merged.verdicts)
    if merged.verdicts:
        auditing.show(found, all_verdicts)
    if json_file:
        records.write(json_file, [*merged.others, *merged.verdicts])
    if junit_file:
        disk.write(junit_file, exports.junit(merged.verdicts))
    if not merged.verdicts:
        click.echo("opjury: there is no verdict in these files", err=True)
        return NOTHING
    if merged.problems:
        return BAD
    return auditing.exit_status(found)
