"""Whether `once` / `examples` of one run tells the share of new kinds of behaviour in another: `python -m benchmarks.figures.more_cases`."""

from collections import Counter
from dataclasses import replace

import numpy as np
from rich.console import Console
from rich.table import Table

from opjury.judge.search import Search
from opjury.judge.task import Request, applies, implementation_of
from opjury.judge.trial import Trial
from opjury.model import registry

OPERATIONS = ("circulant", "cumsum", "vector_norm", "slice_mean", "gather", "moving_mean")
JUDGED = ("agreement", "form", "layouts", "specials", "gradient", "laws")


def seen(task, seed):
    """Kinds of behaviour with the number of examples that showed them."""
    trial = Trial(registry.operation(task.operation), implementation_of(task))
    search = Search(trial, replace(task, seed=seed))
    search.run()
    return search.seen


def main():
    """Print a line for each check, of one implementation of each operation, and how well they agree."""
    found = {check: [] for check in JUDGED}
    request = Request(profile="nightly", checks=JUDGED, dtypes="float32", scale=0.1)
    for name in OPERATIONS:
        for task in filter(applies, request.tasks(name, registry.operation(name).baseline)):
            first, second = seen(task, 1), seen(task, 2)
            expected = sum(count == 1 for count in first.values()) / first.total()
            found[task.check].append(
                (expected, Counter({k: n for k, n in second.items() if k not in first}).total() / second.total())
            )
    table = Table("check", "predicted share of new kinds", "seen with another seed")
    for check, pairs in found.items():
        table.add_row(check, *(" ".join(f"{value:.2f}" for value in column) for column in zip(*pairs)))
    Console().print(table)
    pairs = np.array([pair for mine in found.values() for pair in mine])
    gap = np.abs(pairs[:, 0] - pairs[:, 1]).max()
    print(
        f"mean {pairs[:, 0].mean():.2f} and {pairs[:, 1].mean():.2f}, correlation {np.corrcoef(pairs.T)[0, 1]:.3f}, gap at most {gap:.2f}"
    )


if __name__ == "__main__":
    main()
