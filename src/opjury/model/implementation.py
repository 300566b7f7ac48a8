"""Implementations of operations, and what each declares of itself."""

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
    """What an implementation promises about derivatives, beyond a first-order gradient.

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
    """An implementation's own a-priori error model, which replaces the contract's.

    Parameters
    ----------
    magnitude : callable, optional
        Called like the operation, with NumPy arrays in place of tensors. Returns the Σ|a_j·x_j| of the bound, broadcastable
        to the result. Must be linear in |x| where the operation is linear in x: the gradient's bound is its transpose.
    terms : callable, optional
        Called likewise. Returns the number of roundings on the longest path, broadcastable to the result.
    accumulates : {"float32", "input"}
        The dtype in which half types are summed: "input" if it is the half type itself.
    worst : str
        What may come of a bound that is looser than the contract's, in a few words: "after 1e8: 0 for 1". `choose` derives whether it
        is looser, and shows these words.
    """

    magnitude: Callable[..., Any] | None = None
    terms: Callable[..., Any] | None = None
    accumulates: Accumulates = "float32"
    worst: str = ""

    def __post_init__(self) -> None:
        given = Declaration.of(self, "Error")
        for name in ("magnitude", "terms"):
            if getattr(self, name) is not None:
                given.function(name, getattr(self, name), "the operation is")
        given.one_of("accumulates", self.accumulates, get_args(Accumulates))
        given.kind("worst", self.worst, str, "a str")

    def check_like(self, reference: Callable[..., Any], given: Declaration, prefix: str = "") -> None:
        """Raise `TypeError` unless both functions can be called like the reference."""
        for name in ("magnitude", "terms"):
            if getattr(self, name) is not None:
                given.like(prefix + name, getattr(self, name), reference)


Waives = Mapping[str, str | Mapping[str, str]]
"""From check to reason, or to a mapping of kind of device (`cpu` or `cuda`) to reason."""


def waived_on(waives: Waives, device: str) -> dict[str, str]:
    """The reasons of the checks that are waived on a device such as `cuda:0`."""
    kind = device.partition(":")[0]
    found = {check: why if isinstance(why, str) else why.get(kind, "") for check, why in waives.items()}
    return {check: reason for check, reason in found.items() if reason}


@dataclass(frozen=True)
class Implementation:
    """One implementation of an operation, made by the decorator `implementation`, which documents the fields."""

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

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return next(iter((self.function.__doc__ or "").strip().splitlines()), "")

    def claims(self, wide: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]) -> bool:
        """Whether the arguments that `wide` returns, in the form for the reference, are in its domain."""
        if self.domain is None:  # `wide` can need far more memory than the arguments
            return True
        args, kwargs = wide()
        return bool(self.domain(*args, **kwargs))

    def waived_on(self, device: str) -> dict[str, str]:
        """The reasons of the checks that it waives on a device."""
        return waived_on(self.waives, device)

    @property
    def waived(self) -> list[tuple[str, str]]:
        """What it waives, in words, with the reason: `specials`, or `specials on cuda` if it is waived there only.

        An error model that has a worst case waives the contract's `error bound`.
        """
        words = [("error bound", self.error.worst)] if self.error and self.error.worst else []
        for check, why in self.waives.items():
            each = {check: why} if isinstance(why, str) else {f"{check} on {kind}": why[kind] for kind in why}
            words += [(what.replace("_", " "), reason) for what, reason in each.items()]
        return words


def as_error(given: Callable[..., Any] | Error | None) -> Error | None:
    """The error model that is given, or that has the given callable as its magnitude."""
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
    """Declare a function as an implementation of an operation, and return it unchanged.

    Parameters
    ----------
    operation : str
        The operation's name.
    name : str, optional
        The algorithm's name, by default the function's.
    source : str
        Where the idea comes from: a paper and section, a documentation page, a question.
    error : Error or callable, optional
        The implementation's own error model; a callable is its magnitude.
    waives : mapping of check to reason, or to a mapping of "cpu" or "cuda" to reason
        Checks that it is known not to pass, everywhere or on one kind of device. They still run, and an unneeded waiver is reported.
    refuted : mapping of check to reason
        Marks a published wrong implementation that is kept as a negative control: an audit must refute exactly these checks.
    gradient : Gradient or None
        What it promises about derivatives. None for implementations that leave autograd (NumPy).
    devices, dtypes : tuple of str
        Where it runs, by default everywhere and with every dtype of the contract.
    domain : callable, optional
        Called with the case's arguments (NumPy arrays). Returns False where the implementation does not claim to be right.
    requires : str, optional
        A module that it needs. It is skipped where the module is not installed.
    view : bool
        The result may share memory with an argument; a sparse one always does.
    asynchronous : bool
        Whether it promises that a call with tensors on a GPU returns without waiting for the GPU.

    Raises
    ------
    ValueError
        For an unknown check or operation, or the name of another implementation.
    """

    if not isinstance(operation, str):
        usage = 'write @implementation("operation"), not @implementation'
        raise TypeError(f"{location()}: {usage}: the operation's name is missing")

    def declare(function: _Function) -> _Function:
        entry = Implementation(
            operation=operation,
            name=name or str(getattr(function, "__name__", "")),
            function=function,
            source=source,
            error=as_error(error),
            waives=waives or {},
            refuted=refuted or {},
            gradient=gradient,
            devices=devices,
            dtypes=dtypes,
            domain=domain,
            requires=requires,
            view=view,
            asynchronous=asynchronous,
        )
        given = entry.declaration
        for mapping, checks in (("waives", entry.waives), ("refuted", entry.refuted)):
            for check in checks:
                if not declared.CHECKS[check].promised(entry):  # it would never be tried
                    given.fail(mapping, check, "a check of what gradient promises")
        if not declared.is_operation(operation):
            given.one_of("operation", operation, sorted(declared.OPERATIONS))
        declared.add(declared.IMPLEMENTATIONS, (operation, entry.name), entry, given.what, lambda e: e.function)
        return function

    return declare
