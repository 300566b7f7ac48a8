"""The check of GPUs: streams of the caller's, and calls that return before their work is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from opjury.judge import oracle
from opjury.judge.checks.state import judged_elsewhere
from opjury.judge.replay import CALL, TO_CUDA
from opjury.judge.text import describe
from opjury.judge.trial import Refuted, Trial
from opjury.model.case import Case

_CYCLES = 2_000_000  # about a millisecond


def check_devices(trial: Trial, case: Case) -> None:
    """The CPU's result, also when the caller's stream writes the inputs just before, without waiting where that is promised."""
    case = case.plain
    expected = oracle.expected(trial.operation, case, trial.error)
    trial.in_flight = case
    with judged_elsewhere():
        trial.invoke(*case.build(trial.device))  # a first call may compile, and wait for that
    another: Any = torch.cuda.Stream
    with torch.cuda.stream(another(trial.device)):
        args, kwargs = _written_late(case, trial.device)
        try:
            with _waiting_raises(trial.implementation.asynchronous):
                result = trial.invoke(args, kwargs, wait=False)
        except Exception as error:
            if "synchroniz" in str(error):
                waits = f"lets the caller wait for the GPU, which it promised not to: {describe(error)}"
                raise Refuted(waits, steps=f'{TO_CUDA}torch.cuda.set_sync_debug_mode("error")\n{CALL}') from None
            raise Refuted(f"raises {describe(error)} on another stream than the default one", steps=_STREAM) from None
        trial.require(result, expected, "result on another stream", _STREAM)


def _written_late(case: Case, device: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments that hold zeros until the current stream writes them, about a millisecond from now."""
    args, kwargs = case.build(device)
    torch.cuda.synchronize(device)
    late = {id(a): torch.zeros_like(a) for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)}
    torch.cuda.synchronize(device)
    sleep: Any = torch.cuda._sleep
    sleep(_CYCLES)
    for value in (*args, *kwargs.values()):
        if id(value) in late:
            late[id(value)].copy_(value)
    return tuple(late.get(id(a), a) for a in args), {name: late.get(id(a), a) for name, a in kwargs.items()}


@contextmanager
def _waiting_raises(wanted: bool) -> Iterator[None]:
    """Make torch raise where it would wait for the GPU to read a value."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error" if wanted else before)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


_STREAM = f"""\
stream = torch.cuda.Stream()
{TO_CUDA}late = [torch.zeros_like(a) if isinstance(a, torch.Tensor) else a for a in args]
torch.cuda.synchronize()
with torch.cuda.stream(stream):
    torch.cuda._sleep(2_000_000)
    for a, b in zip(late, args):
        if isinstance(a, torch.Tensor):
            a.copy_(b)
    result = f(*late, **kwargs).cpu()"""
