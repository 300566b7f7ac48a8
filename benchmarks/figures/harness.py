"""What the harness itself costs, printed as figures: `python -m benchmarks.figures.harness [--everything]`.

Nothing here is asserted. Run it on a machine that does nothing else; everything is timed on one thread.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

OPERATIONS = ("slice_mean", "toeplitz", "cumsum", "difference_matrix")


def child(*arguments):
    """Seconds of a Python process, and what it printed."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return time.perf_counter() - started, done.stdout


def audit_of_one(name):
    """Processor seconds, examples and peak memory (MiB) of the quick audit of one implementation, in a fresh process."""
    code = f"from benchmarks.figures.harness import measure_audit; measure_audit({name!r})"
    return json.loads(child("-c", code)[1])


def measure_audit(name):
    """Audit one implementation in this process and print what that took."""
    import torch

    import opjury

    torch.set_num_threads(1)
    opjury.audit(name, checks=["terminates"], isolate=False, database="", seed=1)  # imports and first calls
    started = time.process_time()
    found = opjury.audit(name, isolate=False, database="", seed=0)
    seconds = time.process_time() - started
    agreement = [v for v in found.verdicts if v.check == "agreement"]
    rate = sum(v.examples for v in agreement) / sum(v.seconds for v in agreement)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, sum(v.examples for v in found.verdicts), peak, rate]))


def main():
    """Print the table."""
    table = Table("figure", "measured", title=f"opjury on {os.cpu_count()} cores")
    table.add_row("opjury list, s", f"{statistics.median(child('-m', 'opjury', 'list')[0] for _ in range(5)):.2f}")
    audits = {name: audit_of_one(name) for name in _baselines()}
    for name, (seconds, examples, peak, _) in audits.items():
        table.add_row(f"quick audit of {name}", f"{seconds:.1f} s, {examples} examples, {peak:.0f} MiB")
    rate = audits[_baselines()[0]][3]
    table.add_row("examples a second, slice_mean agreement, draw included", f"{rate:.0f}")
    if "--everything" in sys.argv:
        seconds, _ = child("-m", "opjury", "audit", "--seed", "0")
        table.add_row("quick audit of everything, s", f"{seconds:.0f}")
        seconds, _ = child("-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "properties")
        table.add_row("pytest properties, s", f"{seconds:.0f}")
    Console(width=100).print(table)


def _baselines():
    from opjury.model import registry

    return [f"{name}:{registry.operation(name).baseline}" for name in OPERATIONS]


if __name__ == "__main__":
    main()
