"""judge(task) → Verdict: one check of one implementation is tried on cases until one refutes it, which is then made smaller.

Tasks are judged in this process, or in isolated worker processes, where a hang or a crash becomes a verdict.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import time
import warnings
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import torch

from opjury.judge.checks.state import preserved_modules, preserved_state
from opjury.judge.database import KeptCases
from opjury.judge.draw import Kind, kind_for, repeated_cases, sized_cases, stream
from opjury.judge.oracle import ContractError
from opjury.judge.rehearsal import EARLIER, rehearsed
from opjury.judge.replay import repeated, write_script
from opjury.judge.shrink import Legal, complexity, shrink
from opjury.judge.task import PROFILES, SHRINKING, Task, call_limit, implementation_of
from opjury.judge.text import describe
from opjury.judge.time_limit import PATIENCE, TimeLimitExceeded, time_limit
from opjury.judge.trial import HASTE, Refuted, Trial, Unsuitable, ordinary, out_of_memory
from opjury.model import registry
from opjury.model.case import Case
from opjury.model.declared import source_of
from opjury.model.device import DeviceLost, lost
from opjury.model.dtypes import COMPLEX, HALF, REAL
from opjury.model.environment import environment
from opjury.model.implementation import Implementation
from opjury.model.records import Verdict
from opjury.run.pool import Dropped, Fallen, isolated

_SMALL = 64  # cases without a boundary among which a simpler one that fails is looked for
_SMALL_ILLEGAL = 512  # more for illegal calls, which are not shrunk: changed ones break another rule, or none
_HASTE_BEYOND = 10.0  # seconds that a call beyond 2³¹ elements may take
_ENDS = """\
import faulthandler
faulthandler.dump_traceback_later(30, exit=True)
try:
    f(*args, **kwargs)  # does not end
except Exception as error:
    print(error)
faulthandler.cancel_dump_traceback_later()"""
_SIMPLEST_FIRST = (*REAL, "float16", "bfloat16", *COMPLEX, "int64", "int32", "int16", "int8", "uint8", "bool")


def judge(task: Task) -> Verdict:
    """Try one check on drawn cases, and shrink a refutation to a smallest counterexample.

    Returns
    -------
    Verdict
        Never raises for what an implementation does.
    """
    started = time.perf_counter()
    operation, check = registry.operation(task.operation), registry.check(task.check)
    try:
        implementation = implementation_of(task)
    except Exception as error:
        why = f"the function cannot be loaded: {type(error).__name__}: {error}"
        return Verdict(**verdict_fields(task), status="refuted", message=why)
    base = verdict_fields(task, implementation)
    reason = check.why_not(operation, implementation, task.device)
    if reason:
        return Verdict(**base, status=reason[0], message=reason[1])
    if lost():
        return Verdict(**base, status="error", message="an earlier call made the GPU unusable for this process")
    trial = Trial(operation, implementation, task.device, call_limit(task), declared=task.function is None)
    search = Search(trial, task)
    with preserved_state(), preserved_modules(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            search.run()
            cause = search.cause() if search.refuted and task.shrink else ""
        except Exception as error:  # the contract's or our own fault: nothing is known about the implementation
            message = str(error) if isinstance(error, ContractError) else describe(error)
            tried = trial.in_flight.to_json() if trial.in_flight else None
            return Verdict(**base, status="error", message=message, counterexample=tried)
    base |= dict(
        examples=search.executed,
        error_of_bound=trial.of_bound,
        error_ulps=trial.ulps,
        seconds=time.perf_counter() - started,
        once=sum(count == 1 for count in search.seen.values()),
    )
    waiver = implementation.waived_on(task.device).get(task.check, "")
    if search.refuted is None:
        if search.executed:
            return Verdict(**base, status="holds", waiver=waiver)
        return Verdict(**base, status="skipped", message=search.problem)
    case, refuted = search.refuted

    def script(message: str, many: bool) -> str:
        function, parameters = implementation.function, list(inspect.signature(operation.reference).parameters)
        told = f"{task.operation}:{task.implementation}, {task.check}: {message}"
        return write_script(function, parameters, case, told, repeated(refuted.steps) if many else refuted.steps)

    message, text = rehearsed(script, refuted.message + search.note, trial.patience if search.can_be_shown else 0.0)
    return Verdict(
        **base,
        status="waived" if waiver else "refuted",
        message=message,
        waiver=waiver,
        observed=refuted.observed,
        expected=refuted.expected,
        cause=cause,
        counterexample=case.settled.to_json(),
        script=text,
    )


def verdict_fields(task: Task, implementation: Implementation | None = None) -> dict[str, Any]:
    """The fields of a verdict that do not depend on what is found."""
    file, line = source_of(implementation.function) if implementation else ("", 0)
    return dict(
        operation=task.operation,
        implementation=task.implementation,
        check=task.check,
        dtypes=task.dtypes,
        device=task.device,
        seed=task.seed,
        profile=task.profile,
        control=bool(implementation and implementation.refuted),
        file=file,
        line=line,
        environment=environment(),
    )


def run_here(tasks: Sequence[Task]) -> Iterator[tuple[Task, Verdict]]:
    """Judge in this process, one after another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for task in tasks:
            yield task, judge(task)
    finally:
        torch.set_num_threads(before)


def run_isolated(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, Verdict]]:
    """Judge in `jobs` worker processes, and yield verdicts as they are done."""
    device = next((task.device for task in tasks), "cpu")
    for task, outcome in isolated(judge, tasks, jobs, time_limit_of, device=device):
        yield task, verdict_of(task, outcome)


def time_limit_of(task: Task) -> float:
    """Seconds for a whole task, far above what its calls and its shrinking may take, on a busy machine too."""
    return 60 + 10 * PATIENCE * call_limit(task) + 4 * SHRINKING + PROFILES[task.profile].examples


def verdict_of(task: Task, outcome: Verdict | Fallen | Dropped) -> Verdict:
    """The verdict itself, or one that says why there is none."""
    if isinstance(outcome, Verdict):
        return outcome
    entry = None if task.function else registry.entry(task.operation, task.implementation)
    fields = verdict_fields(task, entry)
    if isinstance(outcome, Dropped):
        return Verdict(**fields, status="error", message=outcome.why)
    waiver = (entry.waived_on(task.device) if entry else dict(task.waives)).get(task.check, "")
    return Verdict(**fields, status="waived" if waiver else "refuted", waiver=waiver, examples=1, message=outcome.why)


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

    def run(self) -> None:
        """Try cases until one refutes the check or there are enough, and make the failing one smaller."""
        kind = kind_for(self.trial.operation, self.check, self.task.dtypes, self.task.seed)
        if kind is None:
            self.problem = "no tier of this check makes sense for these dtypes"
            return
        try:
            for case in self._cases(kind):
                self._try(case)
                if self.refuted is not None:
                    break
            if self.refuted is not None and self.task.shrink and not self.refuted[0].repeated:
                self._minimise(kind, *self.refuted)
        except TimeLimitExceeded:
            self._late = True
            late = f"no answer within {self.trial.patience:.2g} s"
            self.refuted = (self.trial.in_flight or Case(), Refuted(late, steps=_ENDS))
        except DeviceLost as error:
            self._lost = True
            if self.refuted is None:
                message = f"the call ends this process's use of the GPU: {error}"
                self.refuted = (self.trial.in_flight or Case(), Refuted(message))

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
        """Cases as they are drawn, until enough of them were suitable."""
        first, enough = self.executed, wanted(self.task)
        for case in islice(stream(kind), 10 * enough):
            if self.executed - first >= enough or (not self.executed and self._unsuitable >= 40):
                return
            yield case

    def _affords(self, case: Case) -> bool:
        """Whether a large call is in the implementation's domain, and has the time and the memory that it needs.

        At sizes far beyond those that are drawn only a returned result counts: an implementation that needs too much may be right.
        """
        if not self.trial.in_domain(case):
            return False
        hasty = replace(self.trial, limit=_HASTE_BEYOND if case.repeated else HASTE, in_flight=None)
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
        if not self.trial.in_domain(case):
            return
        self.trial.in_flight = case
        largest, self.trial.of_bound = self.trial.of_bound, 0.0
        try:
            error = self.trial.refutation(self.check, case)
            self.seen[behaviour(case, self.trial.of_bound)] += error is None
        except Unsuitable:
            self._unsuitable += 1
            return
        except TimeLimitExceeded:
            if case.repeated:  # only a returned result counts
                return
            raise
        finally:
            self.trial.of_bound = max(largest, self.trial.of_bound)
        self.executed += 1
        if error is not None:
            self.refuted = (case, error)

    @property
    def can_be_shown(self) -> bool:
        """Whether the script of the refutation can be run in this process, and should show the fault."""
        return not (self._late or self._lost) and self.refuted is not None and not self.refuted[0].repeated

    def cause(self) -> str:
        """The more elementary check that fails too, on this case or on a few others of its dtype, or ""."""
        if self._late and self.check.name != "terminates":
            return "terminates"
        if self._late or self._lost or self.refuted is None:
            return ""
        case = ordinary(self.refuted[0])
        for check in map(registry.check, self.check.elementary):
            if check.why_not(self.trial.operation, self.trial.implementation, self.task.device) is not None:
                continue
            kind = kind_for(self.trial.operation, check, (case.dtype,), self.task.seed)
            others = islice(stream(kind), 30) if kind else ()
            with contextlib.suppress(TimeLimitExceeded):
                if any(self.trial.fails(check, each) for each in chain([case], others)):
                    return check.name
        return ""

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


def wanted(task: Task) -> int:
    """How many drawn cases a task is to try."""
    if task.dtypes == HALF:  # the two half types differ too much to share examples
        share = 2.0
    elif len(task.dtypes) > 1:  # dtypes that are judged together share examples: each one more adds a quarter
        share = 1.25 + 0.25 * (len(task.dtypes) - 1)
    else:
        share = 1.0
    weight = registry.check(task.check).weight * registry.operation(task.operation).effort
    return max(4, round(PROFILES[task.profile].examples * (weight * share * task.scale)))


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
    return leaf if isinstance(leaf, str) else type(leaf).__name__
