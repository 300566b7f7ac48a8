"""Measurements and a recommendation from the result of a contest."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from opjury.measure.apart import Footprint
from opjury.measure.contest import FLOOR, ContestResult
from opjury.measure.statistics import RELEVANT, fastest, ratio
from opjury.model import registry
from opjury.model.environment import environment
from opjury.model.records import Measurement, Recommendation
from opjury.model.setting import Setting


@dataclass(frozen=True)
class ChoiceRequest:
    """What a choice is for; `opjury.choose` documents the fields."""

    setting: Setting
    needs: tuple[str, ...] = ()
    strict: bool = False
    max_error: float | None = None
    max_memory: float | None = None
    compile: bool = False
    seconds: float = 6.0
    seed: int = 0
    thorough: bool = False
    longest: float = math.inf

    @property
    def stored(self) -> dict[str, Any]:
        """The fields that it has in records."""
        return msgspec.structs.asdict(self.setting) | dict(seed=self.seed, environment=environment())

    @property
    def checks(self) -> tuple[str, ...]:
        """The names of the checks that must hold."""
        required = ("always", "gradient") if self.setting.gradient else ("always",)
        return tuple(
            check.name
            for check in registry.checks().values()
            if (check.required in required or check.name in self.needs)
            and self.setting.device.partition(":")[0] in check.devices
        )


def measurements(
    request: ChoiceRequest,
    outcome: ContestResult,
    first: Mapping[str, Footprint],
    waived: Mapping[str, dict[str, str]],
    twice: Collection[str] = (),
) -> tuple[Measurement, ...]:
    """The records of a contest, the fastest first."""
    seconds = {name: column for name, column in outcome.seconds.items() if name != FLOOR}
    if not seconds or FLOOR not in outcome.seconds:  # competitors with one call are ranked only behind timed ones
        return ()
    best = fastest({name: column for name, column in seconds.items() if name not in outcome.left} or seconds)
    pairs = max(
        1, math.comb(len(seconds), 2)
    )  # any pair could have been compared: which one is the best was not known before
    found = []
    for name, column in seconds.items():
        to_best = ratio(column, seconds[best], pairs)
        found.append(
            Measurement(
                **request.stored,
                implementation=name,
                seconds=float(np.nanmedian(seconds[best])) * to_best.median,
                reference=best,
                ratio=to_best.median,
                low=to_best.low,
                high=to_best.high,
                tied=not to_best.slower and name not in outcome.left,
                floor_seconds=float(np.nanmedian(outcome.seconds[FLOOR])),
                least_seconds=outcome.least[name],
                least_floor_seconds=outcome.least[FLOOR],
                peak_bytes=first[name].peak_bytes,
                first_seconds=first[name].seconds,
                error_ulps=outcome.ulps.get(name),
                rounds=int(np.sum(~np.isnan(column))),
                second_order=name.partition("+")[0] in twice,
                waived=waived.get(name.partition("+")[0], {}),
            )
        )
    return tuple(sorted(found, key=lambda m: m.ratio))


def recommend(request: ChoiceRequest, found: Sequence[Measurement], excluded: dict[str, str]) -> Recommendation:
    """The fastest; among ties the one that waives the least, then has the smallest error, then needs the least memory."""
    tied = [m for m in found if m.tied]
    close = [m for m in tied if m.ratio <= RELEVANT]
    taken = min(close, key=lambda m: (*_merits(m), m.ratio), default=None)
    if taken is None:
        reason = "no implementation holds up and fulfils the request"
    elif len(found) == 1:
        reason = "it is the only one that holds up and fulfils the request"
    elif len(tied) == 1:
        second = next(m for m in found if m is not taken)
        interval = f" [{second.low:.3g}, {second.high:.3g}]" if second.low else ""
        reason = f"the next, {second.implementation}, takes {second.ratio:.3g} times as long{interval}"
    else:
        reason = f"as fast as {', '.join(m.implementation for m in tied if m is not taken)}, as far as can be told"
        worst = map(max, zip(*map(_merits, tied)))
        better = [what for what, own, other in zip(_MERITS, _merits(taken), worst) if own < other]
        reason += f"; {' and '.join(better)}" if better else ""
    return Recommendation(
        **request.stored,
        implementation=taken.implementation if taken else "",
        reason=reason,
        tied=tuple(m.implementation for m in tied),
        excluded=excluded,
    )


_MERITS = ("it waives less", "it errs less", "it needs less memory")


def _merits(m: Measurement) -> tuple[int, ...]:
    """What decides between ties, smaller is better; errors and memory that differ by less than a half count as equal."""
    return len(m.waived), *(round(math.log(size + 1, 1.5)) for size in (m.error_ulps or 0, (m.peak_bytes or 0) / 2**20))
