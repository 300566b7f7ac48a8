"""choose: the implementation to use at given sizes, among those that hold up."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    from opjury.measure.recommend import ChoiceRequest
    from opjury.model.case import Case


@dataclass(frozen=True)
class Choice:
    """A recommendation, and the measurements of the implementations that hold up.

    Those that may be recommended come first, and then those with a weakness that is not accepted, each time the fastest first.
    """

    recommendation: Recommendation
    measurements: tuple[Measurement, ...]

    @property
    def implementation(self) -> str:
        """The name of the recommended implementation."""
        return self.recommendation.implementation

    def measurement(self, implementation: str) -> Measurement:
        """The measurement of one of the implementations (raises `StopIteration` for one that was not measured)."""
        return next(m for m in self.measurements if m.implementation == implementation)

    @property
    def records(self) -> list[Record]:
        """The records to store."""
        return [*self.measurements, self.recommendation]

    @property
    def excluded(self) -> dict[str, str]:
        """By name, the reason why an implementation was not ranked."""
        return self.recommendation.excluded


def choose(
    operation: str,
    workload: str | Mapping[str, int] = "medium",
    *,
    dtype: str | None = None,
    device: str = "cpu",
    gradient: bool = False,
    needs: Sequence[str] = (),
    accept: Sequence[str] = (),
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
    workload : str or mapping of str to int
        A named workload of the operation ("small", "medium", "large", …) or its sizes.
    dtype : str, optional
        By default float32, where the operation has it.
    gradient : bool
        Measure forward and backward together; only implementations with right gradients take part.
    needs : sequence of {"second_order", "forward_mode", "vmap"}
        Promises that an implementation must make and keep.
    accept : sequence of str
        What a recommended implementation may waive: names of checks, and "error" for an error bound of its own that is looser than the
        contract's. Others that waive these are measured, too, but not recommended.
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
        A file of records: its verdicts count, of whatever versions, and nothing is audited now.
    seconds : float
        How long the rounds may take.
    thorough : bool
        For histories: measure slow implementations as often as fast ones, in new processes, until the shortest times of three
        processes agree to one percent. `seconds` are then for the first five processes; there may be fifteen.
    longest : float
        Seconds, without the audit, after which a thorough measurement stops once it has three processes.
    jobs : int, optional
        Worker processes of the audit.
    notify : callable, optional
        Called with a few words when a new stage begins.

    Raises
    ------
    Impossible
        For sizes that the operation cannot have or that do not fit in memory, or a device that is not present.
    UnknownName
        For a name that does not exist, with the nearest that do.
    """
    from opjury.measure.recommend import ChoiceRequest, measured, recommend

    setting = setting_of(operation, workload, dtype=dtype, device=device, gradient=gradient, threads=threads)
    device_checked(device)
    names_checked("need", needs, [check.name for check in registry.checks().values() if check.required == "request"])
    names_checked("weakness", accept, [*registry.checks(), eligible.ERROR])
    dtypes_checked(registry.operation(operation), [dtype] if dtype else [])
    request = ChoiceRequest(
        setting,
        needs=tuple(needs),
        accept=tuple(accept),
        max_error=max_error,
        max_memory=max_memory,
        compile=compile,
        seconds=seconds,
        seed=secrets.randbits(32) if seed is None else seed,
        thorough=thorough,
        longest=longest,
    )
    case = _possible_case(request)
    entries = {entry.name: entry for entry in registry.implementations(operation)}
    shipped = {}
    for function in functions:
        name = getattr(function, "__name__", type(function).__name__)
        if name in entries:
            raise Impossible(f"two implementations of {operation} are named {name}; name your function otherwise")
        shipped[name] = Function.of(function)
        entries[name] = Implementation(operation, name, function)
    reasons = {name: _not_eligible(entry, request, case) for name, entry in entries.items()}
    excluded = {name: reason for name, reason in reasons.items() if reason}
    able = [entry for name, entry in entries.items() if name not in excluded]
    notify(f"judging {len(able)} implementations")
    if trust:
        verdicts = eligible.trusted(trust, setting, request.checks)
    else:
        verdicts = eligible.verdicts_of(setting, request.checks, able, shipped, request.seed, jobs)
    for entry in able:
        if reason := eligible.doubt(verdicts.get(entry.name, [])):
            excluded[entry.name] = reason
    holding = [entry for entry in able if entry.name not in excluded]
    waived = {entry.name: eligible.waived(entry, verdicts[entry.name], setting.dtype) for entry in holding}
    found = measured(request, holding, shipped, waived, excluded, notify)
    unneeded = {
        e.name: {v.check: v.waiver for v in verdicts[e.name] if v.status == "holds" and v.waiver} for e in holding
    }
    return Choice(recommend(request, found, excluded, unneeded), found)


def usual_dtype(operation: Operation) -> str:
    """float32 where the operation has it, else float64, else the first of its dtypes."""
    return next((d for d in ("float32", "float64") if d in operation.dtypes), operation.dtypes[0])


def sizes_of(operation: str, workload: str | Mapping[str, int]) -> dict[str, int]:
    """The sizes of a named workload, or those of a mapping with the missing ones from "medium".

    Raises `UnknownName` for one that does not exist, and `Impossible` for a size that is negative or no whole number.
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
    """The setting of a named workload or of sizes, in the usual dtype by default, with the errors of `sizes_of`."""
    return Setting(
        operation=operation,
        sizes=sizes_of(operation, workload),
        dtype=dtype or usual_dtype(registry.operation(operation)),
        device=device,
        gradient=gradient,
        threads=threads,
    )


def _possible_case(request: ChoiceRequest) -> Case:
    """The arguments of one call, with `Impossible` raised where there can be none."""
    from opjury.judge.draw import workload_case

    setting = request.setting
    name, shown = setting.operation, setting.shown_sizes.replace(" ", ", ")
    if setting.gradient and not registry.operation(name).differentiable:
        raise Impossible(f"{name} has no gradient")
    workload = registry.workload(name)
    try:
        needed, free = 6 * workload.least_bytes(8, **setting.sizes), free_memory("cpu")
        if needed <= free:
            return workload_case(workload, setting, request.seed)
    except Exception as error:
        raise Impossible(f"{name} cannot have the sizes {shown}: {error}") from None
    raise Impossible(
        f"the sizes {shown} need about {needed / 2**30:.1f} GiB; {free / 2**30:.1f} GiB are free. Take smaller ones"
    )


def _not_eligible(entry: Implementation, request: ChoiceRequest, case: Case) -> str | None:
    """Why an implementation is not judged for a request, or None where it is."""
    if entry.refuted:
        check, reason = next(iter(entry.refuted.items()))
        return f"wrong in {check}: {reason}"
    setting = request.setting
    if entry.dtypes is not None and setting.dtype not in entry.dtypes:
        return f"takes {only(entry.dtypes)} only"
    contract = registry.operation(setting.operation)
    for check in ("agreement", *(("gradient",) if setting.gradient else ()), *request.needs):
        if why := registry.check(check).why_not(contract, entry, setting.device):
            return why[1]
    if not entry.claims(case.wide):
        return "is declared for other arguments (domain)"
    return None
