"""The command `opjury report`."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from opjury import disk
from opjury.cli import GOOD, NOTHING, USAGE
from opjury.faces import exports, terminal
from opjury.faces.report import summary
from opjury.faces.report.gather import Found, gather, told


def run(
    files: Sequence[Path],
    *,
    history: Path,
    output: Path,
    form: str,
    show: bool,
    table: str | None,
    sarif: str | None,
    junit: str | None,
) -> int:
    """Make the report; the exit status."""
    found = gather(files, history)
    for problem in told(found.problems):
        click.echo(f"opjury: left out: {problem}", err=True)
    if not any(m.now.standings or m.now.measurements for m in found.machines):
        where = ", ".join(map(str, files)) or str(history)
        click.echo(
            f"opjury: no records in {where}; `opjury audit --json F` and `opjury choose … --json F` write some, "
            "`opjury report F` shows them",
            err=True,
        )
        return NOTHING
    verdicts = [v for m in found.machines for v in m.now.verdicts]
    made: Callable[[], bytes]
    for file, made in (
        (table, lambda: exports.table(found)),
        (sarif, lambda: exports.sarif(verdicts)),
        (junit, lambda: exports.junit(verdicts)),
    ):
        if file:
            disk.write(file, made())
    if form == "html":
        return _site(found, output, show)
    if form == "md":
        _markdown(found)
    else:
        summary.show(found)
    return GOOD


def _site(found: Found, output: Path, show: bool) -> int:
    from opjury.faces.report import site

    try:
        with disk.writing(output):
            site.build(found, output)
    except site.NotOurs as error:
        click.echo(f"opjury: {error}", err=True)
        return USAGE
    start = output / "index.html"
    click.echo(f"{start}: {summary.headline(found.machines[0])}")
    if show:
        webbrowser.open(start.resolve().as_uri())
    return GOOD


def _markdown(found: Found) -> None:
    """To standard output; to the summary of a job, too, where there is one."""
    text = summary.markdown(found)
    click.echo(text)
    terminal.add_to_job_summary(text + "\n")
