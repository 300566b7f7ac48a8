"""Records for other programs: JUnit, SARIF, a flat table."""

from __future__ import annotations

import csv
import hashlib
import inspect
import io
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opjury import registry
from opjury.faces.verdicts import state_of
from opjury.records import Verdict
from opjury.uses.audit import surprising

if TYPE_CHECKING:
    from opjury.faces.report.gather import Found

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def junit(verdicts: Sequence[Verdict]) -> bytes:
    """JUnit XML: a test suite for each implementation, a test case for each verdict; what is not as declared fails."""
    wrong: dict[int, str] = {}
    for v, text in surprising(verdicts):
        wrong.setdefault(id(v), text)
    root = ET.Element("testsuites", name="opjury")
    suites: dict[str, ET.Element] = {}
    for v in verdicts:
        if v.name not in suites:
            suites[v.name] = ET.SubElement(root, "testsuite", name=_printable(v.name))
        case = ET.SubElement(
            suites[v.name],
            "testcase",
            classname=_printable(v.name),
            name=_printable(f"{v.check}[{'-'.join(v.dtypes)}-{v.device}]"),
            time=f"{v.seconds:.3f}",
        )
        if id(v) in wrong:
            kind = "error" if v.status == "error" else "failure"
            ET.SubElement(case, kind, message=_printable(wrong[id(v)])).text = _printable(v.script)
        elif v.status not in ("holds", "refuted"):
            ET.SubElement(
                case, "skipped", message=_printable(f"{v.status}: {v.told}" if v.status != "waived" else v.told)
            )
    for suite in suites.values():
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(len(suite.findall("*/failure"))))
        suite.set("errors", str(len(suite.findall("*/error"))))
        suite.set("skipped", str(len(suite.findall("*/skipped"))))
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(c for c in text if c in "\n\t" or " " <= c < "\ud800" or "\ue000" <= c < "\ufffe" or c > "\uffff")


def sarif(verdicts: Sequence[Verdict], root: Path | None = None) -> bytes:
    """SARIF 2.1.0: a result for each check that is not as declared, at the implementation's line.

    What follows from another check's failure is left out where that one has a result. Paths are relative to `root`, by default the working
    directory.
    """
    found = list(surprising(verdicts))
    refuted = {(v.name, v.check) for v, _ in found if v.status == "refuted"}
    wrong: dict[tuple[str, str], tuple[Verdict, str]] = {}
    for v, why in found:
        if (v.name, v.cause) not in refuted:
            wrong.setdefault((v.name, v.check), (v, why))
    checks = sorted({v.check for v, _ in wrong.values()})
    driver = dict(
        name="opjury",
        rules=[_rule(check) for check in checks],
    )
    results = [_result(v, why, checks.index(v.check), root or Path.cwd()) for v, why in wrong.values()]
    log = {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [dict(tool=dict(driver=driver), results=results)]}
    return json.dumps(log, indent=1).encode()


def _rule(check: str) -> dict[str, Any]:
    known = registry.checks()
    text = known[check].summary if check in known else f"The check of {check.replace('_', ' ')}"
    return dict(id=check, shortDescription=dict(text=text))


def _result(v: Verdict, text: str, rule: int, root: Path) -> dict[str, Any]:
    if v.observed or v.expected:
        text += f"\nobserved {v.observed}\nexpected {v.expected}"
    location: dict[str, Any] = {"logicalLocations": [dict(fullyQualifiedName=v.name, kind="function")]}
    if place := _place(v, root):
        uri, line = place
        artifact = dict(uri=uri, uriBaseId="%SRCROOT%")
        location["physicalLocation"] = dict(artifactLocation=artifact, region=dict(startLine=line))
    return dict(
        ruleId=v.check,
        ruleIndex=rule,
        level="error" if v.status == "refuted" else "warning",
        message=dict(text=text),
        locations=[location],
        partialFingerprints={"opjury/v1": hashlib.sha256(f"{v.name} {v.check}".encode()).hexdigest()},
    )


def _place(v: Verdict, root: Path) -> tuple[str, int] | None:
    """File and line of a function below the root: as recorded, or of the implementation that is registered."""
    if v.file and (root / v.file).is_file():
        return v.file, v.line
    try:
        function = inspect.unwrap(registry.implementation(v.operation, v.implementation).function)
        file = Path(inspect.getsourcefile(function) or "").resolve()
        return file.relative_to(root.resolve()).as_posix(), function.__code__.co_firstlineno
    except (registry.UnknownName, TypeError, AttributeError, ValueError):
        return None


COLUMNS = (
    "machine", "operation", "implementation", "device", "control", "verdict", "refuted", "waived", "examples", "error_of_bound",
    "error_ulps", "sizes", "dtype", "gradient", "threads", "seconds", "reference", "ratio", "low", "high", "tied",
    "floor_seconds", "first_seconds", "peak_bytes", "measured_error_ulps", "rounds",
)  # fmt: skip


def table(found: Found) -> bytes:
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
