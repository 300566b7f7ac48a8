"""Ratios of paired times: a median, an interval that needs no assumption on their distribution, and when that is a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.99
RELEVANT = 1.02  # a smaller ratio is no difference, however sure


@dataclass(frozen=True)
class Ratio:
    """How many times as long one thing takes as another: the median, and the interval that holds it.

    Where there are too few pairs for an interval it is (0, inf).
    """

    median: float
    low: float
    high: float

    @property
    def slower(self) -> bool:
        """Whether the first takes longer: the interval is clear of 1, and the difference matters."""
        return self.low > 1 and self.median > RELEVANT

    @property
    def faster(self) -> bool:
        """Whether the first takes less time."""
        return self.inverse.slower

    @property
    def inverse(self) -> Ratio:
        """The second to the first."""
        return Ratio(1 / self.median, 1 / self.high, 1 / self.low if self.low else math.inf)

    def __str__(self) -> str:
        return f"{self.median:.3g} [{self.low:.3g}, {self.high:.3g}]"


def ratio(first: np.ndarray, second: np.ndarray, comparisons: int = 1) -> Ratio:
    """The median ratio of paired times, with an interval at 99 % for all of `comparisons` together (Bonferroni).

    The interval is that of the sign test: two order statistics of the log-ratios, exact for any distribution.

    Parameters
    ----------
    first, second : numpy.ndarray of shape (rounds,)
        Seconds; a round in which either is NaN is left out.
    comparisons : int

    Returns
    -------
    Ratio

    Raises
    ------
    ValueError
        When no round has both.
    """
    from scipy.stats import quantile_test  # takes a second, and reports of stored records need none

    logs = np.log(first) - np.log(second)
    logs = logs[~np.isnan(logs)]
    if not logs.size:
        raise ValueError("no round has both times")
    if not logs.any():  # a thing compared with itself
        return Ratio(1.0, 1.0, 1.0)
    interval = quantile_test(logs, p=0.5).confidence_interval(1 - (1 - CONFIDENCE) / comparisons)
    low = 0.0 if math.isnan(interval.low) else math.exp(interval.low)
    high = math.inf if math.isnan(interval.high) else math.exp(interval.high)
    return Ratio(math.exp(float(np.median(logs))), low, high)


def fastest(seconds: dict[str, np.ndarray]) -> str:
    """The name whose paired times are the shortest: the one that no other beats in more rounds than not, by median log-ratio.

    Medians alone would compare rounds that one of them did not take part in.
    """
    names = list(seconds)
    best = names[0]
    for name in names[1:]:
        logs = np.log(seconds[name]) - np.log(seconds[best])
        logs = logs[~np.isnan(logs)]
        if logs.size and np.median(logs) < 0:
            best = name
    return best
