"""What is asked of an audit, validated, and the tasks that it makes of each implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from opjury.judge.task import PROFILES, Task, implementation_of
from opjury.model import declared, registry
from opjury.model.device import present
from opjury.model.dtypes import DTYPES, group_dtypes, is_floating
from opjury.model.implementation import DEVICES, Error, Waives, as_error, waived_on
from opjury.model.operation import Operation
from opjury.model.validate import Declaration
from opjury.run.ship import Here, Sent


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of an audit, whoever is on trial; `opjury.audit` documents the fields.

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
            That of a registered implementation, or what a plain function is called.
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
        tasks = []
        for check in map(registry.check, self.checks or self._usual_checks()):
            for group in [wanted] if check.together and together else groups:
                group = tuple(dtype for dtype in group if is_floating(dtype) or not check.floating)
                if group:
                    tasks.append(replace(base, check=check.name, dtypes=group))
        return tasks

    def _usual_checks(self) -> list[str]:
        kind = self.device.partition(":")[0]
        return [name for name, check in registry.checks().items() if kind in check.devices]

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
    """Raise `UnknownName` for the first that is not known."""
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
    """Raise for a device that there is not: `UnknownName` for none in the world, `Impossible` for none here."""
    names_checked("device", [device.partition(":")[0]], DEVICES)
    if not present(device):
        raise registry.Impossible("no CUDA device is present")
