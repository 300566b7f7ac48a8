"""Tracking: nights and their history, what counts as a change, and the commands."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner

from opjury.choose import Choice
from opjury.cli.main import main
from opjury.measure.statistics import ratio
from opjury.model import records, registry
from opjury.model.environment import Environment, environment
from opjury.model.records import Measurement, Night, Recommendation, Standing, Verdict
from opjury.model.registry import Impossible
from opjury.model.setting import Setting
from opjury.track import history
from opjury.track.alarms import alarms, touched
from opjury.track.change_points import change_points
from opjury.track.compare import Side, SpeedComparison, compare_sides
from opjury.track.confirm import ENOUGH, TWICE
from opjury.track.nightly import Plan, run_night
from opjury.track.show import change

HERE = Environment(opjury="1", python="3", torch="2.12", numpy="2", scipy="1", machine="m")
NOISE = np.random.default_rng(0).normal(0, 0.005, 400)
TINY = ["--workload", "small", "--scale", "0.02", "--budget", "5s", "--seconds", "0.2", "--no-asv", "--jobs", "2"]


def night(number, **changes):
    fields = dict(date=f"2026-01-{number + 1:02}T03:00:00+00:00", commit=f"{number:040x}", machine="here")
    return Night(**{**fields, "profile": "quick", "seconds": 1.0, "environment": HERE, **changes})


def measured(name="triangular_matmul", seconds=2e-5, baseline_seconds=1e-5, **changes):
    fields = dict(operation="cumsum", implementation=name, sizes={"n": 100}, dtype="float32", seconds=seconds)
    fields |= dict(reference="torch_cumsum", ratio=seconds / baseline_seconds, low=1.0, high=9.0, tied=False)
    fields |= dict(
        floor_seconds=1e-6, least_seconds=seconds, least_floor_seconds=1e-6, peak_bytes=2**22, error_ulps=1.0
    )
    return Measurement(**{**fields, **changes})


def pair(number, slower=1.0, baseline_slower=1.0, **changes):
    """The baseline, and what takes twice as long, with noise of its own."""
    baseline = 1e-5 * baseline_slower
    own = 2e-5 * slower * math.exp(NOISE[number])
    return [measured("torch_cumsum", baseline, baseline), measured(seconds=own, baseline_seconds=baseline, **changes)]


def chronicles(*contents, **changes):
    return [
        history.Chronicle(night(i, **changes), tuple(content), Path(f"{i}.jsonl")) for i, content in enumerate(contents)
    ]


# --- steps


def test_a_step_is_found_where_it_is():
    values = NOISE[:40].copy()
    values[30:] += 0.05
    (step,) = change_points(values, 0.02)
    assert step.at == 30
    assert step.height == pytest.approx(0.05, abs=0.005)


def test_nights_without_a_value_do_not_count():
    values = NOISE[:40].copy()
    values[30:] += 0.05
    values[5:25] = np.nan
    assert [step.at for step in change_points(values, 0.02)] == [30]


@pytest.mark.parametrize("start", range(0, 300, 50))
def test_noise_is_no_step(start):
    assert change_points(NOISE[start : start + 60], 0.02) == []


def test_one_strange_night_is_no_lasting_step():
    contents = [pair(i, slower=1.3 if i == 10 else 1.0) for i in range(20)]
    assert alarms(chronicles(*contents), None) == []


@pytest.mark.parametrize("values", [[], [0.1], [0.1, 0.2], [np.nan] * 9, [1.0] * 9])
def test_too_little_is_no_step(values):
    assert change_points(np.array(values, dtype=float), 0.02) == []


def test_a_small_step_does_not_matter():
    values = NOISE[:80] / 10
    values[40:] += 0.01
    assert change_points(values, 0.02) == []
    assert change_points(values, 0.005) != []


def test_a_level_that_a_wandering_series_had_before_is_no_news():
    values = NOISE[:60].copy()
    values[20:40] += 0.05
    values[50:] += 0.04
    assert [(step.at, step.exceeds(values)) for step in change_points(values, 0.02) if step.height > 0] == [
        (20, True),
        (50, False),
    ]
    values[50:] += 0.05
    assert change_points(values, 0.02)[-1].exceeds(values)


# --- alarms


def test_what_became_slower_is_named_with_its_commit():
    nights = chronicles(*(pair(i, slower=1.06 if i >= 14 else 1.0) for i in range(16)))
    (alarm,) = alarms(nights)
    assert (alarm.kind, alarm.name) == ("time", "cumsum:triangular_matmul")
    assert alarm.commits == (nights[13].night.commit, nights[14].night.commit)
    assert alarm.since == nights[14].night.date
    assert alarm.low < 1.06 < alarm.high
    assert alarm.command == "opjury choose cumsum n=100 --dtype float32"


def test_old_news_is_no_alarm_tonight():
    nights = chronicles(*(pair(i, slower=1.06 if i >= 10 else 1.0) for i in range(20)))
    assert alarms(nights) == []
    assert len(alarms(nights, None)) == 1


def test_what_became_faster_is_no_alarm():
    assert alarms(chronicles(*(pair(i, slower=0.9 if i >= 14 else 1.0) for i in range(16)))) == []


def test_a_baseline_that_became_faster_is_nobodys_fault():
    contents = [pair(i, baseline_slower=0.9 if i >= 14 else 1.0) for i in range(16)]
    assert contents[15][1].ratio > 1.05 * contents[0][1].ratio
    assert alarms(chronicles(*contents)) == []


def test_a_baseline_that_became_faster_long_before_excuses_nobody():
    contents = [pair(i, 1.3 if i >= 26 else 1.0, 0.5 if i >= 18 else 1.0) for i in range(28)]
    (alarm,) = alarms(chronicles(*contents))
    assert alarm.since == night(26).date
    assert alarm.after / alarm.before == pytest.approx(1.3, rel=0.02)


def test_a_baseline_that_became_slower_is_seen_beside_the_floor():
    contents = [pair(i, slower=1.1 if i >= 14 else 1.0, baseline_slower=1.1 if i >= 14 else 1.0) for i in range(16)]
    assert [a.implementation for a in alarms(chronicles(*contents))] == ["torch_cumsum"]


def test_a_new_library_is_named():
    nights = chronicles(*(pair(i) for i in range(14)))
    newer = Environment(
        **{**{n: getattr(HERE, n) for n in HERE.__struct_fields__}, "torch": "2.13", "build": "BLAS mkl"}
    )
    nights += [
        history.Chronicle(night(i, environment=newer, commit=night(13).commit), tuple(pair(i, slower=1.1)), Path("x"))
        for i in (14, 15)
    ]
    (alarm,) = alarms(nights)
    assert alarm.versions == {"torch": ("2.12", "2.13")}
    assert len(set(alarm.commits)) == 1


@pytest.mark.parametrize(
    ("field", "before", "after", "kind"), [("peak_bytes", 2**22, 2**23, "memory"), ("error_ulps", 1.0, 4.0, "error")]
)
def test_more_memory_or_error_is_an_alarm(field, before, after, kind):
    contents = [pair(i, **{field: after if i >= 14 else before}) for i in range(16)]
    (alarm,) = alarms(chronicles(*contents))
    assert (alarm.kind, alarm.before) == (kind, before)
    assert alarm.after == after
    assert f"× {after / before:g}" in change(alarm)


def standing(status, control=False, check="agreement"):
    name = "blocks_without_carry" if control else "f"
    return Standing(operation="cumsum", implementation=name, verdicts={check: status}, control=control)


@pytest.mark.parametrize(
    ("before", "after", "control", "raised"),
    [
        ("holds", "refuted", False, True),
        ("holds", "holds", False, False),
        ("refuted", "holds", False, False),
        ("waived", "refuted", False, True),
        ("refuted", "holds", True, True),
        ("refuted", "refuted", True, False),
        ("holds", "skipped", False, False),
    ],
)
def test_a_verdict_that_changed_for_the_worse_is_an_alarm(before, after, control, raised):
    verdict = Verdict(operation="cumsum", implementation="f", check="agreement", status="refuted", message="is 1")
    nights = chronicles([standing(before, control)], [standing(after, control), verdict])
    found = alarms(nights)
    assert [a.kind for a in found] == ["verdict"] * raised
    if raised and not control:
        assert found[0].message == "is 1"


def test_what_follows_from_a_controls_fault_depends_on_the_nights_cases():
    assert not alarms(chronicles([standing("refuted", True, "laws")], [standing("holds", True, "laws")]))


def test_what_is_refuted_from_the_first_night_on_is_no_change_but_remembered():
    nights = chronicles([standing("holds")], [], [standing("refuted")])
    (alarm,) = alarms(nights)
    assert alarm.commits == (nights[0].night.commit, nights[2].night.commit)


def recommended(name, *tied):
    return Recommendation(
        operation="cumsum", sizes={"n": 100}, dtype="float32", implementation=name, reason="fast", tied=(name, *tied)
    )


def test_another_recommendation_is_an_alarm_unless_they_are_tied():
    assert [a.kind for a in alarms(chronicles([recommended("a")], [recommended("b")]))] == ["recommendation"]
    assert alarms(chronicles([recommended("a", "b")], [recommended("b")])) == []
    assert alarms(chronicles([recommended("a")], [recommended("b", "a")])) == []


def test_that_a_weakness_is_no_more_recommended_is_no_alarm():
    """Older nights recommended the fastest, whatever it waives."""
    before = [measured("a", waived={"specials": "why"}), recommended("a")]
    assert alarms(chronicles(before, [recommended("b")])) == []
    (alarm,) = alarms(chronicles(before, [recommended("b")], [recommended("c")]))
    assert (alarm.kind, alarm.before, alarm.after) == ("recommendation", "b", "c")
    accepted = msgspec.structs.replace(recommended("a"), accepted=("specials",))
    assert len(alarms(chronicles([before[0], accepted], [recommended("b")]))) == 1


def of_circulant(name, workload="small", ratio=1.0, **changes):
    sizes = dict(registry.workload("circulant").sizes[workload])
    return msgspec.structs.replace(measured(name, operation="circulant", sizes=sizes, **changes), ratio=ratio)


def changing(*digests, environment=HERE, **changes):
    """Nights of two implementations, of which the first one's files have these digests."""
    found = [
        of_circulant("strided", "small", 3.0),
        of_circulant("strided", "medium", 2.0),
        of_circulant("loop", "small", 1.0),
        measured(sizes={"n": 1}, operation="circulant", name="strided"),
    ]
    nights = []
    for i, digest in enumerate(digests):
        sources = {"circulant:strided": digest, "circulant:loop": "as it was"}
        where = environment if i == len(digests) - 1 else HERE
        nights.append(
            history.Chronicle(night(i, sources=sources, environment=where, **changes), tuple(found), Path("x"))
        )
    return nights


@pytest.mark.parametrize(
    ("digests", "places"),
    [
        ("aaaab", (3, 4)),
        ("aaabb", (2, 3)),
        ("aabcc", (1, 3)),
        ("abbbb", None),
        ("aaaaa", None),
        ("aaba", (1, 3)),
    ],
)
def test_whose_files_changed_lately_is_tried_nearest_to_the_best_first(digests, places):
    found = list(touched(changing(*digests), 3))
    series = [(s.implementation, registry.workload("circulant").name_of(s.setting.sizes)) for s, *_ in found]
    assert series == ([("strided", "medium"), ("strided", "small")] if places else [])
    assert {(last, at) for _, last, at in found} == ({places} if places else set())


def test_what_may_have_another_cause_is_not_tried_with_the_commit_before():
    newer = msgspec.structs.replace(HERE, torch="2.13")
    assert not list(touched(changing("a", "a", "b", environment=newer), 3))
    assert not list(touched(changing("a", "a", "b", dirty=True), 3))
    assert not list(touched(changing("b"), 3))


# --- the history


def test_a_night_is_kept_in_short_and_never_overwritten(tmp_path):
    holds = Verdict(operation="cumsum", implementation="f", check="form", status="holds", examples=3, error_ulps=2.0)
    wrong = Verdict(
        operation="cumsum", implementation="f", check="agreement", status="refuted", examples=4, message="m"
    )
    other = dict(
        operation="cumsum", implementation="control", status="refuted", control=True, counterexample={"args": []}
    )
    control = [
        Verdict(check="agreement", message="long " * 9, **other),
        Verdict(check="form", message="short", **other),
    ]
    path = history.add_night(night(0), [holds, wrong, *control, *pair(0)], tmp_path)
    (kept,) = history.read_history(tmp_path).nights
    assert kept.standings["cumsum:f", "cpu"].verdicts == {"form": "holds", "agreement": "refuted"}
    assert kept.standings["cumsum:f", "cpu"].examples == 7
    assert [v.message for v in kept.refutations] == ["m"]
    assert [r.message for r in kept.records if isinstance(r, Verdict)] == ["m", "short"]
    assert len(kept.measurements) == 2
    assert path.parent.name == "here"
    with pytest.raises(FileExistsError):
        history.add_night(night(0), [], tmp_path)


def test_what_cannot_be_read_is_named_and_the_rest_is_there(tmp_path):
    path = history.add_night(night(0), pair(0), tmp_path)
    history.add_night(night(1), pair(1), tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    (tmp_path / "here" / "other.jsonl").write_text('{"record":"later"}\n')
    found = history.read_history(tmp_path)
    assert [len(c.measurements) for c in found.nights] == [1, 2]
    assert "line 3" in found.nights[0].spoilt[0]
    assert len(found.unreadable) == 1


def test_machines_stay_apart(tmp_path):
    for i, machine in enumerate(("a/b", "c")):
        history.add_night(night(i, machine=machine), pair(i), tmp_path)
    assert history.read_history(tmp_path).machines == ["a/b", "c"]
    assert history.machines(tmp_path) == ["a_b", "c"]


# --- the commands


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    Path("notes").write_text("one\n")
    git("add", "notes")
    commit("first")
    return tmp_path


def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def commit(title):
    git("-c", "user.name=opjury", "-c", "user.email=opjury@localhost", "commit", "-qam", title)


def track(*arguments):
    return CliRunner().invoke(main, ["track", *arguments], catch_exceptions=False)


@pytest.mark.slow(reason="a whole night")
def test_a_night_is_run_and_kept(repository, monkeypatch):
    monkeypatch.setattr("opjury.measure.apart.MOST_PROCESSES", 1)
    monkeypatch.setattr("opjury.measure.apart.PROCESSES", 1)
    done = track("nightly", "circulant", *TINY, "--machine", "here", "--json", "alarms.jsonl")
    assert done.exit_code == 0, done.output
    (kept,) = history.read_history(history.FOLDER).nights
    assert kept.night.commit == git("rev-parse", "HEAD")
    assert len(kept.measurements) > 4
    assert {s.operation for s in kept.standings.values()} == {"circulant"}
    assert set(kept.night.sources) == {s.name for s in kept.standings.values()}
    assert "one night alone cannot show a change" in done.output
    assert Path("alarms.jsonl").read_text() == ""
    again = track("run", "circulant", *TINY, "--machine", "renamed")
    assert "--machine here" in again.output


def test_what_was_left_out_the_longest_is_measured_first(repository, monkeypatch):
    sizes = registry.workload("circulant").sizes
    fields = dict(operation="circulant", dtype="float32", implementation="strided", tied=("strided",), reason="fast")
    for number, workloads in enumerate([["small", "medium"], ["small", "large"]]):
        found = [Recommendation(sizes=sizes[w], gradient=g, **fields) for w in workloads for g in (False, True)]
        history.add_night(night(number), found, history.FOLDER)
    order = []

    def chosen(operation, sizes, **options):
        order.append(registry.workload(operation).name_of(sizes))
        raise Impossible("not measured here")

    monkeypatch.setattr("opjury.track.nightly.choose", chosen)
    plan = Plan(("circulant",), budget=0.5, scale=0.01, machine="here", database="")
    left_out = run_night(plan, jobs=1).left_out
    assert [workload for workload in order if workload != "small"] == ["medium", "medium", "large", "large"]
    assert all("not measured here" in reason for reason in left_out)


@pytest.mark.slow(reason="a whole night")
def test_a_workload_that_opjury_fails_at_does_not_end_the_night(repository, monkeypatch):
    def chosen(operation, sizes, **options):
        if registry.workload(operation).name_of(sizes) == "medium":
            raise MemoryError("671 GiB")
        raise Impossible("not measured here")

    monkeypatch.setattr("opjury.track.nightly.choose", chosen)
    done = track("run", "circulant", *TINY, "--workload", "medium", "--machine", "here")
    assert done.exit_code == 1
    assert done.output.count("opjury: failed, please report it: circulant") == 2
    assert done.output.count("MemoryError: 671 GiB") == 2
    assert len(history.read_history(history.FOLDER).nights) == 1


def test_files_that_differ_from_the_commit_are_refused(repository):
    Path("notes").write_text("two\n")
    with pytest.raises(Impossible, match=r"differ from commit .* \(notes\); .* --dirty"):
        track("run", "circulant", *TINY)


def test_a_repository_without_a_commit_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    with pytest.raises(Impossible, match="no commit yet"):
        track("run", "circulant", *TINY)


def start(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "opjury", "track", "run", *arguments, *TINY, "--machine", "here"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def journal_grows_to(lines):
    journal = history.FOLDER / "here" / ".tonight.partial"
    until = time.monotonic() + 120
    while time.monotonic() < until:
        if journal.exists() and len(journal.read_bytes().splitlines()) >= lines:
            return
        time.sleep(0.1)
    raise AssertionError("the run did not begin")


@pytest.mark.slow(reason="a whole night")
def test_a_run_that_is_killed_goes_on_and_two_at_once_are_refused(repository):
    running = start("circulant")
    journal_grows_to(20)
    second = start("circulant")
    assert "another run" in second.communicate(timeout=120)[0]
    assert second.returncode == 2
    running.send_signal(signal.SIGKILL)
    running.communicate()
    journal = history.FOLDER / "here" / ".tonight.partial"
    journal.write_bytes(journal.read_bytes() + b'{"record":"verd')
    assert history.read_history(history.FOLDER).nights == []
    done = start("circulant")
    told = done.communicate(timeout=300)[0]
    assert done.returncode == 0, told
    assert "continued an interrupted run" in told
    assert len(history.read_history(history.FOLDER).nights) == 1
    assert not journal.exists()


def test_a_full_disk_is_told_and_nothing_is_lost(repository):
    limit = 40_000  # bytes that a file may have: enough for a few verdicts
    done = start("circulant", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    told = done.communicate(timeout=300)[0]
    assert done.returncode == 2, told
    assert "was not kept" in told
    assert "Traceback" not in told
    kept = (history.FOLDER / "here" / ".tonight.partial").read_bytes().splitlines()
    assert isinstance(records.decode(kept[0]), Night)
    assert len(kept) > 3


def test_no_history_is_no_success(repository):
    done = track("check")
    assert done.exit_code == 3
    assert "opjury track run" in done.output


def test_alarms_decide_the_exit_status_and_are_written(repository):
    for i in range(16):
        history.add_night(night(i), pair(i, slower=1.1 if i >= 14 else 1.0), history.FOLDER)
    options = ("--no-confirm", "--json", "alarms.jsonl", "--markdown", "alarms.md")
    done = track("check", *options)
    assert done.exit_code == 1
    assert "time cumsum:triangular_matmul n=100 float32" in done.output
    (alarm,) = records.read("alarms.jsonl")
    assert alarm.kind == "time"
    assert "opjury choose cumsum" in Path("alarms.md").read_text()
    assert track("check", "--nights", "1", *options).exit_code == 0
    assert track("check", "--nights", "some").exit_code == 2


def sixteen_nights(**before):
    """Nights at the commit and with the versions that are there now; the last is slower, and the others differ in what is given."""
    here = dict(environment=environment(), commit=git("rev-parse", "HEAD"))
    for i in range(15):
        history.add_night(night(i, **{**here, **before}), pair(i), history.FOLDER)
    history.add_night(night(15, **here), pair(15, slower=1.1), history.FOLDER)


@pytest.mark.parametrize(("again", "status", "times"), [(1.1, 1, 1), (1.0, 0, ENOUGH)])
def test_what_is_not_seen_again_is_no_alarm(repository, monkeypatch, again, status, times):
    """Slower since there is another torch; measured again, as slow as it was found or as fast as before."""
    sixteen_nights(environment=msgspec.structs.replace(environment(), torch="2.6"))
    asked = []

    def choose(operation, sizes, **options):
        asked.append((operation, sizes))
        return Choice(recommended("torch_cumsum"), tuple(pair(16, slower=again)))

    monkeypatch.setattr("opjury.track.confirm.choose", choose)
    done = track("check", "--machine", "here")
    assert asked == [("cumsum", {"n": 100})] * times
    assert done.exit_code == status, done.output
    assert ("not seen when measured again" in done.output) == (status == 0)


@pytest.mark.parametrize(
    ("in_turns", "status"), [(ratio(1.05 * np.ones(30), np.ones(30)), 1), (ratio(np.ones(30), np.ones(30)), 0)]
)
def test_what_became_slower_with_a_commit_is_measured_in_turns_with_the_one_before(
    repository, monkeypatch, in_turns, status
):
    old = git("rev-parse", "HEAD")
    Path("notes").write_text("two\n")
    commit("second")
    sixteen_nights(commit=old)
    asked = []

    def compare_sides(first, second, operation, implementations, sizes, **options):
        asked.append((first.label, second.label, operation, implementations, sizes, options["gradient"]))
        return [
            SpeedComparison(
                Setting(operation=operation, sizes=sizes, dtype="float32"), implementations[0], ratio=in_turns
            )
        ], {}

    monkeypatch.setattr("opjury.track.confirm.compare_sides", compare_sides)
    done = track("check", "--machine", "here")
    once = (old, "the working tree", "cumsum", ["triangular_matmul"], {"n": 100}, False)
    assert asked == [once] * (TWICE if status else 1)
    assert done.exit_code == status, done.output
    assert ("not seen when measured again" in done.output) == (status == 0)


SLOWER, AS_FAST = (ratio(times * np.ones(30), np.ones(30)) for times in (1.05, 1.0))


@pytest.mark.parametrize(
    ("answers", "status", "told"),
    [
        ([SLOWER, SLOWER], 1, "time circulant:strided n=64 float32 cpu"),
        ([AS_FAST], 0, "1 series whose files changed"),
        ([SLOWER, AS_FAST], 0, "1 series whose files changed"),
        ([], 0, "0 series whose files changed were measured in turns with the commit before, 1 more could not be"),
    ],
)
def test_whose_files_changed_is_measured_in_turns_though_no_night_is_suspicious(
    repository, monkeypatch, answers, status, told
):
    commits = [git("rev-parse", "HEAD")]
    Path("notes").write_text("two\n")
    commit("second")
    commits.append(git("rev-parse", "HEAD"))
    for i, (digest, of) in enumerate(zip("ab", commits)):
        content = night(i, environment=environment(), commit=of, sources={"circulant:strided": digest})
        history.add_night(content, [of_circulant("strided")], history.FOLDER)
    seeds, left = [], list(answers)

    def compare_sides(first, second, operation, implementations, sizes, *, seed, **options):
        assert (first.label, second.label, sizes) == (commits[0], "the working tree", {"n": 64})
        seeds.append(seed)
        return [
            SpeedComparison(
                Setting(operation=operation, sizes=sizes, dtype="float32"),
                "strided",
                seconds=(1e-5, 2e-5),
                ratio=left.pop(0),
            )
        ], {}

    monkeypatch.setattr("opjury.track.confirm.compare_sides", compare_sides)
    if not answers:
        monkeypatch.setattr("opjury.track.confirm.LEAST", 0.0)
        monkeypatch.setattr("opjury.track.confirm.SHARE", 0.0)
    done = track("check", "--machine", "here", "--json", "a.jsonl")
    assert done.exit_code == status, done.output
    assert told in " ".join(done.output.split())
    assert seeds == list(range(len(answers)))
    for alarm in records.read("a.jsonl"):
        assert (alarm.before, alarm.after, alarm.low, alarm.confirmed) == (1e-5, 2e-5, SLOWER.low, True)
        assert alarm.commits == tuple(commits)
        assert alarm.command == (
            f"opjury track compare {commits[0][:10]} {commits[1][:10]} circulant:strided --workload small"
        )
    assert len(list(records.read("a.jsonl"))) == status


@pytest.mark.parametrize(
    ("answers", "status", "told"),
    [
        ([SLOWER, SLOWER], 1, "1 series were measured in turns with the libraries before"),
        ([SLOWER, AS_FAST], 0, "1 series were measured in turns with the libraries before"),
        ([AS_FAST], 0, "1 series were measured in turns with the libraries before"),
        ([], 0, "0 series were measured in turns with the libraries before, 1 more could not be"),
    ],
)
def test_libraries_before_are_measured_in_turns_with_those_of_now(repository, monkeypatch, answers, status, told):
    now = environment()
    had = dict(python=now.python, torch="2.6", numpy=now.numpy, scipy=now.scipy)
    here = dict(commit=git("rev-parse", "HEAD"), sources={"circulant:strided": "a"})
    for i, libraries in enumerate([msgspec.structs.replace(now, torch="2.6"), now]):
        history.add_night(night(i, **here, environment=libraries), [of_circulant("strided")], history.FOLDER)
    left = list(answers)

    def compare_sides(first, second, operation, implementations, sizes, **options):
        assert (first.python, first.folder, second.python) == (python, Path.cwd(), sys.executable)
        return [
            SpeedComparison(
                Setting(operation=operation, sizes=sizes, dtype="float32"),
                "strided",
                seconds=(1e-5, 2e-5),
                ratio=left.pop(0),
            )
        ], {}

    python = str(another_interpreter(Path.cwd()))
    monkeypatch.setattr("opjury.track.confirm.compare_sides", compare_sides)
    monkeypatch.setattr("opjury.track.confirm.versions_of", lambda side: had)
    budget = ["--budget", "30m" if answers else "0s"]
    done = track("check", "--machine", "here", "--before", python, "--json", "a.jsonl", *budget)
    assert done.exit_code == status, done.output
    assert told in " ".join(done.output.split())
    assert not left
    for alarm in records.read("a.jsonl"):
        assert (alarm.low, alarm.confirmed, alarm.versions) == (SLOWER.low, True, {"torch": ("2.6", now.torch)})
        assert alarm.command == f"opjury track compare {python} {sys.executable} circulant:strided --workload small"
    assert len(list(records.read("a.jsonl"))) == status


def test_an_interpreter_that_no_night_had_cannot_be_compared_with(repository, monkeypatch):
    sixteen_nights()
    python = str(another_interpreter(Path.cwd()))
    for command in ("check", "nightly"):
        with pytest.raises(Impossible, match="as there are here: there is nothing to compare"):
            track(command, "--machine", "here", "--before", python)
    monkeypatch.setattr("opjury.track.confirm.versions_of", lambda side: {"torch": "1.0"})
    with pytest.raises(Impossible, match=r"has torch 1\.0; no night had these"):
        track("check", "--machine", "here", "--before", python)
    with pytest.raises(Impossible, match="neither a commit"):
        track("check", "--machine", "here", "--before", "nowhere")
    assert track("check", "--machine", "here", "--before", python, "--no-confirm").exit_code == 2


def test_the_libraries_of_the_last_night_are_told_where_there_are_others_now(repository):
    assert track("before").exit_code == 3
    now = environment()
    history.add_night(night(0, environment=msgspec.structs.replace(now, torch="2.6.0+cpu")), pair(0), history.FOLDER)
    assert track("before").output.strip() == f"torch==2.6.0 numpy=={now.numpy} scipy=={now.scipy}"
    history.add_night(night(1, environment=now), pair(1), history.FOLDER)
    assert (track("before").output, track("before").exit_code) == ("", 0)


def test_an_installed_harness_hides_no_libraries_of_another_interpreter(tmp_path, monkeypatch):
    (tmp_path / "torch").mkdir()
    monkeypatch.setattr("opjury.track.compare.PACKAGE", tmp_path / "opjury")
    assert str(tmp_path) not in Side("there", folder=tmp_path / "there").environment["PYTHONPATH"].split(os.pathsep)


def test_what_nothing_has_changed_for_is_the_machines_doing(repository):
    sixteen_nights()
    done = track("check", "--machine", "here")
    assert done.exit_code == 0
    assert "not seen when measured again" in done.output


def test_what_there_is_no_time_to_try_again_is_told_where_it_is_sure(repository, monkeypatch):
    sixteen_nights(environment=msgspec.structs.replace(environment(), torch="2.6"))
    monkeypatch.setattr("opjury.track.confirm.SHARE", 0.0)
    monkeypatch.setattr("opjury.track.confirm.LEAST", 0.0)
    monkeypatch.setattr("opjury.track.confirm.choose", lambda *_, **options: pytest.fail("it was measured again"))
    done = track("check", "--machine", "here", "--json", "a.jsonl")
    assert [alarm.confirmed for alarm in records.read("a.jsonl")] == [None]
    assert done.exit_code == 1


def test_what_cannot_be_tried_again_stays_an_alarm(repository):
    for i in range(16):
        history.add_night(night(i), pair(i, slower=1.1 if i >= 14 else 1.0), history.FOLDER)
    done = track("check", "--machine", "here", "--json", "a.jsonl")
    assert done.exit_code == 1
    assert [alarm.confirmed for alarm in records.read("a.jsonl")] == [None]


MINE = """
import time, torch
from opjury import implementation

@implementation("circulant", name="mine")
def mine(c):
    from pace import PAUSE

    until = time.perf_counter() + PAUSE
    while time.perf_counter() < until:
        pass
    rows = torch.arange(len(c))
    return c[(rows[:, None] - rows) % max(len(c), 1)]
"""


def test_two_commits_are_compared_in_turns(repository):
    folder = Path("mine-0.1.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n")
    (folder / "entry_points.txt").write_text("[opjury.impls]\nmine = mine\n")
    for pause in ("0.0", "0.01"):  # hundreds of times as long: nothing else on a machine makes that good
        Path("mine.py").write_text(MINE)
        Path("pace.py").write_text(f"PAUSE = {pause}\n")
        git("add", "-A")
        commit(f"wait {pause}")
    command = [
        sys.executable,
        "-m",
        "opjury",
        "track",
        "compare",
        "HEAD~1",
        "HEAD",
        "circulant:mine",
        "--workload",
        "small",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(repository), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [*command, "--seconds", "0.6", "--json", "c.jsonl"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (found,) = records.read("c.jsonl")
    assert found.low > 1
    assert git("worktree", "list").count("\n") == 0


def test_the_same_files_are_compared_without_a_fault():
    found, versions = compare_sides(Side("a"), Side("b"), "circulant", ["broadcasted_index"], "small", seconds=0.3)
    assert versions == {}
    assert not found[0].fault
    assert 0 < found[0].ratio.low <= found[0].ratio.median <= found[0].ratio.high
    assert min(found[0].seconds) > 0


def another_interpreter(folder, first="true"):
    """The path of what is not `sys.executable`, and starts it."""
    python = folder / "python"
    python.write_text(f'#!/bin/sh\n{first}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


@pytest.mark.parametrize(("most", "enough"), [(3, lambda seen: False), (5, lambda seen: seen.median > 0)])
@pytest.mark.slow(reason="contests between processes")
def test_another_interpreter_is_compared_in_processes_of_its_own(tmp_path, monkeypatch, most, enough):
    monkeypatch.setattr("opjury.track.compare.PROCESSES", 3)
    monkeypatch.setattr("opjury.track.compare.MOST_PROCESSES", most)
    started = tmp_path / "started"
    python = another_interpreter(tmp_path, f"echo >> {started}")
    (found,), _ = compare_sides(
        Side("here"),
        Side("there", str(python)),
        "circulant",
        ["broadcasted_index"],
        "small",
        seconds=0.3,
        enough=enough,
    )
    assert not found.fault
    assert 0 < found.ratio.low <= found.ratio.median <= found.ratio.high
    assert min(found.seconds) > 0
    assert len(started.read_text().splitlines()) == 3


def test_what_is_no_commit_is_named(repository):
    done = CliRunner().invoke(main, ["track", "compare", "HEAD", "nowhere", "circulant"])
    assert "nowhere is neither a commit" in str(done.exception)


def test_a_tie_with_itself_is_one():
    assert ratio(np.ones(30), np.ones(30)).median == 1


# --- asv, workflows

ROOT = Path(__file__).parents[1]


@pytest.mark.slow(reason="a whole night, and asv")
def test_asv_takes_the_figures_of_a_night(tmp_path, monkeypatch):
    found = history.add_night(
        night(0), [asv_measurement(name) for name in ("broadcasted_index", "repeat_and_skew")], tmp_path
    )
    asv_conf = json.loads((ROOT / "asv.conf.json").read_text())
    where = {"repo": str(ROOT), "benchmark_dir": str(ROOT / "benchmarks"), "results_dir": str(tmp_path / "results")}
    (tmp_path / "asv.conf.json").write_text(json.dumps({**asv_conf, **where, "html_dir": str(tmp_path / "html")}))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OPJURY_NIGHT", str(found))
    asv = [sys.executable, "-m", "asv"]
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    run = ["run", "-E", f"existing:{sys.executable}", "--set-commit-hash", head, "--machine", "here"]
    only = [
        "--bench",
        r"\.Circulant\.track_(time|ratio).*'(broadcasted_index|repeat_and_skew)', 'small', 'forward', 'cpu'",
    ]
    for command in (["machine", "--yes", "--machine", "here"], [*run, *only], ["publish"]):
        done = subprocess.run([*asv, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    (result,) = (tmp_path / "results" / "here").glob(f"{head[:8]}*.json")
    figures = json.loads(result.read_text())["results"]["bench_as_strided.Circulant.track_ratio"][0]
    there = sorted(value for value in figures if value is not None and value == value)
    assert there == pytest.approx([1, 10])  # the baseline's own is to the floor
    assert (tmp_path / "html" / "regressions.json").exists()


def asv_measurement(name):
    return measured(name, 1e-5, operation="circulant", sizes={"n": 64})


@pytest.mark.parametrize("name", ["ci.yml", "nightly.yml"])
def test_workflows_are_valid(name):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, ROOT / ".github/workflows" / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
