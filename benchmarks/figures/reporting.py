"""The cost of a report: `python -m benchmarks.figures.reporting` (`make bench-report`) prints it.

The script makes up a full run, and histories of one and of ten years, from the registered implementations. It builds the site in a new
process, as a user would, and opens pages in a browser, where there is one. Nothing is asserted.
"""

import datetime
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from opjury.model import records, registry
from opjury.model.dtypes import group_dtypes
from opjury.model.environment import Environment, environment
from opjury.model.records import Measurement, Night, Recommendation, Verdict
from opjury.track import history

WORKLOADS = ("small", "medium", "large")  # of a night
WHERE = Environment(
    opjury="0.1.0", python="3.11.7", torch="2.13.0", numpy="2.4.6", scipy="1.17.1", machine="Linux x86_64, 2 cores", processor="made up"
)  # fmt: skip


def verdicts():
    """The verdicts of a full run: one for each implementation, check and group of dtypes."""
    from opjury.model.arguments import Tensor
    from opjury.model.case import Case

    rng = np.random.default_rng(0)
    case = Case.of(Tensor(np.zeros(3), "float32")).to_json()
    for entry in registry.implementations():
        contract = registry.operation(entry.operation)
        for check in registry.checks():
            for dtypes in group_dtypes(entry.dtypes or contract.dtypes).values():
                wrong, waiver = check in entry.refuted, entry.waived_on("cpu").get(check, "")
                bound = float(rng.uniform(0, 1))
                yield Verdict(
                    operation=entry.operation,
                    implementation=entry.name,
                    check=check,
                    status="refuted" if wrong else "waived" if waiver else "holds",
                    dtypes=dtypes,
                    examples=int(rng.integers(20, 120)),
                    message="result[1] is 1; it should be 2, exactly" if wrong else waiver,
                    observed="[0., 1., 0.]" if wrong else "",
                    expected="[0., 2., 0.]" if wrong else "",
                    counterexample=case if wrong else None,
                    script="import torch\n\nprint(torch.zeros(3))\n" * 20 if wrong else "",
                    error_of_bound=3.0 if wrong else bound,
                    error_ulps=3 * bound,
                    seconds=0.2,
                    control=bool(entry.refuted),
                    environment=WHERE,
                )


def measurements(rng, slower=None, environment=None, workloads=("medium",)):
    """Measurements of each operation in both directions. `slower` maps full names to the factor by which they take longer."""
    for contract in registry.operations():
        entries = [e for e in registry.implementations(contract.name) if not e.refuted]
        known = registry.workload(contract.name).sizes
        for workload, gradient in itertools.product(workloads, (False, True) if contract.differentiable else (False,)):
            sizes = dict(known[workload])
            common = dict(
                operation=contract.name, sizes=sizes, dtype="float32", gradient=gradient, environment=environment
            )
            times = {
                e.name: 1e-5 * 1.5**i * (slower or {}).get(f"{contract.name}:{e.name}", 1.0) * rng.lognormal(0, 0.01)
                for i, e in enumerate(entries)
            }
            best = min(times, key=times.get)
            for name, seconds in times.items():
                ratio = seconds / times[best]
                yield Measurement(
                    **common,
                    implementation=name,
                    seconds=seconds * rng.lognormal(0, 0.1),
                    least_seconds=seconds,
                    least_floor_seconds=5e-6,
                    reference=best,
                    ratio=ratio,
                    low=ratio * 0.97,
                    high=ratio * 1.03,
                    tied=ratio < 1.02,
                    floor_seconds=5e-6,
                    peak_bytes=100_000,
                    error_ulps=2.5,
                    rounds=300,
                )
            yield Recommendation(**common, implementation=best, reason="the fastest one", tied=(best,))


def write_history(folder, days, steps=(), workloads=("medium",)):
    """Write a history of `days` nights. Each step is a full name, a day, and the factor by which it takes longer from then on."""
    rng = np.random.default_rng(0)
    judged = [record for record in history.in_short(verdicts()) if isinstance(record, records.Standing)]
    first = datetime.datetime(2026, 1, 1, 2, tzinfo=datetime.UTC)
    for day in range(days):
        slower = {name: factor for name, since, factor in steps if day >= since}
        night = Night(
            date=(first + datetime.timedelta(days=day)).isoformat(timespec="seconds"),
            commit=f"{day:010x}",
            machine="made-up",
            profile="quick",
            seconds=100.0,
            environment=WHERE,
        )
        history.add_night(night, [*measurements(rng, slower, workloads=workloads), *judged], folder)


def build(*arguments):
    """Elapsed seconds, processor seconds and peak memory of `opjury report` in a new process."""
    program = (
        "import resource, sys; from opjury.cli.main import main; main(sys.argv[1:], standalone_mode=False); "
        "used = resource.getrusage(resource.RUSAGE_SELF); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)"
    )
    started = time.perf_counter()
    command = [sys.executable, "-c", program, "report", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    computed, peak = done.stdout.split()[-2:]
    return time.perf_counter() - started, float(computed), int(peak)


def browser():
    """The path of the system's Chromium, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def paints(page):
    """Milliseconds to the first paint of a page on disk, in five tabs, or nothing without a browser or Playwright."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    if browser() is None:
        return []
    script = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    with sync_playwright() as play, play.chromium.launch(executable_path=browser(), args=["--no-sandbox"]) as chromium:
        found = []
        for _ in range(5):
            tab = chromium.new_page()
            tab.goto(page.resolve().as_uri())
            tab.wait_for_function(script.replace(".startTime", "") + " !== undefined")
            found.append(tab.evaluate(script))
            tab.close()
    return found


@click.command()
@click.option(
    "--days", multiple=True, type=int, default=(365, 3650), show_default=True, help="Of history (repeatable)."
)
def main(days):
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        full = [*verdicts(), *measurements(np.random.default_rng(1), environment=WHERE, workloads=WORKLOADS)]
        records.write(root / "full.jsonl", full)
        where = environment()
        print("$ python -m benchmarks.figures.reporting")
        print(f"{where.machine}, {where.processor}, Python {where.python}")
        print(f"A full run of {len(registry.implementations())} implementations, {len(full)} records")
        for count in days:
            write_history(root / "history", count, [("cumsum:hillis_steele", count - 30, 1.3)], workloads=WORKLOADS)
            shutil.rmtree(root / "site", ignore_errors=True)
            load = max(0.0, os.getloadavg()[0] - 1)
            took, computed, peak = build(root / "full.jsonl", "--history", root / "history", "--output", root / "site")
            sizes = {path: path.stat().st_size for path in root.joinpath("site").rglob("*") if path.is_file()}
            largest = max((path for path in sizes if path.suffix == ".html"), key=sizes.get)
            print(
                f"{count} nights of history: built in {took:.1f} s ({computed:.1f} s of processor time; {load:.1f} other processes ran)"
            )
            print(f"  {peak / 2**20:.0f} MiB of memory, site of {sum(sizes.values()) / 2**20:.1f} MiB")
            print(f"  start page: {sizes[root / 'site' / 'index.html'] / 1000:.0f} kB")
            print(f"  largest page: {largest.relative_to(root / 'site')}, {sizes[largest] / 1000:.0f} kB")
            for page in ("index.html", "operations/slice_mean.html", "regressions.html"):
                if found := paints(root / "site" / page):
                    print(
                        f"  first paint of {page}: {np.median(found):.0f} ms, at most {max(found):.0f} ms of {len(found)}"
                    )
            shutil.rmtree(root / "history")


if __name__ == "__main__":
    main()
