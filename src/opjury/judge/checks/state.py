"""Side effects of a call: on its inputs, and on the state of the process."""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import random
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.replay import CALL, RESULT, enclosed, unchanged
from opjury.judge.trial import GRAD, Refuted, Trial, Unsuitable
from opjury.model.arguments import in_common, snapshot
from opjury.model.case import Case
from opjury.model.device import in_use

_SUBNORMAL = 1e-310
_FACTS = {  # compared before and after a call, as replay scripts write them of a tensor `a`; "values" are all of its storage
    "values": "a.untyped_storage().tolist()",
    "shape": "a.shape",
    "strides": "a.stride()",
    "storage offset": "a.storage_offset()",
    "dtype": "a.dtype",
    "requires_grad": "a.requires_grad",
    "grad": "a.is_leaf and a.grad is not None",
    "retained gradient": "a.retains_grad",
    "hooks": "len(a._backward_hooks or ())",
    "attributes": "sorted(vars(a))",
    "version (it was written to in place)": "a._version",
    "conj bit": "a.is_conj()",
    "neg bit": "a.is_neg()",
    "type": "type(a)",
}
_OBSERVED = {name: compile(text, name, "eval") for name, text in _FACTS.items() if name != "values"}


def _snapshot(argument: Any) -> dict[str, Any]:
    """What can be seen of an argument."""
    if isinstance(argument, torch.Tensor):
        whole = torch.tensor([], dtype=torch.uint8, device=argument.device).set_(argument.untyped_storage())
        facts = {"values": whole.cpu().numpy().tobytes()}  # a list, as scripts use, would be slow
        return facts | {name: eval(code, {"a": argument}) for name, code in _OBSERVED.items()}
    return {"stored entries": snapshot(argument) if hasattr(argument, "tocoo") else repr(argument)}


def _set_threads(count: int) -> None:
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)


def _set_default_device(device: torch.device) -> None:
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)


def _numpy_generator() -> tuple[Any, ...]:
    state: Any = np.random.get_state()
    return (state[1].tobytes(), *state[2:])


def _set_numpy_generator(state: tuple[Any, ...]) -> None:
    np.random.set_state(("MT19937", np.frombuffer(state[0], np.uint32), *state[1:]))


def _cudnn() -> tuple[bool, bool, bool]:
    settings: Any = torch.backends.cudnn
    return settings.enabled, settings.benchmark, settings.deterministic


def _set_cudnn(values: tuple[bool, bool, bool]) -> None:
    settings: Any = torch.backends.cudnn
    settings.enabled, settings.benchmark, settings.deterministic = values


def _set_environment(items: tuple[tuple[str, str], ...]) -> None:
    before = dict(items)
    for name in {*os.environ} - {*before}:
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


# The state of this process that a call must leave alone: how to read it, and how to put it back, where it can be.
_STATE: dict[str, tuple[Callable[[], Any], Callable[[Any], Any] | None]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's number of threads": (torch.get_num_threads, _set_threads),
    "torch's gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch's random generator": (
        lambda: torch.random.get_rng_state().numpy().tobytes(),
        lambda state: torch.random.set_rng_state(torch.from_numpy(np.frombuffer(bytearray(state), np.uint8))),
    ),
    "torch's deterministic mode": (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "torch's default device": (torch.get_default_device, _set_default_device),
    "torch's anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch's matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "whether subnormal numbers are zero": (lambda: _SUBNORMAL * 1.0 == 0, torch.set_flush_denormal),
    "the settings of cuDNN": (_cudnn, _set_cudnn),
    "NumPy's random generator": (_numpy_generator, _set_numpy_generator),
    "NumPy's error handling": (lambda: tuple(np.geterr().items()), lambda state: np.seterr(**dict(state))),
    "Python's random generator": (random.getstate, random.setstate),
    "which warnings are shown": (lambda: tuple(warnings.filters), None),  # warnings.catch_warnings does it
    "the environment": (lambda: tuple(sorted(os.environ.items())), _set_environment),
    "the working directory": (os.getcwd, os.chdir),
    "the threads of this process": (threading.active_count, None),
}


def _state_of_cuda() -> dict[str, Any]:
    if not in_use():
        return {}
    stream: Any = torch.cuda.current_stream()
    return {
        "torch's random generator for CUDA": torch.cuda.get_rng_state().numpy().tobytes(),
        "the current CUDA device": torch.cuda.current_device(),
        "the current CUDA stream": stream.cuda_stream,
    }


def global_state() -> dict[str, Any]:
    """The state of this process that a call must leave alone."""
    return _state_of_cuda() | {name: read() for name, (read, _) in _STATE.items()}


_SHARED = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.nn.functional": torch.nn.functional,
    "torch.autograd": torch.autograd,
    "numpy": np,
    "opjury.judge.oracle": oracle,
    "builtins": builtins,
}


def _held() -> dict[str, dict[str, Any]]:
    """What shared modules and classes hold at this moment."""
    return {name: dict(vars(holder)) for name, holder in _SHARED.items()}


def _replaced(held: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """The modules and names that hold something else now. What lazy imports add to a module does not count."""
    changed = []
    for name, before in held.items():
        now = vars(_SHARED[name])
        if list(map(id, before.values())) != list(map(id, map(now.get, before))):
            changed += [(name, key) for key, value in before.items() if now.get(key) is not value]
        if isinstance(_SHARED[name], type):
            changed += [(name, key) for key in now.keys() - before.keys()]
    return changed


@contextmanager
def preserved_modules() -> Iterator[None]:
    """Put back, at the end, what an implementation replaced in shared modules and classes."""
    held = _held()
    try:
        yield
    finally:
        for name, key in _replaced(held):
            if key in held[name]:
                setattr(_SHARED[name], key, held[name][key])
            else:
                delattr(_SHARED[name], key)


@contextmanager
def preserved_state() -> Iterator[None]:
    """Put back, at the end, the global state that a badly behaved implementation may have changed."""
    before = {name: read() for name, (read, _) in _STATE.items()}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for name, (_, put_back) in _STATE.items():
            if put_back:
                put_back(before[name])


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set another default dtype of torch for a while."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def judged_elsewhere() -> Iterator[None]:
    """Make the case unsuitable where something raises that another check judges."""
    try:
        yield
    except Exception:
        raise Unsuitable from None


def check_purity(trial: Trial, case: Case) -> None:
    """A call and its backward pass change neither inputs nor global state, share memory only as declared, and keep no argument."""
    rounds = [False, True] if case.differentiable and trial.implementation.gradient else [False]
    for requires_grad in rounds:
        with preserved_state(), contextlib.nullcontext() if requires_grad else preserved_modules():
            _first_call(trial, case, requires_grad)
        args, kwargs = case.build(trial.device, requires_grad)
        computed = requires_grad and case.seed % 2 == 1
        if computed:
            args, kwargs = tuple(map(_computed, args)), {name: _computed(a) for name, a in kwargs.items()}
        named = _named(args, kwargs)
        before = GRAD * requires_grad + _COMPUTED * computed
        with _untouched("the call", named, before, CALL, modules=not requires_grad), judged_elsewhere():
            result = trial.invoke(args, kwargs)
        if requires_grad:
            _check_backward(trial, result, named)
        else:
            _check_memory(trial, result, list(named.values()))
        _check_let_go(trial, case, requires_grad)


def _first_call(trial: Trial, case: Case, requires_grad: bool) -> None:
    """Make a call and its backward pass: what the first ones import or initialise is not held against the implementation."""
    result = trial.call(case, requires_grad)
    if isinstance(result, torch.Tensor) and result.requires_grad:
        with judged_elsewhere(), trial.timed():
            torch.autograd.backward(result, torch.ones_like(result))


def _computed(argument: Any) -> Any:
    """The argument as the result of an earlier operation, which is no leaf of the graph."""
    return argument.clone() if isinstance(argument, torch.Tensor) and argument.requires_grad else argument


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {f"argument {i + 1}": a for i, a in enumerate(args)} | {f"argument {k}": a for k, a in kwargs.items()}


@contextmanager
def _untouched(
    call: str, named: dict[str, Any], before: str, between: str, *, modules: bool, others: tuple[str, ...] = ()
) -> Iterator[None]:
    """Refuted where a call meanwhile changes one of these values, the global state, or what modules hold.

    Parameters
    ----------
    named : dict
        The values by their names in messages: arguments in their order, then others.
    before, between : str
        Lines of a replay script before and between its two looks at what changes.
    others : tuple of str
        The variables of those other values in the script.
    """

    def script(expression: str) -> str:
        return before + unchanged(expression, between)

    snapshots = {name: _snapshot(value) for name, value in named.items()}
    with preserved_state():
        state, held = global_state(), _held() if modules else {}
        yield
        later, replaced = global_state(), _replaced(held)
    for key in state:
        if state[key] != later[key]:
            detail = f" (from {state[key]} to {later[key]})" if len(repr(state[key])) < 60 else ""
            imported = "from opjury.judge.checks.state import global_state\n"
            raise Refuted(f"{call} changes {key}{detail}", steps=imported + script(f"global_state()[{key!r}]"))
    if replaced:
        module, name = replaced[0]
        imported = "" if module == "torch.Tensor" else f"import {module}\n"
        raise Refuted(f"{call} replaces {module}.{name}", steps=imported + script(f"vars({module}).get({name!r})"))
    arguments = [f"[*args, *kwargs.values()][{k}]" for k in range(len(named) - len(others))]
    for (name, value), variable in zip(named.items(), (*arguments, *others), strict=True):
        now = _snapshot(value)
        change = next((fact for fact, earlier in snapshots[name].items() if now.get(fact) != earlier), "")
        if change:
            before += "" if change in _FACTS else "from opjury.model.arguments import snapshot\n"
            before += f"a = {variable}\n"
            raise Refuted(f"{call} changes {name}: its {change}", steps=script(_FACTS.get(change, "snapshot(a)")))


def _check_backward(trial: Trial, result: Any, named: dict[str, Any]) -> None:
    inputs = [value for value in named.values() if isinstance(value, torch.Tensor) and value.requires_grad]
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return
    incoming = torch.ones_like(result, memory_format=torch.contiguous_format)
    named = {**named, "the result": result, "the incoming gradient": incoming}
    before, others = GRAD + _BEFORE_BACKWARD, ("result", "incoming")
    with (
        _untouched("backward", named, before, _BACKWARD, modules=False, others=others),
        judged_elsewhere(),
        trial.timed(),
    ):
        torch.autograd.grad(result, inputs, incoming, allow_unused=True)


def _check_let_go(trial: Trial, case: Case, requires_grad: bool) -> None:
    """Refuted where an argument stays in memory after call and result are gone."""
    args, kwargs = case.build(trial.device, requires_grad)
    watched = {
        name: weakref.ref(argument)
        for name, argument in _named(args, kwargs).items()
        if isinstance(argument, torch.Tensor) or hasattr(argument, "tocoo")
    }
    trial.invoke(args, kwargs)
    del args, kwargs
    if any(held() is not None for held in watched.values()):
        gc.collect()
    for name, held in watched.items():
        if held() is not None:
            raise Refuted(
                f"{name} stays in memory after call and result are gone", steps=GRAD * requires_grad + _LET_GO
            )


def _check_memory(trial: Trial, result: Any, arguments: list[Any]) -> None:
    """Refuted unless memory is shared as the contract allows and a registered implementation declares.

    A declared view must share memory where the result is sparse; a view of tensors need not always.
    """
    shares, view, fault = any(in_common(value, result) for value in arguments), trial.implementation.view, ""
    if trial.operation.fresh:
        fault = "the result shares memory with an argument; the contract promises a copy" if shares else ""
    elif trial.declared and shares and not view:
        fault = "the result shares memory with an argument, which is not declared"
    elif trial.declared and not shares and view and trial.operation.result == "sparse":
        fault = "the result is a copy; a view is declared"
    if fault:
        raise Refuted(fault, steps=enclosed("in_common", in_common) + _SHARES.format("not " * shares))


_COMPUTED = "args = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]\n"
_BEFORE_BACKWARD = (
    f"{RESULT}\nincoming = torch.ones_like(result)\ninputs = [a for a in args if getattr(a, 'requires_grad', False)]\n"
)
_BACKWARD = "torch.autograd.grad(result, inputs, incoming, allow_unused=True)"
_SHARES = """\
result = f(*args, **kwargs)
shared = [in_common(a, result) for a in (*args, *kwargs.values())]
print("shares memory:", shared)
assert {}any(shared)"""
_LET_GO = """\
import gc
import weakref
f(*args, **kwargs)
held = [weakref.ref(a) for a in args if isinstance(a, torch.Tensor)]
args = a = None
gc.collect()
print([each() for each in held])
assert not any(each() is not None for each in held)"""
