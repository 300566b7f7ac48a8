"""A function on trial as lines of a script, with what it uses: helpers, constants, imports, the values of a closure."""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.util
import inspect
import os
import sys
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from opjury.model.exact import literal

LATE = "from __future__ import annotations"  # the first line of a script, after its docstring
_MOST = 2000  # elements of an array that is written out
_OURS = ("opjury.impls", "opjury.properties")  # files whose helpers are written out


class _Unknown(Exception):
    """Something that cannot be written as Python, for the reason in the message."""


def definition(function: Callable[..., Any]) -> tuple[str, str]:
    """Lines that define a function, and an expression for it. What they cannot hold, the lines tell."""
    lines = _Lines()
    try:
        expression = lines.value(function, "function")
    except Exception as error:
        why = error if isinstance(error, _Unknown) else f"{type(error).__name__}: {error}"
        name = getattr(function, "__name__", "")
        name = name if isinstance(name, str) and name.isidentifier() else "function"
        told = f"{name} is missing here: {' '.join(str(why).split())}"
        return f"def {name}(*args, **kwargs):\n    raise NameError({told!r})", name
    return "\n\n".join(lines.parts), expression


class _Lines:
    """Definitions as they are needed, each once."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._known: dict[int, tuple[Any, str]] = {}  # the objects are held, so that no other gets their number

    def add(self, text: str) -> None:
        """Add a definition that is not there yet."""
        if text and text not in self.parts:
            self.parts.append(text)

    def value(self, value: Any, hint: str) -> str:
        """An expression for a value, whose definitions are added (raises `_Unknown`)."""
        if id(value) not in self._known:
            self._known[id(value)] = (value, hint)  # a function that refers to itself
            self._known[id(value)] = (value, self._written(value, hint))
        return self._known[id(value)][1]

    def _written(self, value: Any, hint: str) -> str:
        if value is None or isinstance(value, (bool, str, bytes, type(...))):
            return repr(value)
        if type(value) in (int, float, complex, slice, range, torch.Size):
            return literal(value)
        if isinstance(value, (torch.dtype, torch.device)):
            self.add("import torch")
            return f"torch.device({str(value)!r})" if isinstance(value, torch.device) else str(value)
        if type(value) in (tuple, list, set, dict):
            return self._container(value, hint)
        if isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
            return self._array(value, hint)
        if isinstance(value, ModuleType):
            self.add(f"import {value.__name__}")
            return value.__name__
        if isinstance(value, functools.partial):
            self.add("import functools")
            given = [self.value(each, hint) for each in (value.func, *value.args)]
            given += [f"{name}={self.value(each, name)}" for name, each in value.keywords.items()]
            return f"functools.partial({', '.join(given)})"
        if isinstance(value, MethodType):
            return f"{self.value(value.__self__, hint)}.{value.__name__}"
        if isinstance(value, (FunctionType, type)) or isinstance(getattr(value, "__wrapped__", None), FunctionType):
            return self._function(value)
        return _imported(self, value) or self._object(value, hint)

    def _container(self, value: Any, hint: str) -> str:
        if isinstance(value, dict):
            pairs = (f"{self.value(key, hint)}: {self.value(each, hint)}" for key, each in value.items())
            return f"{{{', '.join(pairs)}}}"
        inner = ", ".join(self.value(each, hint) for each in value)
        if isinstance(value, set):
            return f"set([{inner}])"
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"

    def _array(self, value: Any, hint: str) -> str:
        tensor = isinstance(value, torch.Tensor)
        if (tensor and value.layout is not torch.strided) or (value.numel() if tensor else value.size) > _MOST:
            raise _Unknown(f"it uses {hint}, which is too large or not dense")
        module, dtype = ("torch", str(value.dtype)) if tensor else ("np", f"np.{value.dtype.name}")
        self.add("import torch" if tensor else "import numpy as np")
        if isinstance(value, np.generic):
            return f"{dtype}({literal(value.item())})"
        new = f"{module}.{'tensor' if tensor else 'array'}({literal(value.tolist())}, dtype={dtype})"
        return new if value.size else f"{new}.reshape({tuple(value.shape)})"

    def _object(self, value: Any, hint: str) -> str:
        """An object of a class of Python: made without a call, with its attributes."""
        if not hasattr(value, "__dict__") or type(value).__module__ == "builtins":
            raise _Unknown(f"it uses {hint}, of {type(value).__name__}, which cannot be written as Python")
        made, kind = f"{hint}_{len(self.parts)}", self.value(type(value), hint)
        held = ", ".join(f"{name}={self.value(each, name)}" for name, each in vars(value).items())
        self.add(f"{made} = {kind}.__new__({kind})\nvars({made}).update({held})")
        return made

    def _function(self, value: Any, *, bare: bool = False) -> str:
        """A function or class by import, by its statement in its module, or, one within a function, in a scope of its own."""
        inner = value if bare else inspect.unwrap(value)
        module = sys.modules.get(getattr(value, "__module__", None) or "")
        bound = _attribute(module, value.__qualname__) is value
        if bound and module is not None and _installed(module):
            return _imported(self, value)
        outside = isinstance(value, FunctionType) and not _installed(sys.modules.get(value.__globals__["__name__"]))
        applied = inner is not value and not bound and outside  # a decorator that was called, not written above
        inner = value if applied else inner
        try:
            tree = ast.parse("".join(inspect.findsource(inner)[0]))
        except (OSError, TypeError, SyntaxError):
            if found := _imported(self, value):
                return found
            raise _Unknown("its source could not be found") from None
        if LATE in map(ast.unparse, tree.body):
            self.add(LATE)
        name = getattr(inner, "__name__", "")
        top = any(isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == name for n in tree.body)
        if top and "<locals>" not in inner.__qualname__ and not applied:
            space = getattr(inner, "__globals__", vars(sys.modules.get(inner.__module__, ModuleType(""))))
            used = _names_of(inner.__code__) if isinstance(inner, FunctionType) else set()
            self._statements(tree, sorted(used - _defined(tree).keys()), space)
            self._statements(tree, [name], space, bare=name if bare else "")
            return str(name)
        if not isinstance(inner, FunctionType):
            raise _Unknown(f"the class {name} is defined within a function")
        return self._scoped(tree, inner)

    def _scoped(self, tree: ast.Module, function: FunctionType) -> str:
        """A function within a function, or a lambda, where a scope of its own holds the values of its closure."""
        node = _node_of(tree, function.__code__)
        name = function.__name__ if function.__name__.isidentifier() else "function"
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            name = node.name
        self._set_defaults(node.args, function)
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & _names_of(function.__code__)
        self._statements(tree, sorted(used), function.__globals__)
        held = {}
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            content = cell.cell_contents
            if content is not function:
                raw = content is getattr(function, "__wrapped__", None) and isinstance(content, FunctionType)
                held[variable] = self._function(content, bare=True) if raw else self.value(content, variable)
        text, made = ast.unparse(node), name
        while any(part.startswith(f"def make_{made}(") for part in self.parts):
            made += "_"
        body = f"{text}\n\nreturn {name}" if isinstance(node, ast.FunctionDef) else f"return {text}"
        self.add(f"def make_{made}({', '.join(held)}):\n{textwrap.indent(body, '    ')}")
        self.add(f"{made} = make_{made}({', '.join(held.values())})")
        return made

    def _set_defaults(self, given: ast.arguments, function: FunctionType) -> None:
        """Write defaults as values: their names may be known only where the function was made."""

        def written(value: Any) -> ast.expr:
            return ast.parse(self.value(value, "default"), mode="eval").body

        given.defaults = [written(value) for value in function.__defaults__ or ()]
        named = function.__kwdefaults__ or {}
        given.kw_defaults = [written(named[a.arg]) if a.arg in named else None for a in given.kwonlyargs]

    def _statements(self, tree: ast.Module, names: list[str], space: dict[str, Any], bare: str = "") -> None:
        """The statements of a module that define names and what these use, or their values, where it has no statement."""
        for name in names:
            if name in _defined(tree):
                for part in needed(tree, name, space, bare=bare):
                    self.add(part)
            elif name in space and not hasattr(builtins, name):
                try:
                    text = self.value(space[name], name)
                except _Unknown as error:
                    self.parts.append(f"# {name} is missing here: {error}")
                else:
                    self.add(f"{name} = {text}" if text != name else "")


def _attribute(module: Any, qualified: str) -> Any:
    for part in qualified.split("."):
        module = getattr(module, part, None)
    return module


def _installed(module: ModuleType | None) -> bool:
    """Whether a module comes with Python or was installed, and is none of the implementations that competed here."""
    file = getattr(module, "__file__", None)
    if module is None or module.__name__ == "__main__" or module.__name__.startswith("opjury"):
        return False
    places = (sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib"))
    return file is None or any(os.path.abspath(file).startswith(place + os.sep) for place in places)


def _imported(lines: _Lines, value: Any) -> str:
    """An expression for what a module has by name, or ""."""
    names = [
        name for name in (getattr(value, key, None) for key in ("__qualname__", "__name__")) if isinstance(name, str)
    ]
    if any(getattr(builtins, name, None) is value for name in names):
        return names[0]
    for place in (str(getattr(value, "__module__", "")), "torch", "torch.nn.functional", "numpy"):
        for name in names if place != "__main__" else ():
            if _attribute(sys.modules.get(place), name) is value:
                lines.add(f"from {place} import {name.partition('.')[0]}")
                return name
    return ""


def _node_of(tree: ast.Module, code: CodeType) -> ast.FunctionDef | ast.Lambda:
    """The node of a function's code (raises `_Unknown`)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            starts = (node.lineno, *(decorator.lineno for decorator in node.decorator_list))
            if code.co_firstlineno in starts:
                return node
        if isinstance(node, ast.Lambda) and code.co_name == "<lambda>":
            body = (node.body.lineno, node.body.end_lineno, node.body.col_offset, node.body.end_col_offset)
            if body in code.co_positions():
                return node
    raise _Unknown("its source could not be found")


def _names_of(code: CodeType) -> set[str]:
    """The global names, and others, that code and the functions within it use."""
    inner = [_names_of(part) for part in code.co_consts if isinstance(part, CodeType)]
    return set(code.co_names).union(*inner)


def needed(tree: ast.Module, name: str, space: dict[str, Any] | None = None, bare: str = "") -> list[str]:
    """Source of a name of a module, and of the names of the module that it uses.

    Decorators that declare are left out, and all decorators of `bare`. `space` are the values of the module's names.
    """
    defined = _defined(tree)
    wanted: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        if current in wanted or current not in defined:
            continue
        wanted.add(current)
        for node in defined[current]:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                node.decorator_list = [d for d in node.decorator_list if not _declares(d) and node.name != bare]
            written = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            pending += written & _names_of(compile(ast.Module([node], []), "", "exec", dont_inherit=True))
    chosen = [node for node in tree.body if any(node in defined[key] for key in wanted)]
    return [part for node in chosen for part in _statement(node, wanted, space or {})]


def _defined(tree: ast.Module) -> dict[str, list[ast.stmt]]:
    """The names of a module and the statements that define them."""
    found: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        for key in _names(node):
            found.setdefault(key, []).append(node)
    return found


def _statement(node: ast.stmt, wanted: set[str], space: dict[str, Any]) -> Iterator[str]:
    """A statement of a module as it is valid in another one."""
    if not isinstance(node, ast.ImportFrom):
        yield ast.unparse(node)
        return
    module = "." * node.level + (node.module or "")
    if node.level:
        module = importlib.util.resolve_name(module, space.get("__package__") or "")
    for alias in node.names:
        used = alias.asname or alias.name
        if used in wanted:
            yield _inlined(module, alias.name)
            if alias.asname:
                yield f"{alias.asname} = {alias.name}"


def _names(node: ast.stmt) -> set[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):  # what a script does
        return set()
    if isinstance(node, (ast.For, ast.While, ast.With, ast.Expr)):
        return set()
    found = set()
    for part in ast.walk(node):
        if isinstance(part, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in part.names}
        elif isinstance(part, (ast.FunctionDef, ast.ClassDef)):
            found.add(part.name)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
    return found


def _inlined(module: str, name: str) -> str:
    """The source of a helper from a file of implementations or contracts or beside the function's, or an import of anything else."""
    beside = "." not in module and module in sys.modules and not _installed(sys.modules[module])
    spec = importlib.util.find_spec(module) if beside or module.startswith(_OURS) else None
    if spec and spec.origin:
        return "\n\n".join(needed(ast.parse(Path(spec.origin).read_text()), name))
    return f"from {module} import {name}"


def _declares(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in ("implementation", "wrong", "right")
