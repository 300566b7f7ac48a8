"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


class Unwritable(OSError):
    """A file cannot be written, for the reason in the message."""


@contextlib.contextmanager
def writing(path: Path | str) -> Iterator[None]:
    """Raise errors of the file system as `Unwritable`."""
    try:
        yield
    except OSError as error:
        what = f" ({error.filename})" if error.filename else ""
        raise Unwritable(f"{path} cannot be written: {error.strerror or error}{what}") from error


def write_whole(path: Path | str, content: bytes) -> None:
    """Write a file whole or not at all (raises `Unwritable`)."""
    target = Path(path)
    with writing(path):
        target.parent.mkdir(parents=True, exist_ok=True)
        # A new file that is renamed over the old one: the old one stays if writing fails.
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(beside, 0o644)
            os.replace(beside, target)
        except BaseException:
            os.unlink(beside)
            raise
