"""HTML elements with escaped text, and tables that can be scrolled and sorted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.report.markup import Cell

VOID = {"br", "img", "input", "meta"}
"""Elements without an end tag."""

_NUMBER = re.compile(r"[+−-]?\d+(\.\d+)?")
_SCALES = {"k": 1e3, "M": 1e6}
_BOLD = re.compile(r"\*\*(.+?)\*\*")


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is inserted in a page without escaping."""

    text: str


Child: TypeAlias = Html | str


def tag(name: str, /, *children: Child, **attributes: str | int | bool) -> Html:
    """Return an element. Strings are escaped; `True` gives a bare attribute, `False` omits it.

    Example:
        >>> tag("td", "a < b", class_="best", data_value=3).text
        '<td class="best" data-value="3">a &lt; b</td>'
    """
    parts = [name]
    for key, value in attributes.items():
        word = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(word)
        elif value is not False:
            parts.append(f'{word}="{escape(str(value))}"')
    opened = f"<{' '.join(parts)}>"
    return Html(opened if name in VOID else f"{opened}{join(*children).text}</{name}>")


def join(*children: Child) -> Html:
    """Return the concatenation of elements and texts."""
    return Html("".join(c.text if isinstance(c, Html) else escape(c) for c in children))


def prose(text: str) -> Html:
    """Return a sentence in which `**words**` become bold.

    Example:
        >>> prose("a < b. **Dirty.**").text
        'a &lt; b. <strong>Dirty.</strong>'
    """
    return Html(_BOLD.sub(r"<strong>\1</strong>", escape(text)))


def bullets(texts: Sequence[str]) -> Html:
    """Return a list of sentences."""
    return tag("ul", *(tag("li", prose(text)) for text in texts))


def scrolling(table: Html, label: str) -> Html:
    """Return a table in a box that scrolls, also by keyboard."""
    return tag("div", table, class_="scroll", role="region", aria_label=label, tabindex=0)


def sortable(
    caption: str, headers: Sequence[str], rows: Sequence[Sequence[Cell]], *, label: str
) -> Html:
    r"""Return a table that the script of the page can sort.

    Args:
        caption: Caption above the table.
        headers: One per column; `group\ncolumn` puts the column under a group.
        rows: Cells; the first cell of a row is its heading.
        label: Accessible name of the box in which the table scrolls.
    """
    body = tag("tbody", *(_row(row) for row in rows))
    table = tag("table", tag("caption", caption), _head(headers), body, class_="sortable")
    return scrolling(table, label)


def sort_value(text: str) -> str:
    """Return the sort key of a cell: its first number if it starts with one, else its text.

    Example:
        >>> [sort_value(text) for text in ("−0.4 [−1.5, +0.7]", "757.9 k", "reference")]
        ['-0.4', '757900.0', 'reference']
    """
    found = _NUMBER.match(text)
    if found is None:
        return text
    number = float(found[0].replace("−", "-"))
    return str(number * _SCALES.get(text[found.end() :].strip(), 1.0))


def _head(headers: Sequence[str]) -> Html:
    split = [header.rpartition("\n") for header in headers]
    if not any(group for group, _, _ in split):
        return tag("thead", tag("tr", *(_column(i, name) for i, (_, _, name) in enumerate(split))))
    above, below = [], []
    for group, members in groupby(enumerate(split), key=lambda item: item[1][0]):
        columns = [(index, name) for index, (_, _, name) in members]
        if group:
            above.append(tag("th", group, scope="colgroup", colspan=len(columns)))
            below += [_column(index, name) for index, name in columns]
        else:
            above += [_column(index, name, rowspan=2) for index, name in columns]
    return tag("thead", tag("tr", *above), tag("tr", *below))


def _column(index: int, name: str, **attributes: int) -> Html:
    return tag("th", name, scope="col", data_column=index, **attributes)


def _row(row: Sequence[Cell]) -> Html:
    first, *rest = row
    return tag(
        "tr",
        tag("th", first.text, scope="row", data_value=sort_value(first.text)),
        *(tag("td", _emphasised(cell), data_value=sort_value(cell.text)) for cell in rest),
    )


def _emphasised(cell: Cell) -> Html:
    if cell.best:
        return tag("strong", cell.text)
    return tag("u", cell.text) if cell.second else join(cell.text)
