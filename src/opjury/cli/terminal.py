"""Tables and counterexamples for the terminal; plain text when piped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from opjury.audit import Audit
from opjury.cli.exit import BAD, GOOD, NOTHING
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
    "skipped": "dim",
    "not declared": "dim",
}


def add_to_job_summary(text: str) -> None:
    """Append Markdown to the summary of a job, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(text)


def verdict_table(found: Sequence[Standing]) -> Table:
    """One row an implementation: how many cases were tried, how many checks hold, and the names of the others."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("implementation", no_wrap=True)
    table.add_column("cases", justify="right")
    table.add_column("holds", justify="right")
    table.add_column("other checks")
    operations, devices = {s.operation for s in found}, {s.device for s in found}
    for s in found:
        label = s.name if len(operations) > 1 else s.implementation
        label += f" {s.device}" if len(devices) > 1 else ""
        holds = list(s.verdicts.values()).count("holds")
        table.add_row(escape(label) + "†" * s.control, str(s.examples), str(holds), _others(s))
    return table


def _others(standing: Standing) -> Table:
    """The checks that do not hold, a row for each status: its mark and their names."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")
    for status in _marked([standing]):
        names = [check for check, found in standing.verdicts.items() if found == status]
        grid.add_row(STATUS_MARKS[status], ", ".join(in_declared_order(names)), style=STYLE[status])
    return grid


def _marked(found: Iterable[Standing]) -> list[Status]:
    """The statuses for which a mark stands in the table."""
    seen = {status for s in found for status in s.verdicts.values()} - {"holds"}
    return [status for status in STATUS_MARKS if status in seen]


def legend(found: Sequence[Standing]) -> str:
    """What the marks of the table mean, as far as they occur."""
    marks = [f"[{STYLE[status]}]{STATUS_MARKS[status]}[/] {status}" for status in _marked(found)]
    if any(s.control for s in found):
        marks.append("† known to be wrong, must be refuted")
    return "   ".join(marks)


def in_declared_order(checks: Iterable[str]) -> list[str]:
    """Checks in the order of their declaration; those that are not declared here at the end."""
    return sorted(checks, key=registry.place_of_check)


def show_control(verdicts: Sequence[Verdict]) -> None:
    """Why a negative control is wrong: one line for each check that fails for a reason of its own."""
    own = {v.check: v for v in sorted(verdicts, key=lambda v: len(v.message), reverse=True) if not v.cause}
    console.print(f"\n[bold red]✗[/] [bold]{escape(verdicts[0].name)}[/]†")
    for check in in_declared_order(own):
        message = " ".join(own[check].message.split())
        console.print(f"  [dim]{check:12}[/] " + escape(message if len(message) < 150 else message[:150] + " …"))


def show_error(verdict: Verdict) -> None:
    """Why a check could not be judged, and with which case."""
    console.print(f"\n[bold red]![/] [bold]{escape(verdict.name)}[/]  {verdict.check}  could not be judged")
    console.print("  " + escape(verdict.message))
    _show_case(verdict)


def _show_case(verdict: Verdict) -> None:
    if verdict.counterexample:
        from opjury.model.case import Case

        code = Case.from_json(verdict.counterexample).code()
        console.print("  [dim]case[/]      " + escape(code if len(code) < 600 else code[:600] + " …"))


class Refutations:
    """Shows what refutes implementations that should hold up, each check of an implementation once."""

    def __init__(self) -> None:
        self._shown: set[tuple[str, str]] = set()

    def show(self, verdict: Verdict) -> None:
        """Show a verdict if it is the first one that refutes the implementation in this check."""
        key = (verdict.name, verdict.check)
        if verdict.status == "refuted" and not verdict.control and key not in self._shown:
            self._shown.add(key)
            _show_refutation(verdict)


def _show_refutation(verdict: Verdict) -> None:
    """The message, the case, the two values and the path of the script, followed by an empty line."""
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


def exit_status(found: Audit, *, elsewhere: bool = False) -> int:
    """1 where something is not as declared, else 3 where nothing was judged, else 0. `elsewhere`: what applies is in other shards."""
    if found.judged:
        return GOOD if found.ok else BAD
    click.echo(f"opjury: nothing was executed{'; what applies is in other shards' * elsewhere}", err=True)
    return BAD if found.surprises() else GOOD if elsewhere else NOTHING


def show_audit(found: Audit, all_verdicts: bool) -> None:
    """Each refutation with its counterexample, then the table and the sums."""
    refutations = Refutations()
    for verdict in found.verdicts:
        refutations.show(verdict)
    show_sums(found, all_verdicts)


def show_sums(found: Audit, all_verdicts: bool) -> None:
    """The table, the negative controls, what could not be judged, and the sums."""
    judged = found.judged
    _show_table([v for v in found.verdicts if v.name in judged or not judged])
    if all_verdicts:
        _show_all(found.verdicts)
    _show_controls([v for v in found.refuted if v.control])
    _show_unneeded_waivers(found.verdicts)
    _show_unjudged(found)
    examples = sum(v.examples for v in found.verdicts)
    console.print(f"\n{Tally.of(standings(found.verdicts))}; {examples:,} examples were executed.")
    surprises = Audit(tuple(v for v in found.verdicts if v.control)).surprises()
    if surprises:
        console.print("Not as declared:\n" + "\n".join(f"  {line}" for line in surprises), markup=False)


def _show_table(verdicts: Sequence[Verdict]) -> None:
    found = standings(verdicts)
    console.print(verdict_table(found))
    if told := legend(found):
        console.print(told)


def _show_all(verdicts: Sequence[Verdict]) -> None:
    for v in verdicts:
        console.print(
            f"{v.status:12} {v.name} {v.check} ({', '.join(v.dtypes)}) {v.examples} examples {v.told}", markup=False
        )


def _show_controls(refuted: Sequence[Verdict]) -> None:
    for mine in by_implementation(refuted):
        for verdict in mine:
            _write_script(verdict)
        show_control(mine)


def _show_unneeded_waivers(verdicts: Sequence[Verdict]) -> None:
    needed = {(v.name, v.check) for v in verdicts if v.status == "waived"}
    unneeded = {(v.name, v.check): v.told for v in verdicts if v.status == "holds" and v.waiver}
    for (name, check), message in unneeded.items():
        if (name, check) not in needed:
            console.print(f"note: {name}: {check} is {message}", markup=False)


def _show_unjudged(found: Audit) -> None:
    """The checks that could not be judged, and the implementations of which nothing is known."""
    errors = {(v.name, v.check): v for v in found.verdicts if v.status == "error"}
    for v in errors.values():
        show_error(v)
    judged = found.judged
    unjudged = {v.name: v.message for v in found.verdicts if v.name not in judged and (v.name, v.check) not in errors}
    for name, why in unjudged.items():
        console.print(f"not judged {name}: {why}", markup=False)


def _write_script(verdict: Verdict) -> str:
    if not verdict.script:
        return ""
    path = COUNTEREXAMPLES / f"{verdict.operation}-{verdict.implementation}-{verdict.check}.py"
    try:
        files.write_whole(path, verdict.script.encode())
    except files.Unwritable as error:
        click.echo(f"opjury: {error}", err=True)
        return ""
    return str(path)
