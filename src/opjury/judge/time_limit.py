"""A limit on the processor time of a call."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TimeLimitExceeded(BaseException):
    """A call took longer than allowed.

    It is not an `Exception`, so that an implementation cannot swallow it.
    """


PATIENCE = 5  # times the limit, in elapsed time, for a call that waits instead of computing, or that shares its core
RAISED_AGAIN = 0.01  # seconds until an exception that Python dropped is raised again


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitExceeded` in the main thread after so many seconds of processor time (elsewhere: no limit).

    Processor time does not depend on how busy the machine is; elapsed time is limited to `PATIENCE` times the limit.
    Where Python drops the exception (it does in `__del__` and in callbacks of the garbage collector), it is raised again soon.
    Timers that were set before (by a test runner) go on afterwards.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = False

    def expire(signum: int, frame: Any) -> None:
        nonlocal over
        if not over:  # the other timer may expire while this one's exception is under way
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
