"""Contracts: what an operation means, and which calls it must be tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from opjury.model import declared
from opjury.model.dtypes import COMPLEX, DTYPES, FLOATING
from opjury.model.validate import Declaration, parameters

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from opjury.model.case import Case

OperationKind = Literal["movement", "arithmetic", "exact"]
KINDS: dict[OperationKind, str] = {
    "movement": "movement: elements are copied, results are equal bit for bit",
    "arithmetic": "arithmetic: results round, and lie within a bound that is computed for each element",
    "exact": "exact: results are equal in value",
}
Result = Literal["tensor", "sparse"]
TIERS = ("exact", "rounding")


@dataclass(frozen=True)
class Law:
    """A metamorphic relation: two ways to compute the same thing with the implementation alone.

    Parameters
    ----------
    name : str
        What must hold, in words: "permuting the slices permutes the means".
    sides : callable
        `sides(f, rng, *args, **kwargs)`, with live tensors and a `numpy.random.Generator`, returns a pair that must be
        equal, or None if the law does not apply to this case.
    large : bool
        Whether calls are much larger than the case. A call that takes more than a second then says nothing.
    """

    name: str
    sides: Callable[..., Any]
    large: bool = False

    def __post_init__(self) -> None:
        given = Declaration.of(self, f"Law {self.name!r}")
        given.text("name", self.name)
        given.function("sides", self.sides, "(f, rng, *args, **kwargs)")


@dataclass(frozen=True)
class Operation:
    """A contract: what an operation means, and which inputs it must be tried on.

    Declaring an operation registers it.

    Parameters
    ----------
    name, summary : str
        torch's or SciPy's name if there is one, and the meaning in one line.
    kind : {"movement", "arithmetic", "exact"}
        "movement" copies elements: results equal the reference bit for bit, −0 included. "arithmetic" rounds: results
        obey the bound. "exact" computes without rounding: results equal the reference in value.
    reference : callable
        The meaning as plain, slow code on NumPy arrays of *any* element type (float64, longdouble, complex, int64, `Fraction`
        objects, element numbers). Called with the case's arguments.
    cases, rejects : callable
        `cases(space)` is a hypothesis strategy of legal calls (`Case`), `rejects(space)` of illegal ones. `space`
        (`opjury.judge.strategies.Space`) draws sizes, values and layouts for the dtype and tier that is on trial.
    magnitude : callable, optional
        Σ|a_j·x_j| for each element of the result, by default the reference of the absolute values.
    conditioned : bool
        Whether magnitudes, also an implementation's own, depend on signs, as a condition number like Σ|x|/|Σx| does.
    terms : callable
        Roundings on the longest path of plain recursive summation, broadcastable to the result.
    roundings : int
        Roundings to the result's dtype after the summation: 1, or 2 where a division follows.
    differentiable : bool
        Whether gradients are defined.
    gradient : callable, optional
        For operations that are not linear in each floating argument: `gradient(w, *args, **kwargs)` on NumPy arrays returns
        one (gradient, magnitude) pair for each floating tensor argument, the gradient of ⟨w, f(args)⟩.
    dtypes : tuple of str
        The dtypes of data arguments.
    result_dtype : callable
        `result_dtype(case)` returns the dtype of the result, by default that of the data; "default" is torch's default dtype.
    result : {"tensor", "sparse"}
        What is returned: a torch tensor or a SciPy sparse array.
    fresh : bool
        The result must not share memory with an argument.
    tiers : tuple of str
        Which of "exact" and "rounding" make sense.
    ulps : int
        For kind "exact": units in the last place that are also allowed in the rounding tier.
    invariants : callable, optional
        `invariants(result, *args, **kwargs)` returns None, or what is wrong with the form of the result.
    laws : tuple of Law
    forms : mapping of parameter to callable
        `forms["size"](value)` returns other ways to write an argument: a list for a tuple, a number for a pair of equal ones. Keywords,
        defaults and NumPy integers need no word.
    examples : tuple of Case
        Cases that once showed a bug; they are tried first.
    effort : float
        A factor on the number of cases, for operations with few dtypes or many kinds of argument.
    baseline : str, optional
        The implementation that speed-ups are relative to.
    usual : tuple of str
        The implementations that most people would write: a function of torch, NumPy or SciPy if there is one, else the obvious
        loop or formula.

    Raises
    ------
    TypeError, ValueError
        For a wrong type, a value that is not allowed, or a function that cannot be called as described here. The message names the
        file and line of the declaration.
    """

    name: str
    summary: str
    _: KW_ONLY
    kind: OperationKind
    reference: Callable[..., Any]
    cases: Callable[[Any], SearchStrategy[Case]]
    rejects: Callable[[Any], SearchStrategy[Case]]
    magnitude: Callable[..., Any] | None = None
    conditioned: bool = False
    terms: Callable[..., Any] = lambda *args, **kwargs: 1
    roundings: int = 1
    differentiable: bool = True
    gradient: Callable[..., Any] | None = None
    dtypes: tuple[str, ...] = FLOATING + COMPLEX
    result_dtype: Callable[[Case], str] = lambda case: case.dtype
    result: Result = "tensor"
    fresh: bool = False
    tiers: tuple[str, ...] = TIERS
    ulps: int = 0
    invariants: Callable[..., str | None] | None = None
    laws: tuple[Law, ...] = ()
    forms: Mapping[str, Callable[[Any], Sequence[Any]]] = field(default_factory=dict, compare=False)
    examples: tuple[Case, ...] = ()
    effort: float = 1.0
    baseline: str | None = None
    usual: tuple[str, ...] = ()
    declaration: Declaration = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = Declaration.of(self, f"Operation {self.name!r}")
        object.__setattr__(self, "declaration", given)
        given.label("name", self.name)
        given.text("summary", self.summary)
        given.one_of("kind", self.kind, tuple(KINDS))
        given.one_of("result", self.result, get_args(Result))
        given.some_of("dtypes", self.dtypes, DTYPES)
        given.some_of("tiers", self.tiers, TIERS)
        given.at_least("roundings", self.roundings, 0)
        given.at_least("ulps", self.ulps, 0)
        given.at_least("effort", self.effort, 0.01, whole=False)
        if self.baseline is not None:
            given.label("baseline", self.baseline)
        given.tuple_of("usual", self.usual, str)
        given.tuple_of("laws", self.laws, Law)
        given.kind("examples", self.examples, tuple, "a tuple of Case")
        for number, case in enumerate(self.examples):
            if not hasattr(case, "tier"):  # a Case: importing the class would import torch
                given.fail(f"examples[{number}]", case, "a Case", TypeError)
        self._check_functions(given)
        self._check_together(given)
        declared.add(declared.OPERATIONS, self.name, self, given.what, lambda e: e.reference)

    def _check_functions(self, given: Declaration) -> None:
        if not callable(self.reference) or parameters(self.reference) is None:
            wanted = "a function whose parameters Python can tell: write a def"
            given.fail("reference", self.reference, wanted, TypeError)
        given.call("cases", self.cases, ("space",))
        given.call("rejects", self.rejects, ("space",))
        given.call("result_dtype", self.result_dtype, ("case",))
        given.like("terms", self.terms, self.reference)
        for name, first in (("magnitude", ()), ("gradient", ("w",)), ("invariants", ("result",))):
            if getattr(self, name) is not None:
                given.like(name, getattr(self, name), self.reference, first)
        given.mapping("forms", self.forms, str, "functions")
        for name, function in self.forms.items():
            given.one_of("forms has a key that", name, [p.name for p in parameters(self.reference) or []])
            given.call(f"forms[{name!r}]", function, ("value",))
        for law in self.laws:
            given.like(f"sides of the law {law.name!r}", law.sides, self.reference, ("f", "rng"))

    def _check_together(self, given: Declaration) -> None:
        """Check fields that depend on each other."""
        names = [law.name for law in self.laws]
        if len(set(names)) < len(names):
            given.fail("laws", names, "laws of different names")
        if self.ulps and self.kind != "exact":
            given.fail("ulps", self.ulps, f'0 where kind is {self.kind!r}: only "exact" allows further ulps')
        if self.kind == "movement" and self.magnitude is not None:
            given.fail("magnitude", self.magnitude, "left out where kind is 'movement', which has no error bound")
        if self.gradient is not None and not self.differentiable:
            given.fail("gradient", self.gradient, "left out where differentiable is False")
