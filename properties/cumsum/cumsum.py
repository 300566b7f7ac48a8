"""cumsum(x, dim): running sums along one dimension, as torch.cumsum.

Floating and complex dtypes are kept, integers and bool give int64. 0-d tensors count as one element.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, INTEGER, Case, Law, Operation, Space, composite, illegal, st


def cumsum(x, dim):
    """out[…, i, …] = Σ_{j ≤ i} x[…, j, …]. Integers wrap in 64 bits."""
    return np.cumsum(x.reshape(x.shape or (1,)), axis=dim, dtype=np.int64 if x.dtype.kind in "biu" else None).reshape(
        x.shape
    )


def terms(x, dim):
    """Element i takes i additions."""
    shape = x.shape or (1,)
    along = [1] * len(shape)
    along[dim] = shape[dim]
    return np.arange(shape[dim]).reshape(along).reshape(along if x.shape else ())


@composite
def cases(draw, space: Space) -> Case:
    shape = draw(space.shapes(0, 6))
    dim = draw(space.axes(max(len(shape), 1)))
    x = draw(space.tensor(shape, terms=max((*shape, 1))))
    return Case.of(x, dim)


@composite
def rejects(draw, space: Space) -> Case:
    shape = draw(space.shapes(0, 4))
    dims = max(len(shape), 1)
    x, dim = draw(space.tensor(shape)), draw(st.sampled_from([dims, dims + 3, -dims - 1]))
    rule = "dim is before the first dimension" if dim < 0 else "dim is beyond the last dimension"
    return illegal(rule, x, dim)


def differences(f, rng, x, dim):
    if x.ndim == 0 or x.shape[dim] == 0 or x.dtype == torch.bool:
        return None
    return torch.diff(f(x, dim), dim=dim), x.narrow(dim, 1, x.shape[dim] - 1).to(f(x, dim).dtype)


def split(f, rng, x, dim):
    if x.ndim == 0 or x.shape[dim] < 2:
        return None
    at = int(rng.integers(1, x.shape[dim]))
    first, second = f(x.narrow(dim, 0, at), dim), f(x.narrow(dim, at, x.shape[dim] - at), dim)
    return f(x, dim), torch.cat([first, second + first.narrow(dim, at - 1, 1)], dim)


def other_dims(f, rng, x, dim):
    if x.ndim < 2:
        return None
    return f(x.movedim(dim, 0), 0).movedim(0, dim), f(x, dim)


Operation(
    "cumsum",
    "running sums along one dimension",
    kind="arithmetic",
    reference=cumsum,
    terms=terms,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX + INTEGER,
    result_dtype=lambda case: "int64" if case.dtype in INTEGER else case.dtype,
    laws=(
        Law("differences of the running sums give back x", differences),
        Law("the second half continues where the first ended", split),
        Law("moving the dimension to the front changes nothing", other_dims),
    ),
    baseline="torch_cumsum",
    usual=("torch_cumsum", "numpy_cumsum"),
)
