"""From a trained model to the bytes of each candidate: lowered and written once per format, then quantized."""

from __future__ import annotations

from functools import cache
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from edgelnn.bundle import ModelFormat
from edgelnn.errors import ExportError
from edgelnn.models import Classifier
from edgelnn.preprocessing import Layout, Preprocessing
from edgelnn_export.graph import Graph
from edgelnn_export.inspection import inspect_model
from edgelnn_export.lowering import lower
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import Candidate
from edgelnn_export.quantization.onnx_quantizer import quantize_onnx
from edgelnn_export.quantization.tflite_quantizer import quantize_tflite
from edgelnn_export.tflite_model import write_tflite

__all__ = ["LAYOUTS", "Maker"]

LAYOUTS: Final[dict[ModelFormat, Layout]] = {"onnx": "channels_first", "tflite": "channels_last"}


@final
class Maker:
    """Makes files of one trained model.

    Args:
        classifier: The trained model.
        preprocessing: From pixels to its input.
        calibration: Images to calibrate static recipes on: (n, [d,] h, w, c) uint8.
    """

    def __init__(self, classifier: Classifier, preprocessing: Preprocessing, calibration: NDArray[np.uint8]) -> None:
        self._classifier = classifier
        self._preprocessing = preprocessing
        self._calibration = calibration
        self.graph = cache(self._graph)
        self._float32 = cache(self._write)

    def make(self, candidate: Candidate) -> bytes:
        """Return the bytes of a candidate's file.

        Raises:
            ExportError: The model has no such form, or quantizing changed nothing.
        """
        data = self._float32(candidate.format)
        if not candidate.recipe.is_quantized:
            return data
        images = None
        if candidate.recipe.needs_calibration:
            images = self._preprocessing(self._calibration, LAYOUTS[candidate.format])
        quantize = quantize_onnx if candidate.format == "onnx" else quantize_tflite
        quantized = quantize(data, candidate.recipe, images)
        if not inspect_model(quantized).holds_integers:
            raise ExportError("the quantizer changed nothing: no weight and no product in the file is an integer one")
        return quantized

    def float32_bytes(self, model_format: ModelFormat) -> int:
        """Return the size of the float32 file of a format."""
        return len(self._float32(model_format))

    def _graph(self, model_format: ModelFormat) -> Graph:
        return lower(self._classifier, layout=LAYOUTS[model_format], target=model_format)

    def _write(self, model_format: ModelFormat) -> bytes:
        graph = self.graph(model_format)
        return write_onnx(graph) if model_format == "onnx" else write_tflite(graph)
