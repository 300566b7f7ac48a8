"""Replay scripts stand alone: each runs with torch, NumPy and SciPy, and without opjury."""

import subprocess
import sys

import pytest

import opjury
from opjury.model import registry

CONTROLS = [entry for entry in registry.implementations() if entry.refuted and "terminates" not in entry.refuted]


@pytest.mark.parametrize("entry", CONTROLS, ids=lambda entry: f"{entry.operation}-{entry.name}")
def test_scripts_of_negative_controls_run_alone(entry, tmp_path):
    check = next(iter(entry.refuted))
    options = dict(checks=[check], isolate=False, seed=0, database="")
    verdict = opjury.audit(f"{entry.operation}:{entry.name}", **options).refuted[0]
    assert "opjury" not in verdict.script.partition('"""\n')[2].replace(f"{entry.operation}:", "")
    (tmp_path / "replay.py").write_text("import sys\nsys.modules['opjury'] = None\n" + verdict.script)
    done = subprocess.run([sys.executable, "replay.py"], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    raises = "raises" in verdict.message or "Error" in verdict.message
    assert raises or done.returncode == 0, done.stderr
    assert done.stdout or "Error" in done.stderr
