"""What the world is at fault for is one line and exit status 2; what we are at fault for stays a traceback."""

import math
import subprocess
import sys
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import pytest

from opjury import audit
from opjury.cli.main import run as start
from opjury.model import records, registry
from opjury.model.environment import environment
from opjury.model.records import Verdict
from opjury.run import pool
from opjury.track import history
from tests.made_up import measurement, night, verdict

LONG = 250 * "x"

UNPICKLABLE = """
import threading

def made():
    lock = threading.Lock()

    def locked(x, dim):
        with lock:
            return x.cumsum(dim)

    return locked

mine = made()
"""


@pytest.fixture
def opjury(tmp_path, monkeypatch, capsys):
    """The command as it is entered; status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no record\n")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["opjury", *map(str, arguments)])
        with pytest.raises(SystemExit) as status:
            start()
        told = capsys.readouterr()
        return status.value.code, told.out, told.err

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["choose", "cumsum", "small", "--trust", "file"], "file, line 1: not a record of this version"),
        (["choose", "cumsum", "small", "--with", "mine.py:mine"], "cannot be sent to another process"),
        (["replay", "file"], "file, line 1: not a record of this version"),
        (["report", "found.jsonl", "--output", "file/site"], "file/site cannot be written: File exists (file)"),
        (["report", "found.jsonl", "--table", LONG], f"{LONG} cannot be written: File name too long"),
        (["audit", "cumsum", "--json", LONG], f"{LONG}.partial cannot be written: File name too long"),
    ],
)
def test_a_fault_is_one_line(opjury, tmp_path, arguments, message):
    (tmp_path / "mine.py").write_text(UNPICKLABLE)
    records.write(tmp_path / "found.jsonl", [verdict()])
    status, out, err = opjury(*arguments)
    assert (status, out) == (2, "")
    assert message in err
    assert err.splitlines()[-1].startswith(("opjury: ", "Error: "))


def test_what_was_found_is_shown_before_it_is_written(opjury, tmp_path):
    records.write(tmp_path / "found.jsonl", [verdict()])
    status, out, err = opjury("merge", "found.jsonl", "--junit", LONG)
    assert status == 2
    assert err.startswith(f"opjury: {LONG} cannot be written: File name too long (")
    assert "1 of 1 implementations hold up" in out
    found = audit("circulant:gather", checks=["agreement"], dtypes=["float32"], scale=0.1, isolate=False, database="")
    records.write(tmp_path / "found.jsonl", found.verdicts)
    status, out, err = opjury("choose", "circulant", "n=8", *("--trust", "found.jsonl", "--seconds", "0.1", "--json", LONG))  # fmt: skip
    assert status == 2
    assert err.startswith(f"opjury: {LONG} cannot be written: File name too long (")
    assert "Use gather" in out


def test_an_audit_where_scripts_cannot_be_kept_is_told_whole(opjury, tmp_path):
    (tmp_path / ".opjury").touch()
    records.write(tmp_path / "found.jsonl", [verdict(status="refuted", message="wrong", script="pass")])
    status, out, err = opjury("merge", "found.jsonl", "--json", "all.jsonl")
    assert status == 1
    assert ".opjury/counterexamples/cumsum-torch_cumsum-agreement.py cannot be written: Not a directory" in err
    assert "0 of 1 implementations hold up" in out
    assert (tmp_path / "all.jsonl").exists()


def test_a_check_of_nights_in_a_repository_without_a_commit(opjury, tmp_path):
    subprocess.run(["git", "init", "-q"], check=True)
    for day, seconds in enumerate([1.0] * 14 + [2.0] * 2, start=1):
        times = dict(least_seconds=seconds * (1 + 1e-3 * math.sin(day)), least_floor_seconds=1.0)
        tonight = night(date=f"2026-01-{day:02}T03:00:00+00:00", environment=environment())
        history.add_night(tonight, [measurement(**times)], tmp_path / history.FOLDER)
    status, _, err = opjury("track", "check")
    assert (status, err) == (2, "opjury: the repository has no commit yet; a night is kept by its commit\n")


def test_a_control_that_is_not_registered_is_told_and_not_green(opjury, tmp_path):
    records.write(tmp_path / "found.jsonl", [verdict(implementation="nobodys", status="refuted", control=True)])
    status, out, _ = opjury("merge", "found.jsonl")
    assert status == 1
    assert "cumsum:nobodys: a negative control that is not registered here: what it declares is not known" in " ".join(
        out.split()
    )


def test_worker_processes_that_do_not_start():
    never: Future[Verdict] = Future()
    never.set_exception(BrokenProcessPool())
    with pytest.raises(registry.Impossible, match="worker processes do not start"):
        pool._outcome(never, 1.0)


def test_a_fault_of_ours_stays_a_traceback(monkeypatch, tmp_path):
    def faulty(*arguments, **options):
        raise ValueError("a bug")

    monkeypatch.setattr("opjury.scale.commands.merge", faulty)
    records.write(tmp_path / "found.jsonl", [verdict()])
    monkeypatch.setattr(sys, "argv", ["opjury", "merge", str(tmp_path / "found.jsonl")])
    with pytest.raises(ValueError, match="a bug"):
        start()
