"""The record of one GPU, within a budget of minutes: `python -m benchmarks.figures.gpu FOLDER` (`make gpu FOLDER=…`).

Runs from a source checkout with `PYTHONPATH=src` and no network: torch, Triton, NumPy, SciPy, hypothesis and pytest must be there; the other
dependencies may come as wheels (`make gpu-wheels`). Four parts share the budget: the tests that need CUDA; contests of the Triton kernels with
what torch has, beside a copy on the device, at sizes several times its second-level cache; the quick audit of everything, the most telling checks
first; a choice for each operation's large workload. FOLDER gets summary.md, and the records as JSON Lines.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS = ROOT / ".opjury" / "wheels"
SHARES = {"tests": 0.2, "bars": 0.5, "audit": 0.88, "choices": 1.0}  # of the budget, by when each part ends
FIRST_CHECKS = ("agreement", "devices", "gradient", "determinism", "layouts", "specials")

# Operation; competitors, the kernel first; sizes of some 250 MB and more; how many times the copy is allowed.
BARS = (
    ("toeplitz", ("diagonal_kernel", "unfold_flip"), dict(rows=8192, columns=8192), 1.15),
    (
        "unfold",
        ("window_kernel", "torch_unfold", "tensor_unfold_twice"),
        dict(batch=8, channels=16, side=256, kernel=3, dilation=1, stride=1),
        1.15,
    ),
    (
        "moving_mean",
        ("block_kernel", "average_pool", "prefix_sum_difference"),
        dict(rows=1, n=2**25, window=32),
        1.15,
    ),
    (
        "normalize_sum",
        ("fused_kernel", "plain_division", "closed_form_backward"),
        dict(rows=2048, columns=2**14),
        1.15,
    ),
    (
        "slice_mean",
        ("ragged_kernel", "segment_reduce", "embedding_bag"),
        dict(rows=500_000, features=64, slices=125, length=4000),
        1.3,
    ),
    ("cumsum", ("decoupled_look_back", "torch_cumsum"), dict(rows=1, columns=2**25, dim=1), 1.25),
    ("cumsum", ("decoupled_look_back", "torch_cumsum"), dict(rows=2048, columns=2**14, dim=0), 1.25),
    ("vector_norm", ("three_scales_kernel", "library"), dict(n=2**26), None),
    *(
        ("slice_mean", ("ragged_kernel", "segment_reduce", "embedding_bag"), sizes, None)
        for sizes in (
            dict(rows=100, features=16, slices=20, length=10),
            dict(rows=10_000, features=64, slices=500, length=100),
            dict(rows=100_000, features=64, slices=1000, length=3000),
            dict(rows=100_000, features=16, slices=20_000, length=8),
        )
    ),
)
BACKWARD = 1.3


def main():
    """All four parts, each within its share of the budget. The exit status is 0 when something was recorded and nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--budget", type=float, default=520, help="seconds")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--wheels", type=Path, default=WHEELS, help="where missing dependencies lie as wheels")
    parser.add_argument("--small", action="store_true", help="small sizes everywhere, to try this elsewhere")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as unpacked:
        add_wheels(options.wheels, unpacked)
        import torch

        if options.device.startswith("cuda") and not torch.cuda.is_available():
            sys.exit("opjury: no CUDA device is present; nothing was run")
        lines = ["# What one GPU said", "", *map("- {}".format, described(options.device)), ""]
        failed = False
        for name, part in (("tests", tests), ("bars", bars), ("audit", audit), ("choices", choices)):
            until = started + SHARES[name] * options.budget
            print(f"{name}: until {until - started:.0f} s", file=sys.stderr, flush=True)
            try:
                found, bad = part(options, until)
            except Exception:  # what the other parts find is worth having all the same
                found, bad = ["```", traceback.format_exc(), "```"], True
            failed |= bad
            lines += [f"## {name.capitalize()}", "", *found, ""]
            (options.folder / "summary.md").write_text("\n".join(lines))
    lines += [f"{time.monotonic() - started:.0f} s in all."]
    (options.folder / "summary.md").write_text("\n".join(lines) + "\n")
    sys.exit(1 if failed else 0)


def add_wheels(folder, unpacked):
    """Let this process, and those that it starts, import from the wheels what is not installed."""
    for wheel in sorted(folder.glob("*.whl")):
        zipfile.ZipFile(wheel).extractall(unpacked)
    sys.path.append(unpacked)
    places = [str(ROOT / "src"), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep), unpacked]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(filter(None, places)))


def described(device):
    """The machine and the versions, line by line."""
    import torch

    from opjury.model.environment import environment

    yield from (f"{name}: {value}" for name, value in vars_of(environment()).items() if value)
    yield f"triton: {version('triton')}"
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        yield f"CUDA {torch.version.cuda}, compute capability {properties.major}.{properties.minor}, driver {driver()}"
        cache = getattr(properties, "L2_cache_size", 0) / 2**20
        yield f"memory {properties.total_memory / 2**30:.0f} GiB, second-level cache {cache:.0f} MiB"
    else:
        yield f"on the device {device}: nothing here was run on CUDA"


def vars_of(record):
    """The fields of a record."""
    return {name: getattr(record, name) for name in record.__struct_fields__}


def version(package):
    """Of an installed package, or "absent"."""
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def driver():
    """The version of the driver, as nvidia-smi tells it."""
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def run(command, until):
    """The output of a command and its exit status, or None where it had to be ended."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=max(until - time.monotonic(), 1))
        return output, process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.communicate()[0], None


def tests(options, until):
    """The tests that need CUDA."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", "tests/test_cuda.py"]
    output, status = run(command, until)
    (options.folder / "tests.txt").write_text(output)
    last = next((line for line in reversed(output.splitlines()) if line.strip()), "no output")
    how = "ended after its share of the time" if status is None else f"exit status {status}"
    return [f"`{' '.join(command[1:])}`: {last.strip('= ')} ({how})"], status not in (0, None)


def bars(options, until):
    """The kernels beside a copy on the device, forward and backward."""
    from opjury.model import records, registry

    table = [
        "| operation | sizes | direction | implementation | × copy | 99 % interval | bar |",
        "|---|---|---|---|---|---|---|",
    ]
    found, notes = [], []
    contests = [(*bar, gradient) for gradient in (False, True) for bar in BARS]
    for number, (operation, names, sizes, bar, gradient) in enumerate(contests):
        left = until - time.monotonic()
        if left < 5:
            notes.append(f"- {len(contests) - number} of {len(contests)} contests were left out: the time was spent")
            break
        if options.small:
            sizes = registry.workload(operation).sizes["small"]
        bar = BACKWARD if bar and gradient else bar
        records_of, faults = contest(operation, names, sizes, gradient, options, min(3.0, left / 3))
        found += records_of
        shown = ", ".join(f"{name}={n}" for name, n in sizes.items())
        direction = "forward and backward" if gradient else "forward"
        notes += [f"- {operation}:{name}, {shown}, {direction}: {why}" for name, why in faults.items()]
        for m in records_of:
            met = "" if not bar or m.implementation != names[0] else f"{bar} {'met' if m.ratio <= bar else 'missed'}"
            row = (operation, shown, direction, m.implementation, f"{m.ratio:.3f}", f"{m.low:.3f}–{m.high:.3f}", met)
            table.append(f"| {' | '.join(row)} |")
    records.write(options.folder / "bars.jsonl", found)
    return [*table, "", *notes], False


def contest(operation, names, sizes, gradient, options, seconds):
    """The measurements of one contest, relative to the copy, and why competitors were disqualified."""
    import numpy as np

    from opjury.measure.apart import run_contest
    from opjury.measure.contest import FLOOR, Competitor, Contest
    from opjury.measure.statistics import ratio
    from opjury.model.environment import environment
    from opjury.model.records import Measurement
    from opjury.model.registry import Impossible
    from opjury.model.setting import Setting

    shared = dict(operation=operation, sizes=sizes, dtype="float32", device=options.device, gradient=gradient)
    faults, entries = {}, tuple(map(Competitor, (*names[1:], names[0])))  # the first is the witness of the others
    try:
        outcome = run_contest(Contest(Setting(**shared), entries, seconds=seconds), faults)
    except Impossible as error:
        return [], {"all": str(error)}
    copying = outcome.seconds.pop(FLOOR, None)
    found = []
    for name, column in outcome.seconds.items():
        if copying is None or np.all(np.isnan(column[: len(copying)] + copying[: len(column)])):
            continue
        to_copy = ratio(column, copying)
        found.append(
            Measurement(
                **shared,
                implementation=name,
                seconds=float(np.nanmedian(column)),
                reference="a copy on the device",
                ratio=to_copy.median,
                low=to_copy.low,
                high=to_copy.high,
                tied=not to_copy.slower,
                floor_seconds=float(np.nanmedian(copying)),
                error_ulps=outcome.ulps.get(name),
                rounds=int(np.sum(~np.isnan(column))),
                environment=environment(),
            )
        )
    return found, faults


def audit(options, until):
    """The quick audit of everything that runs there, the most telling checks first."""
    from opjury.audit import Audit, judge_tasks
    from opjury.judge.task import Request
    from opjury.model import records, registry

    order = {check: number for number, check in enumerate((*FIRST_CHECKS, *registry.checks()))}
    request = Request(device=options.device)
    tasks = [
        task
        for operation in registry.operations()
        for entry in registry.implementations(operation.name)
        if options.device.partition(":")[0] in entry.devices and not entry.refuted
        for task in request.tasks(operation.name, entry.name)
    ]
    in_triton = {(e.operation, e.name) for e in registry.implementations() if e.requires == "triton"}
    tasks.sort(key=lambda t: ((t.operation, t.implementation) not in in_triton, order[t.check]))
    verdicts = []
    running = judge_tasks(tasks)
    for verdict in running:
        verdicts.append(verdict)
        if time.monotonic() > until:
            break
    running.close()
    records.write(options.folder / "verdicts.jsonl", verdicts)
    counts = {
        s: sum(v.status == s for v in verdicts)
        for s in ("holds", "refuted", "waived", "error", "skipped", "not declared")
    }
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    surprises = Audit(tuple(verdicts)).surprises()
    head = f"{len(verdicts)} of {len(tasks)} tasks were judged, {sum(v.examples for v in verdicts)} examples: {told}."
    return [head, "", *(f"- {line}" for line in surprises)], bool(surprises)


def choices(options, until):
    """What `choose` recommends at each operation's large workload, by the verdicts just found."""
    from opjury.model import records, registry

    verdicts, found, lines = options.folder / "verdicts.jsonl", [], []
    for operation in registry.operations():
        if operation.result == "sparse" or until - time.monotonic() < 5:
            continue
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "choice.jsonl"
            size = "small" if options.small else "large"
            command = [sys.executable, "-m", "opjury", "choose", operation.name, size, "--device", options.device]
            output, status = run([*command, "--trust", str(verdicts), "--seconds", "2", "--json", str(file)], until)
            chosen = list(records.read(file)) if file.exists() else []
        found += chosen
        taken = next((r for r in chosen if isinstance(r, records.Recommendation)), None)
        why = "ended after its share of the time" if status is None else (output.strip().splitlines() or [""])[-1]
        lines.append(f"- {operation.name}: " + (f"{taken.implementation or 'none'}: {taken.reason}" if taken else why))
    records.write(options.folder / "choices.jsonl", found)
    return lines, False


if __name__ == "__main__":
    main()
