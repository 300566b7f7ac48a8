"""Which implementations may be ranked: their verdicts in the checks that matter, stored ones where nothing has changed, else new ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from opjury.audit import judge_tasks, surprising
from opjury.judge.task import Request
from opjury.model import records, registry
from opjury.model.environment import environment
from opjury.model.files import Unwritable
from opjury.model.implementation import Implementation
from opjury.model.records import Verdict
from opjury.model.setting import Setting
from opjury.model.sources import digest, family_of, judging
from opjury.run.ship import Function


@dataclass(frozen=True)
class Requirement:
    """Which verdicts matter."""

    setting: Setting
    checks: tuple[str, ...]

    def met_by(self, verdict: Verdict) -> bool:
        """Whether a verdict is one of them."""
        return (
            verdict.operation == self.setting.operation
            and verdict.check in self.checks
            and self.setting.dtype in verdict.dtypes
            and verdict.device == self.setting.device
        )


def trusted(path: Path | str, requirement: Requirement) -> dict[str, list[Verdict]]:
    """The verdicts that a file has, by implementation, whatever versions they are of."""
    found: dict[str, list[Verdict]] = {}
    for record in records.read(path):
        if isinstance(record, Verdict) and requirement.met_by(record):
            found.setdefault(record.implementation, []).append(record)
    return found


def verdicts_of(
    requirement: Requirement,
    entries: Iterable[Implementation],
    shipped: Mapping[str, Function],
    seed: int,
    jobs: int | None = None,
) -> dict[str, list[Verdict]]:
    """Verdicts by implementation: stored ones of the same code and versions, the rest by a quick audit now.

    Those of plain functions, and of what is declared in no file, are never stored: what they depend on (a closure, a notebook's cell)
    cannot be compared with what it was.
    """
    from opjury.judge.database import local_folder

    contract, setting = registry.operation(requirement.setting.operation), requirement.setting
    found: dict[str, list[Verdict]] = {}
    waiting, stores = [], {}
    for entry in entries:
        if entry.name not in shipped and all(map(family_of, (entry.function, contract.reference))):
            stores[entry.name] = _store(requirement, entry)
        found[entry.name] = [v for v in _stored(stores.get(entry.name)) if v.check in requirement.checks]
        missing = [check for check in requirement.checks if check not in {v.check for v in found[entry.name]}]
        if missing:
            request = Request(
                checks=missing,
                dtypes=setting.dtype,
                device=setting.device,
                seed=seed,
                database=local_folder(),
            )
            waiting += request.tasks(contract.name, entry.name, shipped.get(entry.name))
    fresh: dict[str, list[Verdict]] = {}
    for verdict in judge_tasks(waiting, jobs=jobs):
        fresh.setdefault(verdict.implementation, []).append(verdict)
    for name, verdicts in fresh.items():
        found[name] += verdicts
    try:
        for name in stores.keys() & fresh.keys():
            records.write(stores[name], [*_stored(stores[name]), *fresh[name]])
    except Unwritable as error:
        warnings.warn(f"{error}; what was found is judged again next time", stacklevel=2)
    for verdicts in found.values():  # the more elementary check first, whatever was judged first
        verdicts.sort(key=lambda verdict: requirement.checks.index(verdict.check))
    return found


def doubt(verdicts: Sequence[Verdict]) -> str | None:
    """Why these verdicts do not let an implementation compete; None where they do."""
    for v, _ in surprising(verdicts):
        return f"{'refuted' if v.status == 'refuted' else 'could not be judged'} in {v.check}: {v.message}"
    if not any(v.check == "agreement" and v.examples for v in verdicts):
        return "not judged: " + next((v.message for v in verdicts if v.check == "agreement"), "there is no verdict")
    return None


def _stored(path: Path | None) -> list[Verdict]:
    if path is None:
        return []
    try:
        return [record for record in records.read(path) if isinstance(record, Verdict)]
    except (OSError, ValueError):  # not there, or of another version
        return []


def _store(requirement: Requirement, entry: Implementation) -> Path:
    """Where verdicts are kept: the name changes with the code on trial, the contract's, the judge's, and the versions."""
    contract, setting = registry.operation(requirement.setting.operation), requirement.setting
    written = [*family_of(entry.function), *family_of(contract.reference), *judging()]
    code = digest(written, repr(environment()))
    name = f"{entry.operation}-{entry.name}-{setting.dtype}-{setting.device}-{code}.jsonl"
    return Path(platformdirs.user_cache_dir("opjury")) / "verdicts" / name
