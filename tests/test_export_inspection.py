"""Inspection: what a file holds is found, in both formats and every precision, and nothing hostile does harm."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn.errors import ModelFileError
from edgelnn_export.formats import tflite_inspection
from edgelnn_export.formats.tflite_packing import pack_model
from edgelnn_export.inspection import CAUSES, inspect_model
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.tflite_model import write_tflite
from tests.operator_graphs import FUSED, GRAPHS, SEQUENCE, inputs_for, make_graph, quantize_tflite, small_graph


def onnx_file(name: str) -> bytes:
    if name in FUSED:
        return write_onnx(make_graph(SEQUENCE, FUSED[name], "channels_first"))
    return write_onnx(small_graph(name, "channels_first"))


def tflite_file(name: str) -> bytes:
    return write_tflite(small_graph(name, "channels_last"))


FILES = [("onnx", name) for name in (*GRAPHS, *FUSED)] + [("tflite", name) for name in GRAPHS]


def file_named(model_format: str, name: str) -> bytes:
    return onnx_file(name) if model_format == "onnx" else tflite_file(name)


@pytest.mark.parametrize(("model_format", "name"), FILES)
def test_every_byte_has_a_cause(model_format: str, name: str) -> None:
    content = file_named(model_format, name)
    found = inspect_model(content)
    assert found.format == model_format
    assert set(found.bytes_by_cause) == set(CAUSES)
    assert min(found.bytes_by_cause.values()) >= 0
    assert sum(found.bytes_by_cause.values()) == found.size_bytes == len(content)
    stored = sum(tensor.size_bytes for tensor in found.tensors if tensor.role == "weight" and not tensor.graph)
    if "loop" not in name:
        assert found.bytes_by_cause["weights"] == stored
    assert not found.holds_integers
    assert {layer.precision for layer in found.layers} <= {"float32"}


@pytest.mark.parametrize(
    ("read", "layers"),
    [
        (onnx_file, ["Conv", *["Gemm"] * 8]),
        (tflite_file, ["CONV_2D", *["FULLY_CONNECTED"] * 8]),
    ],
)
def test_layers_of_a_network(read: Callable[[str], bytes], layers: list[str]) -> None:
    found = inspect_model(read("whole_network"))
    assert [layer.type for layer in found.layers] == layers
    assert [layer.name.split("/")[0] for layer in found.layers] == ["stem", *["head"] * 7, "output"]
    roles = {tensor.name: tensor.role for tensor in found.tensors}
    assert (roles["image"], roles["probabilities"]) == ("input", "output")
    shapes = {tensor.name: tensor.shape for tensor in found.tensors}
    assert (shapes["image"], shapes["probabilities"]) in [((-1, 1, 8, 8), (-1, 3)), ((-1, 8, 8, 1), (-1, 3))]
    assert found.operator_counts["Tanh" if found.format == "onnx" else "TANH"] == 4
    assert list(found.operator_counts.values()) == sorted(found.operator_counts.values(), reverse=True)


def test_data_that_two_tensors_share_is_weighed_once() -> None:
    model = schema.ModelT.InitFromPackedBuf(tflite_file("whole_network"), 0)
    largest = max((buffer for buffer in model.buffers if buffer.data is not None), key=lambda buffer: len(buffer.data))
    for buffer in model.buffers:
        if buffer.data is not None and len(buffer.data) == len(largest.data):
            buffer.data = largest.data
    before = len(model.buffers)
    for _ in range(8):
        model.buffers.append(schema.BufferT(data=largest.data.copy()))
        spare = schema.TensorT(shape=[len(largest.data)], type=schema.TensorType.INT8, buffer=len(model.buffers) - 1)
        spare.name = b"spare%d" % len(model.buffers)
        model.subgraphs[0].tensors.append(spare)
    assert len(model.buffers) == before + 8
    content = pack_model(model)
    assert sum(inspect_model(content).bytes_by_cause.values()) == len(content)


def test_versions_and_producer() -> None:
    found = inspect_model(onnx_file("lstm"))
    assert (found.versions, found.producer) == ({"ir": 8, "onnx": 17}, "edgelnn")
    found = inspect_model(tflite_file("linear_of_steps_without_bias"))
    assert (found.versions, found.producer) == ({"schema": 3, "FULLY_CONNECTED": 6}, "")


def test_bodies_of_loops_are_read() -> None:
    for content in (onnx_file("loop_nested"), tflite_file("loop_nested")):
        found = inspect_model(content)
        graphs = {operator.graph for operator in found.operators}
        assert "" in graphs
        assert len(graphs) >= 3
        assert {layer.type for layer in found.layers} <= {"Gemm", "MatMul", "FULLY_CONNECTED"}
        assert len(found.layers) == 2


def test_a_path_is_read_like_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.of.any.name"
    path.write_bytes(tflite_file("linear"))
    assert inspect_model(path) == inspect_model(path.read_bytes())


@pytest.mark.parametrize(
    ("recipe", "precision"),
    [
        ("dynamic_wi8_afp32", "int8 dynamic_range"),
        ("weight_only_wi8_afp32", "int8 weight_only"),
        ("static_wi8_ai8", "int8 static_range"),
    ],
)
def test_precision_of_tflite_recipes(recipe: str, precision: str) -> None:
    graph = small_graph("whole_network", "channels_last")
    content = quantize_tflite(write_tflite(graph), recipe, [inputs_for(graph, 1, seed) for seed in range(4)])
    found = inspect_model(content)
    assert {layer.precision for layer in found.layers} == {precision}
    assert found.holds_integers
    assert found.bytes_by_cause["weights"] < 350 < 1012 == inspect_model(write_tflite(graph)).bytes_by_cause["weights"]
    assert found.bytes_by_cause["quantization"] > 0
    weights = [t for t in found.tensors if t.role == "weight" and t.dtype == "int8"]
    assert max(tensor.scales for tensor in weights) == 5  # per channel
    packed = inspect_model(pack_model(schema.ModelT.InitFromPackedBuf(content)))
    assert packed.layers == found.layers


def quantize_onnx(content: bytes, folder: Path, *, static: bool, graph_inputs: list[np.ndarray]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the quantizer's, about how it is imported and used
        from onnxruntime import quantization

        source, target = folder / "float.onnx", folder / "int8.onnx"
        source.write_bytes(content)
        if not static:
            quantization.quantize_dynamic(source, target)
            return target.read_bytes()

        class Reader(quantization.CalibrationDataReader):
            def __init__(self) -> None:
                self.feeds = iter([{"image": x} for x in graph_inputs])

            def get_next(self) -> dict[str, np.ndarray] | None:
                return next(self.feeds, None)

        quantization.quantize_static(source, target, Reader(), per_channel=True)
        return target.read_bytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "static", "expected"),
    [
        ("linear_of_steps", False, {"MatMulInteger": "int8 dynamic_range", "Add": "float32"}),
        ("lstm", False, {"com.microsoft.DynamicQuantizeLSTM": "int8 dynamic_range"}),
        ("conv_same", True, {"Conv": "int8 static_range"}),
        ("linear_of_steps", True, {"MatMul": "int8 static_range", "Add": "int8 static_range"}),
    ],
)
def test_precision_of_onnx_quantization(name: str, static: bool, expected: dict[str, str], tmp_path: Path) -> None:
    content = onnx_file(name)
    shape = SEQUENCE if name in FUSED else small_graph(name, "channels_first").shapes["image"]
    inputs = [np.random.default_rng(seed).normal(size=shape).astype(np.float32) for seed in range(3)]
    found = inspect_model(quantize_onnx(content, tmp_path, static=static, graph_inputs=inputs))
    assert {layer.type: layer.precision for layer in found.layers} == expected
    assert found.holds_integers
    assert sum(found.bytes_by_cause.values()) == found.size_bytes
    assert found.bytes_by_cause["quantization"] > 0


def test_half_precision_is_not_called_integer() -> None:
    model = onnx.load_from_string(onnx_file("linear"))
    (weight,) = [t for t in model.graph.initializer if len(t.dims) == 2]
    array = onnx.numpy_helper.to_array(weight).astype(np.float16)
    weight.CopyFrom(onnx.numpy_helper.from_array(array, "half"))
    (gemm,) = model.graph.node
    cast = onnx.helper.make_node("Cast", ["half"], [gemm.input[1]], to=onnx.TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    found = inspect_model(model.SerializeToString())
    assert [layer.precision for layer in found.layers] == ["float16 weight_only"]
    assert not found.holds_integers


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x00\x00\x00\x00TFL3", b"\x08\x08:\xff\xff\xff\x7f"])
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(ModelFileError):
        inspect_model(content)


def test_weights_outside_the_file_are_refused() -> None:
    model = onnx.load_from_string(onnx_file("linear"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    with pytest.raises(ModelFileError, match="keeps weights outside its own file"):
        inspect_model(model.SerializeToString())
    other = schema.ModelT.InitFromPackedBuf(tflite_file("linear"))
    other.subgraphs[0].tensors[0].externalBuffer = 1
    with pytest.raises(ModelFileError, match="keeps weights outside its own file"):
        inspect_model(pack_model(other))


@pytest.mark.parametrize(("model_format", "name"), [("onnx", "loop_carried"), ("tflite", "loop_carried")])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_files_are_read_or_refused_in_one_way(model_format: str, name: str, data: st.DataObject) -> None:
    content = bytearray(file_named(model_format, name))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelFileError):  # and nothing else
        assert sum(inspect_model(bytes(content)).bytes_by_cause.values()) == len(content)


def test_a_file_that_leads_to_the_same_place_forever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subgraphs that share their tensors: a few bytes each, and all of it to be read again."""
    model = schema.ModelT.InitFromPackedBuf(tflite_file("conv_same"))
    model.subgraphs = model.subgraphs * 500
    monkeypatch.setattr(tflite_inspection, "_MOST_RECORDS", 10_000)
    with pytest.raises(ModelFileError, match="holds more than 10000 operators"):
        inspect_model(pack_model(model))
