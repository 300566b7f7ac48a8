"""A replay script fails while the fault is there, and passes with a right function in the place of the wrong one."""

import ast
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import opjury
from opjury.judge.judge import run_here
from opjury.judge.rehearsal import EARLIER, UNSHOWN, rehearsed, shows
from opjury.judge.replay import INFERENCE, arguments, repeated, write_script
from opjury.judge.source import definition
from opjury.judge.task import Request
from opjury.model import registry
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.exact import carrier
from opjury.run.ship import Here, import_file
from tests import broken
from tests.carried import CARRIED, UNWRITABLE
from tests.replaying import replayed
from tests.test_broken import SURVIVORS, BatchSummed, OnceDifferentiable, TangentForgotten, promising

# Wrong functions that are wrong only after other calls than those of the script, and why.
AFTER_OTHER_CALLS = {
    "circulant-cached_by_sum": "the result of an earlier call with an equal sum comes back",
    "cumsum-cached_by_address": "the result of an earlier call comes back where the memory is the same",
    "gather-index_cached": "the index of an earlier call comes back where the memory is the same",
}


def right_one(operation, check, dtypes):
    """A competitor for which the check holds."""
    contract = registry.operation(operation)
    entries = sorted(registry.implementations(operation), key=lambda entry: entry.name != contract.baseline)
    return next(
        entry.function
        for entry in entries
        if not (entry.refuted or entry.domain or check in entry.waives)
        and set(dtypes) <= set(entry.dtypes or dtypes)
        and registry.check(check).why_not(contract, entry, "cpu") is None
    )


# A wrong function for each operation and each check that one is declared to fail in.
CHOSEN = {}
for operation, function in broken.catalogue():
    for check in function.wrong[2]:
        CHOSEN.setdefault((operation, check), function)
CHOSEN["cumsum", "laws"] = CHOSEN["cumsum", "agreement"]


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    ("operation", "check", "function"),
    [pytest.param(*pair, function, id=f"{pair[0]}-{pair[1]}") for pair, function in CHOSEN.items()],
)
def test_a_script_fails_with_the_wrong_function_and_passes_with_a_right_one(operation, check, function):
    options = dict(operation=operation, seed=0, isolate=False, database="")
    found = opjury.audit(function, checks=check, **options).refuted
    if not found and f"{operation}-{function.__name__}" in SURVIVORS:
        pytest.xfail(SURVIVORS[f"{operation}-{function.__name__}"])
    found = found or opjury.audit(function, first=True, **options).refuted
    require_script(operation, function, found[0])


def require_script(operation, function, verdict):
    """The verdict's script fails with the function, and passes with a right one."""
    end, printed = replayed(verdict.script)
    dtypes = verdict.dtypes if len(verdict.dtypes) <= 2 else ()  # of all together, the script has one
    fixed, _ = replayed(verdict.script, right_one(operation, verdict.check, dtypes))
    told = verdict.message.endswith((EARLIER, UNSHOWN))
    assert end or told, f"passes: {verdict.message}\n{printed}\n{verdict.script}"
    assert end or f"{operation}-{function.__name__}" in AFTER_OTHER_CALLS, verdict.message
    require_used(verdict.script)
    assert not end.startswith(("NameError", "SyntaxError", "ImportError")), end
    assert not fixed, f"{fixed}: {verdict.message}\n{verdict.script}"


def require_used(script):
    """The script's own lines use each of its imports."""
    tree = ast.parse(script)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in tree.body:
        if isinstance(node, ast.Import):
            assert {(alias.asname or alias.name).partition(".")[0] for alias in node.names} <= names, script


PROMISES = {"second_order": OnceDifferentiable, "forward_mode": TangentForgotten, "vmap": BatchSummed}


@pytest.mark.parametrize("check", PROMISES)
def test_scripts_of_promises(check):
    function = promising(PROMISES[check]).function
    task = next(t for t in Request(checks=check).tasks("cumsum", "promising", Here(promising(PROMISES[check]))))
    ((_, verdict),) = run_here([task])
    for tried, fails in ((function, True), (right_one("cumsum", check, ()), False)):
        end, printed = replayed(verdict.script, tried)
        assert bool(end) == fails, f"{end}\n{printed}\n{verdict.script}"


def test_every_check_has_a_script_here():
    checks = {check for _, check in CHOSEN} | set(PROMISES)
    assert checks == {name for name, check in registry.checks().items() if "cpu" in check.devices}


CONTROLS = [entry for entry in registry.implementations() if entry.refuted and "terminates" not in entry.refuted]


@pytest.mark.sampled(8)
@pytest.mark.parametrize("entry", CONTROLS, ids=lambda entry: f"{entry.operation}-{entry.name}")
def test_scripts_of_negative_controls_run_without_opjury(entry):
    check = next(iter(entry.refuted))
    options = dict(checks=check, isolate=False, seed=0, database="")
    verdict = opjury.audit(f"{entry.operation}:{entry.name}", **options).refuted[0]
    assert "opjury" not in verdict.script.partition('"""\n')[2].replace(f"{entry.operation}:", "")
    require_script(entry.operation, entry.function, verdict)


def test_a_script_shows_what_is_and_what_should_be_and_ends_with_1(tmp_path):
    function = CHOSEN["circulant", "agreement"]
    (verdict, *_) = opjury.audit(
        function, operation="circulant", seed=0, isolate=False, database="", dtypes="float32"
    ).refuted
    (tmp_path / "script.py").write_text(verdict.script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is:" in done.stdout
    assert "should be:" in done.stdout
    assert "Error" in done.stderr


@pytest.mark.parametrize(
    ("script", "message", "shown"),
    [
        ("assert 1 == 2", "1 is 2", True),
        ("print('is:', 1)", "1 is 2", False),
        ("raise SystemExit(0)", "ends the process", True),
        ("while True: pass", "wrong", True),
        ("undefined", f"1 is 2; it did not show again: {EARLIER}", True),
        ("undefined", "1 is 2", False),
        ("undefined", "raises NameError: name 'undefined' is not defined", True),
        ("import no_such_module", "1 is 2", False),
        ("def f(:", "1 is 2", False),
    ],
)
def test_a_script_that_shows_nothing_is_told(script, message, shown, capsys):
    told, written = rehearsed(lambda message, many: f'"""{message}"""\n{script}\n', message, 0.2)
    assert told == message + "; the script does not show it" * (not shown)
    assert written.startswith(f'"""{told}"""')
    assert capsys.readouterr().out == ""


def test_steps_that_fail_in_some_calls_only_are_taken_many_times():
    def write(message, many):
        steps = "calls += 1\nassert calls % 100"
        return "calls = 0\n" + (repeated(steps) if many else steps)

    message, script = rehearsed(write, "wrong", 1.0)
    assert message == "wrong"
    assert script == write("wrong", True)


def test_a_script_that_is_run_leaves_the_process_as_it_was():
    changes = f"""
import math, os, torch
torch.set_default_dtype(torch.float64)
{INFERENCE}
assert torch.ones(1).is_inference()
torch.manual_seed(1)
torch.cumsum = None
os.environ["opjury_rehearsal"] = "1"
"""
    before = torch.get_rng_state()
    assert not shows(changes, "", 1.0)
    assert torch.ones(1).dtype == torch.float32
    assert not torch.ones(1).is_inference()
    assert torch.equal(torch.get_rng_state(), before)
    assert callable(torch.cumsum)
    assert "opjury_rehearsal" not in os.environ


@pytest.mark.parametrize(
    ("layout", "dtype", "stated"),
    [
        ("transposed", "float32", "assert args[0].stride() == (1, 2)  # transposed"),
        ("step", "float32", "assert args[0].stride() == (6, 2)  # step; the gaps hold torch.nan"),
        ("rows", "int8", "assert args[0].stride() == (6, 1)  # rows; the gaps hold torch.iinfo(torch.int8).max"),
        ("offset", "bool", "assert args[0].stride() == (6, 1)  # offset; the gaps hold True"),
        ("conj", "complex64", "assert args[0].is_conj()  # conj"),
        ("neg", "float64", "assert args[0].is_neg()  # neg"),
        ("expanded", "float64", "assert args[0].stride() == (0, 1)  # expanded"),
    ],
)
def test_a_script_states_how_arguments_lie_in_memory(layout, dtype, stated):
    case = Case.of(Tensor(np.ones((2, 3), carrier(dtype)), dtype, layout), 0)
    script = write_script(torch.cumsum, ("x", "dim"), case, "", "")
    assert stated in script.splitlines()
    assert not shows(script, "", 1.0)
    assert f"args, kwargs = {arguments(case)}" in script


@pytest.mark.parametrize("name", CARRIED)
def test_a_script_carries_whatever_is_callable(name, tmp_path):
    """It runs in a process that has neither the function nor its module."""
    found = opjury.audit(
        CARRIED[name], "cumsum", checks="agreement", dtypes="float32", seed=0, isolate=False, database=""
    )
    (verdict,) = found.refuted
    assert not verdict.message.endswith("the script does not show it"), verdict.script
    (tmp_path / "script.py").write_text(verdict.script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tests" not in verdict.script.partition('"""\n')[2], verdict.script
    assert done.stderr.splitlines()[-1].startswith("AssertionError"), done.stderr


def test_a_script_carries_helpers_from_a_file_beside(tmp_path):
    (tmp_path / "beside_it.py").write_text("from math import pi as half\n\n\ndef added(x):\n    return x + half\n")
    text = "from beside_it import added as more\n\n\ndef wrong(x, dim):\n    return more(x.cumsum(dim))\n"
    (tmp_path / "of_ones_own.py").write_text(text + "\n\nif __name__ == '__main__':\n    x = 1 / 0\n")
    function = import_file(str(tmp_path / "of_ones_own.py")).wrong
    body, name = definition(function)
    scope = {"__name__": "__main__"}
    exec(body, scope)
    assert "beside_it" not in body
    assert scope[name](torch.zeros(1), 0).item() == pytest.approx(3.14159, abs=1e-4)


def test_a_script_says_what_it_cannot_carry():
    (verdict,) = opjury.audit(
        UNWRITABLE, "cumsum", checks="agreement", dtypes="float32", seed=0, isolate=False, database=""
    ).refuted
    assert verdict.message.endswith(UNSHOWN)
    assert "function is missing here: it uses secret, of Slotted, which cannot be written as Python" in verdict.script
    end, _ = replayed(verdict.script)
    assert end.startswith("NameError: function is missing here")
