"""Calls in isolated worker processes, which a hang or a crash takes down alone."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.popen_forkserver
import multiprocessing.spawn
import multiprocessing.util
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opjury.model.device import lost, on_cuda
from opjury.model.registry import Impossible
from opjury.run.ship import Sent, register

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pebble import ProcessPool

MEMORY_LIMIT = 8 * 2**30  # bytes of private memory that a worker may have; beyond, allocating raises
RENEWED = 1000  # items after which another process takes over: cases that are kept add up to gigabytes
LOST = 71  # exit status of a worker that an earlier item has lost the GPU


class _Process(multiprocessing.context.ForkServerProcess):
    """A worker that does not import the caller's main module: scripts and notebooks need no `if __name__ == "__main__"`."""

    @staticmethod
    def _Popen(process: Any) -> Any:
        class Popen(multiprocessing.popen_forkserver.Popen):
            def _launch(self, started: Any) -> None:
                with _lock:
                    original = multiprocessing.spawn.get_preparation_data

                    def without_main(name: str, *rest: Any) -> dict[str, Any]:
                        return {k: v for k, v in original(name, *rest).items() if not k.startswith("init_main")}

                    multiprocessing.spawn.get_preparation_data = without_main
                    try:
                        super()._launch(started)  # type: ignore[misc]
                    finally:
                        multiprocessing.spawn.get_preparation_data = original

        return Popen(process)


_lock = threading.Lock()


class _Context(multiprocessing.context.ForkServerContext):
    Process = _Process


def _start_worker(limited: bool) -> None:
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the audit, which ends the workers
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    _keep_memory()
    _end_with_parent()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what implementations print is no part of the report
        os.dup2(nowhere, stream)
    with contextlib.suppress(ImportError):  # only POSIX has it
        import resource

        if limited:
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))


def _keep_memory() -> None:
    """Ask glibc to keep what is freed: giving every large array back costs a fifth of an audit in page faults."""
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(AttributeError, OSError):  # no glibc
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, 2**25)
        library.mallopt(trim_threshold, 2**27)


def _end_with_parent() -> None:
    """Have Linux end this process when the one that gives it work is gone, however it went: a call may never return."""
    parent = multiprocessing.parent_process()
    with contextlib.suppress(ImportError, AttributeError, OSError):  # another system
        import fcntl

        if parent is not None:  # its sentinel is a pipe: when the other end is closed comes SIGIO, which ends a process
            fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, os.O_ASYNC)


@dataclass(frozen=True)
class Fallen:
    """In place of the result of a call that took its process down (`crashed`), or had to be ended."""

    why: str
    crashed: bool = False


@dataclass(frozen=True)
class Dropped:
    """In place of a result: those who were to make it ended, for no fault of the item's that is known."""

    why: str


def _unless_lost(call: Callable[[Any], Any], item: Any, declarations: Sequence[Sent] = ()) -> Any:
    """`call(item)`, beside declarations of another process.

    Where an earlier item has lost the GPU, the process ends, so that this item gets another one.
    """
    if lost():
        os._exit(LOST)
    register(declarations)
    return call(item)


def _declarations(items: Sequence[Any]) -> Callable[[Any], list[Sent]]:
    """What goes to a worker with each item: the declarations of its operations that no other process knows."""

    def operations_of(item: Any) -> set[str]:
        parts = item if isinstance(item, (tuple, list)) else [item]
        return {part.operation for part in parts if hasattr(part, "operation")}

    names = {name for item in items for name in operations_of(item)}
    sent = {name: found for name in names if (found := Sent.declarations(name))}
    return lambda item: [sent[name] for name in operations_of(item) if name in sent]


def isolated(
    call: Callable[[Any], Any],
    items: Sequence[Any],
    jobs: int,
    limit: Callable[[Any], float],
    *,
    fresh: bool = False,
    device: str = "cpu",
) -> Generator[tuple[Any, Any], None, None]:
    """Each item with `call(item)`, or with what its process fell from, from `jobs` worker processes as they are done.

    With `fresh` each item has a process of its own.

    Workers are forked from a server that has imported torch once: a new one costs milliseconds. An item whose process crashed is
    tried again in a process of its own: an earlier item may have left the memory, or the GPU, in disorder. The server never
    uses a GPU, which cannot be used after a fork; those who do have no limit of memory, since CUDA reserves more than it needs.
    """
    from concurrent.futures import as_completed

    crashed: list[Any] = []
    declarations = _declarations(items)
    for batch, once_more in ((items, fresh), (crashed, True)):
        with _pool(jobs, device, once=once_more) as pool:
            try:
                waiting = {
                    pool.schedule(_unless_lost, args=[call, item, declarations(item)], timeout=limit(item)): item
                    for item in batch
                }
                for future in as_completed(waiting):
                    item = waiting[future]
                    outcome = _outcome(future, limit(item))
                    if isinstance(outcome, Fallen) and outcome.crashed and not once_more:
                        crashed.append(item)
                    else:
                        yield item, outcome
            finally:
                pool.stop()


def _pool(jobs: int, device: str, *, once: bool = False) -> ProcessPool:
    """Worker processes; with `once` each does one item."""
    from pebble import ProcessPool

    if multiprocessing.parent_process() is not None:  # a dask worker under a nanny, which denies it children
        multiprocessing.current_process().daemon = False
    context = _Context()
    context.set_forkserver_preload(["torch", "scipy.sparse", "opjury.judge.preload"])
    _start_server()
    return ProcessPool(
        max_workers=jobs,
        max_tasks=1 if once else RENEWED,
        initializer=_start_worker,
        initargs=(not on_cuda(device),),
        context=context,
    )


def _start_server() -> None:
    """Start the server that workers are forked from, so that a folder of a package's name, where it is started, does not hide the package."""
    asked = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        if asked is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = asked


def _outcome(future: Future[Any], limit: float) -> Any:
    """What a call came to."""
    from concurrent.futures.process import BrokenProcessPool

    from pebble import ProcessExpired

    try:
        return future.result()
    except FutureTimeout:
        return Fallen(f"no answer within {limit:g} s; the process was ended")
    except ProcessExpired as error:
        how = f"signal {-error.exitcode}" if error.exitcode < 0 else f"exit status {error.exitcode}"
        return Fallen(f"the process was ended by the call ({how})", crashed=True)
    except BrokenProcessPool as error:
        why = "worker processes do not start; what they wrote to the standard error says why"
        raise Impossible(why) from error


def kept(
    call: Callable[[Any], Any], item: Any, limit: float, *, jobs: int, device: str = "cpu", owner: str = ""
) -> Any:
    """`call(item)` as `isolated` does it, in `jobs` processes that stay for the owner's next items; from any thread."""
    with _keeping:
        pool = _kept_pool(jobs, device, owner)
        if not pool.active:
            _kept_pool.cache_clear()
            pool = _kept_pool(jobs, device, owner)
    arguments = [call, item, _declarations([item])(item)]
    outcome = _outcome(pool.schedule(_unless_lost, args=arguments, timeout=limit), limit)
    if isinstance(outcome, Fallen) and outcome.crashed:
        with _pool(1, device, once=True) as another:
            outcome = _outcome(another.schedule(_unless_lost, args=arguments, timeout=limit), limit)
    return outcome


_keeping = threading.Lock()


@functools.cache
def _kept_pool(jobs: int, device: str, owner: str) -> ProcessPool:
    pool = _pool(jobs, device)

    def end() -> None:
        pool.stop()
        pool.join()

    multiprocessing.util.Finalize(None, end, exitpriority=100)  # else a process that ends would wait for its children
    return pool
