"""opjury's suites and decorator in somebody else's pytest."""

import os
import re
import subprocess
import sys

import pytest

import opjury
from opjury.audit import planned
from opjury.judge.task import Request
from opjury.testing import require
from tests.hostile import right

MINE = """
import opjury
import torch
from tests.hostile import right

def right_one(x, slices):
    return right(x, slices)

def one_too_many(x, slices):
    return right(x, slices) + 1

FEW = dict(operation="slice_mean", dtypes=["float32", "float64"], scale=0.1)

@opjury.parametrize_with_checks([right_one, one_too_many], checks=["agreement", "rejects"], **FEW)
def test_both(check):
    check()

@opjury.parametrize_with_checks([one_too_many], checks=["agreement", "rejects"], waives={
    "agreement": "it adds one", "rejects": "left to the caller"}, **FEW)
def test_waived(check):
    check()

@opjury.parametrize_with_checks(["python_loop", "published_prefix_sum", "numpy_reduceat"], checks=["form", "gradient"],
                                operation="slice_mean", dtypes=["float32"])
def test_registered(check):
    check()

@opjury.parametrize_with_checks([right_one], checks=["form"], isolate=True, **FEW)
def test_in_workers(check):
    check()
"""


def run_pytest(folder, *arguments):
    """pytest in a folder, and its output."""
    quiet = ("-p", "no:cacheprovider", "-p", "no:xdist", "-rA", "-q")
    root = os.path.dirname(os.path.dirname(__file__))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-m", "pytest", *quiet, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=300)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    (folder / "test_them.py").write_text(MINE)
    return run_pytest(folder).stdout


@pytest.mark.parametrize(
    ("result", "test"),
    [
        ("PASSED", "test_both[right_one-agreement-float32-cpu]"),
        ("PASSED", "test_both[right_one-agreement-float64-cpu]"),
        ("PASSED", "test_both[right_one-rejects-all-cpu]"),
        ("FAILED", "test_both[one_too_many-agreement-float32-cpu]"),
        ("PASSED", "test_both[one_too_many-rejects-all-cpu]"),
        ("XFAIL", "test_waived[one_too_many-agreement-all-cpu]"),
        ("PASSED", "test_registered[python_loop-form-float32-cpu]"),
        ("PASSED", "test_registered[published_prefix_sum-gradient-float32-cpu]"),
        ("PASSED", "test_in_workers[right_one-form-float32-cpu]"),
    ],
)
def test_results(outcome, result, test):
    assert re.search(rf"^{result} test_them.py::{re.escape(test)}", outcome, re.M), outcome


def test_what_does_not_apply_or_was_not_needed_is_skipped_with_the_reason(outcome):
    assert re.search(r"SKIPPED.*not declared: gradient is not promised", outcome)
    assert re.search(r"SKIPPED.*rejects is waived \(left to the caller\), but the check holds", outcome)


def test_a_failure_says_what_is_what_should_be_for_which_case_with_a_script_and_nothing_else(outcome):
    failure = outcome.partition("FAILURES")[2].partition("\n____")[2].partition("\n____")[0]
    for word in ("it should be", "case:", "observed:", "expected:", "def one_too_many", "result = f(*args, **kwargs)"):
        assert word in failure
    assert "testing.py" not in failure
    assert "judge" not in failure


def test_unknown_names_get_the_nearest_known():
    with pytest.raises(opjury.UnknownName, match="agreement"):
        opjury.parametrize_with_checks([right], operation="slice_mean", checks=["agrement"])
    with pytest.raises(opjury.UnknownName, match="slice_mean"):
        opjury.parametrize_with_checks([right], operation="slice_men")


def test_what_the_harness_could_not_judge_fails(monkeypatch):
    tasks, _ = planned(Request(checks="agreement", dtypes="float32"), right, "slice_mean", isolate=False)

    def broken(*arguments):
        raise RuntimeError("the contract is broken")

    monkeypatch.setattr("opjury.judge.search.Search.run", broken)
    with pytest.raises(pytest.fail.Exception, match="the contract is broken"):
        require(tasks)


def test_importing_opjury_imports_neither_pytest_nor_torch():
    program = "import opjury, sys; print(sorted({'numpy', 'pytest', 'scipy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.slow(reason="a suite in a process of its own")
def test_the_installed_suites_judge_one_operation_from_an_empty_folder(tmp_path):
    done = run_pytest(
        tmp_path, "--opjury-operation", "circulant", "--opjury-scale", "0.05", "--pyargs", "opjury.properties"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_check[agreement-circulant-broadcasted_index-float32-cpu]" in done.stdout
    assert not re.search(r"cumsum|slice_mean|test_claim", done.stdout)


def test_an_unknown_operation_is_a_usage_error(tmp_path):
    done = run_pytest(tmp_path, "--opjury-operation", "circulent", "--pyargs", "opjury.properties")
    assert done.returncode == 4
    assert "circulant" in done.stderr
