"""A counterexample as a Python script: it prints what is and what should be, and fails while the fault is there.

It needs nothing but torch (or SciPy) and the implementation itself; only a script about the state of the process needs opjury.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from opjury.judge.bounds import Expected
from opjury.judge.source import LATE, definition
from opjury.model.arguments import Tensor
from opjury.model.case import Case
from opjury.model.exact import literal
from opjury.model.layouts import filler

CALL = "f(*args, **kwargs)"
RESULT = f"result = {CALL}"
TO_CUDA = "args = [a.cuda() if isinstance(a, torch.Tensor) else a for a in args]\n"
ENDS = """\
import faulthandler
faulthandler.dump_traceback_later(30, exit=True)
try:
    result = f(*args, **kwargs)
    if getattr(result, "requires_grad", False):
        result.sum().backward()
except Exception as error:
    print(error)
faulthandler.cancel_dump_traceback_later()  # this line is never reached"""
INFERENCE = "mode = torch.inference_mode()\nmode.__enter__()"  # it ends when `mode` is deleted
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
    if result is None:
        return None
    entries = result.tocoo()
    return result.shape, *(part.tolist() for part in (entries.row, entries.col, entries.data))
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
        lines += INFERENCE + "\n"
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


def repeated(steps: str) -> str:
    """Lines of a script that take its steps many times, for what is wrong in some calls only."""
    return f"for _ in range(150):\n{textwrap.indent(steps, '    ')}"


def write_script(function: Callable[..., Any], parameters: Sequence[str], case: Case, message: str, steps: str) -> str:
    """The script: the implementation's source, the arguments, and the lines that show what is wrong.

    `parameters` are those of the contract; the function gets by keyword what it takes by keyword only.
    """
    body, name = definition(function)
    helpers = ""
    for helper, lines in _HELPERS.items():
        if helper in helpers + steps:
            helpers += lines + "\n"
    parts = [
        body.replace(LATE, "").strip("\n"),
        "",
        "",
        f"f = {_positional(function, name, parameters[: len(case.args)])}",
        f"args, kwargs = {arguments(case)}",
        *_layouts(case),
        "",
        helpers + steps,
        "",
    ]
    text = "\n".join(parts)
    title = '"""' + textwrap.fill(message.replace("\\", "\\\\").replace('"""', "'''"), 110) + '"""'
    return "\n".join([title, "", *[LATE] * (LATE in body), *_imports(text), "", text])


def _imports(text: str) -> list[str]:
    """The imports that a text uses and does not have."""
    known = {"np": "import numpy as np", "scipy": "import scipy", "torch": "import torch"}
    lines = text.splitlines()
    uses = "\n".join(line for line in lines if not line.lstrip().startswith(("import ", "from ")))
    return [line for name, line in known.items() if re.search(rf"\b{name}\.", uses) and line not in lines]


def _layouts(case: Case) -> list[str]:
    """Lines that state how arguments lie in memory, and hold that they do."""
    stated = []
    for place, leaf in case.leaves():
        if not case.repeated and isinstance(leaf, Tensor) and leaf.layout != "contiguous":
            live, a = leaf.build(), f"args[{place}]" if isinstance(place, int) else f"kwargs[{place!r}]"
            gaps = live.numel() and live.untyped_storage().nbytes() > live.numel() * live.itemsize
            what = f"{leaf.layout}; the gaps hold {filler(leaf.dtype)}" if gaps else leaf.layout
            facts = "is_conj()" if live.is_conj() else "is_neg()" if live.is_neg() else f"stride() == {live.stride()}"
            stated.append(f"assert {a}.{facts}  # {what}")
    return stated


def enclosed(name: str, function: Callable[..., Any], otherwise: str = "") -> str:
    """Lines that define a function of the contract or of ours, with whatever it uses in a scope of its own.

    For a function without a name, such as a lambda, they use `otherwise`: an expression for it with opjury's registry.
    """
    if not getattr(function, "__name__", "").isidentifier():
        return f"from opjury.model import registry\n{name} = {otherwise}\n"
    body, known = definition(function)
    body = body.replace(LATE, "").strip()
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
