"""Operations that a script, a module or a notebook declares are audited and measured like those that are installed."""

import subprocess
import sys
import threading

import pytest
from hypothesis import configuration

import opjury
from opjury.contract import Case, Operation, composite, illegal, implementation
from opjury.judge.draw import hypothesis_elsewhere
from opjury.run.ship import Sent

OWN = """
import numpy as np
import torch
import opjury
from opjury.contract import Case, Operation, Tensor, Workload, composite, illegal, implementation

def reverse(x):
    return np.flip(x, 0)

@composite
def cases(draw, space):
    return Case.of(draw(space.tensor(draw(space.shapes(1, 2)))))

@composite
def rejects(draw, space):
    return illegal("x is 0-d", draw(space.tensor(())))

Operation(
    "reverse", "rows in reverse order", kind="movement", reference=reverse, cases=cases, rejects=rejects, baseline="flip"
)

def rows(x):
    if x.ndim == 0:
        raise ValueError("a scalar has no rows")
    return len(x)

@implementation("reverse")
def flip(x):
    rows(x)
    return x.flip(0)

@implementation("reverse")
def index(x):
    return x[torch.arange(rows(x) - 1, -1, -1)]

Workload(
    "reverse",
    sizes=dict(small=dict(n=100), medium=dict(n=1000), large=dict(n=10_000)),
    arguments=lambda rng, n: Case.of(Tensor(rng.standard_normal(n), "float64")),
    least_bytes=lambda itemsize, n: 2 * n * itemsize,
    least_operations=lambda n: 0,
)

def last_axis(x):
    return x.flip(-1)
"""
USE = """
found = opjury.audit("reverse", dtypes="float32", checks=["agreement", "gradient"], scale=0.2)
print(found.ok, sorted(v.implementation for v in found.verdicts))
print(opjury.audit(last_axis, "reverse", dtypes="float32", checks="agreement").refuted[0].message)
"""
CHOOSE = 'print(opjury.choose("reverse", "small", seconds=0.3).implementation)'


@pytest.mark.parametrize("form", ["script", "module", "standard input"])
def test_workers_know_what_was_declared_here(tmp_path, form):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "script.py").write_text(OWN + USE + CHOOSE)
    arguments = {
        "script": ["script.py"],
        "module": ["-c", "from own import last_axis, opjury" + USE],
        "standard input": ["-"],
    }[form]
    done = subprocess.run(
        [sys.executable, *arguments], input=OWN + USE, cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    lines = done.stdout.splitlines()
    assert lines[:1] == ["True ['flip', 'flip', 'index', 'index']"], done.stdout + done.stderr
    assert "it should be" in lines[1]
    assert form != "script" or lines[2] in ("flip", "index")


@composite
def cases(draw, space):
    return Case.of(draw(space.tensor((2,))))


@pytest.mark.usefixtures("declarations_end_with_the_test")
def test_what_cannot_be_sent_says_so():
    lock = threading.Lock()

    def negative(x):
        return -x if lock else x

    Operation(
        "negative", "−x", kind="exact", reference=negative, cases=cases, rejects=lambda space: illegal("x is missing")
    )
    implementation("negative")(negative)
    with pytest.raises(opjury.Impossible, match="negative was declared in this process and cannot be sent to workers"):
        opjury.audit("negative", checks="agreement")
    assert opjury.audit("negative", checks="agreement", dtypes="float32", isolate=False).ok


def test_what_every_process_knows_is_not_sent(tmp_path):
    opjury.get("cumsum", "torch_cumsum")
    assert Sent.declarations("cumsum") is None
    program = "import opjury.impls.cumsum.cumsum; from opjury.model import declared; print(declared.own)"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_nothing_of_hypothesis_is_left_in_the_working_directory(tmp_path):
    """Where letters are drawn, hypothesis keeps a table of Unicode, by default in the working directory."""
    drawn = OWN.replace("return Case.of(draw(", "draw(st.text(st.characters(categories=['Lu']))); return Case.of(draw(")
    program = drawn.replace("composite, illegal", "composite, illegal, st", 1)
    (tmp_path / "own.py").write_text(
        program + "opjury.audit('reverse', dtypes='float32', checks='form', isolate=False)"
    )
    (tmp_path / "wrong.py").write_text("def wrong(x, dim):\n    return x.cumsum(dim) + 1\n")
    audit = ["-m", "opjury", "audit", "wrong.py:wrong", "--as", "cumsum", "--check", "agreement", "--dtype", "float32"]
    for arguments, status in ((["own.py"], 0), (audit, 1)):
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == status, done.stderr
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"own.py", "wrong.py", ".opjury"}


def test_what_others_keep_in_hypothesis_folder_is_not_moved(tmp_path):
    def home():
        return configuration.storage_directory("examples", intent_to_write=False).path.parent

    configuration.set_hypothesis_home_dir(tmp_path)
    try:
        with hypothesis_elsewhere():
            assert home().parent.name == "opjury"
        assert home() == tmp_path
    finally:
        configuration.set_hypothesis_home_dir(None)
