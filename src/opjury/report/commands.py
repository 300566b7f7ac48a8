"""The command `opjury report`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from opjury.cli import exports
from opjury.cli.exit import GOOD, NOTHING, USAGE
from opjury.cli.options import JUNIT, RECORDS_FILE, OutputFile
from opjury.cli.terminal import add_to_job_summary
from opjury.model import files
from opjury.model.modules import require_extra
from opjury.report import summary
from opjury.report.gather import Found, gather, told
from opjury.report.table import csv_table

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command("report")
@click.argument("paths", nargs=-1, metavar="[RECORDS.jsonl]...", type=RECORDS_FILE)
@click.option("--history", type=_FOLDER, default=Path("reports", "history"), show_default=True)
@click.option("--output", type=_FOLDER, default=Path("reports", "site"), show_default=True)
@click.option("--open", "show", is_flag=True, help="Show the site in a browser.")
@click.option("--format", "form", type=click.Choice(["html", "md", "terminal"]), default="html", show_default=True)
@click.option("--table", "table_file", type=OutputFile(), help="Write measurements and verdicts as CSV.")
@click.option("--sarif", "sarif_file", type=OutputFile(), help="Write refuted checks as SARIF, for code scanning.")
@JUNIT
@click.pass_context
def report_command(
    context: click.Context,
    /,
    paths: tuple[Path, ...],
    *,
    history: Path,
    output: Path,
    form: str,
    show: bool,
    table_file: str | None,
    sarif_file: str | None,
    junit_file: str | None,
) -> None:
    """Write a site from records and the history, or print a summary.

    RECORDS are files that other commands wrote with `--json`. They say how things are now; without any, the latest night of the history does.
    `--format md` and `--format terminal` print a summary. A summary in Markdown is also appended to $GITHUB_STEP_SUMMARY, where that is set.
    """
    found = gather(paths, history)
    if not _has_records(found, ", ".join(map(str, paths)) or str(history)):
        context.exit(NOTHING)
    verdicts = [v for m in found.machines for v in m.now.verdicts]
    if table_file:
        files.write_whole(table_file, csv_table(found))
    if sarif_file:
        files.write_whole(sarif_file, exports.sarif(verdicts))
    if junit_file:
        files.write_whole(junit_file, exports.junit(verdicts))
    if form == "html":
        context.exit(_site(found, output, show))
    if form == "md":
        text = summary.summary_markdown(found)
        click.echo(text)
        add_to_job_summary(text + "\n")
    else:
        summary.show_summary(found)


def publish(history: Path, output: Path) -> int:
    """Write the site of a history alone, and return the exit status."""
    found = gather([], history)
    return _site(found, output, False) if _has_records(found, str(history)) else NOTHING


def _has_records(found: Found, where: str) -> bool:
    """Whether there is anything to show. What could not be read is printed."""
    for problem in told(found.problems):
        click.echo(f"opjury: left out: {problem}", err=True)
    if any(m.now.standings or m.now.measurements for m in found.machines):
        return True
    click.echo(
        f"opjury: no records in {where}; write some with `opjury audit --json F` or `opjury choose … --json F`, "
        "then show them with `opjury report F`",
        err=True,
    )
    return False


def _site(found: Found, output: Path, show: bool) -> int:
    require_extra("report", "opjury report")
    from opjury.report import site

    try:
        with files.writing(output):
            site.build(found, output)
    except site.NotOurs as error:
        click.echo(f"opjury: {error}", err=True)
        return USAGE
    start = output / "index.html"
    click.echo(f"{start}: {summary.headline(found.machines[0])}")
    if show:
        webbrowser.open(start.resolve().as_uri())
    return GOOD
