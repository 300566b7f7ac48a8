"""The command `opjury replay`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from opjury.audit import Audit, judge_tasks
from opjury.cli.exit import BAD, GOOD, NOTHING
from opjury.cli.terminal import console
from opjury.judge.task import PROFILES, Task, device_checked, names_checked
from opjury.model import records, registry
from opjury.model.records import Verdict
from opjury.model.registry import Impossible, UnknownName


@click.command("replay")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def replay_command(context: click.Context, /, file: Path) -> None:
    """Try the counterexamples in FILE (records, or a replay script) again.

    Exit status 1 where one still refutes what should hold up, 3 where none can be tried here: a function of your own has its script.
    A script prints what is and what should be, and exits with 1 while the fault is there.
    """
    context.exit(_run_script(file) if file.suffix == ".py" else _judge_again(file))


def _run_script(file: Path) -> int:
    return BAD if subprocess.run([sys.executable, str(file)], check=False).returncode else GOOD


def _judge_again(file: Path) -> int:
    """Try stored counterexamples as an audit tries its cases, by the declarations of now; the exit status."""
    stored = [v for v in records.read(file) if isinstance(v, Verdict) and v.counterexample]
    if not stored:
        click.echo(f"opjury: {file} holds no counterexample", err=True)
        return NOTHING
    tasks = []
    for verdict in stored:
        try:
            tasks.append(_again(verdict))
        except (UnknownName, Impossible) as error:
            console.print(f"{verdict.name} {verdict.check}: cannot be tried here: {error}", markup=False)
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
    if any(v.status == "refuted" and not v.control for v in found):
        return BAD
    return GOOD if Audit(tuple(found)).judged else NOTHING


def _again(verdict: Verdict) -> Task:
    """The task of trying a counterexample. Raises `UnknownName` for what is not registered, `Impossible` for want of its device."""
    profile = verdict.profile or "quick"
    registry.check(verdict.check)
    names_checked("profile", [profile], PROFILES)
    registry.operation(verdict.operation)
    registry.entry(verdict.operation, verdict.implementation)
    device_checked(verdict.device)
    where = (verdict.operation, verdict.implementation, verdict.check, verdict.dtypes, profile, verdict.device)
    return Task(*where, shrink=False, only=verdict.counterexample)
