"""The command `opjury track compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
import msgspec
from rich.markup import escape
from rich.table import Table

from opjury.cli.exit import BAD, GOOD, NOTHING
from opjury.cli.options import DEVICE, json_option
from opjury.cli.terminal import console
from opjury.cli.text import seconds as in_print
from opjury.judge.task import names_checked
from opjury.model import records, registry
from opjury.model.environment import environment
from opjury.model.records import Measurement

if TYPE_CHECKING:
    from opjury.track.compare import Side, SpeedComparison


@click.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("targets", nargs=-1, metavar="[OPERATION[:IMPLEMENTATION]]...")
@click.option("--workload", "workloads", multiple=True, default=["medium"], show_default=True, help="Repeatable.")
@click.option("--gradient", is_flag=True, help="Forward and backward together.")
@DEVICE
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=3.0,
    show_default=True,
    help="Time for each implementation, in seconds.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The arguments are drawn from it, the same in A and in B."
)
@json_option("Write the records (JSON Lines).")
@click.pass_context
def compare_command(
    context: click.Context,
    /,
    first: str,
    second: str,
    targets: Sequence[str],
    *,
    workloads: Sequence[str],
    gradient: bool,
    device: str,
    seconds: float,
    seed: int,
    json_file: str | None,
) -> None:
    """Time implementations as they are in A and in B, in turns.

    A, B: a commit, `.` for the files as they are, or the path of a Python interpreter (another environment).
    """
    from opjury.track.compare import compare_sides, side

    wanted = _names(targets)
    for operation in wanted:
        names_checked(f"workload of {operation}", workloads, registry.workload(operation).sizes)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in ("implementation", "workload"):
        table.add_column(column)
    for column in ("A", "B", "B / A", "interval"):
        table.add_column(column, justify="right", no_wrap=True)
    found: list[SpeedComparison] = []
    versions: dict[str, tuple[str, str]] = {}
    with side(first) as a, side(second) as b, console.status("") as status:
        for operation, names in wanted.items():
            for workload in workloads:
                if gradient and not registry.operation(operation).differentiable:
                    continue
                more, versions = compare_sides(
                    a,
                    b,
                    operation,
                    names,
                    workload,
                    gradient=gradient,
                    device=device,
                    seconds=seconds,
                    seed=seed,
                    notify=status.update,
                )
                found += more
                for each in more:
                    table.add_row(each.name, workload, *_cells(each))
    console.print(table)
    for name, pair in versions.items():
        console.print(f"{name}: {pair[0]} in A, {pair[1]} in B")
    for each in found:
        if each.fault:
            console.print(f"[dim]not timed[/] {each.name}: {escape(each.fault)}")
    if json_file:
        records.write(json_file, [_measurement(each, (a, b), seed) for each in found if not each.fault])
    if all(each.fault for each in found):
        context.exit(NOTHING)
    context.exit(BAD if any(each.ratio.slower for each in found if not each.fault) else GOOD)


def _names(targets: Sequence[str]) -> dict[str, list[str]]:
    """Implementations by operation."""
    wanted: dict[str, list[str]] = {}
    for target in targets or [o.name for o in registry.operations()]:
        operation, _, only = target.partition(":")
        entries = (
            [registry.entry(operation, only)]
            if only
            else [e for e in registry.implementations(registry.operation(operation).name) if not e.refuted]
        )
        wanted.setdefault(operation, []).extend(entry.name for entry in entries)
    return wanted


def _cells(each: SpeedComparison) -> tuple[str, ...]:
    if each.fault:
        return ("", "", "", "")
    style = "bold red" if each.ratio.slower else "bold green" if each.ratio.faster else ""
    ratio = f"{each.ratio.median:.3f}"
    return (
        *map(in_print, each.seconds),
        f"[{style}]{ratio}[/]" if style else ratio,
        f"{each.ratio.low:.3f}–{each.ratio.high:.3f}",
    )


def _measurement(each: SpeedComparison, sides: tuple[Side, Side], seed: int) -> Measurement:
    return Measurement(
        **msgspec.structs.asdict(each.setting),
        implementation=each.implementation,
        seconds=each.seconds[1],
        reference=f"{each.implementation} in {sides[0].label}",
        ratio=each.ratio.median,
        low=each.ratio.low,
        high=each.ratio.high,
        tied=not each.ratio.slower,
        floor_seconds=0.0,
        seed=seed,
        environment=environment(),
    )
