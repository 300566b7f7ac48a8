"""Where a night's time for more cases goes."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import opjury
from opjury.audit import identity
from opjury.judge import draw
from opjury.judge.draw import behaviour
from opjury.judge.task import Request, applies
from opjury.model import registry
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.outcome import tried_label
from opjury.model.records import Journal, Standing, Verdict
from opjury.track import history, more_cases, nightly
from opjury.track.history import Chronicle
from opjury.track.nightly import _seed
from tests.made_up import night, verdict

OPERATION = "circulant"
TASKS = [
    task
    for entry in registry.implementations(OPERATION)
    for task in Request(checks=["agreement", "form"], profile="nightly").tasks(OPERATION, entry.name)
]
NOW = {f"{OPERATION}:{entry.name}": "now" for entry in registry.implementations(OPERATION)}


def chronicle(number, tried, sources=NOW, refuted=()):
    """A night in which tasks got (examples, seconds, once)."""
    by_name = {}
    for task, got in tried:
        by_name.setdefault(task.implementation, {})[tried_label(task)] = got
    standings = [
        Standing(
            operation=OPERATION,
            implementation=name,
            tried=mine,
            verdicts={"agreement": "refuted" if name in refuted else "holds", "form": "holds"},
        )
        for name, mine in by_name.items()
    ]
    date = f"2026-01-{number + 1:02}T03:00:00+00:00"
    return Chronicle(night(date=date, sources=sources), tuple(standings), Path("x"))


def everything(tasks=TASKS, got=(100, 1.0, 10)):
    return [(task, got) for task in tasks]


def names(tasks):
    return [(task.implementation, tried_label(task)) for task in tasks]


def test_what_was_never_tried_comes_first():
    tried, fresh = TASKS[::2], TASKS[1::2]
    found = more_cases.next_round(TASKS, NOW, [chronicle(0, everything(tried))], [], seed=1)
    assert sorted(names(found)) == sorted(names(fresh))


def test_what_has_changed_counts_as_never_tried_the_latest_change_first():
    first, second, *_ = (name.partition(":")[2] for name in NOW)
    old = {**NOW, f"{OPERATION}:{first}": "before", f"{OPERATION}:{second}": "before"}
    since = {**NOW, f"{OPERATION}:{second}": "before"}  # the first changed in the night before, the second today
    nights = [chronicle(0, everything(), old), chronicle(1, [], since)]
    found = more_cases.next_round(TASKS, NOW, nights, [], seed=1)
    order = list(dict.fromkeys(task.implementation for task in found))
    assert order == [second, first]
    half = len(found) // 2
    assert {task.implementation for task in found[:half]} == {second}


def test_what_was_tried_since_its_change_is_not_tried_as_new_again():
    name = next(iter(NOW))
    nights = [chronicle(0, everything(), {**NOW, name: "before"}), chronicle(1, everything(), NOW)]
    assert len(more_cases.next_round(TASKS, NOW, nights, [], seed=1)) == -(-len(TASKS) // 4)


def test_then_what_shows_most_new_by_the_second():
    slow = dict.fromkeys(TASKS[:5], (100, 10.0, 50))  # 0.5 new a case, 10 cases a second
    fast = dict.fromkeys(TASKS[5:8], (100, 0.5, 10))  # 0.1 new a case, 200 cases a second
    rest = dict.fromkeys(TASKS[8:], (100, 1.0, 1))
    found = more_cases.next_round(TASKS, NOW, [chronicle(0, [*(slow | fast | rest).items()])], [], seed=1)
    assert set(names(found[:3])) == set(names(fast))
    assert set(names(found[3:8])) == set(names(slow))


def test_the_more_was_tried_the_less_it_is_worth_and_nothing_is_given_up():
    dull = everything(TASKS[:1], (100, 1.0, 0))
    others = everything(TASKS[1:], (100, 1.0, 3))
    nights = [chronicle(0, [*dull, *others])]
    for number in range(1, 200):
        best = more_cases.next_round(TASKS, NOW, nights, [], seed=number)
        if TASKS[0] in best:
            break
        nights.append(chronicle(number % 28, everything(best, (100, 1.0, 3))))
    assert 5 < number < 199


def test_what_is_refuted_is_not_tried_until_it_changes():
    name = TASKS[0].implementation
    nights = [chronicle(0, everything(), refuted=[name])]
    order = more_cases.next_round(TASKS, NOW, nights, [], seed=1)
    assert ("agreement", name) not in {(task.check, task.implementation) for task in order}
    assert more_cases.Past(5, 5, 1.0, 5, refuted=True).worth == 0
    again = more_cases.next_round(TASKS, {**NOW, f"{OPERATION}:{name}": "mended"}, nights, [], seed=1)
    assert {task.implementation for task in again} == {name}


def test_tonights_verdicts_count_at_once():
    tonight = [
        verdict(t.operation, t.implementation, t.check, dtypes=t.dtypes, profile="nightly", seconds=1.0) for t in TASKS
    ]
    found = more_cases.next_round(TASKS, NOW, [], tonight[1:], seed=1)
    assert names(found) == names(TASKS[:1])
    assert len(more_cases.next_round(TASKS, NOW, [], tonight, seed=1)) == -(-len(TASKS) // 4)


def test_controls_come_last():
    tasks = [
        task
        for entry in registry.implementations("slice_mean")
        for task in Request(checks="form", profile="nightly").tasks("slice_mean", entry.name)
    ]
    present = {f"slice_mean:{entry.name}": "now" for entry in registry.implementations("slice_mean")}
    controls = [
        bool(registry.entry("slice_mean", task.implementation).refuted)
        for task in more_cases.next_round(tasks, present, [], [], seed=1)
    ]
    assert any(controls)
    assert controls == sorted(controls)


def test_a_night_in_short_says_what_each_task_of_the_nightly_profile_got():
    found = [
        verdict(profile="quick", examples=80, seconds=1.0, once=5),
        verdict(profile="nightly", examples=600, seconds=2.5, once=9, seed=1),
        verdict(profile="nightly", examples=600, seconds=2.0, once=4, seed=2),
        verdict(profile="nightly", check="form", examples=150, seconds=0.5, once=3, seed=1),
    ]
    (short,) = history.in_short(found)
    assert short.tried == {"agreement float32": (1200, 4.5, 4), "form float32": (150, 0.5, 3)}
    assert short.examples == 1430


def test_the_last_nights_of_a_machine_are_read_and_no_others(tmp_path):
    for number in range(5):
        history.add_night(night(date=f"2026-01-0{number + 1}T03:00:00+00:00"), [verdict()], tmp_path)
    history.add_night(night(machine="another"), [verdict()], tmp_path)
    history.path_of(night(), tmp_path).with_name("20260109T000000Z-torn.jsonl").write_text('{"record":"nig')
    dates = [c.night.date[:10] for c in history.latest("somewhere", 3, tmp_path)]
    assert dates == ["2026-01-03", "2026-01-04", "2026-01-05"]


def test_the_source_is_that_of_the_file():
    first, second = registry.implementations("circulant")[:2]
    assert more_cases.code_digest("circulant", first.name) == more_cases.code_digest("circulant", second.name) != ""
    assert more_cases.code_digest("cumsum", "torch_cumsum") != more_cases.code_digest("circulant", first.name)
    assert set(more_cases.sources([registry.operation("circulant")])) == set(NOW)


# --- kinds of behaviour


def tensor(length, layout="contiguous", dtype="float32"):
    return Tensor(np.zeros(length), dtype, layout)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ((Case.of(tensor(5)), 0.0), (Case.of(tensor(6)), 0.0), True),
        ((Case.of(tensor(5)), 0.0), (Case.of(tensor(8)), 0.0), False),
        ((Case.of(tensor(0)), 0.0), (Case.of(tensor(1)), 0.0), False),
        ((Case.of(tensor(5)), 0.0), (Case.of(tensor(5, "step")), 0.0), False),
        ((Case.of(tensor(5)), 0.3), (Case.of(tensor(5)), 0.4), True),
        ((Case.of(tensor(5)), 0.0), (Case.of(tensor(5)), 0.4), False),
        ((Case.of(tensor(5), 3), 0.0), (Case.of(tensor(5), -3), 0.0), False),
        ((Case.of(tensor(5), (1, 2)), 0.0), (Case.of(tensor(5), (1, 3)), 0.0), True),
        ((Case.of(tensor(5), dim=True), 0.0), (Case.of(tensor(5), dim=False), 0.0), False),
    ],
)
def test_which_examples_are_alike(one, other, alike):
    assert (behaviour(*one) == behaviour(*other)) is alike


def test_verdicts_count_what_was_seen_once():
    found = opjury.audit(
        "circulant:gather", checks=["agreement"], dtypes=["float32"], isolate=False, seed=1, database=""
    )
    (v,) = found.verdicts
    assert v.profile == "quick"
    assert 0 < v.once < v.examples


def test_cases_are_dealt_alike_whatever_chunk_is_asked_for_first():
    contract = registry.operation("circulant")
    for check in registry.checks().values():
        kind = draw.kind_for(contract, check, ("float32", "float64"), seed=2)
        if kind is None:
            continue
        draw._deck.cache_clear()
        third = draw._hand(kind, 3)
        first = draw._hand(kind, 0)
        assert [*first, *third] == [
            *islice(draw._dealt(kind), 0, 32),
            *islice(draw._dealt(kind), 96, 128),
        ]


def test_rounds_have_seeds_of_their_own():
    nights = [night(), night(machine="another"), night(date="2026-01-02T03:00:00+00:00"), night(commit="1" * 40)]
    seeds = Counter(_seed(each, number) for each in nights for number in range(5))
    assert len(seeds) == 20


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by what tasks take."""
    now = [0.0]
    monkeypatch.setattr(nightly.time, "monotonic", lambda: now[0])
    return now


def judging(clock, tried):
    """In place of judging: 600 examples in ten seconds."""

    def run(tasks, jobs):
        tried.append(list(tasks))
        for task in tasks:
            clock[0] += 10
            common = dict(dtypes=task.dtypes, seed=task.seed, profile=task.profile, seconds=10.0, examples=600, once=5)
            yield verdict(task.operation, task.implementation, task.check, **common)

    return run


def test_a_budget_goes_round_after_round_and_a_run_that_was_ended_goes_on_with_the_same(tmp_path, monkeypatch, clock):
    planned = nightly.Plan(operations=("circulant",), folder=tmp_path)
    everything = [t for t in nightly._tasks(planned, "nightly", 1.0) if applies(t)]
    first = night(sources=more_cases.sources(planned.contracts))
    journal = Journal(tmp_path / "journal", lambda before: before or [first])
    tried = []
    monkeypatch.setattr(nightly, "judge_tasks", judging(clock, tried))
    until = 10 * (len(everything) + len(everything) // 8)
    nightly._more_cases(planned, journal, until, 1, lambda *progress: None)
    assert sorted(map(identity, tried[0])) == sorted(map(identity, everything))
    assert len(tried) == 2
    assert len({task.seed for mine in tried for task in mine}) == 2
    assert clock[0] == until + 10
    again = Journal(tmp_path / "journal", lambda before: before)
    nightly._more_cases(planned, again, clock[0] + 10_000, 1, lambda *progress: None)
    assert tried[2] == []
    done = {identity(r) for r in journal.kept if isinstance(r, Verdict) and r.seed == tried[1][0].seed}
    assert [t for t in tried[1] if identity(t) not in done] == tried[3]
    shorts = [r for r in history.in_short(again.kept[1:]) if isinstance(r, Standing)]
    assert sum(len(s.tried) for s in shorts) == len(everything)
    assert {got[0] % 600 for s in shorts for got in s.tried.values()} == {0}
