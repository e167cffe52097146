"""What a model file is, read from its bytes alone: its format, and whether it points at data outside itself.

The reader of ONNX's protobuf here knows as much of the wire format as that takes (field numbers of onnx.proto3, fields
that hold messages), so that a board needs no `onnx` package. It reads no weights and follows no reference.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from edgelnn.errors import ModelFileError

__all__ = ["ModelFormat", "identify_model"]

ModelFormat = Literal["onnx", "tflite"]
Buffer = bytes | mmap.mmap

MAX_BYTES = 2**31 - 1  # Protobuf's and flatbuffers' own limit.
MAX_DEPTH = 32
MAX_FIELDS = 5_000_000  # More than any model that fits MAX_BYTES sensibly has; a few seconds of reading.

# Message type -> field number -> type of the messages held there. Everything else is skipped unread.
_MESSAGES: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # Fields of TensorProto; a location other than 0 is outside the file.


def identify_model(source: str | os.PathLike[str] | bytes) -> ModelFormat:
    """Return the format of a model file, judged by its bytes and not by its name.

    Args:
        source: Path of the file, or its bytes.

    Raises:
        ModelFileError: It is unreadable, empty, neither ONNX nor TFLite, or an ONNX file with external data.

    >>> identify_model(b"    TFL3 and so on")
    'tflite'
    """
    name = "the model" if isinstance(source, bytes) else str(source)
    with _opened(source, name) as data:
        if data[4:8] == b"TFL3":
            return "tflite"
        _check_onnx(data, name)
        return "onnx"


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes, name: str) -> Iterator[Buffer]:
    """Give the bytes of a model, mapped and not copied where they lie in a file."""
    if isinstance(source, bytes):
        if not source:
            raise ModelFileError(f"{name} is empty; expected the bytes of an .onnx or .tflite file.")
        yield source
        return
    try:
        path = Path(source)
        if path.is_dir():
            raise ModelFileError(f"{name} is a folder; expected an .onnx or .tflite file.")
        size = path.stat().st_size
        if not path.is_file():
            raise ModelFileError(f"{name} is not a regular file; expected an .onnx or .tflite file.")
        if size == 0:
            raise ModelFileError(f"{name} is empty; expected an .onnx or .tflite file.")
        if size > MAX_BYTES:
            raise ModelFileError(f"{name} has {size} bytes; neither format allows more than {MAX_BYTES}.")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data
    except (OSError, ValueError) as error:  # ValueError: a null character in the path.
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelFileError(f"cannot read the model file {name}: {reason}.") from error


def _check_onnx(data: Buffer, name: str) -> None:
    """Refuse what is not an ONNX model, and what keeps weights outside its own file."""
    seen: set[int] = set()
    count = 0
    # (message type, start, end, depth); a stack, so that nesting costs no recursion.
    pending = [("ModelProto", 0, len(data), 0)]
    try:
        while pending:
            message, start, end, depth = pending.pop()
            if depth > MAX_DEPTH:
                raise ModelFileError(f"{name} nests more than {MAX_DEPTH} levels deep; no sensible ONNX model does.")
            for number, value, first, last in _fields(data, start, end):
                count += 1
                if count > MAX_FIELDS:
                    raise ModelFileError(f"{name} has more than {MAX_FIELDS} protobuf fields; it is not opened.")
                if message == "ModelProto":
                    seen.add(number)
                if message == "TensorProto" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value)):
                    raise ModelFileError(
                        f"{name} keeps weights outside its own file (ONNX external data), which is refused because "
                        "such a reference can name any file; save the model with its weights inside."
                    )
                child = _MESSAGES[message].get(number)
                if child is not None:
                    if first < 0:
                        raise _Malformed
                    pending.append((child, first, last, depth + 1))
    except _Malformed:
        raise ModelFileError(
            f"{name} is neither an ONNX nor a TFLite model, or is cut short; copy or export it again."
        ) from None
    if not {1, 7} <= seen:  # ir_version and graph, which every model has.
        raise ModelFileError(f"{name} is neither an ONNX nor a TFLite model; expected an .onnx or .tflite file.")


class _Malformed(Exception):
    """The bytes are not protobuf of the kind expected."""


def _fields(data: Buffer, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Give (field number, integer value, start, end) of each field; start is -1 where the field is a plain number."""
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
            raise _Malformed
        if number == 0 or position > end:
            raise _Malformed
        yield number, value, first, last


def _varint(data: Buffer, position: int, end: int) -> tuple[int, int]:
    """Return a base-128 number of at most 10 bytes and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _Malformed
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _Malformed
