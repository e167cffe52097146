"""A table of text, before it is drawn anywhere."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TextColumn", "TextTable"]


@dataclass(frozen=True)
class TextColumn:
    """A column.

    Attributes:
        title: Its heading.
        number: Whether its cells are numbers, to be aligned on the right.
        spare: Where there is little room, the column of the largest number goes first; those with 0 stay.
    """

    title: str
    number: bool = True
    spare: int = 0


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes:
        name: By which a writer knows it.
        title: What it holds.
        columns: The first names what a row is about.
        rows: A cell for every column.
        note: What has to be known to read it; empty where nothing has.
    """

    name: str
    title: str
    columns: tuple[TextColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        """Refuse rows that would put figures under headings of others.

        Raises:
            ValueError: A row has more or fewer cells than there are columns.
        """
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: got a row of {len(row)} cells for {len(self.columns)} columns: {row}.")
