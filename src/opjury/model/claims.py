"""Claims: statements of published answers, each with a check of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from opjury.model import declared

Finding = Literal["holds", "refuted"]


@dataclass(frozen=True)
class Claim:
    """One statement of a published question or answer.

    Parameters
    ----------
    name : str
        Its id: `question.statement`.
    question : str
        The question that it answers.
    text : str
        The claim in our words.
    expected : {"holds", "refuted"}
        The verdict with the tested versions.
    check : callable
        Takes no arguments, and returns whether the claim holds and the evidence as text.
    """

    name: str
    question: str
    text: str
    expected: Finding
    check: Callable[[], tuple[bool, str]] = field(compare=False)

    def judge(self) -> tuple[Finding, str]:
        """The verdict with the installed versions, and its evidence."""
        holds, evidence = self.check()
        return "holds" if holds else "refuted", evidence


def claim(question: str, text: str, *, expected: Finding) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Declare a function as the check of a claim, whose id is made of the function's module and name.

    `Claim` documents the parameters.
    """

    def declare(check: Callable[[], Any]) -> Callable[[], Any]:
        name = f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
        entry = Claim(name, question, text, expected, check)
        declared.add(declared.CLAIMS, name, entry, f"claim {name!r}", lambda e: e.check)
        return check

    return declare
