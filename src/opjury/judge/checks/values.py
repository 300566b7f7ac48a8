"""What comes out: values, special values, form, memory layouts, laws, rejections, an answer at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import UNIT_ROUNDOFF
from opjury.judge.checks.state import default_dtype
from opjury.judge.time_limit import TimeLimitExceeded
from opjury.judge.trial import (
    CALL,
    GRAD,
    HASTE,
    Refuted,
    Steps,
    Trial,
    Unsuitable,
    depends_on_any,
    describe,
    number,
    ordinary,
    show,
    zero_bound,
)
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import is_floating
from opjury.model.exact import carrier, torch_dtype


def check_agreement(trial: Trial, case: Case) -> None:
    """Values equal (exact tier), or within the bound (rounding tier); also under default dtype float64 where that decides."""
    if trial.operation.result_dtype(case) == "default" and case.seed % 4 == 1:
        with default_dtype(torch.float64):
            return _agree(trial, replace(case), "torch.set_default_dtype(torch.float64)\nprint(f(*args, **kwargs))")
    return _agree(trial, case)


def _agree(trial: Trial, case: Case, steps: Steps = CALL) -> None:
    expected = oracle.expected(trial.operation, case, trial.error)  # before a call that may change what it depends on
    trial.in_flight = case
    try:
        result = trial.invoke(*case.build(trial.device))
    except Exception as error:
        what = trial.misfit if isinstance(error, TypeError) else ""
        raise Refuted(what or f"raises {describe(error)} for a legal call", steps=steps) from None
    if case.repeated:
        trial.require_repeated(result, expected, case.repeated)
    else:
        trial.require(result, expected, steps=steps)


def check_specials(trial: Trial, case: Case) -> None:
    """NaN, infinities, −0, subnormals and the largest values placed as the reference places them."""
    expected = oracle.expected(trial.operation, case, trial.error)
    trial.in_flight = case
    try:
        result = trial.invoke(*case.build(trial.device))
    except Exception as error:
        try:
            trial.invoke(*ordinary(case).build(trial.device))
        except Exception:  # agreement judges that
            raise Unsuitable from None
        raise Refuted(f"raises {describe(error)}; it does not with ones in place of special values") from None
    trial.require(result, expected)


def check_form(trial: Trial, case: Case) -> None:
    """Type, shape, dtype, device, sparse format; gradient history present when asked and absent when not."""
    operation = trial.operation
    result = trial.call(case)
    if operation.result == "sparse":
        args, kwargs = case.build()
        fault = operation.invariants(result, *args, **kwargs) if operation.invariants else None
        dtype = oracle.result_dtype(operation, case)
        if fault is None and str(result.dtype) != dtype:
            fault = f"dtype {result.dtype}; it should be {dtype}"
        if fault is None:
            fault = _other_shape(result, oracle.evaluate(operation, case).shape)
        if fault:
            raise Refuted(f"the result is {fault}")
        return
    fault = _tensor_form(trial, case, result)
    if fault:
        raise Refuted(f"the result {fault}", observed=_outline(result))
    if result.requires_grad or result.grad_fn is not None:
        raise Refuted("the result carries gradient history although no input requires gradients")
    if operation.result_dtype(case) == "default":
        with default_dtype(torch.float64):
            fault = _tensor_form(trial, case, trial.call(case))
        if fault:
            raise Refuted(f"the result {fault} under default dtype float64")
    if not case.differentiable or not operation.differentiable:
        return
    with torch.no_grad():
        silent = trial.call(case, requires_grad=True)
    if silent.grad_fn is not None:
        raise Refuted(
            "the result carries gradient history under torch.no_grad()",
            steps=GRAD + "with torch.no_grad():\n    print(f(*args, **kwargs).grad_fn)",
        )
    if trial.implementation.gradient is None:
        return
    traced = trial.call(case, requires_grad=True)
    fault = _tensor_form(trial, case, traced)
    if fault:
        raise Refuted(f"the result {fault} when inputs require gradients", observed=_outline(traced))
    if not traced.requires_grad and traced.numel() and depends_on_any(trial, case, case.differentiable):
        raise Refuted(
            "the result has no gradient history although inputs require gradients",
            steps=GRAD + "print(f(*args, **kwargs).requires_grad)",
        )


def _other_shape(result: Any, shape: tuple[int, ...]) -> str | None:
    return f"of shape {tuple(result.shape)}; it should have {shape}" if tuple(result.shape) != shape else None


def _outline(result: Any) -> str:
    if isinstance(result, torch.Tensor):
        return f"{type(result).__name__} {tuple(result.shape)} {result.dtype} on {result.device}"
    return f"{type(result).__name__} {result!r}"[:200]


def _tensor_form(trial: Trial, case: Case, result: Any) -> str | None:
    if type(result) is not torch.Tensor:
        return f"is a {type(result).__name__}; it should be a torch.Tensor"
    expected = oracle.evaluate(trial.operation, case.plain)
    if tuple(result.shape) != expected.shape:
        return f"has shape {tuple(result.shape)}; it should have {expected.shape}"
    dtype = torch_dtype(oracle.result_dtype(trial.operation, case))
    if result.dtype != dtype:
        return f"has dtype {result.dtype}; it should have {dtype}"
    if result.device.type != torch.device(trial.device).type:
        return f"is on {result.device}; it should be on {trial.device}"
    if result.layout is not torch.strided:
        return f"has layout {result.layout}; it should have torch.strided"
    return None


def check_layouts(trial: Trial, case: Case) -> None:
    """The same result for transposed, sliced, stepped, expanded, lazily conjugated and negated inputs as for contiguous ones."""
    rng = np.random.default_rng(case.seed)
    case = case.map(lambda leaf: _index_laid_out(leaf, rng) if isinstance(leaf, Tensor) and not leaf.data else leaf)
    if all(getattr(leaf, "layout", "contiguous") == "contiguous" for _, leaf in case.leaves()):
        raise Unsuitable
    straight = case.plain
    expected = oracle.expected(trial.operation, straight, trial.error)
    first = trial.values(trial.call(straight), expected)
    if first.shape != expected.value.shape:
        raise Unsuitable
    lazily = any(getattr(leaf, "layout", "") in ("conj", "neg") for _, leaf in case.leaves())
    same = replace(zero_bound(first, expected, 2.0), signed_zeros=expected.signed_zeros and not lazily)
    trial.require(trial.call(case), same, "result for this layout")


def _index_laid_out(leaf: Tensor, rng: np.random.Generator) -> Tensor:
    return replace(leaf, layout=str(rng.choice(["contiguous", "transposed", "transposed", "offset", "step"])))


def check_laws(trial: Trial, case: Case) -> None:
    """The contract's metamorphic relations."""
    case = case.plain
    rng = np.random.default_rng(case.seed)
    laws = trial.operation.laws
    if not laws:
        raise Unsuitable
    law = laws[int(rng.integers(len(laws)))]
    args, kwargs = case.build(trial.device)

    def f(*live: Any, **named: Any) -> Any:
        if not trial.implementation.claims(lambda: (tuple(map(_wide, live)), {n: _wide(v) for n, v in named.items()})):
            raise Unsuitable
        return hasty.invoke(live, named)

    trial.in_flight = case
    hasty = replace(trial, limit=HASTE) if law.large else trial
    try:
        sides = law.sides(f, rng, *args, **kwargs)
    except TimeLimitExceeded:
        if law.large:
            raise Unsuitable from None
        raise
    except Exception:
        raise Unsuitable from None
    if sides is None:
        raise Unsuitable
    left, right = (_law_side(trial, side) for side in sides)
    if left.shape != right.shape:
        raise Refuted(f"{law.name}: one side has shape {left.shape}, the other {right.shape}", show(left), show(right))
    slack = 0.0
    rounds = is_floating(oracle.result_dtype(trial.operation, case)) and not is_floating(case.dtype)
    if trial.error is not None or "exact" not in trial.operation.tiers or rounds:
        bound = np.asarray(oracle.expected(trial.operation, case, trial.error).bound)
        slack = 8 * float(np.max(bound[np.isfinite(bound)], initial=0.0)) if bound.ndim else 8 * float(bound)
        if trial.error is not None:  # the law's other calls have bounds of their own
            largest = max((float(np.max(np.abs(side), initial=0.0)) for side in (left, right)), default=0.0)
            slack += 64 * UNIT_ROUNDOFF.get(oracle.result_dtype(trial.operation, case), 0.0) * largest
    with np.errstate(invalid="ignore"):
        apart = (
            ~((left == right) | (np.isnan(left) & np.isnan(right)) | (np.abs(left - right) <= slack))
            if left.dtype.kind != "b"
            else left != right
        )
    if apart.any():
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), left.shape))
        raise Refuted(
            f"{law.name}: {number(left[at])} on one side and {number(right[at])} on the other at {list(at)}",
            show(left),
            show(right),
        )


def _wide(value: Any) -> Any:
    """An argument of a call as the reference takes it."""
    if not isinstance(value, torch.Tensor):
        return value.toarray() if hasattr(value, "toarray") else value
    plain = value.detach().resolve_conj().resolve_neg().cpu()
    if plain.is_floating_point():  # NumPy has no bfloat16
        plain = plain.double()
    return plain.numpy()


def _law_side(trial: Trial, side: Any) -> np.ndarray:
    if isinstance(side, torch.Tensor):
        kind = carrier(str(side.dtype).removeprefix("torch."))
        return trial.values(side, np.zeros(0, kind))
    if hasattr(side, "toarray"):
        return np.asarray(side.toarray())
    return np.asarray(side)


ALLOWED_ERRORS = (ValueError, TypeError, IndexError, RuntimeError)


def check_rejects(trial: Trial, case: Case) -> None:
    """Every illegal call raises ValueError, TypeError, IndexError or RuntimeError, with a message."""
    trial.in_flight = case
    try:
        result = trial.invoke(*case.build(trial.device))
    except ALLOWED_ERRORS as error:
        if not str(error).strip():
            raise Refuted(f"an illegal call raises {type(error).__name__} without a message") from None
        return
    except Exception as error:
        raise Refuted(
            f"an illegal call raises {describe(error)}; it should be a ValueError, TypeError, IndexError or RuntimeError"
        ) from None
    raise Refuted("an illegal call is accepted; it should raise", observed=_outline(result))


def check_terminates(trial: Trial, case: Case) -> None:
    """An answer, or an error, within the time limit."""
    trial.in_flight = case
    try:
        trial.invoke(*case.build(trial.device))
    except Exception:
        return
