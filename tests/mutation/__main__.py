"""`python -m tests.mutation`: the mutation score of the quick audit, per operation and check, and the survivors by name."""

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from opjury import registry
from opjury.execute import Fallen, isolated
from tests.mutation.mutants import Mutant, killed_by, mutants_of

EQUIVALENT = Path(__file__).with_name("equivalent.json")


def chosen(operations: tuple[str, ...], each: int, seed: int) -> list[Mutant]:
    """`each` mutants of every right implementation, all different."""
    found = []
    for name in operations or [operation.name for operation in registry.operations()]:
        for entry in registry.implementations(name):
            if not entry.refuted:
                known = sorted(mutants_of(entry), key=lambda m: m.name)
                found += random.Random(f"{seed} {entry.name}").sample(known, min(each, len(known)))
    return found


@click.command()
@click.option("--operation", multiple=True, help="Only this operation (repeatable).")
@click.option("--each", default=4, help="Mutants of each implementation (default: 4).")
@click.option("--seed", default=0, help="Which mutants are taken.")
@click.option("--jobs", default=2, help="Worker processes (default: 2).")
@click.option("--json", "file", default="", help="Where results are kept; the same command goes on from there.")
def main(operation: tuple[str, ...], each: int, seed: int, jobs: int, file: str) -> None:
    """Measure how many mutants of right implementations the quick audit refutes."""
    equivalent = json.loads(EQUIVALENT.read_text())
    wanted = {mutant.name: mutant for mutant in chosen(operation, each, seed) if mutant.name not in equivalent}
    outcomes: dict[str, str] = {}
    if file and Path(file).exists():
        outcomes = {
            name: check for name, check in map(json.loads, Path(file).read_text().splitlines()) if name in wanted
        }
    started = time.monotonic()
    waiting = [mutant for name, mutant in wanted.items() if name not in outcomes]
    results = isolated(killed_by, waiting, jobs, lambda mutant: 300.0)
    for mutant, outcome in track(results, "mutants", len(waiting), console=Console(stderr=True)):
        outcomes[mutant.name] = "terminates" if isinstance(outcome, Fallen) else outcome
        if file:
            with Path(file).open("a") as journal:
                journal.write(json.dumps([mutant.name, outcomes[mutant.name]]) + "\n")
    show(wanted, outcomes, time.monotonic() - started)
    sys.exit(0 if outcomes else 3)


def show(wanted: dict[str, Mutant], outcomes: dict[str, str], seconds: float) -> None:
    """The table of operations, the checks that killed, the survivors."""
    table = Table("operation", "mutants", "refuted", "first by")
    for operation in dict.fromkeys(mutant.operation for mutant in wanted.values()):
        mine = [outcomes[name] for name, mutant in wanted.items() if mutant.operation == operation and name in outcomes]
        counted = Counter(filter(None, mine))
        checks = ", ".join(f"{check} {number}" for check, number in counted.most_common())
        table.add_row(operation, str(len(mine)), str(counted.total()), checks)
    console = Console(width=100)
    console.print(table)
    survivors = sorted(name for name, check in outcomes.items() if not check)
    for name in survivors:
        console.print(f"survives: {name}", markup=False)
    killed = len(outcomes) - len(survivors)
    console.print(f"{killed} of {len(outcomes)} refuted ({killed / max(len(outcomes), 1):.1%}) in {seconds:.0f} s")


if __name__ == "__main__":
    main()
