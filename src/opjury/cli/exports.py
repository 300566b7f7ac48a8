"""Verdicts for other programs: JUnit and SARIF."""

from __future__ import annotations

import hashlib
import inspect
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opjury.audit import surprising
from opjury.model import registry
from opjury.model.records import Verdict

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
        function = inspect.unwrap(registry.entry(v.operation, v.implementation).function)
        file = Path(inspect.getsourcefile(function) or "").resolve()
        return file.relative_to(root.resolve()).as_posix(), function.__code__.co_firstlineno
    except (registry.UnknownName, TypeError, AttributeError, ValueError):
        return None
