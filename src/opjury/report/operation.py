"""The data of an operation's page: its contract, verdicts, costs, counterexamples and implementations."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

from opjury.cli.terminal import in_declared_order
from opjury.cli.text import seconds
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
    """The context of the template, and the replay scripts of the operation, by file, under the key `scripts`."""
    now = machine.now
    contract = next((o for o in registry.operations() if o.name == name), None)
    registered = {e.name: e for e in registry.implementations() if e.operation == name}
    standings = [s for s in now.standings.values() if s.operation == name]
    verdicts = [v for v in now.verdicts if v.operation == name]
    contests = {w: ms for w, ms in now.contests.items() if w.operation == name}
    chosen = {w: r for w, r in now.recommendations.items() if w.operation == name}
    measured = [m.implementation for ms in contests.values() for m in ms]
    names = dict.fromkeys([*registered, *(s.implementation for s in standings), *measured])
    by_name = {n: [v for v in verdicts if v.implementation == n] for n in names}
    standing_of = worst_standings(standings)
    sweeps = charts.sweeps_of(contests, chosen)
    swept = {ms[0].setting for sweep in sweeps for ms in sweep.points.values()}
    single = [w for w in contests if w not in swept or "=" not in workload_name(w)]
    usual = next((w for w in contests if workload_name(w) == default_workload(now)), next(reversed(contests), None))
    found = [chart for sweep in sweeps for chart in charts.over_size(sweep)]
    found += filter(None, [charts.errors(verdicts)])
    found += filter(None, [charts.pareto(workload_name(usual), contests[usual])] if usual else [])
    histories = dict.fromkeys(series.setting for series in machine.curves if series.setting.operation == name)
    seen = {status for s in standings for status in s.verdicts.values()}
    return dict(
        name=name,
        contract=contract,
        words=inspect.getdoc(inspect.getmodule(contract.reference)) or contract.summary if contract else "",
        kind=KINDS[contract.kind] if contract else "",
        reference=_source(contract.reference) if contract else "",
        chosen=[(workload_name(w), r) for w, r in chosen.items() if w in single or w not in contests],
        checks=in_declared_order({check for s in standings for check in s.verdicts}),
        standings=[(s, charts.fraction(s.error_of_bound)) for s in standings],
        marks=STATUS_MARKS,
        legend=[(status, mark) for status, mark in STATUS_MARKS.items() if status in seen],
        order=["", *STATUS_MARKS],
        charts=found,
        nights=[chart for setting in histories if (chart := charts.over_time(machine, setting))],
        contests=[_contest(w, contests[w]) for w in single],
        wrong=[_wrong(vs) for vs in by_name.values() if any(v.status == "refuted" for v in vs)],
        competitors=[_competitor(n, registered.get(n), standing_of.get((name, n)), by_name[n]) for n in names],
        scripts={_script_file(v): v.script for v in verdicts if v.status == "refuted" and v.script},
    )


def _contest(setting: Setting, found: Sequence[Measurement]) -> dict[str, Any]:
    columns = ("implementation", "time", "× best", "99 %", "× floor", "memory", "error", "2nd order", "weakness")
    rows = []
    for m in found:
        interval = "" if m.implementation == m.reference else f"{m.low:.3g}–{m.high:.3g}" if m.low else "obvious"
        time, ratio, of_floor, peak = charts.costs(m)
        second = "yes" if m.second_order else ""
        error, weakness = charts.ulps(m.error_ulps), "; ".join(dict.fromkeys(m.waived.values()))
        rows.append((m.implementation, time, ratio, (interval, m.low), of_floor, peak, error, second, weakness))
    called, sizes = workload_name(setting), setting.shown_sizes
    title = called if sizes in called else f"{called}: {sizes}"
    return dict(title=title, columns=columns, rows=rows, floor=seconds(found[0].floor_seconds))


def _script_file(verdict: Verdict) -> str:
    """The path of a verdict's replay script in the site."""
    parts = (verdict.operation, verdict.implementation, verdict.check, *verdict.dtypes[:1], verdict.device)
    return f"replay/{'-'.join(file_name(part) for part in parts)}.py"


def _wrong(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The refutations of one implementation: the shortest counterexample of each check that fails for a reason of its own."""
    refuted = [v for v in verdicts if v.status == "refuted"]
    own: dict[str, Verdict] = {}
    for v in sorted(refuted, key=lambda v: len(str(v.counterexample)) if v.counterexample else 10**9):
        if not v.cause:
            own.setdefault(v.check, v)
    follows = {v.check: v.cause for v in refuted if v.check not in own}
    return dict(
        name=verdicts[0].implementation,
        control=verdicts[0].control,
        refutations=[(own[check], _case(own[check]), _script_file(own[check])) for check in in_declared_order(own)],
        follows=[f"{check} (from {cause})" for check, cause in follows.items()],
    )


def _case(v: Verdict) -> str:
    """The counterexample as Python, or as it is stored where it cannot be read."""
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
    return dict(
        name=name,
        state=state,
        verdict=words,
        docstring=inspect.getdoc(entry.function) or ""
        if entry
        else "Not registered in the installation that made this report.",
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
    gradients = ["first order"] if entry.gradient else ["none: it leaves autograd"]
    for field, words in (("second", "second order"), ("forward", "forward mode"), ("vmap", "vmap")):
        if getattr(entry.gradient, field, False):
            gradients.append(words)
    facts = [
        ("from", entry.source),
        *((f"waives {what}", reason) for what, reason in entry.waived),
        *((f"wrong in {check.replace('_', ' ')}", reason) for check, reason in entry.refuted.items()),
        ("dtypes", ", ".join(entry.dtypes or ())),
        ("devices", ", ".join(entry.devices) if entry.devices != ("cpu", "cuda") else ""),
        ("error bound", "its own" if entry.error and not entry.error.worst else ""),
        ("gradient", ", ".join(gradients)),
        ("needs", entry.requires or ""),
        ("shares", "memory with its argument" if entry.view else ""),
    ]
    return [(term, words) for term, words in facts if words]


def _source(function: Any) -> str:
    try:
        return textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError):
        return ""
