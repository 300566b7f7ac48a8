"""A case: the arguments of one call as data, from which live arguments are built afresh for every call.

Cases are plain frozen data: they travel to workers, are stored in records, and can be written as Python code.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
import torch

from opjury.layouts import LAYOUTS
from opjury.sparse_case import Sparse

Mode = Literal["float", "long", "exact"]

_INTEGER_LIMITS = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
}


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype of a name; "default" is torch's default dtype at this moment."""
    return torch.get_default_dtype() if name == "default" else getattr(torch, name)


def is_floating(dtype: str) -> bool:
    """Whether the dtype is floating or complex, that is: whether gradients exist."""
    return dtype.startswith(("float", "bfloat", "complex"))


def carrier(dtype: str) -> np.dtype:
    """The NumPy dtype that holds every value of the dtype exactly."""
    if dtype.startswith("complex"):
        return np.dtype(np.complex128)
    return np.dtype(np.float64 if is_floating(dtype) else np.bool_ if dtype == "bool" else np.int64)


def round_to(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values rounded to the dtype, in its carrier."""
    carried = torch.from_numpy(np.array(values, dtype=carrier(dtype), order="C"))
    return carried.to(torch_dtype(dtype)).to(carried.dtype).numpy()


class ExactComplex:
    """A complex number of two `Fraction`s: what `Fraction` is for the reals."""

    __slots__ = ("imag", "real")

    def __init__(self, real: Any, imag: Any = 0) -> None:
        self.real, self.imag = Fraction(real), Fraction(imag)

    @staticmethod
    def _of(other: Any) -> ExactComplex:
        return other if isinstance(other, ExactComplex) else ExactComplex(other.real, other.imag)

    def __add__(self, other: Any) -> ExactComplex:
        other = self._of(other)
        return ExactComplex(self.real + other.real, self.imag + other.imag)

    def __neg__(self) -> ExactComplex:
        return ExactComplex(-self.real, -self.imag)

    def __sub__(self, other: Any) -> ExactComplex:
        return self + -self._of(other)

    def __rsub__(self, other: Any) -> ExactComplex:
        return self._of(other) + -self

    def __mul__(self, other: Any) -> ExactComplex:
        other = self._of(other)
        return ExactComplex(
            self.real * other.real - self.imag * other.imag, self.real * other.imag + self.imag * other.real
        )

    def __truediv__(self, other: Any) -> ExactComplex:
        other = self._of(other)
        size = other.real**2 + other.imag**2
        product = self * other.conjugate()
        return ExactComplex(product.real / size, product.imag / size)

    __radd__, __rmul__ = __add__, __mul__

    def __rtruediv__(self, other: Any) -> ExactComplex:
        return self._of(other) / self

    def conjugate(self) -> ExactComplex:
        """The same with the opposite imaginary part."""
        return ExactComplex(self.real, -self.imag)

    def __abs__(self) -> float:
        return math.hypot(float(self.real), float(self.imag))

    def __bool__(self) -> bool:
        return bool(self.real or self.imag)

    def __eq__(self, other: object) -> bool:
        other = self._of(other)
        return self.real == other.real and self.imag == other.imag

    __hash__ = None  # type: ignore[assignment]


def exactly(value: Any) -> Any:
    """A number as a `Fraction` or an `ExactComplex`."""
    return ExactComplex(value.real, value.imag) if isinstance(value, complex) else Fraction(value)


@dataclass(frozen=True, eq=False)
class Tensor:
    """The recipe of one tensor argument.

    Parameters
    ----------
    values : numpy.ndarray
        The logical values, in the carrier of `dtype` (every element representable in `dtype`).
    dtype : str
    layout : str
        One of `opjury.layouts.LAYOUTS`: how the values lie in memory.
    data : bool
        False for indices, slices and the like: int64 whatever the dtype on trial, never differentiated.
    """

    values: np.ndarray
    dtype: str
    layout: str = "contiguous"
    data: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the values."""
        return tuple(self.values.shape)

    @property
    def differentiable(self) -> bool:
        """Whether it has a gradient."""
        return self.data and is_floating(self.dtype)

    def build(self, device: str = "cpu", requires_grad: bool = False) -> torch.Tensor:
        """A new tensor with memory of its own. In the layout "expanded" the values have equal rows."""
        values = np.array(self.values, dtype=carrier(self.dtype), order="C")
        plain = (
            torch.from_numpy(values).to(torch_dtype(self.dtype)).clone(memory_format=torch.contiguous_format).to(device)
        )
        laid = LAYOUTS[self.layout].lay(plain).detach()
        return laid.requires_grad_(True) if requires_grad and self.differentiable else laid

    def wide(self, mode: Mode) -> np.ndarray:
        """The values for the reference: float64/complex128, long double, or exact objects. Integers stay int64."""
        values = np.array(self.values)
        if mode == "float" or not self.differentiable:
            return values
        if mode == "long":
            return values.astype(np.clongdouble if values.dtype.kind == "c" else np.longdouble)
        objects = np.empty(values.size, dtype=object)
        objects[:] = [exactly(value) for value in values.ravel().tolist()]
        return objects.reshape(values.shape)

    def code(self) -> str:
        """Python that builds it, needing torch alone."""
        text = literal(self.values.tolist() if self.values.size <= 2000 else self.values.ravel().tolist())
        shape = "" if self.values.size and self.values.size <= 2000 else f".reshape({tuple(self.values.shape)})"
        built = f"torch.tensor({text}, dtype=torch.{self.dtype}){shape}"
        return LAYOUTS[self.layout].code.format(built)

    def to_json(self) -> dict[str, Any]:
        """Plain data, from which `from_json` makes it again."""
        flat = self.values.ravel()
        if flat.dtype.kind == "c":
            flat = flat.view(np.float64)
        listed = [v if not isinstance(v, float) or math.isfinite(v) else repr(v) for v in flat.tolist()]
        return {
            "tensor": self.dtype,
            "shape": list(self.values.shape),
            "layout": self.layout,
            "data": self.data,
            "values": listed,
        }

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Tensor:
        """What `to_json` wrote."""
        kind = carrier(entry["tensor"])
        flat = [float(v) if isinstance(v, str) else v for v in entry["values"]]
        values = np.array(flat, dtype=np.float64 if kind.kind == "c" else kind)
        values = values.view(kind).reshape(entry["shape"]) if values.size else np.zeros(entry["shape"], kind)
        return Tensor(values, entry["tensor"], entry["layout"], entry["data"])


def literal(value: Any) -> str:
    """Numbers, and lists of them, as Python."""
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, complex):
        return f"complex({literal(value.real)}, {literal(value.imag)})"
    if isinstance(value, float):
        return (
            repr(int(value)) + "."
            if value.is_integer() and abs(value) < 1e6 and str(value) != "-0.0"
            else (repr(value) if math.isfinite(value) else f"float('{value}')")
        )
    return repr(value)


@dataclass(frozen=True)
class Repetition:
    """How a small case stands for a call that no memory of the host could hold as values.

    Parameters
    ----------
    times : int
    arguments : tuple of (int, int)
        The places of the arguments that are repeated so many times, and the dimension of each.
    result : tuple of int
        The dimensions along which the result is repeated then.
    """

    times: int
    arguments: tuple[tuple[int, int], ...]
    result: tuple[int, ...]

    def of(self, place: int | str, ndim: int) -> list[int] | None:
        """How often an argument is repeated along each of its dimensions; None where it is not."""
        along = next((dim for where, dim in self.arguments if where == place), None)
        return None if along is None else [self.times if dim == along else 1 for dim in range(ndim)]


@dataclass(frozen=True, eq=False)
class Case:
    """The arguments of one call.

    Parameters
    ----------
    args, kwargs
        `Tensor` and other recipes, or plain Python values.
    tier : {"exact", "rounding", "special", "illegal"}
    seed : int
        From which checks derive whatever else they need (incoming gradients, partners of a law).
    repeated : Repetition, optional
        The call has arguments repeated; the reference and the contract see the small case.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    tier: str = "exact"
    seed: int = 0
    repeated: Repetition | None = None

    @cached_property
    def memory(self) -> dict[Any, Any]:
        """What was computed from this case, kept by whoever computed it."""
        return {}

    @cached_property
    def plain(self) -> Case:
        """The same values in contiguous memory."""
        return self.map(lambda leaf: replace(leaf, layout="contiguous") if isinstance(leaf, Tensor) else leaf)

    @staticmethod
    def of(*args: Any, **kwargs: Any) -> Case:
        """The case of a call with these arguments."""
        return Case(args, kwargs)

    def leaves(self) -> Iterator[tuple[int | str, Any]]:
        """Every argument with its place: a position or a keyword."""
        yield from enumerate(self.args)
        yield from self.kwargs.items()

    def map(self, change: Callable[[Any], Any]) -> Case:
        """A case with every argument replaced."""
        return replace(
            self, args=tuple(map(change, self.args)), kwargs={name: change(v) for name, v in self.kwargs.items()}
        )

    def with_leaf(self, place: int | str, value: Any) -> Case:
        """A case with one argument replaced."""
        if isinstance(place, int):
            return replace(self, args=(*self.args[:place], value, *self.args[place + 1 :]))
        return replace(self, kwargs={**self.kwargs, place: value})

    @property
    def differentiable(self) -> list[int | str]:
        """The places of the arguments that have gradients."""
        return [place for place, leaf in self.leaves() if isinstance(leaf, Tensor) and leaf.differentiable]

    @property
    def dtype(self) -> str:
        """The dtype of the data arguments ("float64" where there are none)."""
        return next((leaf.dtype for _, leaf in self.leaves() if _is_data(leaf)), "float64")

    @property
    def elements(self) -> int:
        """The number of elements of all data arguments, zeros that a sparse one does not store among them."""
        return sum(math.prod(leaf.shape) for _, leaf in self.leaves() if _is_data(leaf))

    def build(self, device: str = "cpu", requires_grad: Any = False) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Live arguments, fresh in memory. `requires_grad`: for all differentiable ones, or a collection of places."""

        def live(place: int | str, leaf: Any) -> Any:
            wanted = requires_grad if isinstance(requires_grad, bool) else place in requires_grad
            built = leaf.build(device, wanted) if hasattr(leaf, "build") else leaf
            times = self._times(place, leaf)
            return built.repeat(times) if times else built

        args = tuple(live(place, leaf) for place, leaf in enumerate(self.args))
        return args, {name: live(name, leaf) for name, leaf in self.kwargs.items()}

    def wide(self, mode: Mode = "float") -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments for the reference."""

        def widened(leaf: Any) -> Any:
            return leaf.wide(mode) if hasattr(leaf, "wide") else leaf

        return tuple(map(widened, self.args)), {name: widened(v) for name, v in self.kwargs.items()}

    def code(self) -> str:
        """The arguments as Python: `torch.tensor([1., 2.], dtype=torch.float32), dim=0`."""

        args, kwargs = self.texts()
        return ", ".join([*args, *(f"{name}={text}" for name, text in kwargs.items())])

    def texts(self) -> tuple[list[str], dict[str, str]]:
        """Each argument as Python."""

        def text(place: int | str, leaf: Any) -> str:
            code = leaf.code() if hasattr(leaf, "code") else repr(leaf)
            times = self._times(place, leaf)
            return f"{code}.repeat({times})" if times else code

        return [text(i, leaf) for i, leaf in enumerate(self.args)], {
            k: text(k, leaf) for k, leaf in self.kwargs.items()
        }

    def _times(self, place: int | str, leaf: Any) -> list[int] | None:
        return self.repeated.of(place, len(leaf.shape)) if self.repeated and hasattr(leaf, "shape") else None

    def to_json(self) -> dict[str, Any]:
        """Plain data, from which `from_json` makes it again."""

        def plain(leaf: Any) -> Any:
            if hasattr(leaf, "to_json"):
                return leaf.to_json()
            if isinstance(leaf, tuple):
                return {"tuple": [plain(v) for v in leaf]}
            if isinstance(leaf, float) and not math.isfinite(leaf):
                return {"float": repr(leaf)}
            if isinstance(leaf, np.generic):
                return {"numpy": leaf.dtype.name, "value": leaf.item()}
            return leaf

        return {
            "args": [plain(v) for v in self.args],
            "kwargs": {name: plain(v) for name, v in self.kwargs.items()},
            "tier": self.tier,
            "seed": self.seed,
            **({"repeated": msgspec.to_builtins(self.repeated)} if self.repeated else {}),
        }

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Case:
        """What `to_json` wrote; `ValueError` for an argument of a kind that is not known."""

        def live(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            if "tensor" in value:
                return Tensor.from_json(value)
            if "tuple" in value:
                return tuple(live(v) for v in value["tuple"])
            if "float" in value:
                return float(value["float"])
            if "numpy" in value:
                return np.dtype(value["numpy"]).type(value["value"])
            if "sparse" in value:
                return Sparse.from_json(value)
            if "recipe" in value:
                return _recipe(value["recipe"]).from_json(value)
            raise ValueError(
                f"argument of an unknown kind: {sorted(value)}; known: tensor, sparse, recipe, tuple, float, numpy"
            )

        return Case(
            tuple(map(live, entry["args"])),
            {name: live(v) for name, v in entry["kwargs"].items()},
            entry["tier"],
            entry["seed"],
            msgspec.convert(entry["repeated"], Repetition) if "repeated" in entry else None,
        )


def _is_data(leaf: Any) -> bool:
    return isinstance(leaf, Sparse) or (isinstance(leaf, Tensor) and leaf.data)


def _recipe(name: str) -> Any:
    """A contract's own kind of argument, "module:class". Only modules that contracts were loaded from are looked at."""
    from opjury import registry

    registry.operations()
    module, _, kind = name.partition(":")
    found = getattr(sys.modules.get(module), kind, None)
    if not hasattr(found, "from_json"):
        raise ValueError(f"no contract that is installed knows the kind of argument {name!r}")
    return found


def integer_limits(dtype: str) -> tuple[int, int]:
    """Smallest and largest value of an integer dtype (bool: 0 and 1)."""
    return (0, 1) if dtype == "bool" else _INTEGER_LIMITS.get(dtype, (-(2**63), 2**63 - 1))
