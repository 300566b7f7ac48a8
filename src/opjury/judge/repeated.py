"""Results of calls whose arguments are repeated, beyond 2³¹ elements: the small case's result, repeated, compared where it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from opjury.judge.bounds import Expected
from opjury.model.case import Repetition

_CHUNK = 2**24  # elements of a result that are looked at together


def repeated_shape(expected: Expected, repeated: Repetition) -> tuple[int, ...]:
    """Of the result."""
    return tuple(n * (repeated.times if dim in repeated.result else 1) for dim, n in enumerate(expected.value.shape))


def wrong_at(result: torch.Tensor, expected: Expected, repeated: Repetition) -> tuple[int, ...] | None:
    """The first place, by the first dimension that is repeated, at which a result of the right shape is wrong; None where there is none.

    The result stays on its device: a part of it after another is compared with what is expected of the small case.
    """
    first, *others = repeated.result
    value = torch.from_numpy(expected.value)
    bound = torch.from_numpy(np.broadcast_to(expected.bound, value.shape).copy())
    reps = [repeated.times if dim in others else 1 for dim in range(value.ndim)]
    value, bound = (each.repeat(reps).movedim(first, 0).to(result.device) for each in (value, bound))
    rows, count = result.detach().movedim(first, 0), len(value)
    step = max(1, _CHUNK // value.numel())
    for start in range(0, repeated.times, step):
        part = rows[start * count : (start + step) * count].reshape(-1, *value.shape)
        wrong = ~((part.to(value.dtype) - value).abs() <= bound)  # NaN is wrong
        if wrong.any():
            number, row, *rest = (int(place) for place in wrong.nonzero()[0])
            at: list[Any] = list(rest)
            at.insert(first, (start + number) * count + row)
            return tuple(at)
    return None
