"""The static site: pages from templates, written into a new folder that replaces the old one when it is complete."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import itertools
import math
import operator
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from opjury.cli.text import times
from opjury.cli.verdicts import STATE_MARKS, Tally, state_legend, state_of, worst_standings
from opjury.model import declared, registry
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
_place_of_state = list(STATE_MARKS).index


class NotOurs(ValueError):
    """A folder that holds something else than a report."""


def build(found: Found, output: Path) -> None:
    """Write the site of all machines. Its root shows the first one.

    Raises
    ------
    NotOurs
        When `output` exists and is not a report: only reports are replaced.
    """
    if output.exists() and not (output / MARKER).exists() and (not output.is_dir() or any(output.iterdir())):
        raise NotOurs(f"{output} exists and is no report; give --output another folder")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as beside:
        made = Path(beside, "site")
        _write(found, made)
        if output.exists():
            shutil.rmtree(output)
        made.rename(output)


def _write(found: Found, folder: Path) -> None:
    (folder / "assets").mkdir(parents=True)
    (folder / MARKER).touch()
    here = importlib.resources.files("opjury.report") / "assets"
    plotly = importlib.resources.files("plotly") / "package_data"
    for asset in (here / "style.css", here / "site.js", plotly / "plotly.min.js"):
        (folder / "assets" / asset.name).write_bytes(asset.read_bytes())
    slugs = Slugs()
    homes = {m.name: "" if i == 0 else f"machines/{slugs[m.name]}/" for i, m in enumerate(found.machines)}
    templates = rendering.template_environment(slugs)
    for machine in found.machines:
        site = _Site(templates, folder, found, machine, homes, slugs)
        site.start()
        for name in machine.now.operations:
            site.operation(name)
        site.regressions()
        site.environment()
        if not homes[machine.name]:
            site.questions()
            site.page("findings.html", findings=questions.document("findings.md"))


@dataclass
class _Site:
    """The pages of one machine."""

    templates: jinja2.Environment
    folder: Path
    found: Found
    machine: Machine
    homes: dict[str, str]
    slugs: Slugs

    def page(self, template: str, path: str = "", **context: Any) -> None:
        """Write one page. `path`, by default the template's name, is relative to the machine's pages."""
        path = path or template
        home = self.homes[self.machine.name]
        up = "../" * path.count("/")
        root = up + "../" * home.count("/")
        pages = [(name, (root if name in SHARED else up) + href) for name, href in PAGES.items()]
        machines = [(m.name, self.homes[m.name] + "index.html") for m in self.found.machines]
        text = self.templates.get_template(template).render(
            root=root, home=up, pages=pages, machines=machines, machine=self.machine, **context
        )
        self._write(path, text)

    def _write(self, path: str, text: str) -> None:
        target = self.folder / self.homes[self.machine.name] / path
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
        rows = _rows(machine, workloads, usual, changed)
        use = {w.operation: r.implementation for w, r in now.recommendations.items() if workload_name(w) == usual}
        by_state = sorted(rows, key=lambda row: _place_of_state(row["state"]))
        self.page(
            "index.html",
            rows=rows,
            operations=[
                (name, [r for r in by_state if r["operation"] == name], use.get(name, "")) for name in now.operations
            ],
            marks=state_legend([row["state"] for row in rows]),
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
            self._write(file, script)
        self.page("operation.html", f"operations/{self.slugs[name]}.html", **context)

    def questions(self) -> None:
        """All questions, and a page for each."""
        asked = questions.judged()
        claims = [claim for question in asked for claim in question.claims]
        self.page("questions.html", questions=asked, total=len(claims), news=sum(claim.news for claim in claims))
        torch = importlib.metadata.version("torch")
        for question in asked:
            self.page("question.html", f"questions/{question.slug}.html", question=question, torch=torch)

    def regressions(self) -> None:
        """What the search of the history found, and the history itself."""
        machine = self.machine
        alarmed = dict.fromkeys(alarm.setting for alarm in machine.alarms if alarm.kind == "time")
        self.page(
            "regressions.html",
            charts=[chart for setting in alarmed if (chart := charts.over_time(machine, setting))][:_CHARTS],
            histories=sorted({series.setting.operation for series in machine.curves}),
            window=min(WINDOW, len(machine.nights)),
            alarms=[_alarm(alarm) for alarm in machine.alarms],
            versions=_versions(machine),
        )

    def environment(self) -> None:
        """The machine and the versions of the libraries, and what was read."""
        now = self.machine.now
        names = ("machine", "processor", "clock", "device", "python", "torch", "build", "numpy", "scipy", "opjury")
        facts = [(name, getattr(self.machine.environment, name, "")) for name in names]
        for e in self.machine.others:
            versions = f"torch {e.torch}, NumPy {e.numpy}, SciPy {e.scipy}, Python {e.python}, opjury {e.opjury}"
            facts.append(("some records", f"with {versions}"))
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
        self.page("environment.html", facts=facts, problems=told(self.found.problems))


def _rows(machine: Machine, workloads: Sequence[str], usual: str, changed: Sequence[Change]) -> list[dict[str, Any]]:
    """Every implementation that was judged or measured, the fastest of each operation first. Speeds and errors are by workload."""
    standings = worst_standings(machine.now.standings.values())
    measured: dict[tuple[str, str], dict[str, Measurement]] = {}
    for series, m in machine.now.measurements.items():
        if (workload := workload_name(series.setting)) in workloads:
            measured.setdefault((m.operation, m.implementation), {})[workload] = m
    rows = []
    for key in sorted(standings.keys() | {(m.operation, m.implementation) for m in machine.now.measurements.values()}):
        standing, mine = standings.get(key), measured.get(key, {})
        state, words = state_of(standing)
        news = [c.text for c in changed if (c.operation, c.implementation) == key]
        rows.append(
            dict(
                operation=key[0],
                implementation=key[1],
                state=state,
                verdict=words,
                mark=STATE_MARKS[state],
                speeds={name: (times(m.ratio), round(m.ratio, 4)) for name, m in mine.items()},
                errors={name: charts.ulps(m.error_ulps) for name, m in mine.items()},
                of_bound=charts.fraction(standing.error_of_bound if standing else 0.0),
                changed=news[0] + (f", and {len(news) - 1} more" if len(news) > 1 else "") if news else "",
            )
        )

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        _, ratio = row["speeds"].get(usual, ("", None))
        return row["operation"], ratio or math.inf, _place_of_state(row["state"]), row["implementation"]

    return sorted(rows, key=order)


def _alarm(alarm: Alarm) -> tuple[str, ...]:
    doubt = " (not seen when measured again)" if alarm.confirmed is False else ""
    _, _, changed = between(alarm).partition(", ")
    return alarm.since[:10], alarm.kind + doubt, subject(alarm), change(alarm), changed, alarm.command


def _versions(machine: Machine) -> list[tuple[str, ...]]:
    """The date since which each combination of versions was used, and the versions."""
    versions = operator.attrgetter("torch", "numpy", "scipy", "python")
    nights = [(night.date[:10], *versions(night.environment)) for night in machine.nights]
    return [next(same) for _, same in itertools.groupby(nights, key=lambda night: night[1:])]
