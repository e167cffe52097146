"""The TFLite writer against the numpy oracle, through LiteRT with and without XNNPACK, and the quantizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn.errors import ExportError, UnsupportedModelError
from edgelnn_export.formats.tflite_packing import pack_model
from edgelnn_export.graph import Graph, Node
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.inspection import inspect_model
from edgelnn_export.reference_evaluator import evaluate
from edgelnn_export.tflite_model import write_tflite
from tests.operator_graphs import (
    FUSED,
    GRAPHS,
    LOOPS,
    SEQUENCE,
    conv,
    inputs_for,
    linear,
    make_graph,
    quantize_tflite,
    small_graph,
)

TOLERANCE = 3e-6
KERNELS = {"xnnpack": OpResolverType.AUTO, "plain": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}
# What XNNPACK leaves to the plain kernels: indexing, loops, and the joining of more than five values.
UNDELEGATED = {"gather", "preceding_sums", "suffix_sums", "reverse", "concat_many", "split_many", *LOOPS}


def open_model(model: bytes, kernels: str = "xnnpack") -> Interpreter:
    return Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=KERNELS[kernels])


def run(interpreter: Interpreter, x: np.ndarray) -> np.ndarray:
    """Answer by batch, as a program does that meets batches of several sizes."""
    (image,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(image["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(image["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def assert_agrees(
    graph: Graph, model: bytes, kernels: str = "xnnpack", batches: tuple[int, ...] = (1, 4, 2, 1)
) -> None:
    interpreter = open_model(model, kernels)
    for batch in batches:
        x = inputs_for(graph, batch)
        np.testing.assert_allclose(run(interpreter, x), evaluate(graph, x), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_operator_computes_what_the_graph_says(name: str, kernels: str) -> None:
    graph = small_graph(name, "channels_last")
    assert_agrees(graph, write_tflite(graph), kernels)


@pytest.mark.parametrize("name", GRAPHS)
def test_xnnpack_takes_the_whole_graph(name: str) -> None:
    interpreter = open_model(write_tflite(small_graph(name, "channels_last")))
    interpreter.allocate_tensors()
    steps = interpreter._get_ops_details()
    delegates = [step for step in steps if step["op_name"] == "DELEGATE"]
    ends = {interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]}
    whole = len(delegates) == 1 and ends <= {*delegates[0]["inputs"].tolist(), *delegates[0]["outputs"].tolist()}
    assert whole == (name not in UNDELEGATED)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(1, 3)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    activation=st.sampled_from(["none", "relu", "relu6"]),
)
def test_convolutions_of_any_shape(
    size: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    activation: str,
) -> None:
    build = conv(2, kernel, stride=stride, padding=padding, activation=activation)
    graph = make_graph((1, *size), build, "channels_last")
    assert_agrees(graph, write_tflite(graph), batches=(2,))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    middle=st.lists(st.integers(1, 4), max_size=2),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    bias=st.booleans(),
    batch=st.integers(1, 5),
)
def test_linear_layers_of_any_shape(middle: list[int], sizes: tuple[int, int], bias: bool, batch: int) -> None:
    graph = make_graph((1, *middle, sizes[0]), linear(sizes[1], bias=bias), "channels_last")
    assert_agrees(graph, write_tflite(graph), batches=(batch,))


@pytest.mark.parametrize("name", ["conv_strided", "conv_padding_unused"])
def test_padding_is_an_operator_only_where_it_must_be(name: str) -> None:
    model = schema.ModelT.InitFromPackedBuf(write_tflite(small_graph(name, "channels_last")))
    codes = {code.builtinCode for code in model.operatorCodes}
    assert (schema.BuiltinOperator.PAD in codes) == (name == "conv_strided")


@pytest.mark.parametrize("name", ["whole_network", "loop_carried"])
def test_the_same_graph_gives_the_same_bytes(name: str) -> None:
    assert write_tflite(small_graph(name, "channels_last")) == write_tflite(small_graph(name, "channels_last"))


@pytest.mark.parametrize("name", ["whole_network", "loop_carried"])
def test_names_and_signature(name: str) -> None:
    graph = small_graph(name, "channels_last")
    interpreter = open_model(write_tflite(graph))
    (image,), (probabilities,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert (image["name"], probabilities["name"]) == ("image", "probabilities")
    batch = 1 if name in LOOPS else -1
    assert image["shape_signature"].tolist() == [batch, *graph.shapes[graph.input][1:]]
    assert probabilities["shape_signature"].tolist() == [batch, *graph.shapes[graph.output][1:]]
    x = inputs_for(graph, 1)
    found = interpreter.get_signature_runner()(image=x)["probabilities"]
    np.testing.assert_allclose(found, evaluate(graph, x), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["whole_network", "loop_nested"])
def test_every_tensor_of_a_file_has_a_name_of_its_own(name: str) -> None:
    model = schema.ModelT.InitFromPackedBuf(write_tflite(small_graph(name, "channels_last")))
    names = [tensor.name.decode() for subgraph in model.subgraphs for tensor in subgraph.tensors]
    assert len(set(names)) == len(names)
    if name == "whole_network":
        assert {"stem/conv2d0", "stem/pool2d0", "scan/reshape0", "head/linear3", "head/tanh1"} <= set(names)


def test_tensor_data_is_aligned() -> None:
    model = write_tflite(small_graph("whole_network", "channels_last"))
    root = schema.Model.GetRootAsModel(model, 0)
    sizes = []
    for index in range(root.BuffersLength()):
        buffer = root.Buffers(index)
        if buffer.DataLength() >= 16:
            start = buffer._tab.Vector(buffer._tab.Offset(4))
            sizes.append(buffer.DataLength())
            assert start % 16 == 0
    assert len(sizes) > 5


def _unrolled(steps: int) -> Graph:
    def build(b: GraphBuilder, w: Any) -> str:
        h, weight = b.input, w(8, 8)
        for _ in range(steps):
            h = b.tanh(b.linear(h, weight))
        return h

    return make_graph((1, 8), build, "channels_last")


def test_what_is_equal_is_stored_once() -> None:
    """An operator costs about a hundred bytes, its tensor and its name included."""
    few, many = (write_tflite(_unrolled(steps)) for steps in (20, 120))
    assert (len(many) - len(few)) / 200 < 100
    by_library = schema.ModelT.InitFromPackedBuf(many)
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(by_library.Pack(builder), file_identifier=b"TFL3")
    assert len(many) < 0.85 * len(builder.Output())


def test_packing_a_file_again_changes_nothing() -> None:
    model = write_tflite(_unrolled(5))
    assert pack_model(schema.ModelT.InitFromPackedBuf(model)) == model


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("name", FUSED)
def test_recurrent_operators_are_written_out(name: str, kernels: str) -> None:
    graph = make_graph(SEQUENCE, FUSED[name], "channels_last")
    model = write_tflite(graph)
    assert_agrees(graph, model, kernels)
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in inspect_model(model).operator_counts


def test_a_recurrent_operator_in_a_loop_is_written_out() -> None:
    def build(b: GraphBuilder, w: Any) -> str:
        inner, names = b.body([(1, 5), (1, 6, 4)])
        (last,) = inner.add_node("lstm", (names[1], w(20, 4), w(20, 5), w(20)), result="last")
        body = inner.finish_body(names, (inner.tanh(inner.add(names[0], last)),))
        return b.loop(body, states=[w(1, 5)], invariants=[b.input], steps=3)[0]

    graph = make_graph(SEQUENCE, build, "channels_last")
    assert_agrees(graph, write_tflite(graph), batches=(1,))


@pytest.mark.parametrize("name", ["conv", "pool_max"])
def test_the_other_layout_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match="of a channels_first graph; TFLite takes channels_last"):
        write_tflite(small_graph(name, "channels_first"))


def test_an_unknown_operator_is_refused() -> None:
    graph = Graph("x", "y", (Node("fft", ("x",), ("y",)),), {}, {"x": (1, 2), "y": (1, 2)}, "channels_last")
    with pytest.raises(UnsupportedModelError, match="got the operator 'fft'; TFLite files take abs, add,"):
        write_tflite(graph)


@pytest.mark.parametrize("recipe", ["dynamic_wi8_afp32", "weight_only_wi8_afp32", "static_wi8_ai8"])
@pytest.mark.parametrize("name", ["whole_network", "linear_of_steps", "conv_groups", "split_half_used"])
def test_the_quantizer_takes_the_files(name: str, recipe: str) -> None:
    """Every file can be quantized, and the quantized one packed again, smaller and with the same answers."""
    graph = small_graph(name, "channels_last")
    model = write_tflite(graph)
    # Clipped, because the quantizer's calibration forgets rare large inputs.
    quantized = quantize_tflite(model, recipe, [np.tanh(inputs_for(graph, 1, seed)) for seed in range(8)])
    packed = pack_model(schema.ModelT.InitFromPackedBuf(quantized))
    assert len(packed) < len(quantized)
    x = np.tanh(inputs_for(graph, 1))
    answers = []
    for content in (quantized, packed):
        interpreter = open_model(content)
        (image,), (output,) = interpreter.get_input_details(), interpreter.get_output_details()
        scale, zero = image["quantization"]
        given = x if scale == 0 else np.clip(np.round(x / scale) + zero, -128, 127).astype(np.int8)
        scale, zero = output["quantization"]
        found = run(interpreter, given)
        answers.append(found if scale == 0 else (found.astype(np.float32) - zero) * scale)
    np.testing.assert_array_equal(*answers)
    np.testing.assert_allclose(answers[0], evaluate(graph, x), atol=0.1)
