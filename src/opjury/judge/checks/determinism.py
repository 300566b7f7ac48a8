"""Whether the same call gives the same, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import Expected
from opjury.judge.checks.gradients import require_gradient
from opjury.judge.checks.shared_tensor import require_shared_tensor
from opjury.judge.checks.state import default_dtype, preserved_state
from opjury.judge.trial import GRAD, Refuted, Trial, Unsuitable, describe, random_like, zero_bound
from opjury.model.arguments import Tensor
from opjury.model.case import Case


def _bits(result: Any) -> Any:
    """A result in a form that compares equal only if every bit is the same."""
    if isinstance(result, torch.Tensor):
        values = result.detach().as_subclass(torch.Tensor).resolve_conj().resolve_neg().cpu()
        flat = torch.empty(values.numel(), dtype=values.dtype).copy_(values.reshape(-1))
        return (
            str(values.dtype),
            tuple(values.shape),
            flat.view(torch.uint8).numpy().tobytes(),
        )
    if hasattr(result, "tocoo"):
        entries = result.tocoo()
        return (type(result), result.shape, entries.data.tobytes(), entries.row.tobytes(), entries.col.tobytes())
    raise Unsuitable


def check_determinism(trial: Trial, case: Case) -> None:
    """The same call gives the same bits: however often, after other calls, in another global state, in reused memory."""
    rng = np.random.default_rng(case.seed)
    if case.seed % 2:
        _check_inference_first(trial, case)
    first = trial.call(case)
    bits = _bits(first)
    other = _other_values(case, rng)
    try:
        oracle.evaluate(trial.operation, other.plain)
        if not trial.implementation.claims(other.wide):
            other = case
    except Exception:  # no legal call any more
        other = case
    other_first = _bits(trial.call(other))
    if _bits(first) != bits:
        raise Refuted("an earlier result changes when the function is called again", steps=_KEPT)
    if other_first == bits and _differ(trial, case, other):
        raise Refuted(
            "a second call with other values returns the first call's result",
            steps=f"first = f(*args, **kwargs)\nsecond = f({other.code()})\nprint(first, second)",
        )
    _reused_memory(trial, case, other, other_first)
    for repetition in range(_repetitions(case)):
        if _bits(trial.call(case)) != bits:
            raise Refuted(
                f"call {repetition + 2} with the same arguments gives other bits than the first", steps=_REPEATED
            )
    for description, context in _other_states(trial, case):
        with context():
            again = _bits(trial.call(case))
            if again != bits:
                raise Refuted(f"the same call gives another result {description}", steps=_STATES[description])
    _threads(trial, case, first)
    _same_gradient(trial, case, rng)
    require_shared_tensor(trial, case)
    if _overwritten(first) and _bits(trial.call(case)) != bits:
        what = "after a result was overwritten by its owner, the same call gives another one"
        raise Refuted(what, steps=_OVERWRITTEN_RESULT)


def _check_inference_first(trial: Trial, case: Case) -> None:
    """What a first call under inference mode leaves behind does not stand in the way of gradients."""
    if trial.implementation.gradient is None or not trial.operation.differentiable or not case.differentiable:
        return
    with torch.inference_mode():
        trial.call(case)
    try:
        _Graph(trial, case).gradients()
    except Exception as error:
        if "nference" in str(error):
            what = f"after a call under torch.inference_mode(), one with gradients raises {describe(error)}"
            raise Refuted(what, steps=GRAD + _INFERENCE_FIRST) from None


def _overwritten(result: Any) -> bool:
    """Overwrite a result, which is its owner's to change; whether that was possible."""
    try:
        if isinstance(result, torch.Tensor):
            with torch.no_grad():
                result.fill_(3)
            return bool(result.numel())
        result.data[...] = 3
        return True
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return False


def _repetitions(case: Case) -> int:
    """Three, and more than a hundred for some small cases."""
    return 110 if case.elements <= 64 and case.seed % 10 == 0 else 3


def _other_values(case: Case, rng: np.random.Generator) -> Case:
    """The same shapes with one element changed, or with all of them in another order."""
    places = [place for place, leaf in case.leaves() if isinstance(leaf, Tensor) and leaf.data and leaf.values.size]
    if not places:
        counts = [place for place, leaf in case.leaves() if type(leaf) is int and leaf > 0]
        place = counts[int(rng.integers(len(counts)))] if counts else None
        return case if place is None else case.with_leaf(place, dict(case.leaves())[place] - 1)
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
    a, b = (oracle.expected(trial.operation, c.plain) for c in (one, other))
    if a.value.shape != b.value.shape or a.value.dtype.kind in "iub":
        return not np.array_equal(a.value, b.value)
    with np.errstate(invalid="ignore"):
        return bool(np.any(np.abs(a.value - b.value) > 4 * np.asarray(_loose(trial, one).bound)))


def _loose(trial: Trial, case: Case) -> Expected:
    return oracle.expected(trial.operation, replace(case.plain, tier="rounding"), trial.error)


def _reused_memory(trial: Trial, case: Case, other: Case, other_bits: Any) -> None:
    """Overwrite the very tensors of one call with other values, and call again."""
    args, kwargs = case.build(trial.device)

    def overwritten(old: Any, new: Any) -> Any:
        if not isinstance(old, torch.Tensor):
            return new
        return old if _equal(old, new) else old.copy_(new)

    try:
        trial.invoke(args, kwargs)
        new_args, new_kwargs = other.build(trial.device)
        args = tuple(map(overwritten, args, new_args))
        kwargs = {name: overwritten(old, new_kwargs[name]) for name, old in kwargs.items()}
        again = _bits(trial.invoke(args, kwargs))
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
def _seeded() -> Iterator[None]:
    with preserved_state():
        torch.manual_seed(20240229)
        np.random.seed(99)
        random.seed(99)
        yield


@contextmanager
def _deterministic() -> Iterator[None]:
    with preserved_state():
        torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms imports the compiler
        warnings.simplefilter("ignore")
        yield


def _other_states(trial: Trial, case: Case) -> Iterator[tuple[str, Callable[[], Any]]]:
    if trial.operation.result_dtype(case) != "default":
        yield "under default dtype float64", lambda: default_dtype(torch.float64)
        yield "under default dtype float16", lambda: default_dtype(torch.float16)
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
    expected = oracle.expected(trial.operation, case.plain, trial.error)
    values = trial.values(first, expected)
    if values.shape == expected.value.shape:
        trial.require(again, zero_bound(values, expected, 2.0), "result with two threads")


def _same_gradient(trial: Trial, case: Case, rng: np.random.Generator) -> None:
    """A call has one gradient, whenever it is asked for; where inputs or result have changed since, an error may take its place."""
    if trial.implementation.gradient is None or not trial.operation.differentiable or not case.differentiable:
        return
    others = _other_calls(trial, case, rng)
    try:
        kept, again = (_Graph(trial, case).gradients() for _ in range(2))
        graph, with_inputs, with_result = (_Graph(trial, case) for _ in range(3))
    except Exception:
        return  # the check of the gradient judges that
    first = _all_bits(kept)
    if _all_bits(again) != first:
        raise Refuted("the gradient of the same call differs from one time to the next", steps=GRAD + _SAME_GRADIENT)
    for gradient in again:
        _overwritten(gradient)
    for other in others:
        with contextlib.suppress(Exception):
            _Graph(trial, other).gradients()
    between = "".join(f"call({other.code()})\n" for other in others)
    for when, steps in (
        ("after other calls", _CALLED_BETWEEN.format(between)),
        ("when it is asked for again, the graph retained", _RETAINED),
    ):
        try:
            again = graph.gradients()
        except Exception as error:
            raise Refuted(f"backward raises {describe(error)} {when}", steps=GRAD + steps) from None
        _require_same(trial, case, graph, first, again, f"{when}, ", GRAD + steps)
        graph.gradients(2.0)
    if _all_bits(kept) != first:
        raise Refuted("an earlier gradient changes when another one is asked for", steps=GRAD + _RETAINED)
    for graph, what, tensors in (
        (with_inputs, "inputs", with_inputs.tensors),
        (with_result, "result", [with_result.out]),
    ):
        try:
            _change(tensors)
            again = graph.gradients()
        except Exception:
            continue
        steps = _CHANGED_BETWEEN.format(changed="args" if what == "inputs" else "[out]")
        _require_same(trial, case, graph, first, again, f"after its {what} changed in place, ", GRAD + steps)


def _require_same(
    trial: Trial, case: Case, graph: _Graph, first: list[Any], again: Sequence[Any], when: str, steps: str
) -> None:
    """The same bits, or at least right: in other memory a library may add in another order."""
    for place, earlier, gradient in zip(case.differentiable, first, again, strict=True):
        if _all_bits([gradient]) != [earlier]:
            gradient = torch.zeros(dict(case.leaves())[place].values.shape) if gradient is None else gradient
            rng = np.random.default_rng(case.seed)
            require_gradient(trial, case, place, graph.weights, gradient, rng, steps, when)


class _Graph:
    """A call whose gradients can be asked for any number of times."""

    def __init__(self, trial: Trial, case: Case) -> None:
        args, kwargs = case.build(trial.device, requires_grad=True)
        self.trial, self.out = trial, trial.invoke(args, kwargs)
        self.tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
        dtype = str(self.out.dtype).removeprefix("torch.")
        self.weights = random_like(np.random.default_rng(case.seed), tuple(self.out.shape), dtype, "exact")
        self.incoming = Tensor(self.weights, dtype).build(trial.device)

    def gradients(self, times: float = 1.0) -> tuple[torch.Tensor | None, ...]:
        """For all inputs that have one, `times` as much coming in."""
        inputs = [tensor for tensor in self.tensors if tensor.requires_grad]
        with self.trial.limited():
            return torch.autograd.grad(self.out, inputs, times * self.incoming, allow_unused=True, retain_graph=True)


def _all_bits(gradients: Sequence[torch.Tensor | None]) -> list[Any]:
    return [None if gradient is None else _bits(gradient) for gradient in gradients]


def _change(tensors: Sequence[torch.Tensor]) -> None:
    with torch.no_grad():
        for tensor in tensors:
            data = tensor.is_floating_point() or tensor.is_complex()
            tensor.copy_(tensor + 1 if data else tensor.flip(0) if tensor.ndim else tensor)


def _other_calls(trial: Trial, case: Case, rng: np.random.Generator) -> list[Case]:
    """Up to three legal calls like this one: with a number changed by one, or a tensor without its last row or column."""
    changed = []
    for place, leaf in case.leaves():
        if isinstance(leaf, Tensor) and leaf.values.ndim:
            smaller = leaf.values[:-1], leaf.values[..., :-1]
            changed += [case.with_leaf(place, replace(leaf, values=values)) for values in smaller]
        elif type(leaf) is int:
            changed += [case.with_leaf(place, leaf + 1), case.with_leaf(place, leaf - 1)]
    legal = []
    for number in rng.permutation(len(changed)):
        with contextlib.suppress(Exception):
            oracle.evaluate(trial.operation, changed[number].plain)
            legal.append(changed[number])
        if len(legal) == 3:
            break
    return legal


_INFERENCE_FIRST = """\
with torch.inference_mode():
    f(*(a.detach() if isinstance(a, torch.Tensor) else a for a in args), **kwargs)
f(*args, **kwargs).sum().backward()"""
_KEPT = """\
first = f(*args, **kwargs)
kept = first.clone()
f(*(a * 2 if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args), **kwargs)
print(kept, first)"""
_REPEATED = """\
first = f(*args, **kwargs)
for call in range(120):
    again = f(*args, **kwargs)
    if not torch.equal(torch.nan_to_num(again), torch.nan_to_num(first)):
        print(call + 2, again, first)
        break"""
_OVERWRITTEN = """\
first = f(*args, **kwargs).clone()
x = next(a for a in args if isinstance(a, torch.Tensor))
x.copy_(x.flip(-1) if x.ndim else x + 1)
print(first, f(*args, **kwargs), f(*(a.clone() if isinstance(a, torch.Tensor) else a for a in args), **kwargs))"""
_OVERWRITTEN_RESULT = """\
first = f(*args, **kwargs)
print(first)
first.data[...] = 3
print(f(*args, **kwargs))"""
_SAME_GRADIENT = """\
inputs = [a for a in args if getattr(a, "requires_grad", False)]
for _ in range(3):
    print(torch.autograd.grad(f(*args, **kwargs).sum(), inputs))"""
_RETAINED = """\
inputs = [a for a in args if getattr(a, "requires_grad", False)]
out = f(*args, **kwargs)
kept = torch.autograd.grad(out.sum(), inputs, retain_graph=True)
print(kept)
print(torch.autograd.grad(2 * out.sum(), inputs, retain_graph=True))
print(torch.autograd.grad(out.sum(), inputs, retain_graph=True), kept)"""
_CALLED_BETWEEN = """\
def call(*args, **kwargs):
    try:
        f(*(a.requires_grad_() if isinstance(a, torch.Tensor) and a.dtype.is_floating_point else a for a in args), **kwargs)
    except Exception as error:
        print(error)


inputs = [a for a in args if getattr(a, "requires_grad", False)]
print(torch.autograd.grad(f(*args, **kwargs).sum(), inputs))
out = f(*args, **kwargs)
{}print(torch.autograd.grad(out.sum(), inputs))"""
_CHANGED_BETWEEN = """\
inputs = [a for a in args if getattr(a, "requires_grad", False)]
out = f(*args, **kwargs)
print(torch.autograd.grad(out.sum(), inputs, retain_graph=True))
with torch.no_grad():
    for a in {changed}:
        if isinstance(a, torch.Tensor):
            a.copy_(a + 1 if a.dtype.is_floating_point or a.dtype.is_complex else a.flip(0) if a.ndim else a)
print(torch.autograd.grad(out.sum(), inputs))  # an error would be right, another gradient is not"""


def _twice(between: str) -> str:
    return f"print(f(*args, **kwargs))\n{between}\nprint(f(*args, **kwargs))"


_STATES = {
    "under default dtype float64": _twice("torch.set_default_dtype(torch.float64)"),
    "under default dtype float16": _twice("torch.set_default_dtype(torch.float16)"),
    "under torch.no_grad()": _twice("torch.set_grad_enabled(False)"),
    "under torch.inference_mode()": _twice("torch.inference_mode().__enter__()"),
    "after other seeds": _twice("torch.manual_seed(1)"),
    "under torch.use_deterministic_algorithms(True)": _twice(
        "torch.use_deterministic_algorithms(True, warn_only=True)"
    ),
}
