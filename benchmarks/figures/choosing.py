"""The quality of `choose`: `python -m benchmarks.figures.choosing` (`make bench-choose`) prints it.

Regret is the time of the recommended implementation as a multiple of the time of the fastest one that holds up without a declared
weakness, by a contest with ten times the budget. Agreement says whether a second choice is the same, or one that the first choice called
tied. Nothing is asserted.
"""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import opjury
from opjury.cli.choose import run_self_test
from opjury.measure.apart import run_contest
from opjury.measure.contest import FLOOR, Competitor, Contest
from opjury.measure.statistics import fastest, ratio
from opjury.model import registry

console = Console(width=100)


def workloads(count, seed):
    """Operations with sizes and whether gradients are measured: named workloads first, then random sizes."""
    rng = np.random.default_rng(seed)
    operations = registry.operations()
    found = []
    for number in range(count):
        operation = operations[number % len(operations)]
        known = registry.workload(operation.name).sizes
        turn = number // len(operations)
        sizes = dict(known["small" if turn == 0 else "medium"])
        if turn > 1:
            sizes = {name: round(n * 2.0 ** rng.uniform(-2, 2)) if n >= 16 else n for name, n in sizes.items()}
        found.append((operation, sizes, operation.differentiable and turn % 2 == 1))
    return found


def regret_of(operation, sizes, gradient, seconds, seed):
    """Regret, agreement, speed relative to the baseline, and the seconds that choosing took, or None where nothing was measured."""
    options = dict(gradient=gradient, seconds=seconds)
    started = time.perf_counter()
    first = opjury.choose(operation.name, sizes, **options, seed=seed)
    took = time.perf_counter() - started
    again = opjury.choose(operation.name, sizes, **options, seed=seed + 1)
    names = [m.implementation for m in first.measurements if not m.waived]
    if not first.implementation:
        return None
    longer = dict(seconds=10 * seconds, rounds=4000, seed=seed + 2)
    contest = Contest(first.recommendation.setting, tuple(map(Competitor, names)), **longer)
    truth = run_contest(contest, {}).seconds
    truth.pop(FLOOR)
    best = fastest(truth)
    baseline = truth.get(operation.baseline)
    return dict(
        chosen=first.implementation,
        best=best,
        regret=ratio(truth[first.implementation], truth[best]).median,
        agrees=again.implementation in first.recommendation.tied,
        speedup=None if baseline is None else ratio(baseline, truth[first.implementation]).median,
        took=took,
    )


@click.command()
@click.option("--count", default=60, show_default=True, help="Workloads.")
@click.option("--seconds", default=2.0, show_default=True, help="Budget of a choice; the truth gets ten times as much.")
@click.option("--trials", default=100, show_default=True, help="Of the self-test, for each slow-down.")
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--json", "file", type=click.Path(path_type=Path), help="Append each workload's figures as a line of JSON."
)
def main(count, seconds, trials, seed, file):
    """Print the quality of choices, and the self-test with and without other load."""
    table = Table("workload", "chosen", "regret", "again", "× baseline", "s", title="choose")
    found = []
    for operation, sizes, gradient in track(workloads(count, seed), "workloads", console=Console(stderr=True)):
        label = " ".join([operation.name, *(f"{k}={v}" for k, v in sizes.items()), "backward" if gradient else ""])
        try:
            result = regret_of(operation, sizes, gradient, seconds, seed)
        except opjury.Impossible as error:
            console.print(f"left out: {label}: {error}", markup=False)
            continue
        if result is None:
            continue
        found.append(result)
        if file:
            with file.open("a") as stream:
                stream.write(json.dumps(dict(workload=label, **result)) + "\n")
        speedup = "" if result["speedup"] is None else f"{result['speedup']:.2f}"
        again = "same" if result["agrees"] else "other"
        table.add_row(label, result["chosen"], f"{result['regret']:.3f}", again, speedup, f"{result['took']:.1f}")
    console.print(table)
    regrets = np.array([result["regret"] for result in found])
    console.print(
        f"{len(found)} workloads: regret {np.exp(np.log(regrets).mean()):.4f} (geometric mean), {regrets.max():.3f} at most, "
        f"{(regrets <= 1.05).mean():.1%} within 5 %; the same or a stated tie again: {np.mean([r['agrees'] for r in found]):.1%}"
    )
    run_self_test(trials, seed, slowed=(0.0, 0.02, 0.05))
    with hogs(2):
        console.print("While two other processes compute:")
        run_self_test(trials, seed, slowed=(0.0, 0.05))


@contextlib.contextmanager
def hogs(count):
    """Run `count` processes that only compute."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
