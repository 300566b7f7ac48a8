"""The same seed gives the same verdicts, counterexamples and counts, on a busy machine too."""

import multiprocessing
import os

import msgspec
import pytest

import opjury
from opjury.judge.task import PROFILES, Profile
from opjury.judge.trial import Trial
from tests import broken


def busy():
    while True:
        sum(range(10_000))


@pytest.fixture
def load():
    """As many processes as there are cores that compute without end."""
    processes = [multiprocessing.Process(target=busy, daemon=True) for _ in range(os.cpu_count() or 1)]

    def start():
        for process in processes:
            process.start()

    yield start
    for process in processes:
        if process.is_alive():
            process.kill()
            process.join()


def records(function, operation, **options):
    """Everything that the records of an audit say but for seconds."""
    found = opjury.audit(function, operation=operation, seed=11, database="", **options)
    return [{**msgspec.to_builtins(verdict), "seconds": 0} for verdict in found.verdicts]


@pytest.mark.slow(reason="two audits, one of them beside busy processes")
def test_an_audit_under_load_finds_the_same(load):
    functions = [
        ("cumsum", "carry_dropped"),
        ("toeplitz", "diagonal_from_row"),
        ("sparse_diff", "duplicates_overwrite"),
    ]
    quiet = [records(broken_one(*each), each[0]) for each in functions]
    load()
    for each, before in zip(functions, quiet, strict=True):
        assert any(verdict["counterexample"] for verdict in before)
        assert records(broken_one(*each), each[0]) == before


def test_steps_of_shrinking_are_no_examples():
    """Whoever is wrong on the first case has one example, however many steps it takes to make that smaller."""
    (verdict,) = opjury.audit(
        lambda c: c, "circulant", checks="agreement", dtypes="float32", seed=1, isolate=False, database=""
    ).refuted
    assert verdict.examples <= 3


def test_shrinking_ends_by_steps(monkeypatch):
    tried = []
    fails = Trial.fails

    def counted(trial, check, case):
        tried.append(case)
        return fails(trial, check, case)

    monkeypatch.setattr(Trial, "fails", counted)
    counts = []
    for steps in (1, 20, 2000):
        monkeypatch.setitem(PROFILES, "quick", Profile(40, steps, 4.0, grouped=True))
        tried.clear()
        found = opjury.audit(
            broken_one("cumsum", "carry_dropped"),
            "cumsum",
            checks="agreement",
            dtypes="float32",
            seed=3,
            isolate=False,
            database="",
        )
        assert found.refuted
        counts.append(len(tried))
    assert counts[0] < counts[1] < counts[2]
    assert counts[1] - counts[0] <= 20


def broken_one(operation, name):
    return next(f for found, f in broken.catalogue() if (found, f.__name__) == (operation, name))
