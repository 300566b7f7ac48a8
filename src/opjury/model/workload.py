"""Workloads: the sizes at which an operation is worth measuring."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opjury.model import declared
from opjury.model.validate import Declaration

if TYPE_CHECKING:
    from opjury.model.case import Case

NAMED = ("small", "medium", "large")


@dataclass(frozen=True)
class Growth:
    """A way to enlarge a call without limit: if these arguments are repeated, so is the result.

    Parameters
    ----------
    small : callable
        `small(rng)` returns the case that is repeated, its data arguments in float64.
    arguments : mapping of int to int
        From the position of each argument that is repeated to the dimension along which it is.
    result : tuple of int
        The dimensions along which the result is repeated.
    """

    small: Callable[..., Case]
    arguments: Mapping[int, int]
    result: tuple[int, ...]

    def __post_init__(self) -> None:
        given = Declaration.of(self, "Growth")
        given.call("small", self.small, ("rng",))
        given.mapping("arguments", self.arguments, int, "int")
        for place, dim in self.arguments.items():
            given.at_least("arguments", place, 0)
            given.kind(f"arguments[{place}]", dim, int, "an int")
        given.tuple_of("result", self.result, int)
        if not self.arguments or not self.result:
            given.fail("arguments" if not self.arguments else "result", (), "not empty: nothing would grow")


@dataclass(frozen=True)
class Workload:
    """Benchmark inputs of one operation, by named sizes.

    Declaring a workload registers it.

    Parameters
    ----------
    operation : str
    sizes : mapping of str to mapping of str to int
        Named size sets, at least "small", "medium" and "large".
    arguments : callable
        `arguments(rng, **sizes)` returns the case for one call (`Case`), its data arguments in float64.
    least_bytes, least_operations : callable
        `least_bytes(itemsize, **sizes)` returns the bytes that any implementation must read and write, and
        `least_operations(**sizes)` its additions and multiplications.
    read_from : mapping of str to str, optional
        How sizes follow from a call, as Python on the contract's parameters: {"rows": "len(x)"}. A dispatcher by size needs it.
    long : tuple of mapping of str to int, optional
        Sizes with one side above 2¹⁷ and the others small, at which every audit tries a call. They exceed 16-bit indices, a GPU's grid
        and two levels of blocks.
    growths : tuple of Growth, optional
        How a call grows beyond 2³¹ elements. The nightly profile tries such calls if there is memory for them.

    Raises
    ------
    TypeError, ValueError
        As `Operation`, and for sizes that a function does not take.
    """

    operation: str
    sizes: Mapping[str, Mapping[str, int]]
    arguments: Callable[..., Case]
    least_bytes: Callable[..., int]
    least_operations: Callable[..., int]
    read_from: Mapping[str, str] = field(default_factory=dict)
    long: tuple[Mapping[str, int], ...] = ()
    growths: tuple[Growth, ...] = ()
    declaration: Declaration = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = Declaration.of(self, f"Workload of {self.operation!r}")
        object.__setattr__(self, "declaration", given)
        given.label("operation", self.operation)
        self._check_sizes(given)
        names = dict.fromkeys(self.sizes["medium"])
        given.call("arguments", self.arguments, ("rng",), names)
        given.call("least_bytes", self.least_bytes, ("itemsize",), names)
        given.call("least_operations", self.least_operations, (), names)
        given.mapping("read_from", self.read_from, str, "str")
        for size, code in self.read_from.items():
            given.one_of("read_from names a size that", size, tuple(names))
            given.text(f"read_from[{size!r}]", code)
            try:
                ast.parse(code, mode="eval")
            except SyntaxError as error:
                given.fail(f"read_from[{size!r}]", code, f"a Python expression ({error.msg})")
        given.tuple_of("growths", self.growths, Growth)
        if not declared.is_operation(self.operation):
            given.one_of("operation", self.operation, sorted(declared.OPERATIONS))
        declared.add(declared.WORKLOADS, self.operation, self, given.what, lambda e: e.arguments)

    def _check_sizes(self, given: Declaration) -> None:
        given.mapping("sizes", self.sizes, str, "sizes by name")
        for name in NAMED:
            if name not in self.sizes:
                wanted = f"a mapping that has {name!r} too: small, medium and large are needed"
                given.fail("sizes", list(self.sizes), wanted)
        given.tuple_of("long", self.long, dict)
        named = {f"sizes[{name!r}]": sizes for name, sizes in self.sizes.items()}
        named |= {f"long[{number}]": sizes for number, sizes in enumerate(self.long)}
        for where, sizes in named.items():
            given.mapping(where, sizes, str, "int")
            if set(sizes) != set(self.sizes["medium"]):
                wanted = f"sizes of the same names as 'medium': {', '.join(self.sizes['medium'])}"
                given.fail(where, dict(sizes), wanted)
            for name, value in sizes.items():
                given.at_least(f"{where}[{name!r}]", value, 0)

    def name_of(self, sizes: Mapping[str, int]) -> str:
        """The name of these sizes, or "" if they have none."""
        return next((name for name, known in self.sizes.items() if known == sizes), "")
