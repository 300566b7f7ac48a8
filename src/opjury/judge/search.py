"""One check of one implementation is tried on cases until one refutes it, which is then made smaller."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch

from opjury.judge.database import KeptCases
from opjury.judge.draw import Kind, behaviour, kind_for, repeated_cases, sized_cases, stream
from opjury.judge.rehearsal import EARLIER
from opjury.judge.replay import ENDS
from opjury.judge.shrink import Legal, complexity, shrink
from opjury.judge.task import PROFILES, SHRINKING, Task, budget, call_limit, wanted
from opjury.judge.time_limit import Endless, Pace, TimeLimitExceeded, Unexplained, time_limit
from opjury.judge.trial import GRAD, HASTE, Refuted, Trial, Unsuitable, ordinary, out_of_memory
from opjury.model import registry
from opjury.model.case import Case
from opjury.model.check import Check
from opjury.model.device import DeviceLost
from opjury.model.dtypes import COMPLEX, REAL
from opjury.model.implementation import Implementation

_BATCH = 16  # drawn cases that are tried in the order of their elements
_SMALL = 64  # cases without a boundary among which a simpler one that fails is looked for
_SMALL_ILLEGAL = 512  # more for illegal calls, which are not shrunk: changed ones break another rule, or none
_HASTE_BEYOND = 10.0  # seconds that a call beyond 2³¹ elements may take
_ENOUGH = 8  # the part of the cases, one eighth, without which a check is undecided
_HOPELESS = 1.0  # seconds for a call of an implementation that is known not to end for some case
_endless: dict[Hashable, Any] = {}  # the functions of which this process knows that a call does not end
_SIMPLEST_FIRST = (*REAL, "float16", "bfloat16", *COMPLEX, "int64", "int32", "int16", "int8", "uint8", "bool")


class Search:
    """One check on many cases, and the smallest failing case found."""

    def __init__(self, trial: Trial, task: Task) -> None:
        self.trial, self.task, self.check = trial, task, registry.check(task.check)
        self.executed = 0  # cases that were suitable
        self.seen: Counter[Hashable] = Counter()  # how many of them showed each kind of behaviour
        self.refuted: tuple[Case, Refuted] | None = None
        self.problem = "no drawn case was suitable for this check"  # where none was executed
        self.note = ""  # what the refutation's message ends with
        self._late = self._lost = False
        self._unsuitable = 0
        self.slow = ""  # what was not tried because calls take too long
        self._tried_slowly = 0  # cases that were given up because a call took too long
        self._too_large = math.inf  # elements of the smallest of them

    def run(self) -> None:
        """Try cases until one refutes the check or there are enough, and make the failing one smaller."""
        kind = kind_for(self.trial.operation, self.check, self.task.dtypes, self.task.seed)
        if kind is None:
            self.problem = "no tier of this check makes sense for these dtypes"
            return
        try:
            for case in self._cases(kind):
                self._try(case)
                if self.refuted is not None or self._spent:
                    break
            self.slow = self._untried()
            self.trial.pace.budget = math.inf  # a counterexample is made smaller at its own pace
            if self.refuted is not None and self.task.shrink and not self.refuted[0].repeated:
                self._minimise(kind, *self.refuted)
        except Endless as error:
            self._late = True
            _endless[_key(self.task, self.trial.implementation)] = self.trial.implementation.function
            steps = (GRAD if self.check.needs else "") + ENDS
            self.refuted = (self.trial.in_flight or Case(), Refuted(str(error), steps=steps))
        except DeviceLost as error:
            self._lost = True
            if self.refuted is None:
                message = f"the call ends this process's use of the GPU: {error}"
                self.refuted = (self.trial.in_flight or Case(), Refuted(message))

    @property
    def _spent(self) -> bool:
        """Whether the time of the task is over."""
        pace = self.trial.pace
        return pace.spent > pace.budget and (
            self.executed >= 4 or self._tried_slowly > 0 or pace.spent > 4 * pace.budget
        )

    @property
    def enough(self) -> bool:
        """Whether a check that was not refuted holds, although not all cases could be tried."""
        return self.executed >= max(4, wanted(self.task) // _ENOUGH)

    def _untried(self) -> str:
        """What was not tried because calls take too long, or ""."""
        if not self._spent and not self._tried_slowly:
            return ""
        pace, enough = self.trial.pace, wanted(self.task)
        tried = f"{self.executed} of {enough} cases were tried" if self.executed < enough else ""
        large = f"none of {self._too_large} elements or more was tried" if self._too_large < math.inf else ""
        parts = [f"up to {pace.slowest:.2g} s a call at these sizes", tried, large]
        parts += ["another call of this function does not end"] if pace.hopeless else []
        return "; ".join(filter(None, parts))

    def _cases(self, kind: Kind) -> Iterator[Case]:
        """All that the check is tried on: the contract's examples, what failed before, what is drawn, large ones."""
        task, operation = self.task, self.trial.operation
        if task.only is not None:
            yield Case.from_json(task.only)
            return
        yield from (e for e in operation.examples if e.dtype in task.dtypes and e.tier in self.check.tiers)
        if task.database and task.shrink:
            yield from self._failed_before(kind)
        yield from self._drawn(kind)
        if task.scale >= 1:
            large = sized_cases(task.operation, self.check.sizes, task.dtypes, task.seed)
            yield from filter(self._affords, large)
        if PROFILES[task.profile].beyond and "beyond" in self.check.sizes:
            yield from filter(self._affords, repeated_cases(operation, task.dtypes, task.seed, task.device))

    def _failed_before(self, kind: Kind) -> Iterator[Case]:
        """Kept cases of earlier refutations that the contract still draws, of which those that hold now are forgotten."""
        kept = KeptCases(self.task.database, self.task.label, self.task.check)
        for case in kept:
            drawn = case.dtype in self.task.dtypes and case.tier in kind.tiers
            if drawn and Legal(self.trial, self.check, kind, case, known=False)(case):
                yield case
            if self.refuted is None:
                kept.forget(case)

    def _drawn(self, kind: Kind) -> Iterator[Case]:
        """Cases as they are drawn, until enough of them were suitable, small ones first: they tell how long larger ones may take."""
        first, enough = self.executed, wanted(self.task)
        drawn = islice(stream(kind), 10 * enough)
        while batch := list(islice(drawn, min(_BATCH, enough))):
            for case in sorted(batch, key=lambda case: case.elements):
                if self.executed - first >= enough or (not self.executed and self._unsuitable >= 40):
                    return
                yield case

    def _affords(self, case: Case) -> bool:
        """Whether a large call is in the implementation's domain, and has the time and the memory that it needs.

        At sizes far beyond those that are drawn only a returned result counts: an implementation that needs too much may be right.
        """
        if not self.trial.in_domain(case):
            return False
        hasty = replace(self.trial, pace=Pace(_HASTE_BEYOND if case.repeated else HASTE), in_flight=None)
        backward = self.check.needs == "gradient" and not case.repeated
        try:
            result = hasty.invoke(*case.build(hasty.device, requires_grad=backward))
            if backward and isinstance(result, torch.Tensor) and result.requires_grad:
                with time_limit(HASTE):
                    torch.autograd.backward(result, torch.ones_like(result))
        except TimeLimitExceeded:
            return False
        except Exception as error:
            return not out_of_memory(error)
        return True

    def _try(self, case: Case) -> None:
        """Run the check on a case, where that is suitable."""
        if not self.trial.in_domain(case) or case.elements >= self._too_large:
            return
        self.trial.in_flight = case
        largest, self.trial.of_bound = self.trial.of_bound, 0.0
        try:
            error = self._patiently(case)
            self.seen[behaviour(case, self.trial.of_bound)] += error is None
        except Unsuitable:
            self._unsuitable += 1
            return
        except Endless:
            raise
        except TimeLimitExceeded:
            self._tried_slowly += 1
            if not self.trial.pace.hopeless and not self.trial.pace.over:
                self._too_large = min(self._too_large, case.elements)
            return
        finally:
            self.trial.of_bound = max(largest, self.trial.of_bound)
        self.executed += 1
        if error is not None:
            self.refuted = (case, error)

    def _patiently(self, case: Case) -> Refuted | None:
        """The refutation by a case, which is tried once more with more time if a call takes longer than its size explains."""
        try:
            return self.trial.refutation(self.check, case)
        except Unexplained:
            self.trial.pace.patient = True
            return self.trial.refutation(self.check, case)
        finally:
            self.trial.pace.patient = False

    @property
    def can_be_shown(self) -> bool:
        """Whether the script of the refutation can be run in this process, and should show the fault."""
        return not (self._late or self._lost) and self.refuted is not None and not self.refuted[0].repeated

    def cause(self) -> str:
        """The more elementary check that fails too, or ""."""
        if self._late and self.check.name != "terminates":
            return "terminates"
        if self._late or self._lost or self.refuted is None:
            return ""
        for check in map(registry.check, self.check.elementary):
            if check.why_not(self.trial.operation, self.trial.implementation, self.task.device) is not None:
                continue
            with contextlib.suppress(TimeLimitExceeded):
                if any(self.trial.fails(check, case) for case in self._telling(check, self.refuted[0])):
                    return check.name
        return ""

    def _telling(self, check: Check, found: Case) -> Iterator[Case]:
        """The cases that tell whether a refutation by a case follows from a more elementary check.

        These are the case itself in plain form, and a few others of its dtype. A check that needs other layouts is tried on the case as
        it is, because it may fail elsewhere for another reason.
        """
        if "contiguous" not in check.layouts:
            yield found
            return
        yield ordinary(found)
        kind = kind_for(self.trial.operation, check, (found.dtype,), self.task.seed)
        yield from islice(stream(kind), 30) if kind else ()

    def _minimise(self, kind: Kind, found: Case, first: Refuted) -> None:
        """Make the counterexample smaller, and keep it for the next time, unless the fault does not show again."""
        spare, started = replace(self.trial), time.process_time()  # a verdict reports no errors of smaller cases

        def failing(case: Case) -> bool:
            if time.process_time() - started > SHRINKING:
                raise TimeLimitExceeded
            error = spare.fails(self.check, case)
            if error is None or type(error) is not type(first):
                return False
            self.refuted = (case, error)
            return True

        with contextlib.suppress(TimeLimitExceeded):  # a smaller case that takes too long ends it
            if not failing(found):
                self.note = f"; it did not show again when repeated: {EARLIER}"
                return
            illegal = found.tier == "illegal"
            others = islice(stream(kind.without_boundaries), _SMALL_ILLEGAL if illegal else _SMALL)
            start = min([found, *(case for case in others if spare.fails(self.check, case))], key=complexity)
            failing(start)
            legal, steps = Legal(self.trial, self.check, kind, start), PROFILES[self.task.profile].shrink
            accepts = failing if illegal else lambda case: legal(case) and failing(case)
            smallest = shrink(
                start,
                accepts,
                steps,
                change="form" if illegal else "all" if legal.witness else "values",
                rounding="rounding" in self.check.tiers and "rounding" in self.trial.operation.tiers,
                dtypes=tuple(sorted(self.task.dtypes, key=_SIMPLEST_FIRST.index)),
            )
            shrink(smallest.settled, accepts, steps, change="beside")
        if self.task.database and self.refuted:
            kept = KeptCases(self.task.database, self.task.label, self.task.check)
            kept.forget(found)
            kept.keep(self.refuted[0])


def pace_of(task: Task, implementation: Implementation) -> Pace:
    """The limits of a task's calls."""
    limit, hopeless = call_limit(task), _key(task, implementation) in _endless and task.check != "terminates"
    return Pace(min(limit, _HOPELESS) if hopeless else limit, budget(task), hopeless)


def _key(task: Task, implementation: Implementation) -> Hashable:
    """What tells functions apart in this process."""
    return getattr(task.function, "pickled", b"") or id(implementation.function)
