"""Running tasks on a dask cluster, whose workers judge in isolated processes as `opjury.judge.judge.run_isolated` does here."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import pickle
import socket
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opjury.judge.task import implementation_of
from opjury.model import declared, registry
from opjury.model.environment import environment
from opjury.model.modules import require_extra
from opjury.model.registry import Impossible
from opjury.run.pool import Dropped, Fallen, kept
from opjury.run.ship import Function, Sent, register

if TYPE_CHECKING:
    from distributed import Client, Future

    from opjury.judge.task import Task
    from opjury.model.records import Verdict

CONNECT = 5.0  # seconds to reach the scheduler, and to see a worker
WORKERLESS = 60.0  # seconds without a suitable worker after which the cluster is lost
TOGETHER = 16  # judgements in a parcel, because a scheduler needs milliseconds for each parcel
CROWD = 256  # threads above which parcels grow, so that parcels a second do not grow with the cluster
PARTS = 12  # least number of parcels for each thread, so that all threads end at about the same time
BATCH = 3  # parcels for each thread that are sent at a time; dask would not queue fewer
IN_FLIGHT = 3 * BATCH  # parcels for each thread that wait or run: the scheduler's work and memory grow with them
WATCH = 2.0  # seconds between counts of the workers
LOADING = 120.0  # seconds in which a worker has to import torch and all declarations
JUDGING = {"cuda": {"gpu": 1.0}}  # resources that workers have to offer, by the kind of device
MEASURING = {"cpu": {"measure": 1.0}, "cuda": {"gpu": 1.0}}

Call = Callable[[Any], Any]


class Lost(Impossible):
    """The cluster was lost during the audit. The results so far are complete."""


@dataclass(frozen=True)
class Unfit:
    """In place of a result: why the worker cannot do its task, or the worker's versions if they differ."""

    why: str = ""
    versions: Mapping[str, str] | None = None

    def message(self, worker: str) -> str:
        """The reason in words, with the worker's address."""
        if self.versions is None:
            return f"{worker}: {self.why}"
        pairs = {name: (theirs, versions().get(name, "absent")) for name, theirs in self.versions.items()}
        others = [f"{name} {theirs}, here {ours}" for name, (theirs, ours) in pairs.items() if theirs != ours]
        return f"{worker} has {'; '.join(others)}"


def run_on_cluster(
    tasks: Sequence[Task], address: str, *, mixed: bool = False, notify: Callable[[int], None] = lambda workers: None
) -> Iterator[tuple[Task, Verdict]]:
    """Judge on the workers of the scheduler at an address, in place of `opjury.judge.judge.run_isolated`.

    Results come as they are done. A task whose worker ends is judged again by another worker. With `mixed`, workers may have other
    versions than this machine. `notify` is called with the number of workers.

    Raises
    ------
    Impossible
        Before anything is judged: there is no scheduler or no worker, a worker has other versions or lacks an implementation, or
        no worker offers the resource. `Lost` later: the scheduler or all workers have ended.
    """
    from opjury.judge.judge import verdict_of

    if not tasks:
        return
    device = tasks[0].device.partition(":")[0]
    needs = list(dict.fromkeys(replace(task, check="agreement", dtypes=(), waives=()) for task in tasks))
    with connected(address, mixed=mixed, notify=notify, operations={task.operation for task in tasks}) as cluster:
        cluster.check(needs)
        for task, outcome in cluster.each(_judge, tasks, JUDGING.get(device, {}), together=TOGETHER):
            yield task, verdict_of(task, outcome)


def run_there(
    call: Callable[..., Any],
    arguments: Mapping[str, Any],
    functions: Sequence[Callable[..., Any]],
    address: str,
    *,
    device: str = "cpu",
    mixed: bool = False,
) -> Any:
    """`call(**arguments, functions=functions)` on a worker that offers to measure, so that nothing else runs on its machine or GPU.

    Raises
    ------
    Impossible
        As `run_on_cluster`; the errors of the call are raised, too.
    TypeError
        For a function that cannot be sent.
    """
    item = (call, dict(arguments), [Function.to_send(function) for function in functions])
    with connected(address, mixed=mixed, operations=[arguments["operation"]]) as cluster:
        cluster.check()
        ((_, outcome),) = cluster.each(_apply, [item], MEASURING[device.partition(":")[0]])
    if isinstance(outcome, Dropped):
        raise Lost(outcome.why)
    return outcome


@contextlib.contextmanager
def connected(
    address: str,
    *,
    mixed: bool = False,
    notify: Callable[[int], None] = lambda workers: None,
    operations: Iterable[str] = (),
) -> Iterator[Cluster]:
    """The cluster of a scheduler until the end of the block. Workers get the declarations of the operations that only this process has."""
    declarations = [sent for name in operations if (sent := Sent.declarations(name))]
    require_extra("cluster", "a cluster")
    from distributed import Client
    from distributed.comm import get_address_host_port

    try:
        socket.create_connection(get_address_host_port(address, strict=True), timeout=CONNECT).close()
        client = Client(address, timeout=CONNECT, set_as_default=False, name="opjury")
    except (OSError, ValueError) as error:
        raise Impossible(f"no dask scheduler answers at {address}: {error}") from None
    try:
        yield Cluster(client, address, "" if mixed else mark(), notify, declarations)
    finally:
        with contextlib.suppress(Exception):  # a scheduler that is gone cannot be told
            client.close(timeout=CONNECT)


@dataclass(eq=False)
class Cluster:
    """The workers of one scheduler."""

    client: Client
    address: str
    expected: str  # the mark of the versions that workers must have; "" for any
    notify: Callable[[int], None]  # called with the number of workers whenever they are counted
    declarations: Sequence[Sent]  # what workers register before anything else

    def __post_init__(self) -> None:
        # It changes when another scheduler answers, or when this one has forgotten the client.
        self.stream = self.client.scheduler_comm

    def check(self, needs: Sequence[Task] = ()) -> None:
        """Raise `Impossible` unless there are workers, all with the right versions and able to judge such tasks."""
        try:
            self.client.run_on_scheduler(mark)
        except ImportError as error:
            raise Impossible(f"the scheduler at {self.address} cannot import opjury: {error}") from None
        except OSError as error:
            raise Lost(f"the scheduler at {self.address} does not answer any more: {error}") from None
        deadline = time.monotonic() + CONNECT
        while not self.threads():
            if time.monotonic() > deadline:
                command = f"dask worker {self.address}"
                raise Impossible(f"the scheduler at {self.address} has no workers; start one: {command}")
            time.sleep(0.05)
        answers = self.client.run(_fitness, self.expected, pickle.dumps((needs, self.declarations)), on_error="return")
        faults = [fault for worker, answer in answers.items() if (fault := _fault(worker, answer))]
        if faults:
            more = [f"and {len(faults) - 5} more"] if len(faults) > 5 else []
            raise Impossible("; ".join([*faults[:5], *more]))

    def threads(self, resources: Mapping[str, float] | None = None) -> int:
        """The number of threads of the workers that offer these resources."""
        if self.client.scheduler_comm is not self.stream:
            raise Lost(f"the scheduler at {self.address} has ended or was restarted")
        try:
            threads: dict[str, int] = self.client.nthreads()
            known = self.client.scheduler_info(n_workers=-1)["workers"] if resources else {}
        except OSError as error:
            raise Lost(f"the scheduler at {self.address} does not answer any more: {error}") from None
        self.notify(len(threads))
        if not resources:
            return sum(threads.values())
        offers = {worker: known[worker]["resources"] for worker in threads if worker in known}
        able = (w for w in offers if all(offers[w].get(name, 0) >= need for name, need in resources.items()))
        return sum(threads[worker] for worker in able)

    def each(
        self, call: Call, items: Sequence[Any], resources: Mapping[str, float] | None = None, *, together: int = 1
    ) -> Iterator[tuple[Any, Any]]:
        """Each item with `call(item)`, or with `Dropped`, from the workers that offer the resources, as they are done.

        A parcel has up to `together` items, in proportion more above `CROWD` threads, if that leaves enough parcels for all.
        """
        from distributed import as_completed

        threads = self.threads(resources)
        if not threads:
            named = " ".join(f"{name}={amount:g}" for name, amount in (resources or {}).items())
            command = f"dask worker {self.address} --resources {named}"
            raise Impossible(f"no worker of {self.address} offers the resource {named}; start one: {command}")
        done = as_completed(loop=self.client.loop, with_results=True, raise_errors=False)
        size = max(1, min(together * max(threads, CROWD) // CROWD, len(items) // (PARTS * threads)))
        rest = deque(items[first : first + size] for first in range(0, len(items), size))
        waiting: dict[Future, Sequence[Any]] = {}
        asked = seen = time.monotonic()
        while rest or waiting:
            if rest and len(waiting) <= (IN_FLIGHT - BATCH) * threads:
                parcels = [rest.popleft() for _ in range(min(len(rest), BATCH * threads))]
                sent = self._sent(call, parcels, resources)
                waiting |= dict(zip(sent, parcels))
                done.update(sent)
                del sent
            ready = done.next_batch(block=False)
            while ready:
                future, result = ready.pop()
                parcel, outcomes = waiting.pop(future), self._received(future, result)
                if isinstance(outcomes, list):
                    yield from zip(parcel, outcomes)
                elif len(parcel) > 1:  # workers ended with it: each item is tried by itself, to find the one at fault
                    rest.extendleft([item] for item in parcel)
                else:
                    yield parcel[0], outcomes
            if not done.has_ready():
                time.sleep(0.01)
            if time.monotonic() - asked > WATCH:
                asked, able = time.monotonic(), self.threads(resources)
                threads, seen = (able, asked) if able else (threads, seen)
                if asked - seen > WORKERLESS:
                    raise Lost(f"the scheduler at {self.address} has had no suitable worker for {WORKERLESS:g} s")

    def _sent(self, call: Call, parcels: Sequence[Any], resources: Mapping[str, float] | None) -> list[Future]:
        name = uuid.uuid4().hex
        calls = [(self.expected, pickle.dumps((call, parcel, self.declarations))) for parcel in parcels]
        keys = [f"opjury-{name}-{number}" for number in range(len(calls))]
        return self.client.map(_serve, calls, key=keys, pure=False, resources=dict(resources or {}) or None)

    def _received(self, future: Future, result: Any) -> Any:
        """The outcomes of a parcel, or `Dropped`. `Lost` for a future that the scheduler has forgotten."""
        from distributed import KilledWorker

        if future.status == "finished":
            worker, outcomes = pickle.loads(result)
            for outcome in outcomes:
                if isinstance(outcome, Unfit):
                    raise Impossible(outcome.message(worker))
            return outcomes
        if future.status == "error":
            _, error, _ = result
            if isinstance(error, KilledWorker):
                return Dropped(f"{error.allowed_failures + 1} workers ended, one after another, during this task")
            if isinstance(error, ValueError):  # `UnknownName` or `Impossible`, raised by the call
                raise error
            raise Impossible(f"a worker of {self.address} failed: {type(error).__name__}: {error}") from error
        raise Lost(f"the scheduler at {self.address} has ended or was restarted")


def _serve(given: tuple[str, bytes]) -> bytes:
    """On a worker: its address and the outcomes of the calls, made one after another if the versions are as expected."""
    from distributed import get_worker

    expected, pickled = given
    worker = get_worker().address
    if expected not in ("", mark()):
        return pickle.dumps((worker, [Unfit(versions=versions())]))
    call, parcel, declarations = pickle.loads(pickled)
    register(declarations)
    return pickle.dumps((worker, [call(item) for item in parcel]))


def _apply(given: tuple[Callable[..., Any], Mapping[str, Any], Sequence[Function]]) -> Any:
    """On a worker: a call that does its own isolation."""
    call, arguments, functions = given
    return call(**arguments, functions=[function.load() for function in functions])


def _judge(task: Task) -> Verdict | Unfit:
    """On a worker: judge in another process."""
    from distributed import get_worker

    from opjury.judge.judge import time_limit_of, verdict_of

    outcome = _kept(_judged, task, time_limit_of(task), task.device, get_worker())
    return outcome if isinstance(outcome, Unfit) else verdict_of(task, outcome)


def _judged(task: Task) -> Verdict | Unfit:
    from opjury.judge.judge import judge

    return _lacking([task]) or judge(task)


def _lacking(needs: Sequence[Task]) -> Unfit | None:
    """The first implementation that tasks need and that cannot be loaded here."""
    for task in needs:
        try:
            registry.operation(task.operation)
            implementation_of(task)
        except Exception as error:
            what = f"{task.operation}:{task.implementation}"
            return Unfit(f"{what} cannot be loaded there: {type(error).__name__}: {error}")
    return None


async def _fitness(expected: str, needs: bytes, dask_worker: Any = None) -> Any:
    """On a worker: why it cannot judge such tasks, or None."""
    return await asyncio.to_thread(_unfit, expected, needs, dask_worker)


def _unfit(expected: str, needs: bytes, worker: Any) -> Any:
    if expected not in ("", mark()):
        return Unfit(versions=versions())
    tasks, declarations = pickle.loads(needs)
    register(declarations)
    return _kept(_lacking, tasks, LOADING, tasks[0].device, worker) if tasks else None


def _kept(call: Call, item: Any, limit: float, device: str, worker: Any) -> Any:
    """`call(item)` in one of the processes that a worker keeps, one for each of its threads."""
    return kept(call, item, limit, jobs=worker.state.nthreads, device=device, owner=worker.address)


def _fault(worker: str, answer: Any) -> str:
    """What is wrong with a worker, in words, or "" if nothing is, or if it has just ended."""
    if answer is None or isinstance(answer, OSError):
        return ""
    if isinstance(answer, Unfit):
        return answer.message(worker)
    if isinstance(answer, Fallen):
        return f"{worker}: {answer.why}"
    if isinstance(answer, ImportError):
        return f"{worker}: opjury cannot be imported there: {answer}"
    return f"{worker}: {type(answer).__name__}: {answer}"


@functools.cache
def versions() -> dict[str, str]:
    """The versions that a verdict depends on: those of the libraries, and a digest of opjury's code."""
    specs = filter(None, map(find_spec, ("opjury", *declared.GROUPS)))
    folders = [Path(spec.submodule_search_locations[0]) for spec in specs if spec.submodule_search_locations]
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for folder in folders for file in folder.rglob("*.py")}
    code = hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()[:12]
    return environment().versions | {"opjury's code": code}


@functools.cache
def mark() -> str:
    """A digest of the versions, which is sent with every parcel."""
    return hashlib.sha256(repr(versions()).encode()).hexdigest()[:12]
