"""The command `opjury choose`: from sizes to a table and a recommendation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from opjury.choose import Choice, choose, sizes_of
from opjury.cli.exit import GOOD, NOTHING
from opjury.cli.options import CLUSTER, DEVICE, JOBS, Bytes, OutputFile, function_at, json_option, refuse_others
from opjury.cli.terminal import console
from opjury.cli.text import memory, seconds, times
from opjury.model import files, records
from opjury.model.modules import wing
from opjury.model.records import Measurement, Recommendation
from opjury.run.ship import Function
from opjury.sweep import Sweep, dispatcher, sweep


@click.command("choose")
@click.argument("operation", required=False)
@click.argument("sizes", nargs=-1, metavar="[WORKLOAD] [SIZE=NUMBER]...")
@click.option("--dtype", help="By default float32, where the operation has it.")
@DEVICE
@click.option("--gradient", is_flag=True, help="Forward and backward together.")
@click.option(
    "--needs",
    multiple=True,
    metavar="second_order|forward_mode|vmap",
    help="Also require this promise to hold (repeatable).",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Rank only implementations that waive nothing and keep to the contract's error bound.",
)
@click.option("--max-error", type=float, help="The largest error allowed, in ulps of the largest element.")
@click.option(
    "--max-memory",
    type=Bytes(),
    metavar="SIZE",
    help="The most memory that a call may take: 64MiB, 1.5GB or a number of bytes.",
)
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="For torch and the libraries beneath NumPy."
)
@click.option("--compile", is_flag=True, help="Also measure each torch implementation under torch.compile.")
@click.option(
    "--with",
    "rivals",
    multiple=True,
    metavar="FILE.py:FUNCTION",
    help="Also judge and measure this function (repeatable).",
)
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False),
    help="Use the verdicts in this file instead of running an audit.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=6.0,
    show_default=True,
    help="Time for the timed rounds, in seconds.",
)
@JOBS
@CLUSTER
@click.option("--seed", type=int, help="By default a new one; it is stored in every record.")
@click.option(
    "--sweep", "over", metavar="SIZE=LOW..HIGH", help="Find where the choice changes over a range of one size."
)
@click.option("--emit", type=OutputFile(), help="Write a Python function that dispatches by size as the sweep found.")
@json_option("Write the records (JSON Lines).")
@click.option(
    "--self-test",
    type=click.IntRange(1),
    metavar="TRIALS",
    help="Measure this machine's false-alarm rate and the smallest slow-down that it detects.",
)
@click.pass_context
def choose_command(
    context: click.Context, /, operation: str | None, sizes: tuple[str, ...], *, self_test: int | None, **options: Any
) -> None:
    """Measure the implementations that hold up at your sizes, and recommend one.

    Sizes: a named workload, `large`; numbers, `rows=1e5 features=64`; or a name and what differs. What is left out is as in `medium`.
    """
    if self_test:
        refuse_others(context, "--self-test", "self_test", "seed", "seconds")
        context.exit(run_self_test(self_test, options["seed"] or 0, options["seconds"]))
    if operation is None:
        raise click.UsageError("name an operation: opjury choose OPERATION [WORKLOAD] [SIZE=NUMBER]...")
    context.exit(_choose(operation, sizes, **options))


def _choose(
    operation: str,
    sizes: Sequence[str],
    *,
    json_file: str | None,
    rivals: Sequence[str],
    over: str | None,
    emit: str | None,
    cluster: str,
    mixed: bool,
    **options: Any,
) -> int:
    """Choose, and show what was found; the exit status."""
    if emit and not over:
        raise click.UsageError("--emit writes what --sweep found; give --sweep SIZE=LOW..HIGH as well")
    if cluster and (options["jobs"] or options["trust"]):
        raise click.UsageError(
            "--jobs and --trust are about this machine; with --cluster a worker of it does everything"
        )
    if mixed and not cluster:
        raise click.UsageError("--mixed is about the workers of a --cluster")
    if options["trust"] and options["jobs"]:
        raise click.UsageError("--jobs is about an audit; with --trust there is none")
    options["functions"] = [_function(target, Function.to_send if cluster else Function.of) for target in rivals]
    if over:
        return _sweep(operation, sizes, over, json_file, emit, options, cluster, mixed)
    choice = _done(choose, dict(options, operation=operation, workload=parsed(operation, sizes)), cluster, mixed)
    show_choice(choice)
    if json_file:
        records.write(json_file, choice.records)
    return GOOD if choice.implementation else NOTHING


def _done(call: Callable[..., Any], arguments: dict[str, Any], cluster: str, mixed: bool) -> Any:
    """What `choose` or `sweep` finds, here or on a worker of a cluster."""
    with console.status("") as status:
        if not cluster:
            return call(**arguments, notify=status.update)
        status.update(f"on a worker of {cluster}")
        functions = arguments.pop("functions")
        return wing("scale.cluster").run_there(
            call, arguments, functions, cluster, device=arguments["device"], mixed=mixed
        )


def _sweep(
    operation: str,
    sizes: Sequence[str],
    over: str,
    json_file: str | None,
    emit: str | None,
    options: dict[str, Any],
    cluster: str,
    mixed: bool,
) -> int:
    name, _, values = over.partition("=")
    low, dots, high = values.partition("..")
    if not dots:
        raise click.UsageError(f"--sweep {over}; it should be SIZE=LOW..HIGH, like rows=1e3..1e7")
    if emit and options["functions"]:
        raise click.UsageError("--emit writes registered implementations only; leave --with out")
    options["strict"] |= bool(emit)  # a function by itself is held to the whole contract
    span = dict(size=name, low=_whole_number(name, low), high=_whole_number(name, high))
    found = _done(sweep, dict(options, operation=operation, workload=parsed(operation, sizes), **span), cluster, mixed)
    show_sweep(found)
    if json_file:
        records.write(json_file, [record for choice in found.choices for record in choice.records])
    if emit:
        files.write_whole(emit, dispatcher(found).encode())
        console.print(
            f"\n{emit} calls these by {name}. The same audit for it: opjury audit {emit}:{operation} --as {operation}",
            markup=False,
        )
    return GOOD


def show_sweep(found: Sweep) -> None:
    """A line for each size, then where the choice changes."""
    _heading(found.choices[0].recommendation, without=found.size)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column, justify in (
        (found.size, "right"),
        ("use", "left"),
        ("time", "right"),
        ("× floor", "right"),
        ("tied", "left"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for choice in found.choices:
        chosen = choice.recommendation
        own = next(m for m in choice.measurements if m.implementation == chosen.implementation)
        others = ", ".join(name for name in chosen.tied if name != chosen.implementation)
        size = f"{chosen.sizes[found.size]:,}"
        table.add_row(size, escape(chosen.implementation), seconds(own.seconds), times(own.of_floor), escape(others))
    console.print(table)
    for crossing in found.crossovers:
        console.print(
            f"\nFrom {found.size} ≈ {crossing.at:,} [{crossing.low:,}, {crossing.high:,}]: "
            f"[bold green]{escape(crossing.after)}[/] instead of {escape(crossing.before)}."
        )
    if not found.crossovers:
        console.print(f"\nUse [bold green]{escape(found.uses[0][0])}[/] over the whole range.")


def parsed(operation: str, sizes: Sequence[str]) -> str | Mapping[str, int]:
    """A workload's name, or sizes: `large`, `rows=1e5 features=64`, or both: a name, and what differs.

    Raises
    ------
    click.UsageError
        For what is neither.
    """
    named = [size for size in sizes if "=" not in size]
    if len(named) > 1:
        raise click.UsageError(f"{' and '.join(named)} are two workloads; name one")
    base = named[0] if named else "medium"
    usual, given = sizes_of(operation, base), {}
    for size in sizes:
        name, equals, value = size.partition("=")
        if equals:
            given[name] = _whole_number(name, value)
    return {**usual, **given} if given else base


def _function(target: str, sent: Callable[[Any], Function]) -> Any:
    """The function that is meant; it has to be one that can be `sent` to who measures it."""
    function = function_at(target)
    try:
        sent(function)
    except TypeError as error:
        raise click.UsageError(str(error)) from None
    return function


def show_choice(choice: Choice) -> None:
    """The table of those that hold up, the others with their reasons, the recommendation."""
    chosen = choice.recommendation
    _heading(chosen)
    if choice.measurements:
        console.print(_table(choice.measurements))
        console.print(f"[dim]{_LEGEND}[/]")
        floor = choice.measurements[0].floor_seconds
        console.print(f"[dim]floor: {seconds(floor)}, copying the least bytes that a call must read and write[/]")
    for name, reason in choice.excluded.items():
        short = " ".join(reason.split())
        console.print(f"[dim]not ranked[/] {escape(name)}: {escape(short if len(short) < 110 else short[:110] + ' …')}")
    if chosen.implementation:
        console.print(f"\nUse [bold green]{escape(chosen.implementation)}[/]: {escape(chosen.reason)}.")
        waived = next(m.waived for m in choice.measurements if m.implementation == chosen.implementation)
        for check, reason in waived.items():
            console.print(f"[yellow]It waives {check}[/]: {escape(reason)}.")
    else:
        console.print(f"\n{escape(chosen.reason)}.")


def _heading(chosen: Recommendation, without: str = "") -> None:
    sizes = " ".join(f"{name}={value}" for name, value in chosen.sizes.items() if name != without)
    direction = "forward and backward" if chosen.gradient else "forward"
    threads = "1 thread" if chosen.threads == 1 else f"{chosen.threads} threads"
    words = (chosen.operation, sizes, chosen.dtype, chosen.device, direction, threads)
    console.print("  ".join(words) + "\n", markup=False)


def _table(found: Sequence[Measurement]) -> Table:
    compiled = any(m.first_seconds > 1 for m in found)
    columns = ["time", "× best", "99 %", "× floor", "memory", "error", "2nd", *(["first call"] if compiled else [])]
    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("implementation", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    for m in found:
        interval = "" if m.implementation == m.reference else f"{m.low:.3g}–{m.high:.3g}" if m.low else "obvious"
        cells = [
            seconds(m.seconds),
            times(m.ratio),
            interval,
            times(m.of_floor),
            memory(m.peak_bytes),
            "" if m.error_ulps is None else f"{m.error_ulps:.2g}",
            "✓" if m.second_order else "",
            *([seconds(m.first_seconds)] if compiled else []),
        ]
        label = escape(m.implementation) + (" w" if m.waived else "")
        table.add_row(label, *cells, style="bold" if m.tied else "")
    return table


_LEGEND = (
    "bold: no slower than the best · error: ulps of the largest element · w: waives a check · 2nd: differentiable twice"
)


def run_self_test(trials: int, seed: int = 0, budget: float = 6.0, slowed: Sequence[float] | None = None) -> int:
    """Print what measurements on this machine can tell; the exit status."""
    from opjury.measure.self_test import FOUND_SURELY, SLOWED, self_test

    with console.status("") as status:
        found = self_test(trials, slowed=slowed or SLOWED, seconds=budget, seed=seed, notify=status.update)
    for detection in found:
        what = f"slowed by {detection.slowed:.0%}" if detection.slowed else "against itself"
        console.print(
            f"{what:14}  called different in {detection.called_different:3} of {detection.trials} ({detection.share:.1%})"
        )
    sure = [detection.slowed for detection in found if detection.slowed and detection.share >= FOUND_SURELY]
    told = (
        f"The smallest slow-down found in {FOUND_SURELY:.0%} of contests: {min(sure):.0%}."
        if sure
        else "No slow-down was found surely."
    )
    console.print(told)
    return GOOD


def _whole_number(name: str, text: str) -> int:
    """A size as written: 1000, 1e3 or 1_000."""
    try:
        value = float(text)
        if value == int(value):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise click.UsageError(f"{name}={text}: {text!r} is no whole number")
