"""The command `opjury replay`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from opjury.audit import Audit, judge_tasks
from opjury.cli.exit import BAD, GOOD, NOTHING
from opjury.cli.options import RECORDS_FILE
from opjury.cli.terminal import console
from opjury.judge.task import PROFILES, Task, device_checked, names_checked
from opjury.model import records, registry
from opjury.model.records import Verdict


@click.command("replay")
@click.argument("file", type=RECORDS_FILE)
@click.pass_context
def replay_command(context: click.Context, /, file: Path) -> None:
    """Try stored counterexamples again.

    FILE holds records (JSON Lines), or is a replay script (.py).

    Records: exit status 1 if a counterexample still refutes an implementation that should hold up, 3 if none can be tried here. A
    function of your own cannot be tried by its record: run its script.

    A script shows what is wrong and exits with 1 while the fault is there.
    """
    if file.suffix == ".py":
        context.exit(BAD if subprocess.run([sys.executable, str(file)], check=False).returncode else GOOD)
    stored = [v for v in records.read(file) if isinstance(v, Verdict) and v.counterexample]
    if not stored:
        click.echo(f"opjury: {file} holds no counterexample", err=True)
        context.exit(NOTHING)
    tasks, found = [], []
    for verdict in stored:
        try:
            tasks.append(_task_of(verdict))
        except (registry.UnknownName, registry.Impossible) as error:
            console.print(f"{verdict.name} {verdict.check}: cannot be tried here: {error}", markup=False)
    for verdict in judge_tasks(tasks, jobs=1):
        found.append(verdict)
        known = {
            "refuted": f"still refuted{' (known to be wrong)' * verdict.control}: {verdict.message}",
            "waived": verdict.told,
            "holds": "holds now",
        }
        outcome = known.get(verdict.status, f"{verdict.status}: {verdict.message}")
        console.print(f"{verdict.name} {verdict.check}: {outcome}", markup=False)
    if any(v.status == "refuted" and not v.control for v in found):
        context.exit(BAD)
    context.exit(GOOD if Audit(tuple(found)).judged else NOTHING)


def _task_of(verdict: Verdict) -> Task:
    """The task that tries a counterexample again as a case of an audit, by what is declared now.

    Raises `UnknownName` for a name that is not registered, `Impossible` if there is no such device.
    """
    profile = verdict.profile or "quick"
    registry.check(verdict.check)
    names_checked("profile", [profile], PROFILES)
    registry.operation(verdict.operation)
    registry.entry(verdict.operation, verdict.implementation)
    device_checked(verdict.device)
    where = (verdict.operation, verdict.implementation, verdict.check, verdict.dtypes, profile, verdict.device)
    return Task(*where, shrink=False, only=verdict.counterexample)
