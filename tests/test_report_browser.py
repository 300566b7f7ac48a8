"""The site in a real browser: charts draw, tables sort and filter, nothing is logged, axe finds nothing serious."""

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.figures import reporting
from opjury.cli.main import main
from opjury.model import records, registry
from opjury.report import gather, questions
from opjury.report.site import build
from tests.made_up import HOSTILE, measurement, recommendation, verdict

pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install .[browser]")
if reporting.browser() is None:
    pytest.skip("no Chromium is installed: apt-get install chromium", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

pytestmark = pytest.mark.slow(reason="a browser")
WIDTHS = (1280, 390)
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    sizes = (100, 1000, 10_000)
    ratios = (("torch_cumsum", lambda n: 1.0), ("hillis_steele", lambda n: 3e3 / n))
    sweep = [measurement(n=n, implementation=name, ratio=ratio(n)) for n in sizes for name, ratio in ratios]
    sweep += [recommendation(n, "torch_cumsum" if n < 5000 else "hillis_steele") for n in sizes]
    small = [
        measurement("gather", name, sizes=dict(n=n), ratio=ratio, reference="torch_gather", error_ulps=0.5 * ratio)
        for name, ratio in (("torch_gather", 1.0), ("flat_index", 2.0))
        for n in sizes
    ]
    hostile = [verdict(text, text, status="refuted", message=text, script=text) for text in HOSTILE]
    hostile += [measurement(HOSTILE[1], name, n=n) for n in sizes for name in HOSTILE]
    named = reporting.measurements(np.random.default_rng(0), environment=reporting.WHERE)
    records.write(folder / "found.jsonl", [*reporting.verdicts(), *sweep, *small, *named, *hostile])
    reporting.write_history(folder / "history", 20, [("cumsum:hillis_steele", 5, 1.5)])
    arguments = [folder / "found.jsonl", "--history", folder / "history", "--output", folder / "site"]
    done = CliRunner().invoke(main, ["report", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return folder / "site"


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=reporting.browser(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(chromium):
    """A tab that notes whatever is logged, goes wrong, or is asked of a network."""
    page = chromium.new_page(viewport=dict(width=WIDTHS[0], height=900))
    page.set_default_timeout(20_000)
    page.noted = []
    page.on("console", lambda message: page.noted.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.noted.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (page.noted.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:", "blob:")) or page.noted.append(request.url)
    )
    yield page
    page.close()


def drawn(tab, path):
    """Open a page and wait until all of its charts have drawn; their number."""
    tab.goto(path.as_uri())
    plots = tab.locator(".plot")
    for i in range(plots.count()):
        plots.nth(i).scroll_into_view_if_needed()
        plots.nth(i).locator(".main-svg").first.wait_for(state="attached")
    return plots.count()


def test_every_page_opens_and_every_chart_draws(site, tab):
    charts = 0
    for path in sorted(site.rglob("*.html")):
        charts += drawn(tab, path)
        assert tab.locator("h1").count() == 1, path
        assert not tab.noted, path
    assert charts > 40


def test_a_chart_shows_its_traces_and_its_table_has_the_same_numbers(site, tab):
    assert drawn(tab, site / "operations" / "cumsum.html") >= 4
    chart = tab.locator("figure.chart", has_text="Time over n").first
    assert chart.locator(".scatterlayer .trace").count() == 3
    assert chart.locator(".shapelayer path").count() == 1
    chart.locator("summary").click()
    assert chart.locator("tbody tr").count() == 6


def test_the_filter_by_words_and_by_verdict(site, tab):
    tab.goto((site / "index.html").as_uri())
    shown = tab.locator("#matrix tbody tr:visible")
    everyone = shown.count()
    tab.get_by_label("Name").fill("cumsum torch")
    assert shown.all_inner_texts()
    assert all("torch_cumsum" in text for text in shown.all_inner_texts())
    assert tab.locator("form.filter output").inner_text() == f"{shown.count()} of {everyone}"
    tab.get_by_label("Name").fill("")
    tab.get_by_label("Verdict").select_option("control")
    assert 0 < shown.count() < everyone
    assert all("known to be wrong" in text for text in shown.all_inner_texts())
    tab.get_by_label("Verdict").select_option("")
    assert shown.count() == everyone


def test_sorting_by_numbers_and_by_names_with_blanks_last(site, tab):
    tab.goto((site / "index.html").as_uri())
    head = tab.locator("#matrix th", has_text="× best")
    speeds = "Array.from(document.querySelectorAll('#matrix tbody tr'), (row) => row.cells[3].dataset.sort)"
    for direction, sign in (("ascending", 1), ("descending", -1)):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        found = tab.evaluate(speeds)
        numbers = [sign * float(value) for value in found if value]
        assert numbers == sorted(numbers)
        assert len(numbers) > 100
        assert not any(found[len(numbers) :])
    tab.locator("#matrix th", has_text="implementation").get_by_role("button").focus()
    tab.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") is None
    names = tab.evaluate("Array.from(document.querySelectorAll('#matrix tbody th a'), (link) => link.textContent)")
    assert names.index("blelloch") < names.index("hillis_steele") < names.index("torch_cumsum")


def test_another_workload_shows_its_own_numbers(tab, tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "judged", list)
    sizes = registry.workload("cumsum").sizes
    both = [measurement(sizes=dict(sizes[name]), ratio=ratio) for name, ratio in (("medium", 1.0), ("large", 4.0))]
    records.write(tmp_path / "found.jsonl", both)
    build(gather.gather([tmp_path / "found.jsonl"], tmp_path / "none"), tmp_path / "site")
    tab.goto((tmp_path / "site" / "index.html").as_uri())
    cell = tab.locator("#matrix tbody td.measured").first
    assert cell.inner_text() == "1"
    tab.get_by_label("Workload").select_option(label="large")
    assert cell.inner_text() == "4"
    assert cell.get_attribute("data-sort") == "4"
    assert tab.locator(".workload").inner_text() == "large"


def test_the_skip_link_and_the_keyboard(site, tab):
    tab.goto((site / "index.html").as_uri())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.url.endswith("#main")


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("index", "light"),
        ("index", "dark"),
        ("operations/cumsum", "light"),
        ("operations/gather", "dark"),
        ("questions", "light"),
        ("questions/mean_of_slices", "dark"),
        ("regressions", "light"),
        ("environment", "light"),
        ("findings", "dark"),
    ],
)
def test_axe_finds_nothing_serious(site, tab, scheme, name):
    tab.emulate_media(color_scheme=scheme)
    drawn(tab, site / f"{name}.html")
    tab.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    found = Axe().run(tab)
    grave = [v for v in found.response["violations"] if v["impact"] in SERIOUS]
    assert not grave, [(v["id"], [node["html"][:200] for node in v["nodes"][:3]]) for v in grave]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_page_is_wider_than_the_window(site, tab, tmp_path, width):
    tab.set_viewport_size(dict(width=width, height=900))
    for name in (
        "index",
        "operations/cumsum",
        "operations/slice_mean",
        "questions/doubling_loop",
        "regressions",
        "environment",
        "findings",
    ):
        drawn(tab, site / f"{name}.html")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, name
        picture = tmp_path / f"{name.replace('/', '-')}-{width}.png"
        tab.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 10_000
