"""toeplitz_matmul(c, r, x): the product of a Toeplitz matrix and x, without the matrix where an implementation can.

c (m,), r (n,), x (n,) or (n, k) → (m,) or (m, k): T(c, r) @ x with T[i, j] = c[i − j] if i ≥ j else r[j − i]. r[0] is ignored, and its
gradient zero. Linear in x, and in c and r together (in each of the two alone up to a constant).
Subnormal bfloat16 numbers may count as zero, which is how processors' instructions for dot products take them.
"""

from math import prod

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, Case, Law, Operation, Space, composite, illegal, st


def toeplitz_matmul(c, r, x):
    """Row by row."""
    return matrix(c, r) @ x


def matrix(c, r):
    """The matrix T(c, r)."""
    i, j = np.indices((len(c), len(r)))
    pool = np.concatenate([c, r])
    return pool[np.where(i >= j, i - j, len(c) + j - i)] if pool.size else np.zeros((0, 0), c.dtype)


def terms(c, r, x):
    """n products are added up."""
    return len(r)


def gradient(w, c, r, x):
    """The gradients of Re⟨w, T(c, r) x⟩ for c, r and x, each with Σ|a|·|w|.

    Where more than n products meet in an element of a gradient, the sum is scaled up by as much, since `terms` counts n.
    """

    def parts(w, c, r, x):
        weights, columns = (a.reshape(len(a), prod(a.shape[1:])) for a in (w, x))
        products = weights @ columns.conj().T  # what each element of the matrix receives
        i, j = np.indices(products.shape)
        total = np.zeros(len(c) + len(r), products.dtype)
        np.add.at(total, np.where(i >= j, i - j, len(c) + j - i), products)
        return total[: len(c)], total[len(c) :], matrix(c, r).conj().T @ w

    added = max(len(c), len(r)) * max(1, prod(x.shape[1:]))
    sizes = (part * max(1.0, added / (len(r) + 1)) for part in parts(*map(np.abs, (w, c, r, x))))
    return list(zip(parts(w, c, r, x), sizes, strict=True))


@composite
def cases(draw, space: Space) -> Case:
    m, n = draw(space.sizes(maximum=1100)), draw(space.sizes(maximum=1100))
    columns = draw(st.sampled_from([(), (1,), (2,), (draw(space.sizes(0, 300, usual=5)),)]))
    added = max(m, n) * max([1, *columns])
    shapes = ((m,), (n,), (n, *columns))
    return Case.of(*(draw(space.tensor(shape, terms=added, factors=2)) for shape in shapes))


@composite
def rejects(draw, space: Space) -> Case:
    m, n = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    other = draw(st.integers(0, 6).filter(lambda length: length != n))
    columns = draw(st.sampled_from([(), (1,), (3,), (n,), (n, 2)]))
    rule = "x is 3-d" if len(columns) == 2 else "len(x) ≠ len(r)"
    return illegal(rule, *(draw(space.tensor(shape)) for shape in ((m,), (n,), (other, *columns))))


def column_by_column(f, rng, c, r, x):
    if x.ndim == 1:
        return f(c, r, x[:, None])[:, 0], f(c, r, x)
    if x.shape[1] == 0:
        return None
    k = int(rng.integers(x.shape[1]))
    return f(c, r, x[:, k]), f(c, r, x)[:, k]


def first_of_row(f, rng, c, r, x):
    if not len(r):
        return None
    return f(c, torch.cat([r[:1] + 1, r[1:]]), x), f(c, r, x)


def inner_rows(f, rng, c, r, x):
    if not len(c):
        return None
    rows = int(rng.integers(1, len(c) + 1))
    return f(c[:rows], r, x), f(c, r, x)[:rows]


def zeros_below(f, rng, c, r, x):
    if not len(x):
        return None
    longer = torch.cat([r, torch.ones(2, dtype=r.dtype, device=r.device)])
    return f(c, longer, torch.cat([x, torch.zeros((2, *x.shape[1:]), dtype=x.dtype, device=x.device)])), f(c, r, x)


Operation(
    "toeplitz_matmul",
    "the product of the Toeplitz matrix of column c and row r with x",
    kind="arithmetic",
    reference=toeplitz_matmul,
    terms=terms,
    cases=cases,
    rejects=rejects,
    gradient=gradient,
    dtypes=FLOATING + COMPLEX,
    laws=(
        Law("columns of x are multiplied one by one", column_by_column),
        Law("r[0] is ignored", first_of_row),
        Law("fewer rows are the first rows", inner_rows),
        Law("zeros appended to x change nothing", zeros_below),
    ),
    baseline="build_and_multiply",
    usual=("scipy_matmul_toeplitz", "build_and_multiply"),
)
