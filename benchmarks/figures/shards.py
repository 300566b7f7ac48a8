"""How evenly an audit is split: `python -m benchmarks.figures.shards COSTS.jsonl FOUND.jsonl`, the records of two audits of everything.

The split is by the seconds of the first, or by examples alone, and judged by those of the second.
"""

import argparse
from pathlib import Path

from opjury.audit import identity
from opjury.judge.task import Request
from opjury.model import records, registry
from opjury.model.records import Verdict
from opjury.scale.shards import split


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("costs", type=Path)
    parser.add_argument("found", type=Path)
    given = parser.parse_args()
    costs, found = ([r for r in records.read(p) if isinstance(r, Verdict)] for p in (given.costs, given.found))
    seconds = {identity(v): v.seconds for v in found}
    tasks = [
        task
        for contract in registry.operations()
        for entry in registry.implementations(contract.name)
        for task in Request().tasks(contract.name, entry.name)
        if task.check != "devices"
    ]
    known = [task for task in tasks if identity(task) in seconds]
    print(f"{len(known)} of {len(tasks)} tasks are in {given.found}: {sum(seconds[identity(t)] for t in known):.0f} s")
    print("the longest shard's seconds, as a multiple of the mean:")
    print("shards   by examples   by recorded seconds")
    for of in (2, 4, 8, 16, 32):
        columns = []
        for recorded in ([], costs):
            loads = [sum(seconds[identity(task)] for task in mine) for mine in split(known, of, recorded)]
            columns.append(max(loads) / (sum(loads) / of))
        print(f"{of:6} {columns[0]:13.2f} {columns[1]:21.2f}")


if __name__ == "__main__":
    main()
