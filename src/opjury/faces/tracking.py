"""The commands `opjury track …`: nights, alarms, pages, comparisons."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from opjury import disk, records, registry
from opjury.cli import BAD, GOOD, NOTHING, USAGE
from opjury.faces import team, terminal
from opjury.faces.asv_benchmarks import HANDED_OVER, class_name
from opjury.faces.choosing import memory, seconds, times
from opjury.measure.steps import SURE, SUSPECT
from opjury.records import Alarm, Measurement, Verdict
from opjury.uses import history
from opjury.uses.alarms import LATEST, alarms
from opjury.uses.compare import Comparison, Side, side
from opjury.uses.compare import compare as compare_sides
from opjury.uses.confirm import Tried, confirmed, other_libraries
from opjury.uses.request import names_checked
from opjury.uses.track import Done, Plan, Unready, run_night
from opjury.verify.device import present

SITE = Path("reports") / "site"


def run(**options: Any) -> int:
    """One night; the exit status."""
    return _run(*_planned(options))[0]


def _planned(options: dict[str, Any]) -> tuple[Plan, dict[str, Any]]:
    """The plan that options describe, and the options that are left."""
    names_checked("operation", options["operations"], [o.name for o in registry.operations()])
    workloads = options.pop("workloads") or Plan.workloads
    known = {name for o in registry.operations() for name in registry.workload(o.name).sizes}
    names_checked("workload", workloads, sorted(known))
    devices = options.pop("devices") or ("cpu", *(("cuda",) if present("cuda") else ()))
    names_checked("device", [device.partition(":")[0] for device in devices], ["cpu", "cuda"])
    machine = options.pop("machine") or platform.node()
    taken = ("operations", "budget", "seconds", "scale", "folder", "allow_dirty")
    plan = Plan(
        workloads=tuple(workloads),
        devices=tuple(devices),
        machine=machine,
        database=team.database_of(options.pop("example_db")),
        **{name: options.pop(name) for name in taken},
    )
    return plan, options


def _run(plan: Plan, options: dict[str, Any]) -> tuple[int, Done | None]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=terminal.console, transient=True, disable=not sys.stdout.isatty())
    task = bar.add_task("", total=None)
    _warn_of_another_name(plan)
    try:
        with bar:
            done = run_night(
                plan,
                jobs=options["jobs"],
                notify=lambda stage, number, total: bar.update(task, description=stage, completed=number, total=total),
            )
    except Unready as error:
        click.echo(f"opjury: {error}", err=True)
        return USAGE, None
    except OSError as error:
        click.echo(
            f"opjury: the night was not kept: {error}; what was found so far is, the same command goes on", err=True
        )
        return USAGE, None
    team.warn_if_gone(plan.database)
    _show_night(done)
    if not options["no_asv"]:
        _asv(done, plan)
    ran = any((isinstance(r, Verdict) and r.examples) or isinstance(r, Measurement) for r in done.records)
    if not ran:
        click.echo("opjury: nothing was executed", err=True)
    for reason in done.failed:
        click.echo(f"opjury: failed, please report it: {reason}", err=True)
    return (NOTHING if not ran else BAD if done.failed else GOOD), done


def _warn_of_another_name(plan: Plan) -> None:
    """A machine that was renamed would begin a new history."""
    known = history.machines(plan.folder)
    if known and history.file_name(plan.machine) not in known:
        click.echo(
            f"opjury: {plan.machine} has no history in {plan.folder}, {', '.join(known)} has; "
            f"if that is this machine, give its old name: --machine {known[-1]}",
            err=True,
        )


def _show_night(done: Done) -> None:
    verdicts = [r for r in done.records if isinstance(r, Verdict)]
    measured = [r for r in done.records if isinstance(r, Measurement)]
    refuted = [v for v in verdicts if v.status == "refuted" and not v.control]
    say = terminal.console.print
    if done.resumed:
        say(f"went on where an earlier run was ended: {done.resumed} records were there")
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


def _asv(done: Done, plan: Plan) -> None:
    """The same figures as asv's results of this commit, where this is an asv project."""
    commit = done.night.commit
    if not Path("asv.conf.json").exists() or not commit:
        click.echo("asv: left out, there is no asv.conf.json here" if commit else "asv: left out, there is no commit")
        return
    environment = {**os.environ, HANDED_OVER: str(done.path.resolve())}
    environment.setdefault("ASV_PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # asv takes the other one away
    quiet: dict[str, Any] = dict(capture_output=True, text=True, check=False, env=environment)
    asv = [sys.executable, "-m", "asv"]
    subprocess.run([*asv, "machine", "--yes", "--machine", plan.machine], **quiet)
    where = ["-E", f"existing:{sys.executable}", "--set-commit-hash", commit, "--machine", plan.machine]
    told = subprocess.run([*asv, "run", *where, *selection(plan)], **quiet)
    if told.returncode:
        click.echo(f"asv: exit status {told.returncode}: {(told.stderr or told.stdout).strip()[-500:]}", err=True)
    else:
        click.echo("asv: results of this commit are in .asv/results")


def selection(plan: Plan) -> list[str]:
    """asv's options for the benchmarks of a plan: each combination of parameters is a process."""
    classes = "|".join(class_name(contract.name) for contract in plan.contracts)
    workloads, devices = "|".join(plan.workloads), "|".join(plan.devices)
    return ["--bench", rf"\.({classes})\.track_.*'({workloads})'.*'({devices})'"]


def check(
    *,
    folder: Path,
    machine: str | None,
    nights: str,
    no_confirm: bool,
    before: str,
    json_file: str | None,
    markdown_file: str | None,
    budget: float = 0.0,
    plan: Plan | None = None,
) -> int:
    """Show what changed for the worse; the exit status."""
    if before and no_confirm:
        raise click.UsageError("--before measures, --no-confirm does not")
    if nights != "all" and not nights.isdigit():
        raise click.UsageError(f"--nights {nights}; it should be a number or `all`")
    mine = _nights(folder, machine)
    if not mine:
        return NOTHING
    machine = mine[-1].night.machine
    sureness = SURE if no_confirm else SUSPECT
    latest = None if nights == "all" else int(nights)
    raised = alarms(mine, latest, sureness)
    tried = Tried(tuple(raised))
    if not no_confirm:
        with terminal.console.status("measuring again") as status:
            planned = plan or Plan(folder=folder, machine=machine, budget=budget)
            tried = confirmed(raised, mine, planned, LATEST if latest is None else latest, before, status.update)
    # Of what was not measured again only what is sure by itself counts.
    certain = {(alarm.kind, subject(alarm)) for alarm in alarms(mine, latest, SURE)}
    raised = [a for a in tried.alarms if a.confirmed is not None or (a.kind, subject(a)) in certain]
    sure = [alarm for alarm in raised if alarm.confirmed is not False]
    show_alarms(raised, mine)
    for cause, (compared, left_out) in tried.in_turns.items():
        more = f", {left_out} more could not be" if left_out else ""
        terminal.console.print(f"{compared} series {_IN_TURNS[cause]}{more}")
    if json_file:
        records.write(json_file, raised)
    text = markdown(raised, mine)
    if markdown_file:
        disk.write(markdown_file, text.encode())
    terminal.add_to_job_summary(text)
    return BAD if sure else GOOD


def _nights(folder: Path, machine: str | None) -> list[history.Chronicle]:
    """The nights of a machine, by default of this one, or of the one that was there last; what cannot be read is told."""
    found = history.read(folder)
    for problem in [*found.unreadable, *(line for c in found.nights for line in c.spoilt)]:
        click.echo(f"opjury: left out: {problem}", err=True)
    if not found.nights:
        click.echo(f"opjury: there is no history in {folder}; `opjury track run` begins one", err=True)
        return []
    machine = machine or (platform.node() if platform.node() in found.machines else found.machines[-1])
    names_checked("machine", [machine], found.machines)
    return found.of(machine)


def before(*, folder: Path, machine: str | None) -> int:
    """Print which libraries the last night had, where there are others now."""
    nights = _nights(folder, machine)
    if not nights:
        return NOTHING
    had, now = nights[-1].night.environment, records.environment()
    libraries = {name: getattr(had, name) for name in ("torch", "numpy", "scipy")}
    if libraries != {name: getattr(now, name) for name in libraries}:
        click.echo(" ".join(f"{name}=={version.partition('+')[0]}" for name, version in libraries.items()))
    return GOOD


_IN_TURNS = {
    "files": "whose files changed were measured in turns with the commit before",
    "libraries": "were measured in turns with the libraries before",
}


def nightly(**options: Any) -> int:
    """run, publish, check; the exit status is that of what went wrong, the run before the check."""
    names = ("nights", "no_confirm", "before", "json_file", "markdown_file")
    checking = {name: options.pop(name) for name in names}
    if checking["before"]:
        other_libraries(checking["before"])  # a wrong one is told now, not after the night
    plan, rest = _planned(options)
    status, done = _run(plan, rest)
    if done is None or status == NOTHING:
        return status
    publish(folder=plan.folder)
    return check(folder=plan.folder, machine=plan.machine, plan=plan, **checking) or status


def publish(*, folder: Path) -> int:
    """asv's pages, where it has results, and ours; the exit status of the latter."""
    _publish_asv()
    from opjury.faces.report import command

    files: dict[str, Any] = dict(table=None, sarif=None, junit=None)
    return command.run([], history=folder, output=SITE, form="html", show=False, **files)


def _publish_asv() -> None:
    if not Path("asv.conf.json").exists() or not Path(".asv", "results").is_dir():
        return
    told = subprocess.run([sys.executable, "-m", "asv", "publish"], capture_output=True, text=True, check=False)
    if told.returncode or not Path(".asv/html/index.html").exists():
        click.echo(f"asv: {(told.stderr or told.stdout).strip()[-500:]}", err=True)
    else:
        click.echo("asv: pages are in .asv/html")


def show_alarms(raised: Sequence[Alarm], nights: Sequence[history.Chronicle]) -> None:
    """Each alarm in two or three lines, then how much was looked at."""
    say = terminal.console.print
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


def counted(count: int, what: str) -> str:
    """`1 night`, `2 nights`, `no nights`"""
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def subject(alarm: Alarm) -> str:
    """What an alarm is about: `cumsum:torch_cumsum n=1000 float32 backward`."""
    name = alarm.operation if alarm.kind == "recommendation" else alarm.name
    return " ".join(
        filter(None, [name, alarm.check, alarm.shown_sizes, alarm.dtype, alarm.device, "backward" * alarm.gradient])
    )


def change(alarm: Alarm) -> str:
    """Before and after: `12.1 µs → 13.4 µs, × 1.11 [1.08, 1.13]`."""
    shown: Callable[[Any], str] = str
    if alarm.kind in _SHOWN:
        shown = _SHOWN[alarm.kind]
    text = f"{shown(alarm.before)} → {shown(alarm.after)}"
    if alarm.low is not None and alarm.high is not None:
        text += f", × {times((alarm.low * alarm.high) ** 0.5)} [{times(alarm.low)}, {times(alarm.high)}]"
    elif isinstance(alarm.before, float) and isinstance(alarm.after, float) and alarm.before:
        text += f", × {times(alarm.after / alarm.before)}"
    return text + (f": {' '.join(alarm.message.split())[:200]}" if alarm.message else "")


_SHOWN: dict[str, Callable[[Any], str]] = {"time": seconds, "memory": memory, "error": lambda ulps: f"{ulps:.3g} ulps"}


def between(alarm: Alarm) -> str:
    """Since when, and what changed then."""
    before, after = (commit[:10] or "no commit" for commit in alarm.commits)
    commits = f"commit {after}" if before == after else f"commits {before}..{after}"
    versions = [f"{name} {old} → {new}" for name, (old, new) in alarm.versions.items()]
    return ", ".join([f"since {alarm.since[:10]}", commits, *versions])


def markdown(raised: Sequence[Alarm], nights: Sequence[history.Chronicle]) -> str:
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


def compare(
    *,
    first: str,
    second: str,
    targets: Sequence[str],
    workloads: Sequence[str],
    gradient: bool,
    device: str,
    seconds: float,
    seed: int,
    json_file: str | None,
) -> int:
    """Two sides, measured in turns; the exit status is 1 where something is slower in the second."""
    wanted = _names(targets)
    for operation in wanted:
        names_checked(f"workload of {operation}", workloads, registry.workload(operation).sizes)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for column in ("implementation", "workload"):
        table.add_column(column)
    for column in ("A", "B", "B / A", "interval"):
        table.add_column(column, justify="right", no_wrap=True)
    found: list[Comparison] = []
    versions: dict[str, tuple[str, str]] = {}
    with side(first) as a, side(second) as b, terminal.console.status("") as status:
        for operation, names in wanted.items():
            for workload in workloads:
                if gradient and not registry.operation(operation).differentiable:
                    continue
                more, versions = compare_sides(
                    a,
                    b,
                    operation,
                    names,
                    workload,
                    gradient=gradient,
                    device=device,
                    seconds=seconds,
                    seed=seed,
                    notify=status.update,
                )
                found += more
                for each in more:
                    table.add_row(each.name, workload, *_cells(each))
    terminal.console.print(table)
    for name, pair in versions.items():
        terminal.console.print(f"{name}: {pair[0]} in A, {pair[1]} in B")
    for each in found:
        if each.fault:
            terminal.console.print(f"[dim]not timed[/] {each.name}: {escape(each.fault)}")
    if json_file:
        records.write(json_file, [_measurement(each, (a, b), seed) for each in found if not each.fault])
    if all(each.fault for each in found):
        return NOTHING
    return BAD if any(each.ratio.slower for each in found if not each.fault) else GOOD


def _names(targets: Sequence[str]) -> dict[str, list[str]]:
    """Implementations by operation."""
    wanted: dict[str, list[str]] = {}
    for target in targets or [o.name for o in registry.operations()]:
        operation, _, only = target.partition(":")
        entries = (
            [registry.implementation(operation, only)]
            if only
            else [e for e in registry.implementations(registry.operation(operation).name) if not e.refuted]
        )
        wanted.setdefault(operation, []).extend(entry.name for entry in entries)
    return wanted


def _cells(each: Comparison) -> tuple[str, ...]:
    if each.fault:
        return ("", "", "", "")
    style = "bold red" if each.ratio.slower else "bold green" if each.ratio.faster else ""
    ratio = f"{each.ratio.median:.3f}"
    return (
        *map(seconds, each.seconds),
        f"[{style}]{ratio}[/]" if style else ratio,
        f"{each.ratio.low:.3f}–{each.ratio.high:.3f}",
    )


def _measurement(each: Comparison, sides: tuple[Side, Side], seed: int) -> Measurement:
    return Measurement(
        **msgspec.structs.asdict(each.setting),
        implementation=each.implementation,
        seconds=each.seconds[1],
        reference=f"{each.implementation} in {sides[0].label}",
        ratio=each.ratio.median,
        low=each.ratio.low,
        high=each.ratio.high,
        tied=not each.ratio.slower,
        floor_seconds=0.0,
        seed=seed,
        environment=records.environment(),
    )
