"""Measurements and verdicts as a flat table."""

from __future__ import annotations

import csv
import io
from typing import Any

from opjury.cli.verdicts import state_of
from opjury.report.gather import Found

COLUMNS = (
    "machine", "operation", "implementation", "device", "control", "verdict", "refuted", "waived", "examples", "error_of_bound",
    "error_ulps", "sizes", "dtype", "gradient", "threads", "seconds", "reference", "ratio", "low", "high", "tied",
    "floor_seconds", "first_seconds", "peak_bytes", "measured_error_ulps", "rounds",
)  # fmt: skip


def csv_table(found: Found) -> bytes:
    """CSV: a row for each measurement with the verdicts of who was measured, and one for each who was only judged."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for machine in found.machines:
        judged = {key: _judged(s) for key, s in machine.now.standings.items()}
        measured = set()
        for m in machine.now.measurements.values():
            measured.add((m.name, m.device))
            mine = dict(operation=_text(m.operation), implementation=_text(m.implementation), device=_text(m.device))
            mine |= judged.get((m.name, m.device), {}) | _measured(m)
            writer.writerow({"machine": _text(machine.name), **mine})
        for key, row in judged.items():
            if key not in measured:
                writer.writerow({"machine": _text(machine.name), **row})
    return text.getvalue().encode()


def _judged(standing: Any) -> dict[str, Any]:
    def having(status: str) -> str:
        return " ".join(check for check, found in standing.verdicts.items() if found == status)

    return dict(
        operation=_text(standing.operation),
        implementation=_text(standing.implementation),
        device=_text(standing.device),
        control=standing.control,
        verdict=state_of(standing)[0],
        refuted=_text(having("refuted")),
        waived=_text(having("waived")),
        examples=standing.examples,
        error_of_bound=standing.error_of_bound,
        error_ulps=standing.error_ulps,
    )


def _measured(m: Any) -> dict[str, Any]:
    return dict(
        sizes=_text(" ".join(f"{name}={value}" for name, value in m.sizes.items())),
        dtype=_text(m.dtype),
        gradient=m.gradient,
        threads=m.threads,
        seconds=m.seconds,
        reference=_text(m.reference),
        ratio=m.ratio,
        low=m.low,
        high=m.high,
        tied=m.tied,
        floor_seconds=m.floor_seconds,
        first_seconds=m.first_seconds,
        peak_bytes=m.peak_bytes,
        measured_error_ulps=m.error_ulps,
        rounds=m.rounds,
    )


def _text(value: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
