"""Right maps over all combinations."""

import torch

from . import right


def checked(vectors):
    """The shape of the result."""
    if not vectors:
        raise ValueError("at least one vector is needed")
    for k, vector in enumerate(vectors):
        if vector.ndim != 1:
            raise ValueError(f"vector {k} has {vector.ndim} dimensions, not one")
    return [len(vector) for vector in vectors]


@right("broadcast views")
def broadcast(function, *vectors):
    shape = checked(vectors)
    rows = [v[(None,) * k + (slice(None),) + (None,) * (len(shape) - 1 - k)] for k, v in enumerate(vectors)]
    return function(*rows).broadcast_to(shape)


@right("full grids from meshgrid")
def meshgrid(function, *vectors):
    shape = checked(vectors)
    if len({v.dtype for v in vectors}) == 1:
        rows = torch.meshgrid(*vectors, indexing="ij")
    else:
        rows = [
            v.reshape([-1 if i == k else 1 for i in range(len(shape))]).expand(shape) for k, v in enumerate(vectors)
        ]
    return function(*rows).expand(shape)


@right("flat lists of all combinations")
def flat_combinations(function, *vectors):
    shape = checked(vectors)
    place = torch.arange(torch.Size(shape).numel())
    columns, rest = [], place
    for v in reversed(vectors):
        columns.append(v[rest.remainder(max(len(v), 1))])
        rest = rest.div(max(len(v), 1), rounding_mode="floor")
    return function(*reversed(columns)).expand(place.shape).reshape(shape)


@right("the first vector cut into pieces of 50 rows")
def in_pieces(function, *vectors):
    shape = checked(vectors)
    parts = []
    for piece in vectors[0].split(50):
        rows = [
            v.reshape([-1 if i == k else 1 for i in range(len(shape))]) for k, v in enumerate([piece, *vectors[1:]])
        ]
        parts.append(function(*rows).expand(len(piece), *shape[1:]))
    return torch.cat(parts)
