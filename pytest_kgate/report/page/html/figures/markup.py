"""Tables and drawings as HTML. For a page's 200,000 cells and words, loops of templates would take most of its time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import TypeVar

if TYPE_CHECKING:
    from pytest_kgate.report.page.html.figures.figure import Figure
    from pytest_kgate.report.page.html.figures.figure import Table

_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What no HTML may hold: control characters, and halves of surrogate pairs. And marks that turn the text behind them
around, which letters of right-to-left scripts don't need."""

_T = TypeVar("_T")


def readable(value: _T) -> _T:
    """What a template prints, without what HTML can't hold."""
    if isinstance(value, str) and not value.isprintable() and _UNREADABLE.search(value):
        return type(value)(_UNREADABLE.sub("\ufffd", value))  # escaped where it was escaped
    return value


def body(table: Table) -> str:
    """The rows of a table."""
    from markupsafe import Markup  # comes with Jinja, which not every report needs

    texts, lines = table.numbers_from, []
    for row in table.rows:
        cells = _escaped(row)
        words = "".join([f"<td>{cell}</td>" for cell in cells[:texts]])
        numbers = "".join([f'<td class="n">{cell}</td>' for cell in cells[texts:]])
        lines.append(f"<tr>{words}{numbers}</tr>\n")
    return Markup("".join(lines))


def drawn(figure: Figure) -> str:
    """The paths and words of a figure, as elements of SVG."""
    from markupsafe import Markup

    parts = [f'<path class="{line.css}" d="{line.path}"/>' for line in figure.lines]
    for word, said in zip(figure.words, _escaped([word.text for word in figure.words]), strict=True):
        anchor = "" if word.anchor == "start" else f' text-anchor="{word.anchor}"'
        css = f' class="{word.css}"' if word.css else ""
        parts.append(f'<text x="{word.x}" y="{word.y}"{anchor}{css}>{said}</text>')
    return Markup("".join(parts))


def _escaped(texts: Sequence[str]) -> list[str]:
    """All of them by one call: none holds a NUL any more, which parts them therefore."""
    from markupsafe import escape

    if not texts:
        return []
    return str(escape("\0".join([readable(one) for one in texts]))).split("\0")
