"""An operation's page as data: the contract, the verdicts, what it costs, who is wrong and why, who competes."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

from opjury.cli.terminal import in_declared_order
from opjury.cli.text import memory, seconds, times
from opjury.cli.verdicts import STATUS_MARKS, state_of, worst_standings
from opjury.model import registry
from opjury.model.implementation import Implementation
from opjury.model.operation import KINDS
from opjury.model.records import Measurement, Standing, Verdict
from opjury.model.setting import Setting
from opjury.report import charts
from opjury.report.gather import Machine, default_workload, workload_name
from opjury.track.history import file_name

_LONGEST = 300  # of a case that is shown


def page(machine: Machine, name: str) -> dict[str, Any]:
    """What the template of an operation needs, and its replay scripts: `scripts`, by file."""
    now = machine.now
    contract = next((o for o in registry.operations() if o.name == name), None)
    registered = {e.name: e for e in registry.implementations() if e.operation == name}
    standings = [s for s in now.standings.values() if s.operation == name]
    verdicts = [v for v in now.verdicts if v.operation == name]
    contests = {w: ms for w, ms in now.contests.items() if w.operation == name}
    chosen = {w: r for w, r in now.recommendations.items() if w.operation == name}
    names = dict.fromkeys(
        [
            *registered,
            *(s.implementation for s in standings),
            *(m.implementation for ms in contests.values() for m in ms),
        ]
    )
    by_name = {n: [v for v in verdicts if v.implementation == n] for n in names}
    scripts = {script_file(v): v.script for v in verdicts if v.status == "refuted" and v.script}
    standing_of = {implementation: s for (_, implementation), s in worst_standings(standings).items()}
    lines = charts.chart_lines(contests, chosen)
    swept = {w for line in lines for ms in line.points.values() for w, own in contests.items() if own is ms}
    single = [w for w in contests if w not in swept or "=" not in workload_name(w)]
    checks = in_declared_order({check for s in standings for check in s.verdicts})
    usual = _usual(contests, default_workload(now))
    found: list[charts.Chart | None] = [chart for line in lines for chart in charts.over_size(line)]
    found += [charts.errors(verdicts), charts.pareto(workload_name(usual), contests[usual]) if usual else None]
    seen = {s for st in standings for s in st.verdicts.values()}
    return dict(
        name=name,
        contract=contract,
        words=inspect.getdoc(inspect.getmodule(contract.reference)) or contract.summary if contract else "",
        kind=KINDS[contract.kind] if contract else "",
        reference=_source(contract.reference) if contract else "",
        chosen=[(workload_name(w), r) for w, r in chosen.items() if w in single or w not in contests],
        checks=checks,
        matrix=[_row(s, checks) for s in standings],
        marks=[(status.replace(" ", "_"), mark, status) for status, mark in STATUS_MARKS.items() if status in seen],
        controls=any(s.control for s in standings),
        charts=[chart for chart in found if chart],
        nights=[chart for chart in _history(machine, name) if chart],
        contests=[_contest(w, contests[w]) for w in single],
        wrong=[_wrong(vs) for n, vs in by_name.items() if any(v.status == "refuted" for v in vs)],
        competitors=[_competitor(n, registered.get(n), standing_of.get(n), by_name[n]) for n in names],
        scripts=scripts,
    )


def _row(standing: Standing, checks: Sequence[str]) -> dict[str, Any]:
    statuses = [standing.verdicts.get(check, "") for check in checks]
    order = ("", *STATUS_MARKS)
    return dict(
        name=standing.implementation,
        device=standing.device,
        control=standing.control,
        cells=[(s, STATUS_MARKS.get(s, ""), order.index(s)) for s in statuses],
        examples=standing.examples,
        error=charts.fraction(standing.error_of_bound),
    )


def _usual(contests: dict[Any, list[Measurement]], name: str) -> Any:
    """The contest whose speed and error are drawn: the usual workload, or the last one."""
    return next((w for w in contests if workload_name(w) == name), next(reversed(contests), None))


def _history(machine: Machine, name: str) -> list[charts.Chart | None]:
    workloads = dict.fromkeys(series.setting for series in machine.curves if series.setting.operation == name)
    return [charts.over_time(machine, workload) for workload in workloads]


def _contest(setting: Setting, found: Sequence[Measurement]) -> dict[str, Any]:
    columns = ("implementation", "time", "× best", "99 %", "× floor", "memory", "error", "2nd order")
    rows = [
        (
            m.implementation + (" w" if m.waived else ""),
            (seconds(m.seconds), m.seconds),
            (times(m.ratio), m.ratio),
            ("" if m.implementation == m.reference else f"{m.low:.3g}–{m.high:.3g}" if m.low else "obvious", m.low),
            (times(m.of_floor), m.of_floor) if m.floor_seconds else ("", 0),
            (memory(m.peak_bytes), m.peak_bytes or 0),
            charts.ulps(m.error_ulps),
            "yes" if m.second_order else "",
        )
        for m in found
    ]
    called, sizes = workload_name(setting), setting.shown_sizes
    title = called if sizes in called else f"{called}: {sizes}"
    return dict(title=title, columns=columns, rows=rows, floor=seconds(found[0].floor_seconds))


def script_file(verdict: Verdict) -> str:
    """Where the replay script of a verdict is, in the site."""
    parts = (verdict.operation, verdict.implementation, verdict.check, *verdict.dtypes[:1], verdict.device)
    return f"replay/{'-'.join(file_name(part) for part in parts)}.py"


def _wrong(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The refutations of one implementation: for each check that fails for a reason of its own, the smallest case."""
    refuted = [v for v in verdicts if v.status == "refuted"]
    own: dict[str, Verdict] = {}
    for v in sorted(refuted, key=lambda v: len(str(v.counterexample)) if v.counterexample else 10**9):
        if not v.cause:
            own.setdefault(v.check, v)
    follows = {v.check: v.cause for v in refuted if v.check not in own}
    return dict(
        name=verdicts[0].implementation,
        control=verdicts[0].control,
        refutations=[_refutation(own[check]) for check in in_declared_order(own)],
        follows=[f"{check} (from {cause})" for check, cause in follows.items()],
    )


def _refutation(v: Verdict) -> dict[str, Any]:
    return dict(
        check=v.check,
        dtypes=", ".join(v.dtypes),
        message=" ".join(v.message.split()),
        case=_case(v),
        observed=v.observed,
        expected=v.expected,
        script=v.script,
        file=script_file(v),
    )


def _case(v: Verdict) -> str:
    """The counterexample as Python; as it is stored where it is of a kind that is not known here."""
    if v.counterexample is None:
        return ""
    from opjury.model.case import Case

    try:
        text = Case.from_json(v.counterexample).code()
    except Exception:  # whatever a foreign or damaged record holds
        text = str(v.counterexample)
    return text if len(text) < _LONGEST else text[:_LONGEST] + " …"


def _competitor(
    name: str, entry: Implementation | None, standing: Standing | None, verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    state, words = state_of(standing)
    told = inspect.getdoc(entry.function) if entry else None
    return dict(
        name=name,
        state=state,
        verdict=words,
        docstring=told or ("" if entry else "Not registered where the report was made."),
        facts=_facts(entry) if entry else [],
        code=_source(entry.function) if entry else "",
        verdicts=[
            (
                v.check.replace("_", " "),
                ", ".join(v.dtypes),
                v.status,
                (f"{v.examples:,}", v.examples),
                charts.fraction(v.error_of_bound),
                textwrap.shorten(v.told, 200, placeholder=" …"),
            )
            for v in verdicts
        ],
    )


def _facts(entry: Implementation) -> list[tuple[str, str]]:
    found = [("from", entry.source)]
    found += [(f"waives {what}", reason) for what, reason in entry.waived]
    found += [(f"wrong in {check.replace('_', ' ')}", reason) for check, reason in entry.refuted.items()]
    found += [("dtypes", ", ".join(entry.dtypes or ()))]
    found += [("devices", ", ".join(entry.devices) if entry.devices != ("cpu", "cuda") else "")]
    found += [("error", "a model of its own" if entry.error else "")]
    gradient = entry.gradient
    modes = dict(second="second order", forward="forward mode", vmap="vmap")
    held = [words for field, words in modes.items() if gradient and getattr(gradient, field)]
    found += [("gradient", ", ".join(["first order", *held]) if gradient else "none: it leaves autograd")]
    found += [("needs", entry.requires or ""), ("shares", "memory with its argument" if entry.view else "")]
    return [(term, words) for term, words in found if words]


def _source(function: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError):
        return ""
