"""A counterexample as a Python script: it prints what is and what should be, and fails while the fault is there.

It needs nothing but torch (or SciPy) and the implementation itself; only a script about the state of the process needs opjury.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opjury.judge.bounds import Expected
from opjury.model.case import Case
from opjury.model.exact import literal

CALL = "f(*args, **kwargs)"
RESULT = f"result = {CALL}"
TO_CUDA = "args = [a.cuda() if isinstance(a, torch.Tensor) else a for a in args]\n"
_WHOLE = 100  # elements up to which a script holds all of a result

_HELPERS = {  # each uses only those after it
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


def modes() -> str:
    """Lines that set those of torch's modes that are not the default at this moment."""
    lines = ""
    if torch.get_default_dtype() != torch.float32:
        lines += f"torch.set_default_dtype({torch.get_default_dtype()})\n"
    if torch.is_inference_mode_enabled():
        lines += "torch.inference_mode().__enter__()\n"
    elif not torch.is_grad_enabled():
        lines += "torch.set_grad_enabled(False)\n"
    return lines


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

    `parameters` are those of the contract; the function gets by keyword what it takes by keyword only.
    """
    body, name = _source(function)
    head = [line for line in ("import numpy as np", "import scipy", "import torch") if line not in body.splitlines()]
    text = steps
    for helper, definition in _HELPERS.items():
        if helper in text:
            text = definition + text
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
        *(definition + "\n" for helper, definition in _HELPERS.items() if helper in text),
        steps,
        "",
    ]
    return "\n".join(lines)


def enclosed(name: str, function: Callable[..., Any], otherwise: str = "") -> str:
    """Lines that define a function of the contract or of ours, with whatever it uses in a scope of its own.

    For a function without a name, such as a lambda, they use `otherwise`: an expression for it with opjury's registry.
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
    taken = list(parameters)
    for place in reversed(range(len(taken))):
        default = known[taken[place]].default if taken[place] != passed[place] else inspect.Parameter.empty
        if default is inspect.Parameter.empty:
            break
        taken[place] = f"{taken[place]}={default!r}"
    return f"lambda {', '.join(taken)}, **kwargs: {name}({', '.join(passed)}, **kwargs)"


def _source(function: Callable[..., Any]) -> tuple[str, str]:
    """Source that defines the function, and an expression for it.

    It includes what the function uses of its own module (helpers, constants, imports), without decorators that declare.
    """
    function = inspect.unwrap(function)
    name = getattr(function, "__name__", "f")
    try:
        tree = ast.parse(Path(inspect.getsourcefile(function) or "").read_text())
        if any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body):
            return _needed(tree, name), name
    except (OSError, TypeError, SyntaxError, ValueError):
        pass
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        module = getattr(function, "__module__", "")
        if module in sys.modules and not hasattr(builtins, name):
            return f"from {module} import {name}", name
        return f"{name} = ...  # its source could not be found", name
    return text if text.lstrip().startswith("def ") else f"{name} = ...  # its source:\n# {text}", name


def _needed(tree: ast.Module, name: str) -> str:
    """Source of a name of a module, and of the names of the module that it uses."""
    defined = {key: node for node in tree.body for key in _names(node)}
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
    parts = []
    for node in tree.body:
        if not any(defined[key] is node for key in wanted):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("opjury"):
            used = [alias.name for alias in node.names if (alias.asname or alias.name) in wanted]
            parts += [_inlined(node.module or "", each) for each in used]
        else:
            parts.append(ast.unparse(node))
    return "\n\n".join(parts)


def _names(node: ast.stmt) -> Iterator[str]:
    """The names that a statement of a module defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)


def _inlined(module: str, name: str) -> str:
    """The source of a helper from a file of implementations or contracts, or an import of anything else of ours."""
    spec = importlib.util.find_spec(module) if module.startswith(("opjury.impls", "opjury.properties")) else None
    if spec and spec.origin:
        return _needed(ast.parse(Path(spec.origin).read_text()), name)
    return f"from {module} import {name}"


def _declares(decorator: ast.expr) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
    return name in ("implementation", "wrong", "right")
