"""The search for a refutation: cases one after another, then smaller ones that fail, too."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Hashable
from dataclasses import replace
from itertools import islice
from typing import Any
from unittest import SkipTest

import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.database import InMemoryExampleDatabase, MultiplexedDatabase
from hypothesis.errors import HypothesisException

from opjury.judge.database import kept_in, may_hold
from opjury.judge.draw import Kind, kind_for, repeated_cases, sized_cases, stream
from opjury.judge.oracle import ContractError
from opjury.judge.shrink import Allowance, Territory, complexity, shrink
from opjury.judge.task import PROFILES, Profile, Task
from opjury.judge.time_limit import TimeLimitExceeded, time_limit
from opjury.judge.trial import HASTE, Refuted, Trial, Unsuitable, describe, ordinary
from opjury.model import registry
from opjury.model.case import Case
from opjury.model.check import Check
from opjury.model.device import DeviceLost
from opjury.model.dtypes import COMPLEX, HALF, REAL

_SMALL = (
    64  # cases without a boundary that are tried before a refutation is shrunk; the simplest failing one is its start
)
_HASTE_BEYOND = 10.0  # that one beyond 2³¹ elements may take
_BY_HYPOTHESIS = 0.5  # of the time for shrinking; the rest is for taking elements away
_SIMPLE = (*REAL, "float16", "bfloat16", *COMPLEX, "int64", "int32", "int16", "int8", "uint8", "bool")


class Search:
    """One check on many cases, and the simplest failing case met."""

    def __init__(self, trial: Trial, check: Check, profile: Profile) -> None:
        self.trial, self.check, self.profile = trial, check, profile
        self.executed = 0
        self.seen: Counter[Hashable] = Counter()
        self.refuted: tuple[Case, Refuted] | None = None
        self.problem = ""
        self.note = ""
        self.late = self.lost = False
        self._shrinking: Allowance | None = None
        self._unsuitable = 0

    def run(self, task: Task) -> None:
        """Try cases until one refutes the check or there are enough; then make that one smaller."""
        try:
            self._run(task)
        except DeviceLost as error:
            self.lost = True
            message = f"the call ends this process's use of the GPU: {error}"
            self.refuted = (self.trial.in_flight or Case(), Refuted(message))

    def _run(self, task: Task) -> None:
        kind = kind_for(self.trial.operation, self.check, task.dtypes, task.seed)
        if kind is None:
            self.problem = "no tier of this check makes sense for these dtypes"
            return
        try:
            if task.only is not None:
                self._try(Case.from_json(task.only))
                return
            self._examples(task)
            if self.refuted is None and task.database and task.shrink:
                self._failed_before(kind, task)
            if self.refuted is None:
                self._drawn(kind, task)
            if self.refuted is None and task.scale >= 1:
                self._sized(task)
            if self.refuted is None and self.profile.beyond and "beyond" in self.check.sizes:
                self._beyond(task)
        except TimeLimitExceeded:
            self.late = True
            late = f"no answer within {self.trial.patience:.2g} s"
            steps = "print(f(*args, **kwargs))  # does not end"
            self.refuted = (self.trial.in_flight or Case(), Refuted(late, steps=steps))
            return
        except (Refuted, _Enough):
            pass
        if self.refuted is not None and task.shrink and not self.refuted[0].repeated:
            self._minimise(task)
        elif not self.executed:
            self.problem = "no drawn case was suitable for this check"

    def _examples(self, task: Task) -> None:
        """The contract's own examples."""
        for case in self.trial.operation.examples:
            if case.dtype in task.dtypes and case.tier in self.check.tiers:
                self._try(case)

    def _drawn(self, kind: Kind, task: Task) -> None:
        """Cases as they are drawn; the first that fails goes to hypothesis, to be made smaller."""
        first, enough = self.executed, wanted(task)
        for drawn in islice(stream(kind), 10 * enough):
            if self.executed - first >= enough or (not self.executed and self._unsuitable >= 40):
                return
            if self._refuted_by(drawn.case):
                break
        else:
            return
        if not task.shrink:
            return
        small = replace(kind, boundaries=False)
        others = [other for other in islice(stream(small), _SMALL) if self._refuted_by(other.case)]
        if others:
            kind, drawn = small, min(others, key=lambda other: complexity(other.case))
        found = InMemoryExampleDatabase()
        kept = MultiplexedDatabase(found, kept_in(task.database, *_names(kind, task))) if task.database else found
        shrinking = self._engine(kind, kept)
        with contextlib.suppress(Refuted):
            shrinking.hypothesis.fuzz_one_input(drawn.source)
        with contextlib.suppress(HypothesisException, SkipTest):
            shrinking()
        self.note = "; it did not show again when repeated: the result depends on earlier calls"

    def _failed_before(self, kind: Kind, task: Task) -> None:
        """The cases that are kept from earlier refutations. Raises `Refuted`."""
        for each in {replace(kind, boundaries=False): None, kind: None}:
            if may_hold(task.database, *_names(each, task)):
                with contextlib.suppress(HypothesisException, SkipTest):  # nothing there that is still drawn
                    self._engine(each, kept_in(task.database, *_names(each, task)))()

    def _sized(self, task: Task) -> None:
        """Cases of a workload's sizes. Only what is returned counts: who needs too much time or memory for them may be right."""
        for case in sized_cases(task.operation, self.check.sizes, task.dtypes, task.seed):
            if _in_domain(self.trial, case) and self._affords(case, self.check.needs == "gradient"):
                self._try(case)

    def _beyond(self, task: Task) -> None:
        """Cases beyond 2³¹ elements; again only what is returned counts."""
        for case in repeated_cases(self.trial.operation, task.dtypes, task.seed, task.device):
            if _in_domain(self.trial, case) and self._affords(case, False, _HASTE_BEYOND):
                with contextlib.suppress(TimeLimitExceeded):
                    self._try(case)

    def _affords(self, case: Case, backward: bool, seconds: float = HASTE) -> bool:
        """Whether a call has the time and the memory that it needs."""
        hasty = replace(self.trial, limit=seconds, in_flight=None)
        try:
            args, kwargs = case.build(hasty.device, requires_grad=backward)
            result = hasty.invoke(args, kwargs)
            if backward and isinstance(result, torch.Tensor) and result.requires_grad:
                with time_limit(HASTE):
                    torch.autograd.backward(result, torch.ones_like(result))
        except TimeLimitExceeded:
            return False
        except Exception as error:
            return not _out_of_memory(error)
        return True

    def _refuted_by(self, case: Case) -> bool:
        try:
            self._try(case)
        except Refuted:
            return True
        return False

    def _engine(self, kind: Kind, database: Any) -> Any:
        """A hypothesis test that tries what is in the database, and shrinks what fails."""

        @settings(
            database=database,
            deadline=None,
            print_blob=False,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.reuse, Phase.shrink),
        )
        @given(kind.strategy)
        def property_(case: Case) -> None:
            if not self._try(case):
                hypothesis.reject()

        return property_

    def _try(self, case: Case) -> bool:
        """Run the check on a case; whether it was suitable. Raises `Refuted`."""
        if self._shrinking and self._shrinking.spent:
            raise _Enough
        if not _in_domain(self.trial, case):
            return False
        self.trial.in_flight = case
        largest, self.trial.of_bound = self.trial.of_bound, 0.0
        try:
            self.check.run(self.trial, case)
            self.seen[behaviour(case, self.trial.of_bound)] += 1
        except Unsuitable:
            self._unsuitable += 1
            return False
        except ContractError:
            raise
        except Exception as raised:
            if _out_of_memory(raised):  # the reference's, not the implementation's
                return False
            error = (
                raised if isinstance(raised, Refuted) else Refuted(f"the result cannot be examined: {describe(raised)}")
            )
            self.executed += 1
            if self.refuted is None:
                self._shrinking = Allowance(self.profile.shrink * _BY_HYPOTHESIS)
            if self.refuted is None or complexity(case) <= complexity(self.refuted[0]):
                self.refuted = (case, error)
            raise error from None
        finally:
            self.trial.of_bound = max(largest, self.trial.of_bound)
        self.executed += 1
        return True

    @property
    def once(self) -> int:
        """How many examples showed a kind of behaviour that no other did."""
        return sum(count == 1 for count in self.seen.values())

    def _fails(self, case: Case) -> bool:
        error = _refutation(self.trial, self.check, case)
        if error is not None:
            self.refuted = (case, error)
        return error is not None

    def cause(self, task: Task) -> str:
        """The more elementary check that fails too, on this case or on a few others of its dtype; "" if none does."""
        if self.late:
            return "terminates" if task.check != "terminates" else ""
        if self.lost:
            return ""
        assert self.refuted is not None
        case = ordinary(self.refuted[0])
        for check in map(registry.check, self.check.elementary):
            if check.why_not(self.trial.operation, self.trial.implementation, task.device) is None and (
                _refutation(self.trial, check, case) or self._fails_elsewhere(check, case.dtype, task)
            ):
                return check.name
        return ""

    def _fails_elsewhere(self, check: Check, dtype: str, task: Task) -> bool:
        """Whether another check is refuted on one of a few drawn cases of a dtype."""
        kind = kind_for(self.trial.operation, check, (dtype,), task.seed)
        return kind is not None and any(
            _refutation(self.trial, check, drawn.case) for drawn in islice(stream(kind), 30)
        )

    def _minimise(self, task: Task) -> None:
        """Make the counterexample smaller step by step; where nobody can say whether a call is legal, its values alone."""
        assert self.refuted is not None
        case = self.refuted[0]
        if self.note or case.tier == "illegal" or not self._fails(case):  # with a note it depends on earlier calls
            return
        witness, territory = self._witness(case, task), self._territory(task)

        def legal_and_failing(candidate: Case) -> bool:
            if candidate not in territory:
                return False
            try:
                with np.errstate(all="ignore"):
                    args, kwargs = candidate.wide("float")
                    self.trial.operation.reference(*args, **kwargs)
                if not _in_domain(self.trial, candidate):
                    return False
            except Exception:
                return False
            error = _refutation(self.trial, self.check, candidate)
            if error is None or (witness and not _holds(witness, self.check, candidate)):
                return False
            self.refuted = (candidate, error)
            return True

        allowance = Allowance(self.profile.shrink * (1 - _BY_HYPOTHESIS))
        simplest = tuple(sorted(task.dtypes, key=_SIMPLE.index))
        rounding = "rounding" in self.check.tiers and "rounding" in self.trial.operation.tiers
        shrink(
            case,
            legal_and_failing,
            allowance,
            structure=witness is not None,
            rounding=rounding,
            dtypes=simplest,
        )

    def _territory(self, task: Task) -> Territory:
        """What the contract draws, and gives as examples."""
        kind = kind_for(self.trial.operation, self.check, task.dtypes, task.seed)
        drawn = islice(stream(replace(kind, boundaries=False)), 2 * _SMALL) if kind else ()
        assert self.refuted is not None
        return Territory([self.refuted[0], *self.trial.operation.examples, *(other.case for other in drawn)])

    def _witness(self, case: Case, task: Task) -> Trial | None:
        """A right competitor for which the check holds where this one fails: a call that it does not take is no legal one."""
        operation, mine = self.trial.operation, self.trial.implementation
        others = sorted(registry.implementations(operation.name), key=lambda entry: entry.name != operation.baseline)
        for entry in others:
            right = not (
                entry.refuted
                or entry.domain
                or task.check in entry.waived_on(task.device)
                or entry.function is mine.function
            )
            if right and self.check.why_not(operation, entry, task.device) is None:
                trial = Trial(operation, entry, task.device, self.profile.limit)
                if case.dtype in (entry.dtypes or operation.dtypes) and _holds(trial, self.check, case):
                    return trial
        return None


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (not isinstance(error, Refuted) and "memory" in str(error))


def _refutation(trial: Trial, check: Check, case: Case) -> Refuted | None:
    try:
        check.run(trial, case)
    except Refuted as error:
        return error
    except (Exception, TimeLimitExceeded):
        return None
    return None


def _holds(trial: Trial, check: Check, case: Case) -> bool:
    try:
        check.run(trial, case)
    except (Exception, TimeLimitExceeded):
        return False
    return True


class _Enough(BaseException):
    """The time for shrinking is used up, or no case is suitable. Not an `Exception`, so that hypothesis stops at once."""


def _in_domain(trial: Trial, case: Case) -> bool:
    return case.tier == "illegal" or trial.implementation.claims(case.wide)


def _names(kind: Kind, task: Task) -> tuple[str, str, str]:
    """Of where failing cases are kept; those with and without boundaries are drawn by different choices."""
    return task.label, task.check, "edges" if kind.boundaries else "small"


def wanted(task: Task) -> int:
    """How many drawn cases a task is to try."""
    share = (
        registry.check(task.check).weight * registry.operation(task.operation).effort * _share(task.dtypes) * task.scale
    )
    return max(4, round(PROFILES[task.profile].examples * share))


def _share(dtypes: tuple[str, ...]) -> float:
    """Dtypes that are judged together share examples: each one more adds a quarter; the two half types differ too much for that."""
    if dtypes == HALF:
        return 2.0
    return 1.25 + 0.25 * (len(dtypes) - 1) if len(dtypes) > 1 else 1.0


def behaviour(case: Case, error: float) -> Hashable:
    """Equal for cases alike in dtype, tier, layouts and powers of two of the sizes, with errors alike to a power of two."""
    far = math.frexp(error)[1] if error else None
    return (case.tier, case.dtype, far, *(_coarse(leaf) for _, leaf in case.leaves()))


def _coarse(leaf: Any) -> Hashable:
    if isinstance(leaf, bool):
        return leaf
    if isinstance(leaf, int):
        return (leaf < 0, leaf.bit_length())
    if isinstance(leaf, tuple):
        return tuple(map(_coarse, leaf))
    if hasattr(leaf, "shape"):
        sizes = tuple(int(size).bit_length() for size in leaf.shape)
        return (sizes, getattr(leaf, "dtype", ""), getattr(leaf, "layout", ""))
    return str(leaf) if isinstance(leaf, str) else type(leaf).__name__
