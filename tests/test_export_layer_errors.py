"""Errors layer by layer: float32 files are exact, quantized ones noisy where they are quantized, strangers refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgelnn.bundle import Bundle
from edgelnn.errors import ModelFileError
from edgelnn.preprocessing import Layout
from edgelnn.run import Run
from edgelnn_export.formats.values import FileValues
from edgelnn_export.graph import Graph
from edgelnn_export.layer_errors import layer_errors
from edgelnn_export.lowering import lower
from edgelnn_export.making import LAYOUTS
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import RECIPES
from edgelnn_export.quantization.onnx_quantizer import quantize_onnx
from edgelnn_export.reference_evaluator import evaluate_values
from edgelnn_export.tflite_model import write_tflite
from tests.helpers import assert_one_clear_line, run_cli
from tests.operator_graphs import FUSED, GRAPHS, SEQUENCE, inputs_for, make_graph, small_graph
from tests.small_bundle import linear_onnx


@pytest.mark.parametrize("model_format", ["onnx", "tflite"])
@pytest.mark.parametrize("name", [*GRAPHS, *FUSED])
def test_every_value_that_is_found_is_the_graphs(name: str, model_format: str) -> None:
    layout: Layout = "channels_first" if model_format == "onnx" else "channels_last"
    graph: Graph = make_graph(SEQUENCE, FUSED[name], layout) if name in FUSED else small_graph(name, layout)
    content = write_onnx(graph) if model_format == "onnx" else write_tflite(graph)
    values = FileValues.of(content, graph, "onnx" if model_format == "onnx" else "tflite")
    named = [value for value in values.graph.shapes if values.name(value) is not None and value != graph.input]
    assert values.graph.output in named
    assert len(named) >= 0.5 * (len(values.graph.shapes) - 1)
    x = inputs_for(graph, 2)
    expected = evaluate_values(values.graph, x)
    found = values.compute(x, named)
    for value in named:
        np.testing.assert_allclose(found[value], expected[value], rtol=1e-5, atol=1e-5, err_msg=value)


def test_float32_files_are_exact_and_int8_ones_noisy(tiny_run: Run, tiny_bundle: Bundle) -> None:
    for variant in tiny_bundle.manifest.variants:
        errors = layer_errors(tiny_bundle.path(variant), tiny_run)
        assert errors[0].part == "stem"
        assert errors[-1].part == "output"
        assert errors[-1].largest <= 1
        if variant.recipe == "float32":
            assert max(error.max_error for error in errors) < 1e-5
            assert min(error.sqnr_db or math.inf for error in errors) > 100
        else:
            assert 20 < min(error.sqnr_db or math.inf for error in errors) < 60
            # What the answer strays by, here on the plain kernels.
            assert errors[-1].max_error == pytest.approx(variant.parity_max_error, rel=1.0)


def test_files_with_loops_are_found(tiny_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "small.tflite"
    graph = lower(tiny_run.load_classifier(), layout="channels_last", target="tflite", optimize="size")
    path.write_bytes(write_tflite(graph))
    errors = layer_errors(path, tiny_run)
    assert max(error.max_error for error in errors) < 1e-5
    assert errors[-1].part == "output"


def test_an_int8_value_is_seen_as_those_see_it_who_use_it(tiny_run: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    content = tiny_bundle.path(tiny_bundle.variant("onnx-float32")).read_bytes()
    images = tiny_run.preprocessing(tiny_run.load_dataset()["train"].images[:32], LAYOUTS["onnx"])
    path = tmp_path / "static.onnx"
    path.write_bytes(quantize_onnx(content, RECIPES["static_wi8_ai8"], images))
    errors = layer_errors(path, tiny_run)
    stem = [error for error in errors if error.part == "stem"]
    assert stem
    # Rounding to 255 steps of a range is at least this much noise.
    assert all(error.max_error > error.largest / 1000 for error in stem)
    assert all(15 < (error.sqnr_db or math.inf) < 60 for error in stem)


def test_a_spoiled_layer_is_where_the_error_begins(tiny_run: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    model = onnx.load(tiny_bundle.path(tiny_bundle.variant("onnx-float32")))
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    (weight,) = [each for each in model.graph.initializer if each.name == convolutions[1].input[1]]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.1), weight.name))
    path = tmp_path / "spoiled.onnx"
    path.write_bytes(model.SerializeToString())
    first, second, *_ = layer_errors(path, tiny_run)
    assert first.max_error < 1e-5
    assert second.max_error > 1e-2
    assert second.sqnr_db is not None
    assert second.sqnr_db < 30


def test_the_file_of_another_model_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(linear_onnx((28, 28, 1), 2))
    with pytest.raises(ModelFileError, match="exported from another run"):
        layer_errors(path, tiny_run)


def test_the_command_shows_them(tiny_run: Run, tiny_bundle: Bundle) -> None:
    shown = run_cli("inspect", tiny_bundle.folder, "--against", tiny_run.folder)
    assert shown.code == 0
    assert "SQNR, dB" in shown.out
    found = run_cli("inspect", tiny_bundle.folder, "--against", tiny_run.folder, "--json").json
    assert found["errors"][-1]["part"] == "output"
    assert {"name", "operator", "max_error", "sqnr_db", "largest", "elements"} < found["errors"][0].keys()
    assert_one_clear_line(run_cli("inspect", tiny_bundle.folder, "--against", tiny_bundle.folder), "run", code=[1, 2])
