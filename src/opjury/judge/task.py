"""What is judged: one check of one implementation, for some dtypes, in a profile; and whether the check applies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opjury.model import registry
from opjury.model.device import on_cuda
from opjury.model.dtypes import group_dtypes
from opjury.model.implementation import Implementation

SHRINKING = (
    60.0  # seconds of processor time after which a counterexample stays as it is; steps end sooner but for slow calls
)
COMPILING = 5  # times the limit, for a call that may compile first


@dataclass(frozen=True)
class Profile:
    """How long an audit takes.

    Parameters
    ----------
    examples : int
        Cases for a check of weight 1 and one group of dtypes.
    shrink : int
        Cases that may be tried to make one counterexample smaller.
    limit : float
        Seconds of processor time that one call on a small case may take.
    grouped : bool
        Judge half, complex and integer dtypes together (each case draws one) instead of one by one.
    beyond : bool
        Try calls beyond 2³¹ elements, where there is memory for them.
    """

    name: str
    examples: int
    shrink: int
    limit: float
    grouped: bool
    beyond: bool = False


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("quick", 40, 2000, 4.0, True),
        Profile("full", 120, 4000, 5.0, False),
        Profile("nightly", 1500, 8000, 10.0, False, beyond=True),
    )
}


@dataclass(frozen=True)
class Task:
    """Everything that a judgement depends on; picklable.

    Parameters
    ----------
    operation, implementation : str
    check : str
    dtypes : tuple of str
        Each case draws one of them.
    profile : str
    seed : int
    scale : float
        The share of the profile's cases that is tried.
    function : Function, optional
        For plain functions that are not registered; what it loads may be a whole `Implementation`.
    error : Sent or Here, optional
        For plain functions: an error model of their own.
    database : str
        A folder that keeps failing cases to be tried first the next time; "" for none.
    shrink : bool
        Whether a counterexample is made smaller and its cause looked for.
    only : dict, optional
        A stored counterexample: this case is tried, and no other.
    """

    operation: str
    implementation: str
    check: str
    dtypes: tuple[str, ...]
    profile: str = "quick"
    device: str = "cpu"
    seed: int = 0
    scale: float = 1.0
    waives: tuple[tuple[str, str], ...] = ()
    database: str = ""
    function: Any = None
    error: Any = None
    shrink: bool = True
    only: dict[str, Any] | None = None

    @property
    def group(self) -> str:
        """The dtypes in one word: `float32`, `half`, `all`."""
        groups = list(group_dtypes(self.dtypes))
        return self.dtypes[0] if len(self.dtypes) == 1 else groups[0] if len(groups) == 1 else "all"

    @property
    def label(self) -> str:
        """`slice_mean-python_loop-float32-cpu`"""
        return f"{self.operation}-{self.implementation}-{self.group}-{self.device}"


def call_limit(task: Task) -> float:
    """Seconds of processor time that one call on a small case may take; on a GPU many calls have to compile a kernel first."""
    return PROFILES[task.profile].limit * (COMPILING if on_cuda(task.device) else 1)


def implementation_of(task: Task) -> Implementation:
    """The declaration on trial: the registered one, or a plain function held to the contract alone."""
    if task.function is None:
        return registry.entry(task.operation, task.implementation)
    function = task.function.load()
    if isinstance(function, Implementation):
        return function
    return Implementation(
        operation=task.operation,
        name=task.implementation,
        function=function,
        waives=dict(task.waives),
        error=task.error.load() if task.error else None,
    )


def applies(task: Task) -> bool:
    """Whether there is something to execute."""
    operation, check = registry.operation(task.operation), registry.check(task.check)
    return check.why_not(operation, implementation_of(task), task.device) is None
