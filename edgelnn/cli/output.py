"""The one sink: data goes to stdout, everything said about it to stderr.

rich is imported where a table is drawn, so that help and errors do not wait for it.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

__all__ = [
    "Column",
    "build_table",
    "console",
    "error",
    "is_terminal",
    "message",
    "next_step",
    "print_data",
    "print_json",
    "show",
    "tidy",
    "warning",
]

WIDE = 240  # columns given to a pipe or file, where nothing need be cut


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: Its heading.
        number: Right-aligned.
        fold: Broken over lines where the terminal is too narrow; other columns are never cut.
    """

    title: str
    number: bool = False
    fold: bool = False


def message(text: str = "", *, color: str | None = None, bold: bool = False) -> None:
    """Say something about the work on stderr."""
    plain = os.environ.get("NO_COLOR", "") != ""
    typer.secho(text, err=True, fg=None if plain else color, bold=None if plain or not bold else True)


def warning(text: str) -> None:
    """Say in one line what may be wrong although the work goes on."""
    message(f"warning: {tidy(text)}", color="yellow")


def error(text: str) -> None:
    """Say in one line what went wrong."""
    message(f"error: {tidy(text)}", color="red")


def next_step(command: str) -> None:
    """End with the command to type next, alone on the last line."""
    message()
    message("Next:")
    message(f"  {command}", bold=True)


def print_data(text: str) -> None:
    """Print data on stdout as it is, ending in one new line."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def print_json(value: Any) -> None:
    """Print data on stdout as JSON; what is not a number in JSON (NaN, infinities) becomes null."""
    print_data(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def show(*renderables: RenderableType) -> None:
    """Print tables and text on stdout."""
    sink = console()
    for renderable in renderables:
        sink.print(renderable)


def console(*, err: bool = False) -> Console:
    """Return a rich console over today's stdout or stderr; a pipe or file is as wide as it needs to be."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    narrow = is_terminal(stream) or "COLUMNS" in os.environ
    return Console(file=stream, width=None if narrow else WIDE, highlight=False, markup=False, emoji=False)


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person watches `stream`."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def build_table(columns: Sequence[Column], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Table:
    """Return a table of the rows; cells are shown as they are, without markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=title,
        title_justify="left",
        title_style="bold",
    )
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.number else "left"
        table.add_column(
            column.title,
            justify=justify,
            no_wrap=not column.fold,
            overflow="fold" if column.fold else "ellipsis",
            header_style="bold",
        )
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(tidy(str(cell))) for cell in row))
    return table


def tidy(text: str) -> str:
    r"""Return `text` on one line, with control characters (such as a terminal's escapes) made visible.

    >>> tidy("two\nlines and \x1b[31m")
    'two lines and \\x1b[31m'
    """
    line = " ".join(text.split())
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in line
    )


def _plain(value: Any) -> Any:
    """Return `value` in the types JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return _plain(value.tolist())
    if isinstance(value, Iterable):
        return [_plain(inner) for inner in value]
    return str(value)
