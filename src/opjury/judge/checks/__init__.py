"""The checks: a row for each. The functions, `check_<property>(trial, case)`, stand in the modules of this package.

A check judges its own property alone: where a call fails in a way that another check judges, the case is unsuitable for it. The
functions need torch and are imported when the first case is tried; the rows need nothing.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from opjury.model.check import Check
from opjury.model.operation import Operation

if TYPE_CHECKING:
    from opjury.judge.trial import Trial
    from opjury.model.case import Case

_NONCONTIGUOUS = ("transposed", "offset", "step", "rows", "exchanged", "channels_last", "expanded", "conj", "neg")
_ALL_LAYOUTS = ("contiguous", *_NONCONTIGUOUS)


def _of(module: str, name: str) -> Callable[[Trial, Case], None]:
    """A function of this package, which is imported when it is first called."""

    def run(trial: Trial, case: Case) -> None:
        getattr(importlib.import_module(f"{__name__}.{module}"), name)(trial, case)

    run.__module__, run.__qualname__ = f"{__name__}.{module}", name
    return run


def _why_no_specials(operation: Operation) -> str:
    return "special values are not drawn for sparse arrays" if operation.result == "sparse" else ""


def _why_no_forms(operation: Operation) -> str:
    found = inspect.signature(operation.reference).parameters.values()
    anything = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in found)
    return "a call with any number of arguments has one form" if anything else ""


def _why_no_laws(operation: Operation) -> str:
    return "" if operation.laws else "the contract has no laws"


Check(
    name="agreement",
    summary="The result is what the reference returns, within the bound.",
    run=_of("values", "check_agreement"),
    tiers=("exact", "rounding"),
    boundaries=True,
    weight=2.0,
    sizes=("medium", "long", "beyond"),
)
Check(
    name="specials",
    summary="NaN, infinities and signed zeros reach just the elements that depend on them; the largest integers stay whole.",
    run=_of("values", "check_specials"),
    tiers=("special",),
    boundaries=True,
    weight=1.0,
    applies=_why_no_specials,
    elementary=("agreement", "form"),
)
Check(
    name="form",
    summary="Type, shape, dtype, device and sparse format are those of the contract; gradient history is there when asked for.",
    run=_of("values", "check_form"),
    layouts=_ALL_LAYOUTS,
    elementary=("layouts",),
)
Check(
    name="calls",
    summary="A call gives the same by position and by keyword, with and without defaults, and with sizes written in other ways.",
    run=_of("calls", "check_calls"),
    weight=0.3,
    together=True,
    applies=_why_no_forms,
    elementary=("agreement",),
)
Check(
    name="layouts",
    summary="The result does not depend on how the arguments lie in memory.",
    run=_of("values", "check_layouts"),
    layouts=_NONCONTIGUOUS,
    boundaries=True,
    weight=1.2,
    elementary=("agreement",),
)
Check(
    name="purity",
    summary="A call changes neither its arguments nor the state of the process, and shares memory only as declared.",
    run=_of("state", "check_purity"),
    tiers=("exact", "special"),
    layouts=_ALL_LAYOUTS,
    weight=0.3,
    elementary=("layouts",),
)
Check(
    name="determinism",
    summary="The same call returns the same again, whatever was called before and however it is called.",
    run=_of("determinism", "check_determinism"),
    tiers=("exact", "rounding"),
    boundaries=True,
    weight=0.4,
    elementary=("agreement", "gradient"),
)
Check(
    name="gradient",
    summary="The gradient is that of the reference, within the bound.",
    run=_of("gradients", "check_gradient"),
    tiers=("exact", "exact", "rounding"),
    layouts=_ALL_LAYOUTS,
    boundaries=True,
    weight=1.2,
    sizes=("long",),
    needs="gradient",
    floating=True,
    required="gradient",
    elementary=("layouts",),
)
_promised = functools.partial(Check, floating=True, together=True, required="request")
_promised(
    name="second_order",
    summary="The gradient can be differentiated again, and that derivative is right.",
    run=_of("gradients", "check_second_order"),
    needs="second",
    elementary=("gradient", "agreement"),
)
_promised(
    name="forward_mode",
    summary="The derivative in forward mode is that of the reference.",
    run=_of("transforms", "check_forward_mode"),
    needs="forward",
    elementary=("agreement", "gradient"),
)
_promised(
    name="vmap",
    summary="torch.func.vmap returns the stacked results.",
    run=_of("transforms", "check_vmap"),
    needs="vmap",
    elementary=("agreement",),
)
Check(
    name="locality",
    summary="An element that the reference does not depend on has no influence: a NaN there is harmless, its gradient is zero.",
    run=_of("locality", "check_locality"),
    tiers=("exact", "rounding"),
    boundaries=True,
    weight=1.0,
    floating=True,
    elementary=("agreement", "gradient"),
    required="gradient",
)
Check(
    name="laws",
    summary="The contract's laws hold.",
    run=_of("values", "check_laws"),
    boundaries=True,
    together=True,
    applies=_why_no_laws,
    elementary=("agreement", "calls", "purity", "determinism"),
)
Check(
    name="rejects",
    summary="An illegal call raises an error that says what is wrong.",
    run=_of("values", "check_rejects"),
    tiers=("illegal",),
    weight=0.7,
    together=True,
)
Check(
    name="terminates",
    summary="A call returns, or raises, however long it takes.",
    run=_of("values", "check_terminates"),
    tiers=("exact", "special", "illegal"),
    weight=0.4,
    together=True,
)
Check(
    name="devices",
    summary="The result is the CPU's, also on a stream that writes the arguments just before.",
    run=_of("devices", "check_devices"),
    tiers=("exact", "rounding"),
    boundaries=True,
    devices=("cuda",),
)
