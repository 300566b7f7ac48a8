"""outer_map(function, *vectors): out[i, j, …] = function(v0[i], v1[j], …) for an elementwise function of tensors.

The function may ignore arguments or return a 0-d constant, so that what it returns is broadcast to the whole shape at the end: without a copy,
the result may be a view of a vector.
"""

import itertools

import numpy as np
import torch

from opjury.contract import Gradient, implementation

QUESTION = "question 7: vectorise f(a, b) over all combinations"


@implementation(
    "outer_map",
    source=f"{QUESTION}; torch's form of np.ix_",
    gradient=Gradient(second=True, forward=True, vmap=True),
    view=True,
)
def broadcasted_views(function, *vectors):
    """Call the function once, each vector viewed along an axis of its own.

    The work and memory of the function on the grid; none beside it. A function that ignores a vector does less.
    """
    shape = check_vectors(vectors)
    return function(*open_grid(vectors)).broadcast_to(shape)


@implementation(
    "outer_map", source="torch.meshgrid", gradient=Gradient(second=True, forward=True, vmap=True), view=True
)
def meshgrid(function, *vectors):
    """Call the function once, on torch.meshgrid's vectors that are expanded to the whole grid without a copy.

    The work and memory of the function on the grid.
    """
    shape = check_vectors(vectors)
    return function(*torch.meshgrid(*vectors, indexing="ij")).broadcast_to(shape)


@implementation(
    "outer_map", source="torch.cartesian_prod", gradient=Gradient(second=True, forward=True, vmap=True), view=True
)
def cartesian_product(function, *vectors):
    """Call the function once, on the columns of the table of all combinations.

    Beside the function's work that of writing the table: as many grids as there are vectors.
    """
    shape = check_vectors(vectors)
    table = torch.cartesian_prod(*vectors).reshape(-1, len(vectors))
    return function(*table.unbind(1)).broadcast_to(len(table)).reshape(shape)


@implementation(
    "outer_map", source="torch.func.vmap", gradient=Gradient(second=True, forward=True, vmap=True), view=True
)
def nested_vmap(function, *vectors):
    """Map the function of single elements over one vector after the other by vmap.

    The work and memory of the function on the grid; the maps cost tens of microseconds for each vector. The elements keep
    one dimension: 0-d tensors would let a constant in the function decide the dtype.
    """
    shape = check_vectors(vectors)
    if 0 in shape:
        return function(*open_grid(vectors)).broadcast_to(shape)

    def mapped(*elements):
        return function(*elements).reshape(1)

    for axis in reversed(range(len(vectors))):
        mapped = torch.func.vmap(mapped, in_dims=tuple(0 if k == axis else None for k in range(len(vectors))))
    return mapped(*(v.unsqueeze(1) for v in vectors)).squeeze(-1)


@implementation("outer_map", source="index grid", gradient=Gradient(second=True, forward=True, vmap=True))
def indexed_grid(function, *vectors):
    """Number all combinations, pick each vector's elements by number, and call the function once on the picked ones.

    Beside the function's work that of picking: for each vector a grid, and an index of 8 bytes for each of its elements.
    """
    shape = check_vectors(vectors)
    numbers = torch.cartesian_prod(*(torch.arange(len(v), device=v.device) for v in vectors)).reshape(-1, len(vectors))
    picked = [v[number] for v, number in zip(vectors, numbers.unbind(1), strict=True)]
    return function(*picked).broadcast_to(len(numbers)).reshape(shape)


@implementation("outer_map", source="itertools.product", gradient=Gradient(second=True, forward=True, vmap=True))
def python_loop(function, *vectors):
    """One call of the function for each combination, on grids of one element, stacked.

    Several microseconds for each element. Grids of one element, unlike 0-d tensors, give the dtype that the whole grid gives.
    """
    shape = check_vectors(vectors)
    if 0 in shape:
        return function(*open_grid(vectors)).broadcast_to(shape)
    pieces = (view.split(1, axis) for axis, view in enumerate(open_grid(vectors)))
    elements = [function(*piece).reshape(()) for piece in itertools.product(*pieces)]
    return torch.stack(elements).reshape(shape)


@implementation(
    "outer_map",
    source=f"{QUESTION}: np.vectorize, with the mask and the dtype put right",
    gradient=None,
    devices=("cpu",),
)
def vectorized_over_numbers(function, *vectors):
    """np.vectorize over np.ix_ of the elements' numbers. The dtype is asked of the function on a grid of at most one element.

    Several microseconds for each element, and a Python object each. Leaves autograd.
    """
    shape = check_vectors(vectors)
    plain = [v.detach() for v in vectors]
    dtype = function(*open_grid([v[:1] for v in plain])).dtype
    each = np.vectorize(lambda *at: function(*(v[i] for v, i in zip(plain, at, strict=True))).item(), otypes=[object])
    values = each(*np.ix_(*(np.arange(length) for length in shape)))
    return torch.tensor(values.ravel().tolist(), dtype=dtype).reshape(shape)


@implementation(
    "outer_map",
    source=f"{QUESTION}, as published but for its dtype",
    gradient=None,
    devices=("cpu",),
    refuted={"agreement": "a vector of bool is taken for a mask", "form": "a vector of bool is taken for a mask"},
)
def vectorized_over_masks(function, *vectors):
    """np.vectorize over np.ix_ of the vectors themselves.

    np.ix_ puts the numbers of the true elements in place of a vector of bool. Leaves autograd.
    """
    check_vectors(vectors)
    dtype, given = function(*open_grid([v[:1].detach() for v in vectors])).dtype, vectors[0].dtype
    each = np.vectorize(
        lambda *scalars: function(*(torch.tensor(s, dtype=given) for s in scalars)).item(), otypes=[object]
    )
    values = each(*np.ix_(*(v.detach().tolist() for v in vectors)))
    return torch.tensor(values.ravel().tolist(), dtype=dtype).reshape(values.shape)


@implementation(
    "outer_map",
    source=f"{QUESTION}, its output type",
    gradient=None,
    devices=("cpu",),
    refuted={
        "agreement": "raises for empty vectors",
        "form": "the dtype is that of the first value as a Python number",
    },
)
def vectorized_by_first_value(function, *vectors):
    """np.vectorize over the elements' numbers, the type of the output taken from the first value.

    float32 becomes float64, and where there is no first value np.vectorize raises. Leaves autograd.
    """
    shape = check_vectors(vectors)
    plain = [v.detach() for v in vectors]
    each = np.vectorize(lambda *at: function(*(v[i] for v, i in zip(plain, at, strict=True))).item())
    return torch.from_numpy(each(*np.ix_(*(np.arange(length) for length in shape))))


def open_grid(vectors):
    """Each vector along an axis of its own: torch's np.ix_."""
    return [v.reshape([-1 if axis == k else 1 for axis in range(len(vectors))]) for k, v in enumerate(vectors)]


def check_vectors(vectors):
    """The shape of the grid.

    Raises
    ------
    ValueError
        If there are no vectors, or naming the one that is not one-dimensional.
    """
    if not vectors:
        raise ValueError("no vectors are given; expected one at least")
    for number, vector in enumerate(vectors):
        if vector.ndim != 1:
            raise ValueError(
                f"vector {number} of {len(vectors)} has shape {tuple(vector.shape)}; expected one dimension"
            )
    return tuple(map(len, vectors))
