"""What a report is made from: record files and the history, machine by machine, and what could not be read."""

from __future__ import annotations

import functools
import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from opjury.model import records, registry
from opjury.model.environment import Environment
from opjury.model.outcome import standings
from opjury.model.records import Alarm, Measurement, Night, Part, Recommendation, Record, Standing, Verdict
from opjury.model.setting import Setting
from opjury.track import history
from opjury.track.alarms import alarms
from opjury.track.change_points import WINDOW
from opjury.track.history import Chronicle, Series

TOLD = 20  # problems that are told one by one
_Place = (
    tuple[str, str, str] | None
)  # machine, processor and GPU: what no installation changes; None where a record names none


@dataclass
class State:
    """What was found at one time on one machine.

    Parameters
    ----------
    label : str
        The time and the source, in words.
    verdicts : list of Verdict
        In full, as far as they were kept.
    standings : dict
        Each implementation's verdicts in short, by its full name and device.
    measurements, recommendations : dict
        By series, and by setting.
    """

    label: str
    verdicts: list[Verdict] = field(default_factory=list)
    standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    measurements: dict[Series, Measurement] = field(default_factory=dict)
    recommendations: dict[Setting, Recommendation] = field(default_factory=dict)

    @staticmethod
    def of(label: str, found: Iterable[Record]) -> State:
        """The state that records describe.

        A later record of the same thing replaces an earlier one, and a standing replaces the verdicts before it that it sums up.
        """
        state, kept, short = State(label), dict[Any, Verdict](), dict[tuple[str, str], Standing]()
        for record in found:
            if isinstance(record, Verdict):
                kept[record.name, record.check, record.dtypes, record.device] = record
                short.pop((record.name, record.device), None)
            elif isinstance(record, Standing):
                short[record.name, record.device] = record
            elif isinstance(record, Measurement):
                state.measurements[Series.of(record)] = record
            elif isinstance(record, Recommendation):
                state.recommendations[record.setting] = record
        state.verdicts = list(kept.values())
        state.standings = {(s.name, s.device): s for s in standings(state.verdicts)} | short
        return state

    @functools.cached_property
    def operations(self) -> list[str]:
        """The names of all operations that were judged or measured, sorted."""
        return sorted(
            {s.operation for s in self.standings.values()} | {m.operation for m in self.measurements.values()}
        )

    @functools.cached_property
    def contests(self) -> dict[Setting, list[Measurement]]:
        """The measurements in each setting: what may be recommended, the fastest first, and then what waives more."""
        found: dict[Setting, list[Measurement]] = {}
        for series, m in self.measurements.items():
            found.setdefault(series.setting, []).append(m)
        return {
            setting: sorted(ms, key=lambda m: (not self.may_be_recommended(m), m.seconds))
            for setting, ms in found.items()
        }

    def may_be_recommended(self, m: Measurement) -> bool:
        """Whether the request of a measurement accepted what it waives."""
        chosen = self.recommendations.get(m.setting)
        return set(m.waived) <= set(chosen.accepted if chosen else ())


@dataclass
class Curve:
    """One series over the nights, whose numbers rise: the shortest block's time as a multiple of the baseline's of the same night."""

    nights: array[int] = field(default_factory=lambda: array("l"))  # lists take several times the memory of arrays
    ratios: array[float] = field(default_factory=lambda: array("d"))

    def add(self, night: int, ratio: float) -> None:
        """Append a night."""
        self.nights.append(night)
        self.ratios.append(ratio)


@dataclass
class Machine:
    """Everything that was found on one machine. Nothing is compared with another machine's.

    Parameters
    ----------
    name : str
    environment : Environment or None
        The one that most of the records were made in.
    others : tuple of Environment
        The same machine with other versions.
    now : State
    before : State or None
        What the changes are relative to: the night before.
    nights : list of Night
    curves : dict of Series to Curve
    alarms : sequence of Alarm
        What a search of the last nights found.
    """

    name: str
    environment: Environment | None
    now: State
    others: tuple[Environment, ...] = ()
    before: State | None = None
    nights: list[Night] = field(default_factory=list)
    curves: dict[Series, Curve] = field(default_factory=dict)
    alarms: Sequence[Alarm] = ()


@dataclass
class Found:
    """All machines, that of the first record file or of the latest night first, and what could not be read."""

    machines: list[Machine]
    problems: list[str] = field(default_factory=list)


def gather(files: Sequence[Path], folder: Path) -> Found:
    """Read record files and a history.

    Files say how things are now. Without any, the latest night of each machine does.
    """
    problems: list[str] = []
    placed: list[tuple[_Place, Record]] = []
    for path in files:
        night: Night | None = None  # the first record of a night's file has the environment of all others
        for record in records.lenient(path, problems):
            night = record if isinstance(record, Night) else night
            if not isinstance(record, Part):  # which has no environment
                where = getattr(record, "environment", None) or getattr(night, "environment", None)
                placed.append((_place(where), record))
    nights: dict[str, list[tuple[Night, Path]]] = {}
    for each in reversed(history.files(folder, problems)):  # so that the machine of the latest night is the first
        nights.setdefault(each[0].machine, []).append(each)
    machines = {name: _with_history(name, theirs[::-1], problems) for name, theirs in nights.items()}
    places = {_place(m.environment) for m in machines.values()} | {place for place, _ in placed}
    by_place: dict[_Place, list[Record]] = {}
    for place, record in placed:
        by_place.setdefault(_with_gpu(place, places), []).append(record)
    histories = {_with_gpu(_place(m.environment), places): m for m in reversed(machines.values())}
    for place, found in reversed(by_place.items()):
        known = histories.get(place)
        environments = Counter(where for r in found if (where := getattr(r, "environment", None)))
        most, *others = [where for where, _ in environments.most_common()] or [None]
        machine = replace(
            known or Machine(_named(place, machines), None, State("")),
            environment=most,
            others=tuple(others),
            now=State.of("record files", found),
            before=known.now if known else None,
        )
        machines = {machine.name: machine} | {name: m for name, m in machines.items() if name != machine.name}
    return Found(list(machines.values()), problems)


def told(problems: Sequence[str]) -> list[str]:
    """The first problems, and how many there are besides."""
    more = len(problems) - TOLD
    return [*problems[:TOLD], *([f"and {more} more"] if more > 0 else [])]


def _place(where: Environment | None) -> _Place:
    return (where.machine, where.processor, where.device) if where else None


def _with_gpu(place: _Place, places: Iterable[_Place]) -> _Place:
    """The only place with a GPU that is otherwise the same, if there is one: records made where CUDA was hidden name no GPU."""
    if place is None or place[2]:
        return place
    same = [other for other in places if other and other[2] and other[:2] == place[:2]]
    return same[0] if len(same) == 1 else place


def _named(place: _Place, taken: Iterable[str]) -> str:
    if place is None:
        return "unknown machine"
    machine, processor, device = place
    name = ", ".join(filter(None, (machine, processor.partition(";")[0], device)))
    return name if name not in taken else f"{name} ({processor})"


def _with_history(name: str, nights: Sequence[tuple[Night, Path]], problems: list[str]) -> Machine:
    late = [history.chronicle(path) for _, path in nights[-WINDOW:]]
    for chronicle in late:
        problems += chronicle.spoilt
    return Machine(
        name=name,
        environment=late[-1].night.environment,
        now=_state(late[-1]),
        before=_state(late[-2]) if len(late) > 1 else None,
        nights=[night for night, _ in nights],
        curves=_curves([path for _, path in nights]),
        alarms=alarms(late, latest=None) if len(late) > 1 else (),
    )


def _state(chronicle: Chronicle) -> State:
    night = chronicle.night
    return State.of(f"{night.date[:10]}, commit {night.commit[:10] or 'unknown'}", chronicle.records)


class _Speed(Setting, frozen=True, kw_only=True, tag="measurement", tag_field="record", gc=False):
    """As much of a measurement as its curve needs: decoding the whole of long histories takes too long."""

    implementation: str
    ratio: float
    least_seconds: float = math.nan


_decode = msgspec.json.Decoder(_Speed, strict=False).decode


def _curves(paths: Sequence[Path]) -> dict[Series, Curve]:
    """The curve of each series that was measured together with its operation's baseline."""
    baselines = {o.name: o.baseline or "" for o in registry.operations()}
    found: dict[Setting, dict[str, Curve]] = {}
    for number, path in enumerate(paths):
        for setting, times in _times(path).items():
            if baseline := times.get(baselines.get(setting.operation, "")):
                curves = found.setdefault(setting, defaultdict(Curve))
                for name, time in times.items():
                    curves[name].add(number, time / baseline)
    return {Series(setting, name): curve for setting, curves in found.items() for name, curve in curves.items()}


def _times(path: Path) -> dict[Setting, dict[str, float]]:
    """The shortest block's times of a night, by setting and implementation, or the medians' ratios where these were not kept.

    Lines that cannot be read are left out.
    """
    found: dict[Setting, dict[str, float]] = {}
    for line in path.read_bytes().splitlines():
        if b'"measurement"' in line[:40]:
            try:
                m = _decode(line)
            except msgspec.MsgspecError:
                continue
            found.setdefault(m.setting, {})[m.implementation] = (
                m.ratio if math.isnan(m.least_seconds) else m.least_seconds
            )
    return found


def workload_name(setting: Setting) -> str:
    """A setting in short: `medium`, `medium backward float64`, `rows=1 n=1000`."""
    try:
        known = registry.workload(setting.operation).name_of(setting.sizes)
        usual = "float32" if "float32" in registry.operation(setting.operation).dtypes else setting.dtype
    except registry.UnknownName:
        known, usual = "", "float32"
    words = [known or setting.shown_sizes or "no sizes"]
    words += ["backward"] if setting.gradient else []
    words += [setting.dtype] if setting.dtype != usual else []
    words += [setting.device] if setting.device != "cpu" else []
    words += [f"{setting.threads} threads"] if setting.threads != 1 else []
    return " ".join(words)


def default_workload(state: State) -> str:
    """The name that most operations were measured under, or "" where nothing was."""
    seen: Counter[str] = Counter(workload_name(workload) for workload in state.contests)
    preferred = ("medium", "small", "large")
    return max(seen, key=lambda name: (seen[name], -preferred.index(name) if name in preferred else -9), default="")
