"""Tables and counterexamples for the terminal, in plain text when piped."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from opjury.audit import Audit
from opjury.cli.exit import BAD, GOOD, NOTHING
from opjury.cli.text import shortened
from opjury.cli.verdicts import STATUS_MARKS, Tally
from opjury.model import files, registry
from opjury.model.outcome import by_implementation, standings
from opjury.model.records import Standing, Status, Verdict

console = Console(highlight=False)
COUNTEREXAMPLES = Path(".opjury") / "counterexamples"

STYLE = {
    "holds": "green",
    "refuted": "bold red",
    "waived": "yellow",
    "error": "bold red",
    "undecided": "yellow",
    "skipped": "dim",
    "not declared": "dim",
}


def add_to_job_summary(text: str) -> None:
    """Append Markdown to the summary of a GitHub job, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(text)


def plain_table(*columns: Column | str, gap: int = 2, **options: Any) -> Table:
    """A table without lines, with `gap` spaces between the columns."""
    return Table(*columns, box=None, padding=(0, gap, 0, 0), show_edge=False, **options)


def numeric(header: str) -> Column:
    """A column of numbers, which never wrap."""
    return Column(header, justify="right", no_wrap=True)


def progress_bar(before: str, after: str = "") -> Progress:
    """A progress bar between two texts, shown on a terminal only."""
    columns = (TextColumn(before), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn(after))
    return Progress(*columns, console=console, transient=True, disable=not sys.stdout.isatty())


def verdict_table(found: Sequence[Standing]) -> Table:
    """A row for each implementation: the cases tried, how many checks hold, and the names of the others."""
    name = Column("implementation", no_wrap=True)
    table = plain_table(name, numeric("cases"), numeric("holds"), "other checks", gap=1)
    operations, devices = {s.operation for s in found}, {s.device for s in found}
    for s in found:
        label = s.name if len(operations) > 1 else s.implementation
        label += f" {s.device}" if len(devices) > 1 else ""
        holds = list(s.verdicts.values()).count("holds")
        others = Table.grid(Column(), Column(overflow="fold"), padding=(0, 1, 0, 0))
        for status in _marked([s]):
            checks = in_declared_order(check for check, found in s.verdicts.items() if found == status)
            others.add_row(STATUS_MARKS[status], ", ".join(checks), style=STYLE[status])
        table.add_row(escape(label) + "†" * s.control, str(s.examples), str(holds), others)
    return table


def _marked(found: Iterable[Standing]) -> list[Status]:
    """The statuses that the table marks, in the order of their marks."""
    seen = {status for s in found for status in s.verdicts.values()} - {"holds"}
    return [status for status in STATUS_MARKS if status in seen]


def in_declared_order(checks: Iterable[str]) -> list[str]:
    """Checks in the order of their declaration, with those that are not declared here last."""
    return sorted(checks, key=registry.place_of_check)


def _show_case(verdict: Verdict) -> None:
    if verdict.counterexample:
        from opjury.model.case import Case

        code = Case.from_json(verdict.counterexample).code()
        console.print("  [dim]case[/]      " + escape(shortened(code, 600)))


class Refutations:
    """Shows refutations of implementations that should hold up, one for each check of an implementation."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, str]] = set()

    def show(self, verdict: Verdict) -> None:
        """Show a verdict, unless it follows from another one, which may be found later."""
        if not verdict.cause:
            self._show(verdict)

    def show_all(self, found: Audit) -> None:
        """Show all that were not shown yet."""
        for verdict in found.verdicts:
            self._show(verdict)

    def _show(self, verdict: Verdict) -> None:
        """Show a verdict if it is the first that refutes the implementation in this check.

        The message, the case, both values and the path of the script are followed by an empty line.
        """
        key = (verdict.name, verdict.check)
        if verdict.status != "refuted" or verdict.control or key in self._shown:
            return
        self._shown.add(key)
        script = _write_script(verdict)
        dtypes = ", ".join(verdict.dtypes)
        console.print(f"[bold red]✗[/] [bold]{escape(verdict.name)}[/]  {verdict.check}  [dim]({dtypes})[/]")
        if verdict.cause:
            console.print(f"  [dim]follows from {verdict.cause}:[/] " + escape(verdict.message) + "\n")
            return
        console.print("  " + escape(verdict.message))
        _show_case(verdict)
        for label, value in (("observed", verdict.observed), ("expected", verdict.expected)):
            if value:
                console.print(f"  [dim]{label}[/]  " + escape(value.replace("\n", "\n            ")))
        if script:
            console.print(f"  [dim]replay[/]    python {escape(script)}", soft_wrap=True)
        console.print()


def exit_status(found: Audit, *, elsewhere: bool = False, allow_undecided: bool = False) -> int:
    """1 if something is not as declared, else 3 if nothing was judged or a check is undecided, else 0.

    With `allow_undecided`, or if all tasks that apply are `elsewhere`, 3 becomes 0.
    """
    if found.surprises():
        return BAD
    if found.judged or found.undecided:
        return NOTHING if found.undecided and not allow_undecided else GOOD
    why = "" if found.verdicts else "; no check that was asked for applies to these dtypes"
    if elsewhere:
        why = "; all tasks that apply are in other shards"
    click.echo(f"opjury: nothing was executed{why}", err=True)
    return GOOD if elsewhere else NOTHING


def show_audit(found: Audit, all_verdicts: bool) -> None:
    """Each refutation with its counterexample, then the table and the sums."""
    Refutations().show_all(found)
    show_sums(found, all_verdicts)


def show_sums(found: Audit, all_verdicts: bool) -> None:
    """The table, the negative controls, the checks that could not be judged, and the sums."""
    judged = found.judged
    _show_table(standings(v for v in found.verdicts if v.name in judged or not judged))
    if all_verdicts:
        for v in found.verdicts:
            where = f"{v.status:12} {v.name} {v.check} ({', '.join(v.dtypes)})"
            console.print(f"{where} {v.examples} examples {v.told}", markup=False)
    for mine in by_implementation(v for v in found.refuted if v.control):
        _show_control(mine)
    _show_unneeded_waivers(found.verdicts)
    _show_unjudged(found)
    examples = sum(v.examples for v in found.verdicts)
    console.print(f"\n{Tally.of(standings(found.verdicts))}; {examples:,} examples were executed.")
    surprises = Audit(tuple(v for v in found.verdicts if v.control)).surprises()
    if surprises:
        console.print("Not as declared:\n" + "\n".join(f"  {line}" for line in surprises), markup=False)


def _show_table(found: Sequence[Standing]) -> None:
    """The table and, below it, the meaning of the marks in it."""
    if found:
        console.print(verdict_table(found))
    marks = [f"[{STYLE[status]}]{STATUS_MARKS[status]}[/] {status}" for status in _marked(found)]
    if any(s.control for s in found):
        marks.append("† known to be wrong, must be refuted")
    if marks:
        console.print("   ".join(marks))


def _show_control(verdicts: Sequence[Verdict]) -> None:
    """Why a negative control is wrong: a line for each check that does not fail because of another check."""
    for verdict in verdicts:
        _write_script(verdict)
    own = {v.check: v for v in sorted(verdicts, key=lambda v: len(v.message), reverse=True) if not v.cause}
    console.print(f"\n[bold red]✗[/] [bold]{escape(verdicts[0].name)}[/]†")
    for check in in_declared_order(own):
        message = " ".join(own[check].message.split())
        console.print(f"  [dim]{check:12}[/] " + escape(shortened(message, 150)))


def _show_unneeded_waivers(verdicts: Sequence[Verdict]) -> None:
    needed = {(v.name, v.check) for v in verdicts if v.status == "waived"}
    unneeded = {(v.name, v.check): v.told for v in verdicts if v.status == "holds" and v.waiver}
    for (name, check), message in unneeded.items():
        if (name, check) not in needed:
            console.print(f"note: {name}: {check} is {message}", markup=False)


def _show_unjudged(found: Audit) -> None:
    """The checks that could not be judged, and the implementations without any judged check."""
    errors = {(v.name, v.check): v for v in found.verdicts if v.status == "error"}
    for v in errors.values():
        console.print(f"\n[bold red]![/] [bold]{escape(v.name)}[/]  {v.check}  could not be judged")
        console.print("  " + escape(v.message))
        _show_case(v)
    for mine in by_implementation(found.undecided):
        checks = ", ".join(in_declared_order({v.check for v in mine}))
        console.print(f"\n[{STYLE['undecided']}]?[/] [bold]{escape(mine[0].name)}[/]  {checks}  undecided")
        console.print("  " + escape(mine[0].message))
    judged = found.judged | {v.name for v in (*errors.values(), *found.undecided)}
    unjudged = {v.name: v.message for v in found.verdicts if v.name not in judged}
    for name, why in unjudged.items():
        console.print(f"not judged {name}: {why}", markup=False)


def _write_script(verdict: Verdict) -> str:
    """The path of the replay script, or "" if there is none or it cannot be written."""
    if not verdict.script:
        return ""
    path = COUNTEREXAMPLES / f"{verdict.operation}-{verdict.implementation}-{verdict.check}.py"
    try:
        files.write_whole(path, verdict.script.encode())
    except files.Unwritable as error:
        click.echo(f"opjury: {error}", err=True)
        return ""
    return str(path)
