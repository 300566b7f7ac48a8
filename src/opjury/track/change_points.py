"""Change points: where a series of nights steps to another level, by the best piecewise constant fit that noise does not explain."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

SURE = 5.5  # standard errors of a step that needs no second look
SUSPECT = 2.0  # of one that is worth measuring again, which costs seconds
WINDOW = 90  # nights that are looked at
_LEAST_NOISE = 0.001  # of a log-ratio: no series of measurements is quieter
_LEAST_NIGHTS = 5
_USUAL = 0.9  # of the nights before: what they had is not news


@dataclass(frozen=True)
class ChangePoint:
    """A change of level.

    Parameters
    ----------
    start, at, end : int
        The first places of the old level, of the new one, and of what comes after that.
    before, after : float
        The levels: medians of the values.
    error : float
        The standard error of their difference, had they been means; that of medians is 1.25 times as large.
    """

    start: int
    at: int
    end: int
    before: float
    after: float
    error: float

    @property
    def height(self) -> float:
        """after - before"""
        return self.after - self.before

    def exceeds(self, values: np.ndarray) -> bool:
        """Whether the new level is above nine in ten of all earlier values: what a wandering series had before is nothing new."""
        earlier = values[max(0, len(values) - WINDOW) : self.at]
        return self.after > float(np.nanquantile(earlier, _USUAL))


def change_points(values: np.ndarray, least: float, sure: float = SURE) -> list[ChangePoint]:
    """The steps of a series.

    Parameters
    ----------
    values : numpy.ndarray of shape (nights,)
        Logarithms; NaN where a night has no value. Only the last `WINDOW` are looked at.
    least : float
        The smallest difference of levels that matters.
    sure : float
        How many standard errors of that difference a step must have.

    Returns
    -------
    list of ChangePoint
        The earliest first.
    """
    skipped = max(0, len(values) - WINDOW)
    places = np.flatnonzero(~np.isnan(values[skipped:])) + skipped
    present = values[places]
    if len(present) < _LEAST_NIGHTS or np.ptp(present) < least:
        return []
    noise = _noise(present)
    bounds = _bounds(present / noise, sure)
    while len(bounds) > 2:
        found = _between(present, bounds, noise)
        lowest = min(found, key=lambda step: abs(step.height))
        if abs(lowest.height) >= max(least, sure * lowest.error):
            where = [*places.tolist(), len(values)]
            return [replace(s, start=where[s.start], at=where[s.at], end=where[s.end]) for s in found]
        bounds.remove(lowest.at)  # its sides become one level, and the other steps are looked at again
    return []


def _bounds(scaled: np.ndarray, sure: float) -> list[int]:
    """0, the first places of new levels, the length: the fit in which each step saves more than `sure` squared deviations.

    For two levels of noise 1 the saving is the square of their difference in standard errors.
    """
    from ruptures import KernelCPD

    return [0, *KernelCPD(kernel="linear", min_size=1).fit(scaled[:, None]).predict(pen=sure**2)]


def _between(values: np.ndarray, bounds: list[int], noise: float) -> list[ChangePoint]:
    found = []
    for start, at, end in zip(bounds, bounds[1:], bounds[2:]):
        error = noise * math.sqrt(1 / (at - start) + 1 / (end - at))
        found.append(
            ChangePoint(start, at, end, float(np.median(values[start:at])), float(np.median(values[at:end])), error)
        )
    return found


def _noise(values: np.ndarray) -> float:
    """The scatter of single nights, from the differences of neighbours: robust (MAD), and blind to steps; wider for few nights."""
    differences = np.diff(values)
    scatter = 1.4826 * float(np.median(np.abs(differences))) / math.sqrt(2)
    return max(scatter * (1 + 2 / len(differences)), _LEAST_NOISE)
