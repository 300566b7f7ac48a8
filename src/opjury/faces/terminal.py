"""Tables and counterexamples for the terminal; plain text when piped."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from opjury import registry
from opjury.faces.verdicts import STATUS_MARKS
from opjury.model.operation import KINDS, Operation
from opjury.model.outcome import worst
from opjury.model.validate import shown_parameters

if TYPE_CHECKING:
    from opjury.records import Verdict

console = Console(highlight=False)

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


def show_list(operation: str | None) -> None:
    """One line an operation, or one an implementation."""
    if operation is None:
        table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
        table.add_column("operation")
        table.add_column("implementations", overflow="fold")
        by_operation: dict[str, list[str]] = {}
        for entry in registry.implementations():
            by_operation.setdefault(entry.operation, []).append(entry.name + ("†" if entry.refuted else ""))
        for name, names in sorted(by_operation.items()):
            table.add_row(name, " ".join(names))
        console.print(table)
        console.print("† published but wrong: kept as a negative control")
        return
    entries = registry.implementations(operation)
    show_contract(registry.operation(operation))
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("implementation", no_wrap=True)
    table.add_column("idea, and what is declared")
    for entry in entries:
        notes = [escape(entry.summary)]
        notes += [f"waives {what}: {escape(reason)}" for what, reason in entry.waived]
        notes += [f"[red]wrong[/red] in {check}: {escape(reason)}" for check, reason in entry.refuted.items()]
        table.add_row(entry.name, "\n".join(notes))
    console.print(table)


def show_contract(contract: Operation) -> None:
    """How the operation is called, what it means, what is legal, and how results are judged."""
    head, _, more = (inspect.getdoc(inspect.getmodule(contract.reference)) or "").partition("\n\n")
    console.print(
        f"[bold]{escape(contract.name + shown_parameters(contract.reference))}[/]: {escape(contract.summary)}\n"
    )
    if head.startswith(f"{contract.name}("):
        for paragraph in more.split("\n\n"):
            console.print(escape(" ".join(paragraph.split())) + "\n")
    rows = {
        "dtypes": ", ".join(contract.dtypes),
        "kind": KINDS[contract.kind],
        "laws": "; ".join(law.name for law in contract.laws),
        "rejects": "every other call, by ValueError, TypeError, IndexError or RuntimeError with a message",
        "baseline": contract.baseline or "",
    }
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, show_header=False)
    for name, text in rows.items():
        if text:
            table.add_row(name, escape(text))
    console.print(table)
    console.print()


def matrix(verdicts: Sequence[Verdict]) -> Table:
    """One row an implementation, one column a check; the worst verdict of its dtypes stands in the cell."""
    present = in_order({v.check for v in verdicts})
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


def in_order(checks: Iterable[str]) -> list[str]:
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
    columns = [f"{_short(check)} {check}" for check in in_order({v.check for v in verdicts})]
    return "   ".join(marks) + "\n[dim]" + " · ".join(columns) + "[/]"


def show_control(verdicts: Sequence[Verdict]) -> None:
    """Why a negative control is wrong: one line for each check that fails for a reason of its own."""
    own = {v.check: v for v in sorted(verdicts, key=lambda v: len(v.message), reverse=True) if not v.cause}
    console.print(f"\n[bold red]✗[/] [bold]{escape(verdicts[0].name)}[/]†")
    for check in in_order(own):
        message = " ".join(own[check].message.split())
        console.print(f"  [dim]{check:12}[/] " + escape(message if len(message) < 150 else message[:150] + " …"))


def show_error(verdict: Verdict) -> None:
    """Why a check could not be judged, and with which case."""
    console.print(f"\n[bold red]![/] [bold]{escape(verdict.name)}[/]  {verdict.check}  could not be judged")
    console.print("  " + escape(verdict.message))
    _show_case(verdict)


def _show_case(verdict: Verdict) -> None:
    if verdict.counterexample:
        from opjury.case import Case

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
