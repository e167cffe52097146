"""One function per operator of a graph, each of which writes it as TFLite operators of the lowest version that does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]

from edgelnn.errors import ExportError, UnsupportedModelError
from edgelnn_export.formats.tflite_assembly import Assembly, TfliteFile
from edgelnn_export.formats.tflite_loops import write_loop
from edgelnn_export.graph import Graph, Node
from edgelnn_export.operators import attribute

__all__ = ["INPUT", "OUTPUT", "write_graph", "write_nodes"]

INPUT, OUTPUT = "image", "probabilities"
_FUSED: Final[Mapping[str, int]] = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}

_MOST_SPLITS: Final = 4
_FEW_INDICES: Final = 64  # for which another operator would take more bytes than it saves
_UINT8, _INT32 = schema.TensorType.UINT8, schema.TensorType.INT32


def write_graph(graph: Graph) -> tuple[TfliteFile, Assembly]:
    """Return a graph without fused recurrences as a file under construction, and its main subgraph, both complete.

    Raises:
        UnsupportedModelError: There is an operator that the writer does not know.
    """
    file = TfliteFile(graph.constants, graph.layout)
    main = file.subgraph(graph.shapes, graph.nodes, (graph.output,))
    free = all(node.op != "loop" for node in graph.nodes)
    image = main.tensor(INPUT, graph.shapes[graph.input], graph.input_type, free=free)
    main.inputs = [main.bind(graph.input, image)]
    main.outputs = [main.bind(graph.output, main.tensor(OUTPUT, graph.shapes[graph.output], free=free))]
    write_nodes(main, graph.nodes)
    return file, main


def write_nodes(a: Assembly, nodes: tuple[Node, ...]) -> None:
    """Write nodes in their order.

    Raises:
        UnsupportedModelError: There is an operator that the writer does not know.
    """
    for node in nodes:
        if node.op == "loop":
            write_loop(a, node, write_nodes)
        elif node.op in _WRITERS:
            _WRITERS[node.op](a, node)
        else:
            known = ", ".join(sorted((*_WRITERS, "loop")))
            raise UnsupportedModelError(f"got the operator {node.op!r}; TFLite files take {known}. Lower it to those.")


def _space(a: Assembly, node: Node) -> None:
    if a.file.layout != "channels_last":
        raise ExportError(
            f"got a {node.op} of a {a.file.layout} graph; TFLite takes channels_last. Lower it for that layout."
        )


def _fused(node: Node) -> int:
    return _FUSED[attribute(node, "activation")]


def _conv2d(a: Assembly, node: Node) -> None:
    _space(a, node)
    weight, groups = a.array(node.inputs[1]), attribute(node, "groups")
    kernel, stride = weight.shape[2:], attribute(node, "stride")
    top, left, *_ = attribute(node, "padding")
    shape, result = a.shape(node.inputs[0]), a.shape(node.outputs[0])
    x, scheme = a.read(node.inputs[0]), schema.Padding.VALID
    used = [(result[1 + i] - 1) * stride[i] + kernel[i] - shape[1 + i] for i in (0, 1)]
    pads = [(top, used[0] - top), (left, used[1] - left)]  # what the last window does not reach needs no padding
    if any(max(pair) > 0 for pair in pads):
        if all(_is_same(*case) for case in zip(shape[1:3], result[1:3], stride, pads, strict=True)):
            scheme = schema.Padding.SAME
        else:
            x = _padded(a, node, x, shape, [(0, 0), *((before, max(after, 0)) for before, after in pads), (0, 0)])
    inputs = [x, -1, a.read(node.inputs[2])]
    strides = {"strideH": stride[0], "strideW": stride[1], "padding": scheme, "fusedActivationFunction": _fused(node)}
    if groups > 1 and groups == shape[3]:
        inputs[1] = a.constant(np.ascontiguousarray(weight.transpose(1, 2, 3, 0)))
        options = schema.DepthwiseConv2DOptionsT(depthMultiplier=weight.shape[0] // groups, **strides)
        a.add("DEPTHWISE_CONV_2D", inputs, [a.write(node)], options)
    else:
        inputs[1] = a.constant(np.ascontiguousarray(weight.transpose(0, 2, 3, 1)))
        a.add("CONV_2D", inputs, [a.write(node)], schema.Conv2DOptionsT(**strides), version=6 if groups > 1 else 1)


def _is_same(length: int, result: int, stride: int, pads: tuple[int, int]) -> bool:
    """Return whether padding is what TFLite calls SAME: a result of ⌈length / stride⌉, the odd one out behind."""
    return result == -(-length // stride) and pads[0] == max(sum(pads), 0) // 2


def _padded(a: Assembly, node: Node, x: int, shape: tuple[int, ...], pads: list[tuple[int, int]]) -> int:
    result = a.value(node, tuple(n + sum(pair) for n, pair in zip(shape, pads, strict=True)))
    a.add("PAD", [x, a.constant(np.array(pads, np.int32))], [result])
    return result


def _pool2d(a: Assembly, node: Node) -> None:
    _space(a, node)
    kernel, stride = attribute(node, "kernel"), attribute(node, "stride")
    options = schema.Pool2DOptionsT(
        padding=schema.Padding.VALID,
        filterHeight=kernel[0],
        filterWidth=kernel[1],
        strideH=stride[0],
        strideW=stride[1],
        fusedActivationFunction=_FUSED["none"],
    )
    builtin = "MAX_POOL_2D" if attribute(node, "kind") == "max" else "AVERAGE_POOL_2D"
    a.add(builtin, [a.read(node.inputs[0])], [a.write(node)], options)


def _linear(a: Assembly, node: Node) -> None:
    keep = len(a.shape(node.inputs[0])) > 2
    options = schema.FullyConnectedOptionsT(fusedActivationFunction=_fused(node), keepNumDims=keep)
    inputs = [a.read(name) for name in node.inputs]
    version = 6 if len(inputs) == 2 else 5 if keep else 1
    a.add("FULLY_CONNECTED", inputs if len(inputs) == 3 else [*inputs, -1], [a.write(node)], options, version)


def _plain(builtin: str, options: Callable[[], Any] = lambda: None) -> Callable[[Assembly, Node], None]:
    def write(a: Assembly, node: Node) -> None:
        a.add(builtin, [a.read(name) for name in node.inputs], [a.write(node)], options())

    return write


def _pixels(a: Assembly, node: Node) -> None:
    options = schema.CastOptionsT(inDataType=_UINT8, outDataType=schema.TensorType.FLOAT32)
    a.add("CAST", [a.read(node.inputs[0])], [a.write(node)], options)


def _hard_sigmoid(a: Assembly, node: Node) -> None:
    shifted = a.value(node, a.shape(node.outputs[0]))
    a.add(
        "ADD",
        [a.read(node.inputs[0]), a.scalar(3.0)],
        [shifted],
        schema.AddOptionsT(fusedActivationFunction=_FUSED["relu6"]),
    )
    a.add("MUL", [shifted, a.scalar(1 / 6)], [a.write(node)], schema.MulOptionsT())


def _reshape(a: Assembly, node: Node) -> None:
    target = (-1, *attribute(node, "shape")[1:])
    a.add("RESHAPE", [a.read(node.inputs[0]), a.integers(target)], [a.write(node)])


def _transpose(a: Assembly, node: Node) -> None:
    a.add("TRANSPOSE", [a.read(node.inputs[0]), a.integers(attribute(node, "permutation"))], [a.write(node)])


def _concat(a: Assembly, node: Node) -> None:
    options = schema.ConcatenationOptionsT(axis=attribute(node, "axis"))
    a.add("CONCATENATION", [a.read(name) for name in node.inputs], [a.write(node)], options)


def _slice(a: Assembly, node: Node) -> None:
    axis, start, stop = (attribute(node, name) for name in ("axis", "start", "stop"))
    _write_slice(a, node.inputs[0], axis, start, stop, a.write(node))


def _write_slice(a: Assembly, name: str, axis: int, start: int, stop: int, result: int) -> None:
    shape = a.shape(name)
    begin, end = [0] * len(shape), list(shape)
    begin[axis], end[axis] = start, stop
    a.add_slice(a.read(name), begin, end, result)


def _split(a: Assembly, node: Node) -> None:
    """Write a split as SPLIT where XNNPACK takes it, into two to four equal pieces all used; else as slices."""
    sizes, axis = attribute(node, "sizes"), attribute(node, "axis")
    used = [name in a.used for name in node.outputs]
    if len(set(sizes)) == 1 and len(sizes) <= _MOST_SPLITS and all(used):
        inputs = [a.integer(axis), a.read(node.inputs[0])]
        outputs = [a.write(node, index) for index in range(len(sizes))]
        a.add("SPLIT", inputs, outputs, schema.SplitOptionsT(numSplits=len(sizes)))
        return
    stops = np.cumsum(sizes).tolist()
    for index in np.flatnonzero(used).tolist():
        _write_slice(a, node.inputs[0], axis, stops[index] - sizes[index], stops[index], a.write(node, index))


def _gather(a: Assembly, node: Node) -> None:
    options = schema.GatherOptionsT(axis=attribute(node, "axis"))
    a.add("GATHER", [a.read(node.inputs[0]), _indices(a, node)], [a.write(node)], options)


def _indices(a: Assembly, node: Node) -> int:
    """Return the tensor of a gather's indices; a long one of small numbers is stored in a byte each."""
    values = attribute(node, "indices")
    if len(values) < _FEW_INDICES or max(values) > np.iinfo(np.uint8).max:
        return a.integers(values)
    stored, result = a.constant(np.array(values, np.uint8)), a.value(node, (len(values),), "int32")
    a.add("CAST", [stored], [result], schema.CastOptionsT(inDataType=_UINT8, outDataType=_INT32))
    return result


def _reverse(a: Assembly, node: Node) -> None:
    a.add("REVERSE_V2", [a.read(node.inputs[0]), a.integers([attribute(node, "axis")])], [a.write(node)])


def _pad_zeros(a: Assembly, node: Node) -> None:
    pads = np.zeros((len(a.shape(node.inputs[0])), 2), np.int32)
    pads[attribute(node, "axis")] = attribute(node, "before"), attribute(node, "after")
    a.add("PAD", [a.read(node.inputs[0]), a.constant(pads)], [a.write(node)])


def _shift(a: Assembly, node: Node) -> None:
    axis, by, shape = attribute(node, "axis"), attribute(node, "by"), a.shape(node.inputs[0])
    kept = a.value(node, (*shape[:axis], shape[axis] - by, *shape[axis + 1 :]))
    _write_slice(a, node.inputs[0], axis, 0, shape[axis] - by, kept)
    pads = np.zeros((len(shape), 2), np.int32)
    pads[axis, 0] = by
    a.add("PAD", [kept, a.constant(pads)], [a.write(node)])


def _sums(**order: bool) -> Callable[[Assembly, Node], None]:
    def write(a: Assembly, node: Node) -> None:
        inputs = [a.read(node.inputs[0]), a.integer(attribute(node, "axis"))]
        a.add("CUMSUM", inputs, [a.write(node)], schema.CumsumOptionsT(**order))

    return write


def _mean(a: Assembly, node: Node) -> None:
    axes = a.integers([attribute(node, "axis")])
    a.add("MEAN", [a.read(node.inputs[0]), axes], [a.write(node)], schema.ReducerOptionsT(keepDims=False))


_WRITERS: Final[Mapping[str, Callable[[Assembly, Node], None]]] = {
    "conv2d": _conv2d,
    "pool2d": _pool2d,
    "linear": _linear,
    "add": _plain("ADD", schema.AddOptionsT),
    "subtract": _plain("SUB", schema.SubOptionsT),
    "multiply": _plain("MUL", schema.MulOptionsT),
    "divide": _plain("DIV", schema.DivOptionsT),
    "maximum": _plain("MAXIMUM", schema.MaximumMinimumOptionsT),
    "pixels": _pixels,
    "relu": _plain("RELU"),
    "tanh": _plain("TANH"),
    "sigmoid": _plain("LOGISTIC"),
    "exp": _plain("EXP"),
    "log": _plain("LOG"),
    "abs": _plain("ABS"),
    "softmax": _plain("SOFTMAX", lambda: schema.SoftmaxOptionsT(beta=1.0)),
    "hard_swish": _plain("HARD_SWISH"),
    "hard_sigmoid": _hard_sigmoid,
    "reshape": _reshape,
    "transpose": _transpose,
    "concat": _concat,
    "slice": _slice,
    "split": _split,
    "gather": _gather,
    "reverse": _reverse,
    "pad_zeros": _pad_zeros,
    "shift": _shift,
    "mean": _mean,
    "suffix_sums": _sums(reverse=True),
    "preceding_sums": _sums(exclusive=True),
}
