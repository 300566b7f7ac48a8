"""Failing cases that machines share through a redis server, and servers that fail."""

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import opjury
from opjury.cli.main import main
from opjury.judge import database
from opjury.judge.search import Search
from opjury.judge.strategies import illegal
from opjury.model import records
from opjury.model.arguments import Tensor
from opjury.model.case import Case

pytest.importorskip("redis", reason="needs the extra `team`")
from redis import ConnectionError, Redis

NEEDS_SERVER = pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
ONE = dict(operation="circulant", checks=["agreement"], dtypes=["float32"], isolate=False, seed=1)


WRONG = """
import torch

def wrong(c):
    n = torch.arange(len(c))
    return c[(n[:, None] - n) % max(len(c), 1)] + (len(c) == 4)
"""


def wrong_for_some(c):
    """Right but for vectors of seven elements."""
    n = torch.arange(len(c))
    return c[(n[:, None] - n) % max(len(c), 1)] + (len(c) == 7)


@pytest.fixture
def server(tmp_path):
    """A server of one's own on loopback: its address and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with Redis(port=port) as client:
        for _ in range(200):
            try:
                client.ping()
                break
            except ConnectionError:
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0", process, client
    process.kill()
    process.wait()


@pytest.fixture
def machines(tmp_path, monkeypatch):
    """Step onto a machine by its name: each has a local folder of its own, and a process that knows of no server yet."""

    def on(name):
        database._server.cache_clear()
        monkeypatch.setattr(database, "local_folder", lambda: str(tmp_path / name))
        return tmp_path / name

    yield on
    database._server.cache_clear()


def tried_first(monkeypatch, address, function=wrong_for_some, **options):
    """What an audit finds, and whether it needed no new case for it."""
    drawn, draw = [], Search._drawn

    def noted(search, kind):
        drawn.append(1)
        yield from draw(search, kind)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "_drawn", noted)
        found = opjury.audit(function, **{**ONE, "database": address, **options})
    return found, not drawn


@NEEDS_SERVER
def test_a_case_that_fails_on_one_machine_is_tried_first_on_another(server, machines, monkeypatch):
    address, _, client = server
    here = machines("first")
    found, before = tried_first(monkeypatch, address)
    assert found.refuted
    assert not before
    assert any(here.rglob("*"))
    assert client.keys("opjury:*")
    assert 0 < client.ttl(client.keys("opjury:*")[0]) <= 8 * 24 * 3600
    there = machines("second")
    assert not there.exists()
    found, before = tried_first(monkeypatch, address, seed=2, scale=0.01)
    assert found.refuted
    assert before
    assert any(there.rglob("*")), "what the server had is now here, too"


@NEEDS_SERVER
def test_workers_of_two_machines_share_what_fails(server, tmp_path):
    """The second needs but one of the first one's cases, and has it in its folder afterwards."""
    address, _, _ = server
    (tmp_path / "mine.py").write_text(WRONG)
    needed = []
    for seed, machine in enumerate(("first", "second")):
        command = [
            sys.executable,
            "-m",
            "opjury",
            "audit",
            "mine.py:wrong",
            "--as",
            "circulant",
            "--check",
            "agreement",
        ]
        command += ["--dtype", "float32", "--seed", str(seed), "--example-db", address, "--json", f"{machine}.jsonl"]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / machine)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        (found,) = records.read(tmp_path / f"{machine}.jsonl")
        needed.append(found.examples)
        assert any(path.is_file() for path in (tmp_path / machine).rglob("*"))
    assert needed[1] < needed[0]


@NEEDS_SERVER
def test_what_was_kept_here_alone_comes_to_the_server(server, machines, monkeypatch):
    address, _, client = server
    folder = machines("first")
    opjury.audit(wrong_for_some, **ONE, database=str(folder))
    assert not client.keys("opjury:*")
    assert tried_first(monkeypatch, address)[1]
    assert client.keys("opjury:*")


@NEEDS_SERVER
def test_whoever_writes_to_the_server_chooses_cases_and_nothing_else(server, machines, monkeypatch, tmp_path):
    address, _, client = server
    machines("first")
    opjury.audit(wrong_for_some, **ONE, database=address)

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "evil"), "w"))

    huge = {"tensor": "float32", "shape": [10**12], "layout": "contiguous", "data": True, "values": []}
    told = [{"args": [huge], "kwargs": {}, "tier": "exact", "seed": 1}, {"args": [{"recipe": "os:system"}]}, [1], None]
    for key in client.keys("opjury:*"):
        client.delete(key)
        client.sadd(key, pickle.dumps(Evil()), b"", b"\xff" * 10000, bytes(range(256)), *map(json.dumps, told))
    machines("second")
    found, _ = tried_first(monkeypatch, address)
    assert [v.cause for v in found.refuted] == [""]
    assert not (tmp_path / "evil").exists()
    for key in client.keys("opjury:*"):
        client.delete(key)
        client.set(key, "of another type")
    machines("third")
    assert [v.status for v in tried_first(monkeypatch, address)[0].verdicts] == ["refuted"]


@NEEDS_SERVER
def test_a_server_that_dies_in_the_middle_loses_nothing(server, machines, monkeypatch):
    address, process, _ = server
    folder = machines("first")

    def ends_the_server(c):
        process.kill()
        process.wait()
        return wrong_for_some(c)

    found, _ = tried_first(monkeypatch, address, ends_the_server)
    assert found.refuted
    assert any(folder.rglob("*"))
    assert tried_first(monkeypatch, str(folder), ends_the_server)[1]


def vector(values, dtype="float32"):
    return Tensor(np.array(values, dtype=float), dtype)


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (Case.of(vector([[1, 2]])), "two dimensions are illegal"),
        (Case.of(vector([[1, 2]]).values.tolist()), "a list is no tensor"),
        (Case.of(vector([1, 2]), vector([1, 2])), "one argument too many"),
        (Case.of(vector([1, 2], "float64")), "another dtype than the task's"),
        (illegal("c has two dimensions", vector([[1, 2]])), "agreement is not tried on illegal calls"),
    ],
)
def test_a_kept_case_that_the_contract_does_not_draw_is_not_tried(case, why, tmp_path):
    kept = database.KeptCases(str(tmp_path), "circulant-refuses-float32-cpu", "agreement")
    kept.keep(case)
    found = opjury.audit(refuses, **ONE, database=str(tmp_path))
    assert found.ok, why
    assert not list(kept)


def refuses(c):
    """Right, and ends what is no legal call of float32 with an error that no check expects."""
    if type(c) is not torch.Tensor or c.ndim != 1 or c.dtype is not torch.float32:
        raise ArithmeticError
    n = torch.arange(len(c))
    return c[(n[:, None] - n) % max(len(c), 1)]


def test_a_kept_case_that_holds_now_is_forgotten(tmp_path):
    kept = database.KeptCases(str(tmp_path), "circulant-wrong_for_some-float32-cpu", "agreement")
    kept.keep(Case.of(vector(range(3))))
    (verdict,) = opjury.audit(wrong_for_some, **ONE, database=str(tmp_path)).refuted
    assert [case.to_json() for case in kept] == [verdict.counterexample]


def test_a_case_that_cannot_be_kept_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    assert opjury.audit(wrong_for_some, **ONE, database=str(tmp_path / "file")).refuted


@pytest.fixture
def silent():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


def test_a_server_that_never_answers_is_asked_once_by_a_process(silent, machines):
    folder = machines("first")
    kept = database.KeptCases(silent, "task")
    assert database._server(silent).patience > 0
    kept.keep(Case.of(1))
    assert database._server(silent).patience <= 0
    assert [case.args for case in kept] == [(1,)]
    assert any(folder.rglob("*"))


def test_waiting_for_a_server_adds_up(machines, monkeypatch):
    machines("first")
    server = database.Server("redis://127.0.0.1:1/0")
    clock = iter(range(100))
    monkeypatch.setattr(database.time, "monotonic", lambda: next(clock) * 0.55)  # each answer takes 0.55 s
    answers = [server.attempt(lambda client: "yes", "no") for _ in range(6)]
    assert answers == ["yes"] * 4 + ["no"] * 2


def cli(*arguments):
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


FEW = ("circulant:gather", "--check", "form", "--dtype", "float32", "--seed", "1", "--no-isolation")


@pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0", "silent"])
def test_a_server_that_cannot_be_used_is_told_once_and_the_audit_goes_on(address, silent, machines, request):
    folder = machines("first")
    done = cli("audit", *FEW, "--example-db", silent if address == "silent" else address)
    assert done.exit_code == 0
    assert done.output.count("does not answer") == 1
    assert f"kept in {folder} alone" in done.stderr.replace("\n", "")


def test_a_server_that_is_gone_at_the_end_is_told_once(machines, monkeypatch):
    folder = machines("first")
    answers = iter(["PONG"])
    monkeypatch.setattr(database.Server, "attempt", lambda server, call, otherwise: next(answers, otherwise))
    done = cli("audit", *FEW, "--example-db", "redis://127.0.0.1:1/0")
    assert done.exit_code == 0
    assert done.stderr.count("does not answer any more") == 1
    assert str(folder) in done.stderr


@pytest.mark.parametrize("address", ["http://127.0.0.1/0", "redis:/127.0.0.1"])
def test_another_address_is_a_usage_error_or_a_folder(address, machines, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    machines("first")
    done = cli("audit", *FEW, "--example-db", address)
    assert done.exit_code == (2 if "://" in address else 0)


def test_in_python_the_warning_is_one(machines):
    machines("first")
    with pytest.warns(UserWarning, match="does not answer") as told:
        assert opjury.audit(wrong_for_some, **ONE, database="redis://127.0.0.1:1/0").refuted
    assert len(told) == 1


def test_a_password_is_not_told(machines):
    machines("first")
    done = cli("audit", *FEW, "--example-db", "redis://me:secret@127.0.0.1:1/0")
    assert "secret" not in done.output
    assert "127.0.0.1" in done.stderr
