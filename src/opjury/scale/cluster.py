"""Where tasks run on a dask cluster: its workers judge in isolated processes of their own, as those of `opjury.judge.judge.run_isolated` do."""

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
from opjury.model.registry import Impossible
from opjury.run.pool import Dropped, Fallen, kept
from opjury.run.ship import Function, Sent, register

if TYPE_CHECKING:
    from distributed import Client, Future

    from opjury.judge.task import Task
    from opjury.model.records import Verdict

CONNECT = 5.0  # seconds to reach the scheduler, and to see a worker
WORKERLESS = 60.0  # seconds without a worker that could go on
TOGETHER = 16  # judgements that travel together: a scheduler needs milliseconds for whatever travels
CROWD = (
    256  # threads; where there are more, more travel together, so that parcels a second do not grow with the cluster
)
PARTS = 12  # parcels for each thread, at least, so that all threads end at about the same time
BATCH = 3  # parcels for each thread that are sent at a time; fewer, and dask would not queue them
IN_FLIGHT = 3 * BATCH  # and that wait or are under way: a scheduler's work and memory grow with them
WATCH = 2.0  # seconds between looks at who is there
LOADING = 120.0  # seconds that a worker may take to import torch and what is declared
JUDGING = {"cuda": {"gpu": 1.0}}  # resources that workers have to offer, by the kind of device
MEASURING = {"cpu": {"measure": 1.0}, "cuda": {"gpu": 1.0}}

Call = Callable[[Any], Any]


class Lost(Impossible):
    """The cluster was lost in the middle; what had been found is whole."""


@dataclass(frozen=True)
class Unfit:
    """In place of a result: why the worker cannot do what it was given; or its versions, where they are others."""

    why: str = ""
    versions: Mapping[str, str] | None = None

    def said(self, worker: str) -> str:
        """In words, with the worker's address."""
        if self.versions is None:
            return f"{worker}: {self.why}"
        pairs = {name: (theirs, versions().get(name, "absent")) for name, theirs in self.versions.items()}
        others = [f"{name} {theirs}, here {ours}" for name, (theirs, ours) in pairs.items() if theirs != ours]
        return f"{worker} has {'; '.join(others)}"


def run_on_cluster(
    tasks: Sequence[Task], address: str, *, mixed: bool = False, notify: Callable[[int], None] = lambda workers: None
) -> Iterator[tuple[Task, Verdict]]:
    """Judge on the workers of the scheduler at an address; results come as they are done, as from `opjury.judge.judge.run_isolated`.

    A task whose worker ends is judged again on another one. With `mixed` workers may have other versions than this machine;
    `notify` is told how many workers there are.

    Raises
    ------
    Impossible
        Before anything is judged: no scheduler or worker is there, a worker has other versions or lacks an implementation, none
        offers the resource. `Lost` in the middle: the scheduler has ended, or all workers.
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
    """`call(**arguments, functions=functions)` on a worker that measures: no other measurement is on its machine, or its GPU.

    Raises
    ------
    Impossible
        As `run_on_cluster`; and what the call raises.
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
    """The cluster of a scheduler, until the end of the block; workers get what this process alone declared of the operations."""
    declarations = [sent for name in operations if (sent := Sent.declarations(name))]
    try:
        from distributed import Client
        from distributed.comm import get_address_host_port
    except ImportError:
        raise Impossible("a cluster needs dask.distributed: pip install 'opjury[cluster]'") from None
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


class Cluster:
    """The workers of one scheduler.

    Parameters
    ----------
    client : Client
    address : str
        For messages.
    expected : str
        The mark of the versions that workers must have; "" for any.
    notify : callable
        Told how many workers there are whenever that was asked.
    declarations : sequence of Sent
        What workers register before anything else.
    """

    def __init__(
        self,
        client: Client,
        address: str,
        expected: str,
        notify: Callable[[int], None],
        declarations: Sequence[Sent] = (),
    ) -> None:
        self.client, self.address, self.expected, self.notify = client, address, expected, notify
        self.declarations = declarations
        self.stream = client.scheduler_comm  # another one: the scheduler is another, or has forgotten this client

    def check(self, needs: Sequence[Task] = ()) -> None:
        """Raise `Impossible` unless there are workers, all of the right versions and able to do such tasks."""
        try:
            self.client.run_on_scheduler(mark)
        except ImportError as error:
            raise Impossible(f"the scheduler at {self.address} cannot import opjury: {error}") from None
        except OSError as error:
            raise Lost(f"the scheduler at {self.address} does not answer any more: {error}") from None
        deadline = time.monotonic() + CONNECT
        while not self.threads():
            if time.monotonic() > deadline:
                raise Impossible(f"the scheduler at {self.address} has no workers; dask worker {self.address}")
            time.sleep(0.05)
        answers = self.client.run(_fitness, self.expected, pickle.dumps((needs, self.declarations)), on_error="return")
        faults = [fault for worker, answer in answers.items() if (fault := _fault(worker, answer))]
        if faults:
            more = [f"and {len(faults) - 5} more"] if len(faults) > 5 else []
            raise Impossible("; ".join([*faults[:5], *more]))

    def threads(self, resources: Mapping[str, float] | None = None) -> int:
        """How many threads the workers have that offer these resources."""
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
        """Each item with `call(item)`, or `Dropped`, from the workers that offer the resources, as they are done.

        Up to so many travel `together`, in proportion more in a crowd, if that leaves enough parcels for all workers.
        """
        from distributed import as_completed

        threads = self.threads(resources)
        if not threads:
            named = " ".join(f"{name}={amount:g}" for name, amount in (resources or {}).items())
            command = f"dask worker {self.address} --resources {named}"
            raise Impossible(f"no worker of {self.address} offers the resource {named}; {command}")
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
                elif len(parcel) > 1:  # one of them may be to blame
                    rest.extendleft([item] for item in parcel)
                else:
                    yield parcel[0], outcomes
            if not done.has_ready():
                time.sleep(0.01)
            if time.monotonic() - asked > WATCH:
                asked, able = time.monotonic(), self.threads(resources)
                threads, seen = (able, asked) if able else (threads, seen)
                if asked - seen > WORKERLESS:
                    raise Lost(f"the scheduler at {self.address} has had no worker for this for {WORKERLESS:g} s")

    def _sent(self, call: Call, parcels: Sequence[Any], resources: Mapping[str, float] | None) -> list[Future]:
        name = uuid.uuid4().hex
        calls = [(self.expected, pickle.dumps((call, parcel, self.declarations))) for parcel in parcels]
        keys = [f"opjury-{name}-{number}" for number in range(len(calls))]
        return self.client.map(_serve, calls, key=keys, pure=False, resources=dict(resources or {}) or None)

    def _received(self, future: Future, result: Any) -> Any:
        """The outcomes of a parcel, or `Dropped`; `Lost` for a future that the scheduler has forgotten."""
        from distributed import KilledWorker

        if future.status == "finished":
            worker, outcomes = pickle.loads(result)
            for outcome in outcomes:
                if isinstance(outcome, Unfit):
                    raise Impossible(outcome.said(worker))
            return outcomes
        if future.status == "error":
            _, error, _ = result
            if isinstance(error, KilledWorker):
                return Dropped(f"{error.allowed_failures + 1} workers ended, one after another, while they had it")
            if isinstance(error, ValueError):  # unknown or impossible, as the call says
                raise error
            raise Impossible(f"a worker of {self.address} failed: {type(error).__name__}: {error}") from error
        raise Lost(f"the scheduler at {self.address} has ended or was restarted")


def _serve(given: tuple[str, bytes]) -> bytes:
    """On a worker: one call after another, if the versions are as expected, and from where their outcomes come."""
    from distributed import get_worker

    expected, pickled = given
    worker = get_worker().address
    if expected not in ("", mark()):
        return pickle.dumps((worker, [Unfit(versions=versions())]))
    call, parcel, declarations = pickle.loads(pickled)
    register(declarations)
    return pickle.dumps((worker, [call(item) for item in parcel]))


def _apply(given: tuple[Callable[..., Any], Mapping[str, Any], Sequence[Function]]) -> Any:
    """On a worker: a call that isolates by itself what has to be."""
    call, arguments, functions = given
    return call(**arguments, functions=[function.load() for function in functions])


def _judge(task: Task) -> Verdict | Unfit:
    """On a worker: judge in a process of its own."""
    from distributed import get_worker

    from opjury.judge.judge import time_limit_of, verdict_of

    outcome = _kept(_judged, task, time_limit_of(task), task.device, get_worker())
    return outcome if isinstance(outcome, Unfit) else verdict_of(task, outcome)


def _judged(task: Task) -> Verdict | Unfit:
    from opjury.judge.judge import judge

    return _lacking([task]) or judge(task)


def _lacking(needs: Sequence[Task]) -> Unfit | None:
    """What is not here of what tasks need."""
    for task in needs:
        try:
            registry.operation(task.operation)
            implementation_of(task)
        except Exception as error:
            what = f"{task.operation}:{task.implementation}"
            return Unfit(f"{what} cannot be loaded there: {type(error).__name__}: {error}")
    return None


async def _fitness(expected: str, needs: bytes, dask_worker: Any = None) -> Any:
    """On a worker: why it is not fit for such tasks, or None."""
    return await asyncio.to_thread(_unfit, expected, needs, dask_worker)


def _unfit(expected: str, needs: bytes, worker: Any) -> Any:
    if expected not in ("", mark()):
        return Unfit(versions=versions())
    tasks, declarations = pickle.loads(needs)
    register(declarations)
    return _kept(_lacking, tasks, LOADING, tasks[0].device, worker) if tasks else None


def _kept(call: Call, item: Any, limit: float, device: str, worker: Any) -> Any:
    """`call(item)` in one of the processes that a worker keeps, as many as it has threads."""
    return kept(call, item, limit, jobs=worker.state.nthreads, device=device, owner=worker.address)


def _fault(worker: str, answer: Any) -> str:
    """What is wrong with a worker, in words; "" where nothing is, or it has just ended."""
    if isinstance(answer, Unfit):
        return answer.said(worker)
    if isinstance(answer, Fallen):
        return Unfit(answer.why).said(worker)
    if isinstance(answer, ImportError):
        return Unfit(f"opjury cannot be imported there: {answer}").said(worker)
    if isinstance(answer, Exception) and not isinstance(answer, OSError):
        return Unfit(f"{type(answer).__name__}: {answer}").said(worker)
    return ""


@functools.cache
def versions() -> dict[str, str]:
    """What a verdict depends on beside its task: the versions of libraries, and the code of opjury itself."""
    found = environment().versions
    folders = [find_spec(name) for name in ("opjury", *declared.GROUPS)]
    files = {
        file for spec in folders if spec for file in Path((spec.submodule_search_locations or [""])[0]).rglob("*.py")
    }
    digests = sorted({hashlib.sha256(file.read_bytes()).hexdigest() for file in files})
    return found | {"opjury's code": hashlib.sha256("".join(digests).encode()).hexdigest()[:12]}


@functools.cache
def mark() -> str:
    """The versions in one word, which goes with every task."""
    return hashlib.sha256(repr(versions()).encode()).hexdigest()[:12]
