"""choose: which implementation to use at given sizes, among those that hold up."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opjury import eligible
from opjury.judge.task import device_checked, dtypes_checked, names_checked
from opjury.model import registry
from opjury.model.check import only
from opjury.model.device import free_memory
from opjury.model.implementation import Implementation
from opjury.model.operation import Operation
from opjury.model.records import Measurement, Recommendation, Record
from opjury.model.registry import Impossible
from opjury.model.setting import Setting
from opjury.run.ship import Function

if TYPE_CHECKING:
    from opjury.measure.contest import ContestResult
    from opjury.measure.footprint import Footprint
    from opjury.measure.recommend import ChoiceRequest
    from opjury.model.case import Case

HOPELESS, TOLD = 20.0, 0.05  # times as long as the best, and seconds: one call has told enough


@dataclass(frozen=True)
class Choice:
    """What to use, and what that was decided from.

    Parameters
    ----------
    recommendation : Recommendation
    measurements : tuple of Measurement
        Of those that hold up, the fastest first.
    """

    recommendation: Recommendation
    measurements: tuple[Measurement, ...]

    @property
    def implementation(self) -> str:
        """The name of the recommended implementation."""
        return self.recommendation.implementation

    @property
    def records(self) -> list[Record]:
        """All of it, as it is stored."""
        return [*self.measurements, self.recommendation]

    @property
    def excluded(self) -> dict[str, str]:
        """Why the others were not ranked, by name."""
        return self.recommendation.excluded


def choose(
    operation: str,
    workload: str | Mapping[str, int] = "medium",
    *,
    dtype: str | None = None,
    device: str = "cpu",
    gradient: bool = False,
    needs: Sequence[str] = (),
    strict: bool = False,
    max_error: float | None = None,
    max_memory: float | None = None,
    threads: int = 1,
    compile: bool = False,
    functions: Sequence[Callable[..., Any]] = (),
    trust: str | Path | None = None,
    seconds: float = 6.0,
    seed: int | None = None,
    thorough: bool = False,
    longest: float = math.inf,
    jobs: int | None = None,
    notify: Callable[[str], None] = lambda stage: None,
) -> Choice:
    """Measure the implementations that hold up against each other, and recommend one.

    Parameters
    ----------
    operation : str
    workload : str or mapping of str to int
        A named workload of the operation ("small", "medium", "large", …) or its sizes.
    dtype : str, optional
        By default float32, where the operation has it.
    device : {"cpu", "cuda"}
    gradient : bool
        Measure forward and backward together; only implementations with right gradients take part.
    needs : sequence of {"second_order", "forward_mode", "vmap"}
        What must be promised, and hold, besides.
    strict : bool
        Leave out who waives a check or has an error model of its own.
    max_error : float, optional
        The largest error allowed, in ulps of the largest element.
    max_memory : float, optional
        The most memory that a call may need, in bytes.
    threads : int
        For torch and the libraries beneath NumPy.
    compile : bool
        Let every torch implementation compete through `torch.compile`, too.
    functions : sequence of callable
        Plain functions that compete as well.
    trust : path, optional
        A file of records: its verdicts count, whatever versions they are of, and nothing is audited now.
    seconds : float
        How long the rounds may take.
    seed : int, optional
    thorough : bool
        For histories: measure the slow ones as often as the fast, and all of them in new processes until the shortest times of
        three agree to one percent. `seconds` are then those of the first five processes; there may be fifteen.
    longest : float
        Seconds, of all but the audit, after which a thorough measurement begins no more processes than three.
    jobs : int, optional
        Worker processes of the audit.
    notify : callable, optional
        Called with a few words when a new stage begins.

    Returns
    -------
    Choice

    Raises
    ------
    Impossible
        For sizes that the operation cannot have or that do not fit in memory, or a device that is not there.
    UnknownName
    """
    from opjury.measure.recommend import ChoiceRequest

    contract = registry.operation(operation)
    setting = setting_of(operation, workload, dtype=dtype, device=device, gradient=gradient, threads=threads)
    device_checked(device)
    names_checked("need", needs, [check.name for check in registry.checks().values() if check.required == "request"])
    dtypes_checked(contract, [dtype] if dtype else [])
    request = ChoiceRequest(
        setting,
        needs=tuple(needs),
        strict=strict,
        max_error=max_error,
        max_memory=max_memory,
        compile=compile,
        seconds=seconds,
        seed=secrets.randbits(32) if seed is None else seed,
        thorough=thorough,
        longest=longest,
    )
    case = _possible_case(contract, request)
    entries = {entry.name: entry for entry in registry.implementations(operation)}
    shipped = {}
    for function in functions:
        name = getattr(function, "__name__", type(function).__name__)
        if name in entries:
            raise Impossible(f"two implementations of {operation} are named {name}; name your function otherwise")
        shipped[name] = Function.of(function)
        entries[name] = Implementation(operation, name, function)
    return _choose(contract, request, case, entries, shipped, trust, jobs, notify)


def usual_dtype(operation: Operation) -> str:
    """float32 where the operation has it, else float64, else the first of its dtypes."""
    return next((d for d in ("float32", "float64") if d in operation.dtypes), operation.dtypes[0])


def sizes_of(operation: str, workload: str | Mapping[str, int]) -> dict[str, int]:
    """The sizes of a named workload, or a mapping that has been checked; what it leaves out is taken from "medium".

    Raises
    ------
    UnknownName
    Impossible
        For a size that is negative or no whole number.
    """
    known = registry.workload(operation).sizes
    if isinstance(workload, str):
        names_checked(f"workload of {operation}", [workload], known)
        return dict(known[workload])
    usual = known["medium"]
    names_checked(f"size of {operation}", workload, usual)
    for name, value in workload.items():
        if int(value) != value or value < 0:
            raise Impossible(f"{name}={value:g}; a size is a whole number, at least 0")
    return {name: int(workload.get(name, value)) for name, value in usual.items()}


def setting_of(
    operation: str,
    workload: str | Mapping[str, int] = "medium",
    *,
    dtype: str | None = None,
    device: str = "cpu",
    gradient: bool = False,
    threads: int = 1,
) -> Setting:
    """The setting of a named workload or of sizes, in the usual dtype by default; raises as `sizes_of`."""
    return Setting(
        operation=operation,
        sizes=sizes_of(operation, workload),
        dtype=dtype or usual_dtype(registry.operation(operation)),
        device=device,
        gradient=gradient,
        threads=threads,
    )


def _possible_case(contract: Operation, request: ChoiceRequest) -> Case:
    """The arguments of one call; `Impossible` where there is none."""
    from opjury.judge.draw import workload_case

    setting = request.setting
    if setting.gradient and not contract.differentiable:
        raise Impossible(f"{contract.name} has no gradient")
    shown = setting.shown_sizes.replace(" ", ", ")
    workload = registry.workload(contract.name)
    try:
        needed = 6 * workload.least_bytes(8, **setting.sizes)
        free = free_memory("cpu")
        if needed <= free:
            return workload_case(workload, setting, request.seed)
    except Exception as error:
        raise Impossible(f"{contract.name} cannot have the sizes {shown}: {error}") from None
    raise Impossible(
        f"the sizes {shown} need about {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free. Take smaller ones"
    )


def _choose(
    contract: Operation,
    request: ChoiceRequest,
    case: Case,
    entries: Mapping[str, Implementation],
    shipped: Mapping[str, Function],
    trust: str | Path | None,
    jobs: int | None,
    notify: Callable[[str], None],
) -> Choice:
    from opjury.measure.apart import first_calls, run_contest
    from opjury.measure.contest import Competitor, Contest
    from opjury.measure.recommend import measurements, recommend

    excluded: dict[str, str] = {}
    for entry in entries.values():
        reason = _not_eligible(contract, entry, request, case)
        if reason:
            excluded[entry.name] = reason
    able = [entry for name, entry in entries.items() if name not in excluded]
    notify(f"judging {len(able)} implementations")
    requirement = eligible.Requirement(request.setting, request.checks)
    verdicts = (
        eligible.trusted(trust, requirement)
        if trust
        else eligible.verdicts_of(requirement, able, shipped, request.seed, jobs)
    )
    waived: dict[str, dict[str, str]] = {}
    for entry in able:
        mine = verdicts.get(entry.name, [])
        reason = eligible.doubt(mine)
        if reason:
            excluded[entry.name] = reason
        reasons = entry.waived_on(request.setting.device)
        waived[entry.name] = {v.check: reasons.get(v.check, "") for v in mine if v.status == "waived"}
    holding = [entry for entry in able if entry.name not in excluded]
    competitors = [
        Competitor(entry.name, shipped.get(entry.name), compiled)
        for entry in holding
        for compiled in ((False, True) if request.compile and entry.gradient is not None else (False,))
    ]
    contest = Contest(
        request.setting,
        competitors=(),
        seconds=request.seconds,
        seed=request.seed,
        to_the_end=request.thorough,
        longest=request.longest,
    )
    started = time.monotonic()
    notify(f"first calls of {len(competitors)}")
    first = first_calls(contest, competitors, excluded)
    _exclude_greedy(request, first, excluded)
    seconds = {name: min(calls.seconds, calls.again_seconds) for name, calls in first.items()}
    ranked = sorted((c for c in competitors if c.label in first), key=lambda c: seconds[c.label])
    hopeless = [
        c
        for c in ranked
        if seconds[c.label] > max(TOLD, HOPELESS * seconds[ranked[0].label]) and c.name != contract.baseline
    ]
    notify(f"measuring {len(ranked) - len(hopeless)} against each other")
    field = tuple(competitor for competitor in ranked if competitor not in hopeless)
    left = contest.longest - (time.monotonic() - started)
    outcome = run_contest(replace(contest, competitors=field, longest=left), excluded)
    for competitor in hopeless:
        outcome.add_one_call(competitor.label, seconds[competitor.label])
    _exclude_inexact(request, outcome, excluded)
    twice = {entry.name for entry in holding if entry.gradient is not None and entry.gradient.second}
    found = measurements(request, outcome, first, waived, twice)
    return Choice(recommend(request, found, excluded), found)


def _not_eligible(contract: Operation, entry: Implementation, request: ChoiceRequest, case: Case) -> str | None:
    if entry.refuted:
        check, reason = next(iter(entry.refuted.items()))
        return f"wrong in {check}: {reason}"
    setting = request.setting
    if entry.dtypes is not None and setting.dtype not in entry.dtypes:
        return f"takes {only(entry.dtypes)} only"
    for check in ("agreement", *(("gradient",) if setting.gradient else ()), *request.needs):
        why = registry.check(check).why_not(contract, entry, setting.device)
        if why:
            return why[1]
    if request.strict and (waived := entry.waived_on(request.setting.device)):
        return f"waives {', '.join(waived)}"
    if request.strict and entry.error is not None:
        return "has an error model of its own"
    if not entry.claims(case.wide):
        return "is declared for other arguments (domain)"
    return None


def _exclude_greedy(request: ChoiceRequest, first: dict[str, Footprint], excluded: dict[str, str]) -> None:
    allowed = math.inf if request.max_memory is None else request.max_memory
    for name, found in list(first.items()):
        if (found.peak_bytes or 0) > allowed:
            excluded[name] = f"needs {(found.peak_bytes or 0) / 2**20:.4g} MiB; {allowed / 2**20:.4g} are allowed"
            del first[name]


def _exclude_inexact(request: ChoiceRequest, outcome: ContestResult, excluded: dict[str, str]) -> None:
    if request.max_error is None:
        return
    from opjury.measure.contest import FLOOR

    for name in [name for name in outcome.seconds if name != FLOOR]:
        error = outcome.ulps.get(name)
        if error is None:
            excluded[name] = "is so much slower that its error was not looked at"
        elif error > request.max_error:
            excluded[name] = f"errs by {error:.3g} ulps; {request.max_error:g} are allowed"
        if name in excluded:
            del outcome.seconds[name]
