"""The history: a folder for each machine, in it a file for each night, written whole and never changed."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from opjury.model import records
from opjury.model.outcome import by_implementation, standing
from opjury.model.records import Alarm, Measurement, Night, Recommendation, Record, Standing, Verdict
from opjury.model.setting import Setting

FOLDER = Path("reports") / "history"


class Series(NamedTuple):
    """What is followed from night to night: one implementation in one setting."""

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
    """One night's records."""

    night: Night
    records: tuple[Record, ...]
    path: Path
    spoilt: tuple[str, ...] = ()  # the lines of the file that cannot be read, with the reason

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
        """The verdicts that are kept in full, those of negative controls excepted."""
        return [r for r in self.records if isinstance(r, Verdict) and not r.control]


@dataclass(frozen=True)
class History:
    """The nights of all machines, the oldest first."""

    nights: list[Chronicle]
    unreadable: list[str]  # files that do not begin with a night, with the reason

    @property
    def machines(self) -> list[str]:
        """The machines' names, the one with the latest night last."""
        return list(dict.fromkeys(c.night.machine for c in reversed(self.nights)))[::-1]

    def of(self, machine: str) -> list[Chronicle]:
        """One machine's nights, the oldest first."""
        return [c for c in self.nights if c.night.machine == machine]


def read_history(folder: Path | str = FOLDER) -> History:
    """All nights in a folder that can be read."""
    unreadable: list[str] = []
    return History([chronicle(path) for _, path in files(folder, unreadable)], unreadable)


def files(folder: Path | str, unreadable: list[str]) -> list[tuple[Night, Path]]:
    """The nights in a folder with their files, the oldest first. Files that do not begin with a night are added to `unreadable`."""
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
        For a file that does not begin with a night.
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
    """The night in the first line of a file."""
    night = records.decode(first)
    if not isinstance(night, Night):
        raise ValueError("does not begin with a night")
    return night


def latest(machine: str, count: int, folder: Path | str = FOLDER) -> list[Chronicle]:
    """One machine's last nights, the oldest first. Files that cannot be read are left out."""
    return [chronicle(path) for _, path in files(Path(folder) / file_name(machine), [])[-count:]]


def machines(folder: Path | str = FOLDER) -> list[str]:
    """The folder names of the machines that have a history."""
    return sorted({path.parent.name for path in Path(folder).glob("*/*.jsonl")})


def add_night(night: Night, found: Iterable[Record], folder: Path | str = FOLDER) -> Path:
    """Write one night, with its verdicts in short, and return the file's path."""
    path = path_of(night, folder)
    if path.exists():
        raise FileExistsError(f"{path} is there already; a history is never changed")
    kept = [r if isinstance(r, Standing) else msgspec.structs.replace(r, environment=None) for r in in_short(found)]
    records.write(path, [night, *kept])
    return path


def path_of(night: Night, folder: Path | str = FOLDER) -> Path:
    """`reports/history/MACHINE/DATE-COMMIT.jsonl`"""
    stamp = night.date.replace(":", "").replace("-", "").partition(".")[0].partition("+")[0]
    return Path(folder) / file_name(night.machine) / f"{stamp}Z-{night.commit[:10] or 'no-commit'}.jsonl"


def file_name(machine: str) -> str:
    """The name of a machine's folder."""
    return re.sub(r"[^\w.-]+", "_", machine).strip("._") or "machine"


def in_short(found: Iterable[Record]) -> Iterator[Record]:
    """The same records with a standing in place of each implementation's verdicts.

    Verdicts "refuted" and "error" are kept, unless they are of a negative control. Of those that refute a control the shortest is
    kept, which shows what is wrong with it.
    """
    verdicts = []
    for record in found:
        if isinstance(record, Verdict):
            verdicts.append(record)
            if record.control or record.status not in ("refuted", "error"):
                continue
        yield record
    for mine in by_implementation(verdicts):
        telling = [v for v in mine if v.control and v.status == "refuted" and not v.cause and v.counterexample]
        if telling:
            yield min(telling, key=lambda v: len(records.encode(v)))
        yield standing(mine)
