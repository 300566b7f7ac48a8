"""What else a call does: to its inputs, and to the state of the process."""

from __future__ import annotations

import builtins
import contextlib
import gc
import os
import random
import threading
import warnings
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
_FACTS = {  # of a tensor `a`, as a replay script looks at them
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


@dataclass(frozen=True)
class _Snapshot:
    """What can be seen of an argument, its memory beyond the view included."""

    value: tuple[Any, ...]

    @staticmethod
    def of(argument: Any) -> _Snapshot:
        if isinstance(argument, torch.Tensor):
            storage = argument.untyped_storage()
            whole = torch.tensor([], dtype=torch.uint8, device=argument.device).set_(storage)
            raw = whole.cpu().numpy().tobytes()
            facts = (
                argument.shape,
                argument.stride(),
                argument.storage_offset(),
                argument.dtype,
                argument.requires_grad,
                argument.is_leaf and argument.grad is not None,
                argument.retains_grad,
                len(argument._backward_hooks or ()),
                sorted(vars(argument)),
            )
            return _Snapshot((raw, *facts, argument._version, argument.is_conj(), argument.is_neg(), type(argument)))
        if hasattr(argument, "tocoo"):
            return _Snapshot(snapshot(argument))
        return _Snapshot((repr(argument),))

    def difference(self, later: _Snapshot) -> str:
        if len(self.value) == len(_FACTS):
            return next((name for name, a, b in zip(_FACTS, self.value, later.value, strict=True) if a != b), "")
        return "stored entries" if self.value != later.value else ""


def _numpy_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state()
    return (state[1].tobytes(), *state[2:])


def _state_of_cuda() -> dict[str, Any]:
    if not in_use():
        return {}
    stream: Any = torch.cuda.current_stream()
    return {
        "torch's random generator for CUDA": torch.cuda.get_rng_state().numpy().tobytes(),
        "the current CUDA device": torch.cuda.current_device(),
        "the current CUDA stream": stream.cuda_stream,
    }


def _cudnn() -> tuple[bool, bool, bool]:
    settings: Any = torch.backends.cudnn
    return settings.enabled, settings.benchmark, settings.deterministic


def global_state() -> dict[str, Any]:
    """What of the state of this process a call must leave alone."""
    return {
        **_state_of_cuda(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's random generator": torch.random.get_rng_state().numpy().tobytes(),
        "torch's deterministic mode": torch.get_deterministic_debug_mode(),
        "torch's default device": str(torch.get_default_device()) if hasattr(torch, "get_default_device") else "",
        "torch's anomaly mode": torch.is_anomaly_enabled(),
        "torch's matmul precision": torch.get_float32_matmul_precision(),
        "whether subnormal numbers are zero": _SUBNORMAL * 1.0 == 0,
        "the settings of cuDNN": _cudnn(),
        "NumPy's random generator": _numpy_state(),
        "NumPy's error handling": tuple(np.geterr().items()),
        "Python's random generator": random.getstate(),
        "which warnings are shown": tuple(warnings.filters),
        "the environment": tuple(sorted(os.environ.items())),
        "the working directory": os.getcwd(),
        "the threads of this process": threading.active_count(),
    }


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
    """What modules and classes that everybody uses hold at this moment."""
    return {name: dict(vars(holder)) for name, holder in _SHARED.items()}


def _replaced(held: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Where something else is held now. What lazy imports add to a module does not count."""
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
    """Put back, at the end, what an implementation replaced in modules and classes that everybody uses."""
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
    """Put back, at the end, what of the global state a badly behaved implementation may have changed."""
    dtype, threads, grad = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    generator, numpys, pythons = torch.random.get_rng_state(), np.random.get_state(), random.getstate()
    deterministic, errors = torch.get_deterministic_debug_mode(), np.geterr()
    anomaly, precision = torch.is_anomaly_enabled(), torch.get_float32_matmul_precision()
    cudnn, flushed = _cudnn(), _SUBNORMAL * 1.0 == 0
    environment, folder, device = dict(os.environ), os.getcwd(), torch.get_default_device()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.random.set_rng_state(generator)
        torch.set_deterministic_debug_mode(deterministic)
        torch.autograd.set_detect_anomaly(anomaly)
        torch.set_float32_matmul_precision(precision)
        torch.set_flush_denormal(flushed)
        settings: Any = torch.backends.cudnn
        settings.enabled, settings.benchmark, settings.deterministic = cudnn
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        np.random.set_state(numpys)
        random.setstate(pythons)
        np.seterr(**errors)
        os.chdir(folder)
        for name in {*os.environ} - {*environment}:
            del os.environ[name]
        os.environ.update({name: value for name, value in environment.items() if os.environ.get(name) != value})


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Another default dtype of torch for a while."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def check_purity(trial: Trial, case: Case) -> None:
    """Inputs unchanged in every respect, memory shared only as declared, global state untouched; the same of the backward pass."""
    rounds = [False, True] if case.differentiable and trial.implementation.gradient else [False]
    for requires_grad in rounds:
        with preserved_state(), contextlib.nullcontext() if requires_grad else preserved_modules():
            _first_call(trial, case, requires_grad)
        args, kwargs = case.build(trial.device, requires_grad)
        computed = requires_grad and case.seed % 2 == 1
        if computed:
            args, kwargs = tuple(map(_computed, args)), {name: _computed(a) for name, a in kwargs.items()}
        named = _named(args, kwargs)
        script = _Script(GRAD * requires_grad + _COMPUTED * computed, CALL, named)
        with _untouched("the call", named, script, modules=not requires_grad):
            try:
                result = trial.invoke(args, kwargs)
            except Exception:
                raise Unsuitable from None
        if requires_grad:
            _check_backward(trial, result, named)
        else:
            _check_memory(trial, result, list(named.values()))
        _check_let_go(trial, case, requires_grad)


def _first_call(trial: Trial, case: Case, requires_grad: bool) -> None:
    """A call and its backward pass: what the first ones import or initialise is not their doing."""
    result = trial.call(case, requires_grad)
    if isinstance(result, torch.Tensor) and result.requires_grad:
        try:
            with trial.limited():
                torch.autograd.backward(result, torch.ones_like(result))
        except Exception:
            raise Unsuitable from None


def _computed(argument: Any) -> Any:
    """The same as what an earlier operation returned: no leaf of the graph."""
    return argument.clone() if isinstance(argument, torch.Tensor) and argument.requires_grad else argument


def _named(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    return {f"argument {i + 1}": a for i, a in enumerate(args)} | {f"argument {k}": a for k, a in kwargs.items()}


@dataclass(frozen=True)
class _Script:
    """What a replay script does before and between two looks at one thing.

    Parameters
    ----------
    before, between : str
        Lines.
    named : collection of str
        What the values are called in messages: arguments in their order, then others.
    others : tuple of str
        The variables of those others in the script.
    """

    before: str
    between: str
    named: Collection[str]
    others: tuple[str, ...] = ()

    def looking_at(self, expression: str) -> str:
        """The script for what an expression gives."""
        return self.before + unchanged(expression, self.between)

    def at(self, name: str, change: str) -> str:
        """The script for what was found of one of the named values."""
        variables = [f"[*args, *kwargs.values()][{k}]" for k in range(len(self.named) - len(self.others))]
        of = dict(zip(self.named, [*variables, *self.others], strict=True))[name]
        if change in _FACTS:
            return self.before + f"a = {of}\n" + unchanged(_FACTS[change], self.between)
        return (
            self.before
            + f"from opjury.model.arguments import snapshot\na = {of}\n"
            + unchanged("snapshot(a)", self.between)
        )


@contextmanager
def _untouched(call: str, named: dict[str, Any], script: _Script, *, modules: bool) -> Iterator[None]:
    """Refuted where the call meanwhile changes one of these values, the global state, or what modules hold."""
    before = {name: _Snapshot.of(value) for name, value in named.items()}
    with preserved_state():
        state, held = global_state(), _held() if modules else {}
        yield
        later, replaced = global_state(), _replaced(held)
    for key in state:
        if state[key] != later[key]:
            detail = f" (from {state[key]} to {later[key]})" if len(repr(state[key])) < 60 else ""
            steps = (
                f"from opjury.judge.checks.state import global_state\n{script.looking_at(f'global_state()[{key!r}]')}"
            )
            raise Refuted(f"{call} changes {key}{detail}", steps=steps)
    if replaced:
        module, name = replaced[0]
        steps = script.looking_at(f"vars({module}).get({name!r})")
        imported = "" if module == "torch.Tensor" else f"import {module}\n"
        raise Refuted(f"{call} replaces {module}.{name}", steps=imported + steps)
    for name, value in named.items():
        change = before[name].difference(_Snapshot.of(value))
        if change:
            raise Refuted(f"{call} changes {name}: its {change}", steps=script.at(name, change))


def _check_backward(trial: Trial, result: Any, named: dict[str, Any]) -> None:
    inputs = [value for value in named.values() if isinstance(value, torch.Tensor) and value.requires_grad]
    if not isinstance(result, torch.Tensor) or not result.requires_grad:
        return
    incoming = torch.ones_like(result, memory_format=torch.contiguous_format)
    named = {**named, "the result": result, "the incoming gradient": incoming}
    script = _Script(GRAD + _BEFORE_BACKWARD, _BACKWARD, named, ("result", "incoming"))
    with _untouched("backward", named, script, modules=False):
        try:
            with trial.limited():
                torch.autograd.grad(result, inputs, incoming, allow_unused=True)
        except Exception:
            raise Unsuitable from None


def _check_let_go(trial: Trial, case: Case, requires_grad: bool) -> None:
    """Nobody holds the arguments when the result is gone."""
    args, kwargs = case.build(trial.device, requires_grad)
    tensors = {
        name: a for name, a in _named(args, kwargs).items() if isinstance(a, torch.Tensor) or hasattr(a, "tocoo")
    }
    watched = {name: weakref.ref(a) for name, a in tensors.items()}
    trial.invoke(args, kwargs)
    del args, kwargs, tensors
    if any(held() is not None for held in watched.values()):
        gc.collect()
    for name, held in watched.items():
        if held() is not None:
            what = f"{name} stays in memory after call and result are gone"
            raise Refuted(what, steps=(GRAD if requires_grad else "") + _LET_GO)


def _check_memory(trial: Trial, result: Any, arguments: list[Any]) -> None:
    """Memory is shared as the contract allows and a registered implementation declares: a sparse view always, tensors at times."""
    shares = any(in_common(value, result) for value in arguments)
    if trial.operation.fresh and shares:
        raise Refuted(
            "the result shares memory with an argument; the contract promises a copy",
            steps=enclosed("in_common", in_common) + _SHARES.format("not "),
        )
    if not trial.declared or trial.operation.fresh:
        return
    if shares and not trial.implementation.view:
        raise Refuted(
            "the result shares memory with an argument, which is not declared",
            steps=enclosed("in_common", in_common) + _SHARES.format("not "),
        )
    if not shares and trial.implementation.view and trial.operation.result == "sparse":
        raise Refuted(
            "the result is a copy; a view is declared", steps=enclosed("in_common", in_common) + _SHARES.format("")
        )


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
