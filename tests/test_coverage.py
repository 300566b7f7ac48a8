"""What a quick audit really tries: every dimension large, every number of dimensions, every `dim` from either end.

The cases are those that the judge executes on a registered implementation. Gradients of half types do not count: they are added in the
half type, with a bound so wide that a lost term passes. Of an argument beyond `SMALL` elements the judge compares a dozen elements of the
gradient, and where sums are exact the whole with random vectors. The order of differences stays small: higher binomials are not exact.
"""

import functools
import warnings

import numpy as np
import pytest

from opjury.judge.judge import Search
from opjury.judge.task import Request, applies
from opjury.judge.trial import Trial
from opjury.model import registry
from opjury.model.arguments import Sparse, Tensor
from opjury.model.dtypes import HALF

CHECKS = ("agreement", "gradient", "determinism")
BETWEEN, BEYOND = "between the edges of blocks", "beyond 128"


def sides(name, shape):
    """Each side of a tensor with a fixed number of dimensions."""
    return {f"{name}.shape[{k}]": side for k, side in enumerate(shape)}


def ends(name, shape):
    """The first, the last and the inner sides of a tensor with any number of dimensions."""
    parts = {"first side": shape[:1], "inner sides": shape[1:-1], "last side": shape[1:][-1:]}
    return {f"{name}'s {which}": max(part) for which, part in parts.items() if part}


def around(shape, dim):
    """The side along a dimension, and those before and behind it."""
    if not shape:
        return {}
    dim %= len(shape)
    parts = {"before dim": shape[:dim], "along dim": shape[dim : dim + 1], "behind dim": shape[dim + 1 :]}
    return {f"x {name}": max(part) for name, part in parts.items() if part}


def arguments(case):
    """The arguments by the names of the reference's parameters, tensors as their shapes."""

    def shown(leaf):
        return tuple(leaf.shape) if isinstance(leaf, (Tensor, Sparse)) else leaf

    return [shown(leaf) for leaf in case.args], {name: shown(leaf) for name, leaf in case.kwargs.items()}


DIMENSIONS = {
    "as_strided": lambda x, size, stride, storage_offset=0: ends("x", x) | ends("size", size),
    "circulant": lambda c: sides("c", c),
    "sliding_window": lambda x, size, step=1: ends("batch", x[:-1]) | {"n": x[-1]},
    "toeplitz": lambda c, r=None: sides("c", c) | (sides("r", r) if r else {}),
    "toeplitz_matmul": lambda c, r, x: sides("c", c) | sides("r", r) | sides("x", x[1:]),
    "gather": lambda x, dim, index: around(x, dim) | ({"index along dim": index[dim]} if index else {}),
    "outer_map": lambda function, *vectors: ends("vectors", [n for (n,) in vectors]),
    "cumsum": lambda x, dim: around(x, dim),
    "slice_mean": lambda x, slices: {"n": x[0], "slices": slices[0]} | ends("features", x[1:]),
    "moving_mean": lambda x, window: ends("batch", x[:-1]) | {"n": x[-1]},
    "difference_matrix": lambda size, order: {"size": size},
    "sparse_diff": lambda matrix, order=1: sides("matrix", matrix),
    "sparse_grow": lambda matrix, rows, columns: sides("matrix", matrix) | {"rows": rows, "columns": columns},
    "unfold": lambda x, kernel_size, dilation=1, padding=0, stride=1: sides("x", x) | sides("kernel", np.broadcast_to(kernel_size, 2)),
    "conv2d": lambda x, weight, *args, **kwargs: sides("x", x) | sides("weight", weight),
    "compose_conv2d": lambda first, second: sides("first", first) | sides("second", second),
    "convolve2d": lambda a, b: sides("a", a) | sides("b", b),
    "vector_norm": lambda x: ends("x", x),
    "normalize_sum": lambda x, dim: around(x, dim),
    "double_until": lambda x, threshold: ends("x", x),
}  # fmt: skip
"""The named sides of the arguments of a call."""

RANKS = dict.fromkeys(["as_strided", "gather", "cumsum", "vector_norm", "double_until"], (0, 6))
RANKS |= dict.fromkeys(["sliding_window", "slice_mean", "moving_mean", "normalize_sum", "outer_map"], (1, 6))
"""The fewest dimensions of the first argument, or vectors, and how many are tried."""
WITH_DIM = ("gather", "cumsum", "normalize_sum")


@functools.lru_cache
def executed(operation, check, seed):
    """The arguments of the cases that a quick audit executes in one check, over all dtypes.

    Gradients are really judged, since that decides whether a case is suitable. The other two judge every call that returns.
    """
    contract, found = registry.operation(operation), []
    for task in Request(checks=[check], seed=seed).tasks(operation, contract.baseline):
        if not applies(task):
            continue
        trial = Trial(contract, registry.entry(operation, contract.baseline))
        judged = trial.refutation if check == "gradient" else lambda check, case: None

        def noted(check, case, judged=judged):
            refuted = judged(check, case)
            assert refuted is None, refuted
            found.append(case)

        trial.refutation = noted
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Search(trial, task).run()
    return [arguments(case) for case in found if case.dtype not in HALF or check != "gradient"]


def classes(size):
    """How a size counts."""
    if size < 17 or size % 16 == 0:
        return ()
    return (BETWEEN,) if size <= 128 else (BEYOND,)


SEED = 0


@pytest.mark.sampled(4)
@pytest.mark.parametrize("operation", DIMENSIONS)
def test_every_dimension_is_large_once(operation):
    every, seen = {}, {}
    for check in CHECKS:
        seen[check] = {
            (name, kind)
            for args, kwargs in executed(operation, check, SEED)
            for name, size in DIMENSIONS[operation](*args, **kwargs).items()
            for kind in ((), *classes(size))
        }
        every |= dict.fromkeys(name for name, _ in seen[check])
    if not registry.operation(operation).differentiable:
        del seen["gradient"]
    missing = [
        f"{check}: {name} {kind}"
        for check in seen
        for name in every
        for kind in (BETWEEN, BEYOND)
        if (name, kind) not in seen[check]
        and not (check == "determinism" and {(name, BETWEEN), (name, BEYOND)} & seen[check])
    ]
    assert not missing, missing


def ranks(operation, args, kwargs):
    """The number of dimensions of a call, and its `dim` where there is one."""
    if operation == "outer_map":
        return {len(args) - 1}
    rank = len(args[0])
    if operation not in WITH_DIM:
        return {rank}
    dim = args[1] if len(args) > 1 else kwargs["dim"]
    return {rank, (rank, "from behind" if dim < 0 else "from the front"), f"dim {dim}"}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("operation", RANKS)
def test_every_number_of_dimensions_is_tried_and_every_dim(operation):
    fewest, most = RANKS[operation]
    wanted = set(range(fewest, most + 1))
    if operation in WITH_DIM:
        wanted |= {(rank, way) for rank in wanted for way in ("from the front", "from behind")}
        wanted |= {f"dim {dim}" for dim in range(-most, most)}
    for check in CHECKS[:2]:
        found = set().union(*(ranks(operation, args, kwargs) for args, kwargs in executed(operation, check, SEED)))
        missing = wanted - found
        assert not missing, (check, missing)
