"""Where failing cases are kept to be tried first the next time: a folder here, and besides it a server that machines share.

What is kept are hypothesis's choices, numbers and texts from which a case is drawn anew: whoever writes to the server chooses cases,
and can make nothing else be done.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs
from hypothesis.database import DirectoryBasedExampleDatabase, ExampleDatabase, MultiplexedDatabase

TIMEOUT = 0.5  # seconds for one answer
_PROMPT = 0.05  # seconds that an answer may take without counting as waiting
_WAITING = 2.0  # seconds that a process waits for a server in all
SCHEMES = ("redis", "rediss", "unix")


def local_folder() -> str:
    """Where failing cases are kept unless told otherwise."""
    return str(Path(platformdirs.user_cache_dir("opjury")) / "examples")


def is_shared(database: str) -> bool:
    """Whether this is the address of a server."""
    return "://" in database


def usable(database: str) -> tuple[str, str]:
    """The same, or the local folder and why: a server that cannot be used, or does not answer in time.

    Raises
    ------
    ValueError
        For an address of another kind.
    """
    if not is_shared(database):
        return database, ""
    if urlsplit(database).scheme not in SCHEMES:
        raise ValueError(f"{database} is no address of a redis server; write redis://HOST:PORT/NUMBER, or a folder")
    try:
        answered = Server(database).attempt(lambda client: client.ping(), False)
    except ImportError:
        return local_folder(), "the address of a redis server needs redis: pip install 'opjury[team]'"
    where = urlsplit(database).hostname or urlsplit(database).path
    return (database, "") if answered else (local_folder(), f"the redis server at {where} does not answer")


def kept_in(database: str, *names: str) -> ExampleDatabase:
    """The failing cases of one task, by its names."""
    local = DirectoryBasedExampleDatabase(_folder(database, names))
    if not is_shared(database):
        return local
    return MultiplexedDatabase(local, _Shared(_server(database), ":".join(("opjury", *names, ""))))


def may_hold(database: str, *names: str) -> bool:
    """Whether it is worth to look for failing cases there."""
    return is_shared(database) or _folder(database, names).exists()


def _folder(database: str, names: tuple[str, ...]) -> Path:
    return Path(local_folder() if is_shared(database) else database).joinpath(*names)


class Server:
    """A redis server, which is given up for good when it fails, or when this process has waited for it too long."""

    def __init__(self, address: str) -> None:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        timeouts: dict[str, Any] = dict(socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT)
        self.client = Redis.from_url(address, retry=Retry(NoBackoff(), 0), **timeouts)
        self.patience = _WAITING

    def attempt(self, call: Callable[[Any], Any], otherwise: Any) -> Any:
        """`call(client)`, or something else where the server does not do it."""
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


class _Shared(ExampleDatabase):
    """Hypothesis's redis database, on a server that may be gone."""

    def __init__(self, server: Server, prefix: str) -> None:
        from hypothesis.extra.redis import RedisExampleDatabase

        super().__init__()
        self._server = server
        self._inner = RedisExampleDatabase(server.client, key_prefix=prefix.encode())

    def fetch(self, key: bytes) -> Iterable[bytes]:
        """What is kept under a key; nothing where the server is gone."""
        return self._server.attempt(lambda client: list(self._inner.fetch(key)), [])

    def save(self, key: bytes, value: bytes) -> None:
        """Keep one more."""
        self._server.attempt(lambda client: self._inner.save(key, value), None)

    def delete(self, key: bytes, value: bytes) -> None:
        """Forget one."""
        self._server.attempt(lambda client: self._inner.delete(key, value), None)

    def move(self, src: bytes, dest: bytes, value: bytes) -> None:
        """Keep one under another key."""
        self._server.attempt(lambda client: self._inner.move(src, dest, value), None)
