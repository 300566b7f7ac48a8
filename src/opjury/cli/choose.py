"""The command `opjury choose`: from sizes to a table and a recommendation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click
from rich.markup import escape
from rich.table import Column

from opjury.choose import Choice, choose, sizes_of
from opjury.cli import options
from opjury.cli.exit import GOOD, NOTHING
from opjury.cli.terminal import console, numeric, plain_table
from opjury.cli.text import counted, memory, seconds, shortened, times
from opjury.model import files, records
from opjury.model.modules import wing
from opjury.model.records import Measurement, Recommendation
from opjury.run.ship import Function
from opjury.sweep import Sweep, dispatcher, sweep


@click.command("choose")
@click.argument("operation", required=False)
@click.argument("sizes", nargs=-1, metavar="[WORKLOAD] [SIZE=NUMBER]...")
@click.option("--dtype", metavar="DTYPE", help="By default float32, if the operation has it.")
@options.DEVICE
@options.GRADIENT
@click.option(
    "--needs", multiple=True, metavar="second_order|forward_mode|vmap", help="Also require this check (repeatable)."
)
@click.option(
    "--accept",
    type=options.names,
    default="",
    metavar="CHECK,...,error",
    help="Also recommend what waives these checks, or has an error bound looser than the contract's (error).",
)
@click.option("--max-error", type=float, help="The largest error allowed, in ulps of the largest element.")
@click.option(
    "--max-memory", type=options.size_in_bytes, metavar="SIZE", help="The most memory a call may take: 64MiB, 1.5GB."
)
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads of torch and of NumPy's libraries."
)
@click.option("--compile", is_flag=True, help="Also measure each torch implementation under torch.compile.")
@click.option(
    "--with", "rivals", multiple=True, metavar="FILE.py:FUNCTION", help="Let this function compete, too (repeatable)."
)
@click.option("--trust", type=options.RECORDS_FILE, help="Use the verdicts in this file instead of running an audit.")
@options.seconds_option(6.0, "Time for the timed rounds, in seconds.")
@options.JOBS
@options.CLUSTER
@click.option("--seed", type=int, help="By default a new one; it is stored in every record.")
@click.option(
    "--sweep", "over", metavar="SIZE=LOW..HIGH", help="Find where the choice changes over a range of one size."
)
@click.option(
    "--emit", type=options.OutputFile(), help="With --sweep: write a Python function that dispatches by size."
)
@options.json_option("Write the records (JSON Lines).")
@click.option(
    "--self-test",
    type=click.IntRange(1),
    metavar="TRIALS",
    help="Measure the false-alarm rate of this machine and the smallest slow-down that it detects.",
)
@click.pass_context
def choose_command(
    context: click.Context,
    /,
    operation: str | None,
    sizes: Sequence[str],
    *,
    rivals: Sequence[str],
    cluster: str,
    mixed: bool,
    over: str | None,
    emit: str | None,
    json_file: str | None,
    self_test: int | None,
    **asked: Any,
) -> None:
    """Measure the implementations that hold up and recommend one.

    The workload is a name, `large`; sizes, `rows=1e5 features=64`; or a name and the sizes that differ from it. Sizes that are not
    given are those of `medium`.
    """
    if self_test:
        options.refuse_others(context, "--self-test", "self_test", "seed", "seconds")
        context.exit(run_self_test(self_test, asked["seed"] or 0, asked["seconds"]))
    if operation is None:
        raise click.UsageError("name an operation: opjury choose OPERATION [WORKLOAD] [SIZE=NUMBER]...")
    if emit and not over:
        raise click.UsageError("--emit writes what --sweep finds; it needs --sweep SIZE=LOW..HIGH")
    if emit and rivals:
        raise click.UsageError("--emit writes registered implementations only; it does not go with --with")
    if cluster and (asked["jobs"] or asked["trust"]):
        raise click.UsageError("--jobs and --trust are about this machine; they do not go with --cluster")
    if mixed and not cluster:
        raise click.UsageError("--mixed is about the workers of a cluster; it needs --cluster")
    if asked["trust"] and asked["jobs"]:
        raise click.UsageError("--jobs is about an audit; with --trust there is none")
    functions = [options.function_at(target) for target in rivals]
    try:
        for function in functions:
            (Function.to_send if cluster else Function.of)(function)
    except TypeError as error:
        raise click.UsageError(str(error)) from None
    asked |= dict(operation=operation, workload=parsed(operation, sizes))
    if over:
        asked |= _range(over)

    def found(call: Callable[..., Any]) -> Any:
        with console.status("") as status:
            if not cluster:
                return call(**asked, functions=functions, notify=status.update)
            status.update(f"on a worker of {cluster}")
            run_there = wing("scale.cluster").run_there
            return run_there(call, asked, functions, cluster, device=asked["device"], mixed=mixed)

    if over:
        swept: Sweep = found(sweep)
        choices = swept.choices
        show_sweep(swept)
    else:
        choices = (found(choose),)
        show_choice(choices[0])
    if json_file:
        records.write(json_file, [record for choice in choices for record in choice.records])
    if emit:
        files.write_whole(emit, dispatcher(swept).encode())
        console.print(
            f"\n{emit} dispatches by {swept.size}. Audit it with: opjury audit {emit}:{operation} --as {operation}",
            markup=False,
        )
    context.exit(GOOD if all(choice.implementation for choice in choices) else NOTHING)


def _range(over: str) -> dict[str, Any]:
    """The arguments of `sweep` that `SIZE=LOW..HIGH` stands for."""
    name, _, values = over.partition("=")
    low, dots, high = values.partition("..")
    if not dots:
        raise click.UsageError(f"--sweep {over}; it should be SIZE=LOW..HIGH, like rows=1e3..1e7")
    return dict(size=name, low=_whole_number(name, low), high=_whole_number(name, high))


def parsed(operation: str, sizes: Sequence[str]) -> str | Mapping[str, int]:
    """A workload's name, or sizes: `large`, `rows=1e5 features=64`, or a name and the sizes that differ from it.

    Raises
    ------
    click.UsageError
        For two names, and for a size that is not a whole number.
    """
    named = [size for size in sizes if "=" not in size]
    if len(named) > 1:
        raise click.UsageError(f"{' and '.join(named)} are two workloads; name one")
    base = named[0] if named else "medium"
    pairs = [size.split("=", 1) for size in sizes if "=" in size]
    given = {name: _whole_number(name, value) for name, value in pairs}
    return {**sizes_of(operation, base), **given} if given else base


def _whole_number(name: str, text: str) -> int:
    """A size as written: 1000, 1e3 or 1_000."""
    try:
        value = float(text)
        if value == int(value):
            return int(value)
    except (ValueError, OverflowError):
        pass
    raise click.UsageError(f"{name}={text}: {text!r} is not a whole number")


def show_sweep(found: Sweep) -> None:
    """A line for each size, where the choice changes, and what is faster with a declared weakness."""
    _show_heading(found.choices[0].recommendation, without=found.size)
    table = plain_table(numeric(found.size), "use", numeric("time"), numeric("× floor"), "tied")
    faster: dict[str, list[Choice]] = {}
    for choice in found.choices:
        chosen = choice.recommendation
        own = choice.measurement(chosen.implementation)
        others = ", ".join(name for name in chosen.tied if name != chosen.implementation)
        size = f"{chosen.sizes[found.size]:,}"
        table.add_row(size, escape(chosen.implementation), seconds(own.seconds), times(own.of_floor), escape(others))
        if chosen.alternative:
            faster.setdefault(chosen.alternative, []).append(choice)
    console.print(table)
    for crossing in found.crossovers:
        console.print(
            f"\nFrom {found.size} ≈ {crossing.at:,} [{crossing.low:,}, {crossing.high:,}]: "
            f"[bold green]{escape(crossing.after)}[/] instead of {escape(crossing.before)}."
        )
    if not found.crossovers:
        console.print(f"\nUse [bold green]{escape(found.uses[0][0])}[/] over the whole range.")
    for choices in faster.values():
        *before, last = (f"{choice.recommendation.sizes[found.size]:,}" for choice in choices)
        also = f" (and at {', '.join(before)})" if before else ""
        console.print(f"At {found.size}={last}{also}, {_alternative(choices[-1])}")


def show_choice(choice: Choice) -> None:
    """The table of the implementations that hold up, the others with their reasons, the recommendation and its alternative."""
    chosen = choice.recommendation
    _show_heading(chosen)
    if choice.measurements:
        _show_measurements(choice)
        console.print(f"[dim]{_LEGEND}[/]")
        floor = choice.measurements[0].floor_seconds
        console.print(f"[dim]floor: {seconds(floor)}, copying the least bytes that a call must read and write[/]")
    for name, reason in choice.excluded.items():
        console.print(f"[dim]not ranked[/] {escape(name)}: {escape(shortened(' '.join(reason.split()), 110))}")
    if chosen.implementation:
        console.print(f"\nUse [bold green]{escape(chosen.implementation)}[/]: {escape(chosen.reason)}.")
        for what, reason in choice.measurement(chosen.implementation).waived.items():
            console.print(f"[yellow]It waives {what}[/]: {escape(reason)}.")
    else:
        console.print(f"\n{escape(chosen.reason)}.")
    if chosen.alternative:
        console.print(_alternative(choice))


def _alternative(choice: Choice) -> str:
    """The fastest implementation with a weakness that is not accepted, what may come of it, and the option that accepts it."""
    name, told = choice.recommendation.alternative, choice.recommendation.alternative_reason
    option = f"--accept {','.join(choice.measurement(name).waived)}"
    return f"[bold yellow]{escape(name)}[/] is {escape(told)}. To rank it, too: {option}"


def _show_heading(chosen: Recommendation, without: str = "") -> None:
    sizes = " ".join(f"{name}={value}" for name, value in chosen.sizes.items() if name != without)
    direction = "forward and backward" if chosen.gradient else "forward"
    words = (chosen.operation, sizes, chosen.dtype, chosen.device, direction, counted(chosen.threads, "thread"))
    console.print("  ".join(words) + "\n", markup=False)


def _show_measurements(choice: Choice) -> None:
    """A table, with what may be recommended above a line, and below it the others with their worst cases."""
    columns: dict[str, Callable[[Measurement], str]] = {
        "implementation": lambda m: m.implementation,
        "time": lambda m: seconds(m.seconds),
        "× best": lambda m: times(m.ratio),
        "99 %": _interval,
        "× floor": lambda m: times(m.of_floor),
        "memory": lambda m: memory(m.peak_bytes),
        "error": lambda m: "" if m.error_ulps is None else f"{m.error_ulps:.2g}",
        "2nd": lambda m: "✓" if m.second_order else "",
    }
    if any(m.first_seconds > 1 for m in choice.measurements):  # something was compiled
        columns["first call"] = lambda m: seconds(m.first_seconds)
    rows = [[cell(m) for cell in columns.values()] for m in choice.measurements]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]

    def show(part: Sequence[tuple[Measurement, list[str]]], header: bool) -> None:
        first, *numbers = (Column(name, no_wrap=True, width=width) for name, width in zip(columns, widths, strict=True))
        table = plain_table(first, *(replace(column, justify="right") for column in numbers), gap=1, show_header=header)
        for m, row in part:
            table.add_row(*map(escape, row), style="bold" if m.tied else "")
        console.print(table)

    accepted = set(choice.recommendation.accepted)
    beside = list(zip(choice.measurements, rows, strict=True))
    show([(m, row) for m, row in beside if {*m.waived} <= accepted], header=True)
    weak = [(m, row) for m, row in beside if not {*m.waived} <= accepted]
    if weak:
        title = "── with a declared weakness "
        console.print(f"[dim]{title.ljust(sum(widths) + len(widths) - 1, '─')}[/]")
    for m, row in weak:
        show([(m, row)], header=False)
        console.print(f"  [dim]{escape('; '.join(dict.fromkeys(m.waived.values())))}[/]")


def _interval(m: Measurement) -> str:
    if m.implementation == m.reference:
        return ""
    return f"{m.low:.3g}–{m.high:.3g}" if m.low else "obvious"


_LEGEND = "bold: no slower than the best · error: ulps of the largest element · 2nd: differentiable twice"


def run_self_test(trials: int, seed: int = 0, budget: float = 6.0, slowed: Sequence[float] | None = None) -> int:
    """Print which slow-downs measurements on this machine detect, and return the exit status."""
    from opjury.measure.self_test import FOUND_SURELY, SLOWED, self_test

    with console.status("") as status:
        found = self_test(trials, slowed=slowed or SLOWED, seconds=budget, seed=seed, notify=status.update)
    for detection in found:
        what = f"slowed by {detection.slowed:.0%}" if detection.slowed else "against itself"
        console.print(
            f"{what:14}  called different in {detection.called_different:3} of {detection.trials} ({detection.share:.1%})"
        )
    sure = [detection.slowed for detection in found if detection.slowed and detection.share >= FOUND_SURELY]
    if sure:
        console.print(f"The smallest slow-down found in {FOUND_SURELY:.0%} of contests: {min(sure):.0%}.")
    else:
        console.print(f"No slow-down was found in {FOUND_SURELY:.0%} of contests.")
    return GOOD
