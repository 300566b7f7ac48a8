"""One rule says what holds up: the table, the exit status, test reports, alerts, pages, choices and nights agree."""

import json
import xml.etree.ElementTree as ET

import msgspec
import pytest
from click.testing import CliRunner

from opjury import testing
from opjury.audit import Audit
from opjury.cli import exports, terminal
from opjury.cli.main import main
from opjury.cli.verdicts import Tally, state_of
from opjury.eligible import doubt
from opjury.judge.task import Request
from opjury.model import records
from opjury.model.outcome import Outcome, causes_checked, standing, standings
from opjury.report.changes import changes
from opjury.report.gather import State
from opjury.track.alarms import alarms
from opjury.track.history import Chronicle
from tests.made_up import night, verdict

CONTROL = dict(implementation="blocks_without_carry", control=True)  # declares that agreement is refuted

# verdicts, (state, whether it holds up, whether something is not as declared)
RULES = [
    ([verdict()], ("holds", True, False)),
    ([verdict(), verdict(check="form", status="skipped")], ("holds", True, False)),
    ([verdict(), verdict(check="laws", status="waived", waiver="why")], ("waives", True, False)),
    ([verdict(status="refuted", message="m")], ("refuted", False, True)),
    ([verdict(), verdict(check="laws", status="refuted", cause="agreement")], ("refuted", False, True)),
    ([verdict(), verdict(dtypes=("float64",), status="refuted")], ("refuted", False, True)),
    ([verdict(), verdict(check="laws", status="error", message="m")], ("error", False, True)),
    ([verdict(status="error", message="m")], ("error", False, True)),
    ([verdict(status="refuted"), verdict(check="laws", status="error")], ("refuted", False, True)),
    ([verdict(), verdict(check="laws", status="undecided", message="3 s a call")], ("undecided", False, False)),
    ([verdict(), verdict(dtypes=("float64",), status="undecided")], ("undecided", False, False)),
    ([verdict(status="undecided")], ("undecided", False, False)),
    ([verdict(status="refuted"), verdict(check="laws", status="undecided")], ("refuted", False, True)),
    ([verdict(status="undecided"), verdict(check="laws", status="error")], ("error", False, True)),
    (
        [verdict(status="refuted", **CONTROL), verdict(check="form", status="undecided", **CONTROL)],
        ("control", False, False),
    ),
    ([verdict(status="undecided", **CONTROL)], ("undecided", False, False)),
    ([verdict(status="skipped")], ("unjudged", False, False)),
    ([verdict(status="not declared")], ("unjudged", False, False)),
    ([verdict(status="refuted", **CONTROL)], ("control", False, False)),
    ([verdict(status="refuted", **CONTROL), verdict(check="form", **CONTROL)], ("control", False, False)),
    ([verdict(**CONTROL)], ("refuted", False, True)),
    ([verdict(status="waived", waiver="why", **CONTROL)], ("refuted", False, True)),
    (
        [verdict(status="refuted", **CONTROL), verdict(check="laws", status="refuted", cause="agreement", **CONTROL)],
        ("control", False, False),
    ),
    (
        [verdict(status="refuted", **CONTROL), verdict(check="purity", status="refuted", **CONTROL)],
        ("control", False, True),
    ),
    ([verdict(status="skipped", **CONTROL)], ("unjudged", False, False)),
    ([verdict(check="form", **CONTROL)], ("unjudged", False, False)),
    ([verdict(status="error", **CONTROL)], ("error", False, True)),
    ([verdict(status="refuted", implementation="elsewhere", control=True)], ("control", False, True)),
]


@pytest.mark.parametrize(("verdicts", "rule"), RULES)
def test_an_outcome_follows_from_the_statuses(verdicts, rule):
    outcome = Outcome.of(standing(verdicts))
    assert (outcome.state, outcome.state in ("holds", "waives"), bool(outcome.unexpected)) == rule
    assert outcome == Outcome.of(msgspec.json.decode(records.encode(outcome.standing), type=records.Standing))


@pytest.mark.parametrize(("verdicts", "rule"), RULES)
def test_all_that_show_it_agree(verdicts, rule, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state, holds_up, unexpected = rule
    found = Audit(tuple(verdicts))
    assert found.ok == (bool(found.judged) and not unexpected and not found.undecided)
    records.write("found.jsonl", verdicts)
    merged = CliRunner().invoke(main, ["merge", "found.jsonl"])
    assert merged.exit_code == (1 if unexpected else 0 if found.judged and not found.undecided else 3)
    allowed = CliRunner().invoke(main, ["merge", "found.jsonl", "--allow-undecided"])
    assert allowed.exit_code == (1 if unexpected else 0 if found.judged or found.undecided else 3)
    shown = " ".join(merged.output.split())
    tally = Tally.of(standings(verdicts))
    assert str(tally) in shown
    assert bool(tally.holding) == holds_up
    assert state_of(standing(verdicts))[0] == state
    junit = ET.fromstring(exports.junit(verdicts))
    assert any(case.tag in ("failure", "error") for case in junit.iter()) == unexpected
    assert bool(json.loads(exports.sarif(verdicts))["runs"][0]["results"]) == unexpected
    if not verdicts[0].control and found.judged:
        assert (doubt([verdict(examples=1), *verdicts]) is None) == holds_up
    assert terminal.verdict_table(standings(verdicts)).row_count == 1


@pytest.mark.parametrize(("verdicts", "rule"), RULES)
def test_a_night_that_is_not_as_declared_any_more_is_an_alarm(verdicts, rule):
    _, _, unexpected = rule
    good = [msgspec.structs.replace(v, status="refuted" if v.control else "holds", cause="") for v in verdicts]
    nights = [
        Chronicle(night(date=f"2026-01-0{day}T03:00:00+00:00"), tuple(standings(each)), None)
        for day, each in enumerate((good, verdicts), start=1)
    ]
    declared = not verdicts[0].control or {v.check for v in verdicts} == {"agreement"}
    known = verdicts[0].implementation != "elsewhere"
    assert bool(alarms(nights)) == (unexpected and declared and known)
    worse = [c for c in changes(*(State.of("a night", each) for each in (good, verdicts))) if c.kind == "worse"]
    assert bool(worse) == (unexpected and declared and known)


def test_a_control_of_an_older_record_whose_causes_are_not_known_is_no_surprise():
    now = standing([verdict(status="refuted", **CONTROL), verdict(check="purity", status="refuted", **CONTROL)])
    before = msgspec.structs.replace(now, causes=None)
    assert (Outcome.of(now).state, Outcome.of(before).state) == ("control", "control")
    assert Outcome.of(now).unexpected
    assert not Outcome.of(before).unexpected


@pytest.mark.parametrize(
    ("verdicts", "reported"),
    [
        ([verdict(status="refuted"), verdict(check="laws", status="refuted", cause="agreement")], ["agreement"]),
        ([verdict(check="laws", status="refuted", cause="agreement")], ["laws"]),
    ],
)
def test_what_follows_from_another_failure_is_no_alert_of_its_own_unless_it_is_alone(verdicts, reported):
    results = json.loads(exports.sarif(verdicts))["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == reported


def test_the_message_of_an_error_is_reported_by_pytest(monkeypatch):
    task = Request(checks="agreement", dtypes="float32").tasks("cumsum", "torch_cumsum")
    error = verdict(status="error", message="KeyError: 1")
    monkeypatch.setattr(testing, "judge_tasks", lambda *args, **options: [error])
    with pytest.raises(pytest.fail.Exception, match=r"agreement \(float32\): KeyError: 1"):
        testing.require(task)


def test_only_what_fails_in_the_same_audit_is_named_as_a_cause():
    layouts = verdict(check="layouts", status="refuted", cause="agreement")
    assert causes_checked([layouts])[0].cause == ""
    assert causes_checked([verdict(), layouts])[1].cause == ""
    for status in ("refuted", "waived"):
        assert causes_checked([verdict(status=status), layouts])[1].cause == "agreement"
    elsewhere = verdict(implementation="another", status="refuted")
    assert causes_checked([verdict(), elsewhere, layouts])[2].cause == ""
    control = verdict(check="laws", status="refuted", cause="agreement", **CONTROL)
    assert [v.cause for v in (*causes_checked([control]), *causes_checked([verdict(**CONTROL), control]))] == [
        "agreement",
        "",
        "",
    ]


def test_two_runs_of_which_one_is_undecided_do_not_contradict_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for status, code in (("holds", 0), ("refuted", 1), ("skipped", 3)):
        records.write("first.jsonl", [verdict(status="undecided")])
        records.write("second.jsonl", [verdict(status=status)])
        for names in (("first.jsonl", "second.jsonl"), ("second.jsonl", "first.jsonl")):
            merged = CliRunner().invoke(main, ["merge", *names, "--json", "all.jsonl"])
            assert merged.exit_code == code
            (found,) = records.read("all.jsonl")
            assert found.status == (status if code != 3 else "undecided")
