"""The command `opjury list`."""

from __future__ import annotations

import inspect

import click
from rich.markup import escape
from rich.table import Column

from opjury.cli.terminal import console, plain_table
from opjury.model import registry
from opjury.model.operation import KINDS, Operation
from opjury.model.validate import shown_parameters


@click.command("list")
@click.argument("operation", required=False)
def list_command(operation: str | None) -> None:
    """List the operations, or one operation's implementations."""
    entries = registry.implementations(operation)
    if operation is None:
        by_operation: dict[str, list[str]] = {}
        for entry in entries:
            by_operation.setdefault(entry.operation, []).append(entry.name + ("†" if entry.refuted else ""))
        table = plain_table("operation", Column("implementations", overflow="fold"))
        for name, names in sorted(by_operation.items()):
            table.add_row(name, " ".join(names))
        console.print(table)
        console.print("† published but wrong: kept as a negative control")
        return
    _show_contract(registry.operation(operation))
    table = plain_table(Column("implementation", no_wrap=True), "idea, and what is declared")
    for entry in entries:
        notes = [escape(entry.summary)]
        notes += ["has an error bound of its own"] if entry.error and not entry.error.worst else []
        notes += [f"waives {what}: {escape(reason)}" for what, reason in entry.waived]
        notes += [f"[red]wrong[/red] in {check}: {escape(reason)}" for check, reason in entry.refuted.items()]
        table.add_row(entry.name, "\n".join(notes))
    console.print(table)


def _show_contract(contract: Operation) -> None:
    """How the operation is called, what it computes, which calls are legal, and how results are judged."""
    head, _, more = (inspect.getdoc(inspect.getmodule(contract.reference)) or "").partition("\n\n")
    call = escape(contract.name + shown_parameters(contract.reference))
    console.print(f"[bold]{call}[/]: {escape(contract.summary)}\n")
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
    table = plain_table(show_header=False)
    for name, text in rows.items():
        if text:
            table.add_row(name, escape(text))
    console.print(table)
    console.print()
