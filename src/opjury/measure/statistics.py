"""Ratios of paired times: the median, an interval that is valid for any distribution, and when that is a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.99
RELEVANT = 1.02  # a smaller ratio is no difference, however narrow its interval


@dataclass(frozen=True)
class Ratio:
    """How many times as long one thing takes as another: the median and its interval, (0, inf) for too few pairs."""

    median: float
    low: float
    high: float

    @property
    def slower(self) -> bool:
        """Whether the first takes longer: the interval is above 1, and the difference is relevant."""
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

    The interval is that of the sign test: two order statistics of the log-ratios, exact for any distribution. The times are seconds
    of shape (rounds,). A round in which either is NaN does not count, and `ValueError` is raised where no round has both.
    """
    from scipy.stats import quantile_test  # takes a second to import, and reports of stored records do not need it

    logs = _log_ratios(first, second)
    if not logs.size:
        raise ValueError("no round has both times")
    if not logs.any():  # a thing compared with itself
        return Ratio(1.0, 1.0, 1.0)
    interval = quantile_test(logs, p=0.5).confidence_interval(1 - (1 - CONFIDENCE) / comparisons)
    low = 0.0 if math.isnan(interval.low) else math.exp(interval.low)
    high = math.inf if math.isnan(interval.high) else math.exp(interval.high)
    return Ratio(math.exp(float(np.median(logs))), low, high)


def fastest(seconds: dict[str, np.ndarray]) -> str:
    """The name with the shortest times, by the median log-ratio of the rounds in which both took part."""
    best, *others = seconds
    for name in others:
        logs = _log_ratios(seconds[name], seconds[best])
        if logs.size and np.median(logs) < 0:
            best = name
    return best


def _log_ratios(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    logs = np.log(first) - np.log(second)
    return logs[~np.isnan(logs)]
