"""Which implementations may be ranked: their verdicts in the required checks, stored ones where nothing has changed, else new ones."""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from opjury.audit import judge_tasks, surprising
from opjury.judge.task import Request
from opjury.model import records, registry
from opjury.model.environment import environment
from opjury.model.files import Unwritable
from opjury.model.implementation import Error, Implementation
from opjury.model.records import Verdict
from opjury.model.setting import Setting
from opjury.model.sources import digest, family_of, judging
from opjury.run.ship import Function

if TYPE_CHECKING:
    from opjury.model.case import Case

ERROR = "error"  # among what an implementation waives: the contract's error bound


def trusted(path: Path | str, setting: Setting, checks: Sequence[str]) -> dict[str, list[Verdict]]:
    """The verdicts of these checks in a file, by implementation, of whatever versions."""
    found: dict[str, list[Verdict]] = {}
    for verdict in (record for record in records.read(path) if isinstance(record, Verdict)):
        here = (verdict.operation, verdict.device) == (setting.operation, setting.device)
        if here and verdict.check in checks and setting.dtype in verdict.dtypes:
            found.setdefault(verdict.implementation, []).append(verdict)
    return found


def verdicts_of(
    setting: Setting,
    checks: Sequence[str],
    entries: Iterable[Implementation],
    shipped: Mapping[str, Function],
    seed: int,
    jobs: int | None = None,
) -> dict[str, list[Verdict]]:
    """Verdicts by implementation: stored ones of the same code and versions, the others by a quick audit now.

    Verdicts of plain functions, and of what is declared in no file, are never stored: it cannot be seen whether what they depend on
    (a closure, a notebook's cell) has changed.
    """
    from opjury.judge.database import local_folder

    contract = registry.operation(setting.operation)
    found: dict[str, list[Verdict]] = {}
    waiting, stores = [], {}
    for entry in entries:
        stored = []
        if entry.name not in shipped and all(map(family_of, (entry.function, contract.reference))):
            stores[entry.name] = _store(setting, entry)
            stored = _stored(stores[entry.name])
        found[entry.name] = [v for v in stored if v.check in checks]
        judged = {v.check for v in found[entry.name]}
        if missing := [check for check in checks if check not in judged]:
            request = Request(
                checks=missing, dtypes=setting.dtype, device=setting.device, seed=seed, database=local_folder()
            )
            waiting += request.tasks(contract.name, entry.name, shipped.get(entry.name))
    fresh: dict[str, list[Verdict]] = {}
    for verdict in judge_tasks(waiting, jobs=jobs):
        fresh.setdefault(verdict.implementation, []).append(verdict)
        found[verdict.implementation].append(verdict)
    try:
        for name in stores.keys() & fresh.keys():
            records.write(stores[name], [*_stored(stores[name]), *fresh[name]])
    except Unwritable as error:
        warnings.warn(f"{error}; what was found is judged again next time", stacklevel=2)
    for verdicts in found.values():  # the more elementary check first, whatever was judged first
        verdicts.sort(key=lambda verdict: checks.index(verdict.check))
    return found


def doubt(verdicts: Sequence[Verdict]) -> str | None:
    """Why these verdicts do not let an implementation compete, or None where they do."""
    for v, _ in surprising(verdicts):
        return f"{'refuted' if v.status == 'refuted' else 'could not be judged'} in {v.check}: {v.message}"
    for v in verdicts:
        if v.status == "undecided":
            return f"undecided in {v.check}: {v.message}"
    if not any(v.check == "agreement" and v.examples for v in verdicts):
        return "not judged: " + next((v.message for v in verdicts if v.check == "agreement"), "there is no verdict")
    return None


def waived(entry: Implementation, verdicts: Sequence[Verdict], dtype: str) -> dict[str, str]:
    """The worst case by what an implementation waives for a dtype: checks by their verdicts, and `ERROR` by its error model."""
    looser = entry.error is not None and is_looser(entry.operation, entry.error, dtype)
    own = {ERROR: entry.error.worst or "its own error bound"} if entry.error and looser else {}
    return own | {v.check: v.waiver for v in verdicts if v.status == "waived"}


@functools.lru_cache(maxsize=256)
def is_looser(operation: str, error: Error, dtype: str) -> bool:
    """Whether an error model allows a larger error than the contract, in one of some calls with arguments in a dtype.

    Both bounds are computed for drawn cases, and again with all elements but one of each argument zero: a linear operation's bound is a
    sum over such elements, so that one which is not larger for any of these is not larger for other values.
    """
    import numpy as np

    from opjury.judge import draw, oracle

    contract = registry.operation(operation)
    kind = draw.Kind(operation, (dtype,), contract.tiers, ("contiguous",), False, 0)
    for case in itertools.islice(draw.stream(kind), draw.CHUNK):
        for call in (replace(case, tier="rounding"), replace(_with_single_elements(case), tier="rounding")):
            with contextlib.suppress(oracle.ContractError):  # the operation may have no result there
                own, allowed = (np.asarray(oracle.expected(contract, call, model).bound) for model in (error, None))
                if np.any(own > allowed * (1 + 1e-9)):  # bounds are rounded, too
                    return True
    return False


def _with_single_elements(case: Case) -> Case:
    """The case with a one at one place of each argument, and zeros everywhere else."""
    import numpy as np

    from opjury.model.arguments import Sparse, Tensor

    rng = np.random.default_rng(case.seed)

    def single(leaf: Any) -> Any:
        if not isinstance(leaf, (Tensor, Sparse)) or not leaf.data or not leaf.values.size:
            return leaf
        values = np.zeros_like(leaf.values)
        values.flat[rng.integers(values.size)] = 1
        return replace(leaf, values=values)

    return case.map(single)


def _stored(path: Path) -> list[Verdict]:
    try:
        return [record for record in records.read(path) if isinstance(record, Verdict)]
    except (OSError, ValueError):  # not there, or of another version
        return []


def _store(setting: Setting, entry: Implementation) -> Path:
    """Where verdicts are kept: the name changes with the code of the implementation, its contract and the judge, and with the versions."""
    contract = registry.operation(setting.operation)
    written = [*family_of(entry.function), *family_of(contract.reference), *judging()]
    code = digest(written, repr(environment()))
    name = f"{entry.operation}-{entry.name}-{setting.dtype}-{setting.device}-{code}.jsonl"
    return Path(platformdirs.user_cache_dir("opjury")) / "verdicts" / name
