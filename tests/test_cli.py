"""The command line: exit statuses, files, resuming, replaying, nonsense."""

import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

import opjury.cli.audit
from opjury import audit
from opjury.cli.main import main
from opjury.judge.judge import judge
from opjury.judge.task import Task
from opjury.model import records
from opjury.model.environment import environment
from opjury.run.ship import Here
from tests.hostile import endless
from tests.made_up import verdict

WRONG = """
import torch

def always_zero(x, slices):
    return x.new_zeros((len(slices), *x.shape[1:]))

def off(x, slices):
    return torch.stack([x[a:b].mean(0) for a, b in slices.tolist()]) if len(slices) else x[:0]

def one(x):
    return x

value = 3
"""


PREFIX = """
import numpy as np
import torch

def lengths(x, slices):
    return (slices[:, 1] - slices[:, 0]).reshape(-1, *[1] * (x.ndim - 1))

def prefix(x, slices):
    if len(slices) and not 0 <= slices.min() <= slices.max() <= len(x):
        raise ValueError("slices out of bounds")
    sums = torch.cat([x.new_zeros(1, *x.shape[1:]), x.cumsum(0)])
    return (sums[slices[:, 1]] - sums[slices[:, 0]]) / lengths(x, slices)

def magnitude(x, slices):
    sums = np.concatenate([np.zeros((1, *x.shape[1:])), np.cumsum(x, axis=0)])
    return (sums[slices[:, 1]] + sums[slices[:, 0]]) / lengths(x, slices) * (len(x) + 4)
"""


def opjury(*arguments, cwd):
    command = [sys.executable, "-m", "opjury", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


FEW = ("--check", "agreement", "--dtype", "float32", "--seed", "1")


def test_good_is_0(tmp_path):
    done = opjury("audit", "slice_mean:python_loop", *FEW, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 implementations hold up" in done.stdout


def test_refuted_is_1_and_shows_case_observed_expected_and_script(tmp_path):
    (tmp_path / "mine.py").write_text(WRONG)
    done = opjury(
        "audit",
        "mine.py:always_zero",
        "--as",
        "slice_mean",
        *FEW,
        "--json",
        "found.jsonl",
        "--junit",
        "found.xml",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    for word in ("case", "observed", "expected", "replay", "it should be"):
        assert word in done.stdout
    (verdict,) = records.read(tmp_path / "found.jsonl")
    assert verdict.status == "refuted"
    assert ET.parse(tmp_path / "found.xml").find(".//failure") is not None
    script = next((tmp_path / ".opjury" / "counterexamples").glob("*.py"))
    again = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "is:" in again.stdout
    assert "should be:" in again.stdout


def test_a_folder_of_our_name_does_not_hide_us(tmp_path):
    """As in the folder that holds a clone, where an editable installation is found after what lies there."""
    (tmp_path / "opjury").mkdir()
    command = "import sys; sys.path.pop(0); from opjury.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", command, "audit", "slice_mean:python_loop", *FEW],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "1 of 1 implementations hold up" in done.stdout


def test_a_function_that_never_answers_is_1(tmp_path):
    (tmp_path / "mine.py").write_text("def endless(x, slices):\n    while True:\n        pass\n")
    done = opjury("audit", "mine.py:endless", "--as", "slice_mean", *FEW, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "0 of 1 implementations hold up" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "slice_men"], "slice_mean"),
        (["audit", "slice_mean:python_lop"], "python_loop"),
        (["audit", "slice_mean", "--check", "agrement"], "agreement"),
        (["audit", "slice_mean", "--profile", "quik"], "quick"),
        (["audit", "slice_mean", "--device", "coda"], "cuda"),
        (["audit", "slice_mean", "--dtype", "float23"], "float32"),
        (["audit", "mine.py:off", "--as", "slice_mean", "--dtype", "float23"], "float32"),
        (["audit", "mine.py:off", "--as", "slice_mean", "--device", "coda"], "cuda"),
        (["audit", "nowhere.py:f", "--as", "slice_mean"], "no file"),
        (["audit", "broken.py:f", "--as", "slice_mean"], "cannot be imported: SyntaxError"),
        (["audit", "mine.py:f"], "--as OPERATION"),
        (["audit", "mine.py:of", "--as", "slice_mean"], "off"),
        (["audit", "--jobs", "0"], "jobs"),
        (["audit", "--claims", "toeplitz_by_strides", "--junit", "j.xml"], "--claims does not go with --junit"),
        (["choose", "cumsum", "--self-test", "1"], "--self-test does not go with an operation"),
        (["choose", "--self-test", "1", "--json", "f", "--accept", "error"], "does not go with --accept, --json"),
        (["list", "slice_men"], "slice_mean"),
        (["replay", "nothing.jsonl"], "does not exist"),
        (["replay", "mine.txt"], "not a record"),
        (["audti"], "did you mean 'audit'?"),
        (["audit", "mine.py:value", "--as", "slice_mean"], "mine.py:value is 3, which is not callable"),
        (
            ["audit", "difference_matrix", "--dtype", "float16"],
            "difference_matrix does not have float16; it has float64",
        ),
        (["choose", "segment_max"], "unknown operation 'segment_max'"),
        (["audit", "cumsum", "--json", "nowhere/found.jsonl"], "'--json': there is no folder 'nowhere'"),
        (["report", "--sarif", "nowhere/found.sarif"], "'--sarif': there is no folder 'nowhere'"),
        (["audit", "cumsum", "--waive", "specials=why"], "--waive and --error are for functions of a file or module"),
        (
            ["audit", "mine.py:off", "--as", "slice_mean", "--waive", "specails=why"],
            "did you mean 'specials' or 'calls'?",
        ),
        (["audit", "mine.py:off", "--as", "slice_mean", "--waive", "specials"], "'specials' gives no reason"),
        (
            ["audit", "mine.py:off", "--as", "slice_mean", "--error", "mine.py:one"],
            "mine.py:10: error model for slice_",
        ),
        (["audit", "mine.py:off", "--as", "slice_mean", "--error", "mine.py:two"], "unknown function of mine.py 'two'"),
    ],
)
def test_usage_errors_are_2_with_the_nearest_names_and_no_traceback(tmp_path, arguments, message):
    (tmp_path / "mine.py").write_text(WRONG)
    (tmp_path / "mine.txt").write_text(WRONG)
    (tmp_path / "broken.py").write_text("def f(:\n")
    done = opjury(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_audit_of_everything_in_one_dtype_leaves_out_who_does_not_have_it(tmp_path):
    done = opjury("audit", "--dtype", "int8", "--check", "vmap", cwd=tmp_path)
    assert done.returncode == 3
    assert "difference_matrix" not in done.stdout


def test_a_function_with_other_parameters_is_refuted_with_both_signatures(tmp_path):
    (tmp_path / "mine.py").write_text(WRONG)
    done = opjury("audit", "mine.py:one", "--as", "slice_mean", *FEW, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "one(x) cannot be called as slice_mean(x, slices)" in done.stdout


def test_a_plain_function_may_waive_checks_and_bring_an_error_model(tmp_path):
    (tmp_path / "mine.py").write_text(PREFIX)
    asked = ("audit", "mine.py:prefix", "--as", "slice_mean", "--dtype", "float32", "--seed", "1", "--json", "f.jsonl")
    checks = ("--check", "agreement", "--check", "locality")

    def statuses(*more):
        opjury(*asked, *checks, *more, cwd=tmp_path)
        return [v.status for v in records.read(tmp_path / "f.jsonl")]

    assert statuses() == ["refuted", "refuted"]
    assert statuses("--error", "mine.py:magnitude", "--waive", "locality=prefix sums") == ["holds", "waived"]


def test_nothing_executed_is_3(tmp_path):
    done = opjury("audit", "difference_matrix:dense_then_convert", "--check", "gradient", cwd=tmp_path)
    assert done.returncode == 3
    assert "nothing was executed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["list"], "python_loop"),
        (["list", "slice_mean"], "python_loop"),
        (["--help"], "audit"),
        (["track", "--help"], "compare"),
    ],
)
def test_what_only_shows_something_imports_nothing_heavy(tmp_path, arguments, shown):
    program = f"""
import sys
from opjury.cli.main import run
sys.argv = ["opjury", *{arguments}]
try:
    run()
finally:
    print({{"torch._C", "jinja2", "plotly", "markdown_it"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert shown in done.stdout
    assert done.stdout.splitlines()[-1] == "set()"


def test_list_of_an_operation_begins_with_its_contract_and_tells_what_is_declared(tmp_path):
    done = opjury("list", "slice_mean", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("slice_mean(x, slices): mean of x[start:end]")
    for words in ("0 ≤ start < end ≤ n", "dtypes    float16", "laws      permuting", "rejects   every other call"):
        assert words in done.stdout
    assert "waives specials" in done.stdout
    assert "waives error bound: after 1e8: 0 for 1" in done.stdout
    assert "has an error bound of its own" in done.stdout  # doubling_table's is tighter than the contract's
    assert "wrong in" in done.stdout


@pytest.mark.slow(reason="several whole audits")
def test_an_interrupted_audit_resumes(tmp_path):
    everything = ("audit", "slice_mean:python_loop", "--check", "agreement", "--seed", "1", "--json", "found.jsonl")
    assert opjury(*everything, cwd=tmp_path).returncode == 0
    lines = (tmp_path / "found.jsonl").read_bytes().splitlines()
    assert len(lines) == 5
    kept = json.loads(lines[0]) | {"examples": 12345}
    (tmp_path / "found.jsonl").unlink()
    (tmp_path / "found.jsonl.partial").write_bytes(json.dumps(kept).encode() + b"\n" + lines[1][:40])
    assert opjury(*everything, cwd=tmp_path).returncode == 0
    verdicts = list(records.read(tmp_path / "found.jsonl"))
    assert len(verdicts) == 5
    assert [v.examples for v in verdicts].count(12345) == 1
    assert not (tmp_path / "found.jsonl.partial").exists()


def test_a_refutation_is_printed_once_and_before_the_next_verdict_comes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def found(check, dtype, status="refuted", **more):
        common = dict(environment=environment(), profile="quick", seed=1, script="print(1)")
        return verdict("slice_mean", "python_loop", check, status, dtypes=(dtype,), **common, **more)

    def judged(tasks, **options):
        assert "left by the interrupted audit" in capsys.readouterr().out
        yield found("agreement", "float32", message="it is wrong")
        shown = capsys.readouterr().out
        assert "it is wrong" in shown
        script = re.search(r"replay +python (\S+)", shown)[1]
        assert Path(script).read_text() == "print(1)"
        yield found("agreement", "float64", message="wrong again")
        assert not capsys.readouterr().out
        yield found("laws", "float32", "error", message="it has no answer")
        assert not capsys.readouterr().out

    records.write("found.jsonl.partial", [found("form", "float32", message="left by the interrupted audit")])
    monkeypatch.setattr("opjury.cli.audit.judge_tasks", judged)
    asked = ["audit", "slice_mean:python_loop", "--dtype", "float32", "--seed", "1", "--json", "found.jsonl"]
    assert main(asked, standalone_mode=False) == 1
    shown = capsys.readouterr().out
    assert re.search(r"^python_loop +28 +0 ✗ agreement, form *\n +! laws *$", shown, re.M)
    assert "it has no answer" in shown
    assert not re.search("wrong|left by", shown)


@pytest.mark.parametrize("changed", [["--seed", "2"], ["--profile", "full"], "code"])
@pytest.mark.slow(reason="several whole audits")
def test_what_another_audit_left_does_not_count(tmp_path, changed):
    (tmp_path / "mine.py").write_text("import torch\n\n\ndef mine(x, dim):\n    return x.cumsum(dim)\n")
    asked = [
        "audit",
        "mine.py:mine",
        "--as",
        "cumsum",
        "--check",
        "form",
        "--dtype",
        "float32",
        "--json",
        "found.jsonl",
    ]
    assert opjury(*asked, "--seed", "1", cwd=tmp_path).returncode == 0
    (verdict,) = records.read(tmp_path / "found.jsonl")
    partial = tmp_path / "found.jsonl.partial"

    def examples(*more):
        records.write(partial, [replace(verdict, examples=12345)])
        if changed == "code" and not more:
            os.utime(tmp_path / "mine.py", (time.time() + 9,) * 2)
        assert opjury(*asked, *more, cwd=tmp_path).returncode == 0
        return [v.examples for v in records.read(tmp_path / "found.jsonl")]

    assert examples("--seed", "1") == [12345]
    assert examples(*(changed if changed != "code" else ())) != [12345]


def first_of(name, check):
    """A verdict with a counterexample."""
    found = audit(name, checks=[check], dtypes=["float32"], seed=1, database="", isolate=False)
    return next(v for v in found.verdicts if v.counterexample)


def test_replay_of_records(tmp_path, monkeypatch):
    """What decides is what should hold up: no control, nothing waived, nothing that cannot be tried here."""

    def replayed(*found):
        records.write(tmp_path / "found.jsonl", found)
        done = CliRunner().invoke(main, ["replay", str(tmp_path / "found.jsonl")])
        return done.exit_code, " ".join(done.stdout.split())

    monkeypatch.setattr("opjury.cli.audit.present", lambda device: device == "cpu")
    control = first_of("toeplitz:published_nonzero_index", "agreement")
    assert replayed(control) == (
        0,
        f"toeplitz:published_nonzero_index agreement: still refuted (known to be wrong): {control.message}",
    )
    assert replayed(replace(control, implementation="gather")) == (0, "toeplitz:gather agreement: holds now")
    waived = first_of("slice_mean:prefix_sum_difference", "specials")
    status, told = replayed(waived)
    assert status == 0
    assert "specials: waived: " in told
    wrong = replace(waived, check="agreement")  # which nobody waives
    mine = replace(wrong, implementation="mine")
    elsewhere = replace(wrong, device="cuda")
    spoilt = replace(wrong, counterexample={"args": [], "tier": "exact"})
    status, told = replayed(mine, elsewhere, spoilt, wrong)
    assert status == 1
    assert "slice_mean:mine agreement: its script still fails: result[" in told
    assert "1 counterexample cannot be tried here: no CUDA device is present (slice_mean:prefix_sum_diff" in told
    assert "agreement: error: KeyError" in told
    assert "prefix_sum_difference agreement: still refuted: result[" in told
    bare, foreign = replace(mine, script=""), replace(mine, script="import no_such_module")
    passing, unshown = (
        replace(mine, script="1"),
        replace(mine, script="1", message="wrong; the script does not show it"),
    )
    status, told = replayed(bare, bare, foreign, unshown, spoilt)
    assert status == 3
    assert "2 counterexamples cannot be tried here: unknown implementation of slice_mean" in told
    assert "its script cannot be run here: ModuleNotFoundError" in told
    assert "its script shows nothing: wrong" in told
    status, told = replayed(bare, passing)
    assert status == 0
    assert told.startswith("slice_mean:mine agreement: its script passes")


def test_replay_with_a_function_of_ones_own(tmp_path):
    """The counterexample of any record is tried on the function in a file, in a process of its own."""
    records.write(tmp_path / "found.jsonl", [first_of("slice_mean:prefix_sum_difference", "specials")])
    (tmp_path / "own.py").write_text(MEANS)
    for name, status, outcome in (
        ("right", 0, "holds now"),
        ("wrong", 1, "still refuted: result"),
        ("hasty", 1, "ended"),
    ):
        done = opjury("replay", "found.jsonl", "--with", f"own.py:{name}", cwd=tmp_path)
        assert done.returncode == status, done.stdout + done.stderr
        assert f"slice_mean:{name} specials: " in done.stdout
        assert outcome in done.stdout
    done = opjury("replay", "found.jsonl", "--with", "own.py:rigth", cwd=tmp_path)
    assert done.returncode == 2
    assert "right" in done.stderr


MEANS = """
import os
import torch


def right(x, slices):
    means = [x[start:end].mean(0) for start, end in slices.tolist()]
    return torch.stack(means) if means else x.new_zeros((0, *x.shape[1:]))


def wrong(x, slices):
    return right(x, slices) + 0 * x.sum()


def hasty(x, slices):
    os._exit(3)
"""


def test_a_counterexample_that_hangs_is_still_one():
    case = first_of("slice_mean:prefix_sum_difference", "specials").counterexample
    task = Task("slice_mean", "endless", "agreement", ("float32",), function=Here(endless), shrink=False, only=case)
    verdict = judge(task)
    assert (verdict.status, verdict.examples) == ("refuted", 0)
    assert "no answer within" in verdict.message


def test_replay_of_a_script_fails_where_it_raises(tmp_path):
    for text, status in (("print(1)", 0), ("raise ValueError", 1)):
        (tmp_path / "script.py").write_text(text)
        assert opjury("replay", "script.py", cwd=tmp_path).returncode == status


def test_schema_is_json(tmp_path):
    done = opjury("schema", cwd=tmp_path)
    assert {"Verdict", "Measurement", "Recommendation"} <= set(json.loads(done.stdout)["$defs"])
