"""Inspect a model file in a process of its own, so that a file made to crash its reader crashes no one else.

python -m edgelnn_export.inspect_apart FILE    answers with one line of JSON
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from edgelnn.decode import DecodeError, decode, encode, parse_json
from edgelnn.errors import EdgelnnError, MissingExtraError, ModelFileError
from edgelnn_export.inspection import Inspection, inspect_model
from edgelnn_profiling.model_files import identify_model
from edgelnn_profiling.probe import how_it_ended, limit_this_process

__all__ = ["inspect_apart"]


def inspect_apart(path: str | os.PathLike[str], *, timeout_s: float = 120.0) -> Inspection:
    """Return what a model file holds, having read it in a process of its own; otherwise as `inspect_model`.

    Args:
        path: Of an .onnx or .tflite file.
        timeout_s: Seconds until the child is ended.

    Raises:
        ModelFileError: As `inspect_model`; or the file crashes its reader, or keeps it busy for too long.
        MissingExtraError: The library that reads the format is not installed.
    """
    model_format = identify_model(path)
    # -P: a module that lies in the current folder is not what is meant by its name.
    command = [sys.executable, "-P", "-m", "edgelnn_export.inspect_apart", str(Path(path).absolute())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"{path} was given up: it could not be read within {timeout_s:g} s.") from error
    except OSError as error:
        raise ModelFileError(f"cannot start a process to read {path}: {error.strerror}.") from error
    if done.returncode != 0:
        raise ModelFileError(f"{path} {how_it_ended(done.returncode)} when read in a process of its own.")
    try:
        answer: Any = parse_json(done.stdout.splitlines()[-1])
        if answer["kind"] == "found":
            return decode(Inspection, answer["inspection"])
        message = str(answer["message"])
    except (DecodeError, IndexError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} holds what cannot be shown, such as names that are not text.") from error
    if answer["kind"] == "MissingExtraError":
        package = "onnx" if model_format == "onnx" else "ai-edge-litert"
        raise MissingExtraError(f"inspecting {model_format} files", package, "export")
    raise ModelFileError(message)


def _answer(path: str) -> dict[str, object]:
    try:
        return {"kind": "found", "inspection": encode(inspect_model(path))}
    except EdgelnnError as error:
        return {"kind": type(error).__name__, "message": str(error)}


if __name__ == "__main__":
    limit_this_process()
    sys.stdout.write(json.dumps(_answer(sys.argv[1])) + "\n")
