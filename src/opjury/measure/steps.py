"""Where a series of nights changes its level: the steps that asv's detection finds, those kept that noise does not explain."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

SURE = 4.5  # standard errors
WINDOW = 90  # nights that are looked at
_LEAST_NOISE = 0.001  # of a log-ratio: no series of measurements is quieter
_FEW = 5  # nights before a step, below which their own scatter says too little


@dataclass(frozen=True)
class Step:
    """A change of level.

    Parameters
    ----------
    at : int
        The first place of the new level.
    before, after : float
        The levels: medians of the values.
    error : float
        The standard error of their difference.
    """

    at: int
    before: float
    after: float
    error: float

    @property
    def height(self) -> float:
        """after - before"""
        return self.after - self.before


def steps(values: np.ndarray, least: float) -> list[Step]:
    """The steps of a series, those smaller than `least` or explained by noise left out.

    Parameters
    ----------
    values : numpy.ndarray of shape (nights,)
        Logarithms; NaN where a night has no value. Only the last `WINDOW` are looked at.
    least : float
        The smallest difference of levels that matters.

    Returns
    -------
    list of Step
        The earliest first.
    """
    skipped = max(0, len(values) - WINDOW)
    places = np.flatnonzero(~np.isnan(values[skipped:])) + skipped
    present = values[places]
    if len(present) == 0 or np.ptp(present) < least:
        return []  # no two levels are so far apart
    bounds = _segments(present)
    found: list[Step] = []
    while len(bounds) > 2:
        found = _between(present, bounds)
        weakest = min(found, key=lambda step: abs(step.height) / step.error)
        kept = abs(weakest.height) >= max(least, SURE * weakest.error)
        smallest = min(found, key=lambda step: abs(step.height))
        drop = weakest if not kept else smallest if abs(smallest.height) < least else None
        if drop is None:
            break
        bounds.remove(drop.at)  # its sides become one level, and the other steps are looked at again
        found = []
    return [Step(int(places[step.at]), step.before, step.after, step.error) for step in found]


def _between(values: np.ndarray, bounds: list[int]) -> list[Step]:
    levels = [values[a:b] for a, b in itertools.pairwise(bounds)]
    noise = _noise(levels)
    return [
        Step(at, float(np.median(left)), float(np.median(right)), noise * math.sqrt(1 / len(left) + 1 / len(right)))
        for at, left, right in zip(bounds[1:], levels, levels[1:])
    ]


def _noise(levels: list[np.ndarray]) -> float:
    """The scatter of single nights about their level, robustly (MAD), wider where there are few to tell it from."""
    residuals = np.concatenate([level - np.median(level) for level in levels if len(level) > 1] or [np.zeros(0)])
    free = len(residuals) - len(levels)
    if free < 2:
        return math.inf
    scatter = 1.4826 * float(np.median(np.abs(residuals))) * math.sqrt(len(residuals) / free)
    return max(scatter * (1 + _FEW / free**2), _LEAST_NOISE)


def _segments(values: np.ndarray) -> list[int]:
    """The bounds of a piecewise constant fit: 0, the first places of new levels, the length."""
    from asv.step_detect import detect_steps

    if len(values) < 3:
        return [0, len(values)]
    return [0, *(int(left) for left, *_ in detect_steps(values.tolist())[1:]), len(values)]
