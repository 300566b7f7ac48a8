"""What authors of contracts, implementations and workloads import, and all of it.

`from opjury.contract import Case, Law, Operation, Space, composite, illegal, st` stands at the top of a contract,
`from opjury.contract import Gradient, implementation` at that of a file of implementations.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from opjury.model.check import Check
from opjury.model.claims import claim
from opjury.model.dtypes import COMPLEX, FLOATING, HALF, INTEGER, REAL
from opjury.model.implementation import Error, Gradient, Implementation, implementation
from opjury.model.operation import Law, Operation
from opjury.model.workload import Growth, Workload

if TYPE_CHECKING:
    from hypothesis import strategies as st
    from hypothesis.strategies import composite

    from opjury.judge.strategies import Space, illegal, seeds
    from opjury.judge.trial import Refuted, Unsuitable
    from opjury.model.arguments import Sparse, Tensor
    from opjury.model.case import Case
    from opjury.model.exact import integer_limits, round_to

_LAZY = {
    "Case": "opjury.model.case",
    "Refuted": "opjury.judge.trial",
    "Space": "opjury.judge.strategies",
    "Sparse": "opjury.model.arguments",
    "Tensor": "opjury.model.arguments",
    "Unsuitable": "opjury.judge.trial",
    "composite": "opjury.judge.strategies",
    "illegal": "opjury.judge.strategies",
    "integer_limits": "opjury.model.exact",
    "round_to": "opjury.model.exact",
    "seeds": "opjury.judge.strategies",
    "st": "opjury.judge.strategies",
}

__all__ = [
    "COMPLEX",
    "FLOATING",
    "HALF",
    "INTEGER",
    "REAL",
    "Case",
    "Check",
    "Error",
    "Gradient",
    "Growth",
    "Implementation",
    "Law",
    "Operation",
    "Refuted",
    "Space",
    "Sparse",
    "Tensor",
    "Unsuitable",
    "Workload",
    "claim",
    "composite",
    "illegal",
    "implementation",
    "integer_limits",
    "round_to",
    "seeds",
    "st",
]


def __getattr__(name: str) -> Any:
    # What needs torch or hypothesis is imported when it is asked for: listing implementations needs neither.
    if name in _LAZY:
        value = getattr(import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'opjury.contract' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
