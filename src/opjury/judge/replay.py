"""A counterexample as a Python script that needs nothing but torch (or SciPy) and the implementation itself."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opjury.model.case import Case


def write_script(function: Callable[..., Any], parameters: Sequence[str], case: Case, message: str, steps: str) -> str:
    """The script: the implementation's source, the arguments, and the lines that show what is wrong.

    `parameters` are the contract's; those that the function takes by keyword only are handed over so.
    """
    body, name = _source(function)
    head = [line for line in ("import numpy as np", "import scipy", "import torch") if line not in body.splitlines()]
    args, kwargs = case.texts()
    lines = [
        '"""' + textwrap.fill(message.replace("\\", "\\\\").replace('"""', "'''"), 110) + '"""',
        "",
        *head,
        "",
        body.strip("\n"),
        "",
        "",
        f"f = {_positional(function, name, parameters[: len(case.args)])}",
        f"args = ({', '.join(args)}{',' if args else ''})",
        f"kwargs = dict({', '.join(f'{name}={text}' for name, text in kwargs.items())})",
        steps,
        "",
    ]
    return "\n".join(lines)


def _positional(function: Callable[..., Any], name: str, parameters: Sequence[str]) -> str:
    """An expression for the function, callable with these parameters in their positions."""
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return name
    passed = [f"{p}={p}" if p in known and known[p].kind is known[p].KEYWORD_ONLY else p for p in parameters]
    if passed == list(parameters):
        return name
    return f"lambda {', '.join(parameters)}, **kwargs: {name}({', '.join(passed)}, **kwargs)"


def _source(function: Callable[..., Any]) -> tuple[str, str]:
    """Source that defines the function, and an expression for it.

    What the function uses of its own module (helpers, constants, imports) comes along; declarations by decorator do not.
    """
    function = inspect.unwrap(function)
    name = getattr(function, "__name__", "f")
    try:
        module_source = Path(inspect.getsourcefile(function) or "").read_text()
        tree = ast.parse(module_source)
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            raise ValueError
        return _needed(tree, name), name
    except (OSError, TypeError, SyntaxError, ValueError):
        try:
            text = textwrap.dedent(inspect.getsource(function))
            return (
                (text, name) if text.lstrip().startswith("def ") else (f"{name} = ...  # its source:\n# {text}", name)
            )
        except (OSError, TypeError):
            module = getattr(function, "__module__", "")
            if module in sys.modules and not hasattr(builtins, name):
                return f"from {module} import {name}", name
            return f"{name} = ...  # its source could not be found", name


def _needed(tree: ast.Module, name: str) -> str:
    defined: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined[node.name] = node
        elif isinstance(node, ast.Assign):
            defined.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                defined[(alias.asname or alias.name).partition(".")[0]] = node
    wanted: set[str] = set()
    pending = [name]
    while pending:
        current = pending.pop()
        if current in wanted or current not in defined:
            continue
        wanted.add(current)
        node = defined[current]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            node.decorator_list = [d for d in node.decorator_list if not _declares(d)]
        pending += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    kept = {id(defined[key]): defined[key] for key in wanted if key in defined}
    parts = []
    for node in tree.body:
        if id(node) not in kept:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("opjury"):
            parts += [text for alias in node.names if (text := _inlined(node.module or "", alias.name, wanted))]
        else:
            parts.append(ast.unparse(node))
    return "\n\n".join(parts)


def _inlined(module: str, name: str, wanted: set[str]) -> str:
    """A helper that is imported from another file of implementations, as source."""
    if not module.startswith("opjury.impls") or name not in wanted:
        return ""
    spec = importlib.util.find_spec(module)
    return _needed(ast.parse(Path(spec.origin).read_text()), name) if spec and spec.origin else ""


def _declares(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in (
        "implementation",
        "wrong",
        "right",
    )
