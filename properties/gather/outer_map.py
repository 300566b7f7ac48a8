"""outer_map(function, *vectors): an elementwise function of all combinations of the elements of some vectors.

out[i, j, …] = function(v0[i], v1[j], …), of shape (len(v0), len(v1), …) and of the dtype that torch gives for the function on the whole grid.
The function takes broadcastable tensors, may be called any number of times on any broadcastable pieces, and may ignore arguments
or return a 0-d constant. Vectors of bool are values, not masks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch

from opjury.contract import (
    COMPLEX,
    FLOATING,
    HALF,
    INTEGER,
    Case,
    Law,
    Operation,
    Space,
    Tensor,
    composite,
    illegal,
    st,
)

LARGEST_RESULT = 2_200


@dataclass(frozen=True)
class Elementwise:
    """The recipe of a function argument: a name in the table of functions.

    Parameters
    ----------
    name : str
    """

    name: str

    def build(self, device: str = "cpu", requires_grad: bool = False) -> Callable[..., torch.Tensor]:
        """The function of tensors."""
        return FUNCTIONS[self.name].live

    def wide(self, mode: str = "float") -> Meaning:
        """The function of arrays."""
        return FUNCTIONS[self.name]

    def code(self) -> str:
        """The function of tensors, as Python."""
        return f"(lambda *v: {FUNCTIONS[self.name].code})"

    def to_json(self) -> dict[str, Any]:
        return {"recipe": "opjury.properties.gather.outer_map:Elementwise", "name": self.name}

    @staticmethod
    def from_json(entry: dict[str, Any]) -> Elementwise:
        return Elementwise(entry["name"])


@dataclass(frozen=True)
class Meaning:
    """What a function of a tuple v computes, for tensors and for arrays.

    Parameters
    ----------
    code : str
        The function of tensors, as Python.
    live, exact : callable
        The function of tensors, and of arrays of any element type.
    partials : callable
        Of arrays: the derivatives for the first and for the last of v, which add up where these are one.
    roundings : int
        On the longest path.
    magnitude, slopes : callable, optional
        Of absolute values: Σ|a| of the function, by default `exact`, and of its derivatives, by default `partials`.
    result : str
        The dtype of the result, by default that of the vectors.
    """

    code: str
    live: Callable[..., torch.Tensor]
    exact: Callable[..., Any]
    partials: Callable[..., tuple[Any, Any]]
    roundings: int = 1
    magnitude: Callable[..., Any] | None = None
    slopes: Callable[..., tuple[Any, Any]] | None = None
    result: str = ""

    def __call__(self, *v: Any) -> Any:
        return self.exact(*v)


def precisely(function: Callable[[Any], Any]) -> Callable[..., Any]:
    """The function of the first argument, by way of long double for exact numbers."""

    def apply(first: Any, *others: Any) -> Any:
        if first.dtype != object:
            return function(first)
        values = function(first.astype(np.longdouble)).ravel()
        high = values.astype(float)
        out = np.empty(first.size, object)
        out[:] = [
            Fraction(a) + Fraction(b)
            for a, b in zip(high.tolist(), (values - high).astype(float).tolist(), strict=True)
        ]
        return out.reshape(first.shape)

    return apply


FUNCTIONS = {
    "first": Meaning("v[0]", lambda *v: v[0], lambda *v: v[0], lambda *v: (1, 0)),
    "last": Meaning("v[-1]", lambda *v: v[-1], lambda *v: v[-1], lambda *v: (0, 1)),
    "constant": Meaning(
        "torch.tensor(2, dtype=v[0].dtype, device=v[0].device)",
        lambda *v: torch.tensor(2, dtype=v[0].dtype, device=v[0].device),
        lambda *v: np.array(2).astype(v[0].dtype),
        lambda *v: (0, 0),
    ),
    "halved": Meaning(  # a 0-d constant of another dtype does not change that of a grid, but would change that of 0-d pieces
        "v[0] * torch.tensor(0.5, dtype=torch.float64, device=v[0].device)",
        lambda *v: v[0] * torch.tensor(0.5, dtype=torch.float64, device=v[0].device),
        lambda *v: v[0] / 2,
        lambda *v: (0.5, 0),
    ),
    "sum": Meaning("v[0] + v[-1]", lambda *v: v[0] + v[-1], lambda *v: v[0] + v[-1], lambda *v: (1, 1)),
    "difference": Meaning(
        "v[0] - v[-1]", lambda *v: v[0] - v[-1], lambda *v: v[0] - v[-1], lambda *v: (1, -1),
        magnitude=lambda *v: v[0] + v[-1], slopes=lambda *v: (1, 1),
    ),
    "product": Meaning("v[0] * v[-1]", lambda *v: v[0] * v[-1], lambda *v: v[0] * v[-1], lambda *v: (v[-1], v[0])),
    "maximum": Meaning(
        "torch.maximum(v[0], v[-1])", lambda *v: torch.maximum(v[0], v[-1]), lambda *v: np.maximum(v[0], v[-1]),
        lambda *v: (v[0] >= v[-1], v[0] < v[-1]),
    ),
    "less": Meaning(
        "v[0] < v[-1]", lambda *v: v[0] < v[-1], lambda *v: v[0] < v[-1], lambda *v: (0, 0), result="bool"
    ),
    "tanh": Meaning(
        "torch.tanh(v[0])", lambda *v: torch.tanh(v[0]), precisely(np.tanh), lambda *v: (1 - np.tanh(v[0]) ** 2, 0),
        roundings=4, slopes=lambda *v: (1, 0),
    ),
}  # fmt: skip


def outer_map(function, *vectors):
    """The function of the whole grid."""
    return np.broadcast_to(function(*grid(vectors)), tuple(map(len, vectors)))


def grid(vectors):
    """Each vector along an axis of its own."""
    return tuple(v.reshape([-1 if axis == k else 1 for axis in range(len(vectors))]) for k, v in enumerate(vectors))


def magnitude(function, *vectors):
    """Σ|a| of absolute values."""
    return np.broadcast_to((function.magnitude or function.exact)(*grid(vectors)), tuple(map(len, vectors)))


def terms(function, *vectors):
    """Roundings of the function."""
    return function.roundings


def gradient(w, function, *vectors):
    """The gradient of Re⟨w, result⟩ for each vector, with Σ|a|·|w|.

    The sum is scaled up by the number of elements that are added up for one, since `terms` counts the function's roundings alone.
    """

    def reduced(w, partials, k):
        slope = (k == 0) * np.conj(partials[0]) + (k == len(vectors) - 1) * np.conj(partials[1])
        others = tuple(axis for axis in range(w.ndim) if axis != k)
        return np.where(slope == 0, 0, slope * w).sum(others)

    exact = function.partials(*grid(vectors))
    sizes = (function.slopes or function.partials)(*grid([np.abs(v) for v in vectors]))
    added = [max(1, prod(map(len, vectors[:k] + vectors[k + 1 :]))) for k in range(len(vectors))]
    return [(reduced(w, exact, k), added[k] * reduced(np.abs(w), sizes, k)) for k in range(len(vectors))]


def functions_for(space: Space) -> list[str]:
    """The functions that a dtype has, and that the tier can judge.

    Narrow integers wrap, which the reference's 64 bits do not; largest values overflow when multiplied, in half types when added;
    maximum has no gradient where its arguments are equal.
    """
    names = ["first", "last", "constant"] + ["less"] * (space.dtype not in COMPLEX)
    if space.dtype == "bool":
        return [*names, "sum", "product", "maximum"]
    if space.dtype in INTEGER:
        return [*names, "maximum", *(("sum", "difference", "product") if space.dtype == "int64" else ())]
    if space.tier == "special":
        names += ["sum", "difference"] if space.dtype not in HALF else []
        return [*names, "halved", *(("maximum",) if space.dtype in FLOATING else ())]
    names += ["halved", "sum", "difference", "product"]
    return [*names, "tanh"] if space.tier == "rounding" and space.dtype in FLOATING else names


@composite
def cases(draw, space: Space) -> Case:
    sizes = list(draw(space.shapes(1, 6)))
    for k in sorted(range(len(sizes)), key=sizes.__getitem__):
        others = prod(sizes[:k] + sizes[k + 1 :])
        sizes[k] = min(sizes[k], max(1, LARGEST_RESULT // max(1, others)))
    added = max(prod(sizes[:k] + sizes[k + 1 :]) for k in range(len(sizes)))
    name = draw(st.sampled_from(functions_for(space)))
    vectors = [draw(space.tensor((size,), terms=2 * added, factors=1 + (name == "product"))) for size in sizes]
    return Case.of(Elementwise(name), *vectors)


@composite
def rejects(draw, space: Space) -> Case:
    function = Elementwise(draw(st.sampled_from(["first", "last", "constant"])))
    good = draw(space.tensor((draw(st.integers(0, 3)),)))
    bad = draw(space.tensor(draw(st.sampled_from([(), (1, 1), (2, 2), (1, 3), (3, 1), (0, 2), (2, 0), (1, 1, 1)]))))
    vectors = draw(st.sampled_from([(), (bad,), (bad, good), (good, bad), (good, bad, good)]))
    return illegal("a vector is not 1-d" if vectors else "no vectors are given", function, *vectors)


def permuted(f, rng, function, *vectors):
    axis = int(rng.integers(len(vectors)))
    order = torch.from_numpy(rng.permutation(len(vectors[axis])))
    moved = [v[order] if k == axis else v for k, v in enumerate(vectors)]
    return f(function, *moved), f(function, *vectors).index_select(axis, order)


def exchanged(f, rng, function, *vectors):
    order = [int(k) for k in rng.permutation(len(vectors))]
    return f(lambda *v: function(*(v[order.index(k)] for k in range(len(v)))), *(vectors[k] for k in order)), f(
        function, *vectors
    ).permute(order)


def one_element(f, rng, function, *vectors):
    axis = int(rng.integers(len(vectors)))
    if not len(vectors[axis]):
        return None
    at = int(rng.integers(len(vectors[axis])))
    alone = [v[at : at + 1] if k == axis else v for k, v in enumerate(vectors)]
    return f(function, *alone), f(function, *vectors).narrow(axis, at, 1)


Operation(
    "outer_map",
    "an elementwise function of all combinations of the elements of some vectors",
    kind="arithmetic",
    reference=outer_map,
    magnitude=magnitude,
    terms=terms,
    cases=cases,
    rejects=rejects,
    gradient=gradient,
    dtypes=FLOATING + COMPLEX + INTEGER,
    result_dtype=lambda case: FUNCTIONS[case.args[0].name].result or case.dtype,
    laws=(
        Law("permuting a vector permutes its axis", permuted),
        Law("permuting vectors, and the function's arguments with them, permutes the axes", exchanged),
        Law("one element has the same results alone as among others", one_element),
    ),
    examples=(
        Case.of(
            Elementwise("sum"),
            Tensor(np.array([True, False]), "bool"),
            Tensor(np.array([False, True, False]), "bool"),
        ),
    ),
    baseline="meshgrid",
    usual=("meshgrid",),
)
