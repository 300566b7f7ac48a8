"""Whether the same call gives the same, whatever happens in between."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import Expected
from opjury.judge.checks.same_gradient import bits, overwritten, require_gradient_after_inference, require_same_gradient
from opjury.judge.checks.shared_tensor import require_shared_tensor
from opjury.judge.checks.state import default_dtype, preserved_state
from opjury.judge.replay import CALL, RESULT
from opjury.judge.trial import Refuted, Trial, Unsuitable, as_another
from opjury.model.arguments import Tensor
from opjury.model.case import Case


def check_determinism(trial: Trial, case: Case) -> None:
    """The same call gives the same bits: however often, after other calls, in another global state, in reused memory."""
    rng = np.random.default_rng(case.seed)
    if case.seed % 2:
        require_gradient_after_inference(trial, case)
    first = trial.call(case)
    once = bits(first)
    other = _other_values(case, rng)
    try:
        oracle.evaluate(trial.operation, other.plain)
        if not trial.implementation.claims(other.wide):
            other = case
    except Exception:  # no legal call any more
        other = case
    other_first = bits(trial.call(other))
    if bits(first) != once:
        raise Refuted(
            "an earlier result changes when the function is called again", steps=_KEPT.format(other=other.code())
        )
    if other_first == once and _differ(trial, case, other):
        raise Refuted(
            "a second call with other values returns the first call's result",
            steps=_OTHER_VALUES.format(other=other.code()),
        )
    _reused_memory(trial, case, other, other_first)
    for repetition in range(_repetitions(case)):
        if bits(trial.call(case)) != once:
            raise Refuted(
                f"call {repetition + 2} with the same arguments gives other bits than the first", steps=_REPEATED
            )
    for description, context in _other_states(trial, case):
        with context():
            again = bits(trial.call(case))
            if again != once:
                raise Refuted(f"the same call gives another result {description}", steps=_STATES[description])
    _threads(trial, case, first)
    require_same_gradient(trial, case, rng)
    require_shared_tensor(trial, case)
    if overwritten(first) and bits(trial.call(case)) != once:
        what = "after a result was overwritten by its owner, the same call gives another one"
        raise Refuted(what, steps=_OVERWRITTEN_RESULT)


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
        return bool(np.any(np.abs(a.value - b.value) > sum(np.asarray(_loose(trial, c).bound) for c in (one, other))))


def _loose(trial: Trial, case: Case) -> Expected:
    return oracle.expected(trial.operation, replace(case.plain, tier="rounding"), trial.error)


def _reused_memory(trial: Trial, case: Case, other: Case, other_bits: Any) -> None:
    """Overwrite the very tensors of one call with other values, and call again."""
    args, kwargs = case.build(trial.device)

    def replaced(old: Any, new: Any) -> Any:
        if not isinstance(old, torch.Tensor):
            return new
        return old if _equal(old, new) else old.copy_(new)

    try:
        trial.invoke(args, kwargs)
        new_args, new_kwargs = other.build(trial.device)
        args = tuple(map(replaced, args, new_args))
        kwargs = {name: replaced(old, new_kwargs[name]) for name, old in kwargs.items()}
        again = bits(trial.invoke(args, kwargs))
    except Exception:
        raise Unsuitable from None
    if again != other_bits and all(getattr(leaf, "layout", "contiguous") == "contiguous" for _, leaf in case.leaves()):
        raise Refuted(
            "after its inputs were overwritten in place, a call still sees the old values",
            steps=_OVERWRITTEN.format(other=", ".join(other.texts()[0])),
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
        steps = f"torch.set_num_threads(1)\nfirst = {CALL}\ntorch.set_num_threads(2)\n{RESULT}"
        trial.require(again, as_another(values, expected), "result with two threads", steps, other="first")


_KEPT = """\
first = f(*args, **kwargs)
before = bits(first)
f({other})
print("before:", before)
print("after: ", bits(first))
assert bits(first) == before"""
_OTHER_VALUES = """\
first, second = f(*args, **kwargs), f({other})
print("is:       ", second)
print("should not be:", first)
assert not same(first, second)"""
_REPEATED = """\
first = f(*args, **kwargs)
for call in range(120):
    again = f(*args, **kwargs)
    assert same(first, again), (call + 2, first, again)"""
_OVERWRITTEN = """\
f(*args, **kwargs)
other = ({other},)
for a, b in zip(args, other):
    if isinstance(a, torch.Tensor):
        a.copy_(b)
again, fresh = f(*args, **kwargs), f(*other)
print("is:       ", again)
print("should be:", fresh)
assert same(again, fresh)"""
_OVERWRITTEN_RESULT = """\
first = f(*args, **kwargs)
before = bits(first)
first.data[...] = 3
print("is:       ", bits(f(*args, **kwargs)))
print("should be:", before)
assert bits(f(*args, **kwargs)) == before"""


def _twice(between: str) -> str:
    return f"""\
first = f(*args, **kwargs)
{between}
again = f(*args, **kwargs)
print("is:       ", again)
print("should be:", first)
assert same(first, again)"""


_STATES = {
    "under default dtype float64": _twice("torch.set_default_dtype(torch.float64)"),
    "under default dtype float16": _twice("torch.set_default_dtype(torch.float16)"),
    "under torch.no_grad()": _twice("torch.set_grad_enabled(False)"),
    "under torch.inference_mode()": _twice("torch.inference_mode().__enter__()"),
    "after other seeds": _twice("torch.manual_seed(20240229)\nnp.random.seed(99)\nimport random\nrandom.seed(99)"),
    "under torch.use_deterministic_algorithms(True)": _twice(
        "torch.use_deterministic_algorithms(True, warn_only=True)"
    ),
}
