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
from opjury.model.outcome import standings, worst
from opjury.model.records import Verdict

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


def matrix(verdicts: Sequence[Verdict]) -> Table:
    """One row an implementation, one column a check; the worst verdict of its dtypes stands in the cell."""
    present = in_declared_order({v.check for v in verdicts})
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("implementation", no_wrap=True)
    for check in present:
        table.add_column(_short(check), justify="center")
    table.add_column("cases", justify="right")
    rows: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts:
        rows.setdefault((verdict.operation, verdict.implementation), []).append(verdict)
    several = len({operation for operation, _ in rows}) > 1
    for (operation, name), found in rows.items():
        cells = []
        for check in present:
            statuses = [v.status for v in found if v.check == check]
            status = worst(statuses) if statuses else None
            cells.append(f"[{STYLE[status]}]{STATUS_MARKS[status]}[/]" if status else "")
        label = f"{operation}:{name}" if several else name
        table.add_row(escape(label) + ("†" if found[0].control else ""), *cells, str(sum(v.examples for v in found)))
    return table


def in_declared_order(checks: Iterable[str]) -> list[str]:
    """Checks in the order of their declaration; those that are not declared here at the end."""
    return sorted(checks, key=registry.place_of_check)


def _short(check: str) -> str:
    known = registry.checks()
    return known[check].short if check in known else check


def legend(verdicts: Sequence[Verdict]) -> str:
    """What the marks and the columns of the matrix mean, as far as they occur."""
    seen = {v.status for v in verdicts}
    marks = [f"[{STYLE[s]}]{STATUS_MARKS[s]}[/] {s}" for s in STATUS_MARKS if s in seen]
    if any(v.control for v in verdicts):
        marks.append("† known to be wrong, must be refuted")
    columns = [f"{_short(check)} {check}" for check in in_declared_order({v.check for v in verdicts})]
    return "   ".join(marks) + "\n[dim]" + " · ".join(columns) + "[/]"


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


def show_refutation(verdicts: Sequence[Verdict], script: str = "") -> None:
    """One check's refutation of one implementation: the message, the two values, and where the script is."""
    verdict = verdicts[0]
    dtypes = ", ".join(dict.fromkeys(d for v in verdicts for d in v.dtypes))
    console.print(f"\n[bold red]✗[/] [bold]{escape(verdict.name)}[/]  {verdict.check}  [dim]({dtypes})[/]")
    if verdict.cause:
        console.print(f"  [dim]follows from {verdict.cause}:[/] " + escape(verdict.message))
        return
    console.print("  " + escape(verdict.message))
    _show_case(verdict)
    for label, value in (("observed", verdict.observed), ("expected", verdict.expected)):
        if value:
            console.print(f"  [dim]{label}[/]  " + escape(value.replace("\n", "\n            ")))
    if script:
        console.print(f"  [dim]replay[/]    python {escape(script)}", soft_wrap=True)


def exit_status(found: Audit, *, elsewhere: bool = False) -> int:
    """1 where something is not as declared, else 3 where nothing was judged, else 0. `elsewhere`: what applies is in other shards."""
    if found.judged:
        return GOOD if found.ok else BAD
    click.echo(f"opjury: nothing was executed{'; what applies is in other shards' * elsewhere}", err=True)
    return BAD if found.surprises() else GOOD if elsewhere else NOTHING


def show_audit(found: Audit, all_verdicts: bool) -> None:
    """The matrix, then each refutation with its counterexample, then what is not as declared."""
    judged = found.judged
    shown = [v for v in found.verdicts if v.name in judged or not judged]
    console.print(matrix(shown))
    console.print(legend(shown))
    if all_verdicts:
        for v in found.verdicts:
            console.print(
                f"{v.status:12} {v.name} {v.check} ({', '.join(v.dtypes)}) {v.examples} examples {v.told}",
                markup=False,
            )
    grouped: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in found.refuted:
        grouped.setdefault((verdict.name, "" if verdict.control else verdict.check), []).append(verdict)
    for verdicts in grouped.values():
        smallest = min(verdicts, key=lambda v: len(str(v.counterexample)) if v.counterexample else 10**9)
        scripts = {id(v): _write_script(v) for v in (verdicts if smallest.control else [smallest])}
        if smallest.control:
            show_control(verdicts)
        else:
            show_refutation([smallest, *(v for v in verdicts if v is not smallest)], scripts[id(smallest)])
    needed = {(v.name, v.check) for v in found.verdicts if v.status == "waived"}
    unneeded = {(v.name, v.check): v.told for v in found.verdicts if v.status == "holds" and v.waiver}
    for (name, check), message in unneeded.items():
        if (name, check) not in needed:
            console.print(f"note: {name}: {check} is {message}", markup=False)
    surprises = found.surprises()
    errors = {(v.name, v.check): v for v in found.verdicts if v.status == "error"}
    for v in errors.values():
        show_error(v)
    unjudged = {v.name: v.message for v in found.verdicts if v.name not in judged and (v.name, v.check) not in errors}
    for name, why in unjudged.items():
        console.print(f"not judged {name}: {why}", markup=False)
    examples = sum(v.examples for v in found.verdicts)
    tally = Tally.of(standings(found.verdicts))
    console.print(f"\n{tally}; {examples:,} examples were executed.")
    if surprises and any(v.control for v in found.verdicts):
        console.print("Not as declared:\n" + "\n".join(f"  {line}" for line in surprises), markup=False)


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
