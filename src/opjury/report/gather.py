"""What a report is made from: record files and the history, machine by machine, and what could not be read."""

from __future__ import annotations

import functools
from collections import Counter
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
from opjury.report.nights import Curve, curves, nights_of, whole
from opjury.track.alarms import alarms
from opjury.track.change_points import WINDOW
from opjury.track.history import Chronicle, Series

TOLD = 20  # problems that are told one by one
UNKNOWN = "unknown machine"


@dataclass
class State:
    """What was found at one time on one machine.

    Parameters
    ----------
    label : str
        When and from where, in words.
    verdicts : list of Verdict
        In full, as far as they were kept.
    standings : dict
        Every implementation's verdicts in short, by its full name and device.
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
        """From records; a later one of the same thing replaces an earlier one, and a standing the verdicts that it sums up."""
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
        """The names of all operations that occur, in order."""
        return sorted(
            {s.operation for s in self.standings.values()} | {m.operation for m in self.measurements.values()}
        )

    @functools.cached_property
    def contests(self) -> dict[Setting, list[Measurement]]:
        """The measurements in each setting, the fastest first."""
        found: dict[Setting, list[Measurement]] = {}
        for series, m in self.measurements.items():
            found.setdefault(series.setting, []).append(m)
        return {setting: sorted(ms, key=lambda m: m.seconds) for setting, ms in found.items()}


@dataclass
class Machine:
    """Everything that was found on one machine; nothing of it is ever set beside another one's.

    Parameters
    ----------
    name : str
    environment : Environment or None
        The one that most of the records were made in.
    others : tuple of Environment
        The others: the same machine with other versions.
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
    """Read record files and a history. Files tell how things are now; without any, the latest night of each machine does."""
    problems: list[str] = []
    placed: list[tuple[Environment | None, Record]] = []
    for path in files:
        within = None  # what the first record of a night's file says of all others in it
        for record in records.lenient(path, problems):
            if isinstance(record, Part):  # says nothing of a machine
                continue
            within = record.environment if isinstance(record, Night) else within
            placed.append((_place(getattr(record, "environment", None) or within), record))
    machines = {
        name: _with_history(name, nights, problems) for name, nights in reversed(nights_of(folder, problems).items())
    }
    places = {_place(m.environment) for m in machines.values()} | {place for place, _ in placed}
    by_place: dict[Environment | None, list[Record]] = {}
    for place, record in placed:
        by_place.setdefault(_with_gpu(place, places), []).append(record)
    histories = {_with_gpu(_place(m.environment), places): m for m in reversed(machines.values())}
    for place, found in reversed(by_place.items()):
        known = histories.get(place)
        name = known.name if known else _named(place, machines)
        environments = _environments(found)
        most = environments[0] if environments else None
        now = State.of("record files", found)
        machine = Machine(name, most, now, tuple(environments[1:]))
        if known:
            machine = replace(known, environment=most, others=machine.others, now=now, before=known.now)
        machines = {name: machine, **{key: m for key, m in machines.items() if key != name}}
    return Found(list(machines.values()), problems)


def told(problems: Sequence[str]) -> list[str]:
    """The first of them, and how many there are besides."""
    more = len(problems) - TOLD
    return [*problems[:TOLD], *([f"and {more} more"] if more > 0 else [])]


def _place(where: Environment | None) -> Environment | None:
    """A machine: what of an environment no installation changes."""
    if where is None:
        return None
    blank = dict.fromkeys(set(where.__struct_fields__) - {"machine", "processor", "device"}, "")
    return msgspec.structs.replace(where, **blank)


def _with_gpu(place: Environment | None, places: Iterable[Environment | None]) -> Environment | None:
    """Where no GPU was asked of: the place of the same kind that has one, if there is just one; it may have been hidden."""
    kind = place and (place.machine, place.processor)
    others = [p for p in places if p and p.device and (p.machine, p.processor) == kind]
    return others[0] if place and not place.device and len(others) == 1 else place


def _named(place: Environment | None, taken: Iterable[str]) -> str:
    if place is None:
        return UNKNOWN
    name = ", ".join(filter(None, (place.machine, place.processor.partition(";")[0], place.device)))
    return name if name not in taken else f"{name} ({place.processor})"


def _environments(found: Sequence[Record]) -> list[Environment]:
    """Those that the records were made in, that of most of them first."""
    seen = Counter(where for r in found if (where := getattr(r, "environment", None)))
    return [where for where, _ in seen.most_common()]


def _with_history(name: str, files: Sequence[tuple[Night, Path]], problems: list[str]) -> Machine:
    late = whole(files[-WINDOW:], problems)
    return Machine(
        name=name,
        environment=late[-1].night.environment,
        now=_state(late[-1]),
        before=_state(late[-2]) if len(late) > 1 else None,
        nights=[night for night, _ in files],
        curves=curves(files),
        alarms=alarms(late, latest=None) if len(late) > 1 else (),
    )


def _state(chronicle: Chronicle) -> State:
    night = chronicle.night
    return State.of(f"{night.date[:10]}, commit {night.commit[:10] or 'unknown'}", chronicle.records)


def workload_name(setting: Setting) -> str:
    """How a setting is called: `medium`, `medium backward float64`, `rows=1 n=1000`."""
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
    """The name that most operations were measured under; "" where nothing was."""
    seen: Counter[str] = Counter(workload_name(workload) for workload in state.contests)
    preferred = ("medium", "small", "large")
    return max(seen, key=lambda name: (seen[name], -preferred.index(name) if name in preferred else -9), default="")
