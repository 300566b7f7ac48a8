"""circulant(c): the matrix with first column c whose every column is the one before, rotated down by one.

c (n,) → (n, n), C[i, j] = c[(i − j) mod n], as scipy.linalg.circulant.
"""

import numpy as np
import torch

from opjury.contract import COMPLEX, FLOATING, INTEGER, Case, Law, Operation, Space, composite, illegal, st


def circulant(c):
    """Element by element."""
    i, j = np.indices((len(c), len(c)))
    return c[(i - j) % max(len(c), 1)]


@composite
def cases(draw, space: Space) -> Case:
    n = draw(space.sizes(0, 520))
    return Case.of(draw(space.tensor((n,), terms=n)))


@composite
def rejects(draw, space: Space) -> Case:
    shape = draw(st.sampled_from([(), (1, 1), (2, 2), (1, 3), (3, 1), (0, 2), (2, 0), (2, 1, 2)]))
    return illegal("c is not 1-d", draw(space.tensor(shape)))


def rotated(f, rng, c):
    return f(c.roll(1)), f(c).roll(1, 0)


def along_diagonals(f, rng, c):
    return f(c).roll((1, 1), (0, 1)), f(c)


def transposed(f, rng, c):
    return f(torch.cat([c[:1], c[1:].flip(0)])), f(c).T


def first_column(f, rng, c):
    return (f(c)[:, 0], c) if len(c) else None


Operation(
    "circulant",
    "the matrix with first column c, each column the one before rotated down by one",
    kind="movement",
    reference=circulant,
    cases=cases,
    rejects=rejects,
    dtypes=FLOATING + COMPLEX + INTEGER,
    laws=(
        Law("rotating c rotates the rows", rotated),
        Law("rotating rows and columns together changes nothing", along_diagonals),
        Law("reversing c but for its first element transposes", transposed),
        Law("the first column is c", first_column),
    ),
    baseline="broadcasted_index",
    usual=("scipy_circulant", "broadcasted_index"),
)
