"""From the schema's objects to the bytes of a TFLite file, with everything that is equal stored once.

The FlatBuffers library shares the layouts of tables (vtables). A table or vector that would stand in a file twice may
be shared as well, since readers only follow offsets: shapes, names, options, quantization parameters.
"""

from __future__ import annotations

from typing import Any, Final

import flatbuffers  # type: ignore[import-untyped]

__all__ = ["pack_model"]

_IDENTIFIER: Final = b"TFL3"
_DATA_ALIGNMENT: Final = 16  # of tensor data, as the schema asks for; a few integers need no more than their own
_WORD: Final = 4


def pack_model(model: Any) -> bytes:
    """Return the bytes of a TFLite file.

    Args:
        model: A `ModelT` of `ai_edge_litert.schema_py_generated`, which may come from a file.

    Equal models give equal bytes.
    """
    builder = _SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # the library has no types
    """A builder that takes back a vector or table that stands there already, and returns the offset of that one."""

    head: int  # where in Bytes, which grow downwards, the content begins

    def __init__(self) -> None:
        super().__init__(4096)
        self._known: dict[tuple[Any, ...], int] = {}
        self._begin(0, 1)

    def _begin(self, length: int, alignment: int) -> None:
        self._start = self.Offset()
        self._length = length  # of a vector's elements, in bytes
        self._alignment = alignment
        self._targets: list[tuple[int, int]] = []  # offsets in what is written: where they stand, what they lead to

    def _shared(self, offset: int, kind: object, length: int) -> int:
        """Return the offset of what is equal to the `length` bytes just written, which then go; or their own."""
        content = bytearray(self.Bytes[self.head : self.head + length])
        for place, _ in self._targets:
            content[offset - place : offset - place + _WORD] = bytes(_WORD)
        key = (kind, bytes(content), tuple((offset - place, target) for place, target in self._targets))
        if key not in self._known:
            self._known[key] = offset
        elif self._known[key] != offset:
            self.head = len(self.Bytes) - self._start
        return self._known[key]

    def PrependUOffsetTRelative(self, off: int) -> None:
        """Write the offset to something written before."""
        super().PrependUOffsetTRelative(off)
        self._targets.append((self.Offset(), off))

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> int:
        """Write a string, or find it."""
        self._begin(len(s.encode(encoding, errors) if isinstance(s, str) else s) + 1, 1)
        return int(super().CreateString(s, encoding, errors))

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        """Begin a vector."""
        if elemSize == 1:
            alignment = _DATA_ALIGNMENT if numElems >= _DATA_ALIGNMENT else _WORD
        self._begin(elemSize * numElems, alignment)
        return int(super().StartVector(elemSize, numElems, alignment))

    def EndVector(self, numElems: int | None = None) -> int:
        """Finish a vector or string, or find it."""
        return self._shared(int(super().EndVector()), self._alignment, _WORD + self._length)

    def StartObject(self, numfields: int) -> None:
        """Begin a table."""
        super().StartObject(numfields)
        self._begin(0, 0)

    def EndObject(self) -> int:
        """Finish a table, or find it."""
        before = self._start
        offset = int(super().EndObject())
        place = len(self.Bytes) - offset
        vtable = offset + int.from_bytes(self.Bytes[place : place + _WORD], "little", signed=True)
        if self.head != place:  # a layout was written in front of it, so there is no table like it
            return offset
        self._targets.append((offset, vtable))
        return self._shared(offset, "table", offset - before)
