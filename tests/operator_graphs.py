"""Small graphs, at least one for each operator, that the writers of both formats are held to."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edgelnn.preprocessing import Layout
from edgelnn_export.graph import Graph
from edgelnn_export.graph_builder import GraphBuilder

Build = Callable[[GraphBuilder, Callable[..., Any]], str]
SEQUENCE = (1, 6, 4)
LOOPS = ("loop_forward", "loop_reverse", "loop_last", "loop_carried", "loop_nested", "loop_without_sequence")


def small_graph(name: str, layout: Layout) -> Graph:
    """Return one of `GRAPHS` by name, with the same weights every time."""
    shape, build = GRAPHS[name]
    return make_graph(shape, build, layout)


def make_graph(shape: tuple[int, ...], build: Build, layout: Layout, seed: int = 0) -> Graph:
    """Return the graph that `build` writes; its second argument makes weights of a shape."""
    generator = np.random.default_rng(seed)
    if len(shape) == 4 and layout == "channels_first":
        shape = (shape[0], shape[3], shape[1], shape[2])
    builder = GraphBuilder(shape, layout)
    return builder.finish(build(builder, lambda *s: generator.normal(scale=0.4, size=s)))


def inputs_for(graph: Graph, batch: int, seed: int = 1) -> np.ndarray:
    """Return random inputs for so many examples."""
    first, *rest = graph.shapes[graph.input]
    return np.random.default_rng(seed).normal(size=(first * batch, *rest)).astype(np.float32)


def quantize_tflite(model: bytes, recipe: str, calibration: Sequence[np.ndarray]) -> bytes:
    """Return what Google's quantizer makes of a file by one of its named recipes."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")  # the quantizer's, about what it keeps in memory and how it is imported
        from ai_edge_quantizer import quantizer
        from ai_edge_quantizer import recipe as recipes

        engine = quantizer.Quantizer(model)
        engine.load_quantization_recipe(getattr(recipes, recipe)())
        feeds = {"serving_default": [{"image": x} for x in calibration]}
        found = engine.calibrate(feeds) if engine.need_calibration else None
        return bytes(engine.quantize(found).quantized_model)


def _one(op: str, *, inputs: int = 1, **attributes: Any) -> Build:
    return lambda b, w: b.add_node(op, (b.input,) * inputs, **attributes)[0]


def conv(out: int, kernel: Sequence[int], *, groups: int = 1, **attributes: Any) -> Build:
    """Return what writes a convolution."""

    def build(b: GraphBuilder, w: Callable[..., Any]) -> str:
        channels = b.shape(b.input)[1 if b.layout == "channels_first" else 3]
        return b.conv2d(b.input, w(out, channels // groups, *kernel), w(out), groups=groups, **attributes)

    return build


def linear(out: int, *, bias: bool = True, activation: str = "none") -> Build:
    """Return what writes a linear layer."""
    return lambda b, w: b.linear(b.input, w(out, b.shape(b.input)[-1]), w(out) if bias else None, activation)


def recurrent(op: str, units: int, **attributes: Any) -> Build:
    """Return what writes an LSTM, a GRU or an RNN."""

    def build(b: GraphBuilder, w: Callable[..., Any]) -> str:
        gates, biases, features = {"lstm": (4, 1, 4), "gru": (3, 2, 4), "rnn": (1, 1, 4)}[op]
        weights = []
        for _ in range(2 if attributes.get("direction") == "both" else 1):
            weights += [w(gates * units, features), w(gates * units, units), *(w(gates * units) for _ in range(biases))]
        return b.add_node(op, (b.input, *weights), **attributes)[0]

    return build


def loop(*, reverse: bool = False, last: bool = False) -> Build:
    """Return what writes a plain recurrent network as a loop."""

    def build(b: GraphBuilder, w: Callable[..., Any]) -> str:
        inner, names = b.body([(1, 3), (1, 4)])
        h = inner.tanh(inner.add(inner.linear(names[1], w(3, 4), w(3)), inner.linear(names[0], w(3, 3))))
        body = inner.finish_body(names, (h,) if last else (h, h))
        return b.loop(body, states=[np.zeros((1, 3))], sequences=[b.input], steps=6, reverse=reverse)[-1]

    return build


def _loop_carried(b: GraphBuilder, w: Callable[..., Any]) -> str:
    """States that change places or stay, states given and constant, an invariant, two results, one of them an input."""
    inner, names = b.body([(1, 3), (1, 3), (1, 2), (1, 4), (1, 2), (1, 4)])
    drive = inner.add(inner.linear(names[3], w(3, 4)), inner.linear(names[5], w(3, 4)))
    h = inner.tanh(inner.add(drive, inner.linear(inner.concat([names[0], names[4]], 1), w(3, 5))))
    body = inner.finish_body(names, (names[1], h, names[2], h, names[0]))
    mean = b.mean(b.input, 1)
    states = [b.linear(mean, w(3, 4)), w(1, 3), w(1, 2)]
    sequences = [b.input, b.linear(b.input, w(2, 4))]
    found = b.loop(body, states=states, sequences=sequences, invariants=[mean], steps=6, reverse=True)
    return b.concat([b.reshape(f, (1, int(np.prod(b.shape(f))))) for f in found], 1)


def _loop_nested(b: GraphBuilder, w: Callable[..., Any]) -> str:
    """A loop in a loop: six steps, each of which is three."""
    outer, names = b.body([(1, 3), (1, 4)])
    inner, inner_names = outer.body([(1, 3), (1, 3)])
    h = inner.tanh(inner.add(inner.linear(inner_names[0], w(3, 3)), inner_names[1]))
    repeated = inner.finish_body(inner_names, (h,))
    drive = outer.linear(names[1], w(3, 4))
    (state,) = outer.loop(repeated, states=[names[0]], invariants=[drive], steps=3)
    body = outer.finish_body(names, (state, state))
    return b.loop(body, states=[np.zeros((1, 3))], sequences=[b.input], steps=6)[1]


def _loop_without_sequence(b: GraphBuilder, w: Callable[..., Any]) -> str:
    inner, names = b.body([(1, 3), (1, 3)])
    h = inner.tanh(inner.add(inner.linear(names[0], w(3, 3)), names[1]))
    drive = b.linear(b.mean(b.input, 1), w(3, 4))
    body = inner.finish_body(names, (h, h))
    return b.loop(body, states=[w(1, 3)], invariants=[drive], steps=4)[1]


def _slices_of_a_volume(b: GraphBuilder, w: Callable[..., Any]) -> str:
    """Slices take the place of the batch and come back, as in the stem of a volume."""
    depth, height, width = 3, 4, 5
    first = b.layout == "channels_first"
    one = (depth, 1, height, width) if first else (depth, height, width, 1)
    y = b.conv2d(b.reshape(b.input, one), w(2, 1, 3, 3), w(2), padding=(1, 1, 1, 1), activation="relu")
    return b.linear(b.reshape(y, (1, depth, 2 * height * width)), w(3, 2 * height * width), w(3))


def _whole_network(b: GraphBuilder, w: Callable[..., Any]) -> str:
    with b.in_part("stem"):
        y = b.max_pool(b.conv2d(b.input, w(4, 1, 3, 3), w(4), padding=(1, 1, 1, 1), activation="relu"), (2, 2), (2, 2))
    with b.in_part("scan"):
        if b.layout == "channels_first":
            y = b.transpose(y, (0, 2, 3, 1))
        y = b.reshape(y, (1, 4, 16))
    with b.in_part("head"):
        h = b.tanh(b.linear(b.reshape(b.slice(y, 1, 0, 1), (1, 16)), w(5, 16), w(5)))
        weight, bias, recurrent_weight = w(5, 16), w(5), w(5, 5)
        for t in range(1, 4):
            x = b.linear(b.reshape(b.slice(y, 1, t, t + 1), (1, 16)), weight, bias)
            h = b.tanh(b.add(x, b.linear(h, recurrent_weight)))
    with b.in_part("output"):
        return b.softmax(b.linear(h, w(3, 5), w(3)))


MAP = (1, 8, 7, 4)
GRAPHS: Mapping[str, tuple[tuple[int, ...], Build]] = {
    "linear": ((1, 6), linear(5)),
    "linear_relu": ((1, 6), linear(5, activation="relu")),
    "linear_without_bias": ((1, 6), linear(5, bias=False)),
    "linear_of_steps": (SEQUENCE, linear(5, activation="relu6")),
    "linear_of_steps_without_bias": (SEQUENCE, linear(5, bias=False)),
    "conv": (MAP, conv(5, (3, 3))),
    "conv_relu6": (MAP, conv(5, (3, 2), stride=(1, 2), activation="relu6")),
    "conv_same": (MAP, conv(5, (3, 3), padding=(1, 1, 1, 1), activation="relu")),
    "conv_one_sided": (MAP, conv(5, (2, 2), padding=(0, 0, 1, 1))),
    "conv_other_side": (MAP, conv(5, (2, 2), padding=(1, 1, 0, 0))),
    "conv_strided": (MAP, conv(5, (3, 3), stride=(2, 2), padding=(1, 1, 1, 1))),
    "conv_strided_same": (MAP, conv(5, (3, 3), stride=(2, 1), padding=(0, 1, 1, 1))),
    "conv_padding_unused": (MAP, conv(5, (1, 1), stride=(3, 3), padding=(0, 0, 1, 1))),
    "conv_kernel_smaller_than_stride": (MAP, conv(5, (2, 2), stride=(4, 4))),
    "conv_depthwise": (MAP, conv(4, (3, 3), groups=4, padding=(1, 1, 1, 1))),
    "conv_depthwise_multiplied": (MAP, conv(8, (3, 3), groups=4)),
    "conv_groups": (MAP, conv(6, (3, 3), groups=2, padding=(1, 1, 1, 1))),
    "pool_max": (MAP, _one("pool2d", kind="max", kernel=(2, 3), stride=(2, 1))),
    "pool_average": (MAP, _one("pool2d", kind="average", kernel=(3, 2), stride=(3, 2))),
    "pool_all_average": (MAP, _one("pool2d", kind="average", kernel=(8, 7), stride=(8, 7))),
    "pool_all_max": (MAP, _one("pool2d", kind="max", kernel=(8, 7), stride=(1, 1))),
    "add": (SEQUENCE, lambda b, w: b.add(b.input, w(4))),
    "add_value": (SEQUENCE, _one("add", inputs=2)),
    "add_in_front": (SEQUENCE, lambda b, w: b.add(w(1, 6, 1), b.input)),
    "subtract": (SEQUENCE, lambda b, w: b.subtract(1.0, b.input)),
    "multiply": (SEQUENCE, lambda b, w: b.multiply(b.input, w(6, 4))),
    "multiply_values": (SEQUENCE, lambda b, w: b.multiply(b.input, b.slice(b.input, 1, 0, 1))),
    "divide": (SEQUENCE, lambda b, w: b.divide(b.input, np.abs(w(6, 4)) + 1)),
    **{
        op: (SEQUENCE, _one(op))
        for op in ("relu", "tanh", "sigmoid", "softmax", "hard_swish", "hard_sigmoid", "exp", "abs")
    },
    "reshape": (SEQUENCE, lambda b, w: b.reshape(b.input, (1, 3, 8))),
    "reshape_batch": (SEQUENCE, lambda b, w: b.reshape(b.tanh(b.reshape(b.input, (6, 4))), (2, 3, 4))),
    "reshape_volume": ((1, 2, 3, 4, 5), lambda b, w: b.reshape(b.input, (2, 3, 4, 5))),
    "transpose": (SEQUENCE, lambda b, w: b.transpose(b.input, (0, 2, 1))),
    "transpose_volume": ((1, 2, 3, 4, 5), lambda b, w: b.transpose(b.input, (0, 2, 1, 3, 4))),
    "concat": (SEQUENCE, lambda b, w: b.concat([b.input, b.tanh(b.input)], 2)),
    "concat_many": (SEQUENCE, lambda b, w: b.concat([b.input] * 9, 1)),
    "slice_steps": (SEQUENCE, lambda b, w: b.slice(b.input, 1, 2, 3)),
    "slice_features": (SEQUENCE, lambda b, w: b.slice(b.input, 2, 1, 4)),
    "split": (SEQUENCE, lambda b, w: b.concat(b.split(b.input, 2, (2, 2))[::-1], 1)),
    "split_unequal": (SEQUENCE, lambda b, w: b.concat(b.split(b.input, 1, (3, 1, 2))[::-1], 1)),
    "split_many": (SEQUENCE, lambda b, w: b.concat(b.split(b.input, 1, (1,) * 6), 2)),
    "split_half_used": (SEQUENCE, lambda b, w: b.tanh(b.split(b.input, 1, (3, 3))[1])),
    "gather": (SEQUENCE, _one("gather", axis=1, indices=(3, 1, 1))),
    "reverse": (SEQUENCE, _one("reverse", axis=1)),
    "pad_zeros": (SEQUENCE, _one("pad_zeros", axis=2, before=2, after=1)),
    "log": (SEQUENCE, lambda b, w: b.unary("log", b.add(b.unary("abs", b.input), [1.0]))),
    "shift": (SEQUENCE, _one("shift", axis=1, by=2)),
    "suffix_sums": (SEQUENCE, _one("suffix_sums", axis=1)),
    "preceding_sums": (SEQUENCE, _one("preceding_sums", axis=2)),
    "maximum": (SEQUENCE, lambda b, w: b.maximum(b.input, w(6, 1))),
    "multiply_both_ways": (SEQUENCE, lambda b, w: b.multiply(b.slice(b.input, 2, 0, 1), w(1, 6, 3))),
    "mean_steps": (SEQUENCE, lambda b, w: b.mean(b.input, 1)),
    "mean_features": (SEQUENCE, lambda b, w: b.mean(b.input, 2)),
    "loop_forward": (SEQUENCE, loop()),
    "loop_reverse": (SEQUENCE, loop(reverse=True)),
    "loop_last": (SEQUENCE, loop(last=True)),
    "loop_carried": (SEQUENCE, _loop_carried),
    "loop_nested": (SEQUENCE, _loop_nested),
    "loop_without_sequence": (SEQUENCE, _loop_without_sequence),
    "slices_of_a_volume": ((1, 3, 4, 5, 1), _slices_of_a_volume),
    "whole_network": ((1, 8, 8, 1), _whole_network),
}

FUSED: Mapping[str, Build] = {
    "lstm": recurrent("lstm", 5),
    "lstm_last": recurrent("lstm", 5, result="last"),
    "lstm_reverse": recurrent("lstm", 5, direction="reverse"),
    "lstm_reverse_last": recurrent("lstm", 5, direction="reverse", result="last"),
    "lstm_both": recurrent("lstm", 5, direction="both"),
    "lstm_both_last": recurrent("lstm", 5, direction="both", result="last"),
    "lstm_straight": recurrent("lstm", 6, activations=("sigmoid", "tanh", "identity")),
    "lstm_straight_both": recurrent("lstm", 6, direction="both", activations=("sigmoid", "identity", "tanh")),
    "gru": recurrent("gru", 5),
    "gru_softsign": recurrent("gru", 5, activations=("softsign", "tanh")),
    "gru_last": recurrent("gru", 5, result="last"),
    "gru_reverse": recurrent("gru", 5, direction="reverse"),
    "gru_both": recurrent("gru", 5, direction="both"),
    "gru_both_last": recurrent("gru", 5, direction="both", result="last"),
    "rnn": recurrent("rnn", 5),
    "rnn_last": recurrent("rnn", 5, result="last"),
    "rnn_reverse": recurrent("rnn", 5, direction="reverse"),
    "rnn_both": recurrent("rnn", 5, direction="both"),
    "rnn_both_last": recurrent("rnn", 5, direction="both", result="last"),
}
