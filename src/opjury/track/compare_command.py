"""The command `opjury track compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.markup import escape

from opjury.cli.exit import BAD, GOOD, NOTHING
from opjury.cli.options import DEVICE, GRADIENT, json_option, seconds_option
from opjury.cli.terminal import console, numeric, plain_table
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
@GRADIENT
@DEVICE
@seconds_option(3.0, "Time for each implementation, in seconds.")
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
    workloads: Sequence[str],
    json_file: str | None,
    **options: Any,
) -> None:
    """Time implementations as they are in A and in B, in turns.

    A, B: a commit, `.` for the files as they are, or the path of a Python interpreter (another environment).
    """
    from opjury.track.compare import compare_sides, side

    wanted = _names(targets)
    for operation in wanted:
        names_checked(f"workload of {operation}", workloads, registry.workload(operation).sizes)
    table = plain_table("implementation", "workload", *map(numeric, ("A", "B", "B / A", "interval")))
    found: list[SpeedComparison] = []
    versions: dict[str, tuple[str, str]] = {}
    with side(first) as a, side(second) as b, console.status("") as status:
        for operation, names in wanted.items():
            for workload in workloads:
                if options["gradient"] and not registry.operation(operation).differentiable:
                    continue
                more, versions = compare_sides(a, b, operation, names, workload, notify=status.update, **options)
                found += more
                for each in more:
                    table.add_row(each.name, workload, *_cells(each))
    console.print(table)
    for name, (one, other) in versions.items():
        console.print(f"{name}: {one} in A, {other} in B")
    for each in found:
        if each.fault:
            console.print(f"[dim]not timed[/] {each.name}: {escape(each.fault)}")
    timed = [each for each in found if not each.fault]
    if json_file:
        records.write(json_file, [_measurement(each, a, options["seed"]) for each in timed])
    if not timed:
        context.exit(NOTHING)
    context.exit(BAD if any(each.ratio.slower for each in timed) else GOOD)


def _names(targets: Sequence[str]) -> dict[str, list[str]]:
    """The implementations to time, by operation. An operation alone stands for all but its negative controls."""
    wanted: dict[str, list[str]] = {}
    for target in targets or [o.name for o in registry.operations()]:
        operation, _, only = target.partition(":")
        if only:
            entries = [registry.entry(operation, only)]
        else:
            entries = [e for e in registry.implementations(registry.operation(operation).name) if not e.refuted]
        wanted.setdefault(operation, []).extend(entry.name for entry in entries)
    return wanted


def _cells(each: SpeedComparison) -> tuple[str, ...]:
    if each.fault:
        return ("", "", "", "")
    ratio = f"{each.ratio.median:.3f}"
    if each.ratio.slower or each.ratio.faster:
        ratio = f"[bold {'red' if each.ratio.slower else 'green'}]{ratio}[/]"
    return (*map(in_print, each.seconds), ratio, f"{each.ratio.low:.3f}–{each.ratio.high:.3f}")


def _measurement(each: SpeedComparison, first: Side, seed: int) -> Measurement:
    return Measurement(
        **msgspec.structs.asdict(each.setting),
        implementation=each.implementation,
        seconds=each.seconds[1],
        reference=f"{each.implementation} in {first.label}",
        ratio=each.ratio.median,
        low=each.ratio.low,
        high=each.ratio.high,
        tied=not each.ratio.slower,
        floor_seconds=0.0,
        seed=seed,
        environment=environment(),
    )
