"""The report: pages, their figures and links; what changed; bad input; hostile names and messages."""

import html.parser
import json
import re
from array import array

import msgspec
import numpy as np
import plotly.graph_objects
import pytest
from click.testing import CliRunner

from benchmarks.figures import reporting
from opjury.cli.main import main
from opjury.model import records, registry
from opjury.report import charts, questions
from opjury.report.changes import changes
from opjury.report.gather import Curve, State, default_workload, gather, workload_name
from opjury.track import history
from tests.made_up import ELSEWHERE, HERE, HOSTILE, measurement, night, recommendation, verdict


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Runs the command on records in an empty folder, without claims."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(questions, "judged", list)

    def run(found, *arguments, content=None):
        (tmp_path / "found.jsonl").write_bytes(content or b"".join(records.encode(r) + b"\n" for r in found))
        return CliRunner().invoke(main, ["report", "found.jsonl", *map(str, arguments)])

    return run


class Page(html.parser.HTMLParser):
    """The elements of a page."""

    def __init__(self, path):
        super().__init__()
        self.path, self.tags, self.text = path, [], path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def ids(self):
        return {attributes["id"] for _, attributes in self.tags if attributes.get("id")}

    @property
    def figures(self):
        return [json.loads(text) for text in re.findall(r'class="figure">(.*?)</script>', self.text)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of a full run, a sweep and ten nights, with every page."""
    folder = tmp_path_factory.mktemp("report")
    sweep = [r for n in (100, 1000, 10_000) for name, ratio in (("torch_cumsum", 1.0), ("hillis_steele", 3e3 / n)) for r in (
        measurement(n=n, implementation=name, ratio=ratio), recommendation(n, "torch_cumsum" if n < 5000 else "hillis_steele"))]  # fmt: skip
    records.write(folder / "found.jsonl", [*reporting.verdicts(), *sweep])
    reporting.write_history(folder / "history", 10, [("cumsum:hillis_steele", 5, 1.5)])
    arguments = ["report", folder / "found.jsonl", "--history", folder / "history", "--output", folder / "site"]
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site):
    return {str(path.relative_to(site)): Page(path) for path in site.rglob("*.html")}


def test_there_is_a_page_for_each_operation_and_question(pages):
    names = {o.name for o in registry.operations()}
    assert {f"operations/{name}.html" for name in names} <= set(pages)
    asked = {claim.name.partition(".")[0] for claim in registry.claims()}
    assert {f"questions/{name}.html" for name in asked} <= set(pages)
    assert {"index.html", "questions.html", "regressions.html", "environment.html", "findings.html"} <= set(pages)


def test_every_link_leads_to_something_that_is_there(site, pages):
    for page in pages.values():
        for tag, attribute in (("a", "href"), ("link", "href"), ("script", "src")):
            for target in filter(None, (element.get(attribute) for element in page.all(tag))):
                if (tag == "a" and target.startswith("https://")) or target == "data:,":
                    continue
                file, _, anchor = target.partition("#")
                path = (page.path.parent / file).resolve() if file else page.path
                assert path.is_file(), (page.path, target)
                if anchor:
                    assert anchor in pages[str(path.relative_to(site.resolve()))].ids if file else anchor in page.ids


def test_every_figure_is_one_of_plotlys_and_has_its_table(pages):
    count = 0
    for page in pages.values():
        charts_here = [element for element in page.all("div") if element.get("class") == "plot"]
        assert len(page.figures) == len(charts_here) == page.text.count("<summary>The numbers</summary>")
        for figure in page.figures:
            plotly.graph_objects.Figure(figure)
            count += 1
    assert count > 40


def test_an_operation_has_its_contract_its_competitors_and_its_counterexamples(site, pages):
    page = pages["operations/cumsum.html"]
    for entry in registry.implementations("cumsum"):
        assert entry.name in page.ids
        assert f"<td>{entry.name}</td>" in page.text or entry.refuted
    for words in (
        "The contract",
        "Source of the reference",
        "Time over n",
        "Memory over n",
        "hillis_steele instead of torch_cumsum",
    ):
        assert words in page.text
    scripts = re.findall(r'href="\.\./(replay/[^"]+)"', page.text)
    assert scripts
    assert all((site / script).read_text() for script in scripts)


def test_what_is_faster_with_a_weakness_is_told(report, tmp_path):
    weak = measurement(implementation="hillis_steele", ratio=0.1, waived={"error": "after 1e8: 0 for 1"})
    told = dict(alternative="hillis_steele", alternative_reason="10 times as fast, but after 1e8: 0 for 1")
    judged = verdict("moving_mean", "prefix_sum_difference")
    assert report([judged, weak, measurement(), recommendation(**told)]).exit_code == 0
    text = Page(tmp_path / "reports/site/operations/cumsum.html").text
    assert "hillis_steele</a> is 10 times as fast, but after 1e8: 0 for 1." in text
    assert "<td>after 1e8: 0 for 1</td>" in text
    page = Page(tmp_path / "reports/site/operations/moving_mean.html").text
    assert "<dt>waives error bound</dt><dd>after 1e8: 0 for 1</dd>" in page


def test_every_mark_stands_below_its_check(report, tmp_path):
    found = [
        verdict(check="gradient", status="waived"),
        verdict(check="laws"),
        verdict(implementation="other", check="terminates"),
    ]
    assert report(found).exit_code == 0
    page = Page(tmp_path / "reports/site/operations/cumsum.html")
    table = page.text.partition('id="verdict-table"')[2].partition("</table>")[0]
    assert re.findall(r'class="slanted"><span>([^<]+)<', table) == ["gradient", "laws", "terminates"]
    rows = [
        re.findall(r'<td class="mid" data-sort="\d+">(?:<span class="tick (\w+)"|)', row)
        for row in table.split("<tr>")[2:]
    ]
    assert rows == [["waived", "holds", ""], ["", "", "holds"]]


def test_every_refuted_verdict_has_its_replay_script(site):
    refuted = {(v.name, v.check, v.dtypes) for v in reporting.verdicts() if v.status == "refuted"}
    assert len(list((site / "replay").glob("*.py"))) == len(refuted)


def test_questions_have_verdicts_evidence_and_the_answer(pages):
    page = pages["questions/mean_of_slices.html"]
    for claim in registry.claims():
        if claim.name.startswith("mean_of_slices."):
            assert claim.name in page.ids
    assert "The answer" in page.text
    assert "1e8 before the slice" in page.text


def test_the_start_page_is_small(site):
    assert (site / "index.html").stat().st_size < 300_000


def test_changes_name_verdicts_recommendations_ratios_and_who_is_new_or_gone():
    judged = [verdict(), verdict(check="laws"), verdict(implementation="nobody's"), verdict(implementation="blelloch")]
    before = State.of("", [*judged, measurement(), measurement(implementation="slow", ratio=2), recommendation()])
    judged = [verdict(), verdict(check="laws", status="refuted"), verdict(implementation="other")]
    chosen = recommendation(implementation="other")
    now = State.of("", [*judged, measurement(), measurement(implementation="slow", ratio=3), chosen])
    told = {(c.implementation, c.kind, c.text) for c in changes(before, now)}
    assert told == {
        ("torch_cumsum", "worse", "laws: refuted, was holds"),
        ("other", "other", "is new"),
        ("nobody's", "other", "is gone"),
        ("slow", "slower", "rows=1 n=1000: 3 times torch_cumsum, was 2"),
        ("", "other", "rows=1 n=1000: use other instead of torch_cumsum"),
    }
    assert [c.kind for c in changes(before, now)] == ["worse", "other", "other", "other", "slower"]
    assert not changes(now, now)
    assert not changes(None, now)


@pytest.mark.parametrize(
    ("check", "was", "now", "kind"),
    [
        ("agreement", "refuted", "holds", "worse"),
        ("agreement", "holds", "refuted", "better"),
        ("agreement", "holds", "skipped", "other"),
        ("laws", "refuted", "holds", "other"),
    ],
)
def test_a_control_gets_worse_where_it_is_not_refuted_any_more(check, was, now, kind):
    control = dict(implementation="blocks_without_carry", check=check, control=True)
    (change,) = changes(*(State.of("", [verdict(status=status, **control)]) for status in (was, now)))
    assert (change.kind, change.text) == (kind, f"{check}: {now}, was {was}")


def test_what_is_tied_or_within_the_interval_is_no_change():
    before = State.of("", [measurement(implementation="slow", ratio=2), recommendation()])
    wide = measurement(implementation="slow", ratio=2.3, low=1.9, high=2.7)
    now = State.of("", [wide, recommendation(implementation="other", tied=("other", "torch_cumsum"))])
    assert not changes(before, now)


def test_a_sweep_is_told_from_single_contests():
    state = State.of("", [measurement(n=n) for n in (10, 100, 1000)] + [measurement(n=10, dtype="float64")])
    (line,) = charts.sweeps_of(state.contests, state.recommendations)
    assert (line.size, list(line.points)) == ("n", [10, 100, 1000])


def test_crossovers_keep_who_is_tied():
    chosen = [
        recommendation(10, "a"),
        recommendation(20, "b", ("a", "b")),
        recommendation(40, "b"),
        recommendation(80, "b"),
    ]
    state = State.of("", [*[measurement(n=n) for n in (10, 20, 40, 80)], *chosen])
    (line,) = charts.sweeps_of(state.contests, state.recommendations)
    assert charts.crossovers(line) == [("a", "b", 20, 40)]


def test_the_front_holds_those_that_no_other_beats_in_both():
    contest = [
        measurement(implementation=name, ratio=r, error_ulps=e)
        for name, r, e in (("a", 1, 5), ("b", 2, 6), ("c", 3, 1))
    ]
    rows = charts.pareto("medium", contest).rows
    assert [row[0] for row in rows if row[-1] == "yes"] == ["a", "c"]


def test_long_histories_are_thinned_to_medians():
    curve = Curve(array("l", range(9)), array("d", [1, 5, 1, 1, 1, 1, 2, 2, 2]))
    thin = charts.thinned(curve, 3)
    assert (list(thin.nights), list(thin.ratios)) == ([2, 5, 8], [1.0, 1.0, 2.0])
    assert charts.thinned(curve, 1) == curve


def test_workloads_are_called_by_their_names():
    setting = next(m.setting for m in reporting.measurements(np.random.default_rng(0)) if m.operation == "cumsum")
    assert workload_name(setting) == "medium"
    backward = msgspec.structs.replace(setting, gradient=True, dtype="float64", threads=2)
    assert workload_name(backward) == "medium backward float64 2 threads"
    elsewhere = msgspec.structs.replace(setting, operation="nobody's")
    assert workload_name(elsewhere).count("=") == len(setting.sizes)
    assert default_workload(State.of("", [])) == ""


def test_two_machines_are_never_in_one_series(report, tmp_path):
    mine = [verdict(), measurement(ratio=1.0), measurement(n=10)]
    theirs = [verdict(status="refuted", environment=ELSEWHERE), measurement(n=100, environment=ELSEWHERE)]
    done = report([*mine, *theirs], "--history", tmp_path / "none")
    assert done.exit_code == 0, done.output
    found = gather([tmp_path / "found.jsonl"], tmp_path / "none")
    assert [len(m.now.measurements) for m in found.machines] == [2, 1]
    first, second = found.machines
    assert not set(first.now.measurements) & set(second.now.measurements)
    other = next((tmp_path / "reports/site/machines").iterdir())
    root = Page(tmp_path / "reports/site/index.html")
    assert f"machines/{other.name}/index.html" in [a["href"] for a in root.all("a")]
    assert "refuted in 1" not in root.text
    assert "refuted in 1" in (other / "index.html").read_text()


def test_records_of_several_versions_say_so(report, tmp_path):
    older = msgspec.structs.replace(HERE, torch="2.6.0")
    assert report([verdict(), verdict(check="form"), verdict(check="laws", environment=older)]).exit_code == 0
    text = (tmp_path / "reports/site/environment.html").read_text()
    assert text.index("2.13.0") < text.index("with torch 2.6.0")
    assert not (tmp_path / "reports/site/machines").exists()


def test_records_join_the_history_of_their_machine(tmp_path):
    reporting.write_history(tmp_path / "history", 3)
    records.write(tmp_path / "found.jsonl", [verdict()])
    (machine,) = gather([tmp_path / "found.jsonl"], tmp_path / "history").machines
    assert machine.name == "made-up"
    assert len(machine.nights) == 3
    assert machine.before is not None
    assert machine.before.label.startswith("2026-01-03")


def test_without_files_the_latest_night_is_shown_beside_the_one_before(tmp_path):
    reporting.write_history(tmp_path, 3, [("cumsum:hillis_steele", 2, 2.0)])
    (machine,) = gather([], tmp_path).machines
    assert any(c.implementation == "hillis_steele" and c.kind == "slower" for c in changes(machine.before, machine.now))
    baseline = next(curve for series, curve in machine.curves.items() if series.implementation == "torch_cumsum")
    assert list(baseline.ratios) == [1.0] * 3


def with_gpu(name):
    return msgspec.structs.replace(HERE, device=name)


def test_records_with_and_without_the_gpu_are_one_machines(tmp_path):
    """Some were made where CUDA was hidden; of two records of one thing the later one counts."""
    hidden = [verdict(), verdict(check="form", status="refuted")]
    seen = [verdict(device="cuda", environment=with_gpu("H100")), verdict(check="form", environment=with_gpu("H100"))]
    records.write(tmp_path / "hidden.jsonl", hidden)
    records.write(tmp_path / "seen.jsonl", seen)
    for order, form in ((("hidden", "seen"), "holds"), (("seen", "hidden"), "refuted")):
        (machine,) = gather([tmp_path / f"{name}.jsonl" for name in order], tmp_path / "none").machines
        assert machine.before is None
        assert {(v.check, v.device, v.status) for v in machine.now.verdicts} == {
            ("agreement", "cpu", "holds"),
            ("agreement", "cuda", "holds"),
            ("form", "cpu", form),
        }


def test_two_gpus_are_two_machines_and_nothing_is_lost(tmp_path):
    history.add_night(night(environment=with_gpu("H100")), [measurement()], tmp_path / "history")
    for number, gpu in enumerate(("H100", "A100", "")):
        records.write(tmp_path / f"{number}.jsonl", [verdict(device="cuda", environment=with_gpu(gpu))])
    found = gather([tmp_path / f"{number}.jsonl" for number in range(3)], tmp_path / "history").machines
    assert [(m.environment.device, len(m.now.verdicts), bool(m.nights)) for m in found] == [
        ("H100", 1, True),
        ("A100", 1, False),
        ("", 1, False),
    ]


def test_bad_lines_are_named_and_the_rest_is_shown(report, tmp_path):
    good = records.encode(verdict())
    newer = good.replace(b'"format":4', b'"format":9')
    done = report([], content=b"\n".join([good, newer, good[:50], b"\xff\x00", b"[]"]) + b"\n")
    assert done.exit_code == 0
    for number, words in (
        (2, "format 9; this version of opjury reads formats 1, 2, 3 and 4"),
        (3, "truncated"),
        (4, ""),
        (5, ""),
    ):
        assert re.search(rf"line {number}: .*{words}", done.stderr), done.stderr
    text = (tmp_path / "reports/site/index.html").read_text()
    assert "torch_cumsum" in text.replace("<wbr>", "")
    assert "format 9" in text


def test_many_bad_lines_are_counted(tmp_path):
    (tmp_path / "bad.jsonl").write_text("{\n" * 1000)
    problems = []
    assert records.lenient(tmp_path / "bad.jsonl", problems) == []
    assert len(problems) == 1000


@pytest.mark.parametrize("content", [b"\n", b"{\n", b"nonsense"])
def test_no_records_is_3_with_what_to_do(report, content):
    done = report([], content=content)
    assert done.exit_code == 3
    assert "opjury audit --json F" in done.stderr


def test_an_unknown_file_is_2(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["report", "nothing.jsonl"])
    assert done.exit_code == 2
    assert "does not exist" in done.stderr


def test_a_folder_that_holds_something_else_is_left_alone(report, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years")
    done = report([verdict()], "--output", "precious")
    assert done.exit_code == 2
    assert "is no report" in done.stderr
    assert [p.name for p in (tmp_path / "precious").iterdir()] == ["thesis.txt"]


def test_a_report_is_replaced_whole(report, tmp_path):
    assert report([verdict(), verdict(operation="gather", implementation="torch_gather")]).exit_code == 0
    assert report([verdict()]).exit_code == 0
    assert [p.name for p in (tmp_path / "reports/site/operations").iterdir()] == ["cumsum.html"]
    assert [p.name for p in (tmp_path / "reports").iterdir()] == ["site"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_and_messages_are_only_text(report, tmp_path, text):
    found = [
        verdict(text, text, status="refuted", message=text, observed=text, expected=text, script=text, counterexample={"args": text}),
        verdict(text, "other", check=text, dtypes=(text,), device=text, status="refuted"),
        *(measurement(text, name, n=n, ratio=2.0, reference=text) for n in (1, 10, 100) for name in (text, "b", "c")),
        recommendation(),
    ]  # fmt: skip
    done = report(found, "--table", "t.csv", "--sarif", "s.json", "--junit", "j.xml")
    assert done.exit_code == 0, done.output
    inside = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert all(path.name in ("found.jsonl", "t.csv", "s.json", "j.xml") or "site" in path.parts for path in inside)
    for path in (tmp_path / "reports/site").rglob("*.html"):
        page = Page(path)
        for tag, attributes in page.tags:
            assert tag != "img"
            assert not any(name.startswith("on") for name in attributes)
            assert not attributes.get("href", "").startswith("javascript")
        assert all(s.get("src", "").endswith(".js") or s.get("type") == "application/json" for s in page.all("script"))
        for figure in page.figures:
            plotly.graph_objects.Figure(figure)
            assert "<" not in json.dumps([trace["name"] for trace in figure["data"] if "name" in trace])
    assert "49" not in re.sub(r"[^ ]*49[^ ]*:", "", (tmp_path / "reports/site/index.html").read_text())


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1e308, 5e-324])
@pytest.mark.parametrize("field", ["seconds", "ratio", "low", "floor_seconds", "error_ulps"])
def test_numbers_that_cannot_be_are_shown_as_they_are(report, tmp_path, field, value):
    found = [measurement(implementation=name, n=n, **{field: value}) for n in (1, 10, 100) for name in ("a", "b")]
    done = report([*found, measurement(), verdict(error_of_bound=value, error_ulps=value)], "--table", "t.csv")
    assert done.exit_code == 0, done.output
    page = Page(tmp_path / "reports/site/operations/cumsum.html")
    assert page.figures
    for text in re.findall(r'data-all="([^"]*)"', (tmp_path / "reports/site/index.html").read_text()):
        json.loads(text.replace("&#34;", '"'), parse_constant=pytest.fail)


def test_sizes_that_cannot_be_are_in_the_table(report, tmp_path):
    assert report([measurement(n=n) for n in (-5, 0, 10, 2**62)]).exit_code == 0
    assert "n=-5" in (tmp_path / "reports/site/operations/cumsum.html").read_text()


def test_a_hostile_docstring_cannot_inject(report, tmp_path, monkeypatch):
    entry = registry.entry("cumsum", "torch_cumsum")
    monkeypatch.setattr(entry.function, "__doc__", "</p><script>alert(1)</script>\n\n    <b>pre</b>")
    assert report([verdict()]).exit_code == 0
    text = (tmp_path / "reports/site/operations/cumsum.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_open_shows_the_start_page(report, tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    assert report([verdict()], "--open").exit_code == 0
    assert shown == [(tmp_path / "reports/site/index.html").as_uri()]


def test_the_file_of_a_night_is_a_record_file_too(tmp_path):
    reporting.write_history(tmp_path / "history", 1)
    (night,) = (tmp_path / "history").rglob("*.jsonl")
    (machine,) = gather([night], tmp_path / "none").machines
    assert machine.name == "Linux x86_64, 2 cores, made up"
    assert len(machine.now.standings) == len(registry.implementations())
    assert machine.now.measurements


def test_an_unfinished_night_is_left_alone(tmp_path):
    reporting.write_history(tmp_path, 2)
    (tmp_path / "made-up" / ".tonight.jsonl").write_text("{")
    found = gather([], tmp_path)
    assert len(found.machines[0].nights) == 2
    assert not found.problems


def test_names_that_differ_have_pages_that_differ(report, tmp_path):
    assert report([verdict("a/b", "x"), verdict("a?b", "x"), verdict("A_b", "x")]).exit_code == 0
    assert len(list((tmp_path / "reports/site/operations").iterdir())) == 3


def test_a_standing_sums_up_the_verdicts_before_it_and_not_those_after_it():
    wrong = verdict(check="form", status="refuted", control=True, counterexample={"args": []})
    kept = list(history.in_short([verdict(check="agreement"), wrong]))
    assert kept[0] == wrong
    assert State.of("", kept).standings["cumsum:torch_cumsum", "cpu"].verdicts == {
        "agreement": "holds",
        "form": "refuted",
    }
    later = State.of("", [*kept, verdict(check="form")])
    assert later.standings["cumsum:torch_cumsum", "cpu"].verdicts == {"form": "holds"}
