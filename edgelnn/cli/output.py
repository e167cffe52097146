"""The one sink: data goes to stdout, everything said about it to stderr.

rich is imported where a table is drawn, so that help and errors do not wait for it.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

__all__ = [
    "Column",
    "Table",
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

FOLDED = 12  # columns that text to be folded needs at least
WIDE = 240  # columns given to a pipe or file, where nothing need be cut


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: Its heading.
        number: Right-aligned.
        fold: Broken over lines where the terminal is too narrow.
        spare: Left out where the terminal is too narrow, the largest first; 0: never.
    """

    title: str
    number: bool = False
    fold: bool = False
    spare: int = 0


@dataclass(frozen=True)
class Table:
    """A table that can be drawn or written."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str | None = None

    def fitted(self, width: int) -> Table:
        """Return the table with as many columns as fit into `width` characters, down to those that cannot be spared.

        >>> table = Table((Column("name"), Column("AUC", spare=1), Column("F1", spare=2)), (("a", "0.9", "0.8"),))
        >>> [column.title for column in table.fitted(10).columns]
        ['name', 'AUC']
        """
        widths = [
            FOLDED if column.fold else max(len(column.title), *(len(row[index]) for row in self.rows), 0)
            for index, column in enumerate(self.columns)
        ]
        kept = list(range(len(self.columns)))
        while sum(widths[index] + 2 for index in kept) - 2 > width:
            last = max(reversed(kept), key=lambda index: self.columns[index].spare)
            if self.columns[last].spare == 0:
                break
            kept.remove(last)
        rows = tuple(tuple(row[index] for index in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[index] for index in kept), rows=rows)

    def as_rich(self) -> RichTable:
        """Return it for the screen, without its title; cells are shown as they are, without markup."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        drawn = RichTable(
            box=box.SIMPLE_HEAD,
            show_edge=False,
            padding=(0, 1, 0, 0),
            pad_edge=False,
        )
        for column in self.columns:
            drawn.add_column(
                column.title,
                justify="right" if column.number else "left",
                no_wrap=not column.fold,
                overflow="fold" if column.fold else "ellipsis",
                header_style="bold",
            )
        for row in self.rows:
            drawn.add_row(*(Text(tidy(cell)) for cell in row))
        return drawn

    def as_markdown(self) -> str:
        """Return it as Markdown; the title stays behind.

        >>> print(Table((Column("name"), Column("AUC", number=True)), (("a", "0.9"),)).as_markdown())
        | name | AUC |
        |---|---:|
        | a | 0.9 |
        """
        head = " | ".join(column.title for column in self.columns)
        rule = "|".join("---:" if column.number else "---" for column in self.columns)
        body = [" | ".join(tidy(cell).replace("|", "\\|") for cell in row) for row in self.rows]
        return "\n".join([f"| {head} |", f"|{rule}|", *(f"| {row} |" for row in body)])


def message(text: str = "", *, color: str | None = None, bold: bool = False, whole: bool = False) -> None:
    """Say something about the work on stderr; unless `whole`, lines are broken where the terminal ends."""
    plain = os.environ.get("NO_COLOR", "") != ""
    if is_terminal(sys.stderr) and not whole:
        text = "\n".join(_wrapped(line) for line in text.split("\n"))
    typer.secho(text, err=True, fg=None if plain else color, bold=None if plain or not bold else True)


def warning(text: str) -> None:
    """Say in one line what may be wrong although the work goes on."""
    message(f"warning: {tidy(text)}", color="yellow")


def error(text: str) -> None:
    """Say in one line what went wrong."""
    message(f"error: {tidy(text)}", color="red")


def next_step(*words: object) -> None:
    """End with the command to type next, alone on the last line, as this shell would take it.

    Args:
        words: What follows ``edgelnn``.
    """
    message()
    message("Next:")
    message(f"  {_program()} {shlex.join(map(str, words))}", bold=True, whole=True)


def _program() -> str:
    """Return how edgelnn was called: by its name where the shell finds that, else by its path."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py" and path.parent.name == "edgelnn":
        return f"{Path(sys.executable).name} -m edgelnn"
    if path.name != "edgelnn" or not path.exists():
        return "edgelnn"
    found = shutil.which("edgelnn")
    return "edgelnn" if found is not None and path.samefile(found) else shlex.quote(str(path))


def print_data(text: str) -> None:
    """Print data on stdout as it is, ending in one new line."""
    sys.stdout.write(text.rstrip("\n") + "\n")


def print_json(value: Any) -> None:
    """Print data on stdout as JSON; what is not a number in JSON (NaN, infinities) becomes null."""
    print_data(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def show(*parts: Table | str) -> None:
    """Print tables, as wide as the terminal allows, and text on stdout."""
    sink = console()
    for part in parts:
        if isinstance(part, Table):
            if part.title:
                sink.print(tidy(part.title), style="bold")
            sink.print(part.fitted(sink.width).as_rich())
        else:
            sink.print(part)


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
    """Return a table for `show` of anything that can be made text."""
    return Table(tuple(columns), tuple(tuple(map(str, row)) for row in rows), title)


def tidy(text: str) -> str:
    r"""Return `text` on one line, with control characters (such as a terminal's escapes) made visible.

    >>> tidy("two\nlines and \x1b[31m")
    'two lines and \\x1b[31m'
    """
    line = " ".join(text.split())
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in line
    )


def _wrapped(line: str) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    width = shutil.get_terminal_size().columns
    return textwrap.fill(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


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
