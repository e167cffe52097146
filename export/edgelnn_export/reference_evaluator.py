"""evaluate: a graph computed in numpy, slowly and plainly. The oracle for passes and writers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

from edgelnn.errors import ExportError
from edgelnn.preprocessing import Layout
from edgelnn_export.graph import Body, Graph, Node
from edgelnn_export.operators import OPERATORS, attribute

__all__ = ["evaluate", "evaluate_values"]

Floats = NDArray[Any]  # floating
Attributes = Mapping[str, Any]


def evaluate(graph: Graph, x: Floats, *, dtype: DTypeLike = np.float32) -> Floats:
    """Return the graph's output for a batch of inputs.

    Args:
        graph: What to compute.
        x: (n, …): the graph's input, n examples.
        dtype: Of the computation; float64 shows what rounding does.

    Returns:
        (n, …) of `dtype`.

    Raises:
        ExportError: The input does not fit the graph.

    >>> from edgelnn_export.graph_builder import GraphBuilder
    >>> b = GraphBuilder((1, 2), "channels_first")
    >>> evaluate(b.finish(b.linear(b.input, [[1.0, 2.0]], [0.5])), np.array([[1, 1], [0, 1]])).tolist()
    [[3.5], [2.5]]
    """
    return evaluate_values(graph, x, dtype=dtype)[graph.output]


def evaluate_values(graph: Graph, x: Floats, *, dtype: DTypeLike = np.float32) -> dict[str, Floats]:
    """Return every value of the graph by name, for a batch of inputs; arguments as for `evaluate`."""
    expected = graph.shapes[graph.input]
    if x.shape[1:] != expected[1:] or x.shape[0] % expected[0] or not x.shape[0]:
        raise ExportError(f"got an input of shape {x.shape}; the graph takes {expected}, or more along axis 0.")
    values: dict[str, Floats] = {name: array.astype(dtype) for name, array in graph.constants.items()}
    constants = dict(values)
    values[graph.input] = x.astype(dtype)
    # A BLAS kernel may raise the flag for what lies beside a short row; a real NaN stands in the values.
    with np.errstate(invalid="ignore"):
        _run(graph.nodes, values, constants, graph.shapes, graph.layout, x.shape[0] // expected[0])
    return {name: value for name, value in values.items() if name not in constants}


def _run(
    nodes: Sequence[Node],
    values: MutableMapping[str, Floats],
    constants: Mapping[str, Floats],
    shapes: Mapping[str, tuple[int, ...]],
    layout: Layout,
    batch: int,
) -> None:
    for node in nodes:
        inputs = [values[name] for name in node.inputs]
        attributes = {name: attribute(node, name) for name in OPERATORS[node.op].attributes}
        if node.op == "loop":
            results = _loop(inputs, attributes, constants, layout, batch)
        elif node.op == "reshape":
            shape = attributes["shape"]
            results = [inputs[0].reshape(shape[0] * batch, *shape[1:])]
        elif node.op in ("conv2d", "pool2d"):
            results = [_by_layout(_conv2d if node.op == "conv2d" else _pool2d, inputs, attributes, layout)]
        else:
            found = _COMPUTE[node.op](inputs, attributes)
            results = found if isinstance(found, list) else [found]
        for name, value in zip(node.outputs, results, strict=True):
            wanted = shapes[name]
            if value.shape != (wanted[0] * batch, *wanted[1:]):
                raise ExportError(
                    f"{node.op} node {name}: computed {value.shape}; expected {wanted} by {batch} examples."
                )
            values[name] = value


def _by_layout(
    compute: Callable[[Sequence[Floats], Attributes], Floats], inputs: list[Floats], a: Attributes, layout: Layout
) -> Floats:
    if layout == "channels_first":
        return compute(inputs, a)
    return np.moveaxis(compute([np.moveaxis(inputs[0], 3, 1), *inputs[1:]], a), 1, 3)


def _conv2d(inputs: Sequence[Floats], a: Attributes) -> Floats:
    x, weight, bias = inputs
    top, left, bottom, right = a["padding"]
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    strides = a["stride"]
    windows = sliding_window_view(padded, weight.shape[2:], axis=(2, 3))[:, :, :: strides[0], :: strides[1]]
    groups = a["groups"]
    pieces = [
        np.einsum("nchwij,ocij->nohw", part, kernel, optimize=True)
        for part, kernel in zip(np.split(windows, groups, axis=1), np.split(weight, groups), strict=True)
    ]
    return _activate(np.concatenate(pieces, axis=1) + bias[:, None, None], a["activation"])


def _pool2d(inputs: Sequence[Floats], a: Attributes) -> Floats:
    strides = a["stride"]
    windows = sliding_window_view(inputs[0], a["kernel"], axis=(2, 3))[:, :, :: strides[0], :: strides[1]]
    pooled: Floats = windows.max(axis=(4, 5)) if a["kind"] == "max" else windows.mean(axis=(4, 5), dtype=windows.dtype)
    return pooled


def _activate(x: Floats, name: str) -> Floats:
    if name == "none":
        return x
    return np.maximum(x, 0) if name == "relu" else np.clip(x, 0, 6)


def _linear(inputs: Sequence[Floats], a: Attributes) -> Floats:
    product = inputs[0] @ inputs[1].T
    return _activate(product + inputs[2] if len(inputs) == 3 else product, a["activation"])


def _sigmoid(x: Floats) -> Floats:
    half: Floats = (np.tanh(x / 2) + 1) / 2  # no overflow, at either end
    return half


def _softmax(x: Floats) -> Floats:
    exponentials: Floats = np.exp(x - x.max(axis=-1, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result


_CELL: Final[Mapping[str, Callable[[Floats], Floats]]] = {
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "identity": lambda x: x,
}


def _lstm_direction(x: Floats, weights: Sequence[Floats], a: Attributes) -> Floats:
    weight, recurrent, bias = weights
    gates, candidate, output = (_CELL[name] for name in a["activations"])
    hidden = cell = np.zeros((x.shape[0], recurrent.shape[1]), x.dtype)
    states = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ weight.T + hidden @ recurrent.T + bias, 4, axis=1)
        cell = gates(f) * cell + gates(i) * candidate(g)
        hidden = gates(o) * output(cell)
        states.append(hidden)
    return np.stack(states, axis=1)


def _gru_direction(x: Floats, weights: Sequence[Floats], a: Attributes) -> Floats:
    weight, recurrent, bias, recurrent_bias = weights
    gates, candidate = (_CELL[name] for name in a["activations"])
    hidden = np.zeros((x.shape[0], recurrent.shape[1]), x.dtype)
    states = []
    for t in range(x.shape[1]):
        xr, xz, xn = np.split(x[:, t] @ weight.T + bias, 3, axis=1)
        hr, hz, hn = np.split(hidden @ recurrent.T + recurrent_bias, 3, axis=1)
        new, keep = candidate(xn + gates(xr + hr) * hn), gates(xz + hz)
        hidden = (1 - keep) * new + keep * hidden
        states.append(hidden)
    return np.stack(states, axis=1)


def _rnn_direction(x: Floats, weights: Sequence[Floats], a: Attributes) -> Floats:
    weight, recurrent, bias = weights
    (activation,) = (_CELL[name] for name in a["activations"])
    hidden = np.zeros((x.shape[0], recurrent.shape[1]), x.dtype)
    states = []
    for t in range(x.shape[1]):
        hidden = activation(x[:, t] @ weight.T + hidden @ recurrent.T + bias)
        states.append(hidden)
    return np.stack(states, axis=1)


def _recurrent(inputs: Sequence[Floats], a: Attributes) -> Floats:
    """Run an LSTM or RNN (3 weights a direction) or a GRU (4), known by their activations, in the directions asked."""
    run, size = {3: (_lstm_direction, 3), 2: (_gru_direction, 4), 1: (_rnn_direction, 3)}[len(a["activations"])]
    directions = {"forward": (False,), "reverse": (True,), "both": (False, True)}[a["direction"]]
    results = []
    for index, backward in enumerate(directions):
        weights = inputs[1 + index * size : 1 + (index + 1) * size]
        sequence = run(inputs[0][:, ::-1] if backward else inputs[0], weights, a)
        last = sequence[:, -1]
        results.append(last if a["result"] == "last" else sequence[:, ::-1] if backward else sequence)
    return np.concatenate(results, axis=-1)


def _loop(
    inputs: list[Floats], a: Attributes, constants: Mapping[str, Floats], layout: Layout, batch: int
) -> list[Floats]:
    body: Body = a["body"]
    count, sequences = a["states"], a["sequences"]
    wanted = [body.shapes[name] for name in body.inputs[:count]]
    states = [np.broadcast_to(v, (w[0] * batch, *w[1:])) for v, w in zip(inputs[:count], wanted, strict=True)]
    order = range(a["steps"])[:: -1 if a["reverse"] else 1]
    results: list[list[Floats]] = []
    for step in order:
        given = [*states, *[s[:, step] for s in inputs[count : count + sequences]], *inputs[count + sequences :]]
        values = {**constants, **dict(zip(body.inputs, given, strict=True))}
        _run(body.nodes, values, constants, body.shapes, layout, batch)
        outputs = [values[name] for name in body.outputs]
        states = outputs[:count]
        results.append(outputs[count:])
    if a["reverse"]:
        results.reverse()
    return [*states, *[np.stack(steps, axis=1) for steps in zip(*results, strict=True)]]


def _split(inputs: Sequence[Floats], a: Attributes) -> list[Floats]:
    return list(np.split(inputs[0], np.cumsum(a["sizes"])[:-1], axis=a["axis"]))


def _slice(inputs: Sequence[Floats], a: Attributes) -> Floats:
    piece: Floats = inputs[0][(slice(None),) * a["axis"] + (slice(a["start"], a["stop"]),)]
    return piece


def _pad_zeros(inputs: Sequence[Floats], a: Attributes) -> Floats:
    widths = [(0, 0)] * inputs[0].ndim
    widths[a["axis"]] = (a["before"], a["after"])
    return np.pad(inputs[0], widths)


def _shift(inputs: Sequence[Floats], a: Attributes) -> Floats:
    moved = np.roll(inputs[0], a["by"], axis=a["axis"])
    moved[(slice(None),) * a["axis"] + (slice(0, a["by"]),)] = 0
    return moved


_COMPUTE: Final[Mapping[str, Callable[[Sequence[Floats], Attributes], Floats | list[Floats]]]] = {
    "linear": _linear,
    "add": lambda i, a: i[0] + i[1],
    "subtract": lambda i, a: i[0] - i[1],
    "multiply": lambda i, a: i[0] * i[1],
    "divide": lambda i, a: i[0] / i[1],
    "pixels": lambda i, a: i[0],
    "maximum": lambda i, a: np.maximum(i[0], i[1]),
    "relu": lambda i, a: np.maximum(i[0], 0),
    "tanh": lambda i, a: np.tanh(i[0]),
    "sigmoid": lambda i, a: _sigmoid(i[0]),
    "softmax": lambda i, a: _softmax(i[0]),
    "hard_swish": lambda i, a: i[0] * np.clip(i[0] / 6 + 0.5, 0, 1),
    "hard_sigmoid": lambda i, a: np.clip(i[0] / 6 + 0.5, 0, 1),
    "exp": lambda i, a: np.exp(i[0]),
    "log": lambda i, a: np.log(i[0]),
    "abs": lambda i, a: np.abs(i[0]),
    "transpose": lambda i, a: i[0].transpose(a["permutation"]),
    "concat": lambda i, a: np.concatenate(i, axis=a["axis"]),
    "slice": _slice,
    "split": _split,
    "gather": lambda i, a: np.take(i[0], a["indices"], axis=a["axis"]),
    "reverse": lambda i, a: np.flip(i[0], axis=a["axis"]),
    "pad_zeros": _pad_zeros,
    "shift": _shift,
    "preceding_sums": lambda i, a: np.cumsum(i[0], a["axis"], dtype=i[0].dtype) - i[0],
    "suffix_sums": lambda i, a: np.flip(np.cumsum(np.flip(i[0], a["axis"]), a["axis"], dtype=i[0].dtype), a["axis"]),
    "mean": lambda i, a: i[0].mean(axis=a["axis"], dtype=i[0].dtype),
    "lstm": _recurrent,
    "gru": _recurrent,
    "rnn": _recurrent,
}
