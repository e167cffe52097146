"""One interface to the runtimes that a board has: ONNX Runtime, and LiteRT or tflite-runtime.

`load_runtime` hands the file to a C++ library in this very process. That is right for files of our own making; one from
elsewhere is tried in a child process first (`edgelnn_profiling.probe.probe_model`).
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import ConfigError, ModelFileError
from edgelnn.tensor import Tensor

if TYPE_CHECKING:
    from edgelnn_profiling.model_files import ModelFormat

__all__ = ["AbstractRuntime", "import_runtime", "load_runtime", "open_runtime", "random_input"]

Array = NDArray[Any]
MAX_INPUT_BYTES = 2**30


def load_runtime(source: str | os.PathLike[str] | bytes, *, threads: int = 1) -> AbstractRuntime:
    """Load a model file into the runtime for its format.

    Args:
        source: Path of an .onnx or .tflite file, or its bytes.
        threads: Threads the runtime may use; more than one seldom pays for networks this small.

    Returns:
        The runtime, ready to run.

    Raises:
        ModelFileError: The file is not a model, or not one with a single input and a single output of known shape.
        MissingExtraError: The runtime for this format is not installed.

    >>> load_runtime(b"not a model")
    Traceback (most recent call last):
    edgelnn.errors.ModelFileError: the model is neither an ONNX nor a TFLite model, or is cut short; ...
    """
    from edgelnn_profiling.model_files import check_model  # Not needed where a file has been checked before.

    return open_runtime(source, check_model(source), threads=threads)


def open_runtime(
    source: str | os.PathLike[str] | bytes, model_format: ModelFormat, *, threads: int = 1
) -> AbstractRuntime:
    """Load a file that was found fit to be opened (see `check_model`); otherwise as `load_runtime`."""
    if threads < 1:
        raise ConfigError(f"got threads={threads}; expected 1 or more.")
    if model_format == "onnx":
        from edgelnn_profiling.onnx_session import OnnxRuntime

        return OnnxRuntime(source, threads=threads)
    from edgelnn_profiling.tflite_interpreter import TfliteRuntime

    return TfliteRuntime(source, threads=threads)


def import_runtime(model_format: ModelFormat) -> None:
    """Import the runtime for a format, so that what comes next is the model's own cost.

    Raises:
        MissingExtraError: It is not installed.
        ModelFileError: It cannot be had here, or does not import.
    """
    if model_format == "onnx":
        from edgelnn_profiling.onnx_session import import_onnxruntime

        import_onnxruntime()
    else:
        from edgelnn_profiling.tflite_interpreter import import_interpreter

        import_interpreter()


class AbstractRuntime(ABC):
    """A model loaded into a runtime; the three steps of `run` stand alone too, so that each can be timed.

    Attributes:
        name: The runtime: ``onnxruntime``, ``ai-edge-litert`` or ``tflite-runtime``.
        version: Of the runtime.
        format: ``onnx`` or ``tflite``.
        threads: How many it may use.
        model: Path of the file, or words for it where bytes were given.
        input: The model's input; -1 in its shape stands for any batch size.
        output: The model's output.
    """

    name: str
    version: str
    format: ModelFormat
    threads: int
    model: str
    input: Tensor
    output: Tensor

    def run(self, array: Array) -> Array:
        """Return the model's answers.

        Args:
            array: Shape and type as in `input`. A batch of any size is taken, one example at a time where the
                model's own batch size is fixed at 1.

        Raises:
            ModelFileError: The array does not fit the model, or the runtime fails on it.
        """
        self.check(array)
        if self.input.shape[0] == 1 and array.shape[0] != 1:
            return np.concatenate([self._run_one(array[index : index + 1]) for index in range(array.shape[0])])
        return self._run_one(array)

    def _run_one(self, array: Array) -> Array:
        self.set_input(array)
        self.invoke()
        return self.get_output()

    @property
    def takes_any_batch(self) -> bool:
        """Whether the model takes a batch of any size in one call."""
        return self.input.shape[0] == -1

    def check(self, array: Array) -> None:
        """Refuse an array that does not fit the model's input."""
        if array.dtype != np.dtype(self.input.dtype):
            raise ModelFileError(f"got an input of {array.dtype}; {self.model} takes {self.input.dtype}.")
        if array.ndim != len(self.input.shape) or array.shape[1:] != self.input.shape[1:] or array.shape[0] < 1:
            raise ModelFileError(f"got an input of shape {array.shape}; {self.model} takes {self.input.shape}.")
        if self.input.shape[0] > 1 and array.shape[0] != self.input.shape[0]:
            raise ModelFileError(f"got a batch of {array.shape[0]}; {self.model} takes {self.input.shape[0]} at once.")

    @abstractmethod
    def set_input(self, array: Array) -> None:
        """Copy an array (one that passes `check`) into the runtime's input."""

    @abstractmethod
    def invoke(self) -> None:
        """Compute the output from the input last set."""

    @abstractmethod
    def get_output(self) -> Array:
        """Return a copy of the output last computed."""


def random_input(tensor: Tensor, *, seed: int, batch: int = 1) -> Array:
    """Return an input for a model of which nothing more is known: uniform in [0, 1), or over the whole range of bytes.

    Args:
        tensor: The model's input.
        seed: Equal seeds give equal arrays.
        batch: Examples, where the model takes any number of them.

    >>> random_input(Tensor("image", (-1, 1, 28, 28), "float32"), seed=0).shape
    (1, 1, 28, 28)
    """
    shape = (batch if tensor.shape[0] == -1 else tensor.shape[0], *tensor.shape[1:])
    generator = np.random.default_rng(seed)
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return generator.random(shape, dtype=np.float32).astype(dtype)
    if dtype.itemsize == 1:
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    # Whole numbers this wide are mostly indices, of which 0 and 1 are the likeliest to exist.
    return generator.integers(0, 2, shape).astype(dtype)


def checked_tensor(kind: str, model: str, name: str, shape: tuple[int | None, ...], dtype: str) -> Tensor:
    """Return the description of a model's input or output.

    Args:
        kind: ``input`` or ``output``.
        model: What to call the file.
        name: Of the tensor.
        shape: None stands for an unknown length.
        dtype: As numpy names it.

    Raises:
        ModelFileError: A length other than the batch's is unknown, or the input is beyond all measure.
    """
    if kind == "input":
        if not shape or any(length is None or length < 1 for length in shape[1:]) or shape[0] == 0:
            words = tuple("?" if length is None else length for length in shape)
            raise ModelFileError(
                f"{model} has an input '{name}' of shape {words}; expected fixed lengths on every axis but the first "
                "(the batch). Export it with a fixed input shape."
            )
        size = np.dtype(dtype).itemsize
        for length in shape:
            size *= length or 1
        if size > MAX_INPUT_BYTES:
            raise ModelFileError(
                f"{model} takes {size} bytes of input at once; more than {MAX_INPUT_BYTES} is refused."
            )
    return Tensor(name, tuple(-1 if length is None else length for length in shape), dtype)


def only_one(kind: str, model: str, names: list[str]) -> None:
    """Refuse a model that has not exactly one input, or output."""
    if len(names) != 1:
        listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise ModelFileError(f"{model} has {len(names)} {kind}s ({listed}); edgelnn runs models with one {kind}.")


def one_line(error: Exception) -> str:
    """Return what a runtime said, in one line of bearable length."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:299] + "…"
