"""Shards of an audit, and the records of several runs as one."""

import dataclasses
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from opjury.audit import Audit, identity
from opjury.cli.main import main
from opjury.judge.task import Request
from opjury.model import records, registry
from opjury.model.records import Part, Verdict
from opjury.scale.merge import merge
from opjury.scale.shards import part, split
from tests.made_up import ELSEWHERE, measurement, verdict

TASKS = [
    task
    for name in ("circulant", "sparse_grow", "cumsum")
    for entry in registry.implementations(name)
    for task in Request(seed=3).tasks(name, entry.name)
]
COSTS = st.lists(st.tuples(st.sampled_from(TASKS), st.floats(0, 100)), max_size=30)


def took(costs):
    return [
        verdict(t.operation, t.implementation, t.check, dtypes=t.dtypes, device=t.device, seconds=seconds)
        for t, seconds in costs
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(TASKS), max_size=80), st.integers(1, 40), COSTS, st.randoms())
def test_every_task_is_in_exactly_one_shard_and_all_shards_split_alike(tasks, of, costs, random):
    parts = split(tasks, of, took(costs))
    assert len(parts) == of
    assert sorted(identity(task) for mine in parts for task in mine) == sorted(map(identity, tasks))
    places = {}
    for number, mine in enumerate(parts):
        for task in mine:
            places.setdefault((task.operation, task.check), set()).add(number)
    assert all(len(numbers) == 1 for numbers in places.values())
    shuffled = random.sample(tasks, len(tasks))
    assert [set(map(identity, mine)) for mine in split(shuffled, of, took(costs))] == [
        set(map(identity, mine)) for mine in parts
    ]


@pytest.mark.parametrize("of", [2, 5, 8])
@pytest.mark.parametrize("skew", [1, 50])
def test_recorded_costs_are_balanced(of, skew):
    """No shard has more than the mean and one unit besides, however unequal they are."""
    seconds = {identity(task): 1.0 + skew * (number % 7 == 0) for number, task in enumerate(TASKS)}
    recorded = took((task, seconds[identity(task)]) for task in TASKS)
    loads = [sum(seconds[identity(task)] for task in mine) for mine in split(TASKS, of, recorded)]
    units = {}
    for task in TASKS:
        units[task.operation, task.check] = units.get((task.operation, task.check), 0) + seconds[identity(task)]
    assert max(loads) <= sum(loads) / of + max(units.values())


def test_what_was_not_recorded_is_estimated_at_the_rate_of_the_rest():
    known = [task for task in TASKS if task.operation == "circulant"]
    slow = split(TASKS, 2, took((task, 1000.0) for task in known))
    assert all(len({task.operation for task in mine}) > 1 for mine in slow)


def test_another_seed_split_or_profile_is_another_audit():
    wholes = {part(TASKS, (1, 8))[1].whole, part(TASKS, (1, 7))[1].whole}
    recorded = took((task, 1000.0 if task.operation == "sparse_grow" else 1.0) for task in TASKS)
    wholes.add(part(TASKS, (1, 8), recorded)[1].whole)
    wholes.add(part([dataclasses.replace(task, seed=4) for task in TASKS], (1, 8))[1].whole)
    assert len(wholes) == 4
    assert {part(TASKS, (number, 8))[1].whole for number in range(1, 9)} == {part(TASKS, (1, 8))[1].whole}


def test_a_control_is_judged_by_the_checks_of_its_shard():
    control = next(e for e in registry.implementations("slice_mean") if len(e.refuted) > 1)
    first, second, *_ = control.refuted
    refuted = verdict("slice_mean", control.name, first, "refuted", control=True)
    assert Audit((refuted,)).ok
    follows = verdict("slice_mean", control.name, "vmap", "refuted", control=True, cause=second)
    assert Audit((refuted, follows)).ok
    assert not Audit((refuted, verdict("slice_mean", control.name, second, control=True))).ok


# --- the commands


def opjury(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


FEW = ("--dtype", "float32", "--no-isolation", "--seed", "7")


def shard(number, of, *targets, checks=("form", "terminates", "second_order"), **more):
    return opjury(
        *("audit", *targets, *FEW, "--shard", f"{number}/{of}", "--json", f"{number}.jsonl"),
        *(word for check in checks for word in ("--check", check)),
        *(word for name, value in more.items() for word in (f"--{name}", value)),
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shards_together_are_the_one_audit(folder, monkeypatch):
    targets = ("circulant:gather", "slice_mean:published_prefix_sum")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "shards"))
    statuses = [shard(number, 3, *targets).exit_code for number in (1, 2, 3)]
    assert statuses == [0, 0, 0]
    checks = [word for check in ("form", "terminates", "second_order") for word in ("--check", check)]
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "whole"))  # else it would try first what shards have seen fail
    whole = opjury("audit", *targets, *FEW, *checks, "--json", "whole.jsonl")
    merged = opjury("merge", "3.jsonl", "1.jsonl", "2.jsonl", "--json", "all.jsonl", "--junit", "all.xml")
    assert merged.exit_code == whole.exit_code == 0, merged.output
    assert merged.stdout.rstrip() == whole.stdout.partition("seed 7")[0].rstrip()
    once = [msgspec.structs.replace(r, seconds=0.0) for r in records.read("whole.jsonl")]
    again = [r for r in records.read("all.jsonl") if isinstance(r, Verdict)]
    assert sorted(map(records.encode, (msgspec.structs.replace(v, seconds=0.0) for v in again))) == sorted(
        map(records.encode, once)
    )
    assert b"published_prefix_sum" in Path("all.xml").read_bytes()
    assert opjury("merge", "all.jsonl").exit_code == 0
    assert opjury("report", "all.jsonl", "--format", "md").exit_code == 0


def test_a_missing_shard_is_never_green_until_it_comes(folder):
    for number in (1, 2):
        shard(number, 2, "circulant:gather")
    done = opjury("merge", "1.jsonl", "--json", "some.jsonl")
    assert done.exit_code == 1
    assert "missing shard 2/2" in done.output
    Path("2.cut").write_bytes(Path("2.jsonl").read_bytes().partition(b"\n")[0])
    done = opjury("merge", "some.jsonl", "2.cut", "--json", "still.jsonl")
    assert done.exit_code == 1
    assert "2.cut has " in done.output
    assert opjury("merge", "still.jsonl").exit_code == 1
    assert opjury("merge", "still.jsonl", "2.jsonl").exit_code == 0


def test_shards_of_different_splits_do_not_make_one_audit(folder):
    shard(1, 2, "circulant:gather")
    mine = [dataclasses.replace(task, dtypes=("float32",)) for task in TASKS if task.implementation == "gather"]
    records.write("costs", took((task, 1000.0 * (task.check == "terminates")) for task in mine))
    shard(2, 2, "circulant:gather", costs="costs")
    done = opjury("merge", "1.jsonl", "2.jsonl")
    assert done.exit_code == 1
    assert done.output.count("missing shard") == 2


def test_an_empty_shard_is_no_failure_but_an_audit_of_nothing_is(folder):
    for number in (1, 2, 3):
        done = shard(number, 3, "circulant:gather", checks=["form"])
        assert done.exit_code == 0, done.output
        empty = len(list(records.read(f"{number}.jsonl"))) == 1
        assert ("in other shards" in done.output) == empty
        assert opjury("report", f"{number}.jsonl", "--format", "md").exit_code == (3 if empty else 0)
    assert opjury("merge", "1.jsonl", "2.jsonl", "3.jsonl").exit_code == 0
    done = shard(1, 2, "circulant:scipy_circulant", checks=["gradient", "vmap"])
    assert done.exit_code == 3, done.output


@pytest.mark.parametrize("given", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_what_is_no_shard_is_named(folder, given):
    done = opjury("audit", "circulant", "--shard", given, "--seed", "1")
    assert done.exit_code == 2
    assert "3/8" in done.output


def test_shards_need_a_seed_in_common(folder):
    done = opjury("audit", "circulant", "--shard", "1/2")
    assert done.exit_code == 2
    assert "--seed" in done.output


def test_costs_are_records_and_for_shards(folder):
    Path("costs").write_text("seconds: 3\n")
    with pytest.raises(records.NoRecord, match="costs, line 1"):
        opjury("audit", "circulant", "--shard", "1/2", "--seed", "1", "--costs", "costs")
    assert opjury("audit", "circulant", "--costs", "costs").exit_code == 2


def test_an_interrupted_shard_resumes_and_another_ones_journal_does_not_count(folder):
    shard(1, 2, "circulant:gather")
    lines = Path("1.jsonl").read_bytes().splitlines(True)
    made_up = lines[1].replace(b'"examples":', b'"examples":9')
    Path("1.jsonl.partial").write_bytes(lines[0] + made_up + b'{"record":"verd')
    shard(1, 2, "circulant:gather")
    assert made_up in Path("1.jsonl").read_bytes()
    Path("1.jsonl.partial").write_bytes(lines[0].replace(b'"of":2', b'"of":3') + made_up)
    shard(1, 2, "circulant:gather")
    assert made_up not in Path("1.jsonl").read_bytes()


# --- merging what anybody may have written


def write(name, *found):
    records.write(name, found)
    return Path(name)


def test_verdicts_that_agree_are_one_and_others_stay(folder):
    a = write("a", verdict(seconds=1.0), measurement())
    b = write("b", verdict(seconds=2.0, environment=ELSEWHERE), verdict(check="form", seed=9))
    found = merge([a, b, a])
    assert [v.check for v in found.verdicts] == ["agreement", "form"]
    assert found.verdicts[0].seconds == 1.0
    assert [m.name for m in found.others] == ["cumsum:torch_cumsum"]
    assert found.problems == ()
    assert "processor" in found.notes[0]
    assert "seeds 0, 9" in found.notes[1]


@pytest.mark.parametrize("order", [1, -1])
def test_runs_that_contradict_each_other_are_named(folder, order):
    files = [write("a", verdict()), write("b", verdict(status="refuted", message="is 1"))]
    done = opjury("merge", *files[::order])
    assert done.exit_code == 1
    assert "cumsum:torch_cumsum agreement (float32, cpu): " in done.output
    assert "refuted in b" in done.output
    assert merge(files[::order]).verdicts[0].status == "refuted"


def test_what_was_skipped_somewhere_does_not_contradict_but_what_could_not_be_judged_does(folder):
    skipped = verdict(status="skipped", examples=0, message="needs numba, which is not installed")
    lost = verdict(status="error", examples=0, message="no")
    a, b, c = write("a", verdict()), write("b", skipped), write("c", lost)
    assert merge([b, a]).problems == ()
    assert merge([b, a]).verdicts[0].status == "holds"
    assert len(merge([a, c]).problems) == 1
    assert merge([b, c]).verdicts == (lost,)


def test_lines_that_cannot_be_read_are_named_and_the_rest_is_taken(folder):
    a = write("a", verdict(), verdict(check="form"))
    a.write_bytes(a.read_bytes()[:-30])
    b = write("b", verdict(check="laws"))
    b.write_bytes(b.read_bytes() + records.encode(verdict(check="vmap")).replace(b'"format":4', b'"format":9') + b"\n")
    (folder / "c").touch()
    done = opjury("merge", a, b, "c")
    assert done.exit_code == 1
    for told in ("a, line 2", "b, line 2: a record of format 9", "c holds no record"):
        assert told in done.output
    assert [v.check for v in merge([a, b]).verdicts] == ["agreement", "laws"]


def test_nothing_is_3_and_no_file_is_2(folder):
    (folder / "empty").touch()
    assert opjury("merge", "empty").exit_code == 3
    assert opjury("merge", write("a", verdict(status="skipped", examples=0, message="m"))).exit_code == 3
    assert opjury("merge", "shard-*.jsonl").exit_code == 2
    assert opjury("merge").exit_code == 2


def test_what_is_not_registered_comes_last(folder):
    found = merge([write("a", verdict("unheard", "of"), verdict("cumsum", "unknown"), verdict())])
    assert [v.name for v in found.verdicts] == ["cumsum:torch_cumsum", "cumsum:unknown", "unheard:of"]


def test_a_part_round_trips():
    told = Part(number=3, of=8, tasks=12, whole="0" * 16, seed=7)
    assert records.decode(records.encode(told)) == told
