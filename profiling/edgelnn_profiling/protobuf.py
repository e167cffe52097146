"""As much of protobuf's wire format as it takes to look through an ONNX file without the `onnx` package."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

__all__ = ["Buffer", "Malformed", "read_fields", "read_numbers"]

Buffer = bytes | mmap.mmap


class Malformed(Exception):
    """The bytes are not of the kind expected."""


def read_fields(data: Buffer, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Give (field number, integer value, start, end) of each field; start is -1 where the field is a plain number.

    Raises:
        Malformed: The bytes from `position` to `end` are not a message.
    """
    while position < end:
        key, position = _varint(data, position, end)
        number, kind = key >> 3, key & 7
        value, first, last = 0, -1, -1
        if kind == 0:
            value, position = _varint(data, position, end)
        elif kind == 1:
            position += 8
        elif kind == 2:
            length, first = _varint(data, position, end)
            position = last = first + length
        elif kind == 5:
            position += 4
        else:
            raise Malformed
        if number == 0 or position > end:
            raise Malformed
        yield number, value, first, last


def read_numbers(data: Buffer, position: int, end: int) -> Iterator[int]:
    """Give the numbers of a packed field, negative ones as int64 writes them.

    Raises:
        Malformed: One is cut short.
    """
    while position < end:
        value, position = _varint(data, position, end)
        yield value - 2**64 if value >= 2**63 else value


def _varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    """Return a base-128 number of at most 10 bytes and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise Malformed
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise Malformed
