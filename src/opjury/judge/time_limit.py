"""Limits on the processor time of calls, by how long those before took."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class TimeLimitExceeded(BaseException):
    """A call took longer than allowed, which says nothing against it: slow is not wrong.

    It is not an `Exception`, so that an implementation cannot swallow it.
    """


class Unexplained(TimeLimitExceeded):
    """A call took much longer than its size explains, so that it has to be made again with more time."""


class Endless(TimeLimitExceeded):
    """A call that was made again with much more time gave no answer."""


PATIENCE = 5  # times the limit, in elapsed time, for a call that waits instead of computing, or that shares its core
RAISED_AGAIN = 0.01  # seconds until an exception that Python dropped is raised again
_AGAIN = 5  # times the limit, for the first call, if it is made again
_SHARE = 4  # calls that may use up the time of a task between them
_CUBIC = 3  # the power of the elements with which the time of a call may grow
_FEW, _OVERHEAD = 64, 1e-3  # elements up to which calls take about as long, and seconds that any of these may take
_FAR, _VERY_FAR = 10, 100  # times what size explains: from then on a call is suspicious, or does not end
_LONGEST_IMPORT = 120.0  # seconds


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitExceeded` in the main thread after so many seconds of processor time (elsewhere: no limit).

    Processor time does not depend on how busy the machine is; elapsed time is limited to `PATIENCE` times the limit.
    Where Python drops the exception (it does in `__del__` and in callbacks of the garbage collector), it is raised again soon. A module
    that is being imported is waited for, because half of one cannot be imported again: torch and SymPy import much when first needed.
    Timers that were set before (by a test runner) go on afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over, until = False, time.monotonic() + _LONGEST_IMPORT

    def expire(signum: int, frame: Any) -> None:
        nonlocal over
        if _importing(frame) and time.monotonic() < until:
            signal.setitimer(signal.ITIMER_REAL, RAISED_AGAIN)
        elif not over:  # the other timer may expire while this one's exception is under way
            over = True
            raise TimeLimitExceeded

    def unraisable(dropped: Any) -> None:
        nonlocal over
        if dropped.exc_type is TimeLimitExceeded:
            over = False
            signal.setitimer(signal.ITIMER_REAL, RAISED_AGAIN)
        else:
            hook(dropped)

    timers = [(signal.ITIMER_PROF, time.process_time, 1), (signal.ITIMER_REAL, time.monotonic, PATIENCE)]
    handlers = [(number, signal.signal(number, expire)) for number in (signal.SIGPROF, signal.SIGALRM)]
    hook, sys.unraisablehook = sys.unraisablehook, unraisable
    before = [(signal.setitimer(which, seconds * times), which, clock, clock()) for which, clock, times in timers]
    try:
        yield
    finally:
        over = True
        for which, *_ in timers:
            signal.setitimer(which, 0)
        sys.unraisablehook = hook
        for number, handler in handlers:
            signal.signal(number, handler)
        for (left, interval), which, clock, started in before:
            if left:
                signal.setitimer(which, max(left - (clock() - started), 1e-3), interval)


def _importing(frame: Any) -> bool:
    """Whether what is judged imports a module."""
    while frame is not None and not frame.f_globals.get("__name__", "").startswith("opjury.judge."):
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


@dataclass
class Pace:
    """How long the calls of one task take, which limits those that follow. Calls that import modules do not count.

    Parameters
    ----------
    limit : float
        Seconds of processor time for a small call, as long as nothing is known.
    budget : float
        Seconds for all calls together.
    hopeless : bool
        Whether calls of this implementation are known not to end, so that none is made again.

    Attributes
    ----------
    spent : float
        Seconds of all calls so far.
    longest : dict
        The seconds of the longest call by the number of its elements.
    slowest : float
        Those of the longest of all.
    patient : bool
        Whether calls are made again, so that one of them may take much longer.
    """

    limit: float
    budget: float = math.inf
    hopeless: bool = False
    spent: float = 0.0
    longest: dict[int, float] = field(default_factory=dict)
    slowest: float = 0.0
    patient: bool = False

    @property
    def over(self) -> bool:
        """Whether so much time is spent that not even the present case is tried to its end."""
        return self.spent > 2 * self.budget

    def allowed(self, elements: int) -> float:
        """Seconds that a call of so many elements may take."""
        first = self.limit * min(10.0, 1.0 + elements / 1000)
        if self.patient:
            return max(2 * self.limit, _VERY_FAR * self._explained(elements)) if self.longest else _AGAIN * first
        return min(first, max(self.budget / _SHARE, 1.5 * self.slowest)) if self.longest else first

    def _explained(self, elements: int) -> float:
        """The most seconds that the other calls explain, 0 without any."""
        seen = (max(t, _OVERHEAD) * max(1.0, elements / max(n, _FEW)) ** _CUBIC for n, t in self.longest.items())
        return min(seen, default=0.0)

    @contextmanager
    def timed(self, elements: int) -> Iterator[None]:
        """Limit a call of so many elements, and note how long it took.

        Raises
        ------
        TimeLimitExceeded
            For a call that is slow because it is large, and for any call if the time of the task is over by far.
        Unexplained
            For another one.
        Endless
            For one that gets more time than that and does not end either.
        """
        if self.over and not self.patient:
            raise TimeLimitExceeded
        allowed = self.allowed(elements)
        computing, elapsed, modules = time.process_time(), time.monotonic(), len(sys.modules)
        telling = True
        try:
            with time_limit(allowed):
                yield
        except TimeLimitExceeded:
            explained = self._explained(elements)
            if self.patient:
                others = f", where its size explains {explained:.2g} s" if explained else ""
                raise Endless(f"no answer within {allowed:.2g} s{others}") from None
            if allowed >= _FAR * explained and not self.hopeless:
                telling = False
                raise Unexplained from None
            raise
        finally:
            took = max(time.process_time() - computing, (time.monotonic() - elapsed) / PATIENCE)
            if len(sys.modules) > modules:
                took = 0.0
            self.spent += took
            self.patient = self.patient and took < self.limit / _SHARE  # for one long call
            if telling and took > self.longest.get(elements, 0.0):
                self.longest[elements], self.slowest = took, max(took, self.slowest)
