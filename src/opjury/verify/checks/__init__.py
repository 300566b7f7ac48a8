"""What must hold. Each check is `check_<property>(trial, case)`: it returns, or raises `Refuted` (or `Unsuitable`).

A check looks at its own property alone: where a call fails in a way that another check judges, the case is unsuitable for it.
Whatever a check needs beside the case it derives from the case's seed, so that a stored case replays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from opjury.case import Case
from opjury.verify.checks.determinism import check_determinism
from opjury.verify.checks.devices import check_devices
from opjury.verify.checks.gradients import check_gradient, check_locality, check_second_order
from opjury.verify.checks.state import check_purity, preserved_modules, preserved_state
from opjury.verify.checks.transforms import check_forward_mode, check_vmap
from opjury.verify.checks.values import (
    check_agreement,
    check_form,
    check_laws,
    check_layouts,
    check_rejects,
    check_specials,
    check_terminates,
)
from opjury.verify.trial import Trial

__all__ = ["CHECKS", "Check", "preserved_modules", "preserved_state"]


@dataclass(frozen=True)
class Check:
    """A check and what it is tried on.

    Parameters
    ----------
    tiers : tuple of str
        Of "exact", "rounding", "special", "illegal".
    layouts : tuple of str
    boundaries : bool
        Whether sizes at the edges of blocks are drawn.
    weight : float
        Its share of the examples of a profile.
    needs : str
        "gradient", or a field of `Gradient` that must be declared.
    """

    run: Callable[[Trial, Case], None]
    tiers: tuple[str, ...] = ("exact",)
    layouts: tuple[str, ...] = ("contiguous",)
    boundaries: bool = False
    weight: float = 0.5
    needs: str = ""


_ODD = ("transposed", "offset", "step", "rows", "exchanged", "channels_last", "expanded", "conj", "neg")

CHECKS: dict[str, Check] = {
    "agreement": Check(check_agreement, ("exact", "rounding"), boundaries=True, weight=2.0),
    "specials": Check(check_specials, ("special",), boundaries=True, weight=1.0),
    "form": Check(check_form, ("exact",), ("contiguous", *_ODD), weight=0.5),
    "layouts": Check(check_layouts, ("exact",), _ODD, boundaries=True, weight=1.2),
    "purity": Check(check_purity, ("exact", "special"), ("contiguous", *_ODD), weight=0.4),
    "determinism": Check(check_determinism, ("exact", "rounding"), boundaries=True, weight=0.4),
    "gradient": Check(
        check_gradient,
        ("exact", "exact", "rounding"),
        ("contiguous", *_ODD),
        boundaries=True,
        weight=1.2,
        needs="gradient",
    ),
    "second_order": Check(check_second_order, ("exact",), needs="second"),
    "forward_mode": Check(check_forward_mode, ("exact",), needs="forward"),
    "vmap": Check(check_vmap, ("exact",), needs="vmap"),
    "locality": Check(check_locality, ("exact", "rounding"), boundaries=True, weight=1.2),
    "laws": Check(check_laws, ("exact",), boundaries=True, weight=0.5),
    "rejects": Check(check_rejects, ("illegal",), weight=0.7),
    "terminates": Check(check_terminates, ("exact", "special", "illegal"), weight=0.4),
    "devices": Check(check_devices, ("exact", "rounding"), boundaries=True, weight=0.5),
}
