"""Determinism of results: the same call returns the same, whatever happens in between, and for one tensor as two arguments."""

from __future__ import annotations

import functools
import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.bounds import UNIT_ROUNDOFF, compare
from opjury.judge.checks.gradients import SMALL, incoming_in_message
from opjury.judge.checks.same_gradient import bits, overwritten, require_gradient_after_inference, require_same_gradient
from opjury.judge.checks.state import default_dtype, judged_elsewhere, preserved_state
from opjury.judge.replay import CALL, INFERENCE, RESULT
from opjury.judge.text import describe
from opjury.judge.trial import GRAD, Refuted, Trial, Unsuitable, as_another, random_like
from opjury.model.arguments import Tensor
from opjury.model.case import Case

_MOST_GIVEN_TWICE = 500  # elements of the result: two long vectors make a large matrix


def check_determinism(trial: Trial, case: Case) -> None:
    """The same call gives the same bits: however often, after other calls, in another global state, in reused memory."""
    rng = np.random.default_rng(case.seed)
    gradients = bool(trial.implementation.gradient and trial.operation.differentiable and case.differentiable)
    if gradients and case.seed % 2:
        require_gradient_after_inference(trial, case)
    first = trial.call(case)
    once = bits(first)
    _repeat(trial, case, once, 1)  # before it is said that something else changed the result
    other = _other_values(case, rng)
    if not _is_legal(trial, other):
        other = case
    other_first = bits(trial.call(other))
    if bits(first) != once:
        raise Refuted(
            "an earlier result changes when the function is called again", steps=_KEPT.format(other=other.code())
        )
    if other_first == once and _differ(trial, case, other):
        _require_other_result(trial, case, other, first)
    _reused_memory(trial, case, other, other_first)
    _repeat(trial, case, once, 110 if case.elements <= 64 and case.seed % 10 == 0 else 2)
    for description, (context, between) in _STATES.items():
        if "default dtype" in description and trial.operation.result_dtype(case) == "default":
            continue  # the contract lets it decide
        with context():
            if bits(trial.call(case)) != once:
                raise Refuted(f"the same call gives another result {description}", steps=_TWICE.format(between))
    _threads(trial, case, first)
    if gradients:
        out = require_same_gradient(trial, case, rng)
        if out is not None and bits(out) != once:
            _require_near(
                trial, case, first, out, "result when inputs require gradients", f"first = {CALL}\n{GRAD}{RESULT}"
            )
    _shared_tensor(trial, case)
    if overwritten(first) and bits(trial.call(case)) != once:
        what = "after a result was overwritten by its owner, the same call gives another one"
        raise Refuted(what, steps=_OVERWRITTEN_RESULT)


def _repeat(trial: Trial, case: Case, once: Any, times: int) -> None:
    for _ in range(times):
        if bits(trial.call(case)) != once:
            raise Refuted("a later call with the same arguments gives other bits than the first", steps=_REPEATED)


def _require_other_result(trial: Trial, case: Case, other: Case, result: torch.Tensor) -> None:
    """Refuted by the result of a call if it is right, and comes again where it is wrong."""
    expected = oracle.expected(trial.operation, case.plain, trial.error)
    values = trial.values(result, expected)
    if values.shape != expected.value.shape or compare(values, expected).wrong_at is not None:
        raise Unsuitable
    try:
        trial.require(result, oracle.expected(trial.operation, other.plain, trial.error))
    except Refuted as error:
        same = "a second call with other values returns the first call's result"
        steps = _OTHER_VALUES.format(other=other.code())
        raise Refuted(error.message, error.observed, error.expected, steps, mechanism=same) from None


def _is_legal(trial: Trial, case: Case) -> bool:
    """Whether the contract allows a call, and the implementation's domain holds it."""
    try:
        oracle.evaluate(trial.operation, case.plain)
        return trial.implementation.claims(case.wide)
    except Exception:
        return False


def _other_values(case: Case, rng: np.random.Generator) -> Case:
    """The same shapes with one element changed, or without data, one of the numbers reduced by one."""
    places = [place for place, leaf in case.leaves() if isinstance(leaf, Tensor) and leaf.data and leaf.values.size]
    if not places:
        counts = [place for place, leaf in case.leaves() if type(leaf) is int and leaf > 0]
        place = counts[int(rng.integers(len(counts)))] if counts else None
        return case if place is None else case.with_leaf(place, dict(case.leaves())[place] - 1)
    place = places[int(rng.integers(len(places)))]
    leaf = dict(case.leaves())[place]
    index = rng.integers(leaf.values.size)
    before = leaf.values.flat[index]
    after = not before if leaf.values.dtype.kind == "b" else 2 if before != 2 else 1
    if leaf.layout == "expanded":
        case = case.with_leaf(place, replace(leaf, layout="contiguous"))
    return oracle.with_values(case, place, index, after)


def _differ(trial: Trial, one: Case, other: Case) -> bool:
    """Whether the right results of two calls differ by more than rounding may."""
    a, b = (oracle.expected(trial.operation, c.plain).value for c in (one, other))
    if a.shape != b.shape or a.dtype.kind in "iub":
        return not np.array_equal(a, b)
    loose = [replace(c.plain, tier="rounding") for c in (one, other)]
    bounds = [np.asarray(oracle.expected(trial.operation, c, trial.error).bound) for c in loose]
    with np.errstate(invalid="ignore"):
        return bool(np.any(np.abs(a - b) > sum(bounds)))


def _reused_memory(trial: Trial, case: Case, other: Case, other_bits: Any) -> None:
    """Overwrite the very tensors of one call with other values, and call again."""
    args, kwargs = case.build(trial.device)

    def replaced(old: Any, new: Any) -> Any:
        if not isinstance(old, torch.Tensor):
            return new
        nan_as_zero = [torch.nan_to_num(each) if each.is_floating_point() else each for each in (old, new)]
        return old if torch.equal(*nan_as_zero) else old.copy_(new)

    with judged_elsewhere():
        trial.invoke(args, kwargs)
        new_args, new_kwargs = other.build(trial.device)
        args = tuple(map(replaced, args, new_args))
        kwargs = {name: replaced(old, new_kwargs[name]) for name, old in kwargs.items()}
        again = bits(trial.invoke(args, kwargs))
    if again != other_bits and all(getattr(leaf, "layout", "contiguous") == "contiguous" for _, leaf in case.leaves()):
        raise Refuted(
            "after its inputs were overwritten in place, a call still sees the old values",
            steps=_OVERWRITTEN.format(other=", ".join(other.texts()[0])),
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


def _threads(trial: Trial, case: Case, first: Any) -> None:
    before = torch.get_num_threads()
    if before != 1 or case.seed % 8 or (os.cpu_count() or 1) < 2:
        return
    try:
        torch.set_num_threads(2)
        again = trial.call(case)
    finally:
        torch.set_num_threads(before)
    steps = f"torch.set_num_threads(1)\nfirst = {CALL}\ntorch.set_num_threads(2)\n{RESULT}"
    _require_near(trial, case, first, again, "result with two threads", steps)


def _require_near(trial: Trial, case: Case, first: Any, again: Any, what: str, steps: str) -> None:
    """Refuted where two results of a call, which may add in another order, are not both within the bound."""
    expected = oracle.expected(trial.operation, case.plain, trial.error)
    values = trial.values(first, expected)
    if values.shape == expected.value.shape:
        trial.require(again, as_another(values, expected), what, steps, other="first")


def _shared_tensor(trial: Trial, case: Case) -> None:
    """Refuted unless one tensor as two arguments gives what two equal ones do, and the sum of their gradients."""
    equal, first, second = _with_equal_arguments(trial, replace(case.plain, tier="rounding"))
    if equal is None:
        return
    try:
        expected = oracle.expected(trial.operation, equal, trial.error)
        apart = trial.values(trial.call(equal), expected)
    except Exception:  # no legal call, or agreement judges that
        return
    texts, named = equal.texts()
    texts[first] = texts[second] = "x"
    call = f"f({', '.join([*texts, *(f'{name}={text}' for name, text in named.items())])})"
    built, what = f"x = {equal.args[first].code()}\n", f"with one tensor as arguments {first + 1} and {second + 1}"
    steps = f"{built}result = {call}"
    try:
        out = trial.invoke(*_shared(equal, first, second, trial.device))
    except Exception as error:
        raise Refuted(f"raises {describe(error)} {what}", steps=steps) from None
    trial.require(out, as_another(apart, expected), f"{what}, result", steps, other=f"f({equal.code()})")
    if trial.implementation.gradient is None or first not in equal.differentiable or equal.elements > SMALL:
        return
    args, kwargs = _shared(equal, first, second, trial.device, requires_grad=True)
    made = random_like(np.random.default_rng(case.seed), expected.value.shape, expected.dtype, "exact")
    w = case.drawn("incoming for one tensor", Tensor(made, expected.dtype))
    weights = w.values

    def steps_back() -> str:
        taken = f"(result,) = torch.autograd.grad({call}, x, w, materialize_grads=True)"
        return f"{built}x.requires_grad_()\nw = {w.code()}\n{taken}\nresult = result.flatten()"

    with trial.timed():
        try:
            out = trial.invoke(args, kwargs)
            (gradient,) = torch.autograd.grad(out, [args[first]], w.build(trial.device), materialize_grads=True)
        except Exception:
            return  # the check of the gradient judges that
    parts = [oracle.expected_gradient(trial.operation, equal, place, weights, trial.error) for place in (first, second)]
    total = parts[0].value + parts[1].value
    rounding = 2 * UNIT_ROUNDOFF[parts[0].dtype] * (np.abs(parts[0].value) + np.abs(parts[1].value))
    both = replace(parts[0], value=total, bound=parts[0].bound + parts[1].bound + rounding)
    given = functools.partial(incoming_in_message, w)
    trial.require(gradient.reshape(-1), both, f"{what}, x.grad.flatten()", steps_back, given=given)


def _shared(case: Case, first: int, second: int, device: str, requires_grad: bool = False) -> Any:
    """Live arguments, the first tensor in the place of the second."""
    args, kwargs = case.build(device, requires_grad)
    return (*args[:second], args[first], *args[second + 1 :]), kwargs


def _with_equal_arguments(trial: Trial, case: Case) -> tuple[Case | None, int, int]:
    """The case with the first of its tensors that makes a legal call in the place of another one too, and the two places."""
    tensors = [place for place, leaf in enumerate(case.args) if isinstance(leaf, Tensor) and leaf.data]
    for first, second in permutations(tensors, 2):
        equal = case.with_leaf(second, case.args[first])
        if _is_legal(trial, equal) and oracle.evaluate(trial.operation, equal.plain).size <= _MOST_GIVEN_TWICE:
            return equal, first, second
    return None, 0, 0


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


_TWICE = """\
first = f(*args, **kwargs)
{}
again = f(*args, **kwargs)
print("is:       ", again)
print("should be:", first)
assert same(first, again)"""
# Other states of the process, and the lines of a script that set them.
_STATES: dict[str, tuple[Callable[[], AbstractContextManager[Any]], str]] = {
    "under default dtype float64": (
        functools.partial(default_dtype, torch.float64),
        "torch.set_default_dtype(torch.float64)",
    ),
    "under default dtype float16": (
        functools.partial(default_dtype, torch.float16),
        "torch.set_default_dtype(torch.float16)",
    ),
    "under torch.no_grad()": (torch.no_grad, "torch.set_grad_enabled(False)"),
    "under torch.inference_mode()": (torch.inference_mode, INFERENCE),
    "after other seeds": (
        _seeded,
        "torch.manual_seed(20240229)\nnp.random.seed(99)\nimport random\nrandom.seed(99)",
    ),
    "under torch.use_deterministic_algorithms(True)": (
        _deterministic,
        "torch.use_deterministic_algorithms(True, warn_only=True)",
    ),
}
