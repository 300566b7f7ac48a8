"""What a choice is for, the measurements of the implementations that hold up, and a recommendation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from opjury.measure.apart import Footprint, first_calls, run_contest
from opjury.measure.contest import FLOOR, OBVIOUSLY, Competitor, Contest, ContestResult
from opjury.measure.statistics import RELEVANT, fastest, ratio
from opjury.model import registry
from opjury.model.environment import environment
from opjury.model.implementation import Implementation
from opjury.model.records import Measurement, Recommendation
from opjury.model.setting import Setting
from opjury.run.ship import Function

_HOPELESS, _TOLD = 20.0, 0.05  # times as long as the best, and seconds, from which one call tells enough


@dataclass(frozen=True)
class ChoiceRequest:
    """What a choice is for, with the fields that `opjury.choose` documents."""

    setting: Setting
    needs: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    max_error: float | None = None
    max_memory: float | None = None
    compile: bool = False
    seconds: float = 6.0
    seed: int = 0
    thorough: bool = False
    longest: float = math.inf

    def accepts(self, waived: Iterable[str]) -> bool:
        """Whether what waives these may be recommended."""
        return set(waived) <= set(self.accept)

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


def measured(
    request: ChoiceRequest,
    holding: Sequence[Implementation],
    shipped: Mapping[str, Function],
    waived: Mapping[str, dict[str, str]],
    excluded: dict[str, str],
    notify: Callable[[str], None],
) -> tuple[Measurement, ...]:
    """The measurements of implementations, the fastest first, with the reasons why some are not ranked added to `excluded`."""
    setting = request.setting
    competitors = [
        Competitor(entry.name, shipped.get(entry.name), compiled, ranked=request.accepts(waived[entry.name]))
        for entry in holding
        for compiled in ((False, True) if request.compile and entry.gradient is not None else (False,))
    ]
    contest = Contest(
        setting, tuple(competitors), seconds=request.seconds, seed=request.seed, to_the_end=request.thorough
    )
    until = time.monotonic() + request.longest
    notify(f"first calls of {len(competitors)}")
    first = first_calls(contest, competitors, excluded)
    most_bytes = math.inf if request.max_memory is None else request.max_memory
    for name, peak in [(name, calls.peak_bytes or 0) for name, calls in first.items()]:
        if peak > most_bytes:
            excluded[name] = f"needs {peak / 2**20:.4g} MiB; {most_bytes / 2**20:.4g} are allowed"
            del first[name]
    seconds = {name: min(calls.seconds, calls.again_seconds) for name, calls in first.items()}
    # What may be recommended comes first: the first result is the one that the others are compared with.
    called = sorted((c for c in competitors if c.label in seconds), key=lambda c: (not c.ranked, seconds[c.label]))
    most_seconds = max(_TOLD, _HOPELESS * min((seconds[name] for name in contest.ranked(seconds)), default=0.0))
    baseline = registry.operation(setting.operation).baseline
    hopeless = [c for c in called if seconds[c.label] > most_seconds and c.name != baseline]
    field = tuple(c for c in called if c not in hopeless)
    notify(f"measuring {len(field)} against each other")
    outcome = run_contest(replace(contest, competitors=field, longest=until - time.monotonic()), excluded)
    for competitor in hopeless:
        outcome.add_one_call(competitor.label, seconds[competitor.label])
    if request.max_error is not None:
        for name in [name for name in outcome.seconds if name != FLOOR]:
            error = outcome.ulps.get(name)
            if error is None:
                excluded[name] = "is so much slower that its error was not measured"
            elif error > request.max_error:
                excluded[name] = f"errs by {error:.3g} ulps; {request.max_error:g} are allowed"
            if name in excluded:
                del outcome.seconds[name]
    twice = {entry.name for entry in holding if entry.gradient is not None and entry.gradient.second}
    return measurements(request, outcome, first, waived, twice)


def measurements(
    request: ChoiceRequest,
    outcome: ContestResult,
    first: Mapping[str, Footprint],
    waived: Mapping[str, dict[str, str]],
    twice: Collection[str] = (),
) -> tuple[Measurement, ...]:
    """The records of a contest: what may be recommended, the fastest first, and then what waives more."""
    seconds = {name: column for name, column in outcome.seconds.items() if name != FLOOR}
    if not seconds or FLOOR not in outcome.seconds:  # competitors with one call are ranked only behind timed ones
        return ()
    waives = {name: waived.get(name.partition("+")[0], {}) for name in seconds}
    may = [name for name in seconds if request.accepts(waives[name])] or list(seconds)
    stayed = [name for name in may if name not in outcome.left]
    best = fastest({name: seconds[name] for name in stayed or may})
    pairs = max(1, math.comb(len(seconds), 2))  # which one is the best was not known before: any pair may be compared
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
                tied=name in (stayed or [best]) and request.accepts(waives[name]) and not to_best.slower,
                floor_seconds=float(np.nanmedian(outcome.seconds[FLOOR])),
                least_seconds=outcome.least[name],
                least_floor_seconds=outcome.least[FLOOR],
                peak_bytes=first[name].peak_bytes,
                first_seconds=first[name].seconds,
                error_ulps=outcome.ulps.get(name),
                rounds=int(np.sum(~np.isnan(column))),
                second_order=name.partition("+")[0] in twice,
                waived=waives[name],
            )
        )
    return tuple(sorted(found, key=lambda m: (not request.accepts(m.waived), m.ratio)))


def recommend(
    request: ChoiceRequest,
    found: Sequence[Measurement],
    excluded: dict[str, str],
    unneeded: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Recommendation:
    """The fastest, and among ties the one that waives the least, then has the smallest error, then needs the least memory.

    Nothing that waives more than the request accepts is recommended. The fastest of these is the alternative. `unneeded` has the
    reasons of declared waivers by implementation and check, where the check holds nevertheless. They are told.
    """
    ranked = [m for m in found if request.accepts(m.waived)]
    others = [m for m in found if not request.accepts(m.waived)]
    tied = [m for m in ranked if m.tied]
    close = [m for m in tied if m.ratio <= RELEVANT]
    taken = min(close, key=lambda m: (*_merits(m), m.ratio), default=None)
    alternative = min((m for m in others if taken is None or _is_faster(m)), key=lambda m: m.ratio, default=None)
    return Recommendation(
        **request.stored,
        implementation=taken.implementation if taken else "",
        reason="; ".join([_reason(taken, tied, ranked, others), *_declared(unneeded, taken)]),
        tied=tuple(m.implementation for m in tied),
        excluded=excluded,
        accepted=request.accept,
        alternative=alternative.implementation if alternative else "",
        alternative_reason=_alternative_reason(alternative, taken is None) if alternative else "",
    )


def _reason(
    taken: Measurement | None, tied: Sequence[Measurement], ranked: Sequence[Measurement], others: Sequence[Measurement]
) -> str:
    """Why one of `tied` was taken, where `others` waive more than is accepted."""
    if taken is None:
        return f"no implementation holds up{' without a declared weakness' if others else ''} and fulfils the request"
    if len(ranked) == 1:
        return f"it is the only one that holds up{' without a declared weakness' if others else ''} and fulfils the request"
    if len(tied) == 1:
        second = next(m for m in ranked if m is not taken)
        interval = f" [{second.low:.3g}, {second.high:.3g}]" if second.low else ""
        return f"the next, {second.implementation}, takes {second.ratio:.3g} times as long{interval}"
    reason = f"as fast as {', '.join(m.implementation for m in tied if m is not taken)}, as far as can be told"
    worst = map(max, zip(*map(_merits, tied)))
    better = [what for what, own, other in zip(_MERITS, _merits(taken), worst) if own < other]
    return f"{reason}; {' and '.join(better)}" if better else reason


def _declared(unneeded: Mapping[str, Mapping[str, str]], taken: Measurement | None) -> list[str]:
    """The declared waivers that an implementation did not need, in words."""
    waivers = unneeded.get(taken.implementation.partition("+")[0], {}) if taken else {}
    return [f"{check} holds here, though it is waived: {reason}" for check, reason in waivers.items()]


def _is_faster(m: Measurement) -> bool:
    """Whether it is faster than the best of those that may be recommended, obviously so where there are too few rounds for an interval."""
    return m.ratio < 1 / RELEVANT and (m.high < 1 or m.ratio < 1 / OBVIOUSLY)


def _alternative_reason(m: Measurement, alone: bool) -> str:
    """What is gained by an implementation with a declared weakness, and what may come of it."""
    interval = f" [{1 / m.high:.3g}, {1 / m.low:.3g}]" if m.low else ""
    gain = "the fastest that holds up" if alone else f"{1 / m.ratio:.3g} times as fast{interval}"
    return f"{gain}, but {'; '.join(dict.fromkeys(m.waived.values()))}"


_MERITS = ("it waives less", "it errs less", "it needs less memory")


def _merits(m: Measurement) -> tuple[int, ...]:
    """The number of waivers, the error and the memory, the last two on a logarithmic scale with steps of 50 %."""
    return len(m.waived), *(round(math.log(size + 1, 1.5)) for size in (m.error_ulps or 0, (m.peak_bytes or 0) / 2**20))
