"""A page as a list of blocks, written as Markdown or as HTML that needs no other file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["Block", "Grid", "Heading", "Items", "Picture", "Text", "write_html", "write_markdown"]


@dataclass(frozen=True)
class Heading:
    """A title; `level` 1 is the page's."""

    level: int
    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; a warning is not to be missed."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Grid:
    """A table; all columns but the first `texts` are numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


@dataclass(frozen=True)
class Picture:
    """A figure: its file's name, what it shows in words, and its bytes as PNG."""

    file: str
    words: str
    png: bytes


Block = Heading | Text | Items | Grid | Picture

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; font-size: .86rem; display: block; overflow-x: auto; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid #e6e6e6; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #8a8a8a; } .text { text-align: left; }
.warning { background: #fdecea; border-left: .4rem solid #d55e00; padding: .7rem 1rem; font-weight: 600; }
img { max-width: 100%; height: auto; }
"""


def write_markdown(blocks: Sequence[Block]) -> str:
    """Return a page as Markdown; its pictures are files beside it.

    >>> print(write_markdown([Heading(2, "Figures"), Grid(["model", "AUC"], [["LNN", "0.9"]])]))
    ## Figures
    <BLANKLINE>
    | model | AUC |
    |---|---:|
    | LNN | 0.9 |
    <BLANKLINE>
    """
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def write_html(title: str, blocks: Sequence[Block]) -> str:
    """Return a page as one HTML file with its pictures inside."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {block.text}"
    if isinstance(block, Text):
        return f"> **{block.text}**" if block.warning else block.text
    if isinstance(block, Items):
        return "\n".join(f"* {item}" for item in block.items)
    if isinstance(block, Picture):
        return f"![{block.words}]({block.file})"
    lines = [block.columns, *block.rows]
    head, *rows = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    rule = "|" + "|".join("---" if index < block.texts else "---:" for index in range(len(block.columns))) + "|"
    return "\n".join([head, rule, *rows])


def _html(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{escape(block.text)}</h{block.level}>"
    if isinstance(block, Text):
        return f"<p{' class=warning' if block.warning else ''}>{escape(block.text)}</p>"
    if isinstance(block, Items):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.png).decode()
        return f'<p><img alt="{escape(block.words)}" src="data:image/png;base64,{data}"></p>'
    cells = [
        "".join(
            f"<{tag}{' class=text' if index < block.texts else ''}>{escape(cell)}</{tag}>"
            for index, cell in enumerate(line)
        )
        for tag, line in [("th", block.columns), *(("td", row) for row in block.rows)]
    ]
    head, *rows = (f"<tr>{line}</tr>" for line in cells)
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
