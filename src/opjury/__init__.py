"""opjury decides between competing implementations of a tensor operation.

`audit(function_or_name, operation)` judges: a verdict for each check, a smallest counterexample for each that is refuted. `choose(operation,
workload)` measures the implementations that hold up and recommends one. `get(operation, implementation)` is the function that is
registered under these names. `parametrize_with_checks` makes each check of a function a pytest test. `implementation`, `Operation` and
`Workload` declare; `opjury.contract` has everything that such a file needs. The command `opjury list` shows what is registered.

>>> import opjury
>>> found = opjury.audit("cumsum:torch_cumsum", checks="agreement", dtypes="float32")
>>> found.ok
True
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import opjury.judge.checks  # noqa: F401 - declares the checks, which implementations name

# The functions `audit` and `choose` hide the modules of these names, which other modules import from as usual.
from opjury.audit import Audit, audit
from opjury.choose import Choice, choose
from opjury.model import registry
from opjury.model.implementation import Error, Gradient, Implementation, implementation
from opjury.model.operation import Law, Operation
from opjury.model.records import Verdict
from opjury.model.registry import Impossible, UnknownName
from opjury.model.workload import Growth, Workload

if TYPE_CHECKING:
    from opjury.model.arguments import Tensor
    from opjury.model.case import Case
    from opjury.testing import parametrize_with_checks

# In a source checkout `impls/`, `properties/` and `benchmarks/` stand at the top; the wheel has them inside the package.
if not (Path(__file__).parent / "impls").is_dir():
    __path__.append(str(Path(__file__).parents[2]))

_LAZY = {"Case": "opjury.model.case", "Tensor": "opjury.model.arguments", "parametrize_with_checks": "opjury.testing"}

__all__ = [
    "Audit",
    "Case",
    "Choice",
    "Error",
    "Gradient",
    "Growth",
    "Implementation",
    "Impossible",
    "Law",
    "Operation",
    "Tensor",
    "UnknownName",
    "Verdict",
    "Workload",
    "audit",
    "choose",
    "get",
    "implementation",
    "parametrize_with_checks",
]


def get(operation: str, implementation: str) -> Any:
    """The function registered under these names.

    Raises
    ------
    UnknownName
        With the nearest known names.
    """
    return registry.entry(operation, implementation).function


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # What needs torch or pytest is imported when it is asked for: `import opjury` stays light.
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'opjury' has no attribute {name!r}")
