"""What other programs read: SARIF, JUnit, the flat table, Markdown, the published schema."""

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from benchmarks.figures import reporting
from opjury.audit import Audit
from opjury.cli import exports
from opjury.cli.main import main
from opjury.cli.terminal import show_audit
from opjury.model import records, registry
from opjury.model.records import Verdict
from opjury.report import questions, summary
from opjury.report.gather import Found, Machine, State
from opjury.report.table import COLUMNS, csv_table
from tests.made_up import measurement, recommendation, verdict

ROOT = Path(__file__).parents[1]
WRONG = verdict(status="refuted", message="result[1] is 1; it should be 2", observed="[1]", expected="[2]")
CONTROL = verdict(implementation="blocks_without_carry", status="refuted", control=True)
FOLLOWS = verdict(check="laws", status="refuted", cause="agreement")


def found(*entries, problems=()):
    return Found([Machine("a machine", reporting.WHERE, State.of("record files", entries))], list(problems))


def test_the_published_schema_is_current():
    assert json.loads((ROOT / "reports" / "schema.json").read_text()) == json.loads(json.dumps(records.schema())), (
        "opjury schema > reports/schema.json"
    )


def test_sarif_names_file_and_line_of_what_is_refuted_and_no_control():
    log = json.loads(exports.sarif([WRONG, CONTROL, FOLLOWS, verdict(check="form")], ROOT))
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("sarif-2.1.0.json")
    (run,) = log["runs"]
    (result,) = run["results"]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "agreement"
    assert result["level"] == "error"
    assert result["message"]["text"].startswith("cumsum:torch_cumsum: agreement is refuted: result[1] is 1")
    (location,) = result["locations"]
    place = location["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "impls/cumsum/cumsum.py", "uriBaseId": "%SRCROOT%"}
    lines = (ROOT / "impls/cumsum/cumsum.py").read_text().splitlines()[place["region"]["startLine"] - 1 :]
    assert "def torch_cumsum" in "\n".join(lines[:12])


def test_sarif_names_the_recorded_place_of_a_function_that_is_not_registered(tmp_path):
    (tmp_path / "mine.py").write_text("")
    found = [verdict(implementation="mine", status="refuted", file="mine.py", line=7)]
    (result,) = json.loads(exports.sarif(found, tmp_path))["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("mine.py", 7)


def test_sarif_of_what_is_not_registered_has_a_name_and_no_file():
    log = json.loads(exports.sarif([verdict(implementation="nobody's", status="refuted")], ROOT))
    (location,) = log["runs"][0]["results"][0]["locations"]
    assert location == {"logicalLocations": [{"fullyQualifiedName": "cumsum:nobody's", "kind": "function"}]}


def test_sarif_tells_the_same_alert_again_by_its_fingerprint():
    first, again, other = (
        json.loads(exports.sarif([v], ROOT))["runs"][0]["results"][0]["partialFingerprints"]
        for v in (WRONG, verdict(status="refuted", message="another"), verdict(check="form", status="refuted"))
    )
    assert first == again != other


def test_junit_has_a_suite_for_each_implementation():
    root = ET.fromstring(
        exports.junit([WRONG, CONTROL, FOLLOWS, verdict(check="form", status="waived", message="\x00why")])
    )
    assert [(s.get("name"), s.get("tests"), s.get("failures"), s.get("skipped")) for s in root] == [
        ("cumsum:torch_cumsum", "3", "2", "1"),
        ("cumsum:blocks_without_carry", "1", "0", "0"),
    ]


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({}, {}),
        ({"check": "laws", "cause": "agreement"}, {}),
        ({"check": "purity"}, {"failure": 1}),  # which it does not declare
        ({"status": "holds"}, {"failure": 1}),  # which it should not
        ({"status": "error"}, {"error": 1}),
        ({"control": False}, {"failure": 1}),
        ({"control": False, "status": "error"}, {"error": 1}),
        ({"control": False, "status": "skipped", "message": "no gradient"}, {"skipped": 1}),
    ],
)
def test_junit_is_red_where_an_audit_is(changed, kinds):
    """A negative control passes by being refuted, in what it declares."""
    found = msgspec.structs.replace(CONTROL, **changed)
    root = ET.fromstring(exports.junit([found]))
    (case,) = root.iter("testcase")
    assert Counter(element.tag for element in case) == kinds
    assert bool(kinds.keys() & {"failure", "error"}) == bool(Audit((found,)).surprises())
    assert {kind: int(root[0].get(f"{kind}s".replace("skippeds", "skipped"))) for kind in kinds} == kinds


def test_the_table_has_a_row_for_each_measurement_and_for_who_was_only_judged():
    text = csv_table(found(WRONG, CONTROL, measurement(), measurement(n=10, ratio=2.0))).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == COLUMNS
    assert [(r["implementation"], r["verdict"], r["sizes"], r["ratio"]) for r in rows] == [
        ("torch_cumsum", "refuted", "rows=1 n=1000", "1.0"),
        ("torch_cumsum", "refuted", "rows=1 n=10", "2.0"),
        ("blocks_without_carry", "control", "", ""),
    ]


def test_no_cell_of_the_table_is_a_formula():
    text = csv_table(found(verdict("=1+1", "@SUM(A1)"), measurement("-2", "+3"))).decode()
    for row in csv.DictReader(io.StringIO(text)):
        assert all(not value.startswith(("=", "+", "-", "@")) for value in row.values()), row
        assert row["operation"].startswith("'")


def test_markdown_tells_what_is_refuted_what_changed_and_what_to_use():
    now = found(
        WRONG, CONTROL, FOLLOWS, measurement(), measurement(implementation="hillis_steele", ratio=3.0), recommendation()
    )
    now.machines[0].before = State.of("the night before", [verdict()])
    text = summary.summary_markdown(now)
    assert "**0 of 1 implementations hold up, 1 that is known to be wrong is refuted; 21 examples were executed" in text
    assert "- `cumsum:torch_cumsum` agreement (float32): result[1] is 1; it should be 2" in text
    assert "**worse**: `cumsum:torch_cumsum` agreement: refuted, was holds" in text
    assert "| `cumsum` | 0 of 1 | `torch_cumsum` | torch_cumsum, ×3 before hillis_steele |" in text
    assert "laws" not in text.partition("### Refuted")[2]


@pytest.mark.parametrize(
    "text", ["a | b", "<script>alert(1)</script>", "`x` [y](javascript:z)", "# head\n- item", "@someone"]
)
def test_markdown_has_no_sign_of_a_hostile_text(text):
    shown = summary.summary_markdown(found(verdict(text, text, status="refuted", message=text), problems=[text]))
    bare = re.sub(r"&#\d+;|`[^`\n]*`", "", shown)
    assert "<" not in bare
    assert "](" not in bare
    assert "@" not in bare
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    assert all(row.count("|") == 5 for row in rows)


def test_markdown_is_appended_to_the_summary_of_a_job(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (tmp_path / "summary.md").write_text("before\n")
    records.write("found.jsonl", [WRONG])
    done = CliRunner().invoke(main, ["report", "found.jsonl", "--format", "md"])
    assert done.exit_code == 0
    assert (tmp_path / "summary.md").read_text() == "before\n" + done.stdout
    assert not (tmp_path / "reports").exists()


CUDA_ALONE = verdict(implementation="decoupled_look_back", status="skipped", examples=0, message="runs on CUDA only")
LOOSE = verdict(implementation="half_precision_accumulator", control=True)


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([verdict()], "1 of 1 implementations hold up"),
        ([verdict(), CONTROL], "1 of 1 implementations hold up, 1 that is known to be wrong is refuted"),
        ([WRONG, CUDA_ALONE], "0 of 1 implementations hold up, 1 not judged"),
        ([CONTROL, LOOSE], "1 that is known to be wrong is refuted, 1 that is known to be wrong is not refuted"),
        ([CUDA_ALONE], "1 not judged"),
    ],
)
def test_audit_and_report_count_alike(entries, told, tmp_path, monkeypatch, capsys):
    """What holds up, of those that were judged and are no negative controls."""
    monkeypatch.chdir(tmp_path)
    show_audit(Audit(tuple(entries)), all_verdicts=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{told}; {7 * sum(v.examples > 0 for v in entries)} examples were executed." in shown
    assert summary.headline(found(*entries).machines[0]).startswith(f"{told}; ")
    records.write("found.jsonl", entries)
    monkeypatch.setattr(questions, "judged", list)
    assert CliRunner().invoke(main, ["report", "found.jsonl"]).exit_code == 0
    assert f"{told}. " in Path("reports/site/index.html").read_text()


def test_the_terminal_form_has_a_line_for_each_operation(tmp_path, monkeypatch, capsys):
    summary.show_summary(found(WRONG, verdict("gather", "torch_gather"), recommendation(), measurement()))
    shown = capsys.readouterr().out
    assert re.search(r"^cumsum +0 of 1 +torch_cumsum +torch_cumsum", shown, re.M)
    assert re.search(r"^gather +1 of 1", shown, re.M)


def test_what_has_a_weakness_stands_below_what_may_be_recommended():
    weak = measurement(implementation="weak", ratio=0.1, waived={"specials": "NaN spreads", "error": "0 for 1"})
    slower = measurement(implementation="hillis_steele", ratio=3.0)
    chosen = recommendation(alternative="weak", alternative_reason="10 times as fast, but NaN spreads; 0 for 1")
    (machine,) = found(weak, measurement(), slower, chosen).machines
    (contest,) = machine.now.contests.values()
    assert [m.implementation for m in contest] == ["torch_cumsum", "hillis_steele", "weak"]
    assert [line.use for line in summary.lines(machine)] == ["torch_cumsum, ×3 before hillis_steele"]
    rows = csv.DictReader(io.StringIO(csv_table(found(weak, slower)).decode()))
    assert {row["implementation"]: row["weakness"] for row in rows} == {"weak": "specials error", "hillis_steele": ""}


def test_refuted_on_one_device_is_refuted():
    judged = found(
        verdict(), verdict(device="cuda", status="refuted"), verdict(implementation="blelloch", device="cuda")
    )
    assert [(line.holding, line.implementations, line.refuted) for line in summary.lines(judged.machines[0])] == [
        (1, 2, ("torch_cumsum",))
    ]


def test_every_export_is_written_by_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records.write("found.jsonl", [WRONG, measurement()])
    files = ["--table", "t.csv", "--sarif", "s.sarif", "--junit", "j.xml"]
    assert CliRunner().invoke(main, ["report", "found.jsonl", "--format", "terminal", *files]).exit_code == 0
    assert len(list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))) == 1
    assert len(json.loads((tmp_path / "s.sarif").read_text())["runs"][0]["results"]) == 1
    assert ET.parse(tmp_path / "j.xml").find(".//failure") is not None


def test_a_made_up_full_run_covers_everything_that_is_registered():
    made = list(reporting.verdicts())
    assert {(v.operation, v.implementation) for v in made} == {
        (e.operation, e.name) for e in registry.implementations()
    }
    assert all(isinstance(v, Verdict) and records.decode(records.encode(v)) == v for v in made[:50])
