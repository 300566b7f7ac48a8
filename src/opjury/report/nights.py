"""The history as a report needs it: the last nights whole, of all others only how fast each implementation was."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from opjury.model import registry
from opjury.model.records import Night
from opjury.model.setting import Setting
from opjury.track import history
from opjury.track.history import Chronicle, Series


@dataclass
class Curve:
    """One series over the nights.

    Parameters
    ----------
    nights : array of int
        Numbers of nights, rising.
    ratios : array of float
        The shortest block's time as a multiple of the baseline's of the same night.
    """

    nights: array[int] = field(default_factory=lambda: array("l"))
    ratios: array[float] = field(default_factory=lambda: array("d"))

    def add(self, night: int, ratio: float) -> None:
        """One more night."""
        self.nights.append(night)
        self.ratios.append(ratio)


class _Speed(Setting, frozen=True, kw_only=True, tag="measurement", tag_field="record", gc=False):
    """As much of a measurement as its curve needs."""

    implementation: str
    ratio: float
    least_seconds: float = math.nan


_decode = msgspec.json.Decoder(_Speed, strict=False).decode


def nights_of(folder: Path, problems: list[str]) -> dict[str, list[tuple[Night, Path]]]:
    """Each machine's nights with their files, the oldest first; that of the latest night is the last machine."""
    machines: dict[str, list[tuple[Night, Path]]] = {}
    for night, path in history.files(folder, problems):
        machines[night.machine] = [*machines.pop(night.machine, ()), (night, path)]
    return machines


def whole(files: Sequence[tuple[Night, Path]], problems: list[str]) -> list[Chronicle]:
    """Nights with everything in them."""
    found = []
    for _, path in files:
        found.append(history.chronicle(path))
        problems += found[-1].spoilt
    return found


def curves(files: Sequence[tuple[Night, Path]]) -> dict[Series, Curve]:
    """The curve of each series that was measured together with its operation's baseline."""
    baselines = {o.name: o.baseline or "" for o in registry.operations()}
    found: dict[Setting, dict[str, Curve]] = {}
    for number, (_, path) in enumerate(files):
        for setting, times in _times(path).items():
            baseline = times.get(baselines.get(setting.operation, ""))
            if baseline:
                mine = found.setdefault(setting, {})
                for name, time in times.items():
                    if name not in mine:
                        mine[name] = Curve()
                    mine[name].add(number, time / baseline)
    return {Series(setting, name): curve for setting, mine in found.items() for name, curve in mine.items()}


def _times(path: Path) -> dict[Setting, dict[str, float]]:
    """The shortest block's times, by setting and implementation (where these were not kept, the medians' ratios).

    Lines that cannot be read are told by who reads them whole.
    """
    found: dict[Setting, dict[str, float]] = {}
    for line in path.read_bytes().splitlines():
        if b'"measurement"' in line[:40]:
            try:
                m = _decode(line)
            except msgspec.MsgspecError:
                continue
            seconds = m.ratio if math.isnan(m.least_seconds) else m.least_seconds
            found.setdefault(m.setting, {})[m.implementation] = seconds
    return found
