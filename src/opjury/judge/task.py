"""What is judged: a validated request, and the tasks that it makes of each implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opjury.model import declared, registry
from opjury.model.device import on_cuda, present
from opjury.model.dtypes import DTYPES, HALF, group_dtypes, is_floating
from opjury.model.implementation import DEVICES, Error, Implementation, Waives, as_error, waived_on
from opjury.model.operation import Operation
from opjury.model.validate import Declaration
from opjury.run.ship import Here, Sent

SHRINKING = 60.0  # seconds of processor time for shrinking; the limit of steps is reached sooner unless calls are slow
_FOR_A_CASE = 0.02  # seconds of processor time for the calls of one case; those of a right function take much less
COMPILING = 5  # times the limit, for a call that may compile first


@dataclass(frozen=True)
class Profile:
    """How long an audit takes.

    Parameters
    ----------
    examples : int
        Cases for a check of weight 1 and one group of dtypes.
    shrink : int
        Cases that may be tried to make one counterexample smaller.
    limit : float
        Seconds of processor time that one call on a small case may take, before it is made again with five times as much.
    grouped : bool
        Judge half, complex and integer dtypes together (each case draws one) instead of one by one.
    beyond : bool
        Try calls beyond 2³¹ elements, where there is memory for them.
    """

    examples: int
    shrink: int
    limit: float
    grouped: bool
    beyond: bool = False


PROFILES = {
    "quick": Profile(40, 2000, 4.0, grouped=True),
    "full": Profile(120, 4000, 5.0, grouped=False),
    "nightly": Profile(1500, 8000, 10.0, grouped=False, beyond=True),
}


@dataclass(frozen=True)
class Task:
    """Everything that a verdict depends on, picklable.

    Parameters
    ----------
    operation, implementation : str
    check : str
    dtypes : tuple of str
        Each case draws one of them.
    profile : str
    seed : int
    scale : float
        The share of the profile's cases that is tried.
    function : Function, optional
        For plain functions that are not registered; what it loads may be a whole `Implementation`.
    error : Sent or Here, optional
        For plain functions: an error model of their own.
    database : str
        A folder that keeps failing cases to be tried first the next time; "" for none.
    shrink : bool
        Whether a counterexample is made smaller and its cause looked for.
    only : dict, optional
        A stored counterexample: this case is tried, and no other.
    """

    operation: str
    implementation: str
    check: str
    dtypes: tuple[str, ...]
    profile: str = "quick"
    device: str = "cpu"
    seed: int = 0
    scale: float = 1.0
    waives: tuple[tuple[str, str], ...] = ()
    database: str = ""
    function: Any = None
    error: Any = None
    shrink: bool = True
    only: dict[str, Any] | None = None

    @property
    def group(self) -> str:
        """The dtypes in one word: `float32`, `half`, `all`."""
        names = list(self.dtypes) if len(self.dtypes) == 1 else list(group_dtypes(self.dtypes))
        return names[0] if len(names) == 1 else "all"

    @property
    def label(self) -> str:
        """`slice_mean-python_loop-float32-cpu`"""
        return f"{self.operation}-{self.implementation}-{self.group}-{self.device}"


def wanted(task: Task) -> int:
    """How many drawn cases a task is to try."""
    if task.dtypes == HALF:  # the two half types differ too much to share examples
        share = 2.0
    elif len(task.dtypes) > 1:  # dtypes that are judged together share examples: each one more adds a quarter
        share = 1.25 + 0.25 * (len(task.dtypes) - 1)
    else:
        share = 1.0
    weight = registry.check(task.check).weight * registry.operation(task.operation).effort
    return max(4, round(PROFILES[task.profile].examples * (weight * share * task.scale)))


def budget(task: Task) -> float:
    """Seconds of processor time for all calls of a task."""
    return max(0.8, _FOR_A_CASE * wanted(task)) * (COMPILING if on_cuda(task.device) else 1)


def call_limit(task: Task) -> float:
    """Seconds of processor time for one call on a small case, more on a GPU, where many calls first compile a kernel."""
    return PROFILES[task.profile].limit * (COMPILING if on_cuda(task.device) else 1)


def implementation_of(task: Task) -> Implementation:
    """The declaration on trial: the registered one, or a plain function held to the contract alone."""
    if task.function is None:
        return registry.entry(task.operation, task.implementation)
    function = task.function.load()
    if isinstance(function, Implementation):
        return function
    return Implementation(
        operation=task.operation,
        name=task.implementation,
        function=function,
        waives=dict(task.waives),
        error=task.error.load() if task.error else None,
    )


def applies(task: Task) -> bool:
    """Whether there is something to execute."""
    operation, check = registry.operation(task.operation), registry.check(task.check)
    return check.why_not(operation, implementation_of(task), task.device) is None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of an audit, whatever is on trial (`opjury.audit` documents the fields).

    Raises
    ------
    UnknownName
        For a profile, check, dtype or kind of device that does not exist.
    TypeError, ValueError
        For waivers that are no mapping, or without a reason.
    """

    profile: str = "quick"
    checks: str | Sequence[str] | None = None
    dtypes: str | Sequence[str] | None = None
    device: str = "cpu"
    seed: int = 0
    scale: float = 1.0
    database: str = ""
    first: bool = False
    waives: Waives | None = None
    error: Callable[..., Any] | Error | None = None

    def __post_init__(self) -> None:
        for name in ("checks", "dtypes"):
            given = getattr(self, name)
            object.__setattr__(self, name, [given] if isinstance(given, str) else given)
        names_checked("profile", [self.profile], PROFILES)
        names_checked("check", self.checks or (), registry.checks())
        names_checked("dtype", self.dtypes or (), DTYPES)
        names_checked("device", [self.device.partition(":")[0]], DEVICES)
        if not isinstance(self.waives, (Mapping, type(None))):
            raise TypeError(f"waives is {self.waives!r}; it must be a mapping of checks to reasons")
        names_checked("check", self.waives or (), registry.checks())
        for check, reason in (self.waives or {}).items():
            if not reason:
                raise ValueError(f"waives[{check!r}] is {reason!r}; it must be the reason why the check is not passed")

    def tasks(self, operation: str, name: str, function: Any = None) -> list[Task]:
        """The tasks of one implementation: each check for each group of dtypes (quick) or each dtype.

        Parameters
        ----------
        operation : str
        name : str
            The name of a registered implementation, or a name for a plain function.
        function : Function or Here, optional
            The plain function, in a form that travels.

        Raises
        ------
        UnknownName
            For an operation that does not exist, or a dtype that it does not have.
        TypeError
            For an error model that is none, or cannot be called like the operation.
        """
        contract = registry.operation(operation)
        dtypes_checked(contract, self.dtypes or ())
        base = Task(
            operation,
            name,
            "",
            (),
            self.profile,
            self.device,
            seed=self.seed,
            scale=self.scale,
            waives=tuple(waived_on(self.waives or {}, self.device).items()),
            database=self.database,
            function=function,
            error=self._sent_error(contract, function),
            shrink=not self.first,
        )
        own = implementation_of(base).dtypes or contract.dtypes
        wanted = tuple(dtype for dtype in own if self.dtypes is None or dtype in self.dtypes)
        together = PROFILES[self.profile].grouped
        groups = list(group_dtypes(wanted).values()) if together else [(dtype,) for dtype in wanted]
        kind = self.device.partition(":")[0]
        usual = [name for name, check in registry.checks().items() if kind in check.devices]
        tasks = []
        for check in map(registry.check, self.checks or usual):
            for group in [wanted] if check.together and together else groups:
                group = tuple(dtype for dtype in group if is_floating(dtype) or not check.floating)
                if group:
                    tasks.append(replace(base, check=check.name, dtypes=group))
        return tasks

    def _sent_error(self, contract: Operation, function: Any) -> Sent | Here | None:
        """The error model in a form that travels as far as the function does."""
        model = as_error(self.error)
        if model is None or function is None:
            return None
        if not isinstance(model, Error):
            raise TypeError(f"error is {model!r}; it must be an Error, a callable that gives its magnitude, or None")
        place = "{}:{}".format(*declared.place_of(model.magnitude or model.terms))
        model.check_like(contract.reference, Declaration(f"error model for {contract.name}", place))
        return Here(model) if isinstance(function, Here) else Sent.error(model)


def names_checked(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise `UnknownName` for the first name that is not known."""
    known = list(known)
    for name in given:
        if name not in known:
            raise registry.UnknownName(registry.unknown(what, name, known))


def dtypes_checked(operation: Operation, given: Iterable[str]) -> None:
    """Raise `UnknownName` for the first dtype that does not exist, or that the operation does not have."""
    given = list(given)
    names_checked("dtype", given, DTYPES)
    for name in given:
        if name not in operation.dtypes:
            raise registry.UnknownName(f"{operation.name} does not have {name}; it has {', '.join(operation.dtypes)}")


def device_checked(device: str) -> None:
    """Raise `UnknownName` for a kind of device that does not exist, `Impossible` for one that this machine lacks."""
    names_checked("device", [device.partition(":")[0]], DEVICES)
    if not present(device):
        raise registry.Impossible("no CUDA device is present")
