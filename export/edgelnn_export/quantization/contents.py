"""What a model file holds, read from the file: how much of it is integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from edgelnn.bundle import ModelFormat

__all__ = ["Contents", "read_contents", "read_tflite_model"]

_ONNX_BYTES: Final = {2: 1.0, 3: 1.0, 21: 0.5, 22: 0.5}  # uint8, int8, uint4, int4
_ONNX_INTEGER: Final = {
    *("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"),
    *("QLinearConv", "QLinearMatMul", "QGemm"),
}
_TFLITE_INTEGER: Final = ("INT8", "UINT8", "INT16", "INT4")
_TFLITE_PRODUCTS: Final = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_MATMUL")


@dataclass(frozen=True)
class Contents:
    """How much of a model file is integers.

    Attributes:
        integer_weight_bytes: Bytes of weights (constants of two axes and more) kept as integers of 8 bits or fewer.
        float_weight_bytes: Bytes of those kept as floating point.
        integer_operators: Products (of matrices, convolutions, fused recurrences) that are computed in integers.
    """

    integer_weight_bytes: int
    float_weight_bytes: int
    integer_operators: int

    @property
    def holds_integers(self) -> bool:
        """Whether the file may be called int8."""
        return self.integer_weight_bytes > 0 or self.integer_operators > 0


def read_contents(data: bytes, model_format: ModelFormat) -> Contents:
    """Return what a model file holds.

    Args:
        data: The file.
        model_format: ``onnx`` or ``tflite``.
    """
    return _read_onnx(data) if model_format == "onnx" else _read_tflite(data)


def read_tflite_model(data: bytes) -> Any:
    """Return a TFLite file as the schema's `ModelT`, contents that stand behind the flatbuffer put in their buffers."""
    from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data[buffer.offset : buffer.offset + buffer.size], np.uint8)
            buffer.offset = buffer.size = 0
    return model


def _read_onnx(data: bytes) -> Contents:
    import onnx

    integer = floating = operators = 0
    for graph in _graphs(onnx.load_from_string(data).graph):
        for tensor in graph.initializer:
            size = int(np.prod(tensor.dims, dtype=np.int64))
            if len(tensor.dims) < 2:
                continue
            if tensor.data_type in _ONNX_BYTES:
                integer += int(size * _ONNX_BYTES[tensor.data_type])
            elif tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16):
                floating += size * (4 if tensor.data_type == onnx.TensorProto.FLOAT else 2)
        dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
        for node in graph.node:
            wrapped = node.op_type in ("Conv", "MatMul", "Gemm") and dequantized.issuperset(node.input[:2])
            operators += node.op_type in _ONNX_INTEGER or wrapped
    return Contents(integer, floating, operators)


def _graphs(graph: Any) -> Any:
    """Yield a graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
                yield from _graphs(inner)


def _read_tflite(data: bytes) -> Contents:
    from ai_edge_litert import schema_py_generated as schema

    types = {number: name for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    model = read_tflite_model(data)
    integer = floating = operators = 0
    counted: set[int] = set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            content = model.buffers[tensor.buffer].data
            if content is None or tensor.buffer in counted or len(tensor.shape) < 2:
                continue
            counted.add(tensor.buffer)
            integer += len(content) if types[tensor.type] in ("INT8", "UINT8", "INT4") else 0
            floating += len(content) if types[tensor.type] in ("FLOAT32", "FLOAT16") else 0
        for operator in graph.operators:
            if names[model.operatorCodes[operator.opcodeIndex].builtinCode] in _TFLITE_PRODUCTS:
                # By integer weights a product is computed in integers, however its activations are stored.
                operators += types[graph.tensors[operator.inputs[1]].type] in _TFLITE_INTEGER
    return Contents(integer, floating, operators)
