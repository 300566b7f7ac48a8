"""The static site: pages from templates, written beside what was there and put in its place when they are all made."""

from __future__ import annotations

import importlib.resources
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from opjury.cli.text import times
from opjury.cli.verdicts import STATE_MARKS, Tally, state_legend, state_of, worst_standings
from opjury.model import declared, registry
from opjury.model.outcome import OutcomeState
from opjury.model.records import Alarm, Measurement
from opjury.report import charts, operation, questions, rendering
from opjury.report.changes import Change, changes
from opjury.report.gather import Found, Machine, default_workload, told, workload_name
from opjury.report.rendering import Slugs
from opjury.track.change_points import WINDOW
from opjury.track.show import between, change, subject

MARKER = ".opjury-report"
PAGES = {
    "Operations": "index.html",
    "Questions": "questions.html",
    "Regressions": "regressions.html",
    "Environment": "environment.html",
    "Findings": "findings.html",
}
SHARED = ("Questions", "Findings")  # the same for all machines
_CHARTS = 40  # on the page of regressions; the others are on the pages of their operations


class NotOurs(ValueError):
    """A folder that holds something else than a report."""


def build(found: Found, output: Path) -> None:
    """Write the site of all machines; the one that was looked at last is at its root.

    Raises
    ------
    NotOurs
        When `output` is there and no report: nothing of other people's is replaced.
    """
    if output.exists() and not (output / MARKER).exists() and (not output.is_dir() or any(output.iterdir())):
        raise NotOurs(f"{output} is there and is no report; give --output another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}."))
    try:
        beside.chmod(0o755)
        _write(found, beside)
        if output.exists():
            shutil.rmtree(output)
        beside.rename(output)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _write(found: Found, folder: Path) -> None:
    (folder / MARKER).touch()
    (folder / "assets").mkdir()
    here = importlib.resources.files("opjury.report") / "assets"
    for name in ("style.css", "site.js"):
        (folder / "assets" / name).write_bytes((here / name).read_bytes())
    drawing = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    (folder / "assets" / "plotly.min.js").write_bytes(drawing.read_bytes())
    slugs = Slugs()
    homes = {m.name: "" if i == 0 else f"machines/{slugs(m.name)}/" for i, m in enumerate(found.machines)}
    templates = rendering.template_environment(slugs)
    asked = questions.judged()
    for machine in found.machines:
        site = _Site(templates, folder, found, machine, homes, slugs)
        site.start()
        for name in machine.now.operations:
            site.operation(name)
        site.regressions()
        site.environment()
        if not homes[machine.name]:
            site.questions(asked)
            site.findings()


Cell = tuple[str, float | None]  # a number as text, and to sort by


class _Row(NamedTuple):
    """One implementation in the matrix; its speed and error at the usual workload, and at the others by number."""

    operation: str
    implementation: str
    state: OutcomeState
    verdict: str
    mark: str
    href: str
    speed: Cell
    speeds: dict[str, Cell]
    error: Cell
    errors: dict[str, Cell]
    of_bound: Cell
    changed: str


@dataclass
class _Site:
    """The pages of one machine."""

    templates: jinja2.Environment
    folder: Path
    found: Found
    machine: Machine
    homes: dict[str, str]
    slug: Slugs

    def _page(self, template: str, path: str, page: str = "", **context: Any) -> None:
        """Write one page; `path` is relative to the machine's pages."""
        home = self.homes[self.machine.name]
        up = "../" * path.count("/")
        root = up + "../" * home.count("/")
        pages = [(name, (root if name in SHARED else up) + href) for name, href in PAGES.items()]
        machines = [(m.name, self.homes[m.name] + "index.html") for m in self.found.machines]
        text = self.templates.get_template(template).render(
            root=root, home=up, pages=pages, page=page, machines=machines, machine=self.machine, **context
        )
        target = self.folder / home / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def start(self) -> None:
        """The matrix of all implementations, and what changed."""
        machine, now = self.machine, self.machine.now
        changed = changes(machine.before, now)
        usual = default_workload(now)
        names = dict.fromkeys(workload_name(w) for w in now.contests)
        known = {name for o in registry.operations() for name in registry.workload(o.name).sizes}
        workloads = [n for n in names if n == usual or n.partition(" ")[0] in known]
        table = rows(machine, workloads, changed, self.slug)
        use = {w.operation: r.implementation for w, r in now.recommendations.items() if workload_name(w) == usual}
        states = [row.state for row in table]
        self._page(
            "start.html",
            "index.html",
            "Operations",
            rows=table,
            operations=[dict(name=name, rows=_by_state(table, name), use=use.get(name, "")) for name in now.operations],
            marks=state_legend(states),
            workload=usual,
            workloads=workloads,
            changes=changed,
            problems=told(self.found.problems),
            tally=Tally.of(now.standings.values()),
            examples=sum(s.examples for s in now.standings.values()),
        )

    def operation(self, name: str) -> None:
        """One operation, and its replay scripts."""
        context = operation.page(self.machine, name)
        for file, script in context.pop("scripts").items():
            target = self.folder / self.homes[self.machine.name] / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(script, encoding="utf-8")
        self._page("operation.html", f"operations/{self.slug(name)}.html", **context)

    def questions(self, asked: Sequence[questions.Question]) -> None:
        """All questions, and a page for each."""
        claims = [claim for question in asked for claim in question.claims]
        news = sum(claim.news for claim in claims)
        self._page("questions.html", "questions.html", "Questions", questions=asked, total=len(claims), news=news)
        torch = questions.torch_version()
        for question in asked:
            self._page("question.html", f"questions/{question.slug}.html", "Questions", question=question, torch=torch)

    def regressions(self) -> None:
        """What the search of the history found, and the history itself."""
        machine = self.machine
        alarmed = dict.fromkeys(alarm.setting for alarm in machine.alarms if alarm.kind == "time")
        shown = [chart for setting in alarmed if (chart := charts.over_time(machine, setting))][:_CHARTS]
        self._page(
            "regressions.html",
            "regressions.html",
            "Regressions",
            charts=shown,
            histories=sorted({series.setting.operation for series in machine.curves}),
            window=min(WINDOW, len(machine.nights)),
            alarms=[_alarm(alarm) for alarm in machine.alarms],
            versions=list(_versions(machine)),
        )

    def environment(self) -> None:
        """Where and with what everything was found."""
        where, now = self.machine.environment, self.machine.now
        facts = [
            (name, value)
            for name in (
                "machine",
                "processor",
                "clock",
                "device",
                "python",
                "torch",
                "build",
                "numpy",
                "scipy",
                "opjury",
            )
            if (value := getattr(where, name, ""))
        ]
        facts += [
            (
                "some records",
                f"with torch {e.torch}, NumPy {e.numpy}, SciPy {e.scipy}, Python {e.python}, opjury {e.opjury}",
            )
            for e in self.machine.others
        ]
        seeds = sorted({v.seed for v in now.verdicts})
        facts += [
            ("records", now.label),
            ("verdicts", f"{len(now.verdicts):,} in full, {len(now.standings):,} implementations in short"),
            ("measurements", f"{len(now.measurements):,} at {len(now.contests):,} workloads"),
            ("seeds", ", ".join(map(str, seeds[:8])) + (" …" if len(seeds) > 8 else "")),
            ("nights", f"{len(self.machine.nights):,}" if self.machine.nights else ""),
            ("left out", "; ".join(declared.problems)),
        ]
        facts = [(term, words) for term, words in facts if words]
        self._page(
            "environment.html", "environment.html", "Environment", facts=facts, problems=told(self.found.problems)
        )

    def findings(self) -> None:
        """What audits found in released libraries."""
        self._page("findings.html", "findings.html", "Findings", findings=questions.document("findings.md"))


def rows(machine: Machine, workloads: Sequence[str], changed: Sequence[Change], slug: Slugs) -> list[_Row]:
    """The matrix: every implementation that was judged or measured, the fastest of each operation first."""
    now, usual, blank = machine.now, default_workload(machine.now), ("", None)
    standings = worst_standings(now.standings.values())
    measured: dict[tuple[str, str], dict[str, Measurement]] = {}
    for series, m in now.measurements.items():
        measured.setdefault((m.operation, m.implementation), {})[workload_name(series.setting)] = m
    found = []
    for key in standings.keys() | measured.keys():
        standing, mine = standings.get(key), measured.get(key, {})
        state, words = state_of(standing)
        news = [c.text for c in changed if (c.operation, c.implementation) == key]
        speeds: dict[str, Cell] = {n: (times(m.ratio), round(m.ratio, 4)) for n, m in mine.items()}
        errors = {n: charts.ulps(m.error_ulps) for n, m in mine.items()}
        found.append(
            _Row(
                *key,
                state=state,
                verdict=words,
                mark=STATE_MARKS[state],
                href=f"operations/{slug(key[0])}.html#{slug(key[1])}",
                speed=speeds.get(usual, blank),
                speeds={str(i): speeds[n] for i, n in enumerate(workloads) if n in speeds},
                error=errors.get(usual, blank),
                errors={str(i): errors[n] for i, n in enumerate(workloads) if n in errors},
                of_bound=charts.fraction(standing.error_of_bound) if standing else blank,
                changed=news[0] + (f", and {len(news) - 1} more" if len(news) > 1 else "") if news else "",
            )
        )
    states = list(STATE_MARKS)
    return sorted(found, key=lambda r: (r.operation, r.speed[1] or math.inf, states.index(r.state), r.implementation))


def _by_state(table: Sequence[_Row], name: str) -> list[_Row]:
    states = list(STATE_MARKS)
    return sorted((row for row in table if row.operation == name), key=lambda row: states.index(row.state))


def _alarm(alarm: Alarm) -> tuple[Any, ...]:
    doubt = " (not seen when measured again)" if alarm.confirmed is False else ""
    return (
        alarm.since[:10],
        alarm.kind + doubt,
        subject(alarm),
        change(alarm),
        between(alarm).partition(", ")[2],
        alarm.command,
    )


def _versions(machine: Machine) -> Iterator[tuple[str, ...]]:
    last = None
    for night in machine.nights:
        where = night.environment
        versions = (where.torch, where.numpy, where.scipy, where.python)
        if versions != last:
            yield (night.date[:10], *versions)
        last = versions
