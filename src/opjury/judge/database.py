"""Failing cases are kept, to be tried first the next time, in a local folder, and also on a server that machines share.

Each is kept as JSON. Write access to the server only lets someone choose cases: a case is tried only if the contract allows the call.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import platformdirs

from opjury.model import files
from opjury.model.case import Case
from opjury.model.modules import MissingExtra, require_extra

TIMEOUT = 0.5  # seconds for one answer
_PROMPT = 0.05  # seconds that an answer may take without counting as waiting
_WAITING = 2.0  # seconds that a process waits for a server in all
_LARGEST = 2**16  # bytes of a case that is kept
_KEPT_FOR = 8 * 24 * 3600  # seconds for which a server keeps the cases of a task that nobody adds to
SCHEMES = ("redis", "rediss", "unix")


def local_folder() -> str:
    """Where failing cases are kept unless told otherwise."""
    return str(Path(platformdirs.user_cache_dir("opjury")) / "examples")


def is_shared(database: str) -> bool:
    """Whether this is the address of a server."""
    return "://" in database


def usable(database: str) -> tuple[str, str]:
    """The database itself, or the local folder and why: a server cannot be used, or does not answer in time.

    Raises
    ------
    ValueError
        For an address of another kind.
    """
    if not is_shared(database):
        return database, ""
    if urlsplit(database).scheme not in SCHEMES:
        raise ValueError(
            f"{database} is not the address of a redis server; write redis://HOST:PORT/NUMBER, or a folder"
        )
    try:
        require_extra("team", "the address of a redis server")
    except MissingExtra as error:
        return local_folder(), str(error)
    answered = Server(database).attempt(lambda client: client.ping(), False)
    where = urlsplit(database).hostname or urlsplit(database).path
    return (database, "") if answered else (local_folder(), f"the redis server at {where} does not answer")


class KeptCases:
    """The failing cases of one task, by its names.

    Each is a file in a folder; iterating reads the files, and skips those that hold no case. Where the database is a server, the folder is
    the local one, and the server has them too.
    """

    def __init__(self, database: str, *names: str) -> None:
        shared = is_shared(database)
        self._folder = Path(local_folder() if shared else database).joinpath(*names)
        self._server = _server(database) if shared else None
        self._key = ":".join(("opjury", *names))

    def __iter__(self) -> Iterator[Case]:
        texts = {file.read_bytes() for file in self._folder.glob("*.json")}
        texts |= set(self._ask(lambda client: client.smembers(self._key), ()))
        for text in sorted(texts):
            try:
                yield Case.from_json(msgspec.json.decode(text))
            except Exception:  # of another version, or damaged
                continue

    def keep(self, case: Case) -> None:
        """Keep a case, unless it is large."""
        text = msgspec.json.encode(case.to_json())
        if len(text) > _LARGEST:
            return
        with contextlib.suppress(files.Unwritable):
            files.write_whole(self._file(text), text)
        self._ask(lambda client: client.sadd(self._key, text))
        self._ask(lambda client: client.expire(self._key, _KEPT_FOR))

    def forget(self, case: Case) -> None:
        """Keep a case no longer."""
        text = msgspec.json.encode(case.to_json())
        with contextlib.suppress(OSError):
            self._file(text).unlink()
        self._ask(lambda client: client.srem(self._key, text))

    def _file(self, text: bytes) -> Path:
        return self._folder / f"{hashlib.sha256(text).hexdigest()[:16]}.json"

    def _ask(self, call: Callable[[Any], Any], otherwise: Any = None) -> Any:
        return self._server.attempt(call, otherwise) if self._server else otherwise


class Server:
    """A redis server, which is not asked again after it has failed, or after this process has waited for it too long."""

    def __init__(self, address: str) -> None:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        timeouts: dict[str, Any] = dict(socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT)
        self.client = Redis.from_url(address, retry=Retry(NoBackoff(), 0), **timeouts)
        self.patience = _WAITING

    def attempt(self, call: Callable[[Any], Any], otherwise: Any) -> Any:
        """`call(client)`, or `otherwise` where the server fails."""
        from redis import RedisError

        if self.patience <= 0:
            return otherwise
        started = time.monotonic()
        try:
            return call(self.client)
        except (RedisError, OSError):
            self.patience = 0.0
            return otherwise
        finally:
            self.patience -= max(0.0, time.monotonic() - started - _PROMPT)


@functools.cache
def _server(address: str) -> Server:
    """One connection for all tasks of a process."""
    return Server(address)
