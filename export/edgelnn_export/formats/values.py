"""What a file computes on the way to its answer, found by the names of the graph that it was written from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.bundle import ModelFormat
from edgelnn_export.graph import Graph

__all__ = ["FileValues"]

Floats = NDArray[Any]  # floating


class FileValues(ABC):
    """The values of one file.

    Attributes:
        graph: As the writer wrote it, recurrences written out where the format has none.
    """

    graph: Graph

    @staticmethod
    def of(content: bytes, graph: Graph, model_format: ModelFormat) -> FileValues:
        """Return the values of a file that was written from a graph, or quantized after that.

        Args:
            content: The file.
            graph: As lowered.
            model_format: Of the file.
        """
        if model_format == "onnx":
            from edgelnn_export.formats.onnx_values import OnnxValues

            return OnnxValues(content, graph)
        from edgelnn_export.formats.tflite_values import TfliteValues

        return TfliteValues(content, graph)

    @abstractmethod
    def name(self, value: str) -> str | None:
        """Return the name that a value of the graph has in the file, None where the file has no such value."""

    @abstractmethod
    def title(self, value: str) -> str:
        """Return what people know a value of the file by."""

    @abstractmethod
    def compute_one(self, array: Floats, values: Sequence[str]) -> list[Floats]:
        """Return values of the graph for one image, as floating point numbers and in the graph's order of axes."""

    def compute(self, array: Floats, values: Sequence[str]) -> dict[str, Floats]:
        """Return values of the graph by name, computed image by image.

        Args:
            array: (n, …), the file's input.
            values: Names in the graph; all in the file.
        """
        images = [self.compute_one(array[i : i + 1], values) for i in range(len(array))]
        return {value: np.concatenate(found) for value, found in zip(values, zip(*images, strict=True), strict=True)}
