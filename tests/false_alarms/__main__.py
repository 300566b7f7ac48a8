"""`python -m tests.false_alarms --seeds N`: how many right implementations are refuted, in what, and by which case."""

import json
import secrets
import sys
import time
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from opjury.model import registry
from opjury.run.pool import Fallen, isolated
from tests import state_of_sources
from tests.false_alarms import Outcome, Sample, alarmed, samples

MOST = 1800.0  # seconds that one audit may take


def resumed(file: str, wanted: Iterable[Sample]) -> dict[Sample, Outcome]:
    """What an earlier run of the same command has done with the same sources; a line cut short is left out."""
    if not file or not Path(file).exists():
        return {}
    known, present = set(wanted), state_of_sources()
    done = {}
    for line in Path(file).read_text().splitlines():
        try:
            sample, examples, alarms, sources = json.loads(line)
        except ValueError:  # cut short, or the empty first line
            continue
        if sources == present and (key := Sample(*sample[:-1], tuple(sample[-1]))) in known:
            done[key] = Outcome(examples, tuple(alarms))
    return done


@click.command()
@click.option("--seeds", default=10, help="How many seeds (default: 10).")
@click.option("--first", default=1, help="The first of them (default: 1); 0 for new ones.")
@click.option("--operation", multiple=True, help="Only this operation (repeatable).")
@click.option("--profile", default="quick", type=click.Choice(["quick", "full", "nightly"]))
@click.option("--scale", default=1.0, help="The share of the profile's cases that is tried (default: 1).")
@click.option("--dtype", multiple=True, help="Only this dtype (repeatable).")
@click.option("--jobs", default=2, help="Worker processes (default: 2).")
@click.option("--json", "file", default="", help="Where outcomes are kept; the same command goes on from there.")
def main(
    seeds: int,
    first: int,
    operation: tuple[str, ...],
    profile: str,
    scale: float,
    dtype: tuple[str, ...],
    jobs: int,
    file: str,
) -> None:
    """Audit all right implementations with many seeds; exit status 1 if any is refuted, 3 if nothing was executed."""
    numbers = range(first, first + seeds) if first else [secrets.randbits(32) for _ in range(seeds)]
    try:
        wanted = list(samples(operation, numbers, profile, scale, dtype))
    except registry.UnknownName as error:
        raise click.UsageError(str(error)) from None
    outcomes = resumed(file, wanted)
    started, sources = time.monotonic(), state_of_sources()
    waiting = [sample for sample in wanted if sample not in outcomes]
    results = isolated(alarmed, waiting, jobs, lambda sample: MOST)
    for sample, result in track(results, "audits", len(waiting), console=Console(stderr=True)):
        outcome = result
        if isinstance(result, Fallen):
            outcome = Outcome(1, (f"{sample.operation}:{sample.implementation}, seed {sample.seed}: {result.why}",))
        outcomes[sample] = outcome
        if file:
            with Path(file).open("a") as journal:
                journal.write("\n" + json.dumps([astuple(sample), outcome.examples, outcome.alarms, sources]))
    show(outcomes, time.monotonic() - started)
    alarms = any(outcome.alarms for outcome in outcomes.values())
    sys.exit(1 if alarms else 0 if any(outcome.examples for outcome in outcomes.values()) else 3)


def show(outcomes: dict[Sample, Outcome], seconds: float) -> None:
    """The table of operations, then every alarm."""
    table = Table("operation", "implementations", "audits", "cases", "alarms")
    for operation in dict.fromkeys(sample.operation for sample in outcomes):
        mine = {sample: outcome for sample, outcome in outcomes.items() if sample.operation == operation}
        cases, alarms = sum(o.examples for o in mine.values()), sum(len(o.alarms) for o in mine.values())
        table.add_row(operation, *map(str, (len({s.implementation for s in mine}), len(mine), cases, alarms)))
    console = Console(width=100)
    console.print(table)
    alarms = [alarm for outcome in outcomes.values() for alarm in outcome.alarms]
    for alarm in alarms:
        console.print(alarm, markup=False, soft_wrap=True)
    cases = sum(outcome.examples for outcome in outcomes.values())
    console.print(f"{len(alarms)} alarms in {len(outcomes)} audits, {cases} cases, {seconds:.0f} s")


if __name__ == "__main__":
    main()
