"""Measurements and verdicts as a flat table."""

from __future__ import annotations

import csv
import io
from typing import Any

from opjury.cli.verdicts import state_of
from opjury.model.records import Measurement, Standing
from opjury.report.gather import Found

_NAMES = ("operation", "implementation", "device")
_JUDGED = ("control", "verdict", "refuted", "waived", "examples", "error_of_bound", "error_ulps")
_MEASURED = (
    "sizes", "dtype", "gradient", "threads", "seconds", "reference", "ratio", "low", "high", "tied", "floor_seconds",
    "first_seconds", "peak_bytes", "measured_error_ulps", "rounds", "weakness",
)  # fmt: skip
COLUMNS = ("machine", *_NAMES, *_JUDGED, *_MEASURED)


def csv_table(found: Found) -> bytes:
    """CSV: a row for each measurement, with its verdicts, and one for each implementation that was judged but not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for machine in found.machines:
        measurements = list(machine.now.measurements.values())
        judged = {key: _judged(s) for key, s in machine.now.standings.items()}
        measured = {(m.name, m.device) for m in measurements}
        rows = [judged.get((m.name, m.device), {}) | _measured(m) for m in measurements]
        rows += [row for key, row in judged.items() if key not in measured]
        for row in rows:
            writer.writerow({name: _no_formula(value) for name, value in {"machine": machine.name, **row}.items()})
    return text.getvalue().encode()


def _judged(standing: Standing) -> dict[str, Any]:
    row = {name: getattr(standing, name, "") for name in (*_NAMES, *_JUDGED)}
    row["verdict"] = state_of(standing)[0]
    for status in ("refuted", "waived"):
        row[status] = " ".join(check for check, found in standing.verdicts.items() if found == status)
    return row


def _measured(m: Measurement) -> dict[str, Any]:
    row = {name: getattr(m, name, "") for name in (*_NAMES, *_MEASURED)}
    return row | dict(sizes=m.shown_sizes, measured_error_ulps=m.error_ulps, weakness=" ".join(m.waived))


def _no_formula(value: Any) -> Any:
    """The value, with a text quoted that a spreadsheet would take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
