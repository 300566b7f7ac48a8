"""The report in short: Markdown for a pull request, a table for the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.markup import escape
from rich.table import Column

from opjury.cli import terminal
from opjury.cli.text import times
from opjury.cli.verdicts import Tally
from opjury.model.records import Recommendation
from opjury.report.changes import Change, changes
from opjury.report.gather import Found, Machine, default_workload, told, workload_name
from opjury.track.show import between, change, subject

_SHOWN = 30  # changes and refutations that are told one by one


class SummaryLine(NamedTuple):
    """One operation in a line."""

    operation: str
    implementations: int
    holding: int
    refuted: tuple[str, ...]
    use: str


def lines(machine: Machine) -> list[SummaryLine]:
    """A line for each operation. Negative controls and what was not judged do not count."""
    now, usual = machine.now, default_workload(machine.now)
    chosen = {w.operation: r for w, r in now.recommendations.items() if workload_name(w) == usual}
    found = []
    for name in now.operations:
        tally = Tally.of(s for s in now.standings.values() if s.operation == name)
        use = _use(machine, chosen[name]) if name in chosen else ""
        loose = tuple(f"{implementation} (known to be wrong, not refuted)" for implementation in tally.loose)
        errors = tuple(f"{implementation} (could not be judged)" for implementation in tally.errors)
        found.append(SummaryLine(name, tally.judged, len(tally.holding), tally.refuted + loose + errors, use))
    return found


def _use(machine: Machine, chosen: Recommendation) -> str:
    """`prefix_sum_difference, ×1.69 before doubling_shifts`"""
    use = chosen.implementation
    now = machine.now
    others = [m for m in now.contests.get(chosen.setting, ()) if m.implementation not in (use, *chosen.tied)]
    others = [m for m in others if now.may_be_recommended(m)]
    if not use or not others:
        return use
    following = min(others, key=lambda m: m.ratio)
    return f"{use}, ×{times(following.ratio)} before {following.implementation}"


def _columns(machine: Machine) -> tuple[str, ...]:
    usual = default_workload(machine.now)
    return "operation", "hold up", "refuted", f"to use, {usual}" if usual else "to use"


def headline(machine: Machine) -> str:
    """`151 of 151 implementations hold up, 7 that are known to be wrong are refuted; 329,315 examples were executed; 2 cores`"""
    standings = list(machine.now.standings.values())
    judged = str(Tally.of(standings)) if standings else ""
    executed = f"{sum(s.examples for s in standings):,} examples were executed" if standings else ""
    measured = f"{len(machine.now.measurements):,} measurements" if machine.now.measurements else ""
    return "; ".join(filter(None, (judged, executed, measured, machine.name)))


def summary_markdown(found: Found) -> str:
    """The summary of all machines, as GitHub shows it."""
    parts = [part for machine in found.machines for part in _markdown_of(machine)]
    if found.problems:
        parts += ["### Left out", "\n".join(f"- {plain(problem)}" for problem in told(found.problems))]
    return "\n\n".join(["## opjury", *parts])


def _markdown_of(machine: Machine) -> Iterator[str]:
    yield f"**{plain(headline(machine))}** ({plain(machine.now.label)})"
    if machine.before:
        yield f"### Changed since {plain(machine.before.label)}"
        yield _listed(list(map(_told, changes(machine.before, machine.now)))) or "Nothing."
    if machine.alarms:
        yield "### Regressions"
        yield _listed(
            [f"{plain(a.kind)}: `{code(subject(a))}` {plain(change(a))}, {plain(between(a))}" for a in machine.alarms]
        )
    refuted = [v for v in machine.now.verdicts if v.status == "refuted" and not v.control and not v.cause]
    if refuted:
        yield "### Refuted"
        yield _listed(
            [f"`{code(v.name)}` {plain(v.check)} ({plain(', '.join(v.dtypes))}): {plain(v.message)}" for v in refuted]
        )
    table = [f"| {' | '.join(map(plain, _columns(machine)))} |", "|---|--:|---|---|"]
    for line in lines(machine):
        names = ", ".join(f"`{code(name)}`" for name in line.refuted)
        share = f"{line.holding} of {line.implementations}"
        table.append(f"| `{code(line.operation)}` | {share} | {names} | {plain(line.use)} |")
    yield "\n".join(table)


def _listed(items: Sequence[str]) -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return "\n".join(f"- {item}" for item in [*items[:_SHOWN], *more])


def _subject(news: Change) -> str:
    return news.operation + (f":{news.implementation}" if news.implementation else "")


def _told(news: Change) -> str:
    kind = "" if news.kind == "other" else f"**{news.kind}**: "
    return f"{kind}`{code(_subject(news))}` {plain(news.text)}"


def plain(text: str) -> str:
    """Text on one line, shortened, without characters that mean something in Markdown or HTML."""
    short = " ".join(text.split())
    short = short if len(short) < 300 else short[:300] + " …"
    return re.sub(r"([\\`*<>|~@&]|\](?=[(\[]))", lambda sign: f"&#{ord(sign[1])};", short)


def code(text: str) -> str:
    """Text that may stand between backticks, in a table, too."""
    return " ".join(text.split()).replace("`", "'").replace("|", "¦")


def show_summary(found: Found) -> None:
    """Print the summary of all machines."""
    console = terminal.console
    for machine in found.machines:
        console.print(f"\n{escape(headline(machine))}")
        console.print(f"[dim]{escape(machine.now.label)}[/]\n")
        table = terminal.plain_table(*(Column(name, overflow="fold") for name in _columns(machine)))
        for line in lines(machine):
            share = f"{line.holding} of {line.implementations}"
            table.add_row(escape(line.operation), share, f"[red]{escape(' '.join(line.refuted))}[/]", escape(line.use))
        console.print(table)
        for news in changes(machine.before, machine.now)[:_SHOWN]:
            console.print(f"{news.kind:6} {_subject(news)} {news.text}", markup=False)
