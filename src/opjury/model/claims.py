"""Claims: what published answers say, as statements that are executed and get a verdict of their own."""

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
        The question that it comes from, in words.
    text : str
        What is claimed, in our words.
    expected : {"holds", "refuted"}
        The verdict that was found with the tested versions; another one is news.
    check : callable
        Takes nothing; returns whether the claim holds, and the evidence in print.
    """

    name: str
    question: str
    text: str
    expected: Finding
    check: Callable[[], tuple[bool, str]] = field(compare=False)

    def judge(self) -> tuple[Finding, str]:
        """The verdict today, with its evidence."""
        holds, evidence = self.check()
        return "holds" if holds else "refuted", evidence


def claim(question: str, text: str, *, expected: Finding) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Declare a function as the check of a claim; its module and name are the claim's id.

    Parameters
    ----------
    question : str
    text : str
        What is claimed.
    expected : {"holds", "refuted"}
        The verdict found with the tested versions.
    """

    def declare(check: Callable[[], Any]) -> Callable[[], Any]:
        name = f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
        entry = Claim(name, question, text, expected, check)
        declared.add(declared.CLAIMS, name, entry, f"claim {name!r}", lambda e: e.check)
        return check

    return declare
