"""Benchmarks for asv, made from what is registered: each family's module in `benchmarks/bench_*.py` is two lines.

Whoever knows asv needs to know nothing else: `asv run`, `asv compare`, `asv continuous` and `asv publish` work as ever. All figures of
a module come from contests that are run once, in its `setup_cache`, with all competitors taking turns.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import pkgutil
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from opjury import records, registry
from opjury.operation import Implementation, Operation
from opjury.records import Measurement
from opjury.uses.changes import relative_time
from opjury.uses.choose import choose
from opjury.uses.track import SEED
from opjury.verify.device import present

HANDED_OVER = "OPJURY_NIGHT"  # a file of the history of this commit: its figures are taken, nothing is measured again
WORKLOADS = ("small", "medium", "large")
DIRECTIONS = ("forward", "backward")
DEVICES = ("cpu", "cuda")
SECONDS = 1.0  # for the rounds of one contest

Costs = dict[tuple[str, ...], dict[str, float]]


def operations_of(family: str) -> list[Operation]:
    """Those whose workloads stand in `benchmarks/FAMILY/`."""
    package = import_module(f"opjury.benchmarks.{family}")
    return [registry.operation(module.name) for module in pkgutil.iter_modules(package.__path__)]


def costs_of(family: str) -> Costs:
    """Measure everything in a family; figures by operation, implementation, workload, direction and device."""
    found: Costs = {}
    for operation in operations_of(family):
        for workload, direction, device in itertools.product(WORKLOADS, DIRECTIONS, DEVICES):
            measured = {m.implementation: m for m in _measured(operation, workload, direction, device)}
            baseline = measured.get(operation.baseline or "")
            for name, m in measured.items():
                found[operation.name, name, workload, direction, device] = {
                    "time": m.seconds,
                    "ratio": relative_time(m, baseline),
                    "memory": math.nan if m.peak_bytes is None else float(m.peak_bytes),
                    "error": math.nan if m.error_ulps is None else m.error_ulps,
                }
    return found


def _measured(operation: Operation, workload: str, direction: str, device: str) -> Sequence[Measurement]:
    gradient = direction == "backward"
    sizes = registry.workload(operation.name).sizes
    if workload not in sizes or (gradient and not operation.differentiable) or not present(device):
        return ()
    if os.environ.get(HANDED_OVER):
        wanted = (operation.name, dict(sizes[workload]), gradient, device)
        found = _night(os.environ[HANDED_OVER])
        return [m for m in found if (m.operation, m.sizes, m.gradient, m.device) == wanted]
    options: dict[str, Any] = dict(gradient=gradient, device=device, seconds=SECONDS, seed=SEED, thorough=True)
    return choose(operation.name, workload, **options).measurements


@functools.cache
def _night(path: str) -> list[Measurement]:
    return [record for record in records.read(path) if isinstance(record, Measurement)]


def benchmarks_of(family: str) -> dict[str, type]:
    """A class of benchmarks for each operation of a family, by name: `SliceMean` with `track_time`, `track_ratio`, …"""
    return {class_name(operation.name): _benchmark(operation) for operation in operations_of(family)}


def class_name(operation: str) -> str:
    """`slice_mean` as SliceMean."""
    return operation.title().replace("_", "")


def _benchmark(operation: Operation) -> type:
    names = [entry.name for entry in registry.implementations(operation.name) if not entry.refuted]
    without = [
        each
        for each in itertools.product(names, WORKLOADS, DIRECTIONS, DEVICES)
        if not _applies(operation, registry.implementation(operation.name, each[0]), *each[1:])
    ]

    def figure(what: str, unit: str) -> Any:
        def track(self: Any, costs: Costs, *key: str) -> float:
            return costs.get((operation.name, *key), {}).get(what, math.nan)

        track.__name__ = f"track_{what}"
        track.unit = unit  # type: ignore[attr-defined]
        return track

    return type(
        class_name(operation.name),
        (),
        {
            "__doc__": operation.summary,
            "version": "1",
            "timeout": 60,
            "params": [names, list(WORKLOADS), list(DIRECTIONS), list(DEVICES)],
            "param_names": ["implementation", "workload", "direction", "device"],
            "skip_params": without,
            "track_time": figure("time", "seconds"),
            "track_ratio": figure("ratio", f"times {operation.baseline}; its own: times the floor"),
            "track_memory": figure("memory", "bytes"),
            "track_error": figure("error", "ulps"),
        },
    )


def _applies(operation: Operation, entry: Implementation, workload: str, direction: str, device: str) -> bool:
    """Whether there is anything to be measured, on whatever machine."""
    differentiable = operation.differentiable and entry.gradient is not None
    known = registry.workload(operation.name).sizes
    return workload in known and device in entry.devices and (direction == "forward" or differentiable)
