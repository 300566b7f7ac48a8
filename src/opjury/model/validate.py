"""Checks of declarations: each error names the declaration's file and line, the field, its value and what is allowed."""

from __future__ import annotations

import difflib
import inspect
import os
import reprlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NoReturn

_FEW = 3  # up to so many allowed names are listed without a suggestion
_MANY = 16  # more allowed names than that are not listed
_Form = tuple[tuple[Any, ...], dict[str, Any]]


def near(given: object, known: Iterable[str]) -> list[str]:
    """Known names that are spelled like the given one, the nearest first."""
    return difflib.get_close_matches(str(given), sorted(known), n=3)


def location() -> str:
    """File and line of the declaration that is being executed: `ops.py:12`."""
    frame = sys._getframe()
    # `dataclasses.replace` declares a changed entry.
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("opjury.model.", "dataclasses")):
        frame = frame.f_back
    return f"{short_path(frame.f_code.co_filename)}:{frame.f_lineno}"


def short_path(path: str) -> str:
    """A path relative to the working directory, where it lies below that."""
    return path.removeprefix(os.getcwd() + os.sep)


def parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """The parameters of a function, or None if Python cannot tell, as for some built-in functions."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def shown_parameters(function: Callable[..., Any]) -> str:
    """A signature without annotations: `(x, dim=0)`."""
    found = [each.replace(annotation=inspect.Parameter.empty) for each in parameters(function) or []]
    return str(inspect.Signature(found))


def forms(function: Callable[..., Any], *, by_name: bool) -> Iterator[_Form]:
    """Ways to call a function: without its defaulted parameters, with all parameters, and with all by name."""
    found = parameters(function) or []
    positional = [p for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = [p for p in found if p.kind is p.KEYWORD_ONLY]
    more = (None, None) if any(p.kind is p.VAR_POSITIONAL for p in found) else ()
    needed = [p for p in positional if p.default is p.empty]
    yield (None,) * len(needed), {p.name: None for p in named if p.default is p.empty}
    yield (None,) * len(positional) + more, {p.name: None for p in named}
    if by_name and not more and not any(p.kind is p.POSITIONAL_ONLY for p in positional):
        yield (), {p.name: None for p in (*positional, *named)}


def takes(function: Callable[..., Any], calls: Iterable[_Form]) -> bool:
    """Whether a function can be called in each of these ways, or True if Python cannot tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        for args, kwargs in calls:
            signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class Declaration:
    """One declaration whose fields are checked.

    Parameters
    ----------
    what : str
        `Operation 'cumsum'`
    place : str
        Its file and line.
    """

    what: str
    place: str

    @staticmethod
    def of(entry: Any, what: str) -> Declaration:
        """The declaration that is being executed, with the entry's fields of type bool checked."""
        given = Declaration(what, location())
        for each in fields(entry):
            if each.type == "bool":  # annotations are strings
                given.kind(each.name, getattr(entry, each.name), bool, "a bool")
        return given

    def fail(self, field: str, value: object, allowed: str, kind: type[Exception] = ValueError) -> NoReturn:
        """Raise the error of a field: `ops.py:12: Operation 'scan': kind is 'movment'; it must be …`."""
        raise kind(f"{self.place}: {self.what}: {field} is {reprlib.repr(value)}; it must be {allowed}")

    def kind(self, field: str, value: object, kind: type | tuple[type, ...], name: str) -> None:
        """The value must be an instance of a type, which `name` describes."""
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            self.fail(field, value, name, TypeError)

    def text(self, field: str, value: object) -> None:
        """The value must be a str that is not blank."""
        self.kind(field, value, str, "a str")
        if not str(value).strip():
            self.fail(field, value, "a str that is not empty")

    def label(self, field: str, value: object) -> None:
        """The value must be a name that can stand on a command line: no space, no colon."""
        self.text(field, value)
        if any(c.isspace() or c == ":" for c in str(value)):
            self.fail(field, value, "a name without spaces and colons")

    def at_least(self, field: str, value: Any, least: float, *, whole: bool = True) -> None:
        """The value must be a number that is not below the least one."""
        self.kind(field, value, int if whole else (int, float), "an int" if whole else "a number")
        if not value >= least:
            self.fail(field, value, f"at least {least:g}")

    def one_of(self, field: str, value: object, known: Sequence[str]) -> None:
        """The value must be one of the known names."""
        if value in known:
            return
        if not known:
            self.fail(field, value, "one that is declared, and none is")
        meant = near(value, known) if len(known) > _FEW else []
        if meant and len(known) > _MANY:
            self.fail(field, value, f"one of {len(known)} known names; did you mean {meant[0]!r}?")
        listed = " or ".join(filter(None, [", ".join(map(repr, known[:-1])), repr(known[-1])]))
        self.fail(field, value, listed + (f"; did you mean {meant[0]!r}?" if meant else ""))

    def some_of(self, field: str, values: Any, known: Sequence[str]) -> None:
        """The value must be a tuple of known names, at least one, none of them twice."""
        self.tuple_of(field, values, str, known)
        if not values or len(set(values)) < len(values):
            self.fail(field, values, "a tuple of at least one name, none of them twice")

    def tuple_of(self, field: str, values: object, kind: type, known: Sequence[str] = ()) -> None:
        """The value must be a tuple of instances of a type, or of known names if there are some."""
        if not isinstance(values, tuple):
            hint = "; one alone is followed by a comma" if isinstance(values, kind) else ""
            self.fail(field, values, f"a tuple of {kind.__name__}{hint}", TypeError)
        for number, value in enumerate(values):
            self.kind(f"{field}[{number}]", value, kind, f"a {kind.__name__}")
            if known:
                self.one_of(f"{field}[{number}]", value, known)

    def mapping(self, field: str, value: object, key: type, name: str) -> None:
        """The value must be a mapping whose keys are of a type, to what `name` describes."""
        if not isinstance(value, Mapping) or not all(isinstance(each, key) for each in value):
            self.fail(field, value, f"a mapping of {key.__name__} to {name}", TypeError)

    def reasons(self, field: str, value: Any, known: Iterable[str], parts: Sequence[str] = ()) -> None:
        """The value must be a mapping of known names to reasons, or to mappings of known parts to reasons."""
        self.mapping(field, value, str, "reasons")
        for name, reason in value.items():
            self.one_of(f"{field} has a key that", name, list(known))
            if parts and isinstance(reason, Mapping):
                self.reasons(f"{field}[{name!r}]", reason, parts)
            else:
                self.text(f"{field}[{name!r}]", reason)

    def call(self, field: str, function: Any, first: Sequence[str], named: Iterable[str] = ()) -> None:
        """The value must be callable with these positional and these keyword arguments."""
        form = ((None,) * len(first), dict.fromkeys(named))
        self.function(field, function, f"({', '.join([*first, *named])})", [form])

    def like(
        self,
        field: str,
        function: Any,
        reference: Callable[..., Any],
        first: Sequence[str] = (),
        *,
        by_name: bool = True,
    ) -> None:
        """The value must be callable like the reference after the arguments `first`, and with `by_name` by its parameters' names."""
        calls = [((None,) * len(first) + args, kwargs) for args, kwargs in forms(reference, by_name=by_name)]
        wanted = ", ".join(filter(None, [*first, shown_parameters(reference)[1:-1]]))
        self.function(field, function, f"({wanted})", calls)

    def function(self, field: str, function: Any, wanted: str, calls: Iterable[_Form] = ()) -> None:
        """The value must be callable in each of these ways."""
        if not callable(function):
            self.fail(field, function, f"callable as {wanted}", TypeError)
        if not takes(function, calls):
            told = f"{getattr(function, '__name__', field)}{shown_parameters(function)}"
            raise TypeError(f"{self.place}: {self.what}: {field} is {told}; it must be callable as {wanted}")
