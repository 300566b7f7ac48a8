"""The commands `opjury track …`: nights, alarms, pages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from opjury.cli.exit import BAD, GOOD, NOTHING
from opjury.cli.group import LazyGroup
from opjury.cli.options import (
    EXAMPLE_DB,
    JOBS,
    Decorator,
    OutputFile,
    combined,
    database_of,
    duration,
    json_option,
    seconds_option,
    warn_if_gone,
)
from opjury.cli.terminal import add_to_job_summary, console, progress_bar
from opjury.judge.task import names_checked
from opjury.model import files, records, registry
from opjury.model.device import present
from opjury.model.environment import environment
from opjury.model.modules import require_extra, wing
from opjury.model.records import Measurement, Verdict
from opjury.model.registry import Impossible
from opjury.track import history
from opjury.track.alarms import LATEST, alarms
from opjury.track.asv_benchmarks import HANDED_OVER, class_name
from opjury.track.change_points import SURE, SUSPECT
from opjury.track.nightly import Done, Plan, run_night
from opjury.track.show import alarms_markdown, show_alarms, show_night, subject

SITE = Path("reports") / "site"
_IN_TURNS = {
    "files": "whose files changed were measured in turns with the commit before",
    "libraries": "were measured in turns with the libraries before",
}


@click.group("track", cls=LazyGroup, modules={"compare": "opjury.track.compare_command"})
def track_command() -> None:
    """Follow implementations and the libraries beneath them."""


_FOLDER = click.option(
    "--history", "folder", type=click.Path(file_okay=False, path_type=Path), default=history.FOLDER, show_default=True
)
_HISTORY = combined(
    _FOLDER,
    click.option("--machine", help="The machine's name in the history; by default the host name."),
)


def _budget(help: str) -> Decorator:
    return click.option("--budget", type=duration, default="40m", show_default=True, help=help)


_NIGHT = combined(
    click.argument("operations", nargs=-1, metavar="[OPERATION]..."),
    click.option(
        "--workload", "workloads", multiple=True, metavar="small|medium|large|…", help="Only this (repeatable)."
    ),
    click.option(
        "--device", "devices", multiple=True, help="By default cpu, and cuda where there is one (repeatable)."
    ),
    _budget("Time after the first audit, for measuring and for more cases: 90s, 40m, 2h."),
    seconds_option(2.0, "Time for the timed rounds of one contest, in seconds.", least=0.05),
    click.option(
        "--scale", type=click.FloatRange(0.01), default=1.0, show_default=True, help="Share of the first audit's cases."
    ),
    click.option("--dirty", "allow_dirty", is_flag=True, help="Run although files differ from the commit."),
    EXAMPLE_DB,
    click.option("--no-asv", is_flag=True, help="Do not write asv's results."),
    JOBS,
)
_ALARMS = combined(
    click.option(
        "--nights",
        default="3",
        show_default=True,
        metavar="N|all",
        help="Report only changes that began in the last N nights.",
    ),
    click.option("--no-confirm", is_flag=True, help="Raise alarms without measuring suspects again."),
    click.option(
        "--before",
        metavar="PYTHON",
        default="",
        help="An interpreter with the library versions of earlier nights. Implementations near the best are timed in turns with it.",
    ),
    json_option("Write the alarms (JSON Lines)."),
    click.option(
        "--markdown", "markdown_file", type=OutputFile(), help="Write a summary for an issue or a pull request."
    ),
)


@track_command.command("run")
@_NIGHT
@_HISTORY
@click.pass_context
def run_command(context: click.Context, /, jobs: int | None, no_asv: bool, **options: Any) -> None:
    """Audit, measure and choose, and add the night to the history.

    An interrupted run continues where it stopped.
    """
    context.exit(_run(_plan(**options), jobs, no_asv))


@track_command.command("check")
@_HISTORY
@_budget("Time for measuring in turns with --before. Trying alarms again has an eighth of it.")
@_ALARMS
@click.pass_context
def check_command(context: click.Context, /, folder: Path, machine: str | None, budget: float, **options: Any) -> None:
    """Report what changed for the worse. The exit status is 1 for an alarm, 3 where there is no history.

    One night alone cannot show a change, so it raises no alarm.
    """
    context.exit(_check(Plan(folder=folder, machine=machine or "", budget=budget), **options))


@track_command.command("before")
@_HISTORY
@click.pass_context
def before_command(context: click.Context, /, folder: Path, machine: str | None) -> None:
    """Print the libraries of the last night as requirements.

    It prints nothing where they are installed here. An environment with them is what `--before` of other commands takes.

    \b
    python -m venv before
    before/bin/python -m pip install opjury $(opjury track before)
    """
    nights = _nights(folder, machine)
    if not nights:
        context.exit(NOTHING)
    had, now = nights[-1].night.environment, environment()
    libraries = {name: getattr(had, name) for name in ("torch", "numpy", "scipy")}
    if libraries != {name: getattr(now, name) for name in libraries}:
        click.echo(" ".join(f"{name}=={version.partition('+')[0]}" for name, version in libraries.items()))


@track_command.command("publish")
@_FOLDER
@click.pass_context
def publish_command(context: click.Context, /, folder: Path) -> None:
    """Make asv's pages and those of `opjury report` from the history."""
    context.exit(_publish(folder))


@track_command.command("nightly")
@_NIGHT
@_HISTORY
@_ALARMS
@click.pass_context
def nightly_command(context: click.Context, /, jobs: int | None, no_asv: bool, **options: Any) -> None:
    """Run `run`, `publish` and `check`, one after the other."""
    from opjury.track.confirm import other_libraries

    require_extra("report", "opjury track nightly")
    names = ("nights", "no_confirm", "before", "json_file", "markdown_file")
    checking = {name: options.pop(name) for name in names}
    if checking["before"]:
        other_libraries(checking["before"])  # raises now, not after the night, for an interpreter that cannot be used
    plan = _plan(**options)
    status = _run(plan, jobs, no_asv)
    if status != NOTHING:
        _publish(plan.folder)
        status = _check(plan, **checking) or status
    context.exit(status)


def _plan(
    *,
    operations: tuple[str, ...],
    workloads: tuple[str, ...],
    devices: tuple[str, ...],
    machine: str | None,
    example_db: str | None,
    **options: Any,
) -> Plan:
    """The plan that options describe."""
    names_checked("operation", operations, [o.name for o in registry.operations()])
    workloads = workloads or Plan.workloads
    known = {name for o in registry.operations() for name in registry.workload(o.name).sizes}
    names_checked("workload", workloads, sorted(known))
    devices = devices or ("cpu", *(("cuda",) if present("cuda") else ()))
    names_checked("device", [device.partition(":")[0] for device in devices], ["cpu", "cuda"])
    machine = machine or platform.node()
    return Plan(operations, workloads, devices, machine=machine, database=database_of(example_db), **options)


def _run(plan: Plan, jobs: int | None, no_asv: bool) -> int:
    """Run and show one night, and return the exit status."""
    require_extra("track", "opjury track run")
    bar = progress_bar("{task.description}")
    task = bar.add_task("", total=None)

    def notify(stage: str, number: int, total: int) -> None:
        bar.update(task, description=stage, completed=number, total=total)

    known = history.machines(plan.folder)
    if known and history.file_name(plan.machine) not in known:
        click.echo(
            f"opjury: {plan.machine} has no history in {plan.folder}, {', '.join(known)} has; "
            f"if that is this machine, give its old name: --machine {known[-1]}",
            err=True,
        )
    try:
        with bar:
            done = run_night(plan, jobs=jobs, notify=notify)
    except OSError as error:
        raise Impossible(f"the night was not kept: {error}; the same command continues from what was found") from error
    warn_if_gone(plan.database)
    show_night(done)
    if not no_asv:
        _run_asv(done, plan)
    for reason in done.failed:
        click.echo(f"opjury: failed, please report it: {reason}", err=True)
    if not any((isinstance(r, Verdict) and r.examples) or isinstance(r, Measurement) for r in done.records):
        click.echo("opjury: nothing was executed", err=True)
        return NOTHING
    return BAD if done.failed else GOOD


def _run_asv(done: Done, plan: Plan) -> None:
    """Write the night's figures as asv's results of this commit, in an asv project."""
    commit = done.night.commit
    if not Path("asv.conf.json").exists() or not commit:
        click.echo("asv: left out, there is no asv.conf.json here" if commit else "asv: left out, there is no commit")
        return
    classes = "|".join(class_name(contract.name) for contract in plan.contracts)
    workloads, devices = "|".join(plan.workloads), "|".join(plan.devices)
    only = rf"\.({classes})\.track_.*'({workloads})'.*'({devices})'"  # each combination of parameters is a process
    options = ["-E", f"existing:{sys.executable}", "--set-commit-hash", commit, "--machine", plan.machine]
    _asv("machine", "--yes", "--machine", plan.machine)
    told = _asv("run", *options, "--bench", only, **{HANDED_OVER: str(done.path.resolve())})
    if told.returncode:
        click.echo(f"asv: exit status {told.returncode}: {_end(told)}", err=True)
    else:
        click.echo("asv: results of this commit are in .asv/results")


def _asv(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    variables = {"ASV_PYTHONPATH": os.environ.get("PYTHONPATH", ""), **os.environ, **variables}  # asv drops PYTHONPATH
    command = [sys.executable, "-m", "asv", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def _end(told: subprocess.CompletedProcess[str]) -> str:
    return (told.stderr or told.stdout).strip()[-500:]


def _check(
    plan: Plan, *, nights: str, no_confirm: bool, before: str, json_file: str | None, markdown_file: str | None
) -> int:
    """Show what changed for the worse, and return the exit status."""
    require_extra("track", "opjury track check")
    from opjury.track.confirm import confirmed

    if before and no_confirm:
        raise click.UsageError("--before does not go with --no-confirm, which measures nothing")
    if nights != "all" and not nights.isdigit():
        raise click.UsageError(f"--nights {nights}; it should be a number or `all`")
    mine = _nights(plan.folder, plan.machine)
    if not mine:
        return NOTHING
    latest = None if nights == "all" else int(nights)
    raised, in_turns = alarms(mine, latest, SURE if no_confirm else SUSPECT), dict[str, tuple[int, int]]()
    if not no_confirm:
        with console.status("measuring again") as status:
            within = LATEST if latest is None else latest
            raised, in_turns = confirmed(raised, mine, plan, within, before, status.update)
    # A suspect that was not measured again counts only where the nights alone make it sure.
    certain = {(alarm.kind, subject(alarm)) for alarm in alarms(mine, latest, SURE)}
    raised = [a for a in raised if a.confirmed is not None or (a.kind, subject(a)) in certain]
    show_alarms(raised, mine)
    for cause, (compared, left_out) in in_turns.items():
        more = f", {left_out} more could not be" if left_out else ""
        console.print(f"{compared} series {_IN_TURNS[cause]}{more}")
    if json_file:
        records.write(json_file, raised)
    text = alarms_markdown(raised, mine)
    if markdown_file:
        files.write_whole(markdown_file, text.encode())
    add_to_job_summary(text)
    return GOOD if all(alarm.confirmed is False for alarm in raised) else BAD


def _nights(folder: Path, machine: str | None) -> list[history.Chronicle]:
    """The nights of a machine, by default of this one, else of the one with the latest night. Unreadable lines are reported."""
    found = history.read_history(folder)
    for problem in [*found.unreadable, *(line for c in found.nights for line in c.spoilt)]:
        click.echo(f"opjury: left out: {problem}", err=True)
    if not found.nights:
        click.echo(f"opjury: there is no history in {folder}; `opjury track run` begins one", err=True)
        return []
    machine = machine or (platform.node() if platform.node() in found.machines else found.machines[-1])
    names_checked("machine", [machine], found.machines)
    return found.of(machine)


def _publish(folder: Path) -> int:
    """Make asv's pages, where it has results, and ours, and return the exit status of the latter."""
    if Path("asv.conf.json").exists() and Path(".asv", "results").is_dir():
        told = _asv("publish")
        if told.returncode or not Path(".asv/html/index.html").exists():
            click.echo(f"asv: {_end(told)}", err=True)
        else:
            click.echo("asv: pages are in .asv/html")
    status: int = wing("report.commands").publish(folder, SITE)
    return status
