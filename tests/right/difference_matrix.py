"""Right matrices of differences."""

import math

import numpy as np
import scipy.sparse as sparse
import torch

from . import right


def counts(size, order):
    """Both as plain integers."""
    for name, value in (("size", size), ("order", order)):
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"{name} must be an integer, not {value!r}")
        if value < 0:
            raise ValueError(f"{name} must be >= 0, not {value}")
    return int(size), int(order)


def binomials(order):
    return [(-1) ** (order - k) * math.comb(order, k) for k in range(order + 1)]


@right("CSC arrays written down")
def direct(size, order):
    size, order = counts(size, order)
    n = max(size - order, 0)
    data = np.tile(np.array(binomials(order), float), n)
    index = np.add.outer(np.arange(n), np.arange(order + 1)).ravel()
    return sparse.csc_array((data, index, np.arange(0, n * (order + 1) + 1, order + 1)), shape=(size, n))


@right("diagonals")
def diagonals(size, order):
    size, order = counts(size, order)
    if size <= order:
        return sparse.csc_array((size, 0), dtype=float)
    rows = [np.full(size - order, float(value)) for value in binomials(order)]
    return sparse.csc_array(
        sparse.diags_array(rows, offsets=range(0, -order - 1, -1), shape=(size, size - order), format="csc")
    )


@right("repeated slicing of the identity")
def sliced(size, order):
    size, order = counts(size, order)
    matrix = sparse.eye_array(size, format="csc") if size else sparse.csc_array((0, 0))
    for _ in range(min(order, size)):
        matrix = matrix[:, 1:] - matrix[:, :-1]
    matrix = sparse.csc_array(matrix)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


@right("products of first differences")
def products(size, order):
    size, order = counts(size, order)
    matrix = sparse.csc_array(np.eye(size)) if size else sparse.csc_array((0, 0))
    for columns in range(size, max(size - order, 0), -1):
        first = sparse.coo_array(
            (
                np.r_[-np.ones(columns - 1), np.ones(columns - 1)],
                (np.r_[0 : columns - 1, 1:columns], np.r_[0 : columns - 1, 0 : columns - 1]),
            ),
            shape=(columns, columns - 1),
        )
        matrix = matrix @ first.tocsc()
    matrix = sparse.csc_array(matrix)
    matrix.sort_indices()
    return matrix


@right("NumPy's dense differences, made sparse")
def dense(size, order):
    size, order = counts(size, order)
    matrix = np.zeros((size, 0)) if order >= size else np.diff(np.eye(size), n=order)
    return sparse.csc_array(matrix)


@right("COO from torch's indices")
def torch_coo(size, order):
    size, order = counts(size, order)
    n = max(size - order, 0)
    step, column = torch.meshgrid(torch.arange(order + 1), torch.arange(n), indexing="ij")
    value = torch.tensor([float(v) for v in binomials(order)], dtype=torch.float64)[step]
    place = (step + column).flatten().numpy(), column.flatten().numpy()
    matrix = sparse.coo_array((value.flatten().numpy(), place), shape=(size, n)).tocsc()
    matrix.sum_duplicates()
    return matrix
