"""What must come out of a call, and of its gradient, computed from the contract alone.

Movement operations: the reference applied to element *numbers* tells which input element every output element copies; values
and gradients of any dtype follow from that, bit for bit. Linear operations: the reference applied to unit vectors is
the Jacobian. Nothing here looks at an implementation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import wraps
from typing import Any

import numpy as np
import torch

from opjury.judge.bounds import UNIT_ROUNDOFF, Expected, error_bound
from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case
from opjury.model.dtypes import HALF, is_floating
from opjury.model.exact import carrier
from opjury.model.implementation import Error
from opjury.model.operation import Operation

_CHAIN = 8  # steps of a chain rule besides its sums, at the most: products, quotients, differences and roots, each rounded once
_MOST_REMEMBERED = 2**16  # elements of a result
EXACT_ELEMENTS = 40  # up to here the rounding tier is computed in rational arithmetic

Place = int | str


def result_dtype(operation: Operation, case: Case) -> str:
    """The dtype that the result must have."""
    name = operation.result_dtype(case)
    if name != "default":
        return name
    return str(torch.get_default_dtype()).removeprefix("torch.")


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what a function of (operation, case, *rest) returned with the case: implementations are judged on the same cases."""

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
    """The reference, or a bound's magnitude, raises for a case that the contract draws: nothing is known of an implementation."""


def _reference(reference: Callable[..., Any], case: Case, mode: str = "float") -> np.ndarray:
    """In float64 or complex128 ("float"), long double ("long") or exactly ("exact")."""
    args, kwargs = case.wide(mode)  # type: ignore[arg-type]
    try:
        with np.errstate(all="ignore"):
            return np.asarray(reference(*args, **kwargs))
    except MemoryError:
        raise
    except Exception as error:
        name = getattr(reference, "__name__", "the reference")
        raise ContractError(f"the contract's {name} raises {type(error).__name__}: {error}") from error


@remembered
def evaluate(operation: Operation, case: Case) -> np.ndarray:
    """The reference on a case, in float64 or complex128."""
    return _reference(operation.reference, case)


def _split(exact: np.ndarray, kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """An exact or long result as the nearest carrier value and the rest."""
    if exact.dtype != object:
        value = exact.astype(kind)
        with np.errstate(invalid="ignore"):
            return value, np.nan_to_num((exact - value).astype(kind))
    if kind.kind == "c":
        value = np.array([complex(float(e.real), float(e.imag)) for e in exact.ravel()], dtype=kind)
        rest = [
            complex(float(e.real - Fraction(float(v.real))), float(e.imag - Fraction(float(v.imag))))
            for e, v in zip(exact.ravel(), value, strict=True)
        ]
    else:
        value = np.array([float(e) for e in exact.ravel()], dtype=kind)
        rest = [float(e - Fraction(float(v))) for e, v in zip(exact.ravel(), value, strict=True)]
    return value.reshape(exact.shape), np.array(rest, dtype=kind).reshape(exact.shape)


@dataclass(frozen=True)
class Movement:
    """Which input element each output element copies: its number (−1: a zero), whether conjugated, and its argument."""

    source: np.ndarray
    conjugated: np.ndarray
    offsets: dict[Place, tuple[int, int]]


@remembered
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
    return Movement(result.real.astype(np.int64) - 1, result.imag < 0, offsets)


@remembered
def _by_contract(operation: Operation, case: Case) -> Expected:
    return _expected(operation, case, None)


def expected(operation: Operation, case: Case, error: Error | None = None) -> Expected:
    """The exact result and how far from it a right one may be."""
    return _expected(operation, case, error) if error else _by_contract(operation, case)


def _expected(operation: Operation, case: Case, error: Error | None) -> Expected:
    dtype = result_dtype(operation, case)
    if operation.kind == "movement":
        return _moved(operation, case, dtype)
    kind = carrier(dtype)
    if not is_floating(dtype):
        return Expected(evaluate(operation, case).astype(kind), dtype=dtype)
    inexact = case.tier == "rounding" or not is_floating(case.dtype) or "exact" not in operation.tiers
    mode = "float"
    if case.tier == "rounding":
        wide_enough = np.finfo(np.longdouble).nmant > 52
        mode = (
            "exact"
            if case.elements <= EXACT_ELEMENTS
            else "long"
            if wide_enough and dtype in ("float64", "complex128")
            else "float"
        )
    value, rest = _split(
        _reference(operation.reference, case, mode) if mode != "float" else evaluate(operation, case), kind
    )
    if (
        case.tier == "exact"
        and not inexact
        and (error is None or (error.magnitude is None and error.accumulates == "float32"))
    ):
        return Expected(value, rest, 0.0, dtype=dtype)
    own = error or Error()
    reference_unit = {"float": 2.0**-53, "long": float(np.finfo(np.longdouble).eps) / 2, "exact": 0.0}[mode]
    args, kwargs = case.wide("float")
    bound = error_bound(
        value,
        magnitude(operation, case, own),
        (own.terms or operation.terms)(*args, **kwargs),
        dtype,
        roundings=operation.roundings,
        accumulates=own.accumulates,
        reference_unit=reference_unit,
    )
    return Expected(value, rest, bound, dtype=dtype)


def magnitude(operation: Operation, case: Case, error: Error | None = None) -> np.ndarray:
    """Σ|a_j·x_j| of each element of the result, by an error model or the contract's."""
    function = (error.magnitude if error else None) or operation.magnitude

    def absolute(leaf: Any) -> Any:
        if not isinstance(leaf, (Tensor, Sparse)) or not leaf.data:
            return leaf
        values = np.abs(leaf.values if leaf.values.dtype.kind == "c" else leaf.values.astype(np.float64))
        return replace(leaf, values=values)

    return np.abs(_reference(function or operation.reference, case if operation.conditioned else case.map(absolute)))


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
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, self.straight.ndim))

    def transposed(self, weights: np.ndarray) -> np.ndarray:
        """The gradient of Re⟨w, out⟩ in torch's convention, (elements,)."""
        total = (np.conj(self.straight) * weights).sum(self._axes)
        return total + (self.conjugate * np.conj(weights)).sum(self._axes) if np.any(self.conjugate) else total

    def magnitude(self, weights: np.ndarray) -> np.ndarray:
        """Σ|J_ij·w_i|, (elements,)."""
        return ((np.abs(self.straight) + np.abs(self.conjugate)) * np.abs(weights)).sum(self._axes)

    def terms(self) -> np.ndarray:
        """How many outputs each element reaches, (elements,)."""
        return ((self.straight != 0) | (self.conjugate != 0)).sum(self._axes)


def jacobian(operation: Operation, case: Case, place: Place, elements: np.ndarray, function: Any = None) -> Jacobian:
    """The Jacobian of a linear operation with respect to some elements of an argument: the reference on unit vectors.

    `function` replaces the reference (an implementation's magnitude, whose matrix bounds its gradient's error).
    """
    leaf = dict(case.leaves())[place]
    reference = function or operation.reference

    def columns(unit: complex) -> np.ndarray:
        found = []
        for number in elements:
            values = np.zeros(leaf.values.size, dtype=carrier(leaf.dtype))
            values[number] = unit
            found.append(
                _reference(reference, case.with_leaf(place, replace(leaf, values=values.reshape(leaf.values.shape))))
            )
        return np.stack(found) if found else np.zeros((0, *_reference(reference, case).shape))

    real = columns(1.0)
    if not leaf.dtype.startswith("complex"):
        return Jacobian(real, np.zeros_like(real))
    imaginary = columns(1j)
    return Jacobian((real - 1j * imaginary) / 2, (real + 1j * imaginary) / 2)


@remembered
def dependence(operation: Operation, case: Case, place: Place, elements: tuple[int, ...] | None = None) -> np.ndarray:
    """Which outputs depend on which elements (default: all) of an argument: bool, (elements, *shape of out).

    An output depends on an element if the reference lets a NaN in the element reach it.
    """
    leaf = dict(case.leaves())[place]
    numbers = np.arange(leaf.values.size) if elements is None else np.array(elements)
    if operation.kind == "movement":
        map_ = movement(operation, case)
        start, _ = map_.offsets[place]
        return map_.source[None] == (start + numbers).reshape(-1, *[1] * map_.source.ndim)
    rows = []
    for number in numbers:
        values = leaf.values.copy().reshape(-1)
        values[number] = np.nan
        rows.append(
            np.isnan(
                _reference(
                    operation.reference,
                    case.with_leaf(place, replace(leaf, values=values.reshape(leaf.values.shape))),
                )
            )
        )
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
    if operation.kind == "movement":
        value, magnitude, terms = _moved_gradient(operation, case, place, weights, elements)
        entries, exactly = [weights], True
    else:
        matrix = jacobian(operation, case, place, elements)
        with np.errstate(all="ignore"):
            value, magnitude, terms = matrix.transposed(weights), matrix.magnitude(weights), matrix.terms()
        entries = [matrix.straight, matrix.conjugate]
        exactly = error is None or error.magnitude is None
    value = value.astype(carrier(leaf.dtype))
    if exactly and case.tier == "exact" and _sums_exactly(entries, magnitude, leaf.dtype):
        return Expected(value, 0.0, 0.0, dtype=leaf.dtype)
    terms = terms + operation.roundings + 1
    if error is not None and error.magnitude is not None:
        args, kwargs = case.wide("float")
        magnitude = np.maximum(
            jacobian(operation, case, place, elements, error.magnitude).magnitude(weights), magnitude
        )
        terms = terms + np.asarray((error.terms or operation.terms)(*args, **kwargs)).max(initial=1)
    bound = error_bound(value, magnitude, terms, leaf.dtype, roundings=2, accumulates="input", reference_unit=2.0**-53)
    return Expected(value, 0.0, bound, dtype=leaf.dtype)


def _analytic_gradient(
    operation: Operation, case: Case, place: Place, weights: np.ndarray, error: Error | None
) -> Expected:
    leaf = dict(case.leaves())[place]
    args, kwargs = case.wide("float")
    assert operation.gradient is not None
    with np.errstate(all="ignore"):
        pairs = operation.gradient(weights, *args, **kwargs)
    value, magnitude = (np.asarray(part).ravel() for part in pairs[case.differentiable.index(place)])
    if error is not None and error.magnitude is not None:
        own = jacobian(operation, case, place, np.arange(leaf.values.size), error.magnitude)
        magnitude = np.maximum(own.magnitude(weights), magnitude)
    terms = np.asarray(((error and error.terms) or operation.terms)(*args, **kwargs)).max(initial=1) + _CHAIN
    bound = error_bound(value, magnitude, terms, leaf.dtype, roundings=2, reference_unit=2.0**-53)
    if leaf.dtype in HALF:  # each step may round to the half type: forward, and again backward
        bound = bound + 2 * _CHAIN * UNIT_ROUNDOFF[leaf.dtype] * magnitude
    return Expected(value.astype(carrier(leaf.dtype)), 0.0, bound, dtype=leaf.dtype)


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
    """Whether every partial sum is representable: all entries are multiples of one 2^-s, and the sums of absolutes small."""
    most = float(np.max(magnitude, initial=0.0))
    parts = [part for e in entries for part in ([e.real, e.imag] if e.dtype.kind == "c" else [e]) if part.any()]
    for s in range(20):
        if most * 2.0**s * 2 >= 1 / UNIT_ROUNDOFF[dtype]:
            return False
        if all(np.array_equal(part * 2.0**s, np.rint(part * 2.0**s)) for part in parts):
            return True
    return False
