"""A case: the arguments of one call as data, from which live arguments are built afresh for every call.

Cases are plain frozen data: they travel to workers, are stored in records, and can be written as Python code.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from opjury.model import declared
from opjury.model.arguments import Mode, Sparse, Tensor
from opjury.model.exact import literal


@dataclass(frozen=True)
class Repetition:
    """How a small case stands for a call whose values do not fit into the host's memory.

    Parameters
    ----------
    times : int
        How often arguments and result are repeated.
    arguments : tuple of (int, int)
        The place of each argument that is repeated, and the dimension along which it is.
    result : tuple of int
        The dimensions along which the result is then repeated.
    """

    times: int
    arguments: tuple[tuple[int, int], ...]
    result: tuple[int, ...]

    def of(self, place: int | str, ndim: int) -> list[int] | None:
        """How often an argument is repeated along each of its dimensions, or None if it is not repeated."""
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
        Checks derive from it what they need beside the arguments: incoming gradients, the random numbers of a law.
    repeated : Repetition, optional
        The call's arguments are repeated; the reference and the contract see the small case.
    rule : str
        Why an illegal call is illegal, stated of the call itself: "start ≥ end".
    beside : dict of str to Tensor
        What a check used beside the arguments, by its name for it: an incoming gradient, a direction. It takes the place of what the
        check derives from the seed.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    tier: str = "exact"
    seed: int = 0
    repeated: Repetition | None = None
    rule: str = ""
    beside: dict[str, Tensor] = field(default_factory=dict)

    @cached_property
    def memory(self) -> dict[Any, Any]:
        """A cache of what was computed from this case."""
        return {}

    @cached_property
    def plain(self) -> Case:
        """The same values in contiguous memory."""
        return self.map(lambda leaf: replace(leaf, layout="contiguous") if isinstance(leaf, Tensor) else leaf)

    def drawn(self, name: str, made: Tensor) -> Tensor:
        """What a check needs beside the arguments: what is stored under this name, if it fits, or else what the check made."""
        stored = self.beside.get(name, made)
        used = stored if (stored.shape, stored.dtype) == (made.shape, made.dtype) else made
        self.memory.setdefault("beside", {})[name] = used
        return used

    @property
    def settled(self) -> Case:
        """The case with what a check used beside its arguments, after that check has run."""
        used = {**self.plain.memory.get("beside", {}), **self.memory.get("beside", {})}
        return replace(self, beside=used or self.beside)

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
        args, kwargs = self._each(lambda place, leaf: change(leaf))
        return replace(self, args=args, kwargs=kwargs)

    def _each(self, change: Callable[[int | str, Any], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, each replaced by `change(place, argument)`."""
        args = tuple(change(place, leaf) for place, leaf in enumerate(self.args))
        return args, {name: change(name, leaf) for name, leaf in self.kwargs.items()}

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
        """The dtype of the data arguments, or "float64" if there are none."""
        return next((leaf.dtype for _, leaf in self.leaves() if _is_data(leaf)), "float64")

    @property
    def elements(self) -> int:
        """The number of elements of all data arguments, including zeros that a sparse one does not store."""
        return sum(math.prod(leaf.shape) for _, leaf in self.leaves() if _is_data(leaf))

    def build(self, device: str = "cpu", requires_grad: Any = False) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """New live arguments, where `requires_grad` is a bool for all differentiable ones or a collection of places."""

        def live(place: int | str, leaf: Any) -> Any:
            wanted = requires_grad if isinstance(requires_grad, bool) else place in requires_grad
            built = leaf.build(device, wanted) if hasattr(leaf, "build") else leaf
            times = self._times(place, leaf)
            return built.repeat(times) if times else built

        return self._each(live)

    def wide(self, mode: Mode = "float") -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments for the reference."""
        return self._each(lambda place, leaf: leaf.wide(mode) if hasattr(leaf, "wide") else leaf)

    def code(self) -> str:
        """The arguments as Python: `torch.tensor([1., 2.], dtype=torch.float32), dim=0`."""
        args, kwargs = self.texts()
        return ", ".join([*args, *(f"{name}={text}" for name, text in kwargs.items())])

    def texts(self) -> tuple[list[str], dict[str, str]]:
        """Each argument as Python."""

        def text(place: int | str, leaf: Any) -> str:
            code = _written(leaf)
            times = self._times(place, leaf)
            return f"{code}.repeat({times})" if times else code

        args, kwargs = self._each(text)
        return list(args), kwargs

    def _times(self, place: int | str, leaf: Any) -> list[int] | None:
        return self.repeated.of(place, len(leaf.shape)) if self.repeated and hasattr(leaf, "shape") else None

    def to_json(self) -> dict[str, Any]:
        """Plain data that `from_json` reads."""

        def plain(leaf: Any) -> Any:
            if hasattr(leaf, "to_json"):
                return leaf.to_json()
            if isinstance(leaf, tuple):
                return {"tuple": [plain(v) for v in leaf]}
            if isinstance(leaf, np.generic):
                value = leaf.item()
                finite = not isinstance(value, float) or math.isfinite(value)
                return {"numpy": leaf.dtype.name, "value": value if finite else repr(value)}
            if isinstance(leaf, float) and not math.isfinite(leaf):
                return {"float": repr(leaf)}
            return leaf

        args, kwargs = self._each(lambda place, leaf: plain(leaf))
        return {
            "args": list(args),
            "kwargs": kwargs,
            "tier": self.tier,
            "seed": self.seed,
            **({"repeated": msgspec.to_builtins(self.repeated)} if self.repeated else {}),
            **({"rule": self.rule} if self.rule else {}),
            **({"beside": {name: each.to_json() for name, each in self.beside.items()}} if self.beside else {}),
        }

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Case:
        """The case that `to_json` wrote (raises `ValueError` for an argument of an unknown kind)."""

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
            entry.get("rule", ""),
            {name: Tensor.from_json(each) for name, each in entry.get("beside", {}).items()},
        )


def _written(leaf: Any) -> str:
    """An argument as Python."""
    if hasattr(leaf, "code"):
        return str(leaf.code())
    if isinstance(leaf, tuple):
        return f"({', '.join(map(_written, leaf))}{',' * (len(leaf) == 1)})"
    if isinstance(leaf, np.generic):
        return f"np.{leaf.dtype.name}({literal(leaf.item())})"
    return literal(leaf)


def _is_data(leaf: Any) -> bool:
    return isinstance(leaf, Sparse) or (isinstance(leaf, Tensor) and leaf.data)


def _recipe(name: str) -> Any:
    """A contract's own class of argument, by "module:class"."""
    declared.load("opjury.properties")
    # Only modules that are loaded already are searched: a record must not be able to import others.
    module, _, kind = name.partition(":")
    found = getattr(sys.modules.get(module), kind, None)
    if not hasattr(found, "from_json"):
        raise ValueError(f"no contract that is installed knows the kind of argument {name!r}")
    return found
