"""From text and numbers to what stands in a page: file names, escaped names, tables, figures."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from opjury.track.history import file_name


class Slugs:
    """Names as those of files: one for each, whatever is in them, and never two the same."""

    def __init__(self) -> None:
        self._slugs: dict[str, str] = {}
        self._taken: set[str] = set()

    def __call__(self, name: str) -> str:
        """The name's slug."""
        if name not in self._slugs:
            base = slug = file_name(_visible(name))[:100]
            number = 1
            while slug.lower() in self._taken:
                number += 1
                slug = f"{base}.{number}"
            self._slugs[name] = slug
            self._taken.add(slug.lower())
        return self._slugs[name]


def template_environment(slug: Slugs) -> jinja2.Environment:
    """The templates, with what they need: names are escaped wherever they stand."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("opjury.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= dict(
        body=_body, slug=slug, embedded=embedded, sortable=_sortable, blocks=_blocks, breakable=_breakable
    )
    found.tests["pair"] = lambda value: isinstance(value, tuple)
    return found


def embedded(figure: dict[str, Any]) -> Markup:
    """A figure as JSON that stands in a script element: nothing in it ends the element; what is not finite is null.

    Plotly takes tags in texts for its own; only those of its templates are meant.
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
    """The rows of a table. (A history's has many thousands of cells, which take a template's macro seconds.)"""
    return Markup("\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows))


def _cell(value: Any) -> str:
    if not isinstance(value, tuple):
        return f"<td>{escape(value)}</td>"
    text, number = value
    key = _sortable(number)
    sort = "" if key == text else f' data-sort="{key}"'
    return f'<td class="number"{sort}>{escape(text)}</td>'


def _sortable(value: float | None) -> str:
    """A number as what tables are sorted by: JavaScript's name for an infinity."""
    if value is None:
        return ""
    return f"{value:.6g}" if math.isfinite(value) else "Infinity"


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup("_<wbr>").join(_visible(name).split("_"))


def _visible(name: str) -> str:
    """A name of which something can be seen."""
    return name if any(c.isprintable() and not c.isspace() for c in name) else "unnamed"


class _Block(NamedTuple):
    text: str
    plain: bool


def _blocks(text: str) -> list[_Block]:
    """Paragraphs of a docstring; one that is laid out by hand stays as it is."""
    found = []
    for block in filter(None, re.split(r"\n\s*\n", text.strip())):
        plain = bool(re.search(r"^(\s{2,}|-{3,}|[-*|] )", block, re.M))
        found.append(_Block(block if plain else " ".join(block.split()), plain))
    return found
