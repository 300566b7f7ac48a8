"""The record of one GPU, made without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.mark.slow(reason="it spends a budget of 50 seconds")
def test_the_record_of_a_gpu_is_made_here_too(tmp_path):
    options = ["--device", "cpu", "--budget", "50", "--small"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.figures.gpu", str(tmp_path), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    summary = (tmp_path / "summary.md").read_text()
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in summary
    assert "nothing here was run on CUDA" in summary
    bars = [json.loads(line) for line in (tmp_path / "bars.jsonl").read_text().splitlines()]
    assert {bar["reference"] for bar in bars} == {"a copy on the device"}
    assert f"| {bars[0]['implementation']} | {bars[0]['ratio']:.3f} |" in summary
    verdicts = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    assert sum(verdict["examples"] for verdict in verdicts) > 0
    for name in ("choices.jsonl", "tests.txt"):
        assert (tmp_path / name).exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_record_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.figures.gpu", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert "no CUDA device is present" in done.stderr
