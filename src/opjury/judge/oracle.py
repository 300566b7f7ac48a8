"""The right result of a call, and of its gradient, computed from the contract alone.

Movement operations: the reference applied to element *numbers* tells which input element each output element copies; values
and gradients of any dtype follow from that, bit for bit. Linear operations: the reference applied to unit vectors is
the Jacobian. Nothing here looks at an implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import wraps
from numbers import Rational
from typing import Any

import numpy as np
import torch

from opjury.judge.bounds import LARGEST, SUBNORMAL, UNIT_ROUNDOFF, Expected, error_bound, ulp
from opjury.model.arguments import Mode, Sparse, Tensor
from opjury.model.case import Case
from opjury.model.dtypes import HALF, is_floating
from opjury.model.exact import ExactComplex, carrier, round_to
from opjury.model.implementation import Error
from opjury.model.operation import Operation

_CHAIN = 8  # steps of a chain rule besides its sums, at the most: products, quotients, differences and roots, each rounded once
_MOST_REMEMBERED = 2**16  # elements of a result
EXACT_ELEMENTS = 40  # the rounding tier is computed in rational arithmetic up to this size

Place = int | str
_Call = tuple[tuple[Any, ...], dict[str, Any]]


def result_dtype(operation: Operation, case: Case) -> str:
    """The dtype that the result must have."""
    name = operation.result_dtype(case)
    return str(torch.get_default_dtype()).removeprefix("torch.") if name == "default" else name


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Cache a function of (operation, case, *rest) in the case: all implementations are judged on the same cases."""

    @wraps(function)
    def recall(operation: Operation, case: Case, *rest: Any) -> Any:
        key = (function.__name__, operation.name, *rest)
        if key in case.memory:
            return case.memory[key]
        found = function(operation, case, *rest)
        if np.size(getattr(found, "value", getattr(found, "source", found))) <= _MOST_REMEMBERED:
            case.memory[key] = found
        return found

    return recall


class ContractError(Exception):
    """A function of the contract raises, or returns what does not fit, for a case that it draws: nothing can be judged."""


def _asked(field: str, function: Callable[..., Any], call: _Call, shape: tuple[int, ...] | None = None) -> Any:
    """What a function of the contract returns, broadcast to a shape if one is given."""
    args, kwargs = call
    try:
        with np.errstate(all="ignore"):
            returned = function(*args, **kwargs)
    except (MemoryError, ContractError):
        raise
    except Exception as error:
        raise ContractError(f"{field} raises {type(error).__name__}: {error}") from error
    try:
        return returned if shape is None else np.broadcast_to(returned, shape)
    except ValueError:
        raise ContractError(f"{field} has shape {np.shape(returned)}; it must broadcast to {shape}") from None


def _reference(reference: Callable[..., Any], case: Case, mode: Mode = "float") -> np.ndarray:
    """In float64 or complex128 ("float"), long double ("long") or exactly ("exact")."""
    return np.asarray(_asked("the contract's reference", reference, case.wide(mode)))


@_remembered
def evaluate(operation: Operation, case: Case) -> np.ndarray:
    """The reference on a case, in float64 or complex128."""
    return _reference(operation.reference, case)


def finest(operation: Operation, case: Case, dtype: str) -> tuple[np.ndarray, float]:
    """The result of the reference in the finest arithmetic that it takes, and the unit roundoff of that."""
    modes: list[Mode] = ["exact"] if case.elements <= EXACT_ELEMENTS else []
    # Some platforms have no long double wider than float64.
    if dtype in ("float64", "complex128") and np.finfo(np.longdouble).nmant > 52:
        modes.append("long")
    for mode in modes if case.tier == "rounding" else ():
        with suppress(ContractError):  # exp and log take no exact numbers
            result = _reference(operation.reference, case, mode)
            kinds = set(map(type, result.flat)) if result.dtype == object else {result.dtype.type}
            if all(issubclass(kind, (Rational, ExactComplex, np.bool_)) for kind in kinds) or not result.size:
                return result, 0.0
            if issubclass(result.dtype.type, (np.longdouble, np.clongdouble)):
                return result, float(np.finfo(np.longdouble).eps) / 2
    return evaluate(operation, case), UNIT_ROUNDOFF["float64"]


def _split(exact: np.ndarray, kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """An exact or long result as the nearest carrier value and the rest."""
    if exact.dtype != object:
        value = exact.astype(kind)
        with np.errstate(invalid="ignore"):
            return value, np.nan_to_num((exact - value).astype(kind))
    value, rest = np.zeros(exact.shape, kind), np.zeros(exact.shape, kind)
    for part in ("real", "imag") if kind.kind == "c" else ("real",):
        numbers = [getattr(number, part) for number in exact.flat]
        nearest = [float(number) for number in numbers]
        rests = [float(number - Fraction(near)) for number, near in zip(numbers, nearest, strict=True)]
        setattr(value, part, np.reshape(nearest, exact.shape))
        setattr(rest, part, np.reshape(rests, exact.shape))
    return value, rest


@dataclass(frozen=True)
class Movement:
    """The input element that each output element copies: its number (−1: a zero) and whether it is conjugated.

    `offsets` holds the first number of each argument, and the one after its last.
    """

    source: np.ndarray
    conjugated: np.ndarray
    offsets: dict[Place, tuple[int, int]]


@_remembered
def movement(operation: Operation, case: Case) -> Movement:
    """Apply the reference to element numbers. Element k is written as (k+1)·(1+i), so that conjugation shows."""
    start, offsets, numbered = 0, {}, case
    for place, leaf in case.leaves():
        if isinstance(leaf, Tensor) and leaf.data:
            stop = start + leaf.values.size
            numbers = (np.arange(start, stop) + 1.0).reshape(leaf.values.shape) * (1 + 1j)
            numbered = numbered.with_leaf(place, replace(leaf, values=numbers, dtype="complex128"))
            offsets[place] = (start, stop)
            start = stop
    result = _reference(operation.reference, numbered)
    if np.any(np.abs(result.imag) != result.real) or np.any(result.real > start):
        raise ContractError("the contract's reference returns what is no element of an argument; kind is 'movement'")
    return Movement(result.real.astype(np.int64) - 1, result.imag < 0, offsets)


@_remembered
def expected(operation: Operation, case: Case, error: Error | None = None) -> Expected:
    """The exact result and how far from it a right one may be, by an implementation's error model or the contract's."""
    dtype = result_dtype(operation, case)
    if operation.kind == "movement":
        return _moved(operation, case, dtype)
    kind = carrier(dtype)
    if not is_floating(dtype):
        return Expected(evaluate(operation, case).astype(kind), dtype=dtype)
    result, reference_unit = finest(operation, case, dtype)
    value, rest = _split(result, kind)
    error = error or Error()
    if error.magnitude is None and error.accumulates == "float32":
        nearest = round_to(value, dtype)
        exactly = case.tier == "exact" and is_floating(case.dtype) and "exact" in operation.tiers
        if exactly and np.array_equal(nearest, value, equal_nan=True):  # else no right result is exact
            return Expected(value, rest, 0.0, dtype=dtype)
        if operation.kind == "exact" and not _adds_up(case):
            return Expected(nearest, 0.0, operation.ulps * ulp(nearest, dtype), dtype=dtype)
    bound = error_bound(
        value,
        _asked("the magnitude", magnitude, ((operation, case, error), {}), value.shape),
        _asked("the number of terms", _terms, ((operation, case, error), {}), value.shape),
        dtype,
        roundings=operation.roundings,
        accumulates=error.accumulates,
        reference_unit=reference_unit,
    )
    return Expected(value, rest, bound, dtype=dtype)


def _adds_up(case: Case) -> bool:
    """Whether a sparse argument stores several entries at one place: whoever reads the result adds them up, which rounds."""
    places = [leaf.places for _, leaf in case.leaves() if isinstance(leaf, Sparse) and len(leaf.places) == 2]
    return any(len(set(zip(*map(np.ndarray.tolist, pair), strict=True))) < len(pair[0]) for pair in places)


def magnitude(operation: Operation, case: Case, error: Error | None = None) -> np.ndarray:
    """Σ|a_j·x_j| of each element of the result, by an implementation's error model or the contract's."""
    function = (error and error.magnitude) or operation.magnitude or operation.reference

    def absolute(leaf: Any) -> Any:
        if not isinstance(leaf, (Tensor, Sparse)) or not leaf.data:
            return leaf
        values = np.abs(leaf.values if leaf.values.dtype.kind == "c" else leaf.values.astype(np.float64))
        return replace(leaf, values=values)

    call = (case if operation.conditioned else case.map(absolute)).wide()
    return np.abs(_asked("the magnitude", function, call))


def _moved(operation: Operation, case: Case, dtype: str) -> Expected:
    map_ = movement(operation, case)
    kind = carrier(dtype)
    flat = [leaf.values.ravel().astype(kind) for _, leaf in case.leaves() if isinstance(leaf, Tensor) and leaf.data]
    pool = np.concatenate([*flat, np.zeros(1, kind)])  # the last element stands for "a zero"
    value = pool[map_.source]
    if kind.kind == "c":
        value = np.where(map_.conjugated, np.conj(value), value)
    lazily = any(isinstance(leaf, Tensor) and leaf.layout in ("conj", "neg") for _, leaf in case.leaves())
    return Expected(value, signed_zeros=not lazily and not map_.conjugated.any(), componentwise=True, dtype=dtype)


@dataclass(frozen=True)
class Jacobian:
    """The result's dependence on some elements of one argument: out = straight·x + conjugate·conj(x).

    Both are of shape (elements, *shape of out).
    """

    straight: np.ndarray
    conjugate: np.ndarray

    @property
    def nonzero(self) -> np.ndarray:
        """Where the derivatives are not zero: bool, (elements, *shape of out)."""
        return (self.straight != 0) | (self.conjugate != 0)

    def transposed(self, weights: np.ndarray) -> np.ndarray:
        """The gradient of Re⟨w, out⟩ in torch's convention, (elements,)."""
        total = _row_sums(np.conj(self.straight) * weights)
        return total + _row_sums(self.conjugate * np.conj(weights)) if np.any(self.conjugate) else total

    def magnitude(self, weights: np.ndarray) -> np.ndarray:
        """Σ|J_ij·w_i|, (elements,)."""
        return _row_sums((np.abs(self.straight) + np.abs(self.conjugate)) * np.abs(weights))


def _row_sums(matrix: np.ndarray) -> np.ndarray:
    return matrix.sum(tuple(range(1, matrix.ndim)))


def with_values(case: Case, place: Place, elements: Any, value: Any) -> Case:
    """The case with another value at some elements of one argument, by their flat numbers."""
    leaf = dict(case.leaves())[place]
    values = leaf.values.copy().reshape(-1)
    values[elements] = value
    return case.with_leaf(place, replace(leaf, values=values.reshape(leaf.values.shape)))


def jacobian(operation: Operation, case: Case, place: Place, elements: np.ndarray, function: Any = None) -> Jacobian:
    """The Jacobian of a linear operation with respect to some elements of an argument: the reference on unit vectors.

    `function` replaces the reference (an implementation's magnitude, whose matrix bounds its gradient's error).
    """
    reference = function or operation.reference
    leaf = dict(case.leaves())[place]
    zeros = case.with_leaf(place, replace(leaf, values=np.zeros(leaf.values.shape, carrier(leaf.dtype))))

    def columns(unit: complex) -> np.ndarray:
        found = [_reference(reference, with_values(zeros, place, number, unit)) for number in elements]
        return np.stack(found) if found else np.zeros((0, *_reference(reference, case).shape))

    real = columns(1.0)
    if not leaf.dtype.startswith("complex"):
        return Jacobian(real, np.zeros_like(real))
    imaginary = columns(1j)
    return Jacobian((real - 1j * imaginary) / 2, (real + 1j * imaginary) / 2)


@_remembered
def dependence(operation: Operation, case: Case, place: Place, elements: tuple[int, ...] | None = None) -> np.ndarray:
    """Which outputs depend on which elements (default: all) of an argument: bool, (elements, *shape of out).

    An output depends on an element if the reference lets a NaN in the element reach it.
    """
    numbers = np.arange(dict(case.leaves())[place].values.size) if elements is None else np.array(elements)
    if operation.kind == "movement":
        copied = movement(operation, case)
        start, _ = copied.offsets[place]
        return copied.source[None] == (start + numbers).reshape(-1, *[1] * copied.source.ndim)
    rows = [np.isnan(_reference(operation.reference, with_values(case, place, number, np.nan))) for number in numbers]
    return np.stack(rows) if rows else np.zeros((0, *evaluate(operation, case).shape), bool)


def expected_gradient(
    operation: Operation,
    case: Case,
    place: Place,
    weights: np.ndarray,
    error: Error | None = None,
    elements: np.ndarray | None = None,
) -> Expected:
    """The gradient of Re⟨w, f(args)⟩ with respect to some elements (default: all) of one argument, flat, and its bound.

    Half types are added in the half type itself: that is what autograd does where an argument is used several times.
    """
    leaf = dict(case.leaves())[place]
    elements = np.arange(leaf.values.size) if elements is None else elements
    if operation.gradient is not None:
        return _analytic_gradient(operation, case, place, weights, error)
    own = error.magnitude if error else None
    if operation.kind == "movement":
        value, magnitude, terms = _moved_gradient(operation, case, place, weights, elements)
        entries, exactly = [weights], True
    else:
        matrix = jacobian(operation, case, place, elements)
        with np.errstate(all="ignore"):
            value, magnitude, terms = matrix.transposed(weights), matrix.magnitude(weights), _row_sums(matrix.nonzero)
        entries, exactly = [matrix.straight, matrix.conjugate], own is None
    value = value.astype(carrier(leaf.dtype))
    if exactly and case.tier == "exact" and _sums_exactly(entries, magnitude, leaf.dtype):
        return Expected(value, 0.0, 0.0, dtype=leaf.dtype)
    terms = terms + operation.roundings + 1
    if own is not None:
        magnitude = np.maximum(jacobian(operation, case, place, elements, own).magnitude(weights), magnitude)
        terms = terms + _terms(operation, case, error).max(initial=1)
    bound = error_bound(value, magnitude, terms, leaf.dtype, roundings=2, accumulates="input", reference_unit=2.0**-53)
    return Expected(value, 0.0, bound, dtype=leaf.dtype)


def _terms(operation: Operation, case: Case, error: Error | None) -> np.ndarray:
    """The roundings on the longest path to each element of the result."""
    return np.asarray(_asked("the number of terms", (error and error.terms) or operation.terms, case.wide()))


def _analytic_gradient(
    operation: Operation, case: Case, place: Place, weights: np.ndarray, error: Error | None
) -> Expected:
    leaf = dict(case.leaves())[place]
    value, magnitude = _own_gradient(operation, case, place, weights)
    _, steepest = _own_gradient(operation, case, place, np.ones_like(weights))
    beyond = steepest > LARGEST[leaf.dtype]  # who computes it before the product gets inf or NaN
    if error is not None and error.magnitude is not None:
        matrix = jacobian(operation, case, place, np.arange(leaf.values.size), error.magnitude)
        magnitude = np.maximum(matrix.magnitude(weights), magnitude)
    terms = _terms(operation, case, error).max(initial=1) + _CHAIN
    bound = error_bound(value, magnitude, terms, leaf.dtype, roundings=2, reference_unit=2.0**-53)
    if leaf.dtype in HALF:  # each step may round to the half type: forward, and again backward
        bound = bound + 2 * _CHAIN * UNIT_ROUNDOFF[leaf.dtype] * magnitude
    bound = bound + terms * SUBNORMAL[leaf.dtype] * np.abs(weights).max(initial=0.0)  # of derivatives that underflow
    value, bound = np.where(beyond, 0, value), np.where(beyond, np.inf, bound)
    return Expected(value.astype(carrier(leaf.dtype)), 0.0, bound, dtype=leaf.dtype)


def _own_gradient(operation: Operation, case: Case, place: Place, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gradient of one argument and its magnitude, flat, by the contract's function."""
    (args, kwargs), places, own = case.wide("float"), case.differentiable, operation.gradient
    assert own is not None
    pairs = _asked("the contract's gradient", lambda: [tuple(p) for p in own(weights, *args, **kwargs)], ((), {}))
    if list(map(len, pairs)) != [2] * len(places):
        wanted = f"a pair, gradient and magnitude, for each of {len(places)} arguments"
        raise ContractError(f"the contract's gradient returns {len(pairs)} values; it must return {wanted}")
    shape = dict(case.leaves())[place].shape
    value, magnitude = (
        _asked("the contract's gradient", np.asarray, ((part,), {}), shape).ravel()
        for part in pairs[places.index(place)]
    )
    return value, magnitude


def _moved_gradient(
    operation: Operation, case: Case, place: Place, weights: np.ndarray, elements: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, Σ|w| and number of copies for each element: the incoming gradient added up where it was copied from."""
    map_ = movement(operation, case)
    start, stop = map_.offsets[place]
    mine = (map_.source >= start) & (map_.source < stop)
    source, weight = map_.source[mine] - start, np.where(map_.conjugated, np.conj(weights), weights)[mine]
    value = np.zeros(stop - start, dtype=weights.dtype)
    with np.errstate(all="ignore"):
        np.add.at(value, source, weight)
    magnitude = np.bincount(source, np.abs(weight), minlength=stop - start)
    return value[elements], magnitude[elements], np.bincount(source, minlength=stop - start)[elements]


def _sums_exactly(entries: list[np.ndarray], magnitude: np.ndarray, dtype: str) -> bool:
    """Whether every partial sum is representable: all entries are multiples of one 2^-s, and the sums of absolute values small."""
    most = float(np.max(magnitude, initial=0.0))
    parts = [part for e in entries for part in ([e.real, e.imag] if e.dtype.kind == "c" else [e]) if part.any()]
    for s in range(20):
        if most * 2.0**s * 2 >= 1 / UNIT_ROUNDOFF[dtype]:
            return False
        if all(np.array_equal(part * 2.0**s, np.rint(part * 2.0**s)) for part in parts):
            return True
    return False
