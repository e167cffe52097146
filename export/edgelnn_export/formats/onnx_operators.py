"""One function per operator of a graph, each of which writes it as ONNX operators of opset 17."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from onnx import TensorProto

from edgelnn.errors import ExportError, UnsupportedModelError
from edgelnn_export.formats.onnx_assembly import INPUT, INT64_MIN, OUTPUT, Assembly
from edgelnn_export.formats.onnx_recurrent import write_gru, write_loop, write_lstm, write_rnn
from edgelnn_export.graph import Graph, Node
from edgelnn_export.operators import attribute

__all__ = ["write_graph", "write_nodes"]


def write_graph(graph: Graph, batch: int | None = None) -> Assembly:
    """Return a whole graph as an ONNX graph under construction, complete but for its frame.

    Args:
        graph: What to write.
        batch: How many images it takes at a time; None for any number.

    Raises:
        UnsupportedModelError: There is an operator that the writer does not know.
    """
    assembly = Assembly(graph.shapes, graph.constants, graph.layout, batch)
    assembly.bind(graph.input, INPUT)
    assembly.bind(graph.output, OUTPUT)
    write_nodes(assembly, graph.nodes, [graph.output])
    assembly.read(graph.output)
    return assembly


def write_nodes(assembly: Assembly, nodes: Sequence[Node], results: Sequence[str]) -> None:
    """Write nodes in their order.

    Args:
        assembly: Where to.
        nodes: Of a graph, or of the body of a loop.
        results: The values that are its outputs.

    Raises:
        UnsupportedModelError: There is an operator that the writer does not know.
    """
    sums = _merged_sums(assembly, nodes, results)
    merged = {linear.outputs[0] for linear in sums.values()}
    for node in nodes:
        if node.outputs[0] in merged:
            continue
        if node.outputs[0] in sums:
            _write_sum(assembly, node, sums[node.outputs[0]])
        elif node.op == "loop":
            write_loop(assembly, node, write_nodes)
        elif node.op in _WRITERS:
            _WRITERS[node.op](assembly, node)
        else:
            raise UnsupportedModelError(f"got the operator {node.op!r}; ONNX files take {', '.join(sorted(_WRITERS))}.")


def _merged_sums(a: Assembly, nodes: Sequence[Node], results: Sequence[str]) -> dict[str, Node]:
    """Return the linear layers without bias that serve one sum alone, by that sum: `Gemm` is both in one."""
    uses = Counter(name for node in nodes for name in node.inputs)
    uses.update(results)
    plain = {
        node.outputs[0]: node
        for node in nodes
        if node.op == "linear"
        and len(node.inputs) == 2
        and attribute(node, "activation") == "none"
        and len(a.shape(node.inputs[0])) == 2
        and uses[node.outputs[0]] == 1
    }
    found = {}
    for node in nodes:
        own = [name for name in node.inputs if name in plain and a.shape(name) == a.shape(node.outputs[0])]
        if node.op == "add" and own:
            found[node.outputs[0]] = plain.pop(own[0])
    return found


def _write_sum(a: Assembly, node: Node, linear: Node) -> None:
    x, weight = linear.inputs
    (other,) = [name for name in node.inputs if name != linear.outputs[0]]
    columns = a.constant(a.array(weight).T)
    a.add(linear, "Gemm", [a.read(x), columns, a.read(other)], [a.write(node.outputs[0])])


def _space(a: Assembly, node: Node) -> None:
    if a.layout != "channels_first":
        raise ExportError(
            f"got a {node.op} of a {a.layout} graph; ONNX takes channels_first. Lower it for that layout."
        )


def _activate(a: Assembly, node: Node, value: str) -> None:
    """Write the activation of a node, whose result before it is called `value`, to the node's output."""
    kind, output = attribute(node, "activation"), a.write(node.outputs[0])
    if kind == "relu":
        a.add(node, "Relu", [value], [output])
    else:
        a.add(node, "Clip", [value, a.scalar(0.0), a.scalar(6.0)], [output])


def _result(a: Assembly, node: Node) -> str:
    """Return the name for what a node computes before its activation."""
    return a.write(node.outputs[0]) if attribute(node, "activation") == "none" else a.fresh()


def _conv2d(a: Assembly, node: Node) -> None:
    _space(a, node)
    weight = a.shape(node.inputs[1])
    result = _result(a, node)
    a.add(
        node,
        "Conv",
        [a.read(name) for name in node.inputs],
        [result],
        kernel_shape=weight[2:],
        strides=list(attribute(node, "stride")),
        pads=list(attribute(node, "padding")),
        group=attribute(node, "groups"),
    )
    if attribute(node, "activation") != "none":
        _activate(a, node, result)


def _pool2d(a: Assembly, node: Node) -> None:
    _space(a, node)
    kernel, shape = tuple(attribute(node, "kernel")), a.shape(node.inputs[0])
    kind = attribute(node, "kind")
    if kernel == shape[2:]:
        op_type = "GlobalMaxPool" if kind == "max" else "GlobalAveragePool"
        a.add(node, op_type, [a.read(node.inputs[0])], [a.write(node.outputs[0])])
        return
    a.add(
        node,
        "MaxPool" if kind == "max" else "AveragePool",
        [a.read(node.inputs[0])],
        [a.write(node.outputs[0])],
        kernel_shape=list(kernel),
        strides=list(attribute(node, "stride")),
    )


def _linear(a: Assembly, node: Node) -> None:
    x, weight, *bias = node.inputs
    result = _result(a, node)
    columns = a.constant(a.array(weight).T)  # (in, out): the order of MatMul, so that one copy serves every rank
    if bias and len(a.shape(x)) == 2:
        a.add(node, "Gemm", [a.read(x), columns, a.read(bias[0])], [result])
    else:
        product = a.fresh() if bias else result
        a.add(node, "MatMul", [a.read(x), columns], [product])
        if bias:
            a.add(node, "Add", [product, a.read(bias[0])], [result])
    if attribute(node, "activation") != "none":
        _activate(a, node, result)


def _plain(op_type: str) -> Callable[[Assembly, Node], None]:
    def write(a: Assembly, node: Node) -> None:
        a.add(node, op_type, [a.read(name) for name in node.inputs], [a.write(node.outputs[0])])

    return write


def _pixels(a: Assembly, node: Node) -> None:
    a.add(node, "Cast", [a.read(node.inputs[0])], [a.write(node.outputs[0])], to=TensorProto.FLOAT)


def _softmax(a: Assembly, node: Node) -> None:
    a.add(node, "Softmax", [a.read(node.inputs[0])], [a.write(node.outputs[0])], axis=-1)


def _hard_sigmoid(a: Assembly, node: Node) -> None:
    a.add(node, "HardSigmoid", [a.read(node.inputs[0])], [a.write(node.outputs[0])], alpha=1 / 6, beta=0.5)


def _reshape(a: Assembly, node: Node) -> None:
    target = a.integers((-1, *attribute(node, "shape")[1:]))
    a.add(node, "Reshape", [a.read(node.inputs[0]), target], [a.write(node.outputs[0])])


def _transpose(a: Assembly, node: Node) -> None:
    order = list(attribute(node, "permutation"))
    a.add(node, "Transpose", [a.read(node.inputs[0])], [a.write(node.outputs[0])], perm=order)


def _concat(a: Assembly, node: Node) -> None:
    inputs = [a.read(name) for name in node.inputs]
    a.add(node, "Concat", inputs, [a.write(node.outputs[0])], axis=attribute(node, "axis"))


def _slice(a: Assembly, node: Node) -> None:
    where = [a.integers([attribute(node, name)]) for name in ("start", "stop", "axis")]
    a.add(node, "Slice", [a.read(node.inputs[0]), *where], [a.write(node.outputs[0])])


def _split(a: Assembly, node: Node) -> None:
    sizes = a.integers(attribute(node, "sizes"))
    outputs = [a.write(name) for name in node.outputs]
    a.add(node, "Split", [a.read(node.inputs[0]), sizes], outputs, axis=attribute(node, "axis"))


def _gather(a: Assembly, node: Node) -> None:
    indices = a.indices(node, attribute(node, "indices"))
    a.add(node, "Gather", [a.read(node.inputs[0]), indices], [a.write(node.outputs[0])], axis=attribute(node, "axis"))


def _reverse(a: Assembly, node: Node) -> None:
    where = [a.integers([number]) for number in (-1, INT64_MIN, attribute(node, "axis"), -1)]
    a.add(node, "Slice", [a.read(node.inputs[0]), *where], [a.write(node.outputs[0])])


def _pad_zeros(a: Assembly, node: Node) -> None:
    axis, rank = attribute(node, "axis"), len(a.shape(node.inputs[0]))
    pads = np.zeros(2 * rank, np.int64)
    pads[axis], pads[rank + axis] = attribute(node, "before"), attribute(node, "after")
    a.add(node, "Pad", [a.read(node.inputs[0]), a.constant(pads)], [a.write(node.outputs[0])])


def _shift(a: Assembly, node: Node) -> None:
    axis, by, shape = attribute(node, "axis"), attribute(node, "by"), a.shape(node.inputs[0])
    where = [a.integers([number]) for number in (0, shape[axis] - by, axis)]
    (kept,) = a.add(node, "Slice", [a.read(node.inputs[0]), *where])
    pads = np.zeros(2 * len(shape), np.int64)
    pads[axis] = by
    a.add(node, "Pad", [kept, a.constant(pads)], [a.write(node.outputs[0])])


def _sums(**order: int) -> Callable[[Assembly, Node], None]:
    def write(a: Assembly, node: Node) -> None:
        axis = a.constant(np.array(attribute(node, "axis"), np.int64))
        a.add(node, "CumSum", [a.read(node.inputs[0]), axis], [a.write(node.outputs[0])], **order)

    return write


def _mean(a: Assembly, node: Node) -> None:
    axes = [attribute(node, "axis")]
    a.add(node, "ReduceMean", [a.read(node.inputs[0])], [a.write(node.outputs[0])], axes=axes, keepdims=0)


_WRITERS: Final[Mapping[str, Callable[[Assembly, Node], None]]] = {
    "conv2d": _conv2d,
    "pool2d": _pool2d,
    "linear": _linear,
    "add": _plain("Add"),
    "subtract": _plain("Sub"),
    "multiply": _plain("Mul"),
    "divide": _plain("Div"),
    "maximum": _plain("Max"),
    "pixels": _pixels,
    "relu": _plain("Relu"),
    "tanh": _plain("Tanh"),
    "sigmoid": _plain("Sigmoid"),
    "exp": _plain("Exp"),
    "log": _plain("Log"),
    "abs": _plain("Abs"),
    "softmax": _softmax,
    "hard_swish": _plain("HardSwish"),
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
    "suffix_sums": _sums(reverse=1),
    "preceding_sums": _sums(exclusive=1),
    "lstm": write_lstm,
    "gru": write_gru,
    "rnn": write_rnn,
}
