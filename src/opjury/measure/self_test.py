"""How precise measurements on this machine are: how often equal times are called different, and which slow-downs are found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opjury.measure.contest import Competitor, Contest
from opjury.measure.race import measure
from opjury.measure.statistics import ratio
from opjury.model import registry
from opjury.model.setting import Setting
from opjury.run.pool import Fallen, isolated

SLOWED = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1)  # shares of a call's time
_SUBJECTS = (("cumsum", "torch_cumsum"), ("toeplitz", "unfold_flip"), ("moving_mean", "prefix_sum_difference"))
FOUND_SURELY = 0.95  # share of the trials in which a slow-down must be found


@dataclass(frozen=True)
class Detection:
    """In how many contests an implementation, slowed by a share of its time, was called different from itself."""

    slowed: float
    called_different: int
    trials: int

    @property
    def share(self) -> float:
        """The share of the trials that were called different."""
        return self.called_different / self.trials


def self_test(
    trials: int, *, slowed: Sequence[float], seconds: float, seed: int, notify: Callable[[str], None]
) -> list[Detection]:
    """Let implementations compete with copies of themselves that are slowed by shares of their time.

    Each share is tried in `trials` contests of `seconds` each, with short, middle and long calls in turn. Where nothing is slowed,
    "faster" counts as different, too.
    """
    found = []
    for share in slowed:
        contests = [_contest(i, share, seconds, seed) for i in range(trials)]
        different = 0
        outcomes = isolated(measure, contests, 1, lambda contest: 60 + 5 * seconds)
        for number, (_, outcome) in enumerate(outcomes, start=1):
            notify(f"slowed by {share:.0%}: {number} of {trials}")
            if isinstance(outcome, Fallen):
                raise RuntimeError(outcome.why)
            plain, other = (column for name, column in outcome.seconds.items() if not name.startswith("("))
            seen = ratio(other, plain)
            different += seen.slower or (not share and seen.faster)
        found.append(Detection(share, different, trials))
    return found


def _contest(number: int, slowed: float, seconds: float, seed: int) -> Contest:
    operation, name = _SUBJECTS[number % len(_SUBJECTS)]
    setting = Setting(operation=operation, sizes=dict(registry.workload(operation).sizes["medium"]), dtype="float32")
    pair = (Competitor(name), Competitor(name, copy=2, slowed=slowed))
    return Contest(setting, pair, seconds=seconds, seed=seed + number)
