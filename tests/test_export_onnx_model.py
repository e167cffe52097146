"""The ONNX writer against the numpy oracle, through ONNX Runtime and ONNX's own reference evaluator."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn.errors import ExportError, UnsupportedModelError
from edgelnn_export.graph import Graph, Node
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.onnx_model import IR_VERSION, OPSET, write_onnx
from edgelnn_export.reference_evaluator import evaluate
from tests.operator_graphs import FUSED, GRAPHS, SEQUENCE, conv, inputs_for, linear, make_graph, small_graph

TOLERANCE = 2e-6
ALL = [*GRAPHS, *FUSED]


def graph_named(name: str) -> Graph:
    if name in FUSED:
        return make_graph(SEQUENCE, FUSED[name], "channels_first")
    return small_graph(name, "channels_first")


def run(model: bytes, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"image": x})[0]


def assert_agrees(graph: Graph, model: bytes, batch: int = 3) -> None:
    x = inputs_for(graph, batch)
    np.testing.assert_allclose(run(model, x), evaluate(graph, x), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ALL)
def test_every_operator_computes_what_the_graph_says(name: str) -> None:
    graph = graph_named(name)
    model = write_onnx(graph)
    onnx.checker.check_model(model, full_check=True)
    assert_agrees(graph, model, batch=1)
    assert_agrees(graph, model, batch=4)


@pytest.mark.parametrize("name", [name for name in ALL if "straight" not in name and "softsign" not in name])
def test_reference_evaluator_agrees(name: str) -> None:
    """The reference evaluator knows only the usual activations of an LSTM or GRU."""
    graph = graph_named(name)
    x = inputs_for(graph, 2)
    found = onnx.reference.ReferenceEvaluator(onnx.load_from_string(write_onnx(graph))).run(None, {"image": x})[0]
    np.testing.assert_allclose(found, evaluate(graph, x), rtol=1e-5, atol=1e-5)


def test_layers_of_recurrent_networks_stay_time_first() -> None:
    def build(b: GraphBuilder, w: Any) -> str:
        first = b.add_node("lstm", (b.input, w(20, 4), w(20, 5), w(20)))[0]
        second = b.add_node("gru", (first, w(9, 5), w(9, 3), w(9), w(9)), direction="reverse")[0]
        third = b.add_node("lstm", (second, w(8, 3), w(8, 2), w(8)), result="last")[0]
        return b.linear(third, w(3, 2), w(3))

    graph = make_graph(SEQUENCE, build, "channels_first")
    model = write_onnx(graph)
    assert_agrees(graph, model)
    types = [node.op_type for node in onnx.load_from_string(model).graph.node]
    assert types == ["Transpose", "LSTM", "Squeeze", "GRU", "Squeeze", "LSTM", "Squeeze", "Gemm"]


def test_a_recurrent_sequence_is_put_batch_first_for_whom_needs_it() -> None:
    def build(b: GraphBuilder, w: Any) -> str:
        states = b.add_node("lstm", (b.input, w(20, 4), w(20, 5), w(20)))[0]
        return b.add(b.mean(states, 1), b.add_node("gru", (states, w(15, 5), w(15, 5), w(15), w(15)), result="last")[0])

    graph = make_graph(SEQUENCE, build, "channels_first")
    assert_agrees(graph, write_onnx(graph))


@settings(max_examples=25, deadline=None, derandomize=True)
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
    graph = make_graph((1, *size), build, "channels_first")
    assert_agrees(graph, write_onnx(graph), batch=2)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    middle=st.lists(st.integers(1, 4), max_size=2),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    bias=st.booleans(),
    batch=st.integers(1, 5),
)
def test_linear_layers_of_any_shape(middle: list[int], sizes: tuple[int, int], bias: bool, batch: int) -> None:
    graph = make_graph((1, *middle, sizes[0]), linear(sizes[1], bias=bias), "channels_first")
    assert_agrees(graph, write_onnx(graph), batch)


def test_a_product_and_a_sum_are_one_operator() -> None:
    def build(b: GraphBuilder, w: Any) -> str:
        steps = b.split(b.reshape(b.linear(b.input, w(5, 4)), (1, 30)), 1, (5,) * 6)
        weight, h = w(5, 5), b.tanh(steps[0])
        for step in steps[1:]:
            h = b.tanh(b.add(step, b.linear(h, weight)))
        return b.add(b.linear(h, w(3, 5)), w(1, 3))

    graph = make_graph(SEQUENCE, build, "channels_first")
    model = write_onnx(graph)
    assert_agrees(graph, model)
    counts = Counter(node.op_type for node in onnx.load_from_string(model).graph.node)
    assert counts == {"MatMul": 1, "Reshape": 1, "Split": 1, "Gemm": 6, "Tanh": 6}


def test_a_product_that_serves_something_else_stays_one() -> None:
    def build(b: GraphBuilder, w: Any) -> str:
        first, second = (b.linear(b.input, w(3, 4)) for _ in range(2))
        wide = b.add(b.linear(b.input, w(1, 4)), first)  # the product is the smaller of the two
        return b.concat([b.add(first, b.tanh(first)), b.add(second, second), wide], 1)

    graph = make_graph((1, 4), build, "channels_first")
    model = write_onnx(graph)
    assert_agrees(graph, model)
    assert Counter(node.op_type for node in onnx.load_from_string(model).graph.node)["MatMul"] == 3


@pytest.mark.parametrize("name", ["whole_network", "loop_carried", "lstm_both"])
def test_the_same_graph_gives_the_same_bytes(name: str) -> None:
    assert write_onnx(graph_named(name)) == write_onnx(graph_named(name))


def test_the_file_holds_what_is_needed_and_no_more() -> None:
    graph = small_graph("whole_network", "channels_first")
    model = onnx.load_from_string(write_onnx(graph))
    assert (model.ir_version, model.producer_name, model.doc_string) == (IR_VERSION, "edgelnn", "")
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert not model.metadata_props
    assert not model.graph.value_info
    assert not any(node.doc_string for node in model.graph.node)
    assert all(tensor.HasField("raw_data") and not tensor.external_data for tensor in model.graph.initializer)
    named = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert named == {"image": ["batch", 1, 8, 8], "probabilities": ["batch", 3]}
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert {name.split("/")[0] for name in names} == {"stem", "scan", "head", "output"}
    values = {name for node in model.graph.node for name in node.output} - {"probabilities"}
    assert max(map(len, values)) <= 2


def test_weights_used_twice_are_stored_once() -> None:
    def build(b: GraphBuilder, w: Any) -> str:
        weight = b.constant(w(40, 40))
        return b.linear(b.linear(b.mean(b.linear(b.input, weight), 1), weight, np.zeros(40)), weight)

    graph = make_graph((1, 3, 40), build, "channels_first")
    assert len(write_onnx(graph)) < 40 * 40 * 4 + 900


def test_weight_of_an_unrolled_network_costs_little_per_node() -> None:
    """Two hundred nodes on one weight: what is not weights is about fifty bytes a node."""

    def build(b: GraphBuilder, w: Any) -> str:
        h, weight = b.input, w(8, 8)
        for _ in range(100):
            h = b.tanh(b.linear(h, weight))
        return h

    graph = make_graph((1, 8), build, "channels_first")
    assert (len(write_onnx(graph)) - graph.constant_bytes()) / 200 < 40


def test_a_fixed_batch_is_said_and_taken() -> None:
    graph = graph_named("loop_carried")
    model = write_onnx(graph, batch=2)
    assert_agrees(graph, model, batch=2)
    loaded = onnx.load_from_string(model)
    assert loaded.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    assert not {node.op_type for node in loaded.graph.node} & {"Expand", "ConstantOfShape", "Shape"}


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ExportError, match="got batch=0; expected a positive number"):
        write_onnx(small_graph("linear", "channels_first"), batch=0)


@pytest.mark.parametrize("name", ["conv", "pool_max"])
def test_the_other_layout_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match="of a channels_last graph; ONNX takes channels_first"):
        write_onnx(small_graph(name, "channels_last"))


def test_an_unknown_operator_is_refused() -> None:
    graph = Graph("x", "y", (Node("fft", ("x",), ("y",)),), {}, {"x": (1, 2), "y": (1, 2)}, "channels_first")
    with pytest.raises(UnsupportedModelError, match="got the operator 'fft'; ONNX files take abs, add,"):
        write_onnx(graph)
