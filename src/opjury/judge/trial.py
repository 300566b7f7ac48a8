"""One implementation on trial: calling it safely, trying a check on one case, and comparing a result with what is expected."""

from __future__ import annotations

import contextlib
import inspect
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import Expected, compare, repeated_shape, wrong_at
from opjury.judge.numbers import general, small_integers
from opjury.judge.replay import CALL, RESULT, TO_CUDA, arguments, modes, required
from opjury.judge.text import describe, differs, show, show_both
from opjury.judge.time_limit import Pace, TimeLimitExceeded
from opjury.model.arguments import Tensor
from opjury.model.case import Case, Repetition
from opjury.model.check import Check
from opjury.model.device import DeviceLost, finish, lost, on_cuda
from opjury.model.dtypes import is_floating
from opjury.model.exact import carrier
from opjury.model.implementation import Error, Implementation
from opjury.model.operation import Operation
from opjury.model.validate import forms, parameters, shown_parameters, takes

Steps = str | Callable[[], str]

GRAD = """\
for a in (*args, *kwargs.values()):
    if isinstance(a, torch.Tensor) and (a.is_floating_point() or a.is_complex()):
        a.requires_grad_()
"""


def written(steps: Steps) -> str:
    """The lines of a script."""
    return steps if isinstance(steps, str) else steps()


class Refuted(Exception):
    """A check does not hold.

    The message says what is, what should be, and for which input.

    Parameters
    ----------
    message : str
    observed, expected : str
        The two values in print, where there are two.
    steps : str or callable
        Python lines that fail while the fault is there, given `f`, `args` and `kwargs`: by default the call, which raises. A callable
        that returns them is called only on refutation.
    mechanism : str
        What explains the values, said in place of the message if no more elementary check fails.
    """

    def __init__(
        self, message: str, observed: str = "", expected: str = "", steps: Steps = CALL, mechanism: str = ""
    ) -> None:
        super().__init__(message)
        self.message, self.observed, self.expected, self.mechanism = message, observed, expected, mechanism
        self.steps = written(steps)


class Unexamined(Refuted):
    """A result that makes the check itself raise."""


class Unsuitable(Exception):
    """This case says nothing about this check: another check judges what is wrong with it."""


HASTE = 1.0  # seconds that a call at much larger sizes may take


@dataclass
class Trial:
    """An implementation, its contract, and the largest error seen so far.

    Parameters
    ----------
    pace : Pace
        How long calls take and may take.
    declared : bool
        Whether the implementation was registered with declarations of its own, or is a plain function held to the contract.
    """

    operation: Operation
    implementation: Implementation
    device: str = "cpu"
    pace: Pace = field(default_factory=lambda: Pace(5.0))
    declared: bool = True
    of_bound: float = 0.0
    ulps: float = 0.0
    in_flight: Case | None = field(default=None, repr=False)

    def timed(self) -> AbstractContextManager[None]:
        """Limit the time of a call on the case in flight (raises what `Pace.timed` raises)."""
        return self.pace.timed(self.in_flight.elements if self.in_flight else 0)

    @property
    def error(self) -> Error | None:
        """The implementation's own error model."""
        return self.implementation.error

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The implementation, callable with defaulted arguments in their positions also where it takes them by keyword only."""
        inner = self.implementation.function
        try:
            theirs = inspect.signature(inner).parameters.values()
            ours = list(inspect.signature(self.operation.reference).parameters)
        except (TypeError, ValueError):
            return inner
        keyword_only = {p.name for p in theirs if p.kind is p.KEYWORD_ONLY}
        if not keyword_only:
            return inner

        def call(*args: Any, **kwargs: Any) -> Any:
            given = dict(zip(ours, args, strict=False))
            named = {name: given.pop(name) for name in list(given) if name in keyword_only}
            return inner(*given.values(), **named, **kwargs)

        return call

    @cached_property
    def misfit(self) -> str:
        """Why its parameters do not let it be called like the reference, or "" (also where Python cannot tell)."""
        inner, reference = self.implementation.function, self.operation.reference
        found = parameters(inner) or []
        if any(p.kind is p.KEYWORD_ONLY for p in found) or takes(inner, forms(reference, by_name=False)):
            return ""
        own = f"{self.implementation.name}{shown_parameters(inner)}"
        return f"{own} cannot be called as {self.operation.name}{shown_parameters(reference)}"

    def invoke(self, args: tuple[Any, ...], kwargs: dict[str, Any], *, wait: bool = True) -> Any:
        """Call it under the time limit.

        It raises what the implementation raises, and RuntimeError for an attempt to end the process. On a GPU it waits for the queued
        work unless `wait` is false, so that errors of kernels are raised here.
        """
        try:
            with self.timed():
                result = self.function(*args, **kwargs)
                if wait:
                    finish(self.device)
                return result
        except Exception as error:
            if on_cuda(self.device) and lost():
                raise DeviceLost(describe(error)) from None
            raise
        except SystemExit as error:
            raise RuntimeError(f"raised SystemExit({error.code!r})") from error
        except KeyboardInterrupt as error:
            if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a person may have pressed Ctrl-C
                raise
            raise RuntimeError("raised KeyboardInterrupt") from error

    def call(self, case: Case, requires_grad: Any = False) -> Any:
        """Call it with arguments built afresh.

        Raises
        ------
        Refuted
            If it raises here, but not for the same values as plain contiguous tensors without gradient.
        Unsuitable
            If it raises for those too, which agreement judges.
        """
        self.in_flight = case
        try:
            return self.invoke(*case.build(self.device, requires_grad))
        except Exception as error:
            try:
                self.invoke(*case.plain.build(self.device))
            except Exception:
                raise Unsuitable from None
            how = "inputs that require gradients" if requires_grad else "inputs that are laid out differently in memory"
            laid_out = any(getattr(leaf, "layout", "contiguous") != "contiguous" for _, leaf in case.leaves())
            given = f"args, kwargs = {arguments(case)}\n" * laid_out + GRAD * bool(requires_grad)
            raise Refuted(
                f"raises {describe(error)} for {how}; the same values as plain tensors are accepted",
                steps=f"{given}{modes()}{CALL}",
            ) from None

    def in_domain(self, case: Case) -> bool:
        """Whether the implementation claims to be right for a call, or the call is illegal, which every one has to reject."""
        return case.tier == "illegal" or self.implementation.claims(case.wide)

    def refutation(self, check: Check, case: Case) -> Refuted | None:
        """The refutation of a check by a case, or None where the check holds.

        Raises
        ------
        Unsuitable
            Also where the reference has not enough memory.
        ContractError, TimeLimitExceeded
        """
        try:
            check.run(self, case)
        except Refuted as error:
            return error
        except (Unsuitable, oracle.ContractError):
            raise
        except Exception as error:
            if out_of_memory(error):
                raise Unsuitable from None
            return Unexamined(f"the result cannot be examined: {describe(error)}")
        return None

    def fails(self, check: Check, case: Case) -> Refuted | None:
        """The refutation of a check by a case, or None where it holds or says nothing (raises `TimeLimitExceeded`)."""
        with contextlib.suppress(Exception):
            return self.refutation(check, case)
        return None

    def holds(self, check: Check, case: Case) -> bool:
        """Whether a check says that it holds for a case."""
        with contextlib.suppress(Exception, TimeLimitExceeded):
            return self.refutation(check, case) is None
        return False

    def values(self, result: Any, expected: Expected | np.ndarray) -> np.ndarray:
        """A result as a NumPy array in the carrier of what is expected.

        Raises
        ------
        Unsuitable
            If it is no tensor, or of another kind of number, which the check `form` judges.
        """
        kind = expected.value.dtype if isinstance(expected, Expected) else expected.dtype
        if self.operation.result == "sparse" and hasattr(result, "tocoo"):
            entries = result.tocoo()
            dense = np.zeros(result.shape, dtype=result.dtype)
            np.add.at(
                dense, (entries.row, entries.col), entries.data
            )  # adds duplicates up, whatever SciPy does with them
            return dense.astype(kind)
        if not isinstance(result, torch.Tensor):
            raise Unsuitable
        try:
            plain = result.detach().as_subclass(torch.Tensor).resolve_conj().resolve_neg().cpu()
            if plain.layout is not torch.strided or (plain.is_complex() and kind.kind != "c"):
                raise Unsuitable
            if plain.dtype in (torch.bfloat16, torch.float16):
                plain = plain.to(torch.float32)
            return plain.numpy().astype(kind)
        except (RuntimeError, TypeError, NotImplementedError):
            raise Unsuitable from None

    def require(
        self,
        result: Any,
        expected: Expected,
        what: str = "result",
        steps: Steps = RESULT,
        elements: np.ndarray | None = None,
        given: Steps = "",
        other: str = "",
    ) -> None:
        """Raise `Refuted` unless the result is what must come out, within the bound.

        Parameters
        ----------
        what : str
            What the message calls the result.
        steps : str or callable
            Python lines that compute it as `result`, given `f`, `args` and `kwargs`.
        elements : numpy.ndarray, optional
            The places of a result that holds only some elements of what the message names.
        given : str or callable
            What else it was computed from.
        other : str
            An expression for what is expected, where that comes from another call.
        """
        values = self.values(result, expected)
        if values.shape != expected.value.shape:
            raise Refuted(
                f"{what} has shape {values.shape}; it should have {expected.value.shape}",
                show(values),
                show(expected.value),
                lambda: f"{written(steps)}\nassert result.shape == {expected.value.shape}, result.shape",
            )
        comparison = compare(values, expected)
        self.of_bound, self.ulps = max(self.of_bound, comparison.of_bound), max(self.ulps, comparison.ulps)
        if comparison.wrong_at is None:
            return
        at = comparison.wrong_at
        place = at if elements is None else (int(elements[at]),)
        bound = np.broadcast_to(expected.bound, values.shape)

        def failing() -> str:
            sparse = self.operation.result == "sparse" and hasattr(result, "tocoo")
            lines = [written(steps)] + ["result = torch.from_numpy(result.toarray())"] * sparse
            if elements is not None:
                lines.append(f"result = result[{elements.tolist()}]")
            return "\n".join([*lines, required(expected, at, other)])

        message, from_what = differs(what, place, values[at], expected.value[at], bound[at]), written(given)
        raise Refuted(
            f"{message}, {from_what}" if from_what else message, *show_both(values, expected.value, at), failing
        )

    def require_repeated(self, result: Any, expected: Expected, repeated: Repetition) -> None:
        """Raise `Refuted` unless the result is what must come out of the small case, repeated."""
        if type(result) is not torch.Tensor or result.layout is not torch.strided:
            raise Unsuitable
        shape = repeated_shape(expected, repeated)
        told = f" ({repeated.times} repetitions of a small case)"
        steps = TO_CUDA * on_cuda(self.device) + RESULT
        if tuple(result.shape) != shape:
            raise Refuted(
                f"result has shape {tuple(result.shape)}; it should have {shape}{told}",
                steps=f"{steps}\nassert result.shape == {shape}, result.shape",
            )
        at = wrong_at(result, expected, repeated)
        if at is None:
            return
        small = tuple(place % n for place, n in zip(at, expected.value.shape))
        bound = np.broadcast_to(expected.bound, expected.value.shape)[small]
        raise Refuted(
            differs("result", at, result[at].item(), expected.value[small], bound) + told,
            steps=f"{steps}{list(at)}\n{required(Expected(np.asarray(expected.value[small]), bound=bound))}",
        )


def as_another(result: np.ndarray, expected: Expected) -> Expected:
    """What is expected of a call by the result of another: each is within the bound, so that they differ by at most twice the bound."""
    return replace(expected, value=result, rest=0.0, bound=2 * np.asarray(expected.bound))


def out_of_memory(error: Exception) -> bool:
    """Whether this error says that there is not enough memory."""
    return isinstance(error, MemoryError) or "memory" in str(error)


def depends_on_any(trial: Trial, case: Case, places: list[Any]) -> bool:
    """Whether the result depends on an element of one of these arguments at all."""
    return any(oracle.dependence(trial.operation, case.plain, place).any() for place in places)


def random_like(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, tier: str) -> np.ndarray:
    """Incoming gradients and tangents in the dtype's carrier: small integers in the exact tier, general values elsewhere."""
    if not is_floating(dtype):
        dtype = "float32"
    if tier == "exact":
        return small_integers(rng, shape, dtype, 64).astype(carrier(dtype))
    if dtype == "float16":
        return general(rng, shape, dtype, 64, 1, 0)
    return general(rng, shape, dtype, 64, 2, int(rng.choice([0, 1, 5])))


def ordinary(case: Case) -> Case:
    """The case with ones in place of special values, in contiguous memory."""

    def tame(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.data:
            return leaf
        size = np.abs(leaf.values.astype(complex))
        usual = np.isfinite(size) & (size < 1e4) & ((size == 0) | (size > 1e-4))
        return replace(leaf, values=np.where(usual, leaf.values, leaf.values.dtype.type(1)), layout="contiguous")

    return replace(case.map(tame), tier="exact" if case.tier == "special" else case.tier)
