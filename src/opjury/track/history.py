"""The history: a folder for each machine, in it a file for each night, written whole and never changed."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from opjury.model import records
from opjury.model.outcome import by_implementation, standing
from opjury.model.records import Alarm, Measurement, Night, Recommendation, Record, Standing, Verdict
from opjury.model.setting import Setting

FOLDER = Path("reports") / "history"


class Series(NamedTuple):
    """What stays the same from night to night: one implementation in one setting."""

    setting: Setting
    implementation: str

    @staticmethod
    def of(record: Measurement | Alarm) -> Series:
        """The series that a record belongs to."""
        return Series(record.setting, record.implementation)

    @property
    def name(self) -> str:
        """`operation:implementation`"""
        return f"{self.setting.operation}:{self.implementation}"


@dataclass(frozen=True)
class Chronicle:
    """One night's records.

    Parameters
    ----------
    night : Night
    records : tuple of Record
    path : Path
    spoilt : tuple of str
        What could not be read of the file, line by line.
    """

    night: Night
    records: tuple[Record, ...]
    path: Path
    spoilt: tuple[str, ...] = ()

    @functools.cached_property
    def measurements(self) -> dict[Series, Measurement]:
        """By series."""
        return {Series.of(r): r for r in self.records if isinstance(r, Measurement)}

    @functools.cached_property
    def recommendations(self) -> dict[Setting, Recommendation]:
        """By setting."""
        return {r.setting: r for r in self.records if isinstance(r, Recommendation)}

    @functools.cached_property
    def standings(self) -> dict[tuple[str, str], Standing]:
        """By the implementation's full name and the device."""
        return {(r.name, r.device): r for r in self.records if isinstance(r, Standing)}

    @functools.cached_property
    def refutations(self) -> list[Verdict]:
        """Of those that should hold up, in full."""
        return [r for r in self.records if isinstance(r, Verdict) and not r.control]


@dataclass
class History:
    """The nights of all machines, the oldest first.

    Parameters
    ----------
    nights : list of Chronicle
    unreadable : list of str
        Files that are no history, with the reason.
    """

    nights: list[Chronicle] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def machines(self) -> list[str]:
        """Their names, that of the latest night last."""
        return list(dict.fromkeys(c.night.machine for c in reversed(self.nights)))[::-1]

    def of(self, machine: str) -> list[Chronicle]:
        """One machine's nights, the oldest first."""
        return [c for c in self.nights if c.night.machine == machine]


def read_history(folder: Path | str = FOLDER) -> History:
    """Everything in a folder of the history; what cannot be read is named, the rest is there."""
    unreadable: list[str] = []
    return History([chronicle(path) for _, path in files(folder, unreadable)], unreadable)


def files(folder: Path | str, unreadable: list[str]) -> list[tuple[Night, Path]]:
    """The nights in a folder with their files, the oldest first; those that are no history are named, with the reason."""
    found = []
    for path in sorted(Path(folder).rglob("[!.]*.jsonl")):
        try:
            with path.open("rb") as stream:
                found.append((_night(stream.readline()), path))
        except (OSError, ValueError) as error:
            unreadable.append(f"{path}: {error}")
    return sorted(found, key=lambda pair: pair[0].date)


def chronicle(path: Path) -> Chronicle:
    """One night's file.

    Raises
    ------
    ValueError
        Where it does not begin with a night.
    """
    first, *rest = path.read_bytes().splitlines() or [b""]
    night = _night(first)
    decode, kept, spoilt = msgspec.json.Decoder(Record, strict=False).decode, [], []
    for number, line in enumerate(rest, start=2):
        try:
            kept.append(records.upgraded(decode(line)))
        except msgspec.MsgspecError as error:
            spoilt.append(f"{path}, line {number}: {error}")
    return Chronicle(night, tuple(kept), path, tuple(spoilt))


def _night(first: bytes) -> Night:
    """What a file of the history begins with."""
    night = records.decode(first)
    if not isinstance(night, Night):
        raise ValueError("does not begin with a night")
    return night


def latest(machine: str, count: int, folder: Path | str = FOLDER) -> list[Chronicle]:
    """One machine's last nights, the oldest first, as far as they can be read."""
    return [chronicle(path) for _, path in files(Path(folder) / file_name(machine), [])[-count:]]


def machines(folder: Path | str = FOLDER) -> list[str]:
    """The names of those that have a history, without reading it."""
    return (
        sorted(path.name for path in Path(folder).iterdir() if any(path.glob("*.jsonl")))
        if Path(folder).is_dir()
        else []
    )


def add_night(night: Night, found: Iterable[Record], folder: Path | str = FOLDER) -> Path:
    """Write one night; its path. Verdicts are kept in short, those that tell what is wrong in full, too."""
    path = path_of(night, folder)
    if path.exists():
        raise FileExistsError(f"{path} is there already; a history is never changed")
    records.write(path, [night, *map(_without_environment, in_short(found))])
    return path


def path_of(night: Night, folder: Path | str = FOLDER) -> Path:
    """`reports/history/MACHINE/DATE-COMMIT.jsonl`"""
    stamp = night.date.replace(":", "").replace("-", "").partition(".")[0].partition("+")[0]
    return Path(folder) / file_name(night.machine) / f"{stamp}Z-{night.commit[:10] or 'no-commit'}.jsonl"


def file_name(machine: str) -> str:
    """A machine's name as that of a folder."""
    return re.sub(r"[^\w.-]+", "_", machine).strip("._") or "machine"


def in_short(found: Iterable[Record]) -> Iterator[Record]:
    """The same with a standing in place of each implementation's verdicts.

    What refutes an implementation that should hold up stays, and what could not be judged. Of what refutes a control the shortest
    stays, which shows what is wrong with it.
    """
    verdicts = []
    for record in found:
        if isinstance(record, Verdict):
            verdicts.append(record)
            if record.status in ("refuted", "error") and not record.control:
                yield record
        else:
            yield record
    for mine in by_implementation(verdicts):
        telling = [v for v in mine if v.control and v.status == "refuted" and not v.cause and v.counterexample]
        if telling:
            yield min(telling, key=lambda v: len(records.encode(v)))
        yield standing(mine)


def _without_environment(record: Record) -> Record:
    return record if isinstance(record, (Night, Standing)) else msgspec.structs.replace(record, environment=None)
