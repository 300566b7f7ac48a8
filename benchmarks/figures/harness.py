"""The cost of the harness: `python -m benchmarks.figures.harness [--everything]` prints it.

Run it on a machine that does nothing else; everything is timed on one thread. Nothing is asserted.
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

OPERATIONS = ("slice_mean", "toeplitz", "cumsum", "difference_matrix")  # whose baselines are audited


def child(*arguments):
    """Run a Python process: its seconds, and its output."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr)
    return time.perf_counter() - started, done.stdout


def measure_audit(operation):
    """Audit the baseline of an operation in this process, and print its name, seconds, examples, peak MiB, and agreement examples a second."""
    import torch

    import opjury
    from opjury.model import registry

    torch.set_num_threads(1)
    name = f"{operation}:{registry.operation(operation).baseline}"
    opjury.audit(name, checks=["terminates"], isolate=False, database="", seed=1)  # imports and first calls
    started = time.process_time()
    found = opjury.audit(name, isolate=False, database="", seed=0)
    seconds = time.process_time() - started
    agreement = [v for v in found.verdicts if v.check == "agreement"]
    rate = sum(v.examples for v in agreement) / sum(v.seconds for v in agreement)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([name, seconds, sum(v.examples for v in found.verdicts), peak, rate]))


def main():
    """Print the table."""
    table = Table("figure", "measured", title=f"opjury on {os.cpu_count()} cores")
    table.add_row("opjury list, s", f"{statistics.median(child('-m', 'opjury', 'list')[0] for _ in range(5)):.2f}")
    rates = []
    for operation in OPERATIONS:
        code = f"from benchmarks.figures.harness import measure_audit; measure_audit({operation!r})"
        name, seconds, examples, peak, rate = json.loads(child("-c", code)[1])
        table.add_row(f"quick audit of {name}", f"{seconds:.1f} s, {examples} examples, {peak:.0f} MiB")
        rates.append(rate)
    table.add_row(f"examples a second, {OPERATIONS[0]} agreement, draw included", f"{rates[0]:.0f}")
    if "--everything" in sys.argv:
        seconds, _ = child("-m", "opjury", "audit", "--seed", "0")
        table.add_row("quick audit of everything, s", f"{seconds:.0f}")
        seconds, _ = child("-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "properties")
        table.add_row("pytest properties, s", f"{seconds:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
