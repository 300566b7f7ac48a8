"""Results: values, special values, form, memory layouts, laws, rejections, termination."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import UNIT_ROUNDOFF, first_place
from opjury.judge.checks.state import default_dtype, judged_elsewhere
from opjury.judge.replay import CALL, RESULT, arguments, enclosed
from opjury.judge.text import describe, number, show, show_both
from opjury.judge.time_limit import Pace, TimeLimitExceeded
from opjury.judge.trial import GRAD, HASTE, Refuted, Trial, Unsuitable, as_another, depends_on_any, ordinary
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import is_floating
from opjury.model.exact import carrier, torch_dtype


def check_agreement(trial: Trial, case: Case) -> None:
    """Values are equal (exact tier) or within the bound (rounding tier), with and without gradients.

    Where the default dtype decides, they are so under float64 too.
    """
    way = case.seed % 4
    if way == 1 and trial.operation.result_dtype(case) == "default":
        with default_dtype(torch.float64):  # a copy of the case has no memory of the oracle's results
            before = "torch.set_default_dtype(torch.float64)\n"
            return _agree(trial, replace(case), "under default dtype float64", before)
    try:
        if way == 2:
            with torch.no_grad():
                return _agree(trial, case, "under torch.no_grad()", "torch.set_grad_enabled(False)\n")
        return _agree(trial, case, "when inputs require gradients", GRAD, True) if way == 3 else _agree(trial, case)
    except Refuted:
        _agree(trial, case)  # as a rule it fails in the usual way too
        raise


def _agree(trial: Trial, case: Case, when: str = "", before: str = "", requires_grad: bool = False) -> None:
    expected = oracle.expected(trial.operation, case, trial.error)  # before a call that may change what it depends on
    trial.in_flight, steps = case, before + RESULT
    try:
        result = trial.invoke(*case.build(trial.device, requires_grad))
    except Exception as error:
        if requires_grad:  # whether it raises only then, the check of the gradient judges
            return _agree(trial, case)
        what = trial.misfit if isinstance(error, TypeError) else ""
        raise Refuted(what or f"raises {describe(error)} for a legal call", steps=steps) from None
    if case.repeated:
        return trial.require_repeated(result, expected, case.repeated)
    trial.require(result, expected, f"result {when}".rstrip(), steps)
    return _require_true_flags(result, steps) if trial.operation.result == "sparse" else None


def check_specials(trial: Trial, case: Case) -> None:
    """NaN, infinities, −0, subnormals and the largest values stand where the reference puts them, integers in its dtype."""
    expected = oracle.expected(trial.operation, case, trial.error)
    trial.in_flight = case
    try:
        result = trial.invoke(*case.build(trial.device))
    except Exception as error:
        with judged_elsewhere():
            trial.invoke(*ordinary(case).build(trial.device))
        raise Refuted(f"raises {describe(error)}; it does not with ones in place of special values") from None
    trial.require(result, expected)
    dtype = torch_dtype(expected.dtype)
    if not is_floating(case.dtype) and result.dtype != dtype:  # a narrower one may hold these, and not their sums
        raise Refuted(
            f"the largest integers come back as {result.dtype}; it should be {dtype}",
            steps=f"{RESULT}\nprint(result.dtype)\nassert result.dtype == {dtype}",
        )


def check_form(trial: Trial, case: Case) -> None:
    """Type, shape, dtype, device and sparse format are the contract's. Gradient history is there when asked for, and only then."""
    operation = trial.operation
    result = trial.call(case)
    if operation.result == "sparse":
        return _require_sparse_form(trial, case, result)
    _require_form(trial, case, result)
    if result.requires_grad or result.grad_fn is not None:
        raise Refuted(
            "the result carries gradient history although no input requires gradients",
            steps=f"{RESULT}\nprint(result.requires_grad, result.grad_fn)\nassert not result.requires_grad and result.grad_fn is None",
        )
    if operation.result_dtype(case) == "default":
        with default_dtype(torch.float64):
            before = "torch.set_default_dtype(torch.float64)\n"
            _require_form(trial, case, trial.call(case), " under default dtype float64", before)
    if not case.differentiable or not operation.differentiable:
        return None
    with torch.no_grad():
        silent = trial.call(case, requires_grad=True)
    if silent.grad_fn is not None:
        raise Refuted(
            "the result carries gradient history under torch.no_grad()",
            steps=f"{GRAD}with torch.no_grad():\n    history = {CALL}.grad_fn\nprint(history)\nassert history is None",
        )
    if trial.implementation.gradient is None:
        return None
    traced = trial.call(case, requires_grad=True)
    _require_form(trial, case, traced, " when inputs require gradients", GRAD)
    if not traced.requires_grad and traced.numel() and depends_on_any(trial, case, case.differentiable):
        raise Refuted(
            "the result has no gradient history although inputs require gradients",
            steps=f"{GRAD}assert {CALL}.requires_grad",
        )
    return None


def _require_true_flags(result: Any, steps: str) -> None:
    """Refuted where a compressed sparse array claims an order that its indices lack."""
    if getattr(result, "format", None) not in ("csc", "csr", "bsr"):
        return
    fresh = type(result)((result.data, result.indices, result.indptr), shape=result.shape)
    for flag in ("has_sorted_indices", "has_canonical_format"):
        if getattr(result, flag) and not getattr(fresh, flag):
            raise Refuted(
                f"the result claims {flag}, which is false: SciPy then takes its entries for others",
                steps=f"{steps}\n{_FRESH.format(flag)}",
            )


_FRESH = """\
fresh = type(result)((result.data, result.indices, result.indptr), shape=result.shape)
print("claimed:", result.{0}, "true:", fresh.{0})
assert fresh.{0} or not result.{0}"""


def _require_sparse_form(trial: Trial, case: Case, result: Any) -> None:
    operation = trial.operation
    args, kwargs = case.build()
    if operation.invariants and (fault := operation.invariants(result, *args, **kwargs)):
        asserted = "fault = invariants(result, *args, **kwargs)\nprint(fault)\nassert fault is None"
        otherwise = f"registry.operation({operation.name!r}).invariants"
        steps = f"{enclosed('invariants', operation.invariants, otherwise)}{RESULT}\n{asserted}"
        raise Refuted(f"the result is {fault}", steps=steps)
    _require_true_flags(result, RESULT)
    found = (str(result.dtype), tuple(result.shape))
    wanted = (oracle.result_dtype(operation, case), oracle.evaluate(operation, case).shape)
    for what, is_, should_be in zip(("dtype", "shape"), found, wanted, strict=True):
        if is_ != should_be:
            asserted = f"found = str(result.dtype), result.shape\nprint(found)\nassert found == {wanted}"
            raise Refuted(f"the result is of {what} {is_}; it should have {should_be}", steps=f"{RESULT}\n{asserted}")


def _outline(result: Any) -> str:
    if isinstance(result, torch.Tensor):
        return f"{type(result).__name__} {tuple(result.shape)} {result.dtype} on {result.device}"
    return f"{type(result).__name__} {result!r}"[:200]


_FORM = """\
result = f(*args, **kwargs)
assert type(result) is torch.Tensor, type(result)
found = result.shape, result.dtype, result.device.type, result.layout
print("is:       ", found)
print("should be:", {wanted})
assert found == {wanted}"""


def _require_form(trial: Trial, case: Case, result: Any, when: str = "", before: str = "") -> None:
    """Refuted unless a result is a plain tensor of the right shape, dtype and device."""
    shape = oracle.evaluate(trial.operation, case.plain).shape
    dtype = torch_dtype(oracle.result_dtype(trial.operation, case))
    device = torch.device(trial.device).type
    fault = None
    if type(result) is not torch.Tensor:
        fault = f"is a {type(result).__name__}; it should be a torch.Tensor"
    elif tuple(result.shape) != shape:
        fault = f"has shape {tuple(result.shape)}; it should have {shape}"
    elif result.dtype != dtype:
        fault = f"has dtype {result.dtype}; it should have {dtype}"
    elif result.device.type != device:
        fault = f"is on {result.device}; it should be on {trial.device}"
    elif result.layout is not torch.strided:
        fault = f"has layout {result.layout}; it should have torch.strided"
    if fault:
        steps = before + _FORM.format(wanted=f"({shape}, {dtype}, {device!r}, torch.strided)")
        raise Refuted(f"the result {fault}{when}", observed=_outline(result), steps=steps)


def check_layouts(trial: Trial, case: Case) -> None:
    """The result for transposed, sliced, stepped, expanded, lazily conjugated and negated inputs is that for contiguous ones."""
    rng = np.random.default_rng(case.seed)

    def laid_out(leaf: Any) -> Any:
        """An index in some layout, too."""
        if not isinstance(leaf, Tensor) or leaf.data:
            return leaf
        return replace(leaf, layout=str(rng.choice(["contiguous", "transposed", "transposed", "offset", "step"])))

    case = case.map(laid_out)
    layouts = {getattr(leaf, "layout", "contiguous") for _, leaf in case.leaves()}
    if layouts <= {"contiguous"}:
        raise Unsuitable
    straight = case.plain
    expected = oracle.expected(trial.operation, straight, trial.error)
    first = trial.values(trial.call(straight), expected)
    if first.shape != expected.value.shape:
        raise Unsuitable
    signed_zeros = expected.signed_zeros and layouts.isdisjoint(("conj", "neg"))
    same = replace(as_another(first, expected), signed_zeros=signed_zeros)

    def steps() -> str:
        return f"plain, named = {arguments(straight)}\nargs, kwargs = {arguments(case)}\n{RESULT}"

    trial.require(trial.call(case), same, "result for this layout", steps, other="f(*plain, **named)")


def check_laws(trial: Trial, case: Case) -> None:
    """The contract's metamorphic relations hold."""
    case = case.plain
    rng = np.random.default_rng(case.seed)
    if not trial.operation.laws:
        raise Unsuitable
    chosen = int(rng.integers(len(trial.operation.laws)))
    law = trial.operation.laws[chosen]
    args, kwargs = case.build(trial.device)
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def f(*live: Any, **named: Any) -> Any:
        if not trial.implementation.claims(lambda: (tuple(map(wide, live)), {n: wide(v) for n, v in named.items()})):
            raise Unsuitable
        calls.append((live, named))
        return hasty.invoke(live, named)

    trial.in_flight = case
    hasty = replace(trial, pace=Pace(HASTE)) if law.large else trial
    try:
        with judged_elsewhere():
            sides = law.sides(f, rng, *args, **kwargs)
    except TimeLimitExceeded:
        if law.large:
            raise Unsuitable from None
        raise
    if sides is None:
        raise Unsuitable
    left, right = (_law_side(trial, side) for side in sides)
    if left.shape != right.shape:
        told = f"{law.name}: one side has shape {left.shape}, the other {right.shape}"
        steps = f"{_law_steps(trial, chosen, case.seed)}\nassert result.shape == other.shape"
        raise Refuted(told, show(left), show(right), steps)
    slack = 0.0
    rounds = is_floating(oracle.result_dtype(trial.operation, case)) and not is_floating(case.dtype)
    if trial.error is not None or "exact" not in trial.operation.tiers or rounds:
        largest = max(float(np.max(np.abs(side), initial=0.0)) for side in (left, right))
        slack = _slack(trial, [called(case, *call) for call in calls], largest)
    with np.errstate(invalid="ignore"):
        apart = left != right
        if left.dtype.kind != "b":
            apart &= ~((np.isnan(left) & np.isnan(right)) | (np.abs(left - right) <= slack))
    at = first_place(apart)
    if at is not None:
        raise Refuted(
            f"{law.name}: {number(left[at])} on one side and {number(right[at])} on the other at {list(at)}",
            *show_both(left, right, at),
            steps=f"{_law_steps(trial, chosen, case.seed)}\nrequire(result, other, {slack!r})",
        )


_LAW = """\
rng = np.random.default_rng({seed})
rng.integers({laws})
result, other = (
    torch.as_tensor(side.toarray() if hasattr(side, "toarray") else side).detach().cpu() for side in sides(f, rng, *args, **kwargs)
)"""


def _law_steps(trial: Trial, chosen: int, seed: int) -> str:
    """Lines of a script that compute both sides of a law, as `result` and `other`."""
    operation = trial.operation
    otherwise = f"registry.operation({operation.name!r}).laws[{chosen}].sides"
    defined = enclosed("sides", operation.laws[chosen].sides, otherwise)
    return defined + _LAW.format(seed=seed, laws=len(operation.laws))


def _slack(trial: Trial, calls: list[Case], largest: float) -> float:
    """How far the sides of a law may be apart, where each side is a selection, a sum or a difference of the calls' results.

    The errors of the results add up, each at most the largest bound of its call. Each result is rounded once more where it is added.
    """
    unit = UNIT_ROUNDOFF.get(oracle.result_dtype(trial.operation, calls[0]), 0.0)
    bounds = [np.asarray(oracle.expected(trial.operation, call, trial.error).bound) for call in calls]
    return sum(float(np.max(b[np.isfinite(b)], initial=0.0)) for b in bounds) + len(calls) * unit * largest


def called(case: Case, live: tuple[Any, ...], named: dict[str, Any]) -> Case:
    """The case of a call that a law makes, given the case of the law."""
    leaves = dict(case.leaves())

    def recipe(place: int | str, value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return wide(value)
        dtype = str(value.dtype).removeprefix("torch.")
        data = getattr(leaves.get(place), "data", True)
        return Tensor(wide(value).astype(carrier(dtype)), dtype, data=data)

    args = tuple(recipe(place, value) for place, value in enumerate(live))
    return replace(case, args=args, kwargs={name: recipe(name, value) for name, value in named.items()})


def wide(value: Any) -> Any:
    """An argument of a call as the reference takes it."""
    if not isinstance(value, torch.Tensor):
        return value.toarray() if hasattr(value, "toarray") else value
    plain = value.detach().resolve_conj().resolve_neg().cpu()
    if plain.is_floating_point():  # NumPy has no bfloat16
        plain = plain.double()
    return plain.numpy()


def _law_side(trial: Trial, side: Any) -> np.ndarray:
    if isinstance(side, torch.Tensor):
        return trial.values(side, np.zeros(0, carrier(str(side.dtype).removeprefix("torch."))))
    return np.asarray(side.toarray() if hasattr(side, "toarray") else side)


_REJECTS = """\
try:
    result = f(*args, **kwargs)
except (ValueError, TypeError, IndexError, RuntimeError) as error:
    assert str(error).strip(), "an error without a message"
else:
    raise AssertionError(f"returned {{result!r}}; it should raise: " + {})"""


def check_rejects(trial: Trial, case: Case) -> None:
    """Every illegal call raises ValueError, TypeError, IndexError or RuntimeError, with a message."""
    trial.in_flight = case
    observed = ""
    try:
        result = trial.invoke(*case.build(trial.device))
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        if str(error).strip():
            return
        fault = f"raises {type(error).__name__} without a message"
    except Exception as error:
        fault = f"raises {describe(error)}; it should be a ValueError, TypeError, IndexError or RuntimeError"
    else:
        fault, observed = "is accepted; it should raise", _outline(result)
    call = f"an illegal call ({case.rule})" if case.rule else "an illegal call"
    steps = _REJECTS.format(repr(case.rule or "the call is illegal"))
    raise Refuted(f"{call} {fault}", observed=observed, steps=steps)


def check_terminates(trial: Trial, case: Case) -> None:
    """The call returns, or raises."""
    trial.in_flight = case
    with contextlib.suppress(Exception):
        trial.invoke(*case.build(trial.device))
