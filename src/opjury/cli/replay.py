"""The command `opjury replay`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec

from opjury.audit import Audit, judge_tasks
from opjury.cli.exit import BAD, GOOD, NOTHING
from opjury.cli.options import RECORDS_FILE, function_at
from opjury.cli.terminal import console
from opjury.cli.text import counted
from opjury.judge.task import PROFILES, Task, device_checked, names_checked
from opjury.model import records, registry
from opjury.model.records import Verdict
from opjury.run.ship import Function

_PATIENCE = 300  # seconds that a script may take


@click.command("replay")
@click.argument("file", type=RECORDS_FILE)
@click.option(
    "--with",
    "target",
    metavar="FILE.py:FUNCTION",
    help="Try the counterexamples on this function of your own, or on MODULE:FUNCTION.",
)
@click.pass_context
def replay_command(context: click.Context, /, file: Path, target: str | None) -> None:
    """Try stored counterexamples again.

    FILE holds records (JSON Lines), or is a replay script (.py).

    The counterexample of a record is tried on the implementation that it names, or on that of --with. Where the name is not known here,
    as that of a function of your own, the script of the record is run: it holds the function as it was. So open only records that you
    trust. Exit status 1 if one that should hold up is still refuted, 3 if none can be tried here.

    A script shows what is wrong and exits with 1 while the fault is there.
    """
    if file.suffix == ".py":
        if target:
            raise click.UsageError("--with needs records; a script holds its own function")
        context.exit(BAD if subprocess.run([sys.executable, str(file)], check=False).returncode else GOOD)
    stored = [v for v in records.read(file) if isinstance(v, Verdict) and v.counterexample]
    if not stored:
        click.echo(f"opjury: {file} holds no counterexample", err=True)
        context.exit(NOTHING)
    function = function_at(target) if target else None
    tasks, scripts, failed = list[Task](), list[Verdict](), dict[str, list[Verdict]]()
    for verdict in stored:
        try:
            tasks.append(_task_of(verdict, function))
        except (registry.UnknownName, registry.Impossible) as error:
            if verdict.script and isinstance(error, registry.UnknownName):
                scripts.append(verdict)
            else:
                failed.setdefault(str(error), []).append(verdict)
    found = _judged(tasks) + [_run(verdict) for verdict in scripts]
    for why, verdicts in failed.items():
        which = ", ".join(dict.fromkeys(f"{v.name} {v.check}" for v in verdicts))
        console.print(f"{counted(len(verdicts), 'counterexample')} cannot be tried here: {why} ({which})", markup=False)
    if any(v.status == "refuted" and not v.control for v in found):
        context.exit(BAD)
    context.exit(GOOD if Audit(tuple(found)).judged else NOTHING)


def _judged(tasks: list[Task]) -> list[Verdict]:
    """Try the tasks, and say of each how it ended."""
    found = []
    for verdict in judge_tasks(tasks, jobs=1):
        found.append(verdict)
        known = {
            "refuted": f"still refuted{' (known to be wrong)' * verdict.control}: {verdict.message}",
            "waived": verdict.told,
            "holds": "holds now",
        }
        outcome = known.get(verdict.status, f"{verdict.status}: {verdict.message}")
        console.print(f"{verdict.name} {verdict.check}: {outcome}", markup=False)
    return found


def _run(verdict: Verdict) -> Verdict:
    """Run the script of a record, say how it ended, and return the verdict that follows."""
    from opjury.judge.rehearsal import EARLIER, UNSHOWN

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(verdict.script)
        command = [sys.executable, str(script)]
        try:
            done = subprocess.run(command, timeout=_PATIENCE, capture_output=True, text=True, check=False)
            wrong, told = done.returncode != 0, (done.stderr.strip().splitlines() or [""])[-1]
        except subprocess.TimeoutExpired:
            wrong, told = True, f"no end within {_PATIENCE} s"
    status = verdict.status if wrong else "holds"
    outcome = f"its script still fails: {verdict.message}" if wrong else "its script passes"
    if told.startswith(("ModuleNotFoundError", "ImportError")):
        status, outcome = "skipped", f"its script cannot be run here: {told}"
    elif not wrong and verdict.message.endswith((EARLIER, UNSHOWN)):
        status, outcome = "skipped", f"its script shows nothing: {verdict.message}"
    console.print(f"{verdict.name} {verdict.check}: {outcome}", markup=False)
    return msgspec.structs.replace(verdict, status=status)


def _task_of(verdict: Verdict, function: Callable[..., Any] | None) -> Task:
    """The task that tries a counterexample again, as a case of an audit, on a function or by what is declared now.

    Raises `UnknownName` for a name that is not registered, `Impossible` if there is no such device.
    """
    profile = verdict.profile or "quick"
    registry.check(verdict.check)
    names_checked("profile", [profile], PROFILES)
    registry.operation(verdict.operation)
    device_checked(verdict.device)
    name = verdict.implementation if function is None else getattr(function, "__name__", "function")
    if function is None:
        registry.entry(verdict.operation, name)
    task = Task(verdict.operation, name, verdict.check, verdict.dtypes, profile, verdict.device)
    sent = Function.of(function) if function else None
    return replace(task, function=sent, shrink=False, only=verdict.counterexample)
