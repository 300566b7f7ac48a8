"""opjury decides between competing implementations of a tensor operation.

`audit(function_or_name, operation)` gives a verdict for each check, with a minimal counterexample for each refuted one.
`choose(operation, workload)` measures the implementations that hold up and recommends one. `get(operation, implementation)` returns a
registered function. `parametrize_with_checks` makes each check of a function a pytest test, `check_contract` tests a contract of your
own. `implementation`, `Operation` and `Workload` declare; `opjury.contract` has everything that a declaring file needs. The command
`opjury list` shows what is registered.

>>> import opjury
>>> found = opjury.audit("cumsum:torch_cumsum", checks="agreement", dtypes="float32")
>>> found.ok
True
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import opjury.judge.checks  # noqa: F401 - declares the checks, which implementations name

# The functions `audit` and `choose` hide the modules of these names, which other modules import from as usual.
from opjury.audit import Audit, audit
from opjury.choose import Choice, choose
from opjury.model import registry
from opjury.model.implementation import Error, Gradient, Implementation, implementation
from opjury.model.modules import lazily
from opjury.model.operation import Law, Operation
from opjury.model.records import Verdict
from opjury.model.registry import Impossible, UnknownName
from opjury.model.workload import Growth, Workload

if TYPE_CHECKING:
    from opjury.model.arguments import Tensor
    from opjury.model.case import Case
    from opjury.testing import check_contract, parametrize_with_checks

# In a source checkout `impls/`, `properties/` and `benchmarks/` stand at the top; the wheel has them inside the package.
if not (Path(__file__).parent / "impls").is_dir():
    __path__.append(str(Path(__file__).parents[2]))

__all__ = ["Audit", "Choice", "Verdict", "audit", "check_contract", "choose", "get", "parametrize_with_checks"]
__all__ += ["Case", "Error", "Gradient", "Growth", "Implementation", "Law", "Operation", "Tensor", "Workload"]
__all__ += ["Impossible", "UnknownName", "implementation"]

# These need torch or pytest: `import opjury` stays light.
__getattr__ = lazily(
    __name__,
    {
        "opjury.model.arguments": ("Tensor",),
        "opjury.model.case": ("Case",),
        "opjury.testing": ("check_contract", "parametrize_with_checks"),
    },
)


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
