"""What must hold. Each check is `check_<property>(trial, case)`: it returns, or raises `Refuted` (or `Unsuitable`).

A check looks at its own property alone: where a call fails in a way that another check judges, the case is unsuitable for it.
Whatever a check needs beside the case it derives from the case's seed, so that a stored case replays.
"""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from opjury.case import Case, Tensor, carrier, is_floating, torch_dtype
from opjury.operation import Error
from opjury.verify import oracle
from opjury.verify.bounds import UNIT_ROUNDOFF, Expected
from opjury.verify.trial import Refuted, Trial, Unsuitable, describe, plain, random_like, show, zero_bound

SMALL = 40  # elements up to which whole Jacobians are computed


def check_agreement(trial: Trial, case: Case) -> None:
    """Values equal (exact tier), or within the bound (rounding tier)."""
    trial.in_flight = case
    try:
        result = trial.invoke(*case.build(trial.device))
    except Exception as error:
        raise Refuted(f"raises {describe(error)} for a legal call") from None
    trial.require(result, oracle.expected(trial.operation, case, trial.error))


def check_specials(trial: Trial, case: Case) -> None:
    """NaN, infinities, −0, subnormals and the largest values placed as the reference places them."""
    expected = oracle.expected(trial.operation, case, trial.error)
    trial.require(trial.call(case), expected)


def check_form(trial: Trial, case: Case) -> None:
    """Type, shape, dtype, device, sparse format; gradient history present when asked and absent when not."""
    operation = trial.operation
    result = trial.call(case)
    if operation.result == "sparse":
        args, kwargs = case.build()
        fault = operation.invariants(result, *args, **kwargs) if operation.invariants else None
        dtype = oracle.result_dtype(operation, case)
        if fault is None and str(result.dtype) != dtype:
            fault = f"dtype {result.dtype}; it should be {dtype}"
        if fault is None:
            fault = _other_shape(result, oracle.evaluate(operation, case).shape)
        if fault:
            raise Refuted(f"the result is {fault}")
        return
    fault = _tensor_form(trial, case, result)
    if fault:
        raise Refuted(f"the result {fault}", observed=_outline(result))
    if result.requires_grad or result.grad_fn is not None:
        raise Refuted("the result carries gradient history although no input requires gradients")
    if not case.differentiable or not operation.differentiable:
        return
    with torch.no_grad():
        silent = trial.call(case, requires_grad=True)
    if silent.grad_fn is not None:
        raise Refuted(
            "the result carries gradient history under torch.no_grad()",
            steps=_GRAD + "with torch.no_grad():\n    print(f(*args, **kwargs).grad_fn)",
        )
    if trial.implementation.gradient is None:
        return
    traced = trial.call(case, requires_grad=True)
    fault = _tensor_form(trial, case, traced)
    if fault:
        raise Refuted(f"the result {fault} when inputs require gradients", observed=_outline(traced))
    if not traced.requires_grad and traced.numel() and case.elements:
        raise Refuted(
            "the result has no gradient history although inputs require gradients",
            steps=_GRAD + "print(f(*args, **kwargs).requires_grad)",
        )


def _other_shape(result: Any, shape: tuple[int, ...]) -> str | None:
    return f"of shape {tuple(result.shape)}; it should have {shape}" if tuple(result.shape) != shape else None


def _outline(result: Any) -> str:
    if isinstance(result, torch.Tensor):
        return f"{type(result).__name__} {tuple(result.shape)} {result.dtype} on {result.device}"
    return f"{type(result).__name__} {result!r}"[:200]


def _tensor_form(trial: Trial, case: Case, result: Any) -> str | None:
    if type(result) is not torch.Tensor:
        return f"is a {type(result).__name__}; it should be a torch.Tensor"
    expected = oracle.evaluate(trial.operation, plain(case))
    if tuple(result.shape) != expected.shape:
        return f"has shape {tuple(result.shape)}; it should have {expected.shape}"
    dtype = torch_dtype(oracle.result_dtype(trial.operation, case))
    if result.dtype != dtype:
        return f"has dtype {result.dtype}; it should have {dtype}"
    if result.device.type != torch.device(trial.device).type:
        return f"is on {result.device}; it should be on {trial.device}"
    if result.layout is not torch.strided:
        return f"has layout {result.layout}; it should have torch.strided"
    return None


def check_layouts(trial: Trial, case: Case) -> None:
    """The same result for transposed, sliced, stepped, expanded, lazily conjugated and negated inputs as for contiguous ones."""
    rng = np.random.default_rng(case.seed)
    case = case.map(lambda leaf: _index_laid_out(leaf, rng) if isinstance(leaf, Tensor) and not leaf.data else leaf)
    if all(getattr(leaf, "layout", "contiguous") == "contiguous" for _, leaf in case.leaves()):
        raise Unsuitable
    straight = plain(case)
    expected = oracle.expected(trial.operation, straight, trial.error)
    first = trial.values(trial.call(straight), expected)
    if first.shape != expected.value.shape:
        raise Unsuitable
    lazily = any(getattr(leaf, "layout", "") in ("conj", "neg") for _, leaf in case.leaves())
    same = replace(zero_bound(first, expected, 2.0), signed_zeros=expected.signed_zeros and not lazily)
    trial.require(trial.call(case), same, "result for this layout")


def _index_laid_out(leaf: Tensor, rng: np.random.Generator) -> Tensor:
    return replace(leaf, layout=str(rng.choice(["contiguous", "transposed", "offset", "step"])))


@dataclass(frozen=True)
class _Snapshot:
    """What can be seen of an argument, its memory beyond the view included."""

    value: tuple[Any, ...]

    @staticmethod
    def of(argument: Any) -> _Snapshot:
        if isinstance(argument, torch.Tensor):
            storage = argument.untyped_storage()
            raw = (
                bytes(torch.tensor([], dtype=torch.uint8).set_(storage).numpy().tobytes())
                if argument.device.type == "cpu"
                else b""
            )
            facts = (
                argument.shape,
                argument.stride(),
                argument.storage_offset(),
                argument.dtype,
                argument.requires_grad,
                argument.grad is None,
            )
            return _Snapshot((raw, *facts, argument._version, argument.is_conj(), argument.is_neg(), type(argument)))
        if hasattr(argument, "tocoo"):
            arrays = [
                (name, value.tobytes(), value.shape, value.dtype.str)
                for name, value in sorted(vars(argument).items())
                if isinstance(value, np.ndarray)
            ]
            entries = (
                sorted(map(repr, argument.items()))
                if argument.format == "dok"
                else [repr(argument.tolil().rows), repr(argument.tolil().data)]
                if argument.format == "lil"
                else []
            )
            return _Snapshot(
                (
                    type(argument),
                    argument.shape,
                    argument.dtype.str,
                    repr(arrays) if argument.format != "lil" else "",
                    repr(entries),
                )
            )
        return _Snapshot((repr(argument),))

    def difference(self, later: _Snapshot) -> str:
        names = (
            "values",
            "shape",
            "strides",
            "storage offset",
            "dtype",
            "requires_grad",
            "grad",
            "version (it was written to in place)",
            "conj bit",
            "neg bit",
            "type",
        )
        if len(self.value) == len(names):
            return next((name for name, a, b in zip(names, self.value, later.value, strict=True) if a != b), "")
        return "stored entries" if self.value != later.value else ""


def _global_state() -> dict[str, Any]:
    return {
        "torch's default dtype": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's gradient mode": torch.is_grad_enabled(),
        "torch's random generator": torch.random.get_rng_state().numpy().tobytes(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "torch's default device": str(torch.get_default_device()) if hasattr(torch, "get_default_device") else "",
        "torch's anomaly mode": torch.is_anomaly_enabled(),
        "torch's matmul precision": torch.get_float32_matmul_precision(),
        "NumPy's random generator": repr(np.random.get_state(legacy=False)),
        "NumPy's error handling": tuple(np.geterr().items()),
        "Python's random generator": random.getstate(),
        "the environment": tuple(sorted(os.environ.items())),
        "the working directory": os.getcwd(),
    }


@contextmanager
def preserved_state() -> Iterator[None]:
    """Put back, at the end, what of the global state a badly behaved implementation may have changed."""
    dtype, threads, grad = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    generator, numpys, pythons = torch.random.get_rng_state(), np.random.get_state(), random.getstate()
    deterministic, errors = torch.are_deterministic_algorithms_enabled(), np.geterr()
    anomaly, precision = torch.is_anomaly_enabled(), torch.get_float32_matmul_precision()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.random.set_rng_state(generator)
        torch.use_deterministic_algorithms(deterministic)
        torch.autograd.set_detect_anomaly(anomaly)
        torch.set_float32_matmul_precision(precision)
        torch.set_default_device(None)
        np.random.set_state(numpys)
        random.setstate(pythons)
        np.seterr(**errors)  # type: ignore[call-overload]


def check_purity(trial: Trial, case: Case) -> None:
    """Inputs unchanged in every respect, memory shared only as declared, global state untouched."""
    rounds = [False, True] if case.differentiable and trial.implementation.gradient else [False]
    for requires_grad in rounds:
        trial.call(case, requires_grad)  # what a first call imports or initialises is not its doing
        args, kwargs = case.build(trial.device, requires_grad)
        named = [*((str(i + 1), a) for i, a in enumerate(args)), *kwargs.items()]
        before = [_Snapshot.of(value) for _, value in named]
        with preserved_state():
            state = _global_state()
            try:
                result = trial.invoke(args, kwargs)
            except Exception:
                raise Unsuitable from None
            later = _global_state()
        for key in state:
            if state[key] != later[key]:
                detail = f" (from {state[key]} to {later[key]})" if len(repr(state[key])) < 60 else ""
                raise Refuted(f"the call changes {key}{detail}")
        for (name, value), snapshot in zip(named, before, strict=True):
            change = snapshot.difference(_Snapshot.of(value))
            if change:
                raise Refuted(f"the call changes argument {name}: its {change}", steps=_BEFORE_AFTER)
        if not requires_grad:
            _check_memory(trial, result, [value for _, value in named])


def _arrays(value: Any) -> list[np.ndarray]:
    """The arrays that a SciPy sparse array is stored in."""
    return [a for a in vars(value).values() if isinstance(a, np.ndarray)] if hasattr(value, "tocoo") else []


def _check_memory(trial: Trial, result: Any, arguments: list[Any]) -> None:
    if trial.operation.result == "sparse":
        shares = any(np.shares_memory(a, b) for value in arguments for a in _arrays(value) for b in _arrays(result))
    elif isinstance(result, torch.Tensor) and result.numel():
        mine = result.untyped_storage().data_ptr()
        shares = any(
            isinstance(a, torch.Tensor) and a.numel() and a.untyped_storage().data_ptr() == mine for a in arguments
        )
    else:
        return
    if trial.operation.fresh and shares:
        raise Refuted("the result shares memory with an argument; the contract promises a copy")
    if trial.declared and shares != trial.implementation.view and not trial.operation.fresh:
        raise Refuted(
            "the result shares memory with an argument, which is not declared"
            if shares
            else "the result is a copy; a view is declared"
        )


def _bits(trial: Trial, result: Any) -> Any:
    """A result in a form that compares equal only if every bit is the same."""
    if isinstance(result, torch.Tensor):
        values = result.detach().as_subclass(torch.Tensor).resolve_conj().resolve_neg().cpu().contiguous()
        return (
            str(values.dtype),
            tuple(values.shape),
            values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"",
        )
    if hasattr(result, "tocoo"):
        entries = result.tocoo()
        return (type(result), result.shape, entries.data.tobytes(), entries.row.tobytes(), entries.col.tobytes())
    raise Unsuitable


def check_determinism(trial: Trial, case: Case) -> None:
    """The same call gives the same bits: however often, after other calls, in another global state, in reused memory."""
    rng = np.random.default_rng(case.seed)
    first = trial.call(case)
    bits = _bits(trial, first)
    shares = _storage(first) in {_storage(a) for a in case.build()[0] if isinstance(a, torch.Tensor)}
    other = _other_values(case, rng)
    other_first = _bits(trial, trial.call(other))
    if _bits(trial, first) != bits and not shares:
        raise Refuted("an earlier result changes when the function is called again", steps=_KEPT)
    if other_first == bits and _differ(trial, case, other):
        raise Refuted(
            "a second call with other values returns the first call's result",
            steps=f"first = f(*args, **kwargs)\nsecond = f({other.code()})\nprint(first, second)",
        )
    _reused_memory(trial, case, other, other_first)
    for repetition in range(_repetitions(rng)):
        if _bits(trial, trial.call(case)) != bits:
            raise Refuted(
                f"call {repetition + 2} with the same arguments gives other bits than the first", steps=_REPEATED
            )
    for description, context in _other_states(trial, case):
        with preserved_state(), context():
            if _bits(trial, trial.call(case)) != bits:
                raise Refuted(f"the same call gives another result {description}", steps=_STATES[description])
    _threads(trial, case, first)
    _same_gradient_twice(trial, case, rng)


def _storage(value: Any) -> int:
    return value.untyped_storage().data_ptr() if isinstance(value, torch.Tensor) and value.numel() else -1


def _repetitions(rng: np.random.Generator) -> int:
    return 110 if rng.integers(12) == 0 else 3


def _other_values(case: Case, rng: np.random.Generator) -> Case:
    """The same shapes with one element changed, or with all of them in another order."""
    places = [place for place, leaf in case.leaves() if isinstance(leaf, Tensor) and leaf.data and leaf.values.size]
    if not places:
        return case
    place = places[int(rng.integers(len(places)))]
    leaf = dict(case.leaves())[place]
    values = leaf.values.copy().reshape(-1)
    index = rng.integers(values.size)
    if values.dtype.kind == "b":
        values[index] = not values[index]
    else:
        values[index] = 2 if values[index] != 2 else 1
    if leaf.layout == "expanded":
        leaf = replace(leaf, layout="contiguous")
    return case.with_leaf(place, replace(leaf, values=values.reshape(leaf.values.shape)))


def _differ(trial: Trial, one: Case, other: Case) -> bool:
    a, b = (oracle.expected(trial.operation, plain(c)) for c in (one, other))
    with np.errstate(invalid="ignore"):
        return (
            bool(np.any(np.abs(np.asarray(a.value != b.value))))
            if a.value.dtype.kind in "iub"
            else bool(np.any(np.abs(a.value - b.value) > 4 * np.asarray(_loose(trial, one).bound)))
        )


def _loose(trial: Trial, case: Case) -> Expected:
    return oracle.expected(trial.operation, replace(plain(case), tier="rounding"), trial.error)


def _reused_memory(trial: Trial, case: Case, other: Case, other_bits: Any) -> None:
    """Overwrite the very tensors of one call with other values, and call again."""
    args, kwargs = case.build(trial.device)
    try:
        trial.invoke(args, kwargs)
        new_args, new_kwargs = other.build(trial.device)
        for old, new in zip([*args, *kwargs.values()], [*new_args, *new_kwargs.values()], strict=True):
            if isinstance(old, torch.Tensor) and not _equal(old, new):
                old.copy_(new)
        again = _bits(trial, trial.invoke(args, kwargs))
    except Exception:
        raise Unsuitable from None
    if again != other_bits and all(getattr(leaf, "layout", "contiguous") == "contiguous" for _, leaf in case.leaves()):
        raise Refuted(
            "after its inputs were overwritten in place, a call still sees the old values", steps=_OVERWRITTEN
        )


def _equal(old: torch.Tensor, new: torch.Tensor) -> bool:
    return (
        bool(torch.equal(torch.nan_to_num(old), torch.nan_to_num(new)))
        if old.is_floating_point()
        else bool(torch.equal(old, new))
    )


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _seeded() -> Iterator[None]:
    torch.manual_seed(20240229)
    np.random.seed(99)
    random.seed(99)
    yield


@contextmanager
def _deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _other_states(trial: Trial, case: Case) -> Iterator[tuple[str, Callable[[], Any]]]:
    if trial.operation.result_dtype(case.dtype) != "default":
        yield "under default dtype float64", lambda: _default_dtype(torch.float64)
        yield "under default dtype float16", lambda: _default_dtype(torch.float16)
    yield "under torch.no_grad()", torch.no_grad
    yield "under torch.inference_mode()", torch.inference_mode
    yield "after other seeds", _seeded
    yield "under torch.use_deterministic_algorithms(True)", _deterministic


def _threads(trial: Trial, case: Case, first: Any) -> None:
    before = torch.get_num_threads()
    if before != 1 or case.seed % 8 or (os.cpu_count() or 1) < 2:
        return
    try:
        torch.set_num_threads(2)
        again = trial.call(case)
    finally:
        torch.set_num_threads(before)
    expected = oracle.expected(trial.operation, plain(case), trial.error)
    values = trial.values(first, expected)
    if values.shape == expected.value.shape:
        trial.require(again, zero_bound(values, expected, 2.0), "result with two threads")


def _same_gradient_twice(trial: Trial, case: Case, rng: np.random.Generator) -> None:
    if trial.implementation.gradient is None or not trial.operation.differentiable or not case.differentiable:
        return
    found = []
    for _ in range(3):
        args, kwargs = case.build(trial.device, requires_grad=True)
        try:
            out = trial.invoke(args, kwargs)
            if not out.requires_grad:
                return
            inputs = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor) and a.requires_grad]
            weights = random_like(
                np.random.default_rng(case.seed), tuple(out.shape), str(out.dtype).removeprefix("torch."), "exact"
            )
            grads = torch.autograd.grad(
                out, inputs, torch.from_numpy(weights).to(out.dtype).to(out.device), allow_unused=True
            )
        except Exception:
            raise Unsuitable from None
        found.append([None if g is None else _bits(trial, g) for g in grads])
    if found[1] != found[0] or found[2] != found[0]:
        raise Refuted(
            "the gradient of the same call differs from one time to the next",
            steps=_GRAD
            + "for _ in range(3):\n    print(torch.autograd.grad(f(*args, **kwargs).sum(), [a for a in args if getattr(a, 'requires_grad', False)]))",
        )


_GRAD = "for a in args:\n    if isinstance(a, torch.Tensor) and (a.is_floating_point() or a.is_complex()):\n        a.requires_grad_()\n"
_BEFORE_AFTER = (
    "import copy\nbefore = copy.deepcopy(args)\nf(*args, **kwargs)\nprint('before:', before)\nprint('after: ', args)"
)
_KEPT = "first = f(*args, **kwargs)\nkept = first.clone()\nf(*(a * 2 if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args), **kwargs)\nprint(kept, first)"
_REPEATED = "first = f(*args, **kwargs)\nfor call in range(120):\n    again = f(*args, **kwargs)\n    if not torch.equal(torch.nan_to_num(again), torch.nan_to_num(first)):\n        print(call + 2, again, first)\n        break"
_OVERWRITTEN = "first = f(*args, **kwargs).clone()\nx = next(a for a in args if isinstance(a, torch.Tensor))\nx.copy_(x.flip(-1) if x.ndim else x + 1)\nprint(first, f(*args, **kwargs), f(*(a.clone() if isinstance(a, torch.Tensor) else a for a in args), **kwargs))"
_STATES = {
    "under default dtype float64": "print(f(*args, **kwargs))\ntorch.set_default_dtype(torch.float64)\nprint(f(*args, **kwargs))",
    "under default dtype float16": "print(f(*args, **kwargs))\ntorch.set_default_dtype(torch.float16)\nprint(f(*args, **kwargs))",
    "under torch.no_grad()": "print(f(*args, **kwargs))\nwith torch.no_grad():\n    print(f(*args, **kwargs))",
    "under torch.inference_mode()": "print(f(*args, **kwargs))\nwith torch.inference_mode():\n    print(f(*args, **kwargs))",
    "after other seeds": "print(f(*args, **kwargs))\ntorch.manual_seed(1)\nprint(f(*args, **kwargs))",
    "under torch.use_deterministic_algorithms(True)": "print(f(*args, **kwargs))\ntorch.use_deterministic_algorithms(True, warn_only=True)\nprint(f(*args, **kwargs))",
}


def _incoming(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, tier: str) -> tuple[np.ndarray, Tensor]:
    """An incoming gradient: its values, and a recipe with contiguous, expanded, transposed or stepped memory, or of zeros."""
    values = random_like(rng, shape, dtype, tier)
    layout = str(rng.choice(["contiguous", "expanded", "transposed", "step", "zeros"], p=[0.35, 0.25, 0.15, 0.15, 0.1]))
    if layout == "zeros":
        values, layout = np.zeros_like(values), "contiguous"
    if layout == "expanded":
        values = np.full_like(values, values.reshape(-1)[0] or 1) if values.size else values
        if tier == "exact":
            values = np.ones_like(values)
    return values, Tensor(values, dtype, layout)


def _expand_fully(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1)[:1].clone().reshape([1] * tensor.ndim).expand(tensor.shape) if tensor.numel() else tensor


def check_gradient(trial: Trial, case: Case) -> None:
    """The gradient of ⟨w, f(x)⟩ equals Jᵀw, J computed from the reference: for all or some inputs, for any incoming w."""
    rng = np.random.default_rng(case.seed)
    places = case.differentiable
    chosen = [place for place in places if rng.integers(2)] or places if rng.integers(3) == 0 else places
    args, kwargs = case.build(trial.device, requires_grad=chosen)
    trial.in_flight = case
    out = _forward(trial, case, args, kwargs, chosen)
    shape = oracle.evaluate(trial.operation, plain(case)).shape
    if (
        not isinstance(out, torch.Tensor)
        or tuple(out.shape) != shape
        or out.dtype != torch_dtype(oracle.result_dtype(trial.operation, case))
    ):
        raise Unsuitable
    live = {**dict(enumerate(args)), **kwargs}
    weights, recipe = _incoming(rng, shape, str(out.dtype).removeprefix("torch."), case.tier)
    incoming = recipe.build(trial.device)
    incoming = _expand_fully(incoming) if recipe.layout == "expanded" else incoming
    if not out.requires_grad:
        if out.numel() == 0 or not any(
            oracle.dependence(trial.operation, plain(case), place).any() for place in chosen if case.elements <= SMALL
        ):
            raise Unsuitable
        raise Refuted(
            "the result has no gradient history although inputs require gradients",
            steps=_GRAD + "print(f(*args, **kwargs).requires_grad)",
        )
    steps = (
        _GRAD
        + f"w = {recipe.code()}\nout = f(*args, **kwargs)\nprint(torch.autograd.grad(out, [a for a in args if getattr(a, 'requires_grad', False)], w, allow_unused=True))"
    )
    try:
        grads = torch.autograd.grad(
            out, [live[place] for place in chosen], incoming, allow_unused=True, retain_graph=bool(rng.integers(2))
        )
    except Exception as error:
        raise Refuted(f"backward raises {describe(error)}", steps=steps) from None
    for place, grad in zip(chosen, grads, strict=True):
        name = _name(trial, place)
        leaf = dict(case.leaves())[place]
        if grad is None:
            grad = torch.zeros_like(live[place])
        if grad.shape != live[place].shape or grad.dtype != live[place].dtype:
            raise Refuted(f"the gradient for {name} has shape {tuple(grad.shape)} and dtype {grad.dtype}", steps=steps)
        if leaf.values.size <= SMALL or trial.operation.kind == "movement" or trial.operation.gradient is not None:
            expected = oracle.expected_gradient(trial.operation, plain(case), place, weights, trial.error)
            trial.require(grad.reshape(-1), expected, f"gradient for {name}, flat,", steps)
        else:
            elements = np.unique(np.concatenate([[0, leaf.values.size - 1], rng.integers(0, leaf.values.size, 10)]))
            expected = oracle.expected_gradient(trial.operation, plain(case), place, weights, trial.error, elements)
            trial.require(
                grad.reshape(-1)[torch.from_numpy(elements)],
                expected,
                f"gradient for {name} at {elements.tolist()}",
                steps,
            )
            _adjoint(trial, case, place, weights, grad, rng, steps)
    if (
        case.tier == "exact"
        and case.dtype in ("float64", "complex128")
        and 0 < case.elements <= 12
        and case.seed % 4 == 0
    ):
        _gradcheck(trial, case, chosen)


def _forward(trial: Trial, case: Case, args: tuple[Any, ...], kwargs: dict[str, Any], chosen: list[Any]) -> Any:
    try:
        return trial.invoke(args, kwargs)
    except Exception as error:
        try:
            trial.invoke(*plain(case).build(trial.device))
        except Exception:
            raise Unsuitable from None
        raise Refuted(
            f"raises {describe(error)} when {', '.join(_name(trial, p) for p in chosen)} requires gradients",
            steps=_GRAD + "f(*args, **kwargs)",
        ) from None


def _name(trial: Trial, place: int | str) -> str:
    import inspect

    if isinstance(place, str):
        return place
    names = list(inspect.signature(trial.operation.reference).parameters)
    return names[place] if place < len(names) else f"argument {place + 1}"


def _adjoint(
    trial: Trial, case: Case, place: Any, weights: np.ndarray, grad: torch.Tensor, rng: np.random.Generator, steps: str
) -> None:
    """⟨w, f(x)⟩ = ⟨fᵀ(w), x⟩ for other x: catches what is wrong with a large gradient anywhere."""
    if case.tier != "exact" or trial.error is not None or case.dtype in ("float16", "bfloat16"):
        return
    leaf = dict(case.leaves())[place]
    values = trial.values(grad, np.zeros(0, carrier(leaf.dtype)))
    for _ in range(3):
        probe = rng.integers(-2, 3, leaf.values.shape).astype(carrier(leaf.dtype))
        moved = plain(case).with_leaf(place, replace(leaf, values=probe, layout="contiguous"))
        result = oracle.evaluate(trial.operation, moved)
        left, right = np.sum(np.conj(weights) * result).real, np.sum(np.conj(values) * probe).real
        absolute = moved.with_leaf(place, replace(leaf, values=np.abs(probe), layout="contiguous"))
        size = float(np.sum(np.abs(weights) * np.abs(oracle.evaluate(trial.operation, absolute))))
        if abs(left - right) > (64 + weights.size) * UNIT_ROUNDOFF[leaf.dtype] * size:
            raise Refuted(
                f"⟨w, f(v)⟩ is {left!r} but ⟨gradient, v⟩ is {right!r} for {_name(trial, place)}", steps=steps
            )


def _gradcheck(trial: Trial, case: Case, chosen: list[Any]) -> None:
    """A second opinion: torch.autograd.gradcheck, by finite differences in double precision."""
    args, kwargs = plain(case).build(trial.device, requires_grad=chosen)

    def call(*live: Any) -> Any:
        return trial.function(*live, **kwargs)

    try:
        torch.autograd.gradcheck(call, args, check_batched_grad=False, check_undefined_grad=True)
    except RuntimeError as error:
        raise Refuted(
            f"torch.autograd.gradcheck: {describe(error)}", steps=_GRAD + "torch.autograd.gradcheck(f, args)"
        ) from None


def check_second_order(trial: Trial, case: Case) -> None:
    """The gradient can be differentiated again, and that derivative is right."""
    rng = np.random.default_rng(case.seed)
    args, kwargs = case.build(trial.device, requires_grad=True)
    live = {**dict(enumerate(args)), **kwargs}
    out = _forward(trial, case, args, kwargs, case.differentiable)
    if not out.requires_grad or not out.numel():
        raise Unsuitable
    dtype = str(out.dtype).removeprefix("torch.")
    if trial.operation.gradient is not None:
        return _gradgradcheck(trial, case)
    place = case.differentiable[int(rng.integers(len(case.differentiable)))]
    leaf = dict(case.leaves())[place]
    w = Tensor(random_like(rng, tuple(out.shape), dtype, "exact"), dtype).build(trial.device, requires_grad=True)
    direction = replace(leaf, values=random_like(rng, leaf.values.shape, leaf.dtype, "exact"), layout="contiguous")
    moved = plain(case).with_leaf(place, direction)
    steps = (
        _GRAD
        + "out = f(*args, **kwargs)\nw = torch.ones_like(out, requires_grad=True)\n(g,) = torch.autograd.grad(out, args[0], w, create_graph=True)\nprint(torch.autograd.grad(g.sum(), w))"
    )
    try:
        (grad,) = torch.autograd.grad(out, [live[place]], w, create_graph=True, allow_unused=True)
        if grad is None or not grad.requires_grad:
            if oracle.dependence(trial.operation, plain(case), place).any():
                raise Refuted(f"the gradient for {_name(trial, place)} cannot be differentiated again", steps=steps)
            raise Unsuitable
        (second,) = torch.autograd.grad(grad, [w], direction.build(trial.device), allow_unused=True)
    except RuntimeError as error:
        raise Refuted(f"differentiating the gradient raises {describe(error)}", steps=steps) from None
    trial.require(
        torch.zeros_like(out) if second is None else second,
        _derived(trial, moved),
        f"derivative of the gradient for {_name(trial, place)}",
        steps,
    )
    return None


def _derived(trial: Trial, case: Case) -> Expected:
    """What a derivative of a linear operation must be: the operation itself, half types added in the half type."""
    error = trial.error
    if case.dtype in ("float16", "bfloat16"):
        error = replace(error, accumulates="input") if error else Error(accumulates="input")
    return replace(oracle.expected(trial.operation, replace(case, tier="exact"), error), signed_zeros=False)


def _gradgradcheck(trial: Trial, case: Case) -> None:
    if case.dtype not in ("float64", "complex128") or case.elements > 8:
        raise Unsuitable
    args, kwargs = plain(case).build(trial.device, requires_grad=True)
    if any(isinstance(a, torch.Tensor) and a.numel() and not 1e-2 < float(a.detach().abs().max()) < 1e2 for a in args):
        raise Unsuitable
    try:
        torch.autograd.gradgradcheck(lambda *live: trial.function(*live, **kwargs), args)
    except RuntimeError as error:
        raise Refuted(
            f"torch.autograd.gradgradcheck: {describe(error)}", steps=_GRAD + "torch.autograd.gradgradcheck(f, args)"
        ) from None


def check_forward_mode(trial: Trial, case: Case) -> None:
    """torch.func.jvp gives the directional derivative."""
    rng = np.random.default_rng(case.seed)
    args, kwargs = plain(case).build(trial.device)
    if not case.differentiable:
        raise Unsuitable
    place = case.differentiable[int(rng.integers(len(case.differentiable)))]
    leaf = dict(case.leaves())[place]
    direction = replace(leaf, values=random_like(rng, leaf.values.shape, leaf.dtype, "exact"), layout="contiguous")

    def along(x: torch.Tensor) -> Any:
        return trial.function(
            *(x if i == place else a for i, a in enumerate(args)),
            **{k: x if k == place else v for k, v in kwargs.items()},
        )

    steps = (
        f"x = args[{place!r}]\nprint(torch.func.jvp(lambda x: f(x, *args[1:], **kwargs), (x,), (torch.ones_like(x),)))"
    )
    try:
        _, tangent = torch.func.jvp(along, (leaf.build(trial.device),), (direction.build(trial.device),))
    except Exception as error:
        _unsuitable_if_it_fails_anyway(trial, case)
        raise Refuted(f"torch.func.jvp raises {describe(error)}", steps=steps) from None
    if trial.operation.gradient is None:
        return trial.require(tangent, _derived(trial, plain(case).with_leaf(place, direction)), "tangent", steps)
    weights = random_like(rng, tuple(tangent.shape), leaf.dtype, "exact")
    expected = oracle.expected_gradient(trial.operation, plain(case), place, weights, trial.error)
    direct = trial.values(
        tangent,
        np.zeros(
            0, carrier(leaf.dtype) if leaf.dtype.startswith("complex") and tangent.is_complex() else np.dtype(float)
        ),
    )
    flat = direction.values.ravel()
    left, right = np.sum(np.conj(weights) * direct).real, np.sum(np.conj(expected.value) * flat).real
    slack = 4 * float(np.sum(np.asarray(expected.bound) * np.abs(flat))) + 128 * abs(right) * UNIT_ROUNDOFF[leaf.dtype]
    if not abs(left - right) <= slack:
        raise Refuted(f"⟨w, tangent⟩ is {left!r}; it should be {right!r}", steps=steps)
    return None


def _unsuitable_if_it_fails_anyway(trial: Trial, case: Case) -> None:
    try:
        trial.invoke(*plain(case).build(trial.device))
    except Exception:
        raise Unsuitable from None


def check_vmap(trial: Trial, case: Case) -> None:
    """torch.func.vmap over a data argument gives the stacked results."""
    rng = np.random.default_rng(case.seed)
    places = [place for place, leaf in case.leaves() if isinstance(leaf, Tensor) and leaf.data]
    if not places or case.elements > 4 * SMALL:
        raise Unsuitable
    place = places[int(rng.integers(len(places)))]
    leaf = replace(dict(case.leaves())[place], layout="contiguous")
    batch = [leaf.values, leaf.values[::-1].copy() if leaf.values.ndim else leaf.values, leaf.values]
    args, kwargs = plain(case).build(trial.device)
    stacked = torch.stack([replace(leaf, values=values).build(trial.device) for values in batch])

    def one(x: torch.Tensor) -> Any:
        return trial.function(
            *(x if i == place else a for i, a in enumerate(args)),
            **{k: x if k == place else v for k, v in kwargs.items()},
        )

    steps = f"x = args[{place!r}]\nprint(torch.func.vmap(lambda x: f(x, *args[1:], **kwargs))(torch.stack([x, x])))"
    try:
        results = torch.func.vmap(one)(stacked)
    except Exception as error:
        _unsuitable_if_it_fails_anyway(trial, case)
        raise Refuted(f"torch.func.vmap raises {describe(error)}", steps=steps) from None
    for row, values in enumerate(batch):
        expected = oracle.expected(
            trial.operation, plain(case).with_leaf(place, replace(leaf, values=values)), trial.error
        )
        trial.require(results[row], expected, f"row {row} of the batch", steps)


def check_locality(trial: Trial, case: Case) -> None:
    """Where the reference does not depend on an input, a NaN there is harmless and the gradient exactly zero."""
    case = plain(case)
    rng = np.random.default_rng(case.seed)
    places = [p for p in case.differentiable if dict(case.leaves())[p].values.size]
    if not places or case.elements > SMALL:
        raise Unsuitable
    place = places[int(rng.integers(len(places)))]
    leaf = dict(case.leaves())[place]
    depends = oracle.dependence(trial.operation, case, place)
    if depends.all():
        raise Unsuitable
    clean = oracle.expected(trial.operation, case, trial.error)
    before = trial.values(trial.call(case), clean)
    if before.shape != clean.value.shape:
        raise Unsuitable
    element = int(rng.choice(np.flatnonzero(~depends.reshape(len(depends), -1).all(1))))
    values = leaf.values.copy().reshape(-1)
    poison = [np.nan, np.inf, values.dtype.type(2.0**14 if leaf.dtype == "float16" else 2.0**60)][int(rng.integers(3))]
    values[element] = poison
    poisoned = case.with_leaf(place, replace(leaf, values=values.reshape(leaf.values.shape)))
    after = trial.values(trial.call(poisoned), clean)
    apart = ~depends[element]
    changed = np.flatnonzero((apart & ~((before == after) | (np.isnan(before) & np.isnan(after)))).ravel())
    if changed.size:
        at = np.unravel_index(int(changed[0]), after.shape)
        raise Refuted(
            f"{_name(trial, place)} element {element} set to {poison!r} changes result{[int(i) for i in at]} from {before[at]!r} to "
            f"{after[at]!r}, which does not depend on it",
            show(after),
            show(before),
            f"x = args[{place!r}]\nprint(f(*args, **kwargs))\nwith torch.no_grad():\n    x.reshape(-1)[{element}] = float('{float(poison.real)}')\nprint(f(*args, **kwargs))",
        )
    _local_gradient(trial, case, place, depends, rng)


def _local_gradient(trial: Trial, case: Case, place: Any, depends: np.ndarray, rng: np.random.Generator) -> None:
    if trial.implementation.gradient is None or not trial.operation.differentiable:
        return
    leaf = dict(case.leaves())[place]
    args, kwargs = case.build(trial.device, requires_grad=[place])
    out = _forward(trial, case, args, kwargs, [place])
    live = {**dict(enumerate(args)), **kwargs}[place]
    if not out.requires_grad or tuple(out.shape) != depends.shape[1:]:
        raise Unsuitable
    dtype = str(out.dtype).removeprefix("torch.")
    weights = random_like(rng, tuple(out.shape), dtype, "rounding")
    poisoned = np.flatnonzero(rng.random(weights.size) < 0.3) if rng.integers(2) else np.zeros(0, int)
    weights.reshape(-1)[poisoned] = rng.choice([np.nan, np.inf])
    recipe = Tensor(weights, dtype)
    steps = _GRAD + f"w = {recipe.code()}\nprint(torch.autograd.grad(f(*args, **kwargs), args[0], w))"
    try:
        (grad,) = torch.autograd.grad(out, [live], recipe.build(trial.device), allow_unused=True)
    except Exception:
        raise Unsuitable from None
    if grad is None:
        return
    values = trial.values(grad, np.zeros(0, carrier(leaf.dtype))).ravel()
    reached = depends.reshape(len(depends), -1)
    leaking = np.flatnonzero(~reached.any(1) & (values != 0))
    if leaking.size:
        raise Refuted(
            f"the gradient for {_name(trial, place)} element {int(leaking[0])} is {values[leaking[0]]!r}; it should be exactly 0: no output depends on it",
            show(values),
            steps=steps,
        )
    spread = np.flatnonzero(~reached[:, poisoned].any(1) & ~np.isfinite(values)) if poisoned.size else []
    if len(spread):
        raise Refuted(
            f"an incoming {weights.reshape(-1)[poisoned[0]]!r} makes the gradient for {_name(trial, place)} element {int(spread[0])} {values[spread[0]]!r}; "
            "the outputs it came in at do not depend on that element",
            show(values),
            steps=steps,
        )


def check_laws(trial: Trial, case: Case) -> None:
    """The contract's metamorphic relations."""
    case = plain(case)
    rng = np.random.default_rng(case.seed)
    laws = trial.operation.laws
    if not laws:
        raise Unsuitable
    law = laws[int(rng.integers(len(laws)))]
    args, kwargs = case.build(trial.device)

    def f(*live: Any, **named: Any) -> Any:
        return trial.invoke(live, named)

    trial.in_flight = case
    try:
        sides = law.sides(f, rng, *args, **kwargs)
    except Exception:
        raise Unsuitable from None
    if sides is None:
        raise Unsuitable
    left, right = (_law_side(trial, side) for side in sides)
    if left.shape != right.shape:
        raise Refuted(f"{law.name}: one side has shape {left.shape}, the other {right.shape}", show(left), show(right))
    slack = 0.0
    if trial.error is not None or "exact" not in trial.operation.tiers:
        bound = np.asarray(oracle.expected(trial.operation, case, trial.error).bound)
        slack = 8 * float(np.max(bound[np.isfinite(bound)], initial=0.0)) if bound.ndim else 8 * float(bound)
    with np.errstate(invalid="ignore"):
        apart = (
            ~((left == right) | (np.isnan(left) & np.isnan(right)) | (np.abs(left - right) <= slack))
            if left.dtype.kind != "b"
            else left != right
        )
    if apart.any():
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(apart)), left.shape))
        raise Refuted(
            f"{law.name}: {left[at]!r} on one side and {right[at]!r} on the other at {list(at)}",
            show(left),
            show(right),
        )


def _law_side(trial: Trial, side: Any) -> np.ndarray:
    if isinstance(side, torch.Tensor):
        kind = carrier(str(side.dtype).removeprefix("torch."))
        return trial.values(side, np.zeros(0, kind))
    if hasattr(side, "toarray"):
        return np.asarray(side.toarray())
    return np.asarray(side)


ALLOWED_ERRORS = (ValueError, TypeError, IndexError, RuntimeError)


def check_rejects(trial: Trial, case: Case) -> None:
    """Every illegal call raises ValueError, TypeError, IndexError or RuntimeError, with a message."""
    trial.in_flight = case
    try:
        result = trial.invoke(*case.build(trial.device))
    except ALLOWED_ERRORS as error:
        if not str(error).strip():
            raise Refuted(f"an illegal call raises {type(error).__name__} without a message") from None
        return
    except Exception as error:
        raise Refuted(
            f"an illegal call raises {describe(error)}; it should be a ValueError, TypeError, IndexError or RuntimeError"
        ) from None
    raise Refuted("an illegal call is accepted; it should raise", observed=_outline(result))


def check_terminates(trial: Trial, case: Case) -> None:
    """An answer, or an error, within the time limit."""
    trial.in_flight = case
    try:
        trial.invoke(*case.build(trial.device))
    except Exception:
        return


@dataclass(frozen=True)
class Check:
    """A check and what it is tried on.

    Parameters
    ----------
    tiers : tuple of str
        Of "exact", "rounding", "special", "illegal".
    layouts : tuple of str
    boundaries : bool
        Whether sizes at the edges of blocks are drawn.
    weight : float
        Its share of the examples of a profile.
    needs : str
        "gradient", or a field of `Gradient` that must be declared.
    """

    run: Callable[[Trial, Case], None]
    tiers: tuple[str, ...] = ("exact",)
    layouts: tuple[str, ...] = ("contiguous",)
    boundaries: bool = False
    weight: float = 0.5
    needs: str = ""


_ODD = ("transposed", "offset", "step", "expanded", "conj", "neg")

CHECKS: dict[str, Check] = {
    "agreement": Check(check_agreement, ("exact", "rounding"), boundaries=True, weight=2.0),
    "specials": Check(check_specials, ("special",), weight=1.0),
    "form": Check(check_form, ("exact",), ("contiguous", *_ODD), weight=0.5),
    "layouts": Check(check_layouts, ("exact",), _ODD, boundaries=True, weight=0.7),
    "purity": Check(check_purity, ("exact", "special"), ("contiguous", *_ODD), weight=0.4),
    "determinism": Check(check_determinism, ("exact", "rounding"), boundaries=True, weight=0.4),
    "gradient": Check(
        check_gradient,
        ("exact", "exact", "rounding"),
        ("contiguous", *_ODD),
        boundaries=True,
        weight=1.2,
        needs="gradient",
    ),
    "second_order": Check(check_second_order, ("exact",), needs="second"),
    "forward_mode": Check(check_forward_mode, ("exact",), needs="forward"),
    "vmap": Check(check_vmap, ("exact",), needs="vmap"),
    "locality": Check(check_locality, ("exact", "rounding"), weight=1.0),
    "laws": Check(check_laws, ("exact",), boundaries=True, weight=0.5),
    "rejects": Check(check_rejects, ("illegal",), weight=0.7),
    "terminates": Check(check_terminates, ("exact", "special", "illegal"), weight=0.4),
}
