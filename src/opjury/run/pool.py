"""Calls in isolated worker processes: a hang or a crash ends one worker only."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.context
import multiprocessing.forkserver
import multiprocessing.spawn
import multiprocessing.util
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from pebble import ProcessExpired, ProcessPool

from opjury.model.device import lost, on_cuda
from opjury.model.registry import Impossible
from opjury.run.ship import Sent, register

MEMORY_LIMIT = 8 * 2**30  # bytes of private memory of a worker, beyond which allocating raises
RENEWED = 1000  # items after which a worker is replaced: cached cases add up to gigabytes
LOST = 71  # exit status of a worker in which an earlier item has lost the GPU

_launching, _keeping = threading.Lock(), threading.Lock()


class _Process(multiprocessing.context.ForkServerProcess):
    """A worker that does not import the caller's main module: scripts and notebooks need no `if __name__ == "__main__"`."""

    @staticmethod
    def _Popen(process: Any) -> Any:
        with _launching:  # one thread at a time replaces the function
            original = multiprocessing.spawn.get_preparation_data
            multiprocessing.spawn.get_preparation_data = lambda *given: {
                key: value for key, value in original(*given).items() if not key.startswith("init_main")
            }
            try:
                return multiprocessing.context.ForkServerProcess._Popen(process)
            finally:
                multiprocessing.spawn.get_preparation_data = original


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
    for stream in (1, 2):  # implementations may print, which does not belong in the report
        os.dup2(nowhere, stream)
    with contextlib.suppress(ImportError):  # only POSIX has it
        import resource

        if limited:
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))


def _keep_memory() -> None:
    """Ask glibc to keep freed memory: returning every large array costs a fifth of an audit's time in page faults."""
    import ctypes

    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    with contextlib.suppress(AttributeError, OSError):  # no glibc
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, 2**25)
        library.mallopt(trim_threshold, 2**27)


def _end_with_parent() -> None:
    """Have Linux end this process when its parent has ended in any way: a call may never return."""
    parent = multiprocessing.parent_process()
    with contextlib.suppress(ImportError, AttributeError, OSError):  # another system
        import fcntl

        if parent is not None:  # its sentinel is a pipe: closing the other end sends SIGIO, which ends this process
            fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, os.O_ASYNC)


@dataclass(frozen=True)
class Fallen:
    """In place of a result: the call crashed its process (`crashed`), or was ended at its time limit."""

    why: str
    crashed: bool = False


@dataclass(frozen=True)
class Dropped:
    """In place of a result: the workers that had the item ended, for a reason that may not be the item's."""

    why: str


def _unless_lost(call: Callable[[Any], Any], item: Any, declarations: Sequence[Sent] = ()) -> Any:
    """`call(item)`, with declarations of another process, unless an earlier item has lost the GPU."""
    if lost():
        os._exit(LOST)  # the item gets a new process
    register(declarations)
    return call(item)


def _declarations(item: Any, send: Callable[[str], Sent | None] = Sent.declarations) -> list[Sent]:
    """The declarations of an item's operations that no other process knows."""
    parts = item if isinstance(item, (tuple, list)) else [item]
    names = {part.operation for part in parts if hasattr(part, "operation")}
    return [sent for sent in map(send, names) if sent]


def isolated(
    call: Callable[[Any], Any],
    items: Sequence[Any],
    jobs: int,
    limit: Callable[[Any], float],
    *,
    fresh: bool = False,
    device: str = "cpu",
) -> Generator[tuple[Any, Any], None, None]:
    """Call each item in one of `jobs` worker processes, and yield it with the result or `Fallen`, in the order of completion.

    `limit` gives the seconds that an item may take. With `fresh` each item has a new process.

    Workers are forked from a server that has imported torch once, so that a new one costs milliseconds. An item whose process crashed
    is tried again in a new process, because an earlier item may have damaged the memory or the GPU's state. The server never uses a
    GPU, which cannot be used after a fork. Workers that use one have no memory limit, because CUDA reserves more than it needs.
    """
    crashed: list[Any] = []
    send = functools.cache(Sent.declarations)
    for batch, once in ((items, fresh), (crashed, True)):
        declarations = [_declarations(item, send) for item in batch]
        with _pool(jobs, device, once=once) as pool:
            try:
                waiting = {
                    pool.schedule(_unless_lost, args=[call, item, sent], timeout=limit(item)): item
                    for item, sent in zip(batch, declarations)
                }
                for future in as_completed(waiting):
                    item = waiting[future]
                    outcome = _outcome(future, limit(item))
                    if isinstance(outcome, Fallen) and outcome.crashed and not once:
                        crashed.append(item)
                    else:
                        yield item, outcome
            finally:
                pool.stop()


def _pool(jobs: int, device: str, *, once: bool = False) -> ProcessPool:
    """Worker processes, each for one item only with `once`."""
    if multiprocessing.parent_process() is not None:  # a dask worker under a nanny, which denies it children
        multiprocessing.current_process().daemon = False
    context = _Context()
    context.set_forkserver_preload(["torch", "scipy.sparse", "opjury.judge.preload"])
    asked = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"  # else a folder in the working directory could hide a package of its name
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if asked is not None:
            os.environ["PYTHONSAFEPATH"] = asked
    return ProcessPool(
        max_workers=jobs,
        max_tasks=1 if once else RENEWED,
        initializer=_start_worker,
        initargs=(not on_cuda(device),),
        context=context,
    )


def _outcome(future: Future[Any], limit: float) -> Any:
    """The result of a call, or `Fallen`."""
    try:
        return future.result()
    except TimeoutError:
        return Fallen(f"no answer within {limit:g} s; the process was ended")
    except ProcessExpired as error:
        how = f"signal {-error.exitcode}" if error.exitcode < 0 else f"exit status {error.exitcode}"
        return Fallen(f"the process was ended by the call ({how})", crashed=True)
    except BrokenProcessPool as error:
        raise Impossible("worker processes do not start; their standard error says why") from error


def kept(
    call: Callable[[Any], Any], item: Any, limit: float, *, jobs: int, device: str = "cpu", owner: str = ""
) -> Any:
    """`call(item)` as in `isolated`, from any thread, in `jobs` processes that stay for the next items of the same owner."""
    with _keeping:
        pool = _kept_pool(jobs, device, owner)
        if not pool.active:
            _kept_pool.cache_clear()
            pool = _kept_pool(jobs, device, owner)
    arguments = [call, item, _declarations(item)]
    outcome = _outcome(pool.schedule(_unless_lost, args=arguments, timeout=limit), limit)
    if isinstance(outcome, Fallen) and outcome.crashed:
        with _pool(1, device, once=True) as another:
            outcome = _outcome(another.schedule(_unless_lost, args=arguments, timeout=limit), limit)
    return outcome


@functools.cache
def _kept_pool(jobs: int, device: str, owner: str) -> ProcessPool:
    pool = _pool(jobs, device)

    def end() -> None:
        pool.stop()
        pool.join()

    # Without it a process that ends would wait for its children.
    multiprocessing.util.Finalize(None, end, exitpriority=100)
    return pool
