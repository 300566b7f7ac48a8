"""Determinism of gradients: a call has one gradient, whenever it is computed."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from opjury.judge import oracle
from opjury.judge.checks.gradients import SMALL, require_gradient
from opjury.judge.text import describe
from opjury.judge.trial import GRAD, Refuted, Steps, Trial, Unsuitable, random_like, written
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.dtypes import COMPLEX


def bits(result: Any) -> Any:
    """A result in a form that compares equal only if every bit is the same."""
    if isinstance(result, torch.Tensor):
        values = result.detach().as_subclass(torch.Tensor).resolve_conj().resolve_neg().cpu()
        flat = torch.empty(values.numel(), dtype=values.dtype).copy_(values.reshape(-1))
        return str(values.dtype), tuple(values.shape), flat.view(torch.uint8).numpy().tobytes()
    if hasattr(result, "tocoo"):
        entries = result.tocoo()
        return (type(result), result.shape, entries.data.tobytes(), entries.row.tobytes(), entries.col.tobytes())
    raise Unsuitable


def overwritten(result: Any) -> bool:
    """Overwrite a result, as its owner may, and return whether that was possible."""
    try:
        if isinstance(result, torch.Tensor):
            with torch.no_grad():
                result.fill_(3)
            return bool(result.numel())
        result.data[...] = 3
        return True
    except (RuntimeError, ValueError, TypeError, AttributeError):
        return False


def require_gradient_after_inference(trial: Trial, case: Case) -> None:
    """Refuted where a first call under inference mode prevents gradients of a later one."""
    with torch.inference_mode():
        trial.call(case)
    try:
        _Graph(trial, case).gradients()
    except Exception as error:
        if "nference" in str(error):
            what = f"after a call under torch.inference_mode(), one with gradients raises {describe(error)}"
            raise Refuted(what, steps=GRAD + _INFERENCE_FIRST) from None


def require_same_gradient(trial: Trial, case: Case, rng: np.random.Generator) -> torch.Tensor | None:
    """Refuted unless a call has one gradient, whenever it is computed.

    Where inputs or result have changed since the call, an error may take its place. Returns the result of the call, where it has a
    gradient.
    """
    others = _other_calls(trial, case, rng)
    try:
        kept, again = (_Graph(trial, case).gradients() for _ in range(2))
        graph, with_inputs, with_result = (_Graph(trial, case) for _ in range(3))
    except Exception:
        return None  # the check of the gradient judges that
    first = _all_bits(kept)
    small = case.elements <= SMALL and graph.out.shape == oracle.evaluate(trial.operation, case.plain).shape
    if small and case.dtype in COMPLEX and case.seed % 2:  # what is conjugated once too often is the same each time
        taken = functools.partial(graph.script, _TAKEN)
        _require_same(trial, case, graph, [""] * len(kept), kept, "", taken)
    if _all_bits(again) != first:
        raise Refuted(
            "the gradient of the same call differs from one time to the next",
            steps=graph.script(_SAME_GRADIENT),
        )
    for gradient in again:
        overwritten(gradient)
    for other in others:
        with contextlib.suppress(Exception):
            _Graph(trial, other).gradients()

    def called_between() -> str:
        between = "".join(f"call({other.code()})\n" for other in others)
        return graph.script(_CALLED_BETWEEN.format(between=between))

    moments: dict[str, Steps] = {
        "after other calls": called_between,
        "when it is asked for again, the graph retained": functools.partial(graph.script, _RETAINED),
    }
    for when, steps in moments.items():
        try:
            again = graph.gradients()
        except Exception as error:
            raise Refuted(f"backward raises {describe(error)} {when}", steps=steps) from None
        _require_same(trial, case, graph, first, again, f"{when}, ", steps)
        graph.gradients(2.0)
    if _all_bits(kept) != first:
        raise Refuted("an earlier gradient changes when another one is asked for", steps=graph.script(_KEPT))
    for changed, what, variable, tensors in (
        (with_inputs, "inputs", "args", with_inputs.tensors),
        (with_result, "result", "[out]", [with_result.out]),
    ):
        try:
            _change(tensors)
            again = changed.gradients()
        except Exception:
            continue
        steps = functools.partial(changed.script, _CHANGED_BETWEEN.format(changed=variable))
        _require_same(trial, case, changed, first, again, f"after its {what} changed in place, ", steps)
    return graph.out


def _require_same(
    trial: Trial, case: Case, graph: _Graph, first: list[Any], again: Sequence[Any], when: str, steps: Steps
) -> None:
    """Refuted unless gradients have the same bits or are right: in other memory a library may add in another order."""
    for number, (place, earlier, gradient) in enumerate(zip(case.differentiable, first, again, strict=True)):
        if _all_bits([gradient]) != [earlier]:
            gradient = torch.zeros(dict(case.leaves())[place].values.shape) if gradient is None else gradient
            rng = np.random.default_rng(case.seed)

            def taken(number: int = number) -> str:
                return f"{written(steps)}\nresult = again[{number}].flatten()"

            require_gradient(trial, case, place, graph.incoming.values, gradient, rng, taken, when)


class _Graph:
    """A call whose gradients can be computed any number of times."""

    def __init__(self, trial: Trial, case: Case) -> None:
        trial.in_flight = case
        args, kwargs = case.build(trial.device, requires_grad=True)
        self.trial, self.out = trial, trial.invoke(args, kwargs)
        self.tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
        dtype = str(self.out.dtype).removeprefix("torch.")
        weights = random_like(np.random.default_rng(case.seed), tuple(self.out.shape), dtype, "exact")
        self.incoming = case.drawn("incoming", Tensor(weights, dtype))
        self.live_incoming = self.incoming.build(trial.device)

    def gradients(self, times: float = 1.0) -> tuple[torch.Tensor | None, ...]:
        """The gradients for all inputs that have one, of `times` the incoming gradient."""
        inputs = [tensor for tensor in self.tensors if tensor.requires_grad]
        incoming = times * self.live_incoming
        with self.trial.timed():
            return torch.autograd.grad(self.out, inputs, incoming, allow_unused=True, retain_graph=True)

    def script(self, lines: str) -> str:
        """A script with the tensors that require gradients as `inputs`, and the incoming gradient as `w`."""
        return f"{GRAD}{_INPUTS}w = {self.incoming.code()}\n{lines}"


def _all_bits(gradients: Sequence[torch.Tensor | None]) -> list[Any]:
    return [None if gradient is None else bits(gradient) for gradient in gradients]


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


_INPUTS = "inputs = [a for a in args if getattr(a, 'requires_grad', False)]\n"
_INFERENCE_FIRST = """\
with torch.inference_mode():
    f(*(a.detach() if isinstance(a, torch.Tensor) else a for a in args), **kwargs)
f(*args, **kwargs).sum().backward()"""
_TAKEN = "again = torch.autograd.grad(f(*args, **kwargs), inputs, w, materialize_grads=True)"
_SAME_GRADIENT = """\
found = [torch.autograd.grad(f(*args, **kwargs), inputs, w, allow_unused=True) for _ in range(3)]
print(*found, sep="\\n")
assert same(*found)"""
_RETAINED = """\
out = f(*args, **kwargs)
torch.autograd.grad(out, inputs, 2 * w, retain_graph=True, allow_unused=True)
again = torch.autograd.grad(out, inputs, w, materialize_grads=True)"""
_KEPT = """\
kept = torch.autograd.grad(f(*args, **kwargs), inputs, w, allow_unused=True)
before = bits(kept)
for times in (2, 3):
    out = f(*args, **kwargs)
    for _ in range(2):
        torch.autograd.grad(out, inputs, times * w, retain_graph=True, allow_unused=True)
print("before:", before)
print("after: ", bits(kept))
assert bits(kept) == before"""
_CALLED_BETWEEN = """\
def call(*args, **kwargs):
    try:
        args = [a.requires_grad_() if isinstance(a, torch.Tensor) and a.dtype.is_floating_point else a for a in args]
        torch.autograd.backward(f(*args, **kwargs).sum())
    except Exception as error:
        print(error)


out = f(*args, **kwargs)
{between}again = torch.autograd.grad(out, inputs, w, materialize_grads=True)"""
_CHANGED_BETWEEN = """\
out = f(*args, **kwargs)
again = torch.autograd.grad(out, inputs, w, retain_graph=True, materialize_grads=True)
with torch.no_grad():
    for a in {changed}:
        if isinstance(a, torch.Tensor):
            a.copy_(a + 1 if a.dtype.is_floating_point or a.dtype.is_complex else a.flip(0) if a.ndim else a)
try:
    again = torch.autograd.grad(out, inputs, w, materialize_grads=True)
except RuntimeError as error:
    print(error, "(rightly so)")"""
