"""The published questions: their claims, executed, the answer in prose, and the implementations that come from them."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from opjury.model import registry
from opjury.model.claims import Claim
from opjury.model.sources import PACKAGE

DOCUMENTS = PACKAGE.parents[1] / "docs"  # exists in a source tree only


class Judged(NamedTuple):
    """A claim with its verdict today: "holds" or "refuted", or "not judged" where its check failed."""

    claim: Claim
    verdict: str
    evidence: str

    @property
    def news(self) -> bool:
        """Whether the verdict differs from the one with the tested versions."""
        return self.verdict != self.claim.expected


@dataclass(frozen=True)
class Question:
    """One published question.

    Parameters
    ----------
    slug, title : str
    claims : list of Judged
    answer : str
        HTML; "" where the documents are not there.
    operations : dict of str to list of str
        The implementations whose source is this question, by operation.
    """

    slug: str
    title: str
    claims: list[Judged]
    answer: Markup
    operations: dict[str, list[str]]

    @property
    def holds(self) -> int:
        """How many of its claims hold."""
        return sum(judged.verdict == "holds" for judged in self.claims)


def judged() -> list[Question]:
    """All questions. Their claims are executed here and now."""
    by_title: dict[str, list[Claim]] = {}
    for claim in registry.claims():
        by_title.setdefault(claim.question, []).append(claim)
    return [_question(title, claims) for title, claims in by_title.items()]


def _question(title: str, claims: list[Claim]) -> Question:
    number = re.escape(title.partition(".")[0])
    operations: dict[str, list[str]] = {}
    for entry in registry.implementations():
        if re.match(rf"question {number}\b", entry.source):
            operations.setdefault(entry.operation, []).append(entry.name)
    return Question(
        slug=claims[0].name.partition(".")[0],
        title=title,
        claims=[_judge(claim) for claim in claims],
        answer=document("answers.md", section=rf"{number}\."),
        operations=operations,
    )


def _judge(claim: Claim) -> Judged:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return Judged(claim, *claim.judge())
        except Exception as error:  # other versions of the libraries: the page says so, and shows the other claims
            return Judged(claim, "not judged", f"{type(error).__name__}: {error}")


def document(name: str, section: str = "") -> Markup:
    """A document of the source tree as HTML, or its section whose heading begins with `section`, or "" where it does not exist."""
    from markdown_it import MarkdownIt

    path = DOCUMENTS / name
    if not path.is_file():
        return Markup("")
    text = path.read_text(encoding="utf-8")
    if section:
        found = re.search(rf"^## {section}[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        text = found[1] if found else ""
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    # What scrolls must be reachable by keyboard, and a screen reader must know what a header belongs to.
    html = html.replace("<pre>", '<pre tabindex="0">').replace(
        "<table>", '<div class="scroll" role="region" tabindex="0" aria-label="Table"><table>'
    )
    return Markup(re.sub(r"<th(?=[ >])", '<th scope="col"', html.replace("</table>", "</table></div>")))
