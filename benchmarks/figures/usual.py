"""The best implementation of each operation beside the usual one: `python -m benchmarks.figures.usual` (`make bench-choose`).

The usual implementations are those that the contract names as `usual`: functions of torch, NumPy or SciPy where there are some. The fastest
of them is compared, which may have a declared weakness; the best has none. All implementations that hold up compete, except, from the second
workload on, those that took SLOW times as long as the best at the first one. Nothing is asserted.
"""

import json
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import opjury
from opjury.choose import setting_of
from opjury.measure.apart import run_contest
from opjury.measure.contest import FLOOR, Competitor, Contest
from opjury.measure.statistics import fastest, ratio
from opjury.model import registry

SLOW = 30
console = Console(width=120)


def contests(wanted):
    """Operations, each forward and, if it is differentiable, forward with backward."""
    operations = [registry.operation(name) for name in wanted] or registry.operations()
    return [(op, gradient) for op in operations for gradient in ((False, True) if op.differentiable else (False,))]


def figures_of(operation, gradient, workloads, seconds, seed, trust):
    """Yield the figures of each workload."""
    options = dict(gradient=gradient, seconds=seconds, seed=seed)
    first, *later = workloads
    measured = opjury.choose(operation.name, first, trust=trust, **options).measurements
    if not measured:
        return
    ratios, best = {m.implementation: m.ratio for m in measured}, measured[0]
    yield row(operation, gradient, first, best.implementation, ratios, best.of_floor)
    named = [m for m in measured if m.ratio < SLOW or m.implementation in operation.usual]
    competitors = tuple(Competitor(m.implementation, ranked=not m.waived) for m in named)
    for workload in later:
        setting = setting_of(operation.name, workload, gradient=gradient)
        contest = Contest(setting, competitors, seconds=seconds, seed=seed)
        times = run_contest(contest, {}).seconds
        floor = np.nanmedian(times.pop(FLOOR))
        best = fastest({name: times[name] for name in contest.ranked(times)})
        ratios = {name: ratio(column, times[best]).median for name, column in times.items()}
        yield row(operation, gradient, workload, best, ratios, float(np.nanmedian(times[best]) / floor))


def row(operation, gradient, workload, best, ratios, of_floor):
    """A line of the table, where `ratios` are the times as multiples of the best one's."""
    usual = min((name for name in ratios if name in operation.usual), key=ratios.get, default="")
    return dict(
        operation=operation.name,
        workload=workload,
        gradient=gradient,
        best=best,
        usual=usual,
        of_usual=ratios.get(usual),
        of_floor=of_floor,
    )


@click.command()
@click.argument("operations", nargs=-1)
@click.option("--workload", "workloads", multiple=True, default=("medium", "large"), show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="Budget of a contest.")
@click.option("--seed", default=0, show_default=True)
@click.option("--trust", type=click.Path(exists=True), help="Records whose verdicts count, in place of an audit.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Append the figures as lines of JSON.")
def main(operations, workloads, seconds, seed, trust, file):
    """Print the table."""
    table = Table("operation", "workload", "best", "usual", "usual ÷ best", "best ÷ floor", title="best and usual")
    found = []
    for operation, gradient in track(contests(operations), "operations", console=Console(stderr=True)):
        for figures in figures_of(operation, gradient, workloads, seconds, seed, trust):
            found.append(figures)
            times = "" if figures["of_usual"] is None else f"{figures['of_usual']:.2f}"
            label = figures["workload"] + (" backward" if gradient else "")
            of_floor = f"{figures['of_floor']:.2f}"
            table.add_row(operation.name, label, figures["best"], figures["usual"], times, of_floor)
            if file:
                with file.open("a") as stream:
                    stream.write(json.dumps(figures) + "\n")
    console.print(table)
    compared = np.array([figures["of_usual"] for figures in found if figures["of_usual"] is not None])
    console.print(
        f"{len(compared)} of {len(found)} contests have both. The best is at least as fast as the usual in {(compared >= 1).sum()}, and faster "
        f"by 5 % or more in {(compared >= 1.05).sum()}. It is {np.exp(np.log(compared).mean()):.2f} times as fast (geometric mean)."
    )


if __name__ == "__main__":
    main()
