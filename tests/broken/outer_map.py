"""Wrong maps over all combinations."""

import numpy as np
import torch

from . import wrong


def grids(vectors):
    """Every vector along an axis of its own."""
    if not vectors or any(v.ndim != 1 for v in vectors):
        raise ValueError("at least one vector, each one-dimensional")
    n = len(vectors)
    return [v.reshape([-1 if i == k else 1 for i in range(n)]) for k, v in enumerate(vectors)]


def right_one(function, *vectors):
    shape = [len(v) for v in vectors]
    return function(*grids(vectors)).expand(shape)


@wrong("easy", "a bool vector is taken for a mask, as np.ix_ does: [True, False]", ("agreement",))
def bool_is_mask(function, *vectors):
    grids(vectors)
    return right_one(function, *[v.nonzero()[:, 0] if v.dtype is torch.bool else v for v in vectors])


@wrong(
    "medium",
    "the dtype is that of the first vector where the result is no float: a < b of integers is no bool",
    ("form",),
)
def dtype_of_first_vector(function, *vectors):
    result = right_one(function, *vectors)
    return result if result.dtype.is_floating_point or result.dtype.is_complex else result.to(vectors[0].dtype)


@wrong("medium", "a function that ignores an argument gives too small a result: lambda a, b: a", ("form",))
def shape_not_filled(function, *vectors):
    return function(*grids(vectors))


@wrong("medium", "an empty vector raises", ("agreement",))
def empty_raises(function, *vectors):
    rows = grids(vectors)
    function(*[row.reshape(-1)[0] for row in rows])
    return function(*rows).expand([len(v) for v in vectors])


@wrong("medium", "two vectors of equal values share the diagonal: transposed beyond the first pair", ("agreement",))
def transposed_when_square(function, *vectors):
    result = right_one(function, *vectors)
    return result.transpose(0, 1) if len(vectors) == 3 and len(vectors[0]) == len(vectors[1]) else result


@wrong("medium", "no vectors give the value of the function of nothing, or a scalar zero", ("rejects",))
def no_vectors_accepted(function, *vectors):
    return right_one(function, *vectors) if vectors else torch.zeros(())


@wrong("medium", "a 0-d argument is taken for a vector of one", ("rejects",))
def zero_d_accepted(function, *vectors):
    return right_one(function, *[torch.atleast_1d(v) for v in vectors])


@wrong("hard", "pieces of 64 rows, the last incomplete piece evaluated on rows of the one before", ("agreement",))
def last_piece_repeats(function, *vectors):
    grids(vectors)
    n = len(vectors[0])
    if n > 64 and n % 64:
        first = torch.cat([vectors[0][: n // 64 * 64], vectors[0][n // 64 * 64 - n % 64 : n // 64 * 64]])
        return right_one(function, first, *vectors[1:])
    return right_one(function, *vectors)


@wrong("hard", "np.vectorize over np.ix_: no gradient history", ("gradient",))
def numpy_detached(function, *vectors):
    rows = grids(vectors)
    return (
        right_one(function, *[v.detach() for v in vectors])
        if rows and np.prod([len(v) for v in vectors]) > 1
        else right_one(function, *vectors)
    )


@wrong("hard", "the gradient of the second vector is lost where the first needs one too", ("gradient",))
def second_gradient_lost(function, *vectors):
    if len(vectors) > 1 and vectors[0].requires_grad:
        vectors = vectors[0], vectors[1].detach(), *vectors[2:]
    return right_one(function, *vectors)


@wrong("hard", "remembered by the function's name and the shapes", ("determinism",))
def cached_by_name(function, *vectors, kept={}):  # noqa: B006
    if any(v.requires_grad for v in vectors):
        return right_one(function, *vectors)
    key = (
        getattr(function, "__name__", ""),
        *[(v.data_ptr(), v.shape, v.stride(), v.dtype, v.is_conj()) for v in vectors],
    )
    return kept.setdefault(key, right_one(function, *vectors)).clone()


@wrong("hard", "a vector given twice is taken once: the diagonal alone is computed")
def same_vector_twice(function, *vectors):
    if len(vectors) == 2 and vectors[0] is vectors[1] and len(vectors[0]):
        return torch.diag_embed(torch.atleast_1d(function(*vectors)).expand(len(vectors[0])))
    return right_one(function, *vectors)


@wrong("medium", "a fifth vector is refused", ("agreement",))
def fifth_vector_refused(function, *vectors):
    if len(vectors) > 4:
        raise ValueError(f"{len(vectors)} vectors are given; up to 4 are supported")
    return right_one(function, *vectors)
