"""Layouts: how the values of a tensor argument may lie in memory, where gaps hold NaN or the largest integer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import CodeType

import torch

from opjury.model.dtypes import is_floating


def _transposed(ndim: int) -> str:
    order = tuple(reversed(range(ndim)))
    return f"t.permute{order}.contiguous().permute{order}" if ndim > 1 else "t"


def _offset(ndim: int) -> str:
    if ndim == 0:
        return "t.new_full((4,), filler)[2].copy_(t)"
    return "t.new_full((*t.shape[:-1], t.shape[-1] + 3), filler)[..., 2:-1].copy_(t)"


def _step(ndim: int) -> str:
    return "t.new_full((*t.shape[:-1], 2 * t.shape[-1]), filler)[..., ::2].copy_(t)" if ndim else _offset(0)


def _rows(ndim: int) -> str:
    """Every other row of a larger tensor: the rows themselves are whole."""
    return "t.new_full((2 * len(t), *t.shape[1:]), filler)[::2].copy_(t)" if ndim > 1 else _step(ndim)


def _exchanged(first: int, second: int) -> Callable[[int], str]:
    """Two dimensions exchanged in memory: as of heads and places, or as of channels that come last."""
    moved = f"t.movedim({first}, {second}).contiguous().movedim({second}, {first})"
    return lambda ndim: moved if ndim > 2 else _transposed(ndim)


LAYOUTS: dict[str, Callable[[int], str]] = {
    "contiguous": lambda ndim: "t",
    "transposed": _transposed,
    "offset": _offset,
    "step": _step,
    "rows": _rows,
    "exchanged": _exchanged(0, 1),
    "channels_last": _exchanged(1, -1),
    "expanded": lambda ndim: "t[:1].clone().expand(t.shape) if len(t) else t" if ndim else "t",
    "conj": lambda ndim: "t.conj().resolve_conj().conj()",
    "neg": lambda ndim: "torch._neg_view(-t)",
}
"""By name, from a number of dimensions to Python that lays out a contiguous tensor `t`, with `filler` in the gaps."""


def layout_code(layout: str, ndim: int, dtype: str) -> str:
    """The Python of a layout, which both scripts and trials evaluate."""
    return LAYOUTS[layout](ndim).replace("filler", filler(dtype))


def filler(dtype: str) -> str:
    """What the gaps hold, as Python."""
    if is_floating(dtype):
        return "torch.nan"
    return "True" if dtype == "bool" else f"torch.iinfo(torch.{dtype}).max"


def laid_out(t: torch.Tensor, layout: str) -> torch.Tensor:
    """A contiguous tensor in another layout, with memory of its own unless the layout is the same."""
    dtype = str(t.dtype).removeprefix("torch.")
    if layout == "neg" and not is_floating(dtype):  # only these dtypes have negative views
        return t
    return eval(_compiled(layout, t.ndim, dtype), {"torch": torch, "t": t})


@functools.cache
def _compiled(layout: str, ndim: int, dtype: str) -> CodeType:
    return compile(layout_code(layout, ndim, dtype), f"<layout {layout}>", "eval")
