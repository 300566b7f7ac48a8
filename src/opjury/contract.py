"""Everything that authors of contracts, implementations and workloads import.

A contract begins with `from opjury.contract import Case, Law, Operation, Space, composite, illegal, st`, a file of implementations with
`from opjury.contract import Gradient, implementation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opjury.model.check import Check
from opjury.model.claims import claim
from opjury.model.dtypes import COMPLEX, FLOATING, HALF, INTEGER, REAL
from opjury.model.implementation import Error, Gradient, Implementation, implementation
from opjury.model.modules import lazily
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

__all__ = ["COMPLEX", "FLOATING", "HALF", "INTEGER", "REAL"]
__all__ += ["Error", "Gradient", "Growth", "Implementation", "Law", "Operation", "Workload", "claim", "implementation"]
__all__ += ["Case", "Space", "Sparse", "Tensor", "composite", "illegal", "integer_limits", "round_to", "seeds", "st"]
__all__ += ["Check", "Refuted", "Unsuitable"]

# These need torch or hypothesis, and listing implementations needs neither.
__getattr__ = lazily(
    __name__,
    {
        "opjury.judge.strategies": ("Space", "composite", "illegal", "seeds", "st"),
        "opjury.judge.trial": ("Refuted", "Unsuitable"),
        "opjury.model.arguments": ("Sparse", "Tensor"),
        "opjury.model.case": ("Case",),
        "opjury.model.exact": ("integer_limits", "round_to"),
    },
)


def __dir__() -> list[str]:
    return __all__
