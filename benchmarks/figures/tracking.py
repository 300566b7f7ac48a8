"""How good `track` is, printed as figures: `python -m benchmarks.figures.tracking` (`make bench-track`).

Samples: contests as a night runs them, again and again; comparisons in turns of the same files, as a commit is compared with the one
before; and of the same interpreter, as libraries are with those before. From them months are simulated, stretch by stretch so that
neighbouring nights stay as alike as they were, with a step and without: as if a commit had changed the files, as if another version of a
library had come with the step, and as if `--before` had the one before. Then a real repository is followed from commit to commit.
Nothing is asserted.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from string import Template

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import opjury
from opjury.measure.contest import OBVIOUSLY
from opjury.measure.statistics import Ratio
from opjury.model import records, registry
from opjury.track.alarms import relative_time
from opjury.track.change_points import SUSPECT, change_points
from opjury.track.compare import Side, compare_sides
from opjury.track.confirm import AGAIN, CERTAIN, ENOUGH, NEAR, SECONDS, SLOWER, TWICE, slower
from opjury.track.nightly import SEED, Plan
from opjury.track.show import change as change_of
from opjury.track.show import subject

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


def sample(nights, comparisons, upgrades, seconds, file):
    """Append the log-ratios to the baseline of so many nights, a line for each contest, and comparisons of the same with the same.

    Of so many contests, `upgrades`, everybody near the best is compared in two processes, as with another interpreter.
    """
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
            found, _ = compare_sides(here, here, operation, [name], sizes, gradient=gradient, seconds=SECONDS)
            keep_comparisons(file, found, "commit")
    contests = [line for line in lines(file) if "near" in line]
    python = Path(sys.executable)
    again = Side("here again", python=f"{python.parent}/./{python.name}")  # is another one, by its path
    for number in track(range(upgrades), "upgrades", console=Console(stderr=True)):
        one = contests[rng.integers(len(contests))]
        operation, sizes, gradient = one["operation"], one["sizes"], one["gradient"]
        options = dict(gradient=gradient, seconds=SECONDS, seed=number)
        started = time.monotonic()
        found, _ = compare_sides(again, Side("here"), operation, one["near"], sizes, **options)
        keep_comparisons(file, found, "before", took=(time.monotonic() - started) / len(found))


def keep_comparisons(file, found, cause, **facts):
    """A line for each."""
    for one in found:
        seen = dict(low=math.log(one.ratio.low), median=math.log(one.ratio.median), cause=cause, **facts)
        where = one.setting
        keep(file, where.operation, where.sizes, where.gradient, implementation=one.implementation, **seen)


def keep(file, operation, sizes, gradient, **found):
    """Append a line."""
    with file.open("a") as stream:
        stream.write(json.dumps(dict(operation=operation, sizes=sizes, gradient=gradient, **found)) + "\n")


def lines(file):
    """All of them, as data."""
    return list(map(json.loads, file.read_text().splitlines()))


def samples_of(file):
    """Log-ratios of all nights, by series, which series are near the best, ratios of comparisons, by cause, and their seconds."""
    found, close, compared, took = {}, {}, {"commit": [], "before": []}, []
    for line in lines(file):
        for name, value in line.get("ratios", {}).items():
            key = (line["operation"], *line["sizes"].values(), line["gradient"], name)
            found.setdefault(key, []).append(value)
            close.setdefault(key, []).append(name in line["near"])
        if "low" in line:
            compared[line["cause"]].append(Ratio(math.exp(line["median"]), math.exp(line["low"]), math.inf))
        took += [line["took"]] if "took" in line else []
    series = {key: np.array(values) for key, values in found.items() if len(values) >= 2 * STRETCH}
    return series, [key for key in series if np.mean(close[key]) > 0.5], compared, took


def told_slower(compared, height=0.0):
    """Which comparisons tell that something is slower, had there been a step."""
    return np.array([slower(Ratio(r.median * (1 + height), r.low * (1 + height), r.high)) for r in compared])


def nights_like(values, count, rng):
    """So many nights, in stretches of really measured ones."""
    starts = rng.integers(0, len(values) - STRETCH + 1, -(-count // STRETCH))
    return np.concatenate([values[start : start + STRETCH] for start in starts])[:count]


def suspected(values, since):
    """Where there is a step upwards at `since` or later, which `track check` tries, or None where there is none."""
    return next((step.at for step in _upwards(values, SUSPECT) if step.at >= since), None)


def _upwards(values, sure):
    """The steps that count."""
    return [step for step in change_points(values, LEAST, sure) if step.height > 0 and step.exceeds(values)]


def seen_again(nights, at, more):
    """Whether a suspect is sure when it is measured again and again, as `track check` does where there is another library."""
    for count in range(1, AGAIN + 1):
        values = np.concatenate([nights, more[:count]])
        sure, suspect = (
            any(abs(step.at - at) <= NEAR and step.at < len(nights) for step in _upwards(values, level))
            for level in (CERTAIN, SUSPECT)
        )
        if sure or (count >= ENOUGH and not suspect):
            return sure
    return False


def a_month(values, told, height, seed):
    """Of a month with a step after the 20th: which of the three nights after it find it, by a commit, with `--before`, by nights alone."""
    rng = np.random.default_rng(seed)
    at, later = 20, math.log1p(height)
    month, more = nights_like(values, MONTH, rng), nights_like(values, AGAIN, rng) + later
    month[at:] += later
    places = [(month[: at + n], suspected(month[: at + n], at - 1)) for n in (1, 2, 3)]
    in_turns = [rng.choice(told[cause], (3, TWICE)).all(axis=1) for cause in ("commit", "before")]
    by_library = [place is not None and seen_again(nights, place, more) for nights, place in places]
    return np.logical_or.accumulate([*in_turns, by_library], axis=1)


def a_year(values, told, seed):
    """Of a year without a step: nights with a suspect, those at which a commit is blamed for it, or another library."""
    rng = np.random.default_rng(seed)
    year, found = nights_like(values, YEAR, rng), np.zeros(3, int)
    for night in range(15, YEAR):
        at = suspected(year[:night], night - 3)
        if at is not None:
            more = nights_like(values, AGAIN, rng)
            found += (True, rng.choice(told["commit"], TWICE).all(), seen_again(year[:night], at, more))
    return found


def simulate(series, near, compared, took, trials, seed):
    """Print how many steps of who is near the best are found within three nights, and how many false alarms a year has in a hundred series."""
    rng = np.random.default_rng(seed)
    columns = [number for cause in ("commit", "library, --before", "library") for number in (f"{cause}: 1", "2", "3")]
    table = Table("step with a", *columns, title="found within so many nights")
    with ProcessPoolExecutor() as pool:
        for height in (0.03, 0.05, 0.1):
            told = {cause: told_slower(found, height) for cause, found in compared.items()}
            keys = [near[i] for i in rng.integers(len(near), size=trials)]
            months = [pool.submit(a_month, series[key], told, height, rng.integers(2**32)) for key in keys]
            shares = np.mean([month.result() for month in months], axis=0)
            table.add_row(f"{height:.0%}", *(f"{share:.1%}" for share in shares.flatten()))
        console.print(table)
        told = {cause: told_slower(found) for cause, found in compared.items()}
        every = [values for values in series.values() for _ in range(max(1, trials // 200))]
        years = [pool.submit(a_year, values, told, rng.integers(2**32)) for values in every]
        suspects, commits, libraries = 100 * np.mean([year.result() for year in years], axis=0)
    console.print(
        f"no step, {len(years)} years of one series: {suspects:.0f} suspects a year in a hundred series; {commits:.2f} false alarms, had "
        f"commits come every night; {libraries:.2f}, had other libraries"
    )
    for cause, found in compared.items():
        console.print(
            f"{cause}: {len(found)} comparisons of the same: {told[cause].sum()} told that something is slower, where it takes {TWICE} in a "
            f"row for an alarm; their medians scatter by {np.std([r.median for r in found]):.2%}, {SLOWER - 1:.1%} and more would be slower"
        )
    console.print(
        f"with --before {np.mean(took):.1f} s each, had nobody been known not to be slower before: {Plan.budget / np.mean(took):.0f} in a "
        "night's usual budget once more"
    )


MODULE = '''"""suffix_sum(x, dim): out[i] = x[i] + x[i+1] + … along one dimension."""

import time

import numpy as np
import torch

from opjury import Gradient, Operation, Workload, implementation
from opjury.judge.strategies import Case, Space, Tensor, composite, illegal, st


@composite
def cases(draw, space: Space) -> Case:
    shape = draw(space.shapes(1, 3))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    return Case.of(draw(space.tensor(shape, terms=max(shape[dim], 1))), dim)


@composite
def rejects(draw, space: Space) -> Case:
    shape = draw(space.shapes(1, 3))
    dims = st.sampled_from([len(shape), -len(shape) - 1])
    return illegal("dim is no dimension of x", draw(space.tensor(shape)), draw(dims))


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
    """What a command prints. This process ends where it fails."""
    environment = {**os.environ, "PYTHONPATH": path_with(folder)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    if done.returncode not in good:
        raise SystemExit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def path_with(folder):
    """PYTHONPATH with a folder in front."""
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


@click.command()
@click.option("--nights", default=60, show_default=True, help="Of samples; 0 takes those that are there.")
@click.option("--comparisons", default=150, show_default=True, help="Of the same files, in turns.")
@click.option(
    "--upgrades", default=30, show_default=True, help="Contests, everybody in turns with the same interpreter."
)
@click.option("--seconds", default=2.0, show_default=True, help="For the rounds of a contest.")
@click.option("--samples", type=click.Path(path_type=Path), default=Path(".opjury/samples.jsonl"), show_default=True)
@click.option("--trials", default=1000, show_default=True, help="Simulated months.")
@click.option("--seed", default=0, show_default=True)
@click.option("--repository/--no-repository", default=True, help="Follow a real one, too.")
def main(nights, comparisons, upgrades, seconds, samples, trials, seed, repository):
    """Print the figures."""
    samples.parent.mkdir(parents=True, exist_ok=True)
    samples.touch()
    sample(nights, comparisons, upgrades, seconds, samples)
    series, near, compared, took = samples_of(samples)
    if not near or not all(compared.values()):
        raise SystemExit(f"a simulation takes {2 * STRETCH} nights and a comparison of each kind, at the least")
    scatter = {key: np.std(values) for key, values in series.items()}
    for which, keys in ((f"less than {OBVIOUSLY:g} times as slow as the best", near), ("others", series.keys() - near)):
        own = [scatter[key] for key in keys] or [math.nan]
        console.print(
            f"{len(keys)} series of {min(map(len, series.values()))} nights, {which}; scatter of the ratios from night to night: "
            f"median {np.median(own):.2%}, largest {max(own):.2%}"
        )
    simulate(series, near, compared, took, trials, seed)
    if repository:
        with tempfile.TemporaryDirectory() as folder:
            follow_repository(Path(folder))


if __name__ == "__main__":
    main()
