"""The command `opjury audit`: from targets to tasks, verdicts, a table and files."""

from __future__ import annotations

import reprlib
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from opjury.audit import Audit, identity, in_order, judge_tasks, planned
from opjury.cli import exports
from opjury.cli.exit import BAD, GOOD, NOTHING, USAGE
from opjury.cli.options import (
    ALL_VERDICTS,
    CLUSTER,
    DEVICE,
    EXAMPLE_DB,
    JOBS,
    JUNIT,
    RECORDS_FILE,
    Reason,
    ShardOf,
    database_of,
    function_at,
    json_option,
    refuse_others,
    warn_if_gone,
)
from opjury.cli.terminal import STYLE, Refutations, console, exit_status, show_sums
from opjury.judge.task import Request, Task, applies, implementation_of, names_checked
from opjury.model import files, records, registry
from opjury.model.device import present
from opjury.model.environment import environment
from opjury.model.journal import Journal, left_in
from opjury.model.records import Part, Record, Verdict
from opjury.model.sources import family_of, judging
from opjury.model.wings import wing
from opjury.run.ship import Function, imported


@click.command("audit")
@click.argument("targets", nargs=-1, metavar="[OPERATION[:IMPLEMENTATION] | FILE.py[:FUNCTION] | MODULE[:FUNCTION]]...")
@click.option(
    "--as", "operation", metavar="OPERATION", help="The operation that the functions of a file or module implement."
)
@click.option(
    "--waive",
    "waives",
    type=Reason(),
    multiple=True,
    metavar="CHECK=REASON",
    help="With --as: a check that the functions are known not to pass, and why (repeatable).",
)
@click.option(
    "--error",
    metavar="FILE.py:FUNCTION",
    help="With --as: the functions' error model. Called like the operation, with NumPy arrays, it returns Σ|a·x| of the bound.",
)
@click.option("--profile", default="quick", show_default=True, metavar="quick|full|nightly")
@click.option("--check", "checks", multiple=True, help="Only this check (repeatable).")
@click.option("--dtype", "dtypes", multiple=True, help="Only this dtype (repeatable).")
@DEVICE
@JOBS
@click.option("--seed", type=int, help="By default a new one, printed at the end.")
@EXAMPLE_DB
@click.option("--no-isolation", is_flag=True, help="Judge in this process.")
@CLUSTER
@click.option(
    "--shard", type=ShardOf(), metavar="I/N", help="Only this part, for a CI matrix; `opjury merge` joins them."
)
@click.option(
    "--costs",
    type=RECORDS_FILE,
    help="Records of an earlier audit; they balance the shards by run time. Give all shards the same file.",
)
@json_option("Write the records (JSON Lines); an interrupted audit resumes from them.")
@JUNIT
@click.option("--claims", is_flag=True, help="Check what published answers claim, one statement at a time.")
@ALL_VERDICTS
@click.pass_context
def audit_command(context: click.Context, /, targets: Sequence[str], *, claims: bool, **options: Any) -> None:
    """Find out which implementations are right, and shrink what is wrong to a smallest counterexample.

    Without arguments: every implementation of every operation.
    """
    if claims:
        refuse_others(context, "--claims", "claims", "targets")
        context.exit(_judge_claims(targets))
    _refuse_combinations(options)
    far, example_db = bool(options["cluster"]), options["example_db"]
    partial = Path(options["json_file"] + ".partial") if options["json_file"] else None
    request = Request(
        profile=options["profile"],
        checks=options["checks"] or None,
        dtypes=options["dtypes"] or None,
        device=options["device"],
        seed=_seed(partial) if options["seed"] is None else options["seed"],
        database=database_of(example_db) if example_db or not far else "",
        waives=dict(options["waives"]),
        error=function_at(options["error"]) if options["error"] else None,
    )
    dtypes = request.dtypes
    targets = targets or [o.name for o in registry.operations() if dtypes is None or set(dtypes) & set(o.dtypes)]
    tasks = [task for target in targets for task in tasks_of(request, target, options["operation"], far=far)]
    if not far and not present(request.device):
        click.echo("opjury: no CUDA device is present; nothing was run", err=True)
        context.exit(NOTHING)
    context.exit(_audit(tasks, request, partial, options))


def _refuse_combinations(options: dict[str, Any]) -> None:
    """Raise `click.UsageError` for options that do not go together."""
    if (options["waives"] or options["error"]) and not options["operation"]:
        raise click.UsageError("--waive and --error are for functions of a file or module; they need --as OPERATION")
    if options["shard"] and options["seed"] is None:
        raise click.UsageError("--shard needs --seed, the same for all shards: together they are one audit")
    if options["costs"] and not options["shard"]:
        raise click.UsageError("--costs tells how to divide an audit; it needs --shard")
    if options["cluster"] and (options["jobs"] or options["no_isolation"]):
        raise click.UsageError("--jobs and --no-isolation are about this machine; with --cluster its workers judge")


def _seed(partial: Path | None) -> int:
    """The seed of the interrupted audit that left records in a file, else a new one."""
    left = (r.seed for r in left_in(partial) if isinstance(r, Verdict)) if partial else iter(())
    return next(left, secrets.randbits(32))


def _audit(whole: list[Task], request: Request, partial: Path | None, options: dict[str, Any]) -> int:
    """Judge the tasks, or those of a shard, and show what was found; the exit status."""
    cluster: dict[str, Any] = dict(cluster=options["cluster"], mixed=options["mixed"])
    tasks, head = whole, list[Record]()
    if options["shard"]:
        tasks, part = wing("scale.shards").part(whole, options["shard"], _recorded(options["costs"]))
        head = [part]
    journal = Journal(partial, lambda before: _resumed(head, before, tasks, partial, **cluster)) if partial else None
    resumed = [r for r in journal.kept if isinstance(r, Verdict)] if journal else []
    wanted = {identity(task) for task in tasks}
    done = {identity(verdict): verdict for verdict in resumed if identity(verdict) in wanted}
    verdicts = list(done.values())
    waiting = [task for task in tasks if identity(task) not in done]
    refutations = Refutations()
    try:
        with _Progress(len(tasks), len(done)) as progress:
            for verdict in verdicts:
                refutations.show(verdict)
            for verdict in judge_tasks(
                waiting,
                jobs=options["jobs"],
                isolate=not options["no_isolation"],
                notify=progress.show_workers,
                **cluster,
            ):
                verdicts.append(verdict)
                if journal:
                    journal.add([verdict])
                refutations.show(verdict)
                progress.advance(verdict)
    except (KeyboardInterrupt, registry.Impossible) as error:
        kept = (
            f"; {len(verdicts)} of {len(tasks)} verdicts are in {journal.path}, the same command resumes"
            if journal
            else ""
        )
        click.echo(f"opjury: {error if isinstance(error, registry.Impossible) else 'interrupted'}{kept}", err=True)
        return USAGE if isinstance(error, registry.Impossible) else 130
    warn_if_gone(request.database)
    found = Audit(in_order(tasks, verdicts))
    show_sums(found, options["all_verdicts"])
    click.echo(f"seed {request.seed}; the same audit again: --seed {request.seed}")
    if journal:
        records.write(options["json_file"], [*head, *found.verdicts])
        journal.end()
    if options["junit_file"]:
        files.write_whole(options["junit_file"], exports.junit(found.verdicts))
    elsewhere = bool(options["shard"]) and any(map(applies, whole)) and not any(map(applies, tasks))
    return exit_status(found, elsewhere=elsewhere)


def tasks_of(request: Request, target: str, operation: str | None, *, far: bool = False) -> list[Task]:
    """The tasks of one argument of the command line; `far`: for other machines.

    It is a registered name; or `path/to/file.py:function`, `package.module:function`, or either for all its public functions.

    Raises
    ------
    click.UsageError
        For a file without `--as`, a file that cannot be imported, a function that is not in it.
    UnknownName
    """
    place, _, name = target.partition(":")
    if operation is None:
        if place.endswith(".py"):
            raise click.UsageError(f"{target} needs --as OPERATION, the contract that it is held to")
        return planned(request, target, None)[0]
    registry.operation(operation)  # an unknown one is told before anything is imported
    if place.endswith(".py") and not Path(place).is_file():
        raise click.UsageError(f"there is no file {place}")
    try:
        module = imported(place)
    except BaseException as error:
        raise click.UsageError(f"{place} cannot be imported: {type(error).__name__}: {error}") from None
    if name in vars(module) and not callable(vars(module)[name]):
        raise click.UsageError(f"{target} is {reprlib.repr(vars(module)[name])}, which is not callable")
    known = {key: value for key, value in vars(module).items() if callable(value) and not key.startswith("_")}
    if not name:
        known = {key: value for key, value in known.items() if getattr(value, "__module__", "") == module.__name__}
        known = {key: value for key, value in known.items() if not isinstance(value, type)}
        if not known:
            raise click.UsageError(f"{place} defines no public function")
    elif name not in known:
        raise click.UsageError(registry.unknown(f"function of {place}", name, known))
    wanted = {name: known[name]} if name else known
    try:
        sent = {key: Function.to_send(function) if far else Function.of(function) for key, function in wanted.items()}
        return [task for key, function in sent.items() for task in request.tasks(operation, key, function)]
    except TypeError as error:
        raise click.UsageError(str(error)) from None


class _Progress:
    """A progress bar on a terminal; silence elsewhere."""

    def __init__(self, total: int, done: int) -> None:
        columns = (
            TextColumn("judging{task.fields[where]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not sys.stdout.isatty())
        self._task = self._bar.add_task("", total=total, completed=done, where="")

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def advance(self, verdict: Verdict) -> None:
        """One verdict more."""
        self._bar.update(self._task, advance=1, description=f"{verdict.implementation} {verdict.check}"[:40])

    def show_workers(self, count: int) -> None:
        """How many workers the cluster has."""
        self._bar.update(self._task, where=f" on {count} worker{'s' if count != 1 else ''}")

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()


def _recorded(costs: Path | None) -> list[Verdict]:
    """What an earlier audit took. Raises `click.UsageError` for another file: all shards must read the same."""
    try:
        return [r for r in records.read(costs) if isinstance(r, Verdict)] if costs else []
    except ValueError as error:
        raise click.UsageError(f"--costs: {error}") from None


def _resumed(
    head: list[Record], before: Sequence[Record], tasks: Sequence[Task], file: Path, *, cluster: str, mixed: bool
) -> list[Record]:
    """What an interrupted audit left, if it was the same: profile, seed and part, code and versions, and, without a cluster, machine."""

    def fits(verdict: Verdict) -> bool:
        theirs, ours = verdict.environment, environment()
        if (verdict.profile, verdict.seed) != (tasks[0].profile, tasks[0].seed):
            return False
        if theirs is None or not cluster:
            return theirs == ours
        return mixed or theirs.versions == ours.versions

    same = tasks and before and head == [r for r in before if isinstance(r, Part)] and not _written_since(file, tasks)
    return [*head, *(r for r in before if same and isinstance(r, Verdict) and fits(r))]


def _written_since(file: Path, tasks: Sequence[Task]) -> bool:
    """Whether the code on trial, or what judges it, is newer than a file."""
    functions = {(t.operation, t.implementation): implementation_of(t).function for t in tasks}.values()
    sources = {*judging(), *(source for function in functions for source in family_of(function))}
    return any(source.stat().st_mtime > file.stat().st_mtime for source in sources)


def _judge_claims(questions: Sequence[str]) -> int:
    """Judge the claims (of some questions, by the first part of their ids) and print their evidence: 1 if any is news."""
    found = [claim for claim in registry.claims() if not questions or claim.name.partition(".")[0] in questions]
    names_checked("question", questions, {claim.name.partition(".")[0] for claim in registry.claims()})
    news, title = 0, ""
    for claim in found:
        if claim.question != title:
            title = claim.question
            console.print(f"\n[bold]{escape(title)}[/]")
        verdict, evidence = claim.judge()
        news += verdict != claim.expected
        was = "" if verdict == claim.expected else f"  [bold yellow](news: was {claim.expected})[/]"
        console.print(f"  [{STYLE[verdict]}]{verdict:8}[/] {escape(claim.text)}{was}")
        console.print(f"           [dim]{escape(claim.name)}: {escape(evidence)}[/]")
    console.print(f"\n{len(found)} claims; {news} with another verdict than with the tested versions.")
    return BAD if news else GOOD
