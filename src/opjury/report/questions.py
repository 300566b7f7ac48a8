"""The questions: their claims, executed; the answer in prose; who is on trial for it."""

from __future__ import annotations

import importlib.metadata
import re
import warnings
from dataclasses import dataclass

from markupsafe import Markup

from opjury.model import registry
from opjury.model.claims import Claim
from opjury.model.sources import PACKAGE

DOCUMENTS = PACKAGE.parents[1] / "docs"  # in a source tree; nowhere else


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict today.

    Parameters
    ----------
    name, text, expected : str
        As declared.
    verdict : str
        "holds" or "refuted"; "not judged" when the check itself failed.
    evidence : str
    """

    name: str
    text: str
    expected: str
    verdict: str
    evidence: str

    @property
    def news(self) -> bool:
        """Whether it is another verdict than with the tested versions."""
        return self.verdict != self.expected


@dataclass(frozen=True)
class Question:
    """One published question.

    Parameters
    ----------
    slug, title : str
    claims : list of Judged
    answer : str
        HTML; "" where the documents are not there.
    operations : list of pairs
        Operations, and those of their implementations whose source is this question.
    """

    slug: str
    title: str
    claims: list[Judged]
    answer: Markup
    operations: list[tuple[str, list[str]]]

    @property
    def holds(self) -> int:
        """How many of its claims hold."""
        return sum(claim.verdict == "holds" for claim in self.claims)


def judged() -> list[Question]:
    """All questions, their claims executed here and now."""
    by_title: dict[str, list[Claim]] = {}
    for claim in registry.claims():
        by_title.setdefault(claim.question, []).append(claim)
    return [_question(title, claims) for title, claims in by_title.items()]


def _question(title: str, claims: list[Claim]) -> Question:
    number = title.partition(".")[0]
    sources: dict[str, list[str]] = {}
    for entry in registry.implementations():
        if re.match(rf"question {re.escape(number)}\b", entry.source):
            sources.setdefault(entry.operation, []).append(entry.name)
    slug = claims[0].name.partition(".")[0]
    answer = document("answers.md", section=rf"{re.escape(number)}\.")
    return Question(slug, title, [_judge(claim) for claim in claims], answer, list(sources.items()))


def _judge(claim: Claim) -> Judged:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            verdict, evidence = claim.judge()
        except Exception as error:  # a claim of other versions: told in its place, the others are shown
            return Judged(claim.name, claim.text, claim.expected, "not judged", f"{type(error).__name__}: {error}")
    return Judged(claim.name, claim.text, claim.expected, verdict, evidence)


def document(name: str, section: str = "") -> Markup:
    """A document of the source tree as HTML, or the section whose heading begins so; "" where it is not there."""
    from markdown_it import MarkdownIt

    path = DOCUMENTS / name
    if not path.is_file():
        return Markup("")
    text = path.read_text(encoding="utf-8")
    if section:
        found = re.search(rf"^## {section}[^\n]*\n(.*?)(?=^## |\Z)", text, re.M | re.S)
        text = found[1] if found else ""
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    html = html.replace("<pre>", '<pre tabindex="0">').replace(
        "<table>", '<div class="scroll" role="region" tabindex="0" aria-label="Table"><table>'
    )
    return Markup(re.sub(r"<th(?=[ >])", '<th scope="col"', html.replace("</table>", "</table></div>")))


def torch_version() -> str:
    """Of the torch that claims are executed with."""
    return importlib.metadata.version("torch")
