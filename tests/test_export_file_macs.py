"""Multiply-accumulates counted from files alone, held to those of the graphs that the files were written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from edgelnn.errors import ModelFileError
from edgelnn_export.formats.recurrent_steps import write_out_recurrent
from edgelnn_export.formats.tflite_packing import pack_model
from edgelnn_export.graph import Graph
from edgelnn_export.inspection import inspect_model
from edgelnn_export.macs import graph_macs
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import RECIPES
from edgelnn_export.quantization.onnx_quantizer import quantize_onnx
from edgelnn_export.tflite_model import write_tflite
from tests.operator_graphs import FUSED, GRAPHS, SEQUENCE, inputs_for, make_graph, quantize_tflite, small_graph

ALL = [*GRAPHS, *FUSED]


def graph_named(name: str, layout: Any) -> Graph:
    return make_graph(SEQUENCE, FUSED[name], layout) if name in FUSED else small_graph(name, layout)


@pytest.mark.parametrize("name", ALL)
def test_onnx_files_cost_what_their_graphs_do(name: str) -> None:
    graph = graph_named(name, "channels_first")
    found = inspect_model(write_onnx(graph))
    assert found.macs == graph_macs(graph).total
    assert None not in {operator.runs for operator in found.operators}


@pytest.mark.parametrize("name", ALL)
def test_tflite_files_cost_what_their_graphs_do(name: str) -> None:
    graph = write_out_recurrent(graph_named(name, "channels_last"))
    found = inspect_model(write_tflite(graph))
    assert found.macs == graph_macs(graph).total
    assert None not in {operator.runs for operator in found.operators}


def test_operators_in_loops_count_once_a_step() -> None:
    for content in (
        write_onnx(small_graph("loop_nested", "channels_first")),
        write_tflite(small_graph("loop_nested", "channels_last")),
    ):
        layers = inspect_model(content).layers
        assert sorted((layer.runs, layer.macs) for layer in layers) == [(6, 6 * 12), (18, 18 * 9)]


@pytest.mark.parametrize("recipe", ["dynamic_wi8_afp32", "weight_only_wi8_afp32", "static_wi8_ai8"])
def test_quantizing_a_tflite_file_changes_no_work(recipe: str) -> None:
    graph = small_graph("whole_network", "channels_last")
    content = quantize_tflite(write_tflite(graph), recipe, [inputs_for(graph, 1, seed) for seed in range(4)])
    assert inspect_model(content).macs == graph_macs(graph).total


@pytest.mark.parametrize("recipe", ["dynamic_wi8_afp32", "static_wi8_ai8"])
def test_quantizing_an_onnx_file_changes_no_work(recipe: str) -> None:
    def build(b: Any, w: Any) -> str:
        wide = b.linear(b.input, w(32, 40), w(32), "relu")
        states = b.add_node("lstm", (wide, w(64, 32), w(64, 16), w(64)))[0]
        return str(
            b.softmax(b.linear(b.add_node("gru", (states, w(9, 16), w(9, 3), w(9), w(9)), result="last")[0], w(2, 3)))
        )

    graph = make_graph((1, 6, 40), build, "channels_first")
    content = quantize_onnx(write_onnx(graph), RECIPES[recipe], inputs_for(graph, 8))
    found = inspect_model(content)
    assert found.holds_integers
    assert found.macs == graph_macs(graph).total


def onnx_model(nodes: list[Any], inputs: list[Any], initializers: dict[str, np.ndarray]) -> bytes:
    output = helper.make_empty_tensor_value_info("y")
    output.type.tensor_type.elem_type = TensorProto.FLOAT
    tensors = [numpy_helper.from_array(value, name) for name, value in initializers.items()]
    graph = helper.make_graph(nodes, "g", inputs, [output], tensors)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_operators_of_foreign_onnx_files() -> None:
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 5, 5])
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2])
    assert inspect_model(onnx_model([node], [image], {"w": ones(2, 3, 2, 2)})).macs == 2 * 25 * 3 * 4
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4, 6])
    both = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), helper.make_node("MatMul", ["x", "t"], ["y"])]
    assert inspect_model(onnx_model(both, [rows], {})).macs == 4 * 4 * 6
    flat = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)
    assert inspect_model(onnx_model([gemm], [flat], {"w": ones(3, 6)})).macs == 18


def test_what_the_file_does_not_say_is_not_made_up() -> None:
    """A loop as long as an input says, and a product of unknown size."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["h", "w"], ["h2"]), helper.make_node("Identity", ["c"], ["c2"])],
        "body",
        [helper.make_empty_tensor_value_info(name) for name in ("i", "c", "h")],
        [helper.make_empty_tensor_value_info(name) for name in ("c2", "h2")],
    )
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3]),
        helper.make_tensor_value_info("m", TensorProto.INT64, []),
    ]
    model = onnx_model([helper.make_node("Loop", ["m", "", "x"], ["y"], body=body)], inputs, {"w": ones(3, 3)})
    found = inspect_model(model)
    assert found.macs is None
    assert [(each.type, each.macs, each.runs) for each in found.operators] == [
        ("Loop", 0, 1),
        ("MatMul", None, None),
        ("Identity", 0, None),
    ]


def test_a_loop_whose_end_is_computed_is_not_counted() -> None:
    model = schema.ModelT.InitFromPackedBuf(write_tflite(small_graph("loop_forward", "channels_last")))
    condition = model.subgraphs[
        next(
            o.builtinOptions.condSubgraphIndex
            for o in model.subgraphs[0].operators
            if isinstance(o.builtinOptions, schema.WhileOptionsT)
        )
    ]
    limit = condition.operators[0].inputs[1]
    condition.tensors[limit].buffer = 0
    found = inspect_model(pack_model(model))
    assert found.macs is None
    assert None in {operator.runs for operator in found.operators}


def test_subgraphs_that_hold_themselves_are_refused() -> None:
    model = schema.ModelT.InitFromPackedBuf(write_tflite(small_graph("loop_forward", "channels_last")))
    for operator in model.subgraphs[0].operators:
        if isinstance(operator.builtinOptions, schema.WhileOptionsT):
            operator.builtinOptions.bodySubgraphIndex = 0
    with pytest.raises(ModelFileError, match="contradicts itself"):
        inspect_model(pack_model(model))


def test_an_unrolled_file_of_a_batch_of_any_size(tmp_path: Path) -> None:
    """Sizes that follow from the batch are known once it is 1."""
    graph = small_graph("reshape_batch", "channels_first")
    path = tmp_path / "model.onnx"
    path.write_bytes(write_onnx(graph))
    assert inspect_model(path).macs == 0
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
