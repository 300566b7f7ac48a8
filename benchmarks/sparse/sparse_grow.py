"""Sizes at which sparse_grow is worth measuring: one vertex more for a graph of few to many, and many rows at once."""

import numpy as np

from opjury.contract import Case, Sparse, Workload


def arguments(rng, vertices, degree, added):
    """The adjacency matrix of a random graph in CSR, and so many vertices to add."""
    places = np.unique(np.repeat(np.arange(vertices), degree) * vertices + rng.integers(0, vertices, vertices * degree))
    row, column = np.divmod(places, vertices)
    matrix = Sparse("csr", (vertices, vertices), "float64", rng.standard_normal(len(places)), (row, column))
    return Case.of(matrix, added, added)


Workload(
    "sparse_grow",
    sizes={
        "small": dict(vertices=100, degree=5, added=1),
        "medium": dict(vertices=10_000, degree=5, added=1),
        "large": dict(vertices=300_000, degree=5, added=1),
        "doubled": dict(vertices=10_000, degree=5, added=10_000),
    },
    arguments=arguments,
    read_from=dict(vertices="matrix.shape[0]", added="rows"),
    least_bytes=lambda itemsize, vertices, degree, added: (
        2 * (itemsize + 4) * vertices * degree + 4 * (2 * vertices + added)
    ),
    least_operations=lambda vertices, degree, added: 0,
)
