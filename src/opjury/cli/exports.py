"""Verdicts for other programs: JUnit and SARIF."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opjury.audit import surprising
from opjury.model import registry
from opjury.model.records import Verdict

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_NOT_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(verdicts: Sequence[Verdict]) -> bytes:
    """JUnit XML: a test suite for each implementation, a test case for each verdict. A verdict that is not as declared fails."""
    wrong = {id(v): text for v, text in surprising(verdicts)}
    root = ET.Element("testsuites", name="opjury")
    suites: dict[str, ET.Element] = {}
    for v in verdicts:
        if v.name not in suites:
            suites[v.name] = ET.SubElement(root, "testsuite", name=v.name)
        name = f"{v.check}[{'-'.join(v.dtypes)}-{v.device}]"
        case = ET.SubElement(suites[v.name], "testcase", classname=v.name, name=name, time=f"{v.seconds:.3f}")
        if id(v) in wrong:
            kind = "error" if v.status == "error" else "failure"
            ET.SubElement(case, kind, message=wrong[id(v)]).text = v.script
        elif v.status not in ("holds", "refuted"):
            ET.SubElement(case, "skipped", message=v.told if v.status == "waived" else f"{v.status}: {v.told}")
    for suite in root:
        suite.set("tests", str(len(suite)))
        for count, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(count, str(len(suite.findall(f"*/{kind}"))))
    return _NOT_XML.sub("", ET.tostring(root, encoding="unicode", xml_declaration=True)).encode()


def sarif(verdicts: Sequence[Verdict], root: Path | None = None) -> bytes:
    """SARIF 2.1.0: a result for each check that is not as declared, at the line of the implementation.

    A failure that follows from another check is left out if that check has a result. Paths are relative to `root`, by default the
    working directory.
    """
    found = list(surprising(verdicts))
    refuted = {(v.name, v.check) for v, _ in found if v.status == "refuted"}
    wrong: dict[tuple[str, str], tuple[Verdict, str]] = {}
    for v, why in found:
        if (v.name, v.cause) not in refuted:
            wrong.setdefault((v.name, v.check), (v, why))
    checks = sorted({v.check for v, _ in wrong.values()})
    summaries = {name: check.summary for name, check in registry.checks().items()}
    rules = [
        dict(id=name, shortDescription=dict(text=summaries.get(name, f"The check of {name.replace('_', ' ')}")))
        for name in checks
    ]
    results = [_result(v, why, checks.index(v.check), root or Path.cwd()) for v, why in wrong.values()]
    run = dict(tool=dict(driver=dict(name="opjury", rules=rules)), results=results)
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1).encode()


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
    """File and line of a function below the root: as recorded, else of the registered implementation."""
    if v.file and (root / v.file).is_file():
        return v.file, v.line
    try:
        function = inspect.unwrap(registry.entry(v.operation, v.implementation).function)
        file = Path(inspect.getsourcefile(function) or "").resolve()
        return file.relative_to(root.resolve()).as_posix(), function.__code__.co_firstlineno
    except (registry.UnknownName, TypeError, AttributeError, ValueError):
        return None
