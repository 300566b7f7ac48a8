"""Which calls that nobody drew are legal, and what refutes a check for one call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from opjury.judge.draw import Kind, stream
from opjury.judge.oracle import ContractError
from opjury.judge.shrink_steps import numbers_in
from opjury.judge.text import describe
from opjury.judge.time_limit import TimeLimitExceeded
from opjury.judge.trial import Refuted, Trial, Unsuitable
from opjury.model import registry
from opjury.model.arguments import Sparse, Tensor
from opjury.model.case import Case
from opjury.model.check import Check
from opjury.model.implementation import Implementation

_DRAWN = 128  # cases by which dimensions and smallest sizes are known


def refutation(trial: Trial, check: Check, case: Case) -> Refuted | None:
    """What refutes a check for a case; None where it holds.

    Raises
    ------
    Unsuitable
        Also where the reference has not enough memory.
    ContractError, TimeLimitExceeded
    """
    try:
        check.run(trial, case)
    except Refuted as error:
        return error
    except (Unsuitable, ContractError):
        raise
    except Exception as error:
        if out_of_memory(error):
            raise Unsuitable from None
        return Unexamined(f"the result cannot be examined: {describe(error)}")
    return None


class Unexamined(Refuted):
    """A result that makes the check itself raise."""


def fails(trial: Trial, check: Check, case: Case) -> Refuted | None:
    """What refutes a check for a case; None where it holds or says nothing. Raises `TimeLimitExceeded`."""
    with contextlib.suppress(Exception):
        return refutation(trial, check, case)
    return None


def holds(trial: Trial, check: Check, case: Case) -> bool:
    """Whether a check says that it holds for a case."""
    with contextlib.suppress(Exception, TimeLimitExceeded):
        return refutation(trial, check, case) is None
    return False


def out_of_memory(error: Exception) -> bool:
    """Whether this error says that there is not enough memory."""
    return isinstance(error, MemoryError) or "memory" in str(error)


def in_domain(trial: Trial, case: Case) -> bool:
    """Whether the implementation claims to be right for a call; every one has to reject the illegal ones."""
    return case.tier == "illegal" or trial.implementation.claims(case.wide)


class Legal:
    """Whether a call that nobody drew is as legal, or as illegal, as the call from which it is derived.

    Its arguments must have dimensions and smallest sizes that the contract draws, the reference must take them, and a right competitor
    must treat it as it treats the call from which it is derived.

    Parameters
    ----------
    trial : Trial
    check : Check
    kind : Kind
        What is drawn for the check.
    case : Case
        The call from which the others are derived.
    known : bool
        Whether that one was drawn.

    Attributes
    ----------
    witness : Trial or None
        The right competitor; None where there is none.
    """

    def __init__(self, trial: Trial, check: Check, kind: Kind, case: Case, *, known: bool = True) -> None:
        self._trial, self._check = trial, check
        self.witness = next(filter(None, (self._tried(entry, case) for entry in self._right_ones())), None)
        self._smallest: dict[Any, int] = {}
        drawn = islice(stream(kind.without_boundaries), _DRAWN)
        for each in (*([case] if known else []), *trial.operation.examples, *drawn):
            for key, value in _extents(each):
                self._smallest[key] = min(value, self._smallest.get(key, value))

    def __call__(self, case: Case) -> bool:
        """Whether a case is one of these."""
        if any(value < self._smallest.get(key, value + 1) for key, value in _extents(case)):
            return False
        if case.tier == "illegal":
            return self.witness is not None and _rejects(self.witness, case)
        try:
            with np.errstate(all="ignore"):
                args, kwargs = case.wide("float")
                self._trial.operation.reference(*args, **kwargs)
            if not in_domain(self._trial, case):
                return False
        except Exception:
            return False
        return self.witness is None or holds(self.witness, self._check, case)

    def _right_ones(self) -> list[Implementation]:
        """The competitors that are right in this check, the baseline first."""
        operation, mine, device = self._trial.operation, self._trial.implementation, self._trial.device
        return [
            entry
            for entry in sorted(registry.implementations(operation.name), key=lambda e: e.name != operation.baseline)
            if not (entry.refuted or entry.domain or self._check.name in entry.waived_on(device))
            and entry.function is not mine.function
            and self._check.why_not(operation, entry, device) is None
        ]

    def _tried(self, entry: Implementation, case: Case) -> Trial | None:
        """A competitor on trial, if it treats a call as a right one has to."""
        trial = Trial(self._trial.operation, entry, self._trial.device, self._trial.limit)
        if case.tier == "illegal":
            return trial if _rejects(trial, case) else None
        takes = case.dtype in (entry.dtypes or self._trial.operation.dtypes)
        return trial if takes and holds(trial, self._check, case) else None


def _rejects(trial: Trial, case: Case) -> bool:
    try:
        trial.invoke(*case.build(trial.device))
    except TimeLimitExceeded:
        return False
    except Exception:
        return True
    return False


def _extents(case: Case) -> Iterator[tuple[Any, int]]:
    """What of a case has a smallest value: beyond that a contract may be silent."""
    yield "arguments", len(case.args) + len(case.kwargs)
    for place, leaf in case.leaves():
        if isinstance(leaf, (Tensor, Sparse)):
            yield (place, len(leaf.shape)), 0
            yield from (((place, len(leaf.shape), axis), length) for axis, length in enumerate(leaf.shape))
        else:
            yield from ((place, number) for number in numbers_in(leaf))
