"""toeplitz(c, r=None): the matrix with first column c and first row r, constant along its diagonals.

c (m,), r (n,) → (m, n), T[i, j] = c[i−j] if i ≥ j else r[j−i]. r defaults to conj(c); r[0] is ignored, as in scipy.linalg.toeplitz.
"""

import numpy as np

from opjury.contract import COMPLEX, FLOATING, INTEGER, Case, Law, Operation, Space, composite, illegal, st


def toeplitz(c, r=None):
    """Element by element."""
    r = np.conj(c) if r is None else r
    i, j = np.indices((len(c), len(r)))
    pool = np.concatenate([c, r])
    return pool[np.where(i >= j, i - j, len(c) + j - i)] if pool.size else np.zeros((0, 0), c.dtype)


@composite
def cases(draw, space: Space) -> Case:
    if draw(st.booleans()):
        m = draw(space.sizes(maximum=257))
        return Case.of(draw(space.tensor((m,), terms=2 * m)))
    m, n = draw(space.sizes()), draw(space.sizes())
    return Case.of(draw(space.tensor((m,), terms=m + n)), draw(space.tensor((n,), terms=m + n)))


@composite
def rejects(draw, space: Space) -> Case:
    good = draw(space.tensor((draw(st.integers(1, 4)),)))
    bad = draw(space.tensor(draw(st.sampled_from([(), (2, 2), (1, 3), (3, 1), (0, 2)]))))
    column, row = "c is not 1-d", "r is not 1-d"
    wrong = [(column, bad), (column, bad, good), (row, good, bad), ("neither c nor r is 1-d", bad, bad)]
    return illegal(*draw(st.sampled_from(wrong)))


def transposed(f, rng, c, r=None):
    if r is None or not len(c) or not len(r) or c[0] != r[0]:
        return None
    return f(r, c), f(c, r).T


def inner(f, rng, c, r=None):
    whole = f(c, c if r is None else r)
    return whole[1:, 1:], whole[:-1, :-1]


def first_column(f, rng, c, r=None):
    whole = f(c) if r is None else f(c, r)
    return (whole[:, 0], c) if whole.shape[1] else None


Operation(
    "toeplitz",
    "the matrix with first column c and first row r, constant along diagonals",
    kind="movement",
    reference=toeplitz,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX + INTEGER,
    laws=(
        Law("exchanging column and row transposes", transposed),
        Law("shifting down and right changes nothing", inner),
        Law("the first column is c", first_column),
    ),
    baseline="broadcasted_index",
    usual=("scipy_toeplitz", "broadcasted_index"),
)
