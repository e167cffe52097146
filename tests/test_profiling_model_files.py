"""Files that are not opened: operators that are not allowed, sizes beyond measure, loops that hold themselves."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgelnn.errors import ModelFileError
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling import allowed_operators, check_model, identify_model, onnx_checks, tflite_checks
from edgelnn_profiling.flatbuffer import Table
from edgelnn_profiling.runtimes import load_runtime
from tests.operator_graphs import FUSED, GRAPHS, SEQUENCE, make_graph, small_graph

# What is allowed


@pytest.mark.parametrize("name", [*GRAPHS, *FUSED])
def test_everything_edgelnn_writes_is_opened(name: str) -> None:
    if name in FUSED:
        assert check_model(write_onnx(make_graph(SEQUENCE, FUSED[name], "channels_first"))) == "onnx"
        assert check_model(write_tflite(make_graph(SEQUENCE, FUSED[name], "channels_last"))) == "tflite"
    else:
        assert check_model(write_onnx(small_graph(name, "channels_first"))) == "onnx"
        assert check_model(write_tflite(small_graph(name, "channels_last"))) == "tflite"


def test_names_of_operators_are_those_of_the_formats() -> None:
    numbers = {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}
    assert dict(enumerate(allowed_operators.TFLITE_NAMES)) == numbers
    assert set(numbers.values()) >= allowed_operators.TFLITE_OPERATORS
    known = {each.name for each in onnx.defs.get_all_schemas_with_history() if each.domain == ""}
    assert known >= allowed_operators.ONNX_OPERATORS[""]


def test_types_are_those_of_the_formats() -> None:
    for number in onnx_checks._BITS:
        name = TensorProto.DataType.Name(number)
        bits = int(
            "".join(c for c in name.split("E")[0] if c.isdigit()) or {"FLOAT": 32, "DOUBLE": 64, "BOOL": 8}[name]
        )
        assert onnx_checks._BITS[number] == bits
    for name, number in vars(schema.TensorType).items():
        if number in tflite_checks._BITS and name.isupper():
            digits = "".join(c for c in name.split("_")[0] if c.isdigit())
            assert tflite_checks._BITS[number] == int(digits or {"BOOL": 8}[name])


def test_options_that_name_subgraphs_stand_where_the_schema_says() -> None:
    """Each field is given a number of its own and then found in its slot."""
    for name, fields in (
        ("WhileOptionsT", ("condSubgraphIndex", "bodySubgraphIndex")),
        ("IfOptionsT", ("thenSubgraphIndex", "elseSubgraphIndex")),
        ("CallOptionsT", ("subgraph",)),
    ):
        options = getattr(schema, name)(**{field: 7 + place for place, field in enumerate(fields)})
        builder = flatbuffers.Builder()
        builder.Finish(options.Pack(builder))
        content = bytes(builder.Output())
        table = Table(content, struct.unpack_from("<I", content)[0])
        slots = tflite_checks._SUBGRAPH_SLOTS[name.removesuffix("OptionsT").upper()]
        assert [table.number(slot, "i") for slot in slots] == [7, 8][: len(fields)]


# ONNX


def onnx_with(change: Callable[[Any], None], name: str = "linear") -> bytes:
    model = onnx.load_from_string(write_onnx(small_graph(name, "channels_first")))
    change(model)
    return bytes(model.SerializeToString())


def custom_domain(model: Any) -> None:
    model.graph.node[0].domain = "evil.corp"
    model.opset_import.append(helper.make_opsetid("evil.corp", 1))


def training_operator(model: Any) -> None:
    model.graph.node[0].op_type = "Adam"
    model.graph.node[0].domain = "ai.onnx.preview.training"


def unlisted_of_microsoft(model: Any) -> None:
    model.graph.node[0].domain = "com.microsoft"
    model.graph.node[0].op_type = "Tokenizer"


def custom_in_branch(model: Any) -> None:
    inner = helper.make_graph([helper.make_node("Shell", [], ["z"], domain="own")], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["c"], ["y2"], then_branch=inner, else_branch=inner))


def custom_in_loop(model: Any) -> None:
    inner = helper.make_graph([helper.make_node("NonZero", ["x"], ["z"])], "inner", [], [])
    model.graph.node.append(helper.make_node("Loop", ["m", ""], ["y2"], body=inner))


def own_function(model: Any) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    model.functions.append(helper.make_function("own", "f", ["x"], ["y"], [node], [helper.make_opsetid("", 17)]))


def promises_more_than_it_holds(model: Any) -> None:
    model.graph.initializer[0].dims[0] = 2**35


def typed_promises_more_than_it_holds(model: Any) -> None:
    model.graph.initializer.append(TensorProto(name="t", data_type=1, dims=[1000], float_data=[0.0]))


def negative_length(model: Any) -> None:
    model.graph.initializer[0].dims[0] = -5


def text(model: Any) -> None:
    model.graph.initializer.append(helper.make_tensor("t", TensorProto.STRING, [1], [b"rm"]))


def huge_constant_of_shape(model: Any) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**20, 2**20]), "s"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["s"], ["huge"]))


def huge_expansion(model: Any) -> None:
    shape = helper.make_tensor("", TensorProto.INT64, [3], [2**12, 2**12, 2**12])
    model.graph.node.append(helper.make_node("Constant", [], ["s"], value=shape))
    model.graph.node.append(helper.make_node("Expand", ["image", "s"], ["huge"]))


def huge_stated_value(model: Any) -> None:
    model.graph.value_info.append(helper.make_tensor_value_info("v", TensorProto.FLOAT, [2**16, 2**16]))


ONNX_CASES: list[tuple[Callable[[Any], None], str]] = [
    (custom_domain, r"operator 'evil\.corp\.Gemm'"),
    (training_operator, r"operator 'ai\.onnx\.preview\.training\.Adam'"),
    (unlisted_of_microsoft, r"operator 'com\.microsoft\.Tokenizer'"),
    (custom_in_branch, r"operator 'own\.Shell'"),
    (custom_in_loop, "operator 'NonZero'"),
    (own_function, "functions of its own"),
    (promises_more_than_it_holds, "other than the bytes for them"),
    (typed_promises_more_than_it_holds, "'t' of 1000 elements, and other than the bytes"),
    (negative_length, "impossible shape"),
    (text, "'t' of the ONNX type 8"),
    (huge_constant_of_shape, r"1099511627776 elements \(ConstantOfShape\)"),
    (huge_expansion, r"68719476736 elements \(Expand\)"),
    (huge_stated_value, "4294967296 elements"),
]


@pytest.mark.parametrize(("change", "words"), ONNX_CASES, ids=[change.__name__ for change, _ in ONNX_CASES])
def test_an_onnx_file_that_is_not_opened(change: Callable[[Any], None], words: str) -> None:
    content = onnx_with(change)
    assert identify_model(content) == "onnx"
    with pytest.raises(ModelFileError, match=words):
        load_runtime(content)


def field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes."""
    length = len(content)
    return bytes([number << 3 | 2, *(length >> shift & 0x7F | 0x80 for shift in (0, 7)), length >> 14]) + content


def with_tensor(name: str, dtype: int, dims: list[int], *raw: bytes) -> bytes:
    """The linear model with one more tensor, whose raw data come in pieces."""
    model = onnx.load_from_string(onnx_with(lambda model: None))
    tensor = TensorProto(name=name, data_type=dtype, dims=dims).SerializeToString() + b"".join(
        field(9, piece) for piece in raw
    )
    graph = model.graph.SerializeToString() + field(5, tensor)
    model.ClearField("graph")
    return bytes(model.SerializeToString() + field(7, graph))


def test_raw_data_in_pieces_are_refused_as_readers_take_the_last_piece_alone() -> None:
    check_model(with_tensor("t", TensorProto.FLOAT, [4], bytes(16)))
    for dtype, dims, pieces in (
        (TensorProto.FLOAT, [4], [bytes(8), bytes(8)]),
        (TensorProto.INT64, [1], [bytes(4), bytes(4)]),
        (TensorProto.INT64, [2], [bytes(16), bytes(16)]),
    ):
        with pytest.raises(ModelFileError, match="raw_data of one TensorProto several times") as caught:
            check_model(with_tensor("t", dtype, dims, *pieces))
        assert "\n" not in str(caught.value)


def test_messages_in_pieces_are_refused_as_readers_join_them() -> None:
    whole = onnx_with(lambda model: None)
    with pytest.raises(ModelFileError, match="graph of one ModelProto several times"):
        check_model(whole + field(7, onnx.GraphProto().SerializeToString()))


def test_nests_of_branches_are_refused() -> None:
    def nest(model: Any) -> None:
        graph = helper.make_graph([], "inner", [], [])
        for _ in range(20):
            node = helper.make_node(
                "If", ["c"], ["y"], then_branch=graph, else_branch=helper.make_graph([], "e", [], [])
            )
            graph = helper.make_graph([node], "outer", [], [])
        model.graph.node.extend(graph.node)

    with pytest.raises(ModelFileError, match="levels deep"):
        check_model(onnx_with(nest))


# TFLite


def tflite_with(change: Callable[[Any], None], name: str = "linear") -> bytes:
    model = schema.ModelT.InitFromPackedBuf(write_tflite(small_graph(name, "channels_last")))
    change(model)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def custom_operator(model: Any) -> None:
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = "TFLite_Detection_PostProcess"


def resource_operator(model: Any) -> None:
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.VAR_HANDLE, 127


def unknown_number(model: Any) -> None:
    model.operatorCodes[0].builtinCode = 5000


def huge_tensor(model: Any) -> None:
    model.subgraphs[0].tensors[0].shape = np.array([2**20, 2**20], np.int32)


def many_large_tensors(model: Any) -> None:
    for _ in range(3):
        model.subgraphs[0].tensors.append(schema.TensorT(shape=np.array([2**28], np.int32), name="t", buffer=0))
    model.subgraphs[0].outputs = np.array(range(len(model.subgraphs[0].tensors)), np.int32)


def constant_too_small(model: Any) -> None:
    max(model.buffers, key=lambda each: len(each.data) if each.data is not None else 0).data = np.zeros(8, np.uint8)


def no_such_buffer(model: Any) -> None:
    model.subgraphs[0].tensors[0].buffer = 10_000


def no_such_tensor(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs = np.array([0, 999, 1], np.int32)


def no_such_operator(model: Any) -> None:
    model.subgraphs[0].operators[0].opcodeIndex = 77


def negative_shape(model: Any) -> None:
    model.subgraphs[0].tensors[0].shape = np.array([-4, 6], np.int32)


def tensor_of_text(model: Any) -> None:
    model.subgraphs[0].tensors[0].type = schema.TensorType.STRING


def sparse(model: Any) -> None:
    model.subgraphs[0].tensors[0].sparsity = schema.SparsityParametersT(traversalOrder=[0], dimMetadata=[])


def behind_the_model(model: Any) -> None:
    model.buffers[1].offset = 4096


def outside(model: Any) -> None:
    model.subgraphs[0].tensors[0].externalBuffer = 3


def no_subgraph(model: Any) -> None:
    model.subgraphs = []


def loop_in_itself(model: Any) -> None:
    options = schema.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=0)
    operators = model.subgraphs[0].operators
    (loop,) = [each for each in operators if each.builtinOptionsType == schema.BuiltinOptions.WhileOptions]
    loop.builtinOptions = options


def loop_without_options(model: Any) -> None:
    operators = model.subgraphs[0].operators
    (loop,) = [each for each in operators if each.builtinOptionsType == schema.BuiltinOptions.WhileOptions]
    loop.builtinOptionsType, loop.builtinOptions = 0, None


def no_such_subgraph(model: Any) -> None:
    operators = model.subgraphs[0].operators
    (loop,) = [each for each in operators if each.builtinOptionsType == schema.BuiltinOptions.WhileOptions]
    loop.builtinOptions.bodySubgraphIndex = 50


def deep_calls(model: Any) -> None:
    call = len(model.operatorCodes)
    number = schema.BuiltinOperator.CALL
    model.operatorCodes.append(schema.OperatorCodeT(deprecatedBuiltinCode=number, builtinCode=number, version=1))
    first = len(model.subgraphs)
    kind = schema.BuiltinOptions.CallOptions
    for place in range(first, first + 40):
        options = schema.CallOptionsT(subgraph=place + 1)
        operator = schema.OperatorT(opcodeIndex=call, builtinOptionsType=kind, builtinOptions=options)
        model.subgraphs.append(schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[operator]))
    model.subgraphs.append(schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[]))


TFLITE_CASES: list[tuple[Callable[[Any], None], str, str]] = [
    (custom_operator, "linear", "custom operator 'TFLite_Detection_PostProcess'"),
    (resource_operator, "linear", "operator 'VAR_HANDLE'"),
    (unknown_number, "linear", "operator 'number 5000'"),
    (huge_tensor, "linear", "a tensor of 4398046511104 bytes"),
    (many_large_tensors, "linear", "bytes for what it computes"),
    (constant_too_small, "linear", "holds 8 bytes for a tensor of 120"),
    (no_such_buffer, "linear", "no sound TFLite model"),
    (no_such_tensor, "linear", "no sound TFLite model"),
    (no_such_operator, "linear", "no sound TFLite model"),
    (negative_shape, "linear", "no sound TFLite model"),
    (tensor_of_text, "linear", "TFLite type 5"),
    (sparse, "linear", "sparse tensor"),
    (behind_the_model, "linear", "behind its model"),
    (outside, "linear", "outside its own file"),
    (no_subgraph, "linear", "no sound TFLite model"),
    (loop_in_itself, "loop_forward", "a subgraph that holds itself"),
    (loop_without_options, "loop_forward", "a subgraph that holds itself"),
    (no_such_subgraph, "loop_forward", "no sound TFLite model"),
    (deep_calls, "linear", "levels deep"),
]


@pytest.mark.parametrize(
    ("change", "name", "words"), TFLITE_CASES, ids=[change.__name__ for change, *_ in TFLITE_CASES]
)
def test_a_tflite_file_that_is_not_opened(change: Callable[[Any], None], name: str, words: str) -> None:
    content = tflite_with(change, name)
    assert identify_model(content) == "tflite"
    with pytest.raises(ModelFileError, match=words):
        load_runtime(content)


def test_a_tflite_file_that_leads_to_the_same_place_forever_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def repeat(model: Any) -> None:
        model.subgraphs = model.subgraphs * 100

    monkeypatch.setattr(tflite_checks, "MAX_RECORDS", 500)
    with pytest.raises(ModelFileError, match="more than 500 operators"):
        check_model(tflite_with(repeat))


@pytest.mark.parametrize("model_format", ["onnx", "tflite"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_files_are_judged_or_refused_and_nothing_else(model_format: str, data: st.DataObject) -> None:
    graph = small_graph("loop_nested", "channels_last")
    content = bytearray(write_onnx(graph) if model_format == "onnx" else write_tflite(graph))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(8, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ModelFileError):  # and nothing else
        assert check_model(bytes(content)) == model_format
