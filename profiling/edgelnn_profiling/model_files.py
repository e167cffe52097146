"""What a model file is, read from its bytes alone: its format, and whether it is fit to be opened.

It is read without any library, so that a board needs no `onnx` package, and before any runtime sees it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from edgelnn.errors import ModelFileError
from edgelnn_profiling.onnx_checks import check_onnx
from edgelnn_profiling.protobuf import Buffer
from edgelnn_profiling.tflite_checks import check_tflite

__all__ = ["ModelFormat", "check_model", "identify_model"]

ModelFormat = Literal["onnx", "tflite"]

MAX_BYTES: Final = 2**31 - 1  # Protobuf's and flatbuffers' own limit.


def identify_model(source: str | os.PathLike[str] | bytes) -> ModelFormat:
    """Return the format of a model file, judged by its bytes and not by its name.

    Args:
        source: Path of the file, or its bytes.

    Raises:
        ModelFileError: It is unreadable, empty, neither ONNX nor TFLite, or an ONNX file with external data.

    >>> identify_model(b"    TFL3 and so on")
    'tflite'
    """
    return _judge(source, strict=False)


def check_model(source: str | os.PathLike[str] | bytes) -> ModelFormat:
    """Return the format of a model file that is fit to be opened by a runtime.

    Its operators are those of `edgelnn_profiling.allowed_operators`, its tensors hold what they declare, nothing that
    it states is beyond all measure, its loops do not hold themselves, and all of it lies in the one file. What only
    shows when it runs is left to `edgelnn_profiling.probe.probe_model`.

    Args:
        source: Path of the file, or its bytes.

    Raises:
        ModelFileError: It is not; or as `identify_model`.

    >>> check_model(b"    TFL3 and so on")
    Traceback (most recent call last):
    edgelnn.errors.ModelFileError: the model is no sound TFLite model, or is cut short; copy or export it again.
    """
    return _judge(source, strict=True)


def _judge(source: str | os.PathLike[str] | bytes, *, strict: bool) -> ModelFormat:
    name = "the model" if isinstance(source, bytes) else str(source)
    with _opened(source, name) as data:
        if data[4:8] == b"TFL3":
            if strict:
                check_tflite(data, name)
            return "tflite"
        check_onnx(data, name, strict=strict)
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
