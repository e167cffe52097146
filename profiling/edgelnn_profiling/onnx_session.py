"""ONNX Runtime behind `AbstractRuntime`: CPU only, no spinning threads, quiet."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from edgelnn.errors import MissingExtraError, ModelFileError
from edgelnn_profiling.machine import is_arm32
from edgelnn_profiling.quiet import without_chatter
from edgelnn_profiling.runtimes import AbstractRuntime, Array, checked_tensor, one_line, only_one

__all__ = ["OnnxRuntime"]

_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int16)": "int16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}


def import_onnxruntime() -> Any:
    """Return the onnxruntime module, kept from reporting home.

    From 1.29 its published builds send the names and digests of models to their maker, from a thread that also takes
    time and memory, unless ``ORT_DISABLE_TELEMETRY`` is 1 before they are loaded. A value that is set already stays.

    Raises:
        ModelFileError: This is a 32-bit ARM system, for which there is none.
        MissingExtraError: It is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        with without_chatter():  # It looks for graphics cards while being imported, and says so where it finds none.
            import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        if is_arm32():
            raise ModelFileError(
                "ONNX Runtime has never been published for 32-bit ARM (armv7l): use the bundle's .tflite files here, "
                "or a 64-bit Raspberry Pi OS."
            ) from error
        raise MissingExtraError("running an .onnx file", "onnxruntime", "onnx") from error
    return onnxruntime


class OnnxRuntime(AbstractRuntime):
    """A session whose input and output are bound once, so that `invoke` is the runtime's own work alone.

    Args:
        source: Path of an .onnx file, or its bytes.
        threads: That the runtime may use.
        profile_prefix: Where the runtime's own profiler writes to, which slows it down; nowhere where it is None.
    """

    name = "onnxruntime"
    format = "onnx"

    def __init__(
        self, source: str | os.PathLike[str] | bytes, *, threads: int = 1, profile_prefix: str | None = None
    ) -> None:
        runtime = import_onnxruntime()
        self.version = str(runtime.__version__)
        self.threads = threads
        self.model = "the ONNX model" if isinstance(source, bytes) else str(source)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # Failures come as exceptions.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        self._errors: tuple[type[Exception], ...] = (RuntimeError, ValueError, *_error_types(runtime))
        try:
            with without_chatter():
                self._session = runtime.InferenceSession(
                    source if isinstance(source, bytes) else os.fspath(source),
                    options,
                    providers=["CPUExecutionProvider"],
                )
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            # A name that is not text shows itself here.
            names = {"input": [one.name for one in inputs], "output": [one.name for one in outputs]}
        except self._errors as error:
            raise ModelFileError(f"ONNX Runtime {self.version} cannot load {self.model}: {one_line(error)}") from error
        only_one("input", self.model, names["input"])
        only_one("output", self.model, names["output"])
        self.input = self._describe("input", inputs[0])
        self.output = self._describe("output", outputs[0])
        self._from_numpy = runtime.OrtValue.ortvalue_from_numpy
        self._buffer: Array = np.empty(0)
        self._binding: Any = None

    def _describe(self, kind: str, tensor: Any) -> Any:
        if tensor.type not in _TYPES:
            raise ModelFileError(f"{self.model} has an {kind} of {tensor.type}; expected a tensor of numbers.")
        shape = tuple(length if isinstance(length, int) and length >= 0 else None for length in tensor.shape)
        return checked_tensor(kind, self.model, tensor.name, shape, _TYPES[tensor.type])

    def set_input(self, array: Array) -> None:
        """Copy an array into the bound input; binding is done anew when the batch size changes."""
        if self._binding is None or self._buffer.shape != array.shape:
            self._buffer = np.ascontiguousarray(array).copy()
            self._binding = self._session.io_binding()
            # On the CPU the value shares the memory of the numpy array, which the binding keeps using.
            self._binding.bind_ortvalue_input(self.input.name, self._from_numpy(self._buffer))
            self._binding.bind_output(self.output.name)
        else:
            self._buffer[...] = array

    def invoke(self) -> None:
        """Run the session on what is bound."""
        try:
            self._session.run_with_iobinding(self._binding)
        except self._errors as error:
            raise ModelFileError(f"ONNX Runtime {self.version} fails on {self.model}: {one_line(error)}") from error

    def get_output(self) -> Array:
        """Return a copy of the output last computed."""
        output: Array = self._binding.copy_outputs_to_cpu()[0]
        return output

    def end_profiling(self) -> str:
        """End what `profile_prefix` began, and return the path of the profile."""
        return str(self._session.end_profiling())


def _error_types(runtime: Any) -> tuple[type[Exception], ...]:
    """Return the exceptions of ONNX Runtime, which share no base class of their own."""
    state = runtime.capi.onnxruntime_pybind11_state
    return tuple(value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception))
