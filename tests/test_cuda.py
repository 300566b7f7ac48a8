"""What only a GPU shows: hostile functions there, a device that is lost, sizes beyond 32 bits. Most of it is skipped elsewhere."""

import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import opjury
from opjury.audit import judge_tasks
from opjury.judge import judge, trial
from opjury.judge.draw import repeated_cases
from opjury.judge.task import Request, Task
from opjury.model import registry
from opjury.model.case import Case
from opjury.model.device import finish, lost, on_cuda
from opjury.model.implementation import Implementation
from opjury.run import pool, ship
from tests import hostile

ROOT = Path(__file__).parents[1]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
QUICK = dict(operation="slice_mean", seed=0, scale=0.1, jobs=1, database="", dtypes=["float32"], device="cuda")
IN_TRITON = [f"{entry.operation}:{entry.name}" for entry in registry.implementations() if entry.requires == "triton"]


@needs_cuda
def test_work_on_a_stream_of_its_own_is_refuted():
    found = opjury.audit(hostile.on_its_own_stream, checks=["devices"], **QUICK)
    assert [v.check for v in found.refuted] == ["devices"]


@needs_cuda
def test_a_device_assert_is_a_refutation_and_poisons_nothing():
    found = opjury.audit(hostile.asserting_on_the_device, checks=["agreement", "form", "layouts"], **QUICK)
    assert {v.check for v in found.refuted} >= {"agreement"}
    assert "use of the GPU" in next(v.message for v in found.refuted if v.check == "agreement")
    right = opjury.audit(hostile.right, checks=["agreement"], **QUICK)
    assert right.ok, right.summary()


@needs_cuda
def test_atomics_are_not_deterministic_or_told_so():
    found = opjury.audit("slice_mean:ragged_kernel", checks=["determinism"], device="cuda", seed=0, database="")
    assert found.ok, found.summary()


@needs_cuda
@pytest.mark.parametrize("name", IN_TRITON)
def test_kernels_agree_on_cuda(name):
    found = opjury.audit(
        name, checks=["agreement", "gradient", "devices"], device="cuda", seed=0, scale=0.3, database=""
    )
    assert found.ok, found.summary()


@needs_cuda
def test_promised_waiting_is_noticed():
    entry = registry.entry("slice_mean", "ragged_kernel")
    waiting = ship.Here(replace(entry, asynchronous=True))
    tasks = Request(checks="devices", device="cuda").tasks("slice_mean", entry.name, waiting)
    assert {"refuted"} == {v.status for v in judge_tasks(tasks[:1], isolate=False)}


@needs_cuda
def test_sums_over_more_than_two_to_the_thirty_one_elements():
    if torch.cuda.mem_get_info()[0] < 24 * 2**30:
        pytest.skip("less than 24 GiB of GPU memory")
    count = 2**31 + 2**20
    x = torch.ones(count, dtype=torch.int8, device="cuda")
    sums = opjury.get("cumsum", "decoupled_look_back")(x, 0)
    places = torch.tensor([0, 2**31 - 1, 2**31, count - 1], device="cuda")
    assert torch.equal(sums[places], places + 1)


@needs_cuda
@pytest.mark.parametrize("name", [name for name in IN_TRITON if registry.workload(name.partition(":")[0]).growths])
def test_kernels_hold_beyond_two_to_the_thirty_one_elements(name):
    operation, _, implementation = name.partition(":")
    if not list(repeated_cases(registry.operation(operation), ("float32",), 0, "cuda")):
        pytest.skip("too little GPU memory")
    task = Task(operation, implementation, "agreement", ("float32",), "nightly", "cuda", scale=0.001)
    assert judge.judge(task).status == "holds"


def test_without_a_gpu_nothing_is_lost_and_nothing_is_waited_for():
    finish("cpu")
    assert not on_cuda("cpu")
    assert on_cuda("cuda:1")
    if not torch.cuda.is_available():
        assert not lost()
        verdicts = opjury.audit("circulant:rolled_rows", checks=["devices"], isolate=False, database="").verdicts
        assert {(v.status, v.message) for v in verdicts} == {("skipped", "judged on CUDA only")}


def test_the_server_that_workers_are_forked_from_never_asks_for_a_gpu():
    program = (
        "import torch\n"
        "def refuse(*arguments): raise AssertionError('CUDA was asked for')\n"
        "torch.cuda.is_available = torch.cuda.device_count = torch._C._cuda_getDeviceCount = refuse\n"
        "import opjury.judge.preload\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def feigned(monkeypatch):
    """A GPU that is the CPU, and that every exception loses."""
    build = Case.build
    monkeypatch.setattr(
        Case, "build", lambda self, device="cpu", requires_grad=False: build(self, "cpu", requires_grad)
    )
    monkeypatch.setattr(trial, "finish", lambda device: None)
    monkeypatch.setattr(trial, "lost", lambda: True)


@pytest.fixture
def streams(feigned, monkeypatch):
    """Streams of the feigned GPU, which is not lost; and whether waiting is to raise."""
    mode = [0]
    monkeypatch.setattr(trial, "lost", lambda: False)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: None)
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: mode[0])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda new: mode.__setitem__(0, new))
    return mode


@pytest.mark.parametrize("promised", [False, True])
def test_waiting_is_refuted_where_it_was_promised_not_to(streams, promised):
    def waiting(x, slices):
        if streams[0] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")
        return hostile.right(x, slices)

    entry = ship.Here(Implementation("slice_mean", "waiting", waiting, asynchronous=promised))
    request = Request(checks="devices", device="cuda", dtypes="float32", scale=0.1)
    (verdict,) = judge_tasks(request.tasks("slice_mean", "waiting", entry), isolate=False)
    assert verdict.status == ("refuted" if promised else "holds"), verdict.message
    assert verdict.examples
    assert streams[0] == 0


def test_another_result_on_another_stream_is_refuted(streams):
    calls = []

    def every_other(x, slices):
        calls.append(x)
        return hostile.right(x, slices) + (len(calls) % 2 == 0)

    found = opjury.audit(every_other, checks=["devices"], isolate=False, **QUICK)
    assert "result on another stream" in found.refuted[0].message


def test_who_loses_the_gpu_is_refuted_whatever_was_to_be_raised(feigned):
    for check in ("agreement", "rejects", "terminates"):
        found = opjury.audit(hostile.asserting_on_the_device, checks=[check], isolate=False, **QUICK)
        assert [v.check for v in found.refuted] == [check]
        assert "ends this process's use of the GPU: IndexError" in found.refuted[0].message
        assert found.refuted[0].counterexample


def test_nothing_is_judged_with_a_gpu_that_is_lost(feigned, monkeypatch):
    monkeypatch.setattr(judge, "lost", lambda: True)
    found = opjury.audit(hostile.right, checks=["agreement"], isolate=False, **QUICK)
    assert [v.status for v in found.verdicts] == ["error"]
    assert not found.ok


def test_an_item_after_a_lost_gpu_gets_a_process_of_its_own(monkeypatch):
    ended = []
    monkeypatch.setattr(pool, "lost", lambda: True)
    monkeypatch.setattr(pool.os, "_exit", ended.append)
    pool._unless_lost(str, 1)
    assert ended == [pool.LOST]
