"""Checks: properties that implementations must have, each declared in one row."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from opjury.model import declared
from opjury.model.implementation import DEVICES, Gradient, Implementation
from opjury.model.operation import TIERS, Operation
from opjury.model.validate import Declaration

if TYPE_CHECKING:
    from opjury.model.case import Case

Required = Literal["always", "gradient", "request"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One property of an implementation, how it is tried and when it applies.

    Declaring a check registers it; nothing else has to be changed. Checks are listed, tried and printed in the order of declaration.

    Parameters
    ----------
    name : str
    summary : str
        What must hold.
    run : callable
        `run(trial, case)`, with an `opjury.judge.trial.Trial`, returns if the property holds for a case. It raises `Refuted` if it
        does not, and `Unsuitable` if the case says nothing about it. Whatever it needs besides the case it derives from
        `case.seed`, so that a stored case replays.
    tiers : tuple of str
        Tiers of the cases: "exact", "rounding", "special", "illegal". A tier that is given twice is drawn twice as often.
    layouts : tuple of str
        Layouts of the cases' tensors: names in `opjury.model.layouts.LAYOUTS`.
    boundaries : bool
        Whether sizes at the edges of blocks are drawn.
    weight : float
        Its share of the examples of a profile.
    sizes : tuple of str
        Larger sizes at which it is also tried: "medium" and "long" are the workload's, "beyond" has more than 2³¹ elements.
    needs : str
        What an implementation must promise for it to be tried: "gradient", or a field of `Gradient`; "" for nothing.
    floating : bool
        Whether it is tried only with floating dtypes of differentiable operations.
    together : bool
        Whether the quick profile judges all dtypes in one task.
    devices : tuple of str
        The kinds of device on which it is tried.
    applies : callable
        `applies(operation)` returns why it is not tried on an operation, or "" if it is.
    elementary : tuple of str
        More elementary checks. If one of them fails for the same case, its failure is the cause of this one's.
    required : {"always", "gradient", "request"}
        When `choose` requires that it holds: always, if gradients are measured, or if the user asks for it.

    Raises
    ------
    TypeError, ValueError
        For a wrong field. The message names the file and line of the declaration.
    """

    name: str
    summary: str
    run: Callable[[Any, Case], None]
    tiers: tuple[str, ...] = ("exact",)
    layouts: tuple[str, ...] = ("contiguous",)
    boundaries: bool = False
    weight: float = 0.5
    sizes: tuple[str, ...] = ()
    needs: str = ""
    floating: bool = False
    together: bool = False
    devices: tuple[str, ...] = DEVICES
    applies: Callable[[Operation], str] = lambda operation: ""
    elementary: tuple[str, ...] = ()
    required: Required = "always"
    declaration: Declaration = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = Declaration.of(self, f"check {self.name!r}")
        object.__setattr__(self, "declaration", given)
        given.label("name", self.name)
        given.text("summary", self.summary)
        given.call("run", self.run, ("trial", "case"))
        given.tuple_of("tiers", self.tiers, str, (*TIERS, "special", "illegal"))
        given.tuple_of("sizes", self.sizes, str, ("medium", "long", "beyond"))
        given.tuple_of("layouts", self.layouts, str)
        for name in ("tiers", "layouts"):
            if not getattr(self, name):
                given.fail(name, (), "not empty")
        given.at_least("weight", self.weight, 0, whole=False)
        given.one_of("needs", self.needs, ("", "gradient", *(promise.name for promise in fields(Gradient))))
        if self.needs and not self.floating:
            given.fail("floating", False, "True where needs is given")
        given.some_of("devices", self.devices, DEVICES)
        given.call("applies", self.applies, ("operation",))
        given.tuple_of("elementary", self.elementary, str)
        given.one_of("required", self.required, get_args(Required))
        declared.add(declared.CHECKS, self.name, self, given.what, lambda check: check.run)

    def promised(self, implementation: Implementation) -> bool:
        """Whether an implementation promises what the check needs."""
        gradient = implementation.gradient
        return not self.needs or (gradient is not None and (self.needs == "gradient" or getattr(gradient, self.needs)))

    def why_not(
        self, operation: Operation, implementation: Implementation, device: str
    ) -> tuple[Literal["skipped", "not declared"], str] | None:
        """Why it is not tried on an implementation, as a status and a reason, or None if it is."""
        kind = device.partition(":")[0]
        if kind not in implementation.devices:
            return "skipped", f"runs on {only(implementation.devices)} only"
        if implementation.requires and importlib.util.find_spec(implementation.requires) is None:
            return "skipped", f"needs {implementation.requires}, which is not installed"
        if kind not in self.devices:
            return "skipped", f"judged on {only(self.devices)} only"
        if self.floating and not operation.differentiable:
            missing = "has no gradient" if self.needs else "takes no floating tensors"
            return "skipped", f"the operation {missing}"
        if reason := self.applies(operation):
            return "skipped", reason
        if not self.promised(implementation):
            return "not declared", f"{self.name.replace('_', ' ')} is not promised"
        return None


def only(names: Iterable[str]) -> str:
    """Names in a sentence: `CUDA`, `float32 and float64`."""
    *most, last = [{"cpu": "the CPU", "cuda": "CUDA"}.get(name, name) for name in names]
    return f"{', '.join(most)} and {last}" if most else last
