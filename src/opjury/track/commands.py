"""The commands `opjury track …`: nights, alarms, pages."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from opjury.cli.exit import BAD, GOOD, NOTHING, USAGE
from opjury.cli.group import LazyGroup
from opjury.cli.options import (
    EXAMPLE_DB,
    JOBS,
    Decorator,
    Duration,
    OutputFile,
    combined,
    database_of,
    json_option,
    warn_if_gone,
)
from opjury.cli.terminal import add_to_job_summary, console
from opjury.judge.task import names_checked
from opjury.model import files, records, registry
from opjury.model.device import present
from opjury.model.environment import environment
from opjury.model.records import Measurement, Verdict
from opjury.model.wings import wing
from opjury.track import history
from opjury.track.alarms import LATEST, alarms
from opjury.track.asv_benchmarks import HANDED_OVER, class_name
from opjury.track.change_points import SURE, SUSPECT
from opjury.track.nightly import Done, Plan, Unready, run_night
from opjury.track.show import alarms_markdown, show_alarms, show_night, subject

SITE = Path("reports") / "site"


@click.group("track", cls=LazyGroup, modules={"compare": "opjury.track.compare_command"})
def track_command() -> None:
    """Watch implementations night after night, and the libraries beneath them."""


_FOLDER = click.option(
    "--history",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reports", "history"),
    show_default=True,
)
_HISTORY = combined(
    _FOLDER,
    click.option("--machine", help="The machine's name in the history; by default the host name."),
)


def _budget(help: str) -> Decorator:
    return click.option("--budget", type=Duration(), default="40m", show_default=True, help=help)


_NIGHT = combined(
    click.argument("operations", nargs=-1, metavar="[OPERATION]..."),
    click.option(
        "--workload", "workloads", multiple=True, metavar="small|medium|large|…", help="Only this (repeatable)."
    ),
    click.option(
        "--device", "devices", multiple=True, help="By default cpu, and cuda where there is one (repeatable)."
    ),
    _budget("After the first audit, for measuring and for more cases: 90s, 40m, 2h."),
    click.option(
        "--seconds",
        type=click.FloatRange(0.05),
        default=2.0,
        show_default=True,
        help="Time for the timed rounds of one contest, in seconds.",
    ),
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
        "--markdown",
        "markdown_file",
        type=OutputFile(),
        help="Write a summary for an issue or a pull request.",
    ),
)


@track_command.command("run")
@_NIGHT
@_HISTORY
@click.pass_context
def run_command(context: click.Context, /, **options: Any) -> None:
    """Audit, measure and choose at all workloads; add the night to the history.

    A run that was ended goes on where it stood.
    """
    context.exit(_run(*_planned(options))[0])


@track_command.command("check")
@_HISTORY
@_budget("For measuring in turns with --before; trying alarms again has an eighth of it.")
@_ALARMS
@click.pass_context
def check_command(context: click.Context, /, **options: Any) -> None:
    """Name what changed for the worse. Exit status 1 for an alarm, 3 where there is no history.

    One night alone cannot show a change: no alarm.
    """
    context.exit(_check(**options))


@track_command.command("before")
@_HISTORY
@click.pass_context
def before_command(context: click.Context, /, folder: Path, machine: str | None) -> None:
    """Print the libraries of the last night as requirements, where they are not those of here: for --before.

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
    """Make asv's pages and ours of what is there."""
    context.exit(_publish(folder))


@track_command.command("nightly")
@_NIGHT
@_HISTORY
@_ALARMS
@click.pass_context
def nightly_command(context: click.Context, /, **options: Any) -> None:
    """run, publish and check in one."""
    from opjury.track.confirm import other_libraries

    names = ("nights", "no_confirm", "before", "json_file", "markdown_file")
    checking = {name: options.pop(name) for name in names}
    if checking["before"]:
        other_libraries(checking["before"])  # a wrong one is told now, not after the night
    plan, rest = _planned(options)
    status, done = _run(plan, rest)
    if done is not None and status != NOTHING:
        _publish(plan.folder)
        status = _check(folder=plan.folder, machine=plan.machine, plan=plan, **checking) or status
    context.exit(status)


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
        database=database_of(options.pop("example_db")),
        **{name: options.pop(name) for name in taken},
    )
    return plan, options


def _run(plan: Plan, options: dict[str, Any]) -> tuple[int, Done | None]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not sys.stdout.isatty())
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
    warn_if_gone(plan.database)
    show_night(done)
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


def _check(
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
    from opjury.track.confirm import Tried, confirmed

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
        with console.status("measuring again") as status:
            planned = plan or Plan(folder=folder, machine=machine, budget=budget)
            tried = confirmed(raised, mine, planned, LATEST if latest is None else latest, before, status.update)
    # Of what was not measured again only what is sure by itself counts.
    certain = {(alarm.kind, subject(alarm)) for alarm in alarms(mine, latest, SURE)}
    raised = [a for a in tried.alarms if a.confirmed is not None or (a.kind, subject(a)) in certain]
    sure = [alarm for alarm in raised if alarm.confirmed is not False]
    show_alarms(raised, mine)
    for cause, (compared, left_out) in tried.in_turns.items():
        more = f", {left_out} more could not be" if left_out else ""
        console.print(f"{compared} series {_IN_TURNS[cause]}{more}")
    if json_file:
        records.write(json_file, raised)
    text = alarms_markdown(raised, mine)
    if markdown_file:
        files.write_whole(markdown_file, text.encode())
    add_to_job_summary(text)
    return BAD if sure else GOOD


_IN_TURNS = {
    "files": "whose files changed were measured in turns with the commit before",
    "libraries": "were measured in turns with the libraries before",
}


def _nights(folder: Path, machine: str | None) -> list[history.Chronicle]:
    """The nights of a machine, by default of this one, or of the one that was there last; what cannot be read is told."""
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
    """Make asv's pages, where it has results, and ours; the exit status of the latter."""
    _publish_asv()
    status: int = wing("report.commands").publish(folder, SITE)
    return status


def _publish_asv() -> None:
    if not Path("asv.conf.json").exists() or not Path(".asv", "results").is_dir():
        return
    told = subprocess.run([sys.executable, "-m", "asv", "publish"], capture_output=True, text=True, check=False)
    if told.returncode or not Path(".asv/html/index.html").exists():
        click.echo(f"asv: {(told.stderr or told.stdout).strip()[-500:]}", err=True)
    else:
        click.echo("asv: pages are in .asv/html")
