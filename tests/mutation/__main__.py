"""`python -m tests.mutation`: the mutation score of the quick audit, per operation and check, and the survivors by name."""

import hashlib
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from opjury.model import registry
from opjury.run.pool import Fallen, isolated
from tests import state_of_sources
from tests.mutation.mutants import Mutant, Outcome, all_killers, equivalent, killed_by, mutants_of, order

LIMIT = 300.0  # seconds for one mutant; its calls have limits of their own, far below


def chosen(operations: tuple[str, ...], each: int, seed: int) -> list[Mutant]:
    """`each` mutants of every right implementation. They stay the same when others appear or vanish."""

    def drawn(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed} {mutant.name}".encode()).digest()

    found = []
    for name in operations or [operation.name for operation in registry.operations()]:
        for entry in registry.implementations(name):
            if not entry.refuted and "cpu" in entry.devices:
                found += sorted(mutants_of(entry), key=drawn)[:each]
    return found


class Journal:
    """Outcomes by mutant, kept in a file line by line, so that a run goes on that was interrupted; those of other sources do not count."""

    def __init__(self, file: str) -> None:
        self._file = Path(file) if file else None
        self._state = state_of_sources()
        self.known: dict[tuple[str, str], Outcome] = {}
        if self._file and self._file.exists():
            for line in map(json.loads, self._file.read_text().splitlines()):
                if line["sources"] == self._state:
                    self.known[line["mutant"], line["by"]] = Outcome(tuple(line["checks"]), line["seconds"])

    def outcomes(self, call: Callable[[Mutant], Outcome], mutants: Sequence[Mutant], jobs: int) -> dict[str, Outcome]:
        """What `call` makes of each mutant, asked for or remembered."""
        by = call.__name__
        waiting = [mutant for mutant in mutants if (mutant.name, by) not in self.known]
        results = isolated(call, waiting, jobs, lambda mutant: LIMIT)
        for mutant, outcome in track(results, by, len(waiting), console=Console(stderr=True)):
            if isinstance(outcome, Fallen):  # a hang or a crash
                outcome = Outcome(("terminates",), None)
            self.known[mutant.name, by] = outcome
            if self._file:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                line = {"mutant": mutant.name, "by": by, **asdict(outcome), "sources": self._state}
                with self._file.open("a") as journal:
                    journal.write(json.dumps(line, ensure_ascii=False) + "\n")
        return {mutant.name: self.known[mutant.name, by] for mutant in mutants}


@click.command()
@click.option("--operation", multiple=True, help="Only this operation (repeatable).")
@click.option("--each", default=4, help="Mutants of each implementation (default: 4).")
@click.option("--seed", default=0, help="Which mutants are taken.")
@click.option("--jobs", default=2, help="Worker processes (default: 2).")
@click.option("--only-killer", default=0, help="Of so many refuted ones, count those that one check alone refutes.")
@click.option(
    "--json",
    "file",
    default="",
    help="Where results are kept; the same command goes on from there. Not after a change.",
)
def main(operation: tuple[str, ...], each: int, seed: int, jobs: int, only_killer: int, file: str) -> None:
    """Measure how many mutants of right implementations the quick audit refutes."""
    known = chosen(operation, each, seed)
    left_out = equivalent(known)
    wanted = [mutant for mutant in known if mutant.name not in left_out]
    journal = Journal(file)
    outcomes = journal.outcomes(killed_by, wanted, jobs)
    killed = [mutant for mutant in wanted if outcomes[mutant.name].checks]
    sample = random.Random(seed).sample(killed, min(only_killer, len(killed)))
    console = Console(width=100)
    console.print(by_operation(wanted, outcomes))
    console.print(by_check(outcomes, journal.outcomes(all_killers, sample, jobs)))
    for mutant in wanted:
        if not outcomes[mutant.name].checks:
            print(f"survives: {mutant.name}  [{mutant.place_in_file}]")
    share = len(killed) / max(len(wanted), 1)
    console.print(f"{len(killed)} of {len(wanted)} refuted ({share:.1%}), {len(left_out)} equivalent ones left out")
    console.print(times(outcomes))
    sys.exit(0 if wanted else 3)


def by_operation(wanted: list[Mutant], outcomes: dict[str, Outcome]) -> Table:
    """How many mutants of each operation are refuted."""
    table = Table("operation", "mutants", "refuted", "first by")
    for operation in dict.fromkeys(mutant.operation for mutant in wanted):
        mine = [outcomes[mutant.name] for mutant in wanted if mutant.operation == operation]
        counted = Counter(check for outcome in mine for check in outcome.checks)
        checks = ", ".join(f"{check} {number}" for check, number in counted.most_common())
        table.add_row(operation, str(len(mine)), str(counted.total()), checks)
    return table


def by_check(first: dict[str, Outcome], sample: dict[str, Outcome]) -> Table:
    """How many mutants each check refutes: first, and, of a sample, at all, and as the only one."""
    firsts = Counter(check for outcome in first.values() for check in outcome.checks)
    at_all = Counter(check for outcome in sample.values() for check in outcome.checks)
    alone = Counter(outcome.checks[0] for outcome in sample.values() if len(outcome.checks) == 1)
    table = Table("check", "first", *([f"at all, of {len(sample)}", "as the only one"] if sample else []))
    for check in order():
        table.add_row(check, str(firsts[check]), *([str(at_all[check]), str(alone[check])] if sample else []))
    return table


def times(outcomes: dict[str, Outcome]) -> str:
    """How long the refuted ones took."""
    seconds = [outcome.seconds for outcome in outcomes.values() if outcome.checks and outcome.seconds is not None]
    half, most = np.percentile(seconds, [50, 95]) if seconds else (0, 0)
    crashed = sum(outcome.seconds is None for outcome in outcomes.values())
    ended = f"; {crashed} ended their process" if crashed else ""
    return f"processor time until refuted: median {half:.2g} s, 95th percentile {most:.2g} s{ended}"


if __name__ == "__main__":
    main()
