"""What is right is not refuted with other cases either: five seeds, dealt among the operations, with few cases of one kind of dtype.

`make false-alarms` tries every one with many.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import opjury
from opjury.model import registry
from opjury.model.dtypes import group_dtypes
from tests import right
from tests.false_alarms import Outcome, Sample, __main__, alarmed, samples

ROOT = Path(__file__).parents[1]
SCALE = 0.05
OPERATIONS = [operation.name for operation in registry.operations()]


@pytest.mark.sampled(20)
@pytest.mark.parametrize(
    ("operation", "seed"), [pytest.param(name, 1 + k % 5, id=name) for k, name in enumerate(OPERATIONS)]
)
def test_right_implementations_and_functions_hold_up(operation, seed):
    groups = list(group_dtypes(registry.operation(operation).dtypes).values())
    dtypes = groups[(seed + 1) % len(groups)]
    outcomes = [
        alarmed(Sample(operation, entry.name, seed, scale=SCALE, dtypes=dtypes))
        for entry in registry.implementations(operation)
        if not entry.refuted
    ]
    assert sum(outcome.examples for outcome in outcomes)
    assert not any(outcome.alarms for outcome in outcomes), outcomes
    options = dict(isolate=False, seed=seed, scale=SCALE, dtypes=dtypes, database="")
    for name, function in right.catalogue():
        if name == operation:
            found = opjury.audit(function, operation=operation, **options)
            assert found.ok, found.summary()


def run(monkeypatch, outcome, *arguments):
    """The command, with an outcome for every sample."""
    tried = []

    def instantly(call, items, jobs, limit):
        tried.extend(items)
        return ((item, outcome) for item in items)

    monkeypatch.setattr(__main__, "isolated", instantly)
    return CliRunner().invoke(__main__.main, ["--operation", "circulant", *arguments]), tried


@pytest.mark.parametrize(
    ("outcome", "seeds", "status"),
    [(Outcome(3, ()), 2, 0), (Outcome(3, ("it is refuted",)), 2, 1), (Outcome(0, ()), 2, 3), (Outcome(3, ()), 0, 3)],
    ids=["fine", "alarm", "nothing executed", "no seeds"],
)
def test_exit_statuses(monkeypatch, outcome, seeds, status):
    done, _ = run(monkeypatch, outcome, "--seeds", seeds)
    assert done.exit_code == status
    assert ("it is refuted" in done.output) == bool(outcome.alarms)


def test_it_goes_on_where_it_was(monkeypatch, tmp_path):
    file = tmp_path / "found.jsonl"
    _, first = run(monkeypatch, Outcome(3, ()), "--seeds", 2, "--json", str(file))
    file.write_text(file.read_text()[:-9])
    done, again = run(monkeypatch, Outcome(3, ()), "--seeds", 3, "--json", str(file))
    assert len(again) == len(first) // 2 + 1
    assert done.exit_code == 0
    assert not run(monkeypatch, Outcome(3, ()), "--seeds", 3, "--json", str(file))[1]
    monkeypatch.setattr(__main__, "state_of_sources", lambda: "changed")
    assert len(run(monkeypatch, Outcome(3, ()), "--seeds", 3, "--json", str(file))[1]) == 3 * len(first) // 2


def test_every_sample_has_a_seed_and_none_is_a_negative_control():
    found = list(samples(["slice_mean"], [1, 2]))
    controls = {entry.name for entry in registry.implementations("slice_mean") if entry.refuted}
    assert not controls & {sample.implementation for sample in found}
    assert {sample.seed for sample in found} == {1, 2}


def test_it_runs():
    command = [
        sys.executable,
        "-m",
        "tests.false_alarms",
        "--seeds",
        "1",
        "--operation",
        "circulant",
        "--scale",
        "0.01",
    ]
    done = subprocess.run([*command, "--dtype", "float32", "--jobs", "1"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 alarms" in done.stdout
