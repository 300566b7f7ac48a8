"""Benchmarks for asv, made from what is registered: the modules `benchmarks/bench_*.py` have two lines each.

All commands of asv work as usual. The first benchmark of a contest (an operation at a workload, in a direction, on a device) runs it
with all competitors in turns. The others of the contest read what it left in the folder that asv keeps for one commit.
"""

from __future__ import annotations

import itertools
import math
import os
import pkgutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from opjury.choose import choose, setting_of
from opjury.model import records, registry
from opjury.model.device import present
from opjury.model.implementation import DEVICES
from opjury.model.operation import Operation
from opjury.model.records import Measurement
from opjury.model.workload import NAMED
from opjury.track.alarms import relative_time
from opjury.track.nightly import SEED

DIRECTIONS = ("forward", "backward")
HANDED_OVER = "OPJURY_NIGHT"  # names a night's file for this commit: its figures are used, and nothing is measured
CONTEST_SECONDS = 1.0  # for the rounds of one contest
CONTEST_LIMIT = 3600  # seconds for a whole contest and the audit before it


def setup_cache() -> str:
    """The folder of one commit's contests, which asv passes to each benchmark as its first argument."""
    return os.getcwd()


def _figures(folder: Path, operation: Operation, contest: tuple[str, ...], implementation: str) -> dict[str, float]:
    """The figures of one implementation in a contest (workload, direction, device), which is run if it was not, or {} for none."""
    path = folder / f"{'-'.join((operation.name, *contest))}.jsonl"
    if not path.exists():
        records.write(path, _measured(operation, *contest))
    measured = {record.implementation: record for record in records.read(path) if isinstance(record, Measurement)}
    if implementation not in measured:
        return {}
    m = measured[implementation]
    return {
        "time": m.seconds,
        "ratio": relative_time(m, measured.get(operation.baseline or "")),
        "memory": math.nan if m.peak_bytes is None else float(m.peak_bytes),
        "error": math.nan if m.error_ulps is None else m.error_ulps,
    }


def _measured(operation: Operation, workload: str, direction: str, device: str) -> Sequence[Measurement]:
    gradient = direction == "backward"
    sizes = registry.workload(operation.name).sizes
    if workload not in sizes or (gradient and not operation.differentiable) or not present(device):
        return ()
    if os.environ.get(HANDED_OVER):
        wanted = setting_of(operation.name, workload, device=device, gradient=gradient)
        night = (record for record in records.read(os.environ[HANDED_OVER]) if isinstance(record, Measurement))
        return [m for m in night if m.setting == wanted]
    options: dict[str, Any] = dict(gradient=gradient, device=device, seconds=CONTEST_SECONDS, seed=SEED, thorough=True)
    return choose(operation.name, workload, **options).measurements


def benchmarks_of(family: str) -> dict[str, type]:
    """A class of benchmarks for each operation of a family, by name: `SliceMean` with `track_time`, `track_ratio`, …"""
    package = import_module(f"opjury.benchmarks.{family}")
    operations = [registry.operation(module.name) for module in pkgutil.iter_modules(package.__path__)]
    return {class_name(operation.name): _benchmark(operation) for operation in operations}


def class_name(operation: str) -> str:
    """`SliceMean` for `slice_mean`."""
    return operation.title().replace("_", "")


def _benchmark(operation: Operation) -> type:
    entries = [entry for entry in registry.implementations(operation.name) if not entry.refuted]
    sizes = registry.workload(operation.name).sizes
    without = []  # parameters without anything to measure, on whatever machine
    for entry in entries:
        differentiable = operation.differentiable and entry.gradient is not None
        for workload, direction, device in itertools.product(NAMED, DIRECTIONS, DEVICES):
            possible = workload in sizes and device in entry.devices and (direction == "forward" or differentiable)
            if not possible:
                without.append((entry.name, workload, direction, device))

    def figure(what: str, unit: str) -> Any:
        def track(self: Any, folder: str, implementation: str, *contest: str) -> float:
            return _figures(Path(folder), operation, contest, implementation).get(what, math.nan)

        track.__name__ = f"track_{what}"
        track.unit = unit  # type: ignore[attr-defined]
        return track

    return type(
        class_name(operation.name),
        (),
        {
            "__doc__": operation.summary,
            "version": "1",
            "timeout": CONTEST_LIMIT,
            "params": [[entry.name for entry in entries], list(NAMED), list(DIRECTIONS), list(DEVICES)],
            "param_names": ["implementation", "workload", "direction", "device"],
            "skip_params": without,
            "track_time": figure("time", "seconds"),
            "track_ratio": figure("ratio", f"times {operation.baseline}; its own: times the floor"),
            "track_memory": figure("memory", "bytes"),
            "track_error": figure("error", "ulps"),
        },
    )
