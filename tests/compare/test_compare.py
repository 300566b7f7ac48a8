"""Each wrapper audited once: refuted in just the checks that it declares. Only with `-m compare`, or `make compare`."""

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from opjury.audit import judge_tasks
from opjury.judge.task import Request
from opjury.model import registry
from opjury.run.ship import Function
from opjury.testing import report

from . import implementations

LEFT_OUT = ("second_order", "forward_mode", "vmap", "locality", "rejects")  # released functions promise none of these
FINDINGS = Path(__file__).parents[2] / "docs" / "findings.md"
DISTRIBUTIONS = {"skimage": "scikit-image"}


def versions(library):
    """The library and what it runs on, each with its version."""
    names = [DISTRIBUTIONS.get(library, library), "numpy", "torch"]
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


@pytest.mark.compare
@pytest.mark.parametrize("wrapper", list(implementations.catalogue()), ids=lambda wrapper: wrapper.name)
def test_a_released_library(wrapper, pytestconfig):
    option = pytestconfig.getoption
    if importlib.util.find_spec(wrapper.requires) is None:
        pytest.skip(f"{wrapper.requires} is not installed")
    function = Function(wrapper.name, implementations.__name__, implementations.__file__)
    options = dict(profile=option("--opjury-profile"), seed=option("--opjury-seed"))
    tasks = [
        task
        for check in registry.checks()
        if check not in LEFT_OUT
        for scale in [1.0 if check in wrapper.refuted else option("--opjury-scale")]
        for task in Request(checks=check, scale=scale, **options).tasks(wrapper.operation, wrapper.name, function)
    ]
    verdicts = list(judge_tasks(tasks, jobs=1))
    refuted = [v for v in verdicts if v.status == "refuted"]
    unexpected = [v for v in refuted if v.check not in wrapper.refuted and v.cause not in wrapper.refuted]
    unexpected += [v for v in verdicts if v.status == "error"]
    held = sorted(set(wrapper.refuted) - {v.check for v in refuted})
    where = f"{wrapper.source} ({versions(wrapper.requires)})"
    assert not unexpected, "\n\n".join([where, *map(report, unexpected)])
    assert not held, f"{where}: {', '.join(held)} holds, although it was not expected to"
    assert any(v.examples for v in verdicts), f"{where}: nothing was executed"


def replays():
    """The findings that say what their lines print."""
    for section in FINDINGS.read_text().split("\n## ")[1:]:
        for code, output in re.findall(r"```python\n([^`]*)```\n+```text\n([^`]*)```", section):
            yield pytest.param(code, output, id=section.partition(":")[0].replace(" ", "-"))


@pytest.mark.compare
@pytest.mark.parametrize(("code", "output"), list(replays()))
def test_findings_are_still_so(code, output):
    for library in re.findall(r"^(?:import|from) (\w+)", code, re.M):
        pytest.importorskip(library)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == output, "the library does something else now: update docs/findings.md"
