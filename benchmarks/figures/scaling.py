"""The cost and speed-up of a cluster: `python -m benchmarks.figures.scaling` (`make bench-scale`) prints them.

The scheduler, the workers and the calling process all run on this machine and share its cores. Simulated workers are dask's own, half of
them in each of two processes, and talk to the scheduler like any others, but their tasks sleep instead of judging. dask's monitoring of
its processes is turned off, as docs/scale.md advises. Nothing is asserted.
"""

import contextlib
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time

import click
import numpy as np
import psutil

from opjury.judge.judge import run_isolated
from opjury.judge.task import Request, Task
from opjury.model import records, registry
from opjury.model.environment import environment
from opjury.model.records import Verdict
from opjury.scale import cluster

SIMULATE = "import sys; from benchmarks.figures.scaling import simulate; simulate(sys.argv[1], int(sys.argv[2]))"
UNWATCHED = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "1s",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "10s",
}


@contextlib.contextmanager
def running(*command, folder, path=(), **environment):
    """A Python process with this one's modules. It and its children are killed at the end of the block."""
    path = os.pathsep.join(map(os.path.abspath, (*path, *sys.path)))
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        env=os.environ | {"PYTHONPATH": path} | environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        tree = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in (process, *tree):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


@contextlib.contextmanager
def scheduler(folder, **environment):
    """Start a scheduler on this machine: its address and process."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = ("--host", "127.0.0.1", "--port", port, "--no-dashboard")
    with running("-m", "dask", "scheduler", *options, folder=folder, **UNWATCHED, **environment) as process:
        while process.poll() is None:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        yield f"tcp://127.0.0.1:{port}", process


@contextlib.contextmanager
def worker(address, folder, *options, path=()):
    """Start a worker with one thread and wait until the scheduler knows it: its address and process."""
    from distributed import Client

    with Client(address, timeout=30, set_as_default=False) as client:
        before = set(client.nthreads())
        command = ("-m", "dask", "worker", address, "--nthreads", 1, "--host", "127.0.0.1", "--no-dashboard", *options)
        with running(*command, folder=folder, path=path, **UNWATCHED) as process:
            client.wait_for_workers(len(before) + 1, timeout=60)
            (new,) = set(client.nthreads()) - before
            yield new, process


def simulate(address, count):
    """Run `count` workers in this process until it is killed."""
    import asyncio

    from distributed import Worker

    async def live():
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(count):
                options = dict(nthreads=1, memory_limit=0, dashboard=False, host="127.0.0.1", validate=False)
                await stack.enter_async_context(Worker(address, **options))
            await asyncio.Event().wait()

    sys.setswitchinterval(1.0)  # by default, each of hundreds of waiting threads asks for the interpreter every 5 ms
    asyncio.run(live())


def pretend(item):
    """Sleep as long as a task takes, and return a verdict of the usual size. Its `seconds` are the time when it began."""
    task, seconds = item
    started = time.time()
    time.sleep(seconds)
    return Verdict(
        operation=task.operation,
        implementation=task.implementation,
        check=task.check,
        status="holds",
        dtypes=task.dtypes,
        seconds=started,
        environment=environment(),
    )


def sent_bytes():
    """Bytes that this machine has sent to itself since it started."""
    return psutil.net_io_counters(pernic=True)["lo"].bytes_sent


def computed(process):
    """Seconds of processor time that a process has used."""
    times = psutil.Process(process.pid).cpu_times()
    return times.user + times.system


def two_against_one(folder, operations):
    """Print the times of an audit by one worker and by two, and return the mean seconds of a task that executes examples."""
    entries = [entry for name in operations for entry in registry.implementations(name)]
    tasks = [task for e in entries for task in Request(seed=1).tasks(e.operation, e.name)]
    took = {}
    with contextlib.ExitStack() as stack:
        address, _ = stack.enter_context(scheduler(folder))
        for count in (1, 2):
            stack.enter_context(worker(address, folder))
            list(cluster.run_on_cluster(tasks[:1], address))  # so that the workers have imported everything
            started, before = time.perf_counter(), sent_bytes()
            found = [verdict for _, verdict in cluster.run_on_cluster(tasks, address)]
            took[count] = time.perf_counter() - started
            sent = (sent_bytes() - before) / len(tasks)
        usual = float(np.mean([v.seconds for v in found if v.examples]))
        stored = np.mean([len(records.encode(v)) + 1 for v in found])
    print(f"Quick audit of {', '.join(operations)}: {len(tasks)} tasks, {usual:.2f} s each where a check applies")
    print(f"  one worker {took[1]:.1f} s, two {took[2]:.1f} s: {took[1] / took[2]:.2f} times as fast")
    print(f"  a task and its verdict: {sent:,.0f} bytes over the network, all hops together; {stored:,.0f} stored")
    return usual


def overhead(folder, count):
    """Print the overhead of a task, by tasks whose check does not apply, so that nothing is judged."""
    tasks = [Task("slice_mean", "python_loop", "devices", ("float32",), seed=i) for i in range(count)]

    def each(results):
        """Milliseconds a task, not counting the first one."""
        next(results)
        started = time.perf_counter()
        rest = sum(1 for _ in results)
        return 1000 * (time.perf_counter() - started) / rest

    with scheduler(folder) as (address, process), worker(address, folder):
        list(cluster.run_on_cluster(tasks, address))
        before = computed(process)
        there = each(cluster.run_on_cluster(tasks, address))
        of_scheduler = (computed(process) - before) / count * 1000
    here = each(run_isolated(tasks, 1))
    print(f"Overhead of a task: {there:.1f} ms on a worker, {here:.1f} ms in a local isolated process")
    print(f"  of the former, {of_scheduler:.2f} ms are processor time of the scheduler")


def many(folder, workers, rounds, lengths):
    """Print how busy simulated workers are, for several lengths of a task."""
    from benchmarks.figures.scaling import pretend  # not __main__'s: workers import it

    with (
        scheduler(folder) as (address, process),
        running("-c", SIMULATE, address, workers // 2, folder=folder, **UNWATCHED) as first,
        running("-c", SIMULATE, address, workers - workers // 2, folder=folder, **UNWATCHED) as second,
        cluster.connected(address) as found,
    ):
        started = time.perf_counter()
        while found.threads() < workers:
            if any(each.poll() is not None for each in (first, second)):
                raise SystemExit("a process of simulated workers ended")
            time.sleep(0.5)
        joined = time.perf_counter() - started
        started = time.perf_counter()
        found.check()
        print(
            f"{workers} simulated workers: joined in {joined:.0f} s, checked in {time.perf_counter() - started:.1f} s"
        )
        for seconds in lengths:
            tasks = [
                Task("slice_mean", "python_loop", "agreement", ("float32",), seed=i) for i in range(workers * rounds)
            ]
            items = [(task, seconds) for task in tasks]
            sides = ([process], [psutil.Process()], [first, second])
            before, sent = [sum(map(computed, side)) for side in sides], sent_bytes()
            started, clock = time.perf_counter(), time.time()
            begun = np.array([verdict.seconds for _, verdict in found.each(pretend, items)]) - clock
            took = time.perf_counter() - started
            cost = [(sum(map(computed, side)) - b) / len(items) * 1000 for side, b in zip(sides, before)]
            busy, middle = len(items) * seconds / workers / took, _busy(begun, seconds, took) / workers
            print(
                f"  {len(items)} parcels of {seconds:g} s in {took:.1f} s: busy {busy:.0%} of the time, {middle:.0%} midway"
            )
            print(
                f"    {len(items) / took:.0f} parcels a second; processor time a parcel: scheduler {cost[0]:.2f} ms, "
                f"calling process {cost[1]:.2f} ms, simulated workers {cost[2]:.2f} ms; {(sent_bytes() - sent) / len(items):,.0f} bytes"
            )


def _busy(begun, seconds, took):
    """The mean number of tasks that are running, in the middle half of the time."""
    low, high = took / 4, 3 * took / 4
    return float(np.sum(np.clip(begun + seconds, low, high) - np.clip(begun, low, high))) / (high - low)


@click.command()
@click.option("--operation", "operations", multiple=True, help="Operation to audit (repeatable); by default all.")
@click.option("--no-audit", is_flag=True, help="Leave out the audit; --seconds is then required.")
@click.option("--tasks", default=1000, show_default=True, help="Tasks without work, for the overhead; 0 for none.")
@click.option("--workers", default=1000, show_default=True, help="Simulated workers; 0 for none.")
@click.option("--rounds", default=4, show_default=True, help="Parcels for each simulated worker.")
@click.option(
    "--seconds",
    "lengths",
    multiple=True,
    type=float,
    help="Length of a simulated parcel (repeatable); by default that of a mean task, and of as many as travel together.",
)
def main(operations, no_audit, tasks, workers, rounds, lengths):
    """Print the figures."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    where, load = environment(), os.getloadavg()[0]
    print(f"$ python -m benchmarks.figures.scaling {' '.join(sys.argv[1:])}")
    print(f"{where.machine}, {where.processor}, Python {where.python}; load {load:.1f} before")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if not no_audit:
            usual = two_against_one(folder, operations or [operation.name for operation in registry.operations()])
            lengths = lengths or [round(count * usual, 2) for count in (1, cluster.TOGETHER)]
        if tasks:
            overhead(folder, tasks)
        if workers:
            many(folder, workers, rounds, lengths)


if __name__ == "__main__":
    main()
