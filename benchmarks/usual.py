"""The best implementation of each operation beside what one calls otherwise: `python -m opjury.benchmarks.usual` (`make bench-choose`).

What one calls otherwise is what the contract names as `usual`: a function of torch, NumPy or SciPy where there is one; the fastest of
them counts. Whatever holds up takes part, but for what took SLOW times as long as the best at the first workload. Nothing is asserted.
"""

import json
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import opjury
from opjury import registry
from opjury.measure.stand import FLOOR, Competitor, Contest
from opjury.measure.statistics import fastest, ratio
from opjury.uses.choose import run_contest, usual_dtype

SLOW = 30
console = Console(width=120)


def contests(wanted):
    """Operations with directions: forward, and forward with backward."""
    operations = [registry.operation(name) for name in wanted] or registry.operations()
    return [(op, gradient) for op in operations for gradient in ((False, True) if op.differentiable else (False,))]


def figures_of(operation, gradient, workloads, seconds, seed, trust):
    """The figures of each workload, one after the other."""
    options = dict(gradient=gradient, seed=seed)
    screened = opjury.choose(operation.name, workloads[0], seconds=0.5, trust=trust, **options).measurements
    names = [m.implementation for m in screened if m.ratio < SLOW or m.implementation in operation.usual]
    for workload in workloads if names else ():
        sizes = tuple(registry.workload(operation.name).sizes[workload].items())
        rivals = tuple(map(Competitor, names))
        contest = Contest(operation.name, rivals, sizes, usual_dtype(operation), seconds=seconds, **options)
        times = run_contest(contest, {}).seconds
        floor = times.pop(FLOOR)
        best = fastest(times)
        usual = {name: column for name, column in times.items() if name in operation.usual}
        otherwise = fastest(usual) if usual else ""
        yield dict(
            operation=operation.name,
            workload=workload,
            gradient=gradient,
            best=best,
            usual=otherwise,
            of_usual=ratio(times[otherwise], times[best], len(times)).median if usual else None,
            of_floor=float(np.nanmedian(times[best]) / np.nanmedian(floor)),
        )


@click.command()
@click.argument("operations", nargs=-1)
@click.option("--workload", "workloads", multiple=True, default=("medium", "large"), show_default=True)
@click.option("--seconds", default=1.5, show_default=True, help="Budget of a contest.")
@click.option("--seed", default=0, show_default=True)
@click.option("--trust", type=click.Path(exists=True), help="Records whose verdicts count, in place of an audit.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Append the figures as lines of JSON.")
def main(operations, workloads, seconds, seed, trust, file):
    """Print the table."""
    table = Table("operation", "workload", "best", "otherwise", "× otherwise", "× floor", title="what is usual")
    found = []
    for operation, gradient in track(contests(operations), "operations", console=Console(stderr=True)):
        for row in figures_of(operation, gradient, workloads, seconds, seed, trust):
            found.append(row)
            times = "" if row["of_usual"] is None else f"{row['of_usual']:.2f}"
            label = row["workload"] + (" backward" if gradient else "")
            table.add_row(operation.name, label, row["best"], row["usual"], times, f"{row['of_floor']:.2f}")
            if file:
                with file.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
    console.print(table)
    compared = np.array([row["of_usual"] for row in found if row["of_usual"] is not None])
    console.print(
        f"{len(compared)} of {len(found)} contests have both: the best is as fast as what is usual in {(compared >= 1).sum()}, faster by "
        f"5 % or more in {(compared >= 1.05).sum()}; {np.exp(np.log(compared).mean()):.2f} times as fast (geometric mean)."
    )


if __name__ == "__main__":
    main()
