"""Implementations: who competes, and what each one declares of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from opjury.model import declared
from opjury.model.dtypes import DTYPES
from opjury.model.validate import Declaration, location

DEVICES = ("cpu", "cuda")

Accumulates = Literal["float32", "input"]
_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Gradient:
    """What an implementation promises about derivatives, beyond the first order that is always held.

    Parameters
    ----------
    second : bool
        The gradient can be differentiated again (double backward).
    forward : bool
        Forward mode (`torch.func.jvp`) works.
    vmap : bool
        `torch.func.vmap` works over the data arguments.
    """

    second: bool = False
    forward: bool = False
    vmap: bool = False

    def __post_init__(self) -> None:
        Declaration.of(self, "Gradient")


@dataclass(frozen=True)
class Error:
    """An implementation's own a-priori error model, in place of the contract's.

    Parameters
    ----------
    magnitude : callable, optional
        Called like the operation, with NumPy arrays in place of tensors: the Σ|a_j·x_j| of the bound, broadcastable
        to the result. Must be linear in |x| where the operation is linear in x: the gradient's bound is its transpose.
    terms : callable, optional
        Called likewise: the number of roundings on the longest path, broadcastable to the result.
    accumulates : {"float32", "input"}
        Where half types are summed: "input" when sums are kept in the half type itself.
    """

    magnitude: Callable[..., Any] | None = None
    terms: Callable[..., Any] | None = None
    accumulates: Accumulates = "float32"

    def __post_init__(self) -> None:
        given = Declaration.of(self, "Error")
        for name in ("magnitude", "terms"):
            if getattr(self, name) is not None:
                given.function(name, getattr(self, name), "the operation is")
        given.one_of("accumulates", self.accumulates, get_args(Accumulates))

    def check_like(self, reference: Callable[..., Any], given: Declaration, prefix: str = "") -> None:
        """Raise `TypeError` unless it can be called like the reference."""
        for name in ("magnitude", "terms"):
            if getattr(self, name) is not None:
                given.like(prefix + name, getattr(self, name), reference)


Waives = Mapping[str, str | Mapping[str, str]]
"""By check, the reason; or the reasons by kind of device, `cpu` or `cuda`."""


def waived_on(waives: Waives, device: str) -> dict[str, str]:
    """The checks that are waived on a device such as `cuda:0`, with the reasons."""
    kind = device.partition(":")[0]
    found = {check: why if isinstance(why, str) else why.get(kind, "") for check, why in waives.items()}
    return {check: reason for check, reason in found.items() if reason}


@dataclass(frozen=True)
class Implementation:
    """One competitor. Made by the decorator `implementation`, which documents the fields."""

    operation: str
    name: str
    function: Callable[..., Any] = field(compare=False)
    source: str = ""
    error: Error | None = None
    waives: Waives = field(default_factory=dict)
    refuted: Mapping[str, str] = field(default_factory=dict)
    gradient: Gradient | None = Gradient()
    devices: tuple[str, ...] = DEVICES
    dtypes: tuple[str, ...] | None = None
    domain: Callable[..., bool] | None = None
    requires: str | None = None
    view: bool = False
    asynchronous: bool = False
    declaration: Declaration = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = Declaration.of(self, f"implementation {self.operation}:{self.name}")
        object.__setattr__(self, "declaration", given)
        given.label("operation", self.operation)
        given.label("name", self.name)
        given.function("function", self.function, "the operation is")
        given.kind("source", self.source, str, "a str")
        given.kind("error", self.error, (Error, type(None)), "an Error, a callable that gives its magnitude, or None")
        given.kind("gradient", self.gradient, (Gradient, type(None)), "a Gradient or None")
        given.some_of("devices", self.devices, DEVICES)
        if self.dtypes is not None:
            given.some_of("dtypes", self.dtypes, DTYPES)
        if self.domain is not None:
            given.function("domain", self.domain, "the operation is")
        if self.requires is not None:
            given.label("requires", self.requires)
        if self.asynchronous and "cuda" not in self.devices:
            given.fail("asynchronous", True, "left out where devices is without 'cuda'")
        given.reasons("waives", self.waives, declared.CHECKS, DEVICES)
        given.reasons("refuted", self.refuted, declared.CHECKS)
        for check in self.refuted:
            if check in self.waives:
                given.fail("waives", check, "another check than those of refuted, which must fail")

    def check_promises(self) -> None:
        """Raise `ValueError` where a check is waived or refuted that is never tried, because nothing is promised."""
        for name, checks in (("waives", self.waives), ("refuted", self.refuted)):
            for check in checks:
                if not declared.CHECKS[check].promised(self):
                    self.declaration.fail(name, check, "a check of what gradient promises")

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return next(iter((self.function.__doc__ or "").strip().splitlines()), "")

    def claims(self, wide: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]) -> bool:
        """Whether arguments are of those that it claims to be right for. `wide` makes them as the reference takes them,
        which can need far more memory than they have: it is called where there is a domain alone.
        """
        if self.domain is None:
            return True
        args, kwargs = wide()
        return bool(self.domain(*args, **kwargs))

    def waived_on(self, device: str) -> dict[str, str]:
        """What it waives on a device, with the reasons."""
        return waived_on(self.waives, device)

    @property
    def waived(self) -> list[tuple[str, str]]:
        """All that it waives, in words: the check, and on which kind of device if not on all; the reason."""
        words = []
        for check, why in self.waives.items():
            each = {check: why} if isinstance(why, str) else {f"{check} on {kind}": why[kind] for kind in why}
            words += [(what.replace("_", " "), reason) for what, reason in each.items()]
        return words


def as_error(given: Callable[..., Any] | Error | None) -> Error | None:
    """An error model; a callable is its magnitude."""
    return Error(magnitude=given) if callable(given) else given


def implementation(
    operation: str,
    *,
    name: str | None = None,
    source: str = "",
    error: Callable[..., Any] | Error | None = None,
    waives: Waives | None = None,
    refuted: Mapping[str, str] | None = None,
    gradient: Gradient | None = Gradient(),
    devices: tuple[str, ...] = DEVICES,
    dtypes: tuple[str, ...] | None = None,
    domain: Callable[..., bool] | None = None,
    requires: str | None = None,
    view: bool = False,
    asynchronous: bool = False,
) -> Callable[[_Function], _Function]:
    """Declare a function as an implementation of an operation; the function itself is returned unchanged.

    Parameters
    ----------
    operation : str
        The operation's name.
    name : str, optional
        The algorithm's name; by default the function's.
    source : str
        Where the idea comes from: a paper and section, a documentation page, a question.
    error : Error or callable, optional
        The implementation's own error model; a callable is its magnitude.
    waives : mapping of check to reason, or to a mapping of "cpu" or "cuda" to reason
        Checks that it is known not to pass, everywhere or on one kind of device. They still run; a waiver that is not needed is reported.
    refuted : mapping of check to reason
        Marks a published wrong implementation, kept as a negative control: an audit must refute exactly these checks.
    gradient : Gradient or None
        What it promises about derivatives; None for implementations that leave autograd (NumPy).
    devices, dtypes : tuple of str
        Where it runs; by default everywhere and with every dtype of the contract.
    domain : callable, optional
        Called with the case's arguments (NumPy arrays): False where the implementation does not claim to be right.
    requires : str, optional
        A module without which it is skipped, with that as the reason.
    view : bool
        The result may share memory with an argument; a sparse one always does.
    asynchronous : bool
        Called with tensors on a GPU, it promises never to let the caller wait for them.

    Raises
    ------
    ValueError
        For a check that does not exist, or a name that is taken by another function.
    """

    if not isinstance(operation, str):
        raise TypeError(
            f'{location()}: write @implementation("operation"), not @implementation: the operation\'s name is missing'
        )

    def declare(function: _Function) -> _Function:
        entry = Implementation(
            operation=operation,
            name=name or str(getattr(function, "__name__", "")),
            function=function,
            source=source,
            error=as_error(error),
            waives={} if waives is None else waives,
            refuted={} if refuted is None else refuted,
            gradient=gradient,
            devices=devices,
            dtypes=dtypes,
            domain=domain,
            requires=requires,
            view=view,
            asynchronous=asynchronous,
        )
        entry.check_promises()
        if not declared.is_operation(operation):
            entry.declaration.one_of("operation", operation, sorted(declared.OPERATIONS))
        key = (operation, entry.name)
        label = f"implementation {operation}:{entry.name}"
        declared.add(declared.IMPLEMENTATIONS, key, entry, label, lambda e: e.function)
        return function

    return declare
