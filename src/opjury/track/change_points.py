"""Change points: where a series of nights steps to another level, by a piecewise constant fit."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

SURE = 5.5  # standard errors of a step that needs no confirmation
SUSPECT = 2.0  # standard errors of a step that is worth measuring again, which costs seconds
WINDOW = 90  # the last nights, which are searched
_LEAST_NOISE = 0.001  # of a log-ratio: no series of measurements is quieter
_LEAST_NIGHTS = 5
_USUAL = 0.9  # a new level is unusual above this quantile of the nights before


class ChangePoint(NamedTuple):
    """A change of level. `start`, `at` and `end` are the first nights of the old level, of the new one, and of what follows it."""

    start: int
    at: int
    end: int
    before: float  # the old level: the median of its values
    after: float
    error: float  # the standard error of the difference, were the levels means; that of medians is 1.25 times as large

    @property
    def height(self) -> float:
        """after - before"""
        return self.after - self.before

    def exceeds(self, values: np.ndarray) -> bool:
        """Whether the new level is above nine in ten of all earlier values. A wandering series often returns to a level it had."""
        earlier = values[max(0, len(values) - WINDOW) : self.at]
        return self.after > float(np.nanquantile(earlier, _USUAL))


def change_points(values: np.ndarray, least: float, sure: float = SURE) -> list[ChangePoint]:
    """The steps of a series.

    Parameters
    ----------
    values : numpy.ndarray of shape (nights,)
        Logarithms; NaN where a night has no value. Only the last `WINDOW` are looked at.
    least : float
        The smallest difference of levels that counts.
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
    from ruptures import KernelCPD

    differences = np.diff(present)
    # The scatter of single nights, from the differences of neighbours by their MAD: steps do not affect it.
    scatter = 1.4826 * float(np.median(np.abs(differences))) / math.sqrt(2)
    noise = max(scatter * (1 + 2 / len(differences)), _LEAST_NOISE)  # few nights may seem too quiet by chance
    # The fit in which each step saves more than `sure` squared deviations. For two levels of noise 1 the saving is the square of their
    # difference in standard errors.
    fit = KernelCPD(kernel="linear", min_size=1).fit((present / noise)[:, None])
    bounds = [0, *fit.predict(pen=sure**2)]
    nights = [*places.tolist(), len(values)]
    while len(bounds) > 2:
        levels = [float(np.median(present[i:j])) for i, j in itertools.pairwise(bounds)]
        errors = [noise * math.sqrt(1 / (at - i) + 1 / (j - at)) for i, at, j in zip(bounds, bounds[1:], bounds[2:])]
        heights = np.abs(np.diff(levels))
        lowest = int(np.argmin(heights))
        if heights[lowest] >= max(least, sure * errors[lowest]):
            where = [nights[bound] for bound in bounds]
            return list(map(ChangePoint, where, where[1:], where[2:], levels, levels[1:], errors))
        del bounds[lowest + 1]  # the levels on its sides become one, and the other steps are tested again
    return []
