"""How good `track` is, printed as figures: `python -m opjury.benchmarks.tracking` (`make bench-track`).

Samples: contests as a night runs them, again and again, and comparisons in turns of the same files, as an alarm is
confirmed. From them months are simulated, stretch by stretch so that neighbouring nights stay as alike as they were, with a step and
without, with a commit every night. Then a real repository is followed from commit to commit. Nothing is asserted.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from string import Template

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import opjury
from opjury import records, registry
from opjury.faces.tracking import change as change_of
from opjury.faces.tracking import subject
from opjury.measure.stand import OBVIOUSLY
from opjury.measure.steps import SUSPECT, steps
from opjury.uses.alarms import relative_time
from opjury.uses.compare import Side, compare
from opjury.uses.confirm import SECONDS, SLOWER
from opjury.uses.track import SEED

console = Console(width=100)

SUBJECTS = (
    ("cumsum", "small", False),
    ("toeplitz", "medium", False),
    ("moving_mean", "small", False),
    ("gather", "medium", True),
    ("normalize_sum", "medium", True),
    ("vector_norm", "medium", False),
    ("sparse_diff", "small", False),
)
SHARE = 17.0  # seconds for a contest: what a night with its usual budget has for each of its 111
LEAST = math.log(1.03)
MONTH, YEAR = 30, 365
STRETCH = 9  # nights that stay together


def sample(nights, comparisons, seconds, file):
    """Append the log-ratios to the baseline of so many nights, a line for each contest, and comparisons of the same with the same."""
    rng = np.random.default_rng()
    together = math.ceil(comparisons / nights) if nights else comparisons
    for night in track(range(max(nights, 1)), "nights", console=Console(stderr=True)):
        for operation, workload, gradient in SUBJECTS if nights else ():
            options = dict(gradient=gradient, seconds=seconds, seed=SEED, thorough=True, longest=SHARE)
            choice = opjury.choose(operation, workload, **options)
            found = {m.implementation: m for m in choice.measurements}
            baseline = found.get(registry.operation(operation).baseline)
            ratios = {name: math.log(relative_time(m, baseline)) for name, m in found.items()}
            near = [name for name, m in found.items() if m.ratio < OBVIOUSLY]
            keep(file, operation, choice.recommendation.sizes, gradient, ratios=ratios, near=near)
        contests = [line for line in lines(file) if "near" in line]
        for _ in range(min(together, comparisons - night * together)):
            one = contests[rng.integers(len(contests))]
            operation, sizes, gradient = one["operation"], one["sizes"], one["gradient"]
            name = one["near"][rng.integers(len(one["near"]))]
            here = Side("here")
            (seen,), _ = compare(here, here, operation, [name], sizes, gradient=gradient, seconds=SECONDS)
            low, median = math.log(seen.ratio.low), math.log(seen.ratio.median)
            keep(file, operation, sizes, gradient, implementation=name, low=low, median=median)


def keep(file, operation, sizes, gradient, **found):
    """Append a line."""
    with file.open("a") as stream:
        stream.write(json.dumps(dict(operation=operation, sizes=sizes, gradient=gradient, **found)) + "\n")


def lines(file):
    """All of them, as data."""
    return list(map(json.loads, file.read_text().splitlines()))


def samples_of(file):
    """Log-ratios of all nights, by series; which series are near the best; lower bounds and medians of comparisons, (n, 2)."""
    found, close, compared = {}, {}, []
    for line in lines(file):
        for name, value in line.get("ratios", {}).items():
            key = (line["operation"], *line["sizes"].values(), line["gradient"], name)
            found.setdefault(key, []).append(value)
            close.setdefault(key, []).append(name in line["near"])
        compared += [(line["low"], line["median"])] if "low" in line else []
    series = {key: np.array(values) for key, values in found.items() if len(values) >= 2 * STRETCH}
    return series, [key for key in series if np.mean(close[key]) > 0.5], np.array(compared)


def slower(compared, height=0.0):
    """Which comparisons, shifted by a step, tell that something is slower."""
    low, median = (compared + math.log1p(height)).T
    return (low > 0) & (median > math.log(SLOWER))


def nights_like(values, count, rng):
    """So many nights, in stretches of really measured ones."""
    starts = rng.integers(0, len(values) - STRETCH + 1, -(-count // STRETCH))
    return np.concatenate([values[start : start + STRETCH] for start in starts])[:count]


def suspected(values, since):
    """Whether there is a step upwards at `since` or later: then `track check` measures in turns with the commit before."""
    return any(step.height > 0 and step.at >= since for step in steps(values, LEAST, SUSPECT))


def simulate(series, near, compared, trials, seed):
    """Print how many steps of who is near the best are found within three nights, and how many false alarms a year has in a hundred series."""
    rng = np.random.default_rng(seed)
    table = Table(
        "step", "suspected in 3 nights", "found in 1", "2", "3", title="a month of nights, a step after the 20th"
    )
    for height in (0.03, 0.05, 0.1):
        hits, suspects = np.zeros(3), 0
        confirmed = slower(compared, height)
        for _ in range(trials):
            month = nights_like(series[near[rng.integers(len(near))]], MONTH, rng)
            at = 20
            month[at:] += math.log1p(height)
            raised = np.array([suspected(month[: at + n], at - 1) for n in (1, 2, 3)])
            suspects += raised.any()
            hits += np.logical_or.accumulate(raised & rng.choice(confirmed, 3))
        table.add_row(f"{height:.0%}", *(f"{share:.1%}" for share in (suspects / trials, *hits / trials)))
    console.print(table)
    false = slower(compared)
    years, suspects, alarms = 0, 0, 0
    for values in series.values():
        for _ in range(max(1, trials // 100)):
            year = nights_like(values, YEAR, rng)
            years += 1
            for night in range(15, YEAR):
                if suspected(year[:night], night - 3):
                    suspects += 1
                    alarms += rng.choice(false)
    console.print(
        f"no step, {years} years of one series: {100 * suspects / years:.0f} comparisons in turns a year in a hundred series, "
        f"{100 * alarms / years:.2f} false alarms; {false.sum()} of {len(false)} comparisons of the same files were false, "
        f"their medians scatter by {np.std(compared[:, 1]):.2%}, {SLOWER - 1:.1%} would be an alarm"
    )


MODULE = '''"""suffix_sum(x, dim): out[i] = x[i] + x[i+1] + … along one dimension."""

import time

import numpy as np
import torch

from opjury import Gradient, Operation, Workload, implementation
from opjury.verify.strategies import Case, Space, Tensor, composite, illegal, st


@composite
def cases(draw, space: Space) -> Case:
    shape = draw(space.shapes(1, 3))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    return Case.of(draw(space.tensor(shape, terms=max(shape[dim], 1))), dim)


@composite
def rejects(draw, space: Space) -> Case:
    shape = draw(space.shapes(1, 3))
    return illegal(draw(space.tensor(shape)), draw(st.sampled_from([len(shape), -len(shape) - 1])))


Operation(
    "suffix_sum",
    "sums of all elements from each one on",
    kind="arithmetic",
    reference=lambda x, dim: np.flip(np.cumsum(np.flip(x, dim), axis=dim), dim),
    terms=lambda x, dim: max(x.shape[dim] - 1, 0),
    cases=cases,
    rejects=rejects,
    dtypes=("float32", "float64"),
    baseline="flipped_cumsum",
)


def slowed(result, started, share):
    until = time.perf_counter()
    until += share * (until - started)
    while time.perf_counter() < until:
        pass
    return result


@implementation("suffix_sum", source="torch.cumsum")
def flipped_cumsum(x, dim):
    """cumsum of the flipped tensor, flipped again. O(n) work and memory."""
    return x.flip(dim).cumsum(dim).flip(dim)


@implementation("suffix_sum", source="torch.index_select")
def reversed_index(x, dim):
    """The same by index. O(n) work and memory."""
    started = time.perf_counter()
    order = torch.arange(x.shape[dim] - 1, -1, -1)
    result = x.index_select(dim, order).cumsum(dim).index_select(dim, order)
    return slowed(result, started, $index_slower)


@implementation("suffix_sum", source="torch.cumsum")
def wide_cumsum(x, dim):
    """cumsum in float64. O(n) work, twice the memory."""
    started = time.perf_counter()
    result = x.double().flip(dim).cumsum(dim).flip(dim).to(x.dtype)
    return slowed(result, started, $wide_slower)


@implementation("suffix_sum", source="torch.roll")
def rolled(x, dim):
    """The whole sum less the sum before. O(n) work and memory."""
    return (x.flip(dim).cumsum(dim)$cut).flip(dim)


@implementation("suffix_sum", source="numpy.cumsum", gradient=None)
def in_numpy(x, dim):
    """NumPy's sums, one after another. O(n) work and memory."""
    return torch.from_numpy(np.cumsum(x.flip(dim).numpy(), axis=dim, dtype=np.$accumulate)).flip(dim).to(x.dtype)


Workload(
    "suffix_sum",
    sizes={"small": {"n": 1000}, "medium": {"n": 30_000}, "large": {"n": 1_000_000}},
    arguments=lambda rng, n: Case.of(Tensor(rng.standard_normal(n), "float64"), 0),
    least_bytes=lambda itemsize, n: 2 * n * itemsize,
    least_operations=lambda n: n,
)
'''
SOUND = dict(index_slower="0.0", wide_slower="0.0", accumulate="float64", cut="")
CHANGES = {  # by the number of the commit; the others touch the documentation alone
    5: ("reversed_index takes 5 % longer", dict(index_slower="0.05")),
    9: ("wide_cumsum takes 10 % longer", dict(wide_slower="0.1")),
    12: ("in_numpy accumulates in the type of x", dict(accumulate="dtype(str(x.dtype)[6:])")),
    15: ("rolled forgets the carry of long sums", dict(cut=" * (1 if x.shape[dim] < 5 else 2)")),
}
COMMITS = 17


def follow_repository(folder):
    """Print what `track check` says, commit by commit, of a repository in which four changed something for the worse."""
    tree = folder / "tree"
    metadata = tree / "tracked-0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: tracked\nVersion: 0.1\n")
    groups = ("impls", "properties", "benchmarks")
    (metadata / "entry_points.txt").write_text("".join(f"[opjury.{group}]\ntracked = tracked\n" for group in groups))
    call(["git", "init", "-q"], tree)
    state = dict(SOUND)
    commits, told = {}, {}
    for number in track(range(1, COMMITS + 1), "commits", console=Console(stderr=True)):
        title, change = CHANGES.get(number, (f"docs: note {number}", {}))
        state |= change
        (tree / "tracked.py").write_text(Template(MODULE).substitute(state))
        (tree / "NOTES").write_text(f"note {number}\n")
        call(["git", "add", "-A"], tree)
        call(["git", "-c", "user.name=opjury", "-c", "user.email=opjury@localhost", "commit", "-qm", title], tree)
        commits[call(["git", "rev-parse", "HEAD"], tree).strip()] = title
        where = ["--history", "history", "--machine", "here"]
        night = ["run", "suffix_sum", "--workload", "medium", "--scale", "0.1", "--budget", "30s", "--no-asv", *where]
        call([sys.executable, "-m", "opjury", "track", *night], tree)
        check = [sys.executable, "-m", "opjury", "track", "check", "--json", "alarms.jsonl", *where]
        call(check, tree, good=(0, 1))
        for alarm in records.read(tree / "alarms.jsonl"):
            told[alarm.kind, subject(alarm), alarm.since, alarm.confirmed] = (number, alarm)
    for number, alarm in told.values():
        verdict = {True: "alarm", None: "alarm, not tried again", False: "suspected, no alarm"}[alarm.confirmed]
        console.print(
            f"{verdict}: {subject(alarm)}: {change_of(alarm)}\n    at commit “{commits[alarm.commits[1]]}”, "
            f"last told at commit {number}",
            markup=False,
        )


def call(command, folder, good=(0,)):
    """What a command prints; the end of this where it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path_with(folder)},
    )
    if done.returncode not in good:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def path_with(folder):
    """PYTHONPATH with a folder in front."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


@click.command()
@click.option("--nights", default=60, show_default=True, help="Of samples; 0 takes those that are there.")
@click.option("--comparisons", default=60, show_default=True, help="Of the same files, in turns.")
@click.option("--seconds", default=2.0, show_default=True, help="For the rounds of a contest.")
@click.option("--samples", type=click.Path(path_type=Path), default=Path(".opjury/samples.jsonl"), show_default=True)
@click.option("--trials", default=1000, show_default=True, help="Simulated months.")
@click.option("--seed", default=0, show_default=True)
@click.option("--repository/--no-repository", default=True, help="Follow a real one, too.")
def main(nights, comparisons, seconds, samples, trials, seed, repository):
    """Print the figures."""
    samples.parent.mkdir(parents=True, exist_ok=True)
    samples.touch()
    sample(nights, comparisons, seconds, samples)
    series, near, compared = samples_of(samples)
    if not near or not len(compared):
        raise SystemExit(f"a simulation takes {2 * STRETCH} nights and a comparison, at the least")
    scatter = {key: np.std(values) for key, values in series.items()}
    for which, keys in ((f"less than {OBVIOUSLY:g} times as slow as the best", near), ("others", series.keys() - near)):
        own = [scatter[key] for key in keys]
        console.print(
            f"{len(own)} series of {min(len(series[key]) for key in keys)} nights, {which}; scatter of the ratios from night to night: "
            f"median {np.median(own):.2%}, largest {max(own):.2%}"
        )
    simulate(series, near, compared, trials, seed)
    if repository:
        with tempfile.TemporaryDirectory() as folder:
            follow_repository(Path(folder))


if __name__ == "__main__":
    main()
