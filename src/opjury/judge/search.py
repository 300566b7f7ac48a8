"""The search for a refutation: cases one after another, then smaller ones that fail, too."""

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

from opjury.judge.database import kept_cases
from opjury.judge.draw import Kind, kind_for, repeated_cases, sized_cases, stream
from opjury.judge.legal import Legal, fails, in_domain, out_of_memory, refutation
from opjury.judge.shrink import complexity, shrink
from opjury.judge.task import PROFILES, SHRINKING, Profile, Task
from opjury.judge.time_limit import TimeLimitExceeded, time_limit
from opjury.judge.trial import HASTE, Refuted, Trial, Unsuitable, ordinary
from opjury.model import registry
from opjury.model.case import Case
from opjury.model.check import Check
from opjury.model.device import DeviceLost
from opjury.model.dtypes import COMPLEX, HALF, REAL

_SMALL_ILLEGAL = 512  # the same of illegal calls: with other arguments such a call breaks another rule, or none
_SMALL = 64  # cases without a boundary among which a simpler one that fails is looked for
_HASTE_BEYOND = 10.0  # seconds that a call beyond 2³¹ elements may take
_ENDS = """\
import faulthandler
faulthandler.dump_traceback_later(30, exit=True)
try:
    f(*args, **kwargs)  # does not end
except Exception as error:
    print(error)
faulthandler.cancel_dump_traceback_later()"""
_SIMPLE = (*REAL, "float16", "bfloat16", *COMPLEX, "int64", "int32", "int16", "int8", "uint8", "bool")


class Search:
    """One check on many cases, and the smallest failing case found."""

    def __init__(self, trial: Trial, check: Check, profile: Profile) -> None:
        self.trial, self.check, self.profile = trial, check, profile
        self.executed = 0
        self.seen: Counter[Hashable] = Counter()
        self.refuted: tuple[Case, Refuted] | None = None
        self.problem = ""
        self.note = ""
        self.late = self.lost = False
        self._unsuitable = 0

    def run(self, task: Task) -> None:
        """Try cases until one refutes the check or there are enough; then make that one smaller."""
        try:
            self._run(task)
        except DeviceLost as error:
            self.lost = True
            if self.refuted is None:
                message = f"the call ends this process's use of the GPU: {error}"
                self.refuted = (self.trial.in_flight or Case(), Refuted(message))

    def _run(self, task: Task) -> None:
        kind = kind_for(self.trial.operation, self.check, task.dtypes, task.seed)
        if kind is None:
            self.problem = "no tier of this check makes sense for these dtypes"
            return
        try:
            for case in self._cases(kind, task):
                self._try(case)
                if self.refuted is not None:
                    break
        except TimeLimitExceeded:
            self.late = True
            late = f"no answer within {self.trial.patience:.2g} s"
            self.refuted = (self.trial.in_flight or Case(), Refuted(late, steps=_ENDS))
            return
        if self.refuted is None:
            if not self.executed:
                self.problem = "no drawn case was suitable for this check"
        elif task.shrink and not self.refuted[0].repeated:
            self._minimise(kind, task)

    def _cases(self, kind: Kind, task: Task) -> Iterator[Case]:
        """All that the check is tried on: the contract's examples, what failed before, what is drawn, large ones."""
        operation = self.trial.operation
        if task.only is not None:
            yield Case.from_json(task.only)
            return
        yield from (e for e in operation.examples if e.dtype in task.dtypes and e.tier in self.check.tiers)
        if task.database and task.shrink:
            yield from self._failed_before(kind, task)
        yield from self._drawn(kind, task)
        if task.scale >= 1:
            for case in sized_cases(task.operation, self.check.sizes, task.dtypes, task.seed):
                if in_domain(self.trial, case) and self._affords(case, self.check.needs == "gradient"):
                    yield case
        if self.profile.beyond and "beyond" in self.check.sizes:
            for case in repeated_cases(operation, task.dtypes, task.seed, task.device):
                if in_domain(self.trial, case) and self._affords(case, False, _HASTE_BEYOND):
                    yield case

    def _failed_before(self, kind: Kind, task: Task) -> Iterator[Case]:
        """Cases that are kept from earlier refutations, as far as the contract still draws such calls; those that hold now go."""
        kept = kept_cases(task.database, task.label, task.check)
        for case in kept:
            if (
                case.dtype in task.dtypes
                and case.tier in kind.tiers
                and Legal(self.trial, self.check, kind, case, known=False)(case)
            ):
                yield case
            if self.refuted is None:
                kept.forget(case)

    def _drawn(self, kind: Kind, task: Task) -> Iterator[Case]:
        """Cases as they are drawn, until enough of them were suitable."""
        first, enough = self.executed, wanted(task)
        for case in islice(stream(kind), 10 * enough):
            if self.executed - first >= enough or (not self.executed and self._unsuitable >= 40):
                return
            yield case

    def _affords(self, case: Case, backward: bool, seconds: float = HASTE) -> bool:
        """Whether a call has the time and the memory that it needs.

        At sizes far beyond those that are drawn only what is returned counts: who needs too much for them may be right.
        """
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
            return not out_of_memory(error)
        return True

    def _try(self, case: Case) -> None:
        """Run the check on a case, where that is suitable."""
        if not in_domain(self.trial, case):
            return
        self.trial.in_flight = case
        largest, self.trial.of_bound = self.trial.of_bound, 0.0
        try:
            error = refutation(self.trial, self.check, case)
            self.seen[behaviour(case, self.trial.of_bound)] += error is None
        except Unsuitable:
            self._unsuitable += 1
            return
        except TimeLimitExceeded:
            if case.repeated:  # only what is returned counts
                return
            raise
        finally:
            self.trial.of_bound = max(largest, self.trial.of_bound)
        self.executed += 1
        if error is not None:
            self.refuted = (case, error)

    @property
    def once(self) -> int:
        """How many examples showed a kind of behaviour that no other did."""
        return sum(count == 1 for count in self.seen.values())

    def cause(self, task: Task) -> str:
        """The more elementary check that fails too, on this case or on a few others of its dtype; "" if none does."""
        if self.late:
            return "terminates" if task.check != "terminates" else ""
        if self.lost:
            return ""
        assert self.refuted is not None
        case = ordinary(self.refuted[0])
        for check in map(registry.check, self.check.elementary):
            if check.why_not(self.trial.operation, self.trial.implementation, task.device) is None:
                with contextlib.suppress(TimeLimitExceeded):
                    if fails(self.trial, check, case) or self._fails_elsewhere(check, case.dtype, task):
                        return check.name
        return ""

    def _fails_elsewhere(self, check: Check, dtype: str, task: Task) -> bool:
        """Whether another check is refuted on one of a few drawn cases of a dtype."""
        kind = kind_for(self.trial.operation, check, (dtype,), task.seed)
        return kind is not None and any(fails(self.trial, check, case) for case in islice(stream(kind), 30))

    def _minimise(self, kind: Kind, task: Task) -> None:
        """Make the counterexample smaller, and keep it for the next time; a fault that does not show again stays as it was found."""
        assert self.refuted is not None
        found, first = self.refuted
        spare, started = replace(self.trial), time.process_time()  # what it sees is not what the examples showed

        def failing(case: Case) -> bool:
            if time.process_time() - started > SHRINKING:
                raise TimeLimitExceeded
            error = fails(spare, self.check, case)
            if error is None or type(error) is not type(first):
                return False
            self.refuted = (case, error)
            return True

        with contextlib.suppress(TimeLimitExceeded):  # a smaller case that takes too long ends it
            if not failing(found):
                self.note = "; it did not show again when repeated: the result depends on earlier calls"
                return
            illegal = found.tier == "illegal"
            others = islice(stream(kind.without_boundaries), _SMALL_ILLEGAL if illegal else _SMALL)
            start = min([found, *(case for case in others if fails(spare, self.check, case))], key=complexity)
            failing(start)
            legal = Legal(self.trial, self.check, kind, start)
            shrink(
                start,
                failing if illegal else lambda case: legal(case) and failing(case),
                self.profile.shrink,
                change="form" if illegal else "all" if legal.witness else "values",
                rounding="rounding" in self.check.tiers and "rounding" in self.trial.operation.tiers,
                dtypes=tuple(sorted(task.dtypes, key=_SIMPLE.index)),
            )
        if task.database:
            kept = kept_cases(task.database, task.label, task.check)
            kept.forget(found)
            kept.keep(self.refuted[0])


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
