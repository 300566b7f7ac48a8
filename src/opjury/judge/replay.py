"""A counterexample as a Python script: it prints what is and what should be, and fails while the fault is there.

It needs nothing but torch (or SciPy) and the implementation itself. Only what is said about the state of the process needs opjury.
"""

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

import numpy as np

from opjury.judge.bounds import Expected
from opjury.model.case import Case
from opjury.model.exact import literal

CALL = "f(*args, **kwargs)"
RESULT = f"result = {CALL}"
TO_CUDA = "args = [a.cuda() if isinstance(a, torch.Tensor) else a for a in args]\n"
_WHOLE = 100  # elements up to which a script holds all of a result

_HELPERS = {
    "require(": '''
def require(result, expected, bound=0.0, rest=0.0, signed=False):
    """Print what is and what should be; fail unless each element is equal, or within the bound."""
    print("is:       ", result.tolist())
    print("should be:", expected.tolist())
    assert result.shape == expected.shape
    wide = torch.complex128 if expected.is_complex() else torch.float64 if expected.is_floating_point() else torch.int64
    result, expected = result.detach().cpu().to(wide), expected.detach().cpu().to(wide)
    right = (result == expected) | (result.isnan() & expected.isnan()) | ((result - expected - rest).abs() <= bound)
    if expected.is_complex():
        right |= ~result.isfinite() & ~expected.isfinite()
    if signed:
        right &= (expected != 0) | (result.signbit() == expected.signbit())
    assert right.all()
''',
    "same(": '''
def same(*results):
    """Whether results are equal in every bit."""
    return len({str(bits(result)) for result in results}) == 1
''',
    "bits(": '''
def bits(result):
    """Every bit of a result."""
    if isinstance(result, torch.Tensor):
        flat = result.detach().resolve_conj().resolve_neg().cpu().flatten().clone()
        return result.dtype, result.shape, flat.view(torch.uint8).tolist()
    if isinstance(result, (tuple, list)):
        return [bits(each) for each in result]
    return result if result is None else (result.shape, [part.tolist() for part in scipy.sparse.find(result)])
''',
}


def required(expected: Expected, at: tuple[int, ...] = (), other: str = "") -> str:
    """The line of a script that requires `result` to be as expected.

    Parameters
    ----------
    expected : Expected
    at : tuple of int
        Where the result is wrong; a large one is looked at only there.
    other : str
        An expression of the script in place of the expected value, where that comes from another call.
    """
    value, result = expected.value, "result"
    bound, rest = (np.broadcast_to(each, value.shape) for each in (expected.bound, expected.rest))
    if value.size > _WHOLE:
        value, bound, rest = value[at], bound[at], rest[at]
        result, other = (each and f"{each}[{', '.join(map(str, at))}]" for each in (result, other))
    parts = expected.signed_zeros or expected.componentwise
    if parts and value.dtype.kind == "c":
        value, bound = np.stack([value.real, value.imag], -1), np.zeros(1)
        result, other = (each and f"torch.view_as_real({each}.resolve_conj())" for each in (result, other))
    given = [result, other or _tensor(value)]
    given += [_numbers(bound)] if np.any(bound) else []
    given += [f"rest={_numbers(rest)}"] if np.any(rest) else []
    given += ["signed=True"] if expected.signed_zeros else []
    return f"require({', '.join(given)})"


def _tensor(values: np.ndarray) -> str:
    """An array as a tensor in the widest dtype of its kind."""
    dtype = {"f": "float64", "c": "complex128", "b": "bool"}.get(values.dtype.kind, "int64")
    shape = "" if values.size else f".reshape({values.shape})"
    return f"torch.tensor({literal(values.tolist())}, dtype=torch.{dtype}){shape}"


def _numbers(values: np.ndarray) -> str:
    """One number, where all are equal, or a tensor."""
    first = values.reshape(-1)[0].item()
    return repr(first) if np.all(values == first) and np.isfinite(first) else _tensor(values)


def arguments(case: Case) -> str:
    """The arguments of a case as Python: the positional ones, and those by name."""
    args, kwargs = case.texts()
    return f"({', '.join(args)}{',' if args else ''}), dict({', '.join(f'{name}={text}' for name, text in kwargs.items())})"


def unchanged(expression: str, between: str = CALL) -> str:
    """The lines of a script that require an expression to be the same after a call."""
    return f"""\
before = {expression}
{between}
after = {expression}
print("before:", before)
print("after: ", after)
assert before == after"""


def write_script(function: Callable[..., Any], parameters: Sequence[str], case: Case, message: str, steps: str) -> str:
    """The script: the implementation's source, the arguments, and the lines that show what is wrong.

    `parameters` are the contract's; those that the function takes by keyword only are handed over so.
    """
    body, name = _source(function)
    head = [line for line in ("import numpy as np", "import scipy", "import torch") if line not in body.splitlines()]
    lines = [
        '"""' + textwrap.fill(message.replace("\\", "\\\\").replace('"""', "'''"), 110) + '"""',
        "",
        *head,
        "",
        body.strip("\n"),
        "",
        "",
        f"f = {_positional(function, name, parameters[: len(case.args)])}",
        f"args, kwargs = {arguments(case)}",
        "",
        *_helpers(steps),
        steps,
        "",
    ]
    return "\n".join(lines)


def _helpers(steps: str) -> list[str]:
    """The functions that the lines use, and those that these use."""
    text = steps
    for name in _HELPERS:  # each uses those behind it
        if name in text:
            text = _HELPERS[name] + text
    return [_HELPERS[name] + "\n" for name in _HELPERS if name in text]


def enclosed(name: str, function: Callable[..., Any], otherwise: str = "") -> str:
    """Lines that define a function of the contract or of ours, with whatever it uses in a scope of its own.

    `otherwise` is an expression for it with opjury's registry, for one that has no name, as a lambda.
    """
    if not getattr(function, "__name__", "").isidentifier():
        return f"from opjury.model import registry\n{name} = {otherwise}\n"
    body, known = _source(function)
    return f"def scope():\n{textwrap.indent(body, '    ')}\n\n    return {known}\n\n\n{name} = scope()\n"


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
            used = [alias.name for alias in node.names if (alias.asname or alias.name) in wanted]
            parts += [_inlined(node.module or "", name) for name in used]
        else:
            parts.append(ast.unparse(node))
    return "\n\n".join(parts)


def _inlined(module: str, name: str) -> str:
    """A helper that is imported from another file of implementations or contracts as source; anything else of ours as an import."""
    spec = importlib.util.find_spec(module) if module.startswith(("opjury.impls", "opjury.properties")) else None
    if spec and spec.origin:
        return _needed(ast.parse(Path(spec.origin).read_text()), name)
    return f"from {module} import {name}"


def _declares(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in (
        "implementation",
        "wrong",
        "right",
    )
