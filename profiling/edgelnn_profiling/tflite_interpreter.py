"""LiteRT (``ai_edge_litert``), or tflite-runtime where that has no wheel, behind `AbstractRuntime`."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from typing import Any

import numpy as np

from edgelnn.errors import MissingExtraError, ModelFileError
from edgelnn.tensor import Tensor
from edgelnn_profiling.machine import is_arm32
from edgelnn_profiling.quiet import without_chatter
from edgelnn_profiling.runtimes import AbstractRuntime, Array, checked_tensor, one_line, only_one

__all__ = ["TfliteRuntime"]

_PACKAGES = (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))
_CHATTER = (b"Created TensorFlow Lite XNNPACK delegate for CPU",)


def import_interpreter() -> tuple[type[Any], str, str]:
    """Return the Interpreter class, the name of the package it came from and its version.

    Raises:
        MissingExtraError: Neither package is installed.
        ModelFileError: The one installed does not import.
    """
    for module, package in _PACKAGES:
        try:
            interpreter = importlib.import_module(f"{module}.interpreter")
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.split(".")[0] == module:
                continue
            raise ModelFileError(f"{package} is installed but does not import: {error}. Install it again.") from error
        except ImportError as error:
            raise ModelFileError(f"{package} is installed but does not import: {error}. Install it again.") from error
        version = str(getattr(importlib.import_module(module), "__version__", "") or _installed_version(package))
        return interpreter.Interpreter, package, version
    if is_arm32() and sys.version_info >= (3, 12):
        raise ModelFileError(
            "the last TFLite runtime for 32-bit ARM (tflite-runtime 2.14) needs Python 3.11 or older, and this is "
            f"{platform.python_version()}: use Raspberry Pi OS 12 (bookworm), or a 64-bit system."
        )
    raise MissingExtraError("running a .tflite file", "ai-edge-litert or tflite-runtime", "tflite")


def _installed_version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


class TfliteRuntime(AbstractRuntime):
    """An interpreter with XNNPACK, as LiteRT sets it up by itself."""

    format = "tflite"

    def __init__(self, source: str | os.PathLike[str] | bytes, *, threads: int = 1) -> None:
        interpreter, self.name, self.version = import_interpreter()
        self.threads = threads
        self.model = "the TFLite model" if isinstance(source, bytes) else str(source)
        given = {"model_content": source} if isinstance(source, bytes) else {"model_path": os.fspath(source)}
        try:
            with without_chatter(*_CHATTER):
                self._interpreter = interpreter(**given, num_threads=threads)
                self._interpreter.allocate_tensors()
            inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            signatures = self._interpreter.get_signature_list()
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelFileError(f"{self.name} {self.version} cannot load {self.model}: {one_line(error)}") from error
        only_one("input", self.model, [str(tensor["name"]) for tensor in inputs])
        only_one("output", self.model, [str(tensor["name"]) for tensor in outputs])
        # The name a signature gives is the one its author chose; a tensor's own name carries a prefix.
        names = next(iter(signatures.values())) if len(signatures) == 1 else {"inputs": [], "outputs": []}
        self.input = self._describe("input", inputs[0], names["inputs"])
        self.output = self._describe("output", outputs[0], names["outputs"])
        self._input_index, self._output_index = int(inputs[0]["index"]), int(outputs[0]["index"])
        self._batch = int(inputs[0]["shape"][0])

    def _describe(self, kind: str, tensor: Any, names: list[str]) -> Tensor:
        lengths = [int(length) for length in tensor["shape_signature"]] or [int(length) for length in tensor["shape"]]
        shape = tuple(None if length < 0 else length for length in lengths)
        name = str(names[0] if len(names) == 1 else tensor["name"])
        return checked_tensor(kind, self.model, name, shape, np.dtype(tensor["dtype"]).name)

    def set_input(self, array: Array) -> None:
        """Copy an array into the input tensor, resized first where the batch size changes."""
        try:
            if array.shape[0] != self._batch:
                self._interpreter.resize_tensor_input(self._input_index, array.shape, strict=True)
                self._interpreter.allocate_tensors()
                self._batch = array.shape[0]
            self._interpreter.set_tensor(self._input_index, array)
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(
                f"{self.name} {self.version} does not take an input of shape {array.shape} for {self.model}: "
                f"{one_line(error)}"
            ) from error

    def invoke(self) -> None:
        """Invoke the interpreter."""
        try:
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"{self.name} {self.version} fails on {self.model}: {one_line(error)}") from error

    def get_output(self) -> Array:
        """Return a copy of the output last computed."""
        output: Array = self._interpreter.get_tensor(self._output_index)
        return output
