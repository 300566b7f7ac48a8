"""Nights and alarms in print: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from opjury.cli.terminal import console
from opjury.cli.text import counted, memory, seconds, times
from opjury.model.records import Alarm, Measurement, Verdict
from opjury.track.history import Chronicle

if TYPE_CHECKING:
    from opjury.track.nightly import Done


def show_night(done: Done) -> None:
    """Show what a night found, and where it is kept."""
    verdicts = [r for r in done.records if isinstance(r, Verdict)]
    measured = [r for r in done.records if isinstance(r, Measurement)]
    refuted = [v for v in verdicts if v.status == "refuted" and not v.control]
    say = console.print
    if done.resumed:
        say(f"continued an interrupted run, which left {done.resumed} records")
    say(
        f"{sum(v.examples for v in verdicts):,} cases in {len(verdicts):,} verdicts, {len(refuted)} refuted that should hold; "
        f"{len(measured):,} measurements"
    )
    for verdict in refuted:
        say(f"[bold red]✗[/] {escape(verdict.name)} {verdict.check}: {escape(' '.join(verdict.message.split()))}")
    if done.left_out:
        say(f"{counted(len(done.left_out), 'workload')} not measured:")
        for reason in done.left_out[:5]:
            say(f"  {escape(reason)}")
    say(f"kept in {done.path}", soft_wrap=True)


def show_alarms(raised: Sequence[Alarm], nights: Sequence[Chronicle]) -> None:
    """Show each alarm, then how many nights and series were compared."""
    say = console.print
    for alarm in raised:
        doubt = " [yellow](not seen when measured again: no alarm)[/]" if alarm.confirmed is False else ""
        say(f"[bold red]{alarm.kind}[/] [bold]{escape(subject(alarm))}[/]{doubt}")
        say(f"  {escape(change(alarm))}")
        say(f"  {escape(between(alarm))}")
        say(f"  [dim]{escape(alarm.command)}[/]", soft_wrap=True)
    series = len({s for night in nights for s in night.measurements})
    sure = sum(alarm.confirmed is not False for alarm in raised)
    say(f"{nights[-1].night.machine}: {counted(len(nights), 'night')}, {series} series, {counted(sure, 'alarm')}")
    if len(nights) < 2:
        say("one night alone cannot show a change")


def subject(alarm: Alarm) -> str:
    """What an alarm is about: `cumsum:torch_cumsum n=1000 float32 backward`."""
    name = alarm.operation if alarm.kind == "recommendation" else alarm.name
    return " ".join(
        filter(None, [name, alarm.check, alarm.shown_sizes, alarm.dtype, alarm.device, "backward" * alarm.gradient])
    )


def change(alarm: Alarm) -> str:
    """Before and after: `12.1 µs → 13.4 µs, × 1.11 [1.08, 1.13]`."""
    shown = _SHOWN.get(alarm.kind, str)
    text = f"{shown(alarm.before)} → {shown(alarm.after)}"
    if alarm.low is not None and alarm.high is not None:
        text += f", × {times((alarm.low * alarm.high) ** 0.5)} [{times(alarm.low)}, {times(alarm.high)}]"
    elif isinstance(alarm.before, float) and isinstance(alarm.after, float) and alarm.before:
        text += f", × {times(alarm.after / alarm.before)}"
    return text + (f": {' '.join(alarm.message.split())[:200]}" if alarm.message else "")


_SHOWN: dict[str, Callable[[Any], str]] = {"time": seconds, "memory": memory, "error": lambda ulps: f"{ulps:.3g} ulps"}


def between(alarm: Alarm) -> str:
    """Since when, and which commits and versions changed then."""
    before, after = (commit[:10] or "no commit" for commit in alarm.commits)
    commits = f"commit {after}" if before == after else f"commits {before}..{after}"
    versions = [f"{name} {old} → {new}" for name, (old, new) in alarm.versions.items()]
    return ", ".join([f"since {alarm.since[:10]}", commits, *versions])


def alarms_markdown(raised: Sequence[Alarm], nights: Sequence[Chronicle]) -> str:
    """A summary for an issue or a pull request."""
    latest = nights[-1].night
    lines = [f"### opjury: {latest.machine}, {latest.date[:10]}, commit {latest.commit[:10] or '-'}", ""]
    sure = [alarm for alarm in raised if alarm.confirmed is not False]
    if sure:
        lines += ["| | what | before → after | since | again |", "|---|---|---|---|---|"]
        lines += [
            "| " + " | ".join(_cell(t) for t in (a.kind, subject(a), change(a), between(a), f"`{a.command}`")) + " |"
            for a in sure
        ]
    else:
        lines.append(f"No alarm in {counted(len(nights), 'night')}.")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
