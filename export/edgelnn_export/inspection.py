"""What a model file holds: operators, tensors, the precision of each layer, and what its bytes are spent on.

The file is read as data and never run, but the readers are those of onnx and FlatBuffers: open a file from elsewhere
in a child process.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgelnn.errors import MissingExtraError, ModelFileError
from edgelnn_profiling.model_files import ModelFormat, identify_model

__all__ = ["CAUSES", "Inspection", "OperatorRecord", "Scheme", "TensorRecord", "Work", "inspect_model"]

Scheme = Literal["float", "weight_only", "dynamic_range", "static_range"]
Role = Literal["input", "output", "weight", "quantization", "table", "value"]

CAUSES: Final[Mapping[str, str]] = {
    "weights": "the numbers of weights and biases",
    "quantization": "scales and zero points",
    "tables": "shapes, axes and indices that operators take as constants",
    "operators": "the operators, their inputs, outputs and options, without names",
    "tensors": "types and shapes of tensors",
    "names": "names of operators and tensors",
    "metadata": "signatures, versions, descriptions and whatever else a runtime does not compute with",
    "structure": "alignment, and what holds the rest together",
}


@dataclass(frozen=True)
class TensorRecord:
    """One tensor of a file.

    Attributes:
        name: In the file.
        graph: "" for the main graph, otherwise the body it belongs to.
        shape: -1 where a length is free; None where the file does not say.
        dtype: As numpy names it where numpy can; "" where the file does not say.
        role: input or output of the file; weight; quantization (scale or zero point); table (a constant that
            says where and how, not how much); or a value that is computed.
        size_bytes: What is stored of it: 0 for what is computed.
        scales: How many scales it is quantized with: 0 for none, 1 per tensor, more per channel.
    """

    name: str
    graph: str
    shape: tuple[int, ...] | None
    dtype: str
    role: Role
    size_bytes: int = 0
    scales: int = 0


@dataclass(frozen=True)
class Work:
    """What one operator costs: fields of `OperatorRecord`."""

    macs: int | None
    runs: int | None


@dataclass(frozen=True)
class OperatorRecord:
    """One operator of a file.

    Attributes:
        name: Of the operator (ONNX), or of its first output (TFLite).
        type: As the format names it, with its domain where that is not the standard one.
        graph: "" for the main graph, otherwise the body it belongs to.
        inputs: Names of tensors; "" for one left out.
        outputs: Names of tensors.
        weights: Type in which its weights are stored; "" where it has none.
        activations: Type in which it takes what is computed; "" where the file does not say.
        macs: Multiply-accumulates for one image, all its runs together; products of matrices and convolutions count,
            and weights of zero do. None where the file does not say how large the product is, or how often it runs.
        runs: How often it runs for one image; None where the file does not say.
        scheme: How it computes: in floating point; in floating point with weights stored as integers or in half
            precision (weight_only); in integers, its inputs quantized as they come (dynamic_range) or with scales
            that the file fixes (static_range).
    """

    name: str
    type: str
    graph: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: str
    activations: str
    scheme: Scheme
    macs: int | None = 0
    runs: int | None = 1

    @property
    def precision(self) -> str:
        """The precision in a word or two, such as ``float32`` or ``int8 dynamic_range``."""
        if self.scheme == "float":
            return self.weights or self.activations
        if self.scheme == "static_range":
            both = self.weights and self.activations and self.weights != self.activations
            stored = f"{self.weights}×{self.activations}" if both else self.weights or self.activations
            return f"{stored} static_range"
        return f"{self.weights} {self.scheme}"


@dataclass(frozen=True)
class Inspection:
    """All that is known about a file without running it.

    Attributes:
        format: ``onnx`` or ``tflite``.
        size_bytes: Of the file.
        versions: What it asks of a runtime: IR and opset versions by domain, or the highest version of each operator.
        producer: Who wrote it, as far as it says.
        operators: In the order of the file, those in the bodies of loops too.
        tensors: Likewise.
        bytes_by_cause: By the keys of `CAUSES`; the sum is `size_bytes`.
    """

    format: ModelFormat
    size_bytes: int
    versions: Mapping[str, int]
    producer: str
    operators: tuple[OperatorRecord, ...]
    tensors: tuple[TensorRecord, ...]
    bytes_by_cause: Mapping[str, int]

    @property
    def layers(self) -> tuple[OperatorRecord, ...]:
        """The operators that have weights, those left out that only convert them."""
        return tuple(operator for operator in self.operators if operator.weights)

    @property
    def operator_counts(self) -> Mapping[str, int]:
        """How often each type of operator stands in the file, the most frequent first."""
        return dict(Counter(operator.type for operator in self.operators).most_common())

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates for one image; None where those of an operator are not known."""
        known = [operator.macs for operator in self.operators]
        return None if None in known else sum(macs or 0 for macs in known)

    @property
    def holds_integers(self) -> bool:
        """Whether weights are stored as integers, or anything is computed in integers: what may be called int8."""
        return any(o.scheme != "float" and not o.weights.startswith("float") for o in self.operators)


def inspect_model(source: str | os.PathLike[str] | bytes) -> Inspection:
    """Return what a model file holds.

    Args:
        source: Path of an .onnx or .tflite file, or its bytes.

    Raises:
        ModelFileError: It is neither, cut short, contradictory, or keeps its weights elsewhere.
        MissingExtraError: The library that reads the format is not installed.

    >>> import numpy as np
    >>> from edgelnn_export.graph_builder import GraphBuilder
    >>> from edgelnn_export.onnx_model import write_onnx
    >>> builder = GraphBuilder((1, 3), "channels_first")
    >>> found = inspect_model(write_onnx(builder.finish(builder.linear(builder.input, np.eye(3), np.zeros(3)))))
    >>> [(layer.type, layer.precision) for layer in found.layers], found.bytes_by_cause["weights"]
    ([('Gemm', 'float32')], 48)
    """
    model_format = identify_model(source)
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    name = "the model" if isinstance(source, bytes) else str(source)
    try:
        if model_format == "onnx":
            from edgelnn_export.formats.onnx_inspection import inspect_onnx as inspect
        else:
            from edgelnn_export.formats.tflite_inspection import inspect_tflite as inspect
    except ModuleNotFoundError as error:
        package = "onnx" if model_format == "onnx" else "ai-edge-litert"
        if (error.name or "").split(".")[0] not in (package.replace("-", "_"), "flatbuffers"):
            raise
        raise MissingExtraError(f"inspecting {model_format} files", package, "export") from error
    try:
        return inspect(content)
    except ModelFileError as error:
        raise ModelFileError(f"{name} {error}") from error
