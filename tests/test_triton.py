"""The Triton implementations through Triton's interpreter, on the CPU, where sizes of tiles are small; and what they say without it."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import opjury
from opjury.model import registry

IN_TRITON = [entry for entry in registry.implementations() if entry.requires == "triton"]
ROOT = Path(__file__).parents[1]
PLACES = os.pathsep.join([str(ROOT / "src"), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize("entry", IN_TRITON, ids=lambda entry: f"{entry.operation}-{entry.name}")
@pytest.mark.slow(reason="Triton's interpreter takes a minute for a kernel")
def test_kernels_hold_up_interpreted(entry):
    done = subprocess.run(
        [sys.executable, "-m", "tests.interpreted", entry.operation],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": PLACES},
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *surprises, examples = done.stdout.splitlines()
    assert not any(surprises)
    assert int(examples) > 50


def compiled(cache, *options):
    """The lines that `python -m tests.compiled` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.compiled", *options],
        capture_output=True,
        text=True,
        env={**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache), "PYTHONPATH": PLACES},
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.slow(reason="it compiles all kernels")
def test_kernels_compile_for_a_gpu_that_is_not_there(tmp_path):
    variants = dict(line.split() for line in compiled(tmp_path))
    sources = "".join(file.read_text() for file in (ROOT / "impls").rglob("_triton_*.py"))
    assert set(variants) == set(re.findall(r"(\w+)\[\(", sources))


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.slow(reason="it compiles all kernels")
def test_large_launches_keep_in_registers_what_a_thread_needs(tmp_path):
    _, heads, *lines = compiled(tmp_path, "--bars")
    column = heads.split().index("stack")
    assert len(lines) > 15
    assert max(int(line.split()[column]) for line in lines) <= 32


def test_every_operation_that_wants_a_kernel_has_one():
    wanted = {"cumsum", "moving_mean", "normalize_sum", "slice_mean", "toeplitz", "unfold", "vector_norm"}
    assert {entry.operation for entry in IN_TRITON} == wanted


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="Triton interprets")
def test_without_a_device_or_the_interpreter_the_reason_is_stated():
    verdicts = opjury.audit("cumsum:decoupled_look_back", checks=["agreement"], isolate=False, database="").verdicts
    assert {(verdict.status, verdict.message) for verdict in verdicts} == {("skipped", "runs on CUDA only")}
    if importlib.util.find_spec("triton") is not None:
        with pytest.raises(RuntimeError, match="needs a CUDA device, or TRITON_INTERPRET=1"):
            opjury.get("cumsum", "decoupled_look_back")(torch.ones(3), 0)
