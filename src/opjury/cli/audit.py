"""The command `opjury audit`: from targets to tasks, verdicts, a table and files."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from opjury.audit import Audit, identity, in_order, judge_tasks, planned
from opjury.cli import exports, options
from opjury.cli.exit import BAD, GOOD, NOTHING, USAGE
from opjury.cli.terminal import STYLE, Refutations, console, exit_status, progress_bar, show_sums
from opjury.cli.text import counted
from opjury.judge.task import Request, Task, applies, implementation_of, names_checked
from opjury.model import files, records, registry
from opjury.model.device import present
from opjury.model.environment import Environment, environment
from opjury.model.modules import wing
from opjury.model.outcome import causes_checked
from opjury.model.records import Journal, Part, Record, Verdict, left_in
from opjury.model.sources import family_of, judging
from opjury.run.ship import Function


@click.command("audit")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@click.option("--as", "operation", metavar="OPERATION", help="The operation that the given functions implement.")
@click.option(
    "--waive",
    "waives",
    type=options.waiver,
    multiple=True,
    metavar="CHECK=REASON",
    help="With --as: a check that the functions are known to fail, and why (repeatable).",
)
@click.option(
    "--error",
    metavar="FILE.py:FUNCTION",
    help="With --as: the functions' error model. It is called like the operation, with NumPy arrays of absolute values,"
    " and returns the Σ|a·x| of the error bound.",
)
@click.option(
    "--profile", default="quick", show_default=True, metavar="quick|full|nightly", help="How many cases to try."
)
@click.option("--check", "checks", multiple=True, metavar="CHECK", help="Only this check (repeatable).")
@click.option("--dtype", "dtypes", multiple=True, metavar="DTYPE", help="Only this dtype (repeatable).")
@options.DEVICE
@options.JOBS
@click.option("--seed", type=int, help="Seed of the cases; by default a new one, printed at the end.")
@options.EXAMPLE_DB
@click.option("--no-isolation", is_flag=True, help="Judge in this process; a crash or a hang then ends the audit.")
@options.CLUSTER
@click.option(
    "--shard", type=options.shard_of, metavar="I/N", help="Only part I of N, for a CI matrix; `opjury merge` joins all."
)
@click.option(
    "--costs", type=options.RECORDS_FILE, help="Records of an earlier audit, to balance shards; the same for all."
)
@options.json_option("Write the records (JSON Lines); an interrupted audit resumes from them.")
@options.JUNIT
@click.option("--claims", is_flag=True, help="Check the claims of published answers instead; targets are questions.")
@options.ALLOW_UNDECIDED
@options.ALL_VERDICTS
@click.pass_context
def audit_command(
    context: click.Context,
    /,
    targets: Sequence[str],
    *,
    operation: str | None,
    waives: Sequence[tuple[str, str]],
    error: str | None,
    checks: Sequence[str],
    dtypes: Sequence[str],
    seed: int | None,
    example_db: str | None,
    jobs: int | None,
    no_isolation: bool,
    cluster: str,
    mixed: bool,
    shard: tuple[int, int] | None,
    costs: Path | None,
    json_file: str | None,
    junit_file: str | None,
    claims: bool,
    allow_undecided: bool,
    all_verdicts: bool,
    **asked: Any,
) -> None:
    """Judge implementations and shrink each failure to a small case.

    A TARGET is OPERATION[:IMPLEMENTATION], or, with --as, FILE.py[:FUNCTION] or MODULE[:FUNCTION]. By default every implementation of
    every operation is judged.
    """
    if claims:
        options.refuse_others(context, "--claims", "claims", "targets")
        context.exit(_judge_claims(targets))
    if (waives or error) and not operation:
        raise click.UsageError("--waive and --error are for functions of a file or module; they need --as OPERATION")
    if shard and seed is None:
        raise click.UsageError("--shard needs --seed, the same for all shards: together they are one audit")
    if costs and not shard:
        raise click.UsageError("--costs tells how to divide an audit; it needs --shard")
    if cluster and (jobs or no_isolation):
        raise click.UsageError("--jobs and --no-isolation are about this machine; they do not go with --cluster")
    partial = Path(json_file + ".partial") if json_file else None
    if seed is None:  # an interrupted audit resumes with its own seed
        left = left_in(partial) if partial else []
        seed = next((r.seed for r in left if isinstance(r, Verdict)), secrets.randbits(32))
    request = Request(
        checks=checks or None,
        dtypes=dtypes or None,
        seed=seed,
        database=options.database_of(example_db) if example_db or not cluster else "",
        waives=dict(waives),
        error=options.function_at(error) if error else None,
        **asked,
    )
    targets = targets or [o.name for o in registry.operations() if not dtypes or set(dtypes) & set(o.dtypes)]
    whole = tasks = [task for target in targets for task in tasks_of(request, target, operation, far=bool(cluster))]
    if not cluster and not present(request.device):
        click.echo("opjury: no CUDA device is present; nothing was run", err=True)
        context.exit(NOTHING)
    head: list[Record] = []
    if shard:
        recorded = [r for r in records.read(costs) if isinstance(r, Verdict)] if costs else []
        tasks, part = wing("scale.shards").part(whole, shard, recorded)
        head = [part]
    journal = None
    if partial:
        journal = Journal(partial, lambda before: [*head, *_resumed(before, head, tasks, partial, cluster, mixed)])
    how: dict[str, Any] = dict(jobs=jobs, isolate=not no_isolation, cluster=cluster, mixed=mixed)
    refutations = Refutations()
    verdicts = _judged(tasks, journal, refutations, how)
    # What follows from another check may follow from one of another part.
    found = Audit(in_order(tasks, verdicts if shard else causes_checked(verdicts)))
    refutations.show_all(found)
    options.warn_if_gone(request.database)
    show_sums(found, all_verdicts)
    click.echo(f"seed {request.seed}; the same audit again: --seed {request.seed}")
    if json_file and journal:
        records.write(json_file, [*head, *found.verdicts])
        journal.end()
    if junit_file:
        files.write_whole(junit_file, exports.junit(found.verdicts))
    elsewhere = bool(shard) and any(map(applies, whole)) and not any(map(applies, tasks))
    context.exit(exit_status(found, elsewhere=elsewhere, allow_undecided=allow_undecided))


def _resumed(
    before: Sequence[Record], head: list[Record], tasks: Sequence[Task], file: Path, cluster: str, mixed: bool
) -> list[Verdict]:
    """The verdicts of an interrupted audit, if it was the same: profile, seed and part, code and versions, and, without a cluster, machine."""
    if not tasks or not before or head != [r for r in before if isinstance(r, Part)]:
        return []
    functions = {(t.operation, t.implementation): implementation_of(t).function for t in tasks}.values()
    sources = {*judging(), *(source for function in functions for source in family_of(function))}
    if any(source.stat().st_mtime > file.stat().st_mtime for source in sources):  # the code has changed since
        return []

    ours, asked = environment(), (tasks[0].profile, tasks[0].seed)

    def fits(theirs: Environment | None) -> bool:
        if theirs is None or not cluster:
            return theirs == ours
        return mixed or theirs.versions == ours.versions

    verdicts = [r for r in before if isinstance(r, Verdict)]
    return [v for v in verdicts if (v.profile, v.seed) == asked and fits(v.environment)]


def _judged(
    tasks: Sequence[Task], journal: Journal | None, refutations: Refutations, how: dict[str, Any]
) -> list[Verdict]:
    """The verdicts that the journal has, and those of the other tasks. Each refutation for a reason of its own is shown as it comes.

    Raises `click.exceptions.Exit` if the audit is interrupted or its cluster is lost.
    """
    wanted = {identity(task) for task in tasks}
    resumed = [r for r in journal.kept if isinstance(r, Verdict)] if journal else []
    done = {identity(verdict): verdict for verdict in resumed if identity(verdict) in wanted}
    verdicts = list(done.values())
    bar = progress_bar("judging{task.fields[where]}", "{task.description}")
    progress = bar.add_task("", total=len(tasks), completed=len(done), where="")
    try:
        with bar:
            for verdict in done.values():
                refutations.show(verdict)
            for verdict in judge_tasks(
                [task for task in tasks if identity(task) not in done],
                notify=lambda count: bar.update(progress, where=f" on {counted(count, 'worker')}"),
                **how,
            ):
                verdicts.append(verdict)
                if journal:
                    journal.add([verdict])
                refutations.show(verdict)
                bar.update(progress, advance=1, description=f"{verdict.implementation} {verdict.check}"[:40])
    except (KeyboardInterrupt, registry.Impossible) as error:
        message, status = (str(error), USAGE) if isinstance(error, registry.Impossible) else ("interrupted", 130)
        if journal:
            message += f"; {len(verdicts)} of {len(tasks)} verdicts are in {journal.path}; the same command resumes"
        click.echo(f"opjury: {message}", err=True)
        raise click.exceptions.Exit(status) from None
    return verdicts


def tasks_of(request: Request, target: str, operation: str | None, *, far: bool = False) -> list[Task]:
    """The tasks of one argument of the command line, or for other machines with `far`.

    The argument is a registered name, or with an operation `path/to/file.py:function`, `package.module:function`, or either without a
    function, for all its public functions.

    Raises
    ------
    click.UsageError
        For a file without `--as`, a file that cannot be imported, a function that is not in it.
    UnknownName
    """
    place, _, name = target.partition(":")
    if operation is None:
        if place.endswith(".py"):
            raise click.UsageError(f"{target} needs --as OPERATION, the operation that it implements")
        return planned(request, target, None)[0]
    registry.operation(operation)  # an unknown operation is an error before anything is imported
    if name:
        wanted = {name: options.function_at(target)}
    else:
        module = options.module_at(place)
        public = {key: value for key, value in vars(module).items() if callable(value) and not key.startswith("_")}
        functions = {key: value for key, value in public.items() if not isinstance(value, type)}
        wanted = {k: v for k, v in functions.items() if getattr(v, "__module__", "") == module.__name__}
        if not wanted:
            raise click.UsageError(f"{place} defines no public function")
    send = Function.to_send if far else Function.of
    try:
        return [task for key, function in wanted.items() for task in request.tasks(operation, key, send(function))]
    except TypeError as error:
        raise click.UsageError(str(error)) from None


def _judge_claims(questions: Sequence[str]) -> int:
    """Judge all claims, or those of some questions, and print their evidence. Return 1 if a verdict differs from the expected one."""
    names_checked("question", questions, {claim.name.partition(".")[0] for claim in registry.claims()})
    found = [claim for claim in registry.claims() if not questions or claim.name.partition(".")[0] in questions]
    changed, title = 0, ""
    for claim in found:
        if claim.question != title:
            title = claim.question
            console.print(f"\n[bold]{escape(title)}[/]")
        verdict, evidence = claim.judge()
        changed += verdict != claim.expected
        was = "" if verdict == claim.expected else f"  [bold yellow](changed: was {claim.expected})[/]"
        console.print(f"  [{STYLE[verdict]}]{verdict:8}[/] {escape(claim.text)}{was}")
        console.print(f"           [dim]{escape(claim.name)}: {escape(evidence)}[/]")
    console.print(f"\n{len(found)} claims; {changed} with another verdict than with the tested versions.")
    return BAD if changed else GOOD
