"""From a trained model to the bytes of each candidate: lowered and written once per format, then quantized."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from edgelnn.bundle import ModelFormat
from edgelnn.choice import CalibrationTrial, LayerTrial
from edgelnn.errors import ExportError
from edgelnn.models import Classifier
from edgelnn.preprocessing import Layout, Preprocessing
from edgelnn_export.graph import Graph
from edgelnn_export.inspection import inspect_model
from edgelnn_export.lowering import Optimize, lower
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import RECIPES, Candidate, Recipe
from edgelnn_export.quantization.onnx_quantizer import layer_names, plan_onnx, quantize_onnx
from edgelnn_export.quantization.ranges import Calibration
from edgelnn_export.quantization.scope import Plan
from edgelnn_export.quantization.sensitivity import Loss, choose_calibration, choose_plan
from edgelnn_export.quantization.tflite_quantizer import plan_tflite, quantize_tflite
from edgelnn_export.tflite_model import write_tflite

__all__ = ["LAYOUTS", "Maker"]

LAYOUTS: Final[dict[ModelFormat, Layout]] = {"onnx": "channels_first", "tflite": "channels_last"}
_UNCHANGED: Final = "the quantizer changed nothing: no weight and no product in the file is an integer one"


@final
class Maker:
    """Makes files of one trained model.

    Args:
        classifier: The trained model.
        preprocessing: From pixels to what files take.
        calibration: Images to calibrate static recipes on: (n, [d,] h, w, c) uint8.
        judge: Says what a file loses on the validation split: by that, calibrations and the layers of a mixed file are
            chosen. Without it ranges go from minimum to maximum, and a mixed file is quantized wherever it can be.
        optimize: What recurrences are written for.

    Attributes:
        calibrations: What was found of each calibration of the files made so far.
        layers: What was found of each layer of mixed files.
    """

    def __init__(
        self,
        classifier: Classifier,
        preprocessing: Preprocessing,
        calibration: NDArray[np.uint8],
        judge: Callable[[bytes, ModelFormat], Loss] | None = None,
        *,
        optimize: Optimize = "latency",
    ) -> None:
        self._classifier = classifier
        self._preprocessing = preprocessing
        self._images = calibration
        self._judge = judge
        self._optimize = optimize
        self.graph = cache(self._graph)
        self._float32 = cache(self._write)
        self._inputs = cache(self._preprocess)
        self._calibration = cache(self._choose_calibration)
        self.calibrations: tuple[CalibrationTrial, ...] = ()
        self.layers: tuple[LayerTrial, ...] = ()

    def make(self, candidate: Candidate) -> bytes:
        """Return the bytes of a candidate's file.

        Raises:
            ExportError: The model has no such form, or quantizing changed nothing.
        """
        if not candidate.recipe.is_quantized:
            return self._float32(candidate.format)
        recipe = candidate.recipe
        plan = self._plan(candidate)
        calibration: Calibration = "min_max"
        if recipe.activations == "i8" and any(scheme == "static" for scheme in plan.values()):
            calibration = self._calibration(candidate.format)
        if recipe.range == "mixed" and self._judge is not None:
            judge = self._judge
            plan, layers = choose_plan(
                candidate.name,
                plan,
                lambda each: self._quantize(candidate.format, recipe, each, calibration),
                lambda data: judge(data, candidate.format),
            )
            names = layer_names(self._float32(candidate.format)) if candidate.format == "onnx" else {}
            self.layers += tuple(replace(each, layer=names.get(each.layer, each.layer)) for each in layers)
        data = self._quantize(candidate.format, recipe, plan, calibration)
        if recipe.holds_integers and not inspect_model(data).holds_integers:
            raise ExportError(_UNCHANGED)
        if data == self._float32(candidate.format):
            raise ExportError(_UNCHANGED)
        return data

    def _plan(self, candidate: Candidate) -> Plan:
        find = plan_onnx if candidate.format == "onnx" else plan_tflite
        return find(self._float32(candidate.format), candidate.recipe)

    def _quantize(self, model_format: ModelFormat, recipe: Recipe, plan: Plan, calibration: Calibration) -> bytes:
        images = self._inputs(LAYOUTS[model_format]) if recipe.needs_calibration else None
        quantize = quantize_onnx if model_format == "onnx" else quantize_tflite
        return quantize(self._float32(model_format), recipe, images, calibration=calibration, plan=plan)

    def _choose_calibration(self, model_format: ModelFormat) -> Calibration:
        """Return the rule of calibration for a format's static files, found on the wholly static one."""
        if self._judge is None:
            return "min_max"
        judge, recipe = self._judge, RECIPES["static_wi8_ai8"]
        candidate = Candidate(model_format, recipe, required=False)
        plan = self._plan(candidate)
        best, trials = choose_calibration(
            candidate.name,
            lambda each: self._quantize(model_format, recipe, plan, each),
            lambda data: judge(data, model_format),
        )
        self.calibrations += trials
        return best

    def _preprocess(self, layout: Layout) -> NDArray[Any]:
        return self._preprocessing(self._images, layout)

    def float32_bytes(self, model_format: ModelFormat) -> int:
        """Return the size of the float32 file of a format."""
        return len(self._float32(model_format))

    def _graph(self, model_format: ModelFormat) -> Graph:
        return lower(
            self._classifier,
            layout=LAYOUTS[model_format],
            target=model_format,
            optimize=self._optimize,
            preprocessing=self._preprocessing,
        )

    def _write(self, model_format: ModelFormat) -> bytes:
        graph = self.graph(model_format)
        return write_onnx(graph) if model_format == "onnx" else write_tflite(graph)
