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
    code : str
        Python that does the same in a script, with {} for the contiguous tensor.
    """

    lay: Callable[[torch.Tensor], torch.Tensor]
    code: str


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


LAYOUTS = {
    "contiguous": Layout(lambda x: x, "{}"),
    "transposed": Layout(_transposed, "(lambda t: t.mT.contiguous().mT if t.ndim > 1 else t)({})"),
    "offset": Layout(
        _offset, "(lambda t: torch.cat([t.new_ones(*t.shape[:-1], 3), t], -1)[..., 3:] if t.ndim else t)({})"
    ),
    "step": Layout(_step, "(lambda t: torch.stack([t, t], -1).flatten(-2)[..., ::2] if t.ndim else t)({})"),
    "rows": Layout(_rows, "(lambda t: torch.stack([t, t], 1).flatten(0, 1)[::2] if t.ndim > 1 else t)({})"),
    "exchanged": Layout(
        _exchanged(0, 1), "(lambda t: t.transpose(0, 1).contiguous().transpose(0, 1) if t.ndim > 1 else t)({})"
    ),
    "channels_last": Layout(
        _exchanged(1, -1), "(lambda t: t.movedim(1, -1).contiguous().movedim(-1, 1) if t.ndim > 1 else t)({})"
    ),
    "expanded": Layout(_expanded, "(lambda t: t[:1].clone().expand(t.shape) if t.ndim and len(t) else t)({})"),
    "conj": Layout(_conj, "(lambda t: t.conj().resolve_conj().conj())({})"),
    "neg": Layout(_neg, "(lambda t: torch._neg_view(-t))({})"),
}
