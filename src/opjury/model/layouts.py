"""How the values of a tensor argument may lie in memory. Gaps in memory hold NaN, or the largest integer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Layout:
    """One way to lay out values.

    Parameters
    ----------
    lay : callable
        From a contiguous tensor, an equal one with memory of its own in this layout.
    code : callable
        `code(ndim)` is Python that does the same to a contiguous tensor `t` of so many dimensions, other fillers aside.
    """

    lay: Callable[[torch.Tensor], torch.Tensor]
    code: Callable[[int], str]


def _padded(x: torch.Tensor, width: int) -> torch.Tensor:
    filler = (
        math.nan
        if x.is_floating_point() or x.is_complex()
        else torch.iinfo(x.dtype).max
        if x.dtype != torch.bool
        else 1
    )
    return torch.full((*x.shape[:-1], width), filler, dtype=x.dtype, device=x.device)


def _offset(x: torch.Tensor) -> torch.Tensor:
    if x.ndim == 0:
        return _offset(x.reshape(1))[0]
    base = _padded(x, x.shape[-1] + 3)
    base[..., 2:-1] = x
    return base[..., 2:-1]


def _step(x: torch.Tensor) -> torch.Tensor:
    if x.ndim == 0:
        return _offset(x)
    base = _padded(x, 2 * x.shape[-1])
    base[..., ::2] = x
    return base[..., ::2]


def _transposed(x: torch.Tensor) -> torch.Tensor:
    order = tuple(reversed(range(x.ndim)))
    return x.permute(order).contiguous().permute(order)


def _rows(x: torch.Tensor) -> torch.Tensor:
    """Every other row of a larger tensor: the rows themselves are whole."""
    if x.ndim < 2:
        return _step(x)
    base = _padded(x[:, None].expand(-1, 2, *x.shape[1:]).flatten(0, 1), x.shape[-1])
    base[::2] = x
    return base[::2]


def _exchanged(first: int, second: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Two dimensions exchanged in memory: as of heads and places, or as of channels that come last."""

    def lay(x: torch.Tensor) -> torch.Tensor:
        if x.ndim < 3:
            return _transposed(x)
        return x.movedim(first, second).contiguous().movedim(second, first)

    return lay


def _expanded(x: torch.Tensor) -> torch.Tensor:
    if x.ndim == 0 or x.shape[0] == 0:
        return x
    return x[:1].clone().expand(x.shape)


def _conj(x: torch.Tensor) -> torch.Tensor:
    return x.conj().resolve_conj().conj()


def _neg(x: torch.Tensor) -> torch.Tensor:
    return torch._neg_view(-x) if x.is_floating_point() or x.is_complex() else x


def _transposed_code(ndim: int) -> str:
    order = tuple(reversed(range(ndim)))
    return f"t.permute{order}.contiguous().permute{order}" if ndim > 1 else "t"


def _offset_code(ndim: int) -> str:
    if ndim == 0:
        return f"t.new_full((4,), {_FILLER})[2].copy_(t)"
    return f"t.new_full((*t.shape[:-1], t.shape[-1] + 3), {_FILLER})[..., 2:-1].copy_(t)"


def _step_code(ndim: int) -> str:
    return f"t.new_full((*t.shape[:-1], 2 * t.shape[-1]), {_FILLER})[..., ::2].copy_(t)" if ndim else _offset_code(0)


def _rows_code(ndim: int) -> str:
    return f"t.new_full((2 * len(t), *t.shape[1:]), {_FILLER})[::2].copy_(t)" if ndim > 1 else _step_code(ndim)


def _exchanged_code(first: int, second: int) -> Callable[[int], str]:
    moved = f"t.movedim({first}, {second}).contiguous().movedim({second}, {first})"
    return lambda ndim: moved if ndim > 2 else _transposed_code(ndim)


LAYOUTS = {
    "contiguous": Layout(lambda x: x, lambda ndim: "t"),
    "transposed": Layout(_transposed, _transposed_code),
    "offset": Layout(_offset, _offset_code),
    "step": Layout(_step, _step_code),
    "rows": Layout(_rows, _rows_code),
    "exchanged": Layout(_exchanged(0, 1), _exchanged_code(0, 1)),
    "channels_last": Layout(_exchanged(1, -1), _exchanged_code(1, -1)),
    "expanded": Layout(_expanded, lambda ndim: "t[:1].clone().expand(t.shape) if len(t) else t" if ndim else "t"),
    "conj": Layout(_conj, lambda ndim: "t.conj().resolve_conj().conj()"),
    "neg": Layout(_neg, lambda ndim: "torch._neg_view(-t)"),
}
_FILLER = 77  # in scripts: a number that no small case holds
