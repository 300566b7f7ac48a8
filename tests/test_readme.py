"""Every command of the README is run, and every program of the examples."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from opjury.model import records
from opjury.track import history
from tests.made_up import measurement, night, verdict

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
COMMANDS = [
    line.removeprefix("$ ")
    for language, block in BLOCKS
    if language == "console"
    for line in block.splitlines()
    if line.startswith("$ ")
]
PROGRAMS = [block for language, block in BLOCKS if language == "python"]
INSTALLING = ("make", "pip", "git")
QUICK = ("opjury list", "opjury schema", "opjury report", "opjury merge", "opjury track check")
SLOW = pytest.mark.slow(reason="an audit, a contest or a suite, as a user runs it")


@pytest.fixture
def files(tmp_path):
    """What the README's commands find in the folder."""
    (tmp_path / "mine.py").write_text(program_with("def my_mean").partition("found =")[0])
    (tmp_path / "test_mine.py").write_text(program_with("def test_mine"))
    records.write(tmp_path / "found.jsonl", [verdict(), measurement()])
    history.add_night(night(), [verdict(), measurement()], tmp_path / history.FOLDER)
    return tmp_path


def program_with(words):
    return next(block for block in PROGRAMS if words in block)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, id=command.partition("#")[0].strip(), marks=() if command.startswith(QUICK) else SLOW)
        for command in COMMANDS
        if not command.startswith(INSTALLING)
    ],
)
def test_commands_run(files, command):
    name, *arguments = shlex.split(command.partition("#")[0])
    assert name in ("opjury", "pytest")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", name, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        cwd=files,
        timeout=550,
    )
    assert done.returncode in ((0,) if name == "pytest" else (0, 1)), done.stdout + done.stderr
    assert done.stdout


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMANDS:
        if command.startswith("make "):
            assert re.search(rf"^{command.split()[1]}:", makefile, re.M), command


@SLOW
@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_programs_run(files, program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=files, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_parts_of_a_bound_are_printed(tmp_path):
    audit = "audit moving_mean:rounded_prefix_sums --check agreement --dtype float32 --seed 3 --json found.jsonl"
    subprocess.run([sys.executable, "-m", "opjury", *audit.split()], cwd=tmp_path, check=True, capture_output=True)
    script = [sys.executable, str(ROOT / "examples" / "bound.py"), "found.jsonl"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert [line.split()[0] for line in done.stdout.splitlines()][1:] == [
        "computed",
        "exact",
        "bound",
        "magnitude",
        "terms",
    ]
    assert "opjury.judge.trial.Refuted: result[1] is " in done.stderr
