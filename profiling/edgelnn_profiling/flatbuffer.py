"""As much of FlatBuffers as it takes to look through a TFLite file without FlatBuffers' library."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from edgelnn_profiling.protobuf import Buffer, Malformed

__all__ = ["Table", "read_number"]


class Table:
    """A table of the file; every read stays within it, or is `Malformed`."""

    def __init__(self, data: Buffer, position: int) -> None:
        self.data = data
        self.position = position
        self.layout = position - read_number(data, "<i", position)
        self.layout_bytes = read_number(data, "<H", self.layout)

    @classmethod
    def root(cls, data: Buffer) -> Table:
        """Return the table that a file begins with."""
        return cls(data, read_number(data, "<I", 0))

    def place(self, slot: int) -> int:
        """Return where a field stands, 0 where it is left out."""
        if slot + 2 > self.layout_bytes:
            return 0
        offset = read_number(self.data, "<H", self.layout + slot)
        return self.position + offset if offset else 0

    def number(self, slot: int, kind: str) -> int:
        """Return a number, 0 where it is left out; `kind` as for struct."""
        place = self.place(slot)
        return read_number(self.data, f"<{kind}", place) if place else 0

    def table(self, slot: int) -> Table | None:
        """Return a table, or None."""
        place = self.place(slot)
        return Table(self.data, place + read_number(self.data, "<I", place)) if place else None

    def vector(self, slot: int, size: int) -> tuple[int, int]:
        """Return where a vector's elements, `size` bytes each, begin, and how many there are."""
        place = self.place(slot)
        if not place:
            return 0, 0
        start = place + read_number(self.data, "<I", place)
        length = read_number(self.data, "<I", start)
        if start + 4 + length * size > len(self.data):
            raise Malformed
        return start + 4, length

    def numbers(self, slot: int) -> tuple[int, ...]:
        """Return a vector of int32."""
        start, length = self.vector(slot, 4)
        return struct.unpack_from(f"<{length}i", self.data, start) if length else ()

    def text(self, slot: int) -> str:
        """Return a string, "" where it is left out."""
        start, length = self.vector(slot, 1)
        return bytes(self.data[start : start + length]).decode("utf-8", "replace")

    def tables(self, slot: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        start, length = self.vector(slot, 4)
        for place in range(start, start + 4 * length, 4):
            yield Table(self.data, place + read_number(self.data, "<I", place))


def read_number(data: Buffer, kind: str, position: int) -> int:
    """Return the number at a position; `kind` as for struct.

    Raises:
        Malformed: It does not lie within the data.
    """
    if not 0 <= position <= len(data) - struct.calcsize(kind):
        raise Malformed
    return int(struct.unpack_from(kind, data, position)[0])
