"""Where tasks run: here, or in isolated worker processes that a hang or a crash takes down alone."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import multiprocessing
import multiprocessing.context
import multiprocessing.popen_forkserver
import multiprocessing.spawn
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from opjury.records import Verdict
from opjury.verify.device import lost, on_cuda
from opjury.verify.judge import judge
from opjury.verify.task import PROFILES, Task, call_limit
from opjury.verify.trial import PATIENCE

MEMORY_LIMIT = 8 * 2**30  # bytes of private memory that a worker may have; beyond, allocating raises
LOST = 71  # exit status of a worker that an earlier item has lost the GPU


@dataclass(frozen=True)
class Function:
    """A plain function in a form that travels: by module and name where it can be imported, else by value."""

    name: str
    module: str = ""
    path: str = ""
    pickled: bytes = b""

    @staticmethod
    def of(function: Callable[..., Any]) -> Function:
        """Raises `TypeError` for what can be neither imported nor pickled."""
        name = getattr(function, "__qualname__", "")
        module = sys.modules.get(getattr(function, "__module__", "") or "")
        path = getattr(module, "__file__", None) or ""
        if module is not None and module.__name__ != "__main__" and path and _attribute(module, name) is function:
            return Function(name, module.__name__, os.path.abspath(path))
        try:
            import cloudpickle

            pickled = cloudpickle.dumps(function)
            pickle.loads(pickled)
        except Exception as error:
            raise TypeError(
                f"{name or function!r} cannot be sent to another process ({error}); define it in a module"
            ) from error
        return Function(name, pickled=pickled)

    def load(self) -> Callable[..., Any]:
        """The function itself, in whatever process this is."""
        if self.pickled:
            return pickle.loads(self.pickled)
        return _attribute(import_file(self.path, self.module), self.name)


@dataclass(frozen=True)
class Here:
    """A function that stays in this process."""

    function: Callable[..., Any]

    def load(self) -> Callable[..., Any]:
        """The function itself."""
        return self.function


def _attribute(module: Any, qualified: str) -> Any:
    for part in qualified.split("."):
        module = getattr(module, part, None)
    return module


def import_file(path: str, name: str = "") -> ModuleType:
    """The module at a path: the one imported already, by its name where that leads to the path, else from the file."""
    path = os.path.abspath(path)
    for module in list(sys.modules.values()):
        if (
            getattr(module, "__file__", None)
            and os.path.abspath(module.__file__ or "") == path
            and module.__name__ != "__main__"
        ):
            return module
    if name:
        try:
            module = importlib.import_module(name)
            if os.path.abspath(module.__file__ or "") == path:
                return module
        except ImportError:
            pass
    name = name or os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, os.path.dirname(path))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(os.path.dirname(path))
    return module


def imported(place: str) -> ModuleType:
    """The module at `path/to/file.py`, or of the name `package.module`."""
    return import_file(place) if place.endswith(".py") else importlib.import_module(place)


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


def _start_worker(threads: int, limited: bool) -> None:
    import signal
    import warnings

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the audit, which ends the workers
    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    _keep_memory()
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


def run_here(tasks: Sequence[Task]) -> Iterator[tuple[Task, Verdict]]:
    """Judge in this process, one after another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for task in tasks:
            yield task, judge(task)
    finally:
        torch.set_num_threads(before)


def run_isolated(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Verdict]]:
    """Judge in `jobs` worker processes; results come as they are done. A hang or a crash becomes a verdict."""
    device = next((task.device for task in tasks), "cpu")
    for task, outcome in isolated(judge, tasks, jobs, time_limit_of, device=device):
        yield task, _fallen(task, outcome.why) if isinstance(outcome, Fallen) else outcome


@dataclass(frozen=True)
class Fallen:
    """In place of the result of a call that took its process down, or had to be ended."""

    why: str


def _unless_lost(call: Callable[[Any], Any], item: Any) -> Any:
    """`call(item)`; where an earlier item has lost the GPU, the end of the process, so that this one gets another."""
    if lost():
        os._exit(LOST)
    return call(item)


def isolated(
    call: Callable[[Any], Any],
    items: Sequence[Any],
    jobs: int,
    limit: Callable[[Any], float],
    *,
    fresh: bool = False,
    device: str = "cpu",
) -> Iterator[tuple[Any, Any]]:
    """Each item with `call(item)`, or with what its process fell from, from `jobs` worker processes as they are done.

    With `fresh` each item has a process of its own.

    Workers are forked from a server that has imported torch once: a new one costs milliseconds. An item whose process crashed is
    tried again in a process of its own: an earlier item may have left the memory, or the GPU, in disorder. The server never
    uses a GPU, which cannot be used after a fork; those who do have no limit of memory, since CUDA reserves more than it needs.
    """
    from concurrent.futures import as_completed

    from pebble import ProcessExpired, ProcessPool

    context = _Context()
    context.set_forkserver_preload(["torch", "scipy.sparse", "opjury.preload"])
    options: dict[str, Any] = dict(
        max_workers=jobs, initializer=_start_worker, initargs=(1, not on_cuda(device)), context=context
    )
    crashed: list[Any] = []
    for batch, once_more in ((items, fresh), (crashed, True)):
        with ProcessPool(**options, max_tasks=1 if once_more else 0) as pool:
            try:
                waiting = {pool.schedule(_unless_lost, args=[call, item], timeout=limit(item)): item for item in batch}
                for future in as_completed(waiting):
                    item = waiting[future]
                    try:
                        yield item, future.result()
                    except FutureTimeout:
                        yield item, Fallen(f"no answer within {limit(item):g} s; the process was ended")
                    except ProcessExpired as error:
                        if once_more:
                            how = f"signal {-error.exitcode}" if error.exitcode < 0 else f"exit status {error.exitcode}"
                            yield item, Fallen(f"the process was ended by the call ({how})")
                        else:
                            crashed.append(item)
            finally:
                pool.stop()


def time_limit_of(task: Task) -> float:
    """Seconds for a whole task, far above what its calls and its shrinking may take, on a busy machine too."""
    profile = PROFILES[task.profile]
    return 60 + 3 * PATIENCE * call_limit(task) + 4 * profile.shrink + profile.examples


def _fallen(task: Task, message: str) -> Verdict:
    waiver = dict(task.waives).get(task.check)
    return Verdict(
        operation=task.operation,
        implementation=task.implementation,
        check=task.check,
        dtypes=task.dtypes,
        device=task.device,
        seed=task.seed,
        profile=task.profile,
        status="waived" if waiver else "refuted",
        examples=1,
        message=message,
    )
