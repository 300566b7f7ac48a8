"""A journal: records on disk as soon as they are there, so that a run that was ended, by whatever, goes on where it stood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from opjury.model import files, records
from opjury.model.records import Record


def left_in(path: Path) -> list[Record]:
    """What an earlier run left; a line cut short, and what follows it, is left out."""
    found: list[Record] = []
    with files.writing(path):
        lines = path.read_bytes().splitlines() if path.exists() else []
    for line in lines:
        try:
            found.append(records.decode(line))
        except ValueError:
            break
    return found


class Journal:
    """The records of an unfinished run.

    Parameters
    ----------
    path : Path
    fits : callable
        Called with the records of an earlier run; those that it returns are kept.
    """

    def __init__(self, path: Path, fits: Callable[[list[Record]], list[Record]]) -> None:
        self.path = path
        self.kept = fits(left_in(path))
        records.write(path, self.kept)

    def add(self, found: Sequence[Record]) -> None:
        """Keep some more."""
        with files.writing(self.path), self.path.open("ab") as stream:
            stream.write(b"".join(records.encode(record) + b"\n" for record in found))
        self.kept += found

    def end(self) -> None:
        """The run is finished, and what it found is kept elsewhere."""
        self.path.unlink(missing_ok=True)
