"""The model: what an operation means, who competes, and at which sizes it matters.

Everything here is plain frozen data. Nothing in this module computes, and nothing imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

HALF = ("float16", "bfloat16")
REAL = ("float32", "float64")
FLOATING = HALF + REAL
COMPLEX = ("complex64", "complex128")
INTEGER = ("uint8", "int8", "int16", "int32", "int64", "bool")

CHECKS = (
    "agreement",
    "specials",
    "form",
    "layouts",
    "purity",
    "determinism",
    "gradient",
    "second_order",
    "forward_mode",
    "vmap",
    "locality",
    "laws",
    "rejects",
    "terminates",
    "devices",
)

Kind = Literal["movement", "arithmetic", "exact"]


@dataclass(frozen=True)
class Gradient:
    """What an implementation promises about derivatives, beyond the first order that is always held.

    Parameters
    ----------
    second : bool
        The gradient can be differentiated again (double backward).
    forward : bool
        Forward mode (`torch.func.jvp`) works.
    vmap : bool
        `torch.func.vmap` works over the data arguments.
    """

    second: bool = False
    forward: bool = False
    vmap: bool = False


@dataclass(frozen=True)
class Error:
    """An implementation's own a-priori error model, in place of the contract's.

    Parameters
    ----------
    magnitude : callable, optional
        Called like the operation, with NumPy arrays in place of tensors: the Σ|a_j·x_j| of the bound, broadcastable
        to the result. Must be linear in |x| where the operation is linear in x: the gradient's bound is its transpose.
    terms : callable, optional
        Called likewise: the number of roundings on the longest path, broadcastable to the result.
    accumulates : {"float32", "input"}
        Where half types are summed: "input" when sums are kept in the half type itself.
    """

    magnitude: Callable[..., Any] | None = None
    terms: Callable[..., Any] | None = None
    accumulates: Literal["float32", "input"] = "float32"


Waives = Mapping[str, str | Mapping[str, str]]
"""By check, the reason; or the reasons by kind of device, `cpu` or `cuda`."""


def waived_on(waives: Waives, device: str) -> dict[str, str]:
    """The checks that are waived on a device such as `cuda:0`, with the reasons."""
    kind = device.partition(":")[0]
    found = {check: why if isinstance(why, str) else why.get(kind, "") for check, why in waives.items()}
    return {check: reason for check, reason in found.items() if reason}


@dataclass(frozen=True)
class Implementation:
    """One competitor. Made by the decorator `implementation`, which documents the fields."""

    operation: str
    name: str
    function: Callable[..., Any] = field(compare=False)
    source: str = ""
    error: Error | None = None
    waives: Waives = field(default_factory=dict)
    refuted: Mapping[str, str] = field(default_factory=dict)
    gradient: Gradient | None = Gradient()
    devices: tuple[str, ...] = ("cpu", "cuda")
    dtypes: tuple[str, ...] | None = None
    domain: Callable[..., bool] | None = None
    requires: str | None = None
    view: bool = False
    asynchronous: bool = False

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return next(iter((self.function.__doc__ or "").strip().splitlines()), "")

    def claims(self, wide: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]]) -> bool:
        """Whether arguments are of those that it claims to be right for. `wide` makes them as the reference takes them,
        which can need far more memory than they have: it is called where there is a domain alone.
        """
        if self.domain is None:
            return True
        args, kwargs = wide()
        return bool(self.domain(*args, **kwargs))

    def waived_on(self, device: str) -> dict[str, str]:
        """What it waives on a device, with the reasons."""
        return waived_on(self.waives, device)

    @property
    def waived(self) -> list[tuple[str, str]]:
        """All that it waives, in words: the check, and on which kind of device if not on all; the reason."""
        words = []
        for check, why in self.waives.items():
            each = {check: why} if isinstance(why, str) else {f"{check} on {kind}": why[kind] for kind in why}
            words += [(what.replace("_", " "), reason) for what, reason in each.items()]
        return words


@dataclass(frozen=True)
class Law:
    """A metamorphic relation: two ways to compute the same thing with the implementation alone.

    Parameters
    ----------
    name : str
        What must hold, in words: "permuting the slices permutes the means".
    sides : callable
        `sides(f, rng, *args, **kwargs)` with live tensors and a `numpy.random.Generator`; returns a pair that must be
        equal, or None where the law does not apply to this case.
    large : bool
        Whether calls are much larger than the case: only what is returned counts then, who needs more than a second may be right.
    """

    name: str
    sides: Callable[..., Any]
    large: bool = False


@dataclass(frozen=True, kw_only=True)
class _Operation:
    name: str
    summary: str
    kind: Kind
    reference: Callable[..., Any]
    cases: Callable[..., Any]
    rejects: Callable[..., Any]
    magnitude: Callable[..., Any] | None = None
    conditioned: bool = False
    terms: Callable[..., Any] = lambda *args, **kwargs: 1
    roundings: int = 1
    differentiable: bool = True
    gradient: Callable[..., Any] | None = None
    dtypes: tuple[str, ...] = FLOATING + COMPLEX
    result_dtype: Callable[[Any], str] = lambda case: case.dtype
    result: Literal["tensor", "sparse"] = "tensor"
    fresh: bool = False
    tiers: tuple[str, ...] = ("exact", "rounding")
    ulps: int = 0
    invariants: Callable[..., str | None] | None = None
    laws: tuple[Law, ...] = ()
    examples: tuple[Any, ...] = ()
    effort: float = 1.0
    baseline: str | None = None
    usual: tuple[str, ...] = ()


class Operation(_Operation):
    """A contract: what an operation means, and which inputs it must be tried on. Declaring one registers it.

    Parameters
    ----------
    name, summary : str
        torch's or SciPy's name where there is one; the meaning in one line.
    kind : {"movement", "arithmetic", "exact"}
        "movement" copies elements: results equal the reference bit for bit, −0 included. "arithmetic" rounds: results
        obey the bound. "exact" computes without rounding: results equal the reference in value.
    reference : callable
        The meaning itself, on NumPy arrays of *any* element type (float64, longdouble, complex, int64, `Fraction`
        objects, element numbers): plain and slow. Called with the case's arguments.
    cases, rejects : callable
        `cases(space)` is a hypothesis strategy of legal calls (`Case`), `rejects(space)` of illegal ones; `space`
        (`opjury.verify.strategies.Space`) draws sizes, values and layouts for the dtype and tier that is on trial.
    magnitude : callable, optional
        Σ|a_j·x_j| for each element of the result; by default the reference of the absolute values.
    conditioned : bool
        Whether magnitudes, an implementation's own too, must see the signs: a condition number like Σ|x|/|Σx|.
    terms : callable
        Roundings on the longest path of plain recursive summation, broadcastable to the result.
    roundings : int
        Roundings to the result's dtype after the summation: 1, or 2 where a division follows.
    differentiable : bool
        Whether gradients are defined.
    gradient : callable, optional
        For operations that are not linear in each floating argument: `gradient(w, *args, **kwargs)` on NumPy arrays gives
        one (gradient, magnitude) pair for each floating tensor argument, the gradient of ⟨w, f(args)⟩.
    dtypes : tuple of str
        The dtypes of data arguments; `result_dtype` gives the result's for a case ("default" is torch's default dtype).
    result : {"tensor", "sparse"}
        What is returned: a torch tensor or a SciPy sparse array.
    fresh : bool
        The result must not share memory with an argument.
    tiers : tuple of str
        Which of "exact" and "rounding" make sense.
    ulps : int
        For kind "exact": further units in the last place that are allowed in the rounding tier.
    invariants : callable, optional
        `invariants(result, *args, **kwargs)`: None, or what is wrong with the form of the result.
    laws : tuple of Law
    examples : tuple of Case
        Found bugs, tried first.
    effort : float
        How many times the usual number of cases is tried: more where few dtypes or many kinds of argument are drawn from.
    baseline : str, optional
        The implementation that speed-ups are relative to.
    usual : tuple of str
        The implementations that are what one writes otherwise: a function of torch, NumPy or SciPy where there is one, else the
        loop or formula that comes to mind.
    """

    def __init__(self, name: str, summary: str, **kwargs: Any) -> None:
        from opjury import registry

        super().__init__(name=name, summary=summary, **kwargs)
        registry.add_operation(self)


def group_dtypes(dtypes: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Partition dtype names into float32, float64, half, complex, integer."""
    groups: dict[str, list[str]] = {}
    for dtype in dtypes:
        label = dtype
        for name, members in (("half", HALF), ("complex", COMPLEX), ("integer", INTEGER)):
            if dtype in members:
                label = name
        groups.setdefault(label, []).append(dtype)
    return {label: tuple(members) for label, members in groups.items()}


@dataclass(frozen=True)
class Growth:
    """A way in which calls grow without end: with these arguments repeated, the result is repeated.

    Parameters
    ----------
    small : callable
        `small(rng)` returns the case that is repeated, its data arguments in float64.
    arguments : mapping of int to int
        The places of the arguments that are repeated, and along which of their dimensions.
    result : tuple of int
        The dimensions of the result that are repeated.
    """

    small: Callable[..., Any]
    arguments: Mapping[int, int]
    result: tuple[int, ...]


@dataclass(frozen=True)
class _Workload:
    operation: str
    sizes: Mapping[str, Mapping[str, int]]
    arguments: Callable[..., Any]
    least_bytes: Callable[..., int]
    least_operations: Callable[..., int]
    read_from: Mapping[str, str] = field(default_factory=dict)
    long: Sequence[Mapping[str, int]] = ()
    growths: Sequence[Growth] = ()

    def name_of(self, sizes: Mapping[str, int]) -> str:
        """What these sizes are called; "" where they have no name."""
        return next((name for name, known in self.sizes.items() if known == sizes), "")


class Workload(_Workload):
    """Benchmark inputs of one operation, by named sizes. Declaring one registers it.

    Parameters
    ----------
    operation : str
    sizes : mapping of str to mapping of str to int
        Named size sets, at least "small", "medium" and "large".
    arguments : callable
        `arguments(rng, **sizes)` returns the case for one call (`Case`), its data arguments in float64.
    least_bytes, least_operations : callable
        `least_bytes(itemsize, **sizes)`: bytes that any implementation must read and write; additions and
        multiplications likewise.
    read_from : mapping of str to str, optional
        How sizes are read from a call, as Python on the contract's parameters: {"rows": "len(x)"}. A dispatcher by size needs it.
    long : sequence of mapping of str to int, optional
        Sizes with one side beyond 2¹⁷ and the others small, at which every audit tries a call: narrow indices, a GPU's grid and two
        levels of blocks end before.
    growths : sequence of Growth, optional
        How a call becomes one beyond 2³¹ elements, which the nightly profile tries where there is memory for it.
    """

    def __init__(self, operation: str, **kwargs: Any) -> None:
        from opjury import registry

        super().__init__(operation, **kwargs)
        registry.add_workload(self)


def implementation(
    operation: str,
    *,
    name: str | None = None,
    source: str = "",
    error: Callable[..., Any] | Error | None = None,
    waives: Waives | None = None,
    refuted: Mapping[str, str] | None = None,
    gradient: Gradient | None = Gradient(),
    devices: tuple[str, ...] = ("cpu", "cuda"),
    dtypes: tuple[str, ...] | None = None,
    domain: Callable[..., bool] | None = None,
    requires: str | None = None,
    view: bool = False,
    asynchronous: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function as an implementation of an operation; the function itself is returned unchanged.

    Parameters
    ----------
    operation : str
        The operation's name.
    name : str, optional
        The algorithm's name; by default the function's.
    source : str
        Where the idea comes from: a paper and section, a documentation page, a question.
    error : Error or callable, optional
        The implementation's own error model; a callable is its magnitude.
    waives : mapping of check to reason, or to a mapping of "cpu" or "cuda" to reason
        Checks that it is known not to pass, everywhere or on one kind of device. They still run; a waiver that is not needed is reported.
    refuted : mapping of check to reason
        Marks a published wrong implementation, kept as a negative control: an audit must refute exactly these checks.
    gradient : Gradient or None
        What it promises about derivatives; None for implementations that leave autograd (NumPy).
    devices, dtypes : tuple of str
        Where it runs; by default everywhere and with every dtype of the contract.
    domain : callable, optional
        Called with the case's arguments (NumPy arrays): False where the implementation does not claim to be right.
    requires : str, optional
        A module without which it is skipped, with that as the reason.
    view : bool
        The result may share memory with an argument; a sparse one always does.
    asynchronous : bool
        Called with tensors on a GPU, it promises never to let the caller wait for them.

    Raises
    ------
    ValueError
        For a check that does not exist, or a name that is taken by another function.
    """
    from opjury import registry

    for check in {**(waives or {}), **(refuted or {})}:
        if check not in CHECKS:
            raise ValueError(registry.unknown("check", check, CHECKS))

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        registry.add_implementation(
            Implementation(
                operation=operation,
                name=name or function.__name__,
                function=function,
                source=source,
                error=error if isinstance(error, Error) or error is None else Error(magnitude=error),
                waives=dict(waives or {}),
                refuted=dict(refuted or {}),
                gradient=gradient,
                devices=devices,
                dtypes=dtypes,
                domain=domain,
                requires=requires,
                view=view,
                asynchronous=asynchronous,
            )
        )
        return function

    return declare
