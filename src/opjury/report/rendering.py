"""What the templates need: slugs, and the filters that write names, tables, docstrings and figures."""

from __future__ import annotations

import html
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jinja2
from markupsafe import Markup, escape

from opjury.track.history import file_name


class Slugs(dict[str, str]):
    """A file name for each name, whatever characters it has. No two are equal, upper and lower case aside."""

    def __missing__(self, name: str) -> str:
        base = file_name(_visible(name))[:100]
        taken = {slug.lower() for slug in self.values()}
        numbered = (f"{base}.{number}" for number in itertools.count(2))
        self[name] = next(slug for slug in itertools.chain([base], numbered) if slug.lower() not in taken)
        return self[name]


def template_environment(slugs: Slugs) -> jinja2.Environment:
    """The templates with their filters. All text is escaped."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("opjury.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= dict(
        body=_body, slug=slugs.__getitem__, embedded=embedded, sortable=_sortable, blocks=_blocks, breakable=_breakable
    )
    return found


def embedded(figure: dict[str, Any]) -> Markup:
    """A figure as JSON for a script element, which nothing in it ends. Numbers that are not finite are null.

    Plotly renders tags in texts, so they are escaped, but for hover templates, which have tags of ours.
    """
    text = json.dumps(_embeddable(figure), separators=(",", ":"), allow_nan=False)
    for sign in "<>&'":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def _embeddable(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(value, quote=False)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: v if key == "hovertemplate" else _embeddable(v) for key, v in value.items()}
    return [_embeddable(v) for v in value] if isinstance(value, (list, tuple)) else value


def _body(rows: Iterable[Sequence[Any]]) -> Markup:
    """The rows of a table. A history has many thousands of cells, for which a macro in a template takes seconds."""
    return Markup("\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows))


def _cell(value: Any) -> str:
    if not isinstance(value, tuple):
        return f"<td>{escape(value)}</td>"
    text, number = value
    key = _sortable(number)
    sort = "" if key == text else f' data-sort="{key}"'
    return f'<td class="number"{sort}>{escape(text)}</td>'


def _sortable(value: float | None) -> str:
    """A number as the key that a table is sorted by. JavaScript reads `Infinity`, but not `inf`."""
    if value is None:
        return ""
    return f"{value:.6g}" if math.isfinite(value) else "Infinity"


def _breakable(name: str) -> Markup:
    """A name with possible line breaks after its underscores."""
    return Markup("_<wbr>").join(_visible(name).split("_"))


def _visible(name: str) -> str:
    """The name, or "unnamed" where it has no visible character."""
    return name if any(c.isprintable() and not c.isspace() for c in name) else "unnamed"


def _blocks(text: str) -> Iterator[tuple[str, bool]]:
    """The paragraphs of a docstring, and whether each is laid out by hand: lists, tables and code keep their line breaks."""
    for block in filter(None, re.split(r"\n\s*\n", text.strip())):
        by_hand = bool(re.search(r"^(\s{2,}|-{3,}|[-*|] )", block, re.M))
        yield block if by_hand else " ".join(block.split()), by_hand
