"""gather(x, dim, index): elements of x along one dimension, picked by index, as torch.gather.

out[i0, …] = x[i0, …, index[i0, …], …], the index in place of i_dim. index (int64) has as many dimensions as x, and outside dim none that is
longer than x's; a 0-d tensor counts as one element. Repeated indices add up in the gradient. Indices may not be negative.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, INTEGER, Case, Law, Operation, Space, Tensor, composite, illegal, st


def gather(x, dim, index):
    """Every element by its full address."""
    wide, picks = (array.reshape(array.shape or (1,)) for array in (x, index))
    address = list(np.indices(picks.shape, sparse=True))
    address[dim] = picks
    return wide[tuple(address)].reshape(index.shape)


@composite
def indices_for(draw, space: Space, shape: tuple[int, ...], dim: int) -> Tensor:
    """Indices into dimension `dim`: the other dimensions whole or cut, that one of any length if there is something to pick."""
    least = 1 if space.large or len(shape) > 3 else 0
    size = [length if draw(st.booleans()) else draw(st.integers(min(least, length), length)) for length in shape]
    size[dim] = draw(space.sizes(maximum=None if shape[dim] else 0))
    return draw(space.index(tuple(size), max(shape[dim], 1)))


@composite
def cases(draw, space: Space) -> Case:
    shape = draw(space.shapes(0, 6))
    dim = draw(space.axes(max(len(shape), 1)))
    index = draw(indices_for(space, shape or (1,), dim))
    flat = len(shape) < 2 and index.values.size == 1
    if flat and (not shape or draw(st.booleans())):
        index = Tensor(index.values.reshape(draw(st.sampled_from([(), (1,)]))), "int64", data=False)
    x = draw(space.tensor(shape, terms=index.values.shape[dim] if index.values.ndim else 1))
    return Case.of(x, dim, index)


@composite
def rejects(draw, space: Space) -> Case:
    shape = draw(space.shapes(0, 4))
    dims = max(len(shape), 1)
    dim = draw(st.integers(-dims, dims - 1))
    length = (shape or (1,))[dim]
    size = [max(side, 1) for side in shape]
    x = draw(space.tensor(tuple(side if k == dim % dims else max(side, 1) for k, side in enumerate(shape))))
    if shape:
        size[dim] = draw(st.integers(1, 4))
    index = np.zeros(size, np.int64) if length == 0 else draw(space.index(tuple(size), length)).values.copy()
    wrong = draw(st.sampled_from(["index", "index", "index", "dim", "dimensions", "length"]))
    if length and wrong == "dim":
        dim = draw(st.sampled_from([dims, dims + 2, -dims - 1]))
        rule = "dim is before the first dimension" if dim < 0 else "dim is beyond the last dimension"
    elif length and wrong == "dimensions":
        whole = index.reshape(size or (1,))
        index = draw(st.sampled_from([whole[None], whole[..., None], *([whole[0]] if dims > 1 else [])]))
        rule = f"index has {'more' if index.ndim > dims else 'fewer'} dimensions than x"
    elif length and wrong == "length" and dims > 1:
        other = (dim - 1) % dims
        index = np.repeat(index, 1 + x.values.shape[other], axis=other)
        rule = "index is longer than x outside dim"
    else:
        bad = draw(st.sampled_from([length, length + 1, length + 7, 2**40, -1, -length - 1, -(2**40)]))
        index.reshape(-1)[draw(st.integers(0, index.size - 1))] = bad
        rule = "an index is negative" if bad < 0 else "an index is ≥ the length of x along dim"
    return illegal(rule, x, dim, Tensor(index, "int64", data=False))


def permuted(f, rng, x, dim, index):
    if index.ndim == 0:
        return None
    order = torch.from_numpy(rng.permutation(index.shape[dim]))
    return f(x, dim, index.index_select(dim, order)), f(x, dim, index).index_select(dim, order)


def identity(f, rng, x, dim, index):
    if x.ndim == 0:
        return f(x, dim, torch.zeros((), dtype=torch.int64)), x
    along = [1] * x.ndim
    along[dim] = -1
    return f(x, dim, torch.arange(x.shape[dim]).reshape(along).expand(x.shape)), x


def composed(f, rng, x, dim, index):
    if index.numel() == 0 or index.ndim == 0 or x.ndim == 0:
        return None
    second = torch.from_numpy(rng.integers(0, index.shape[dim], tuple(index.shape)))
    return f(f(x, dim, index), dim, second), f(x, dim, torch.gather(index, dim, second))


def shifted(f, rng, x, dim, index):
    if x.ndim == 0:
        return None
    front = torch.ones_like(x.narrow(dim, 0, min(1, x.shape[dim])))
    return f(torch.cat([front, x], dim), dim, index + front.shape[dim]), f(x, dim, index)


Operation(
    "gather",
    "elements picked by index along one dimension",
    kind="movement",
    reference=gather,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX + INTEGER,
    laws=(
        Law("permuting the indices permutes the result", permuted),
        Law("indices in order give x back", identity),
        Law("gathering twice is gathering by gathered indices", composed),
        Law("elements put in front shift the indices", shifted),
    ),
    baseline="torch_gather",
    usual=("torch_gather", "take_along_dim", "numpy_take_along_axis"),
)
