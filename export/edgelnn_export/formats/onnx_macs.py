"""Multiply-accumulates of each operator of an ONNX file, for one image.

Shapes are those that ONNX's shape inference finds once the batch is 1. Operators of ONNX Runtime's quantizer, which it
does not know, are told to it as the standard ones whose shapes are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper
from onnx.shape_inference import infer_shapes

from edgelnn_export.inspection import Work

__all__ = ["count_work"]

Shape = tuple[int, ...]

# Operator -> the standard one of the same shapes, and which inputs it takes.
_ALIKE: Final[Mapping[str, tuple[str, tuple[int, ...]]]] = {
    "DynamicQuantizeLSTM": ("LSTM", (0, 1, 2)),
    "DynamicQuantizeMatMul": ("MatMul", (0, 1)),
    "MatMulIntegerToFloat": ("MatMul", (0, 1)),
    "QGemm": ("Gemm", (0, 3)),
    "QLinearAdd": ("Add", (0, 3)),
    "QLinearMul": ("Mul", (0, 3)),
    "QLinearLeakyRelu": ("Identity", (0,)),
    "QLinearSigmoid": ("Identity", (0,)),
    "QLinearSoftmax": ("Identity", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
    "QuantizeLinear": ("Identity", (0,)),
    "DequantizeLinear": ("Identity", (0,)),
}
_WEIGHT: Final[Mapping[str, int]] = {"QGemm": 3, "QLinearConv": 3, "QLinearMatMul": 3}  # which input; else the second
_RECURRENT: Final = {"DynamicQuantizeLSTM", "GRU", "LSTM", "RNN"}
_PRODUCTS: Final = {"DynamicQuantizeMatMul", "MatMul", "MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul"}
_NOT_COUNTED: Final = {"Einsum"}
_MOST_RUNS: Final = 2**40


def count_work(model: ModelProto) -> list[Work]:
    """Return the work of every operator in the order of the file, that of bodies right after their operator."""
    shaped = ModelProto()
    shaped.CopyFrom(model)
    for value in shaped.graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].dim_value:
            dims[0].dim_value = 1
    # What the file says of values is for any batch.
    del shaped.graph.value_info[:]
    for value in shaped.graph.output:
        value.type.tensor_type.ClearField("shape")
    _translate(shaped.graph)
    inferred = infer_shapes(shaped, data_prop=True)
    return list(_work(model.graph, inferred.graph, {}, {}, 1))


def _translate(graph: GraphProto) -> None:
    for node in graph.node:
        if node.domain == "com.microsoft" and node.op_type in _ALIKE:
            node.op_type, kept = _ALIKE[node.op_type]
            inputs = [node.input[place] for place in kept]
            del node.input[:]
            node.input.extend(inputs)
            node.domain = ""
            for attribute in [each for each in node.attribute if each.name not in _SHAPING]:
                node.attribute.remove(attribute)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _translate(attribute.g)


_SHAPING: Final = {"hidden_size", "direction", "layout", "transA", "transB"}


def _work(
    graph: GraphProto,
    shaped: GraphProto,
    shapes: Mapping[str, Shape],
    numbers: Mapping[str, int],
    runs: int | None,
) -> Iterator[Work]:
    """Yield the work of a graph that is computed `runs` times, with what the graphs around it know."""
    shapes, numbers = dict(shapes), dict(numbers)
    for value in (*shaped.input, *shaped.output, *shaped.value_info):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            if all(dim.HasField("dim_value") for dim in dims):
                shapes[value.name] = tuple(dim.dim_value for dim in dims)
    constants = [*graph.initializer, *(n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute)]
    names = [
        *(t.name for t in graph.initializer),
        *(n.output[0] for n in graph.node if n.op_type == "Constant" and n.attribute),
    ]
    for name, tensor in zip(names, constants, strict=True):
        shapes[name] = tuple(tensor.dims)
        if tensor.data_type == onnx.TensorProto.INT64 and math.prod(tensor.dims) == 1:
            numbers[name] = int(numpy_helper.to_array(tensor).flat[0])
    for node, twin in zip(graph.node, shaped.node, strict=True):
        macs = _macs(node, shapes)
        yield Work(None if macs is None or (macs and runs is None) else macs * (runs or 0), runs)
        times = _times(node, shapes, numbers)
        inner = None if runs is None or times is None else min(runs * times, _MOST_RUNS)
        for attribute, other in zip(node.attribute, _with_bodies(twin, node), strict=True):
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _work(attribute.g, other.g, shapes, numbers, inner)


def _with_bodies(twin: NodeProto, node: NodeProto) -> list[onnx.AttributeProto]:
    """Return the attributes of a node's twin beside its own; only operators without bodies were told otherwise."""
    return list(twin.attribute) if len(twin.attribute) == len(node.attribute) else list(node.attribute)


def _macs(node: NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Return the multiply-accumulates of one run of an operator; None where a shape is not known."""
    kind = node.op_type
    if kind in _NOT_COUNTED:
        return None
    place = _WEIGHT.get(kind, 1)
    if kind not in _KNOWN or len(node.input) <= place:
        return 0
    x, weight, result = (shapes.get(name) for name in (node.input[0], node.input[place], node.output[0]))
    if kind == "MatMulNBits":
        return None if x is None else math.prod(x) * _integer(node, "N", 0)
    if x is None or weight is None:
        return None
    if kind in ("Gemm", "QGemm"):
        return math.prod(x) * weight[0 if _integer(node, "transB", 0) else 1]
    if kind == "ConvTranspose":
        return math.prod(x) * math.prod(weight[1:])
    if kind in _RECURRENT:
        recurrent = shapes.get(node.input[2])
        return None if recurrent is None else math.prod(x[:2]) * (math.prod(weight) + math.prod(recurrent))
    if kind in _PRODUCTS:
        if len(weight) <= 2:
            return math.prod(x) * (weight[1] if len(weight) == 2 else 1)
        return None if result is None else math.prod(result) * x[-1]
    return None if result is None else math.prod(result) * math.prod(weight[1:])


_KNOWN: Final = {
    *_PRODUCTS,
    *_RECURRENT,
    *("Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMulNBits", "QGemm", "QLinearConv"),
}


def _times(node: NodeProto, shapes: Mapping[str, Shape], numbers: Mapping[str, int]) -> int | None:
    """Return how often an operator runs its bodies; None where only the values that it gets could tell."""
    if node.op_type == "Loop":
        return numbers.get(node.input[0])
    if node.op_type == "Scan":
        scanned = _integer(node, "num_scan_inputs", 1)
        shape = shapes.get(node.input[len(node.input) - scanned])
        axes = [axis for each in node.attribute if each.name == "scan_input_axes" for axis in each.ints] or [0]
        return None if not shape else shape[axes[0]]
    return 1


def _integer(node: NodeProto, name: str, default: int) -> int:
    return next((int(each.i) for each in node.attribute if each.name == name), default)
