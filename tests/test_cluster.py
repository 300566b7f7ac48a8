"""Audits on a dask cluster: a scheduler and workers of their own on this machine, and what can go wrong with them."""

import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil
import pytest
from click.testing import CliRunner

import opjury
from benchmarks.figures.scaling import scheduler, worker
from opjury.choose import choose
from opjury.cli.main import main
from opjury.judge.judge import verdict_of
from opjury.judge.task import Request
from opjury.model import declared, records, registry
from opjury.model.environment import environment
from opjury.model.records import Journal
from opjury.run.ship import imported
from opjury.scale import cluster
from tests.hostile import aborting
from tests.hostile import right as mean_of_slices
from tests.made_up import verdict
from tests.test_own_operations import OWN

distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed (extra: cluster)")

ROOT = Path(__file__).parents[1]
FEW = dict(checks=["agreement", "form"], dtypes=["float32", "int64"], seed=1, scale=0.2, database="")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A scheduler with a worker that measures, under a nanny, and one without either."""
    folder = tmp_path_factory.mktemp("cluster")
    with scheduler(folder) as (found, _), worker(found, folder, "--no-nanny"), worker(found, folder, *MEASURING):
        yield found


@pytest.fixture
def spare(tmp_path):
    """A cluster to be broken, with its scheduler's process; it gives up what one worker has ended with."""
    scheduling = dict(ALLOWED_FAILURES="0", WORKER_SATURATION="1.0")
    options = {f"DASK_DISTRIBUTED__SCHEDULER__{name}": value for name, value in scheduling.items()}
    with scheduler(tmp_path, **options) as (found, process), worker(found, tmp_path):
        yield found, process


MEASURING = ("--resources", "measure=1")
UNSHRUNK = dict(first=True, checks=["agreement"], dtypes=["float32"])  # shrinking takes as long as it may


def without_times(found):
    return [msgspec.structs.replace(v, seconds=0.0) for v in found.verdicts]


@pytest.mark.parametrize("name", ["slice_mean:python_loop", "slice_mean:published_prefix_sum"])
@pytest.mark.slow(reason="whole audits")
def test_verdicts_are_those_of_this_machine(address, name):
    options = FEW | UNSHRUNK if "published" in name else FEW
    there, here = (opjury.audit(name, cluster=where, **options) for where in (address, ""))
    assert without_times(there) == without_times(here)
    assert there.verdicts[0].environment
    assert bool(there.refuted) == ("published" in name)


def test_a_crash_is_a_verdict(address):
    found = opjury.audit(aborting, "slice_mean", cluster=address, **FEW | UNSHRUNK)
    assert "the process was ended" in found.refuted[0].message
    assert found.refuted[0].environment == environment()


def test_functions_of_a_file_that_workers_do_not_have(address, tmp_path):
    (tmp_path / "beside.py").write_text("from tests.hostile import right\n")
    (tmp_path / "lonely.py").write_text("import beside\n\ndef mine(x, slices):\n    return beside.right(x, slices)\n")
    module = imported(str(tmp_path / "lonely.py"))
    shutil.move(tmp_path / "lonely.py", tmp_path / "gone.py")
    assert opjury.audit(module.mine, "slice_mean", cluster=address, **FEW).ok


@pytest.mark.usefixtures("declarations_end_with_the_test")
def test_operations_that_only_this_process_declared(address, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    module = imported(str(tmp_path / "own.py"))
    shutil.move(tmp_path / "own.py", tmp_path / "gone.py")
    options = dict(dtypes="float32", checks="agreement", scale=0.1, cluster=address)
    assert opjury.audit("reverse", **options).ok
    assert opjury.audit(module.last_axis, "reverse", **options).refuted


def test_what_cannot_be_sent_is_refused(address):
    lock = threading.Lock()

    def locked(x, slices):
        with lock:
            return mean_of_slices(x, slices)

    with pytest.raises(TypeError, match="cannot be sent to another machine"):
        opjury.audit(locked, "slice_mean", cluster=address, **FEW)


def test_what_workers_cannot_import_is_refused(address, monkeypatch):
    module = type(sys)("only_here.of_a_package")
    exec("def mine(x, slices): return x", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", type(sys)("only_here"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(opjury.Impossible, match=r"tcp://.*: slice_mean:mine cannot be loaded there: ModuleNotFound"):
        opjury.audit(module.mine, "slice_mean", cluster=address, **FEW)


def test_an_implementation_that_workers_lack_is_refused(address, monkeypatch):
    known = registry.implementations("slice_mean")[0]
    entries = {**declared.IMPLEMENTATIONS, ("slice_mean", "only_here"): replace(known, name="only_here")}
    monkeypatch.setattr(declared, "IMPLEMENTATIONS", entries)
    with pytest.raises(opjury.Impossible, match=r"tcp://.*: slice_mean:only_here cannot be loaded there: UnknownName"):
        opjury.audit("slice_mean:only_here", cluster=address, **FEW)


def test_workers_with_other_versions_are_refused_unless_mixed(address, tmp_path):
    """The worker imports a copy of opjury with a line more, and finds the metadata of another torch before this one's."""
    for name in ("src", "impls", "properties", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    with (tmp_path / "src" / "opjury" / "claims.py").open("a") as file:
        file.write("# another version\n")
    (tmp_path / "torch-0.0.1.dist-info").mkdir()
    (tmp_path / "torch-0.0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.0.1\n")
    task = Request(checks="rejects", dtypes="float32").tasks("slice_mean", "python_loop")
    with worker(address, tmp_path, "--no-nanny", "--resources", "other=1", path=[tmp_path / "src", tmp_path]) as (
        new,
        _,
    ):
        with pytest.raises(opjury.Impossible) as refused:
            opjury.audit("slice_mean:python_loop", cluster=address, **FEW)
        assert f"{new} has torch 0.0.1, here" in str(refused.value)
        assert "opjury's code" in str(refused.value)
        with cluster.connected(address) as found, pytest.raises(opjury.Impossible, match=r"torch 0\.0\.1"):
            list(found.each(cluster._judge, task, {"other": 1}))  # a worker that came after the check
        with cluster.connected(address, mixed=True) as found:
            found.check(task)
            ((_, verdict),) = found.each(cluster._judge, task, {"other": 1})
        assert verdict.status == "holds"
        assert verdict.environment.torch == "0.0.1"


@pytest.mark.slow(reason="dask starts workers again")
def test_a_worker_that_ends_loses_nothing(address, tmp_path):
    tasks = Request(**FEW | dict(checks=None, scale=0.1)).tasks("slice_mean", "python_loop")
    with worker(address, tmp_path, "--no-nanny") as (_, process):
        found = []
        for task, verdict in cluster.run_on_cluster(tasks, address):
            if not found:
                processes = psutil.Process(process.pid).children(recursive=True)
                assert processes
                process.kill()
            found.append((task, verdict.status))
        assert psutil.wait_procs(processes, 10)[1] == []  # its isolated processes ended with it
    assert sorted(found, key=str) == sorted(((task, "holds") for task in tasks), key=str)


@pytest.mark.slow(reason="dask starts workers again")
def test_a_task_with_which_workers_end_is_not_judged(spare):
    with cluster.connected(spare[0]) as found:
        outcomes = dict(found.each(end_at_zero, range(24), together=2))
    outcome = outcomes.pop(0)
    assert outcomes == {number: number for number in range(1, 24)}
    task = Request(checks="form").tasks("slice_mean", "python_loop")[0]
    verdict = verdict_of(task, outcome)
    assert verdict.status == "error"
    assert "1 workers ended" in verdict.message
    assert opjury.Audit((verdict,)).surprises()


def end_at_zero(number):
    if number == 0:
        os._exit(1)
    return number


def audited(address, *options):
    arguments = ["audit", "slice_mean:python_loop", "--check", "agreement", "--check", "form", "--seed", "1", *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "CONNECT", 2.0)
        return CliRunner().invoke(main, [*arguments, "--cluster", address])


@pytest.mark.parametrize("event", ["killed", "interrupted"])
@pytest.mark.slow(reason="dask waits for what it has lost")
def test_an_audit_that_loses_its_cluster_keeps_what_it_has(request, address, tmp_path, monkeypatch, event):
    add, file = Journal.add, tmp_path / "found.jsonl"
    first, process = request.getfixturevalue("spare") if event == "killed" else (address, None)

    def add_and_end(journal, found):
        add(journal, found)
        if len(journal.kept) == 3:
            if process is None:
                raise KeyboardInterrupt
            process.kill()

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "add", add_and_end)
        done = audited(first, "--json", str(file))
    assert done.exit_code == (2 if event == "killed" else 130)
    words = "has ended or was restarted|does not answer any more" if event == "killed" else "interrupted"
    assert re.search(words, done.stderr)
    kept = Path(f"{file}.partial").read_bytes().splitlines()
    assert f"{len(kept)} of 10 verdicts are in" in done.stderr
    assert 3 <= len(kept) < 10
    assert audited(address, "--json", str(file)).exit_code == 0
    assert set(kept) <= set(file.read_bytes().splitlines())
    assert len(list(records.read(file))) == 10


def test_nobody_there_is_2(tmp_path):
    with scheduler(tmp_path) as (found, _):
        assert "has no workers" in audited(found).stderr
    done = audited(found)
    assert done.exit_code == 2
    assert f"no dask scheduler answers at {found}" in done.stderr
    assert audited("nowhere://here").exit_code == 2
    assert audited("127.0.0.1").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "slice_mean", "--jobs", "2"], "--jobs"),
        (["choose", "slice_mean", "--jobs", "2"], "--jobs"),
        (["audit", "slice_mean", "--device", "cuda", "--check", "form"], "offers the resource gpu=1"),
        (["choose", "slice_mean", "--device", "cuda"], "offers the resource gpu=1"),
    ],
)
def test_what_cannot_be_had_is_2(address, arguments, message):
    done = CliRunner().invoke(main, [*arguments, "--cluster", address])
    assert done.exit_code == 2 or isinstance(done.exception, opjury.Impossible)
    assert message in done.stderr + str(done.exception)


def test_a_choice_is_made_where_measuring_is_offered(address, tmp_path):
    names = ("python_loop", "embedding_bag")
    told = [verdict(operation="slice_mean", implementation=name, dtypes=("float32",), examples=1) for name in names]
    records.write(tmp_path / "trusted.jsonl", told)
    request = dict(operation="slice_mean", workload="small", seconds=0.2, trust=tmp_path / "trusted.jsonl", seed=1)
    found = cluster.run_there(choose, request, [], address)
    assert {m.implementation for m in found.measurements} == set(names)
    assert found.implementation in names


def test_neither_import_nor_list_loads_dask():
    program = (
        "import sys; from opjury.cli.main import main; main(['list'], standalone_mode=False); "
        "print('loaded' if {'dask', 'distributed'} & set(sys.modules) else 'light')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("light")
