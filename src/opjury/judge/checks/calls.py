"""Forms of one call: in positions and by keyword, with and without defaulted arguments, and with sizes written in other ways."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from opjury.judge import oracle
from opjury.judge.checks.same_gradient import bits
from opjury.judge.checks.state import judged_elsewhere
from opjury.judge.replay import CALL
from opjury.judge.text import describe
from opjury.judge.trial import Refuted, Trial, Unsuitable, as_another
from opjury.model.case import Case
from opjury.model.operation import Operation

_LEFT_OUT = inspect.Parameter.empty
_INTEGERS = (np.int64, np.int32)


@dataclass(frozen=True)
class _Form:
    """A call: what each parameter gets, if it is not left out, and how many arguments stand in their positions at the most."""

    given: dict[str, Any]
    positional: int


@dataclass(frozen=True)
class _Change:
    """One difference of form, named by `told`, where `usual` names what is there without it.

    `simpler` ones may have the same fault.
    """

    told: str
    usual: str
    given: dict[str, Any]
    positional: int | None = None
    simpler: tuple[_Change, ...] = ()

    def made(self, form: _Form) -> _Form:
        """The form with this difference."""
        return _Form({**form.given, **self.given}, form.positional if self.positional is None else self.positional)


def check_calls(trial: Trial, case: Case) -> None:
    """The result of every legal form of a call is that of the form in which the contract draws it."""
    operation = trial.operation
    trial.in_flight = case
    with judged_elsewhere():
        first = trial.invoke(*case.build(trial.device))
        once = bits(first)

    def fault(form: _Form, change: _Change) -> Refuted | None:
        called = _called(operation, form, case)
        steps = f"result = {_code(called, case)}"
        try:
            result = trial.invoke(*called.build(trial.device))
        except Exception as error:
            told = f"raises {describe(error)} {change.told}; the same call {change.usual} is accepted"
            return Refuted(told, steps=f"{CALL}\n{steps}")
        if _kind(result) != _kind(first):
            told = f"{change.told}, the result is {_kind(result)}; {change.usual} it is {_kind(first)}"
            return Refuted(told, steps=f"{steps}\n{_SAME_KIND}")
        if bits(result) == once:
            return None
        expected = oracle.expected(operation, case, trial.error)
        values = trial.values(first, expected)
        if values.shape != expected.value.shape:
            raise Unsuitable
        try:
            trial.require(result, as_another(values, expected), f"{change.told}, result", steps, other=CALL)
        except Refuted as refuted:
            return refuted
        return None

    form = plain = _plain(operation, case)
    for change in _changes(operation, plain, np.random.default_rng(case.seed)):
        refuted = fault(change.made(form), change)
        if refuted is None:
            form = change.made(form)
        elif not _is_refused(operation, _called(operation, change.made(plain), case)):
            alone = (fault(each.made(plain), each) for each in (*change.simpler, change))
            raise next(filter(None, alone), refuted)


_SAME_KIND = f"""\
plain = {CALL}
print("is:       ", type(result), result.dtype)
print("should be:", type(plain), plain.dtype)
assert (type(result), result.dtype) == (type(plain), plain.dtype)"""


def _kind(result: Any) -> str:
    return f"a {type(result).__name__} of {getattr(result, 'dtype', 'no dtype')}"


def _parameters(operation: Operation) -> list[inspect.Parameter]:
    return list(inspect.signature(operation.reference).parameters.values())


def _plain(operation: Operation, case: Case) -> _Form:
    """The form in which the contract draws a call."""
    given = inspect.signature(operation.reference).bind(*case.args, **case.kwargs).arguments
    return _Form({p.name: given.get(p.name, _LEFT_OUT) for p in _parameters(operation)}, len(case.args))


def _called(operation: Operation, form: _Form, case: Case) -> Case:
    """The call in this form. What follows an argument that is left out or given by keyword is given by keyword too."""
    args: list[Any] = []
    named: dict[str, Any] = {}
    for place, p in enumerate(_parameters(operation)):
        value = form.given[p.name]
        if value is _LEFT_OUT:
            continue
        if place == len(args) < max(form.positional, p.kind is p.POSITIONAL_ONLY and place + 1):
            args.append(value)
        else:
            named[p.name] = value
    return replace(case, args=tuple(args), kwargs=named)


def _code(called: Case, case: Case) -> str:
    """The call as Python, with tensors as they stand in the `args` and `kwargs` of the case."""
    places = {id(leaf): f"args[{place}]" for place, leaf in enumerate(case.args) if hasattr(leaf, "build")}
    places |= {id(leaf): f"kwargs[{name!r}]" for name, leaf in case.kwargs.items() if hasattr(leaf, "build")}
    texts = [places.get(id(value), repr(value)) for value in called.args]
    texts += [f"{name}={places.get(id(value), repr(value))}" for name, value in called.kwargs.items()]
    return f"f({', '.join(texts)})"


def _is_refused(operation: Operation, called: Case) -> bool:
    """Whether the contract refuses arguments that are written like this, which shows in its reference."""
    args, kwargs = called.wide()
    try:
        with np.errstate(all="ignore"):
            operation.reference(*args, **kwargs)
    except Exception:
        return True
    return False


def _changes(operation: Operation, plain: _Form, rng: np.random.Generator) -> Iterator[_Change]:
    """Changes of form, each of which is made after those before it."""
    yield from _placed(operation, plain, rng)
    for p in _parameters(operation):
        if p.default is not _LEFT_OUT:
            yield from _defaulted(operation, p, plain.given[p.name])
    for name, value in plain.given.items():
        others = {repr(other): other for other in _writings(operation, name, value) if repr(other) != repr(value)}
        changes = [_Change(f"for {name} as {_type(o)}", f"with {_type(value)}", {name: o}) for o in others.values()]
        if changes:
            chosen = int(rng.integers(len(changes)))
            yield replace(changes[chosen], simpler=tuple(changes[:chosen]))


def _placed(operation: Operation, plain: _Form, rng: np.random.Generator) -> Iterator[_Change]:
    """All arguments by keyword, or some of them."""
    in_order = [p for p in _parameters(operation) if p.kind is not p.KEYWORD_ONLY]
    most = next((k for k, p in enumerate(in_order) if plain.given[p.name] is _LEFT_OUT), len(in_order))
    least = sum(p.kind is p.POSITIONAL_ONLY for p in in_order[:most])
    count = least if rng.integers(2) else int(rng.integers(least, most + 1))
    names = " and ".join(p.name for p in in_order[slice(*sorted((count, plain.positional)))])
    if count < plain.positional:
        yield _Change(f"for {names} by keyword", "by position", {}, count)
    elif count > plain.positional:
        yield _Change(f"for {names} by position", "by keyword", {}, count)


def _defaulted(operation: Operation, p: inspect.Parameter, value: Any) -> Iterator[_Change]:
    """Without an argument that is the default, or with it where it was left out."""
    if value is _LEFT_OUT:
        if isinstance(p.default, (int, float, str, tuple, type(None))):
            yield _Change(f"with {p.name}={p.default!r}", f"without {p.name}", {p.name: p.default})
    elif repr(p.default) in map(repr, _writings(operation, p.name, value)):
        yield _Change(f"without {p.name}", f"with {p.name}={value!r}", {p.name: _LEFT_OUT})


def _writings(operation: Operation, name: str, value: Any) -> Iterator[Any]:
    """The ways to write an argument that is no tensor, the given one first, those with NumPy integers last."""
    if value is _LEFT_OUT or hasattr(value, "build"):
        return
    others = operation.forms[name](value) if name in operation.forms else ()
    for kind in (int, *_INTEGERS):
        yield from (_with_integers(written, kind) for written in (value, *others))


def _with_integers(value: Any, kind: type) -> Any:
    """The same with its ints as another type, where that holds them."""
    if isinstance(value, (tuple, list)):
        return type(value)(_with_integers(part, kind) for part in value)
    fits = type(value) is int and (kind is int or np.iinfo(kind).min <= value <= np.iinfo(kind).max)
    return kind(value) if fits else value


def _type(value: Any) -> str:
    """`an int`, `np.int64`, `a tuple`, `a list of np.int32`"""
    if isinstance(value, (tuple, list)):
        numpy = {_type(part) for part in value if isinstance(part, np.integer)}
        return " of ".join([f"a {type(value).__name__}", *numpy])
    return f"np.{type(value).__name__}" if isinstance(value, np.generic) else f"an {type(value).__name__}"
