"""Declarations as authors write them; each `type: ignore` marks a line in which mypy must find the mistake."""

from typing import assert_type

import numpy as np
import torch

from opjury.contract import Case, Gradient, Law, Operation, Space, Tensor, Workload, composite, implementation, st


def scan(x: np.ndarray, dim: int) -> np.ndarray:
    return x.cumsum(dim)


@composite
def cases(draw: st.DrawFn, space: Space) -> Case:
    return Case.of(draw(space.tensor((3,))), 0)


Operation(
    "scan",
    "sums",
    kind="arithmetic",
    reference=scan,
    cases=cases,
    rejects=cases,
    laws=(Law("nothing changes", lambda f, rng, x, dim: (f(x, dim), f(x, dim))),),
)
Operation("scan", "sums", kind="movment", reference=scan, cases=cases, rejects=cases)  # type: ignore[arg-type]
Operation("scan", "sums", kind="exact", reference=scan, cases=cases, rejects=cases, trems=1)  # type: ignore[call-arg]
Operation("scan", "sums", kind="exact", reference=scan, cases=scan, rejects=cases)  # type: ignore[arg-type]
Operation("scan", "sums", kind="exact", reference=scan, cases=cases)  # type: ignore[call-arg]
Workload("scan", size={"n": 1})  # type: ignore[call-arg]
Law("no sides")  # type: ignore[call-arg]


@implementation("scan", gradient=Gradient(second=True), waives={"specials": {"cuda": "why"}})
def torch_scan(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.cumsum(dim)


assert_type(torch_scan(torch.zeros(3), 0), torch.Tensor)
torch_scan(torch.zeros(3), "0")  # type: ignore[arg-type]
implementation("scan", waved={})  # type: ignore[call-arg]
Workload(
    "scan",
    sizes={"small": {"n": 1}},
    arguments=lambda rng, n: Case.of(Tensor(np.zeros(n), "float32"), 0),
    least_bytes=lambda itemsize, n: 2 * n * itemsize,
    least_operations=lambda n: n,
)
