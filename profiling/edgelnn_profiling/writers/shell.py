"""What every page has: one file that asks nothing of the network and runs no script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgelnn_profiling.writers.markup import Children, Markup, element, join
from edgelnn_profiling.writers.tables import TextTable

__all__ = ["facts_list", "figure", "legend", "table_element", "whole_page"]

# Nothing may be loaded and nothing run, even if text of a report became markup by a mistake of ours.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def whole_page(title: str, header: Children, sections: Children, footer: Children) -> str:
    """Return an HTML page.

    Args:
        title: Of the window.
        header: What stands first.
        sections: The rest.
        footer: What stands last.
    """
    style = Path(__file__).with_name("page.css").read_text("utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content="edgelnn"),
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(style)),
    )
    body = element(
        "body", element("header", header), element("main", sections), element("footer", element("p", footer))
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def table_element(table: TextTable, *, kinds: Sequence[str | None] = ()) -> Markup:
    """Return a table that scrolls by itself where it is too wide, and can be reached by keyboard for that.

    Args:
        table: Its texts.
        kinds: CSS classes of columns, instead of the one that numbers have.
    """
    classes = [(column.number and "number") or None for column in table.columns]
    classes[: len(kinds)] = kinds
    heads = [
        element("th", column.title, scope="col", class_=kind)
        for column, kind in zip(table.columns, classes, strict=True)
    ]
    rows = [
        element(
            "tr",
            element("th", breakable(row[0]), scope="row"),
            [element("td", cell, class_=kind) for cell, kind in zip(row[1:], classes[1:], strict=True)],
        )
        for row in table.rows
    ]
    drawn = element(
        "table",
        element("caption", table.title),
        element("thead", element("tr", heads)),
        element("tbody", rows),
    )
    frame = element("div", drawn, class_="scroll", role="region", aria_label=table.title, tabindex="0")
    return Markup(frame + element("p", table.note, class_="below"))


def breakable(name: str) -> Markup:
    """Return a name that may be broken after its hyphens and underscores.

    >>> breakable("wi8_ai8")
    'wi8_<wbr>ai8'
    """
    return join([[part, element("wbr")] if part[-1:] in ("_", "-") else part for part in re.split("(?<=[_-])", name)])


def figure(title: str, chart: Markup, *words: Children) -> Markup:
    """Return a chart with its title above and words about it below."""
    return element("figure", element("h3", title, class_="chart-title"), chart, element("figcaption", *words))


def facts_list(facts: Iterable[tuple[str, str]]) -> Markup:
    """Return names and values, one below the other."""
    return element("dl", [[element("dt", name), element("dd", value)] for name, value in facts], class_="facts")


def legend(entries: Iterable[tuple[Markup, str]]) -> Markup:
    """Return a legend: marks and what they stand for."""
    return element("ul", [element("li", mark, name) for mark, name in entries], class_="legend")
