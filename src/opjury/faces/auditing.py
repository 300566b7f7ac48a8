"""The command `opjury audit`: targets to tasks, progress, table, counterexamples, files."""

from __future__ import annotations

import reprlib
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from opjury import disk, records, registry
from opjury.cli import BAD, GOOD, NOTHING, USAGE
from opjury.faces import exports, team, terminal
from opjury.faces.options import function_at
from opjury.faces.verdicts import Tally
from opjury.model.outcome import standings
from opjury.records import Part, Record, Verdict
from opjury.shipping import Function, imported
from opjury.uses import shards
from opjury.uses.audit import Audit, identity, in_order, planned
from opjury.uses.audit import run as run_tasks
from opjury.uses.journal import Journal, left_in
from opjury.uses.request import Request, device_checked, names_checked
from opjury.uses.shards import Shard
from opjury.uses.sources import family_of, judging
from opjury.verify.device import present
from opjury.verify.task import PROFILES, Task, applies, implementation_of

COUNTEREXAMPLES = Path(".opjury") / "counterexamples"


def run(
    targets: Sequence[str],
    *,
    operation: str | None,
    profile: str,
    checks: Sequence[str],
    dtypes: Sequence[str],
    device: str,
    jobs: int | None,
    seed: int | None,
    no_isolation: bool,
    json_file: str | None,
    junit_file: str | None,
    all_verdicts: bool,
    shard: Shard | None,
    costs: Path | None,
    example_db: str | None,
    waives: Sequence[tuple[str, str]] = (),
    error: str | None = None,
    cluster: str = "",
    mixed: bool = False,
) -> int:
    """Audit the targets and show what was found; the exit status."""
    if (waives or error) and not operation:
        raise click.UsageError("--waive and --error are for functions of a file or module; they need --as OPERATION")
    if shard and seed is None:
        raise click.UsageError("--shard needs --seed, the same for all shards: together they are one audit")
    if costs and not shard:
        raise click.UsageError("--costs tells how to divide an audit; it needs --shard")
    if cluster and (jobs or no_isolation):
        raise click.UsageError("--jobs and --no-isolation are about this machine; with --cluster its workers judge")
    journal_file = Path(json_file + ".partial") if json_file else None
    if seed is None:
        left = next((r for r in left_in(journal_file) if isinstance(r, Verdict)), None) if journal_file else None
        seed = left.seed if left else secrets.randbits(32)
    request = Request(
        profile=profile,
        checks=checks or None,
        dtypes=dtypes or None,
        device=device,
        seed=seed,
        database=team.database_of(example_db) if example_db or not cluster else "",
        waives=dict(waives),
        error=function_at(error) if error else None,
    )
    targets = targets or [o.name for o in registry.operations() if not dtypes or set(dtypes) & set(o.dtypes)]
    tasks = [task for target in targets for task in tasks_of(request, target, operation, far=bool(cluster))]
    if not cluster and not present(device):
        click.echo("opjury: no CUDA device is present; nothing was run", err=True)
        return NOTHING
    whole, head = tasks, list[Record]()
    if shard:
        tasks, part = shards.part(whole, shard, _recorded(costs))
        head = [part]
    journal = (
        Journal(journal_file, lambda before: _resumed(head, before, tasks, journal_file, cluster, mixed))
        if journal_file
        else None
    )
    resumed = [r for r in journal.kept if isinstance(r, Verdict)] if journal else []
    wanted = {identity(task) for task in tasks}
    done = {identity(verdict): verdict for verdict in resumed if identity(verdict) in wanted}
    verdicts = list(done.values())
    open_tasks = [task for task in tasks if identity(task) not in done]
    try:
        with _progress(len(tasks), len(done)) as progress:
            where: dict[str, Any] = dict(cluster=cluster, mixed=mixed, notify=progress.show_workers)
            for verdict in run_tasks(open_tasks, jobs=jobs, isolate=not no_isolation, **where):
                verdicts.append(verdict)
                if journal:
                    journal.add([verdict])
                progress.advance(verdict)
    except (KeyboardInterrupt, registry.Impossible) as error:
        kept = (
            f"; {len(verdicts)} of {len(tasks)} verdicts are in {journal.path}, the same command resumes"
            if journal
            else ""
        )
        click.echo(f"opjury: {error if isinstance(error, registry.Impossible) else 'interrupted'}{kept}", err=True)
        return USAGE if isinstance(error, registry.Impossible) else 130
    team.warn_if_gone(request.database)
    found = Audit(in_order(tasks, verdicts))
    show(found, all_verdicts)
    click.echo(f"seed {seed}; the same audit again: --seed {seed}")
    if json_file:
        records.write(json_file, [*head, *found.verdicts])
        assert journal is not None
        journal.end()
    if junit_file:
        disk.write(junit_file, exports.junit(found.verdicts))
    return exit_status(found, elsewhere=shard is not None and any(map(applies, whole)) and not any(map(applies, tasks)))


def exit_status(found: Audit, *, elsewhere: bool = False) -> int:
    """1 where something is not as declared, else 3 where nothing was judged, else 0. `elsewhere`: what applies is in other shards."""
    if found.judged:
        return GOOD if found.ok else BAD
    click.echo(f"opjury: nothing was executed{'; what applies is in other shards' * elsewhere}", err=True)
    return BAD if found.surprises() else GOOD if elsewhere else NOTHING


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


class _progress:
    """A progress bar on a terminal; silence elsewhere."""

    def __init__(self, total: int, done: int) -> None:
        columns = (
            TextColumn("judging{task.fields[where]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Progress(*columns, console=terminal.console, transient=True, disable=not sys.stdout.isatty())
        self._task = self._bar.add_task("", total=total, completed=done, where="")

    def __enter__(self) -> _progress:
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
    head: list[Record], before: Sequence[Record], tasks: Sequence[Task], file: Path, cluster: str, mixed: bool
) -> list[Record]:
    """What an interrupted audit left, if it was the same: profile, seed and part, code and versions, and, without a cluster, machine."""

    def fits(verdict: Verdict) -> bool:
        theirs, ours = verdict.environment, records.environment()
        if (verdict.profile, verdict.seed) != (tasks[0].profile, tasks[0].seed):
            return False
        if theirs is None or not cluster:
            return theirs == ours
        return mixed or records.versions(theirs) == records.versions(ours)

    same = tasks and before and head == [r for r in before if isinstance(r, Part)] and not _written_since(file, tasks)
    return [*head, *(r for r in before if same and isinstance(r, Verdict) and fits(r))]


def _written_since(file: Path, tasks: Sequence[Task]) -> bool:
    """Whether the code on trial, or what judges it, is newer than a file."""
    functions = {(t.operation, t.implementation): implementation_of(t).function for t in tasks}.values()
    files = {*judging(), *(source for function in functions for source in family_of(function))}
    return any(source.stat().st_mtime > file.stat().st_mtime for source in files)


def show(found: Audit, all_verdicts: bool) -> None:
    """The matrix, then each refutation with its counterexample, then what is not as declared."""
    console = terminal.console
    judged = found.judged
    shown = [v for v in found.verdicts if v.name in judged or not judged]
    console.print(terminal.matrix(shown))
    console.print(terminal.legend(shown))
    if all_verdicts:
        for v in found.verdicts:
            console.print(
                f"{v.status:12} {v.name} {v.check} ({', '.join(v.dtypes)}) {v.examples} examples {v.told}",
                markup=False,
            )
    grouped: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in found.refuted:
        grouped.setdefault((verdict.name, "" if verdict.control else verdict.check), []).append(verdict)
    for verdicts in grouped.values():
        smallest = min(verdicts, key=lambda v: len(str(v.counterexample)) if v.counterexample else 10**9)
        scripts = {id(v): _write_script(v) for v in (verdicts if smallest.control else [smallest])}
        if smallest.control:
            terminal.show_control(verdicts)
        else:
            terminal.show_refutation([smallest, *(v for v in verdicts if v is not smallest)], scripts[id(smallest)])
    needed = {(v.name, v.check) for v in found.verdicts if v.status == "waived"}
    unneeded = {(v.name, v.check): v.told for v in found.verdicts if v.status == "holds" and v.waiver}
    for (name, check), message in unneeded.items():
        if (name, check) not in needed:
            console.print(f"note: {name}: {check} is {message}", markup=False)
    surprises = found.surprises()
    errors = {(v.name, v.check): v for v in found.verdicts if v.status == "error"}
    for v in errors.values():
        terminal.show_error(v)
    unjudged = {v.name: v.message for v in found.verdicts if v.name not in judged and (v.name, v.check) not in errors}
    for name, why in unjudged.items():
        console.print(f"not judged {name}: {why}", markup=False)
    examples = sum(v.examples for v in found.verdicts)
    tally = Tally.of(standings(found.verdicts))
    console.print(f"\n{tally}; {examples:,} examples were executed.")
    if surprises and any(v.control for v in found.verdicts):
        console.print("Not as declared:\n" + "\n".join(f"  {line}" for line in surprises), markup=False)


def _write_script(verdict: Verdict) -> str:
    if not verdict.script:
        return ""
    path = COUNTEREXAMPLES / f"{verdict.operation}-{verdict.implementation}-{verdict.check}.py"
    try:
        disk.write(path, verdict.script.encode())
    except disk.Unwritable as error:
        click.echo(f"opjury: {error}", err=True)
        return ""
    return str(path)


def try_claims(questions: Sequence[str]) -> int:
    """Judge the claims (of some questions, by the first part of their ids) and print their evidence: 1 if any is news."""
    found = [claim for claim in registry.claims() if not questions or claim.name.partition(".")[0] in questions]
    names_checked("question", questions, {claim.name.partition(".")[0] for claim in registry.claims()})
    news, title = 0, ""
    for claim in found:
        if claim.question != title:
            title = claim.question
            terminal.console.print(f"\n[bold]{escape(title)}[/]")
        verdict, evidence = claim.judge()
        news += verdict != claim.expected
        was = "" if verdict == claim.expected else f"  [bold yellow](news: was {claim.expected})[/]"
        terminal.console.print(f"  [{terminal.STYLE[verdict]}]{verdict:8}[/] {escape(claim.text)}{was}")
        terminal.console.print(f"           [dim]{escape(claim.name)}: {escape(evidence)}[/]")
    terminal.console.print(f"\n{len(found)} claims; {news} with another verdict than with the tested versions.")
    return BAD if news else GOOD


def replay(file: Path) -> int:
    """Try stored counterexamples again, as an audit tries its cases; the exit status.

    It is 1 where one still refutes what should hold up by its declaration of now, 3 where none could be tried. A script only shows
    what comes out: its status is 1 where it ends with an error.
    """
    if file.suffix == ".py":
        return BAD if subprocess.run([sys.executable, str(file)], check=False).returncode else GOOD
    stored = [v for v in records.read(file) if isinstance(v, Verdict) and v.counterexample]
    if not stored:
        click.echo(f"opjury: {file} holds no counterexample", err=True)
        return NOTHING
    tasks = []
    for verdict in stored:
        try:
            tasks.append(_again(verdict))
        except (registry.UnknownName, registry.Impossible) as error:
            terminal.console.print(f"{verdict.name} {verdict.check}: cannot be tried here: {error}", markup=False)
    found = []
    for verdict in run_tasks(tasks, jobs=1):
        found.append(verdict)
        known = {
            "refuted": f"still refuted{' (known to be wrong)' * verdict.control}: {verdict.message}",
            "waived": verdict.told,
            "holds": "holds now",
        }
        outcome = known.get(verdict.status, f"{verdict.status}: {verdict.message}")
        terminal.console.print(f"{verdict.name} {verdict.check}: {outcome}", markup=False)
    if any(v.status == "refuted" and not v.control for v in found):
        return BAD
    return GOOD if Audit(tuple(found)).judged else NOTHING


def _again(verdict: Verdict) -> Task:
    """The task of trying a counterexample. Raises `UnknownName` for what is not registered, `Impossible` for want of its device."""
    profile = verdict.profile or "quick"
    registry.check(verdict.check)
    names_checked("profile", [profile], PROFILES)
    registry.operation(verdict.operation)
    registry.implementation(verdict.operation, verdict.implementation)
    device_checked(verdict.device)
    where = (verdict.operation, verdict.implementation, verdict.check, verdict.dtypes, profile, verdict.device)
    return Task(*where, shrink=False, only=verdict.counterexample)
