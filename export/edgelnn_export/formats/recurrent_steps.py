"""LSTM, GRU and RNN written out step by step, for a format without an operator that will do.

TFLite has none for a GRU. Its sequence LSTM keeps its state from one image to the next, takes one batch size only, and
costs twice the instructions of the steps below, because XNNPACK does not take it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from edgelnn_export.graph import Array, Body, Graph, Node, all_nodes
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.operators import attribute

__all__ = ["write_out_recurrent"]

_WEIGHTS: Final[Mapping[str, int]] = {"lstm": 3, "gru": 4, "rnn": 3}  # constants of one direction


def write_out_recurrent(graph: Graph) -> Graph:
    """Return the same network without `lstm`, `gru` and `rnn`; the graph itself where it has none."""
    if not any(node.op in _WEIGHTS for node in all_nodes(graph.nodes)):
        return graph
    builder = GraphBuilder(graph.shapes[graph.input], graph.layout, input=graph.input)
    names = {graph.input: graph.input}
    _copy(builder, graph.nodes, names, graph.constants)
    return builder.finish(names[graph.output], graph.output)


def _copy(b: GraphBuilder, nodes: Sequence[Node], names: dict[str, str], constants: Mapping[str, Array]) -> None:
    """Add nodes to a builder.

    Args:
        b: Where to.
        nodes: Of another graph, or of the body of a loop in it.
        names: What the builder calls the values of that graph; those of the nodes are added.
        constants: Of that graph.
    """

    def operand(name: str) -> str:
        return names[name] if name in names else b.constant(constants[name])

    for node in nodes:
        with b.in_part(node.part):
            if node.op in _WEIGHTS:
                names[node.outputs[0]] = _written_out(
                    b, node, operand(node.inputs[0]), [constants[n] for n in node.inputs[1:]]
                )
                continue
            attributes: dict[str, Any] = dict(node.attributes)
            if node.op == "loop":
                body: Body = attribute(node, "body")
                inner, inside = b.body([body.shapes[name] for name in body.inputs])
                known = dict(zip(body.inputs, inside, strict=True))
                _copy(inner, body.nodes, known, constants)
                results = [known[n] if n in known else inner.constant(constants[n]) for n in body.outputs]
                attributes["body"] = inner.finish_body(inside, results)
            names.update(
                zip(node.outputs, b.add_node(node.op, list(map(operand, node.inputs)), **attributes), strict=True)
            )


def _written_out(b: GraphBuilder, node: Node, x: str, constants: Sequence[Array]) -> str:
    each, run = _WEIGHTS[node.op], {"lstm": _lstm, "gru": _gru, "rnn": _rnn}[node.op]
    direction = attribute(node, "direction")
    steps = b.shape(x)[1]
    parts = []
    for index, backward in enumerate({"forward": (False,), "reverse": (True,), "both": (False, True)}[direction]):
        order = range(steps)[:: -1 if backward else 1]
        states = run(b, x, constants[index * each : (index + 1) * each], order, node)
        if attribute(node, "result") == "last":
            parts.append(states[order[-1]])
        else:
            joined = b.concat([states[step] for step in range(steps)], 1)
            parts.append(b.reshape(joined, (1, steps, b.shape(joined)[1] // steps)))
    return b.concat(parts, len(b.shape(parts[0])) - 1)


def _driven(b: GraphBuilder, x: str, weight: Any, bias: Any, pieces: Sequence[int]) -> list[list[str]]:
    """Return what the input adds at each step, (1, piece) each, from one product for all steps."""
    steps, width = b.shape(x)[1], len(weight)
    rows = b.reshape(b.linear(x, weight, bias), (1, steps * width))
    found = b.split(rows, 1, tuple(pieces) * steps)
    return [list(found[step * len(pieces) : (step + 1) * len(pieces)]) for step in range(steps)]


def _lstm(b: GraphBuilder, x: str, constants: Sequence[Array], order: range, node: Node) -> dict[int, str]:
    """Return the output (1, u) at each step. Gates stand i, f, o, g here, those of one activation side by side."""
    gates_activation, new_activation, out_activation = attribute(node, "activations")
    units = constants[1].shape[1]
    weight, recurrent, bias = (np.concatenate([np.split(a, 4)[k] for k in (0, 1, 3, 2)]) for a in constants)
    driven = _driven(b, x, weight, bias, (4 * units,))
    states: dict[int, str] = {}
    state = cell = ""
    for step in order:
        total = b.add(driven[step][0], b.linear(state, recurrent)) if state else driven[step][0]
        gates, new = b.split(total, 1, (3 * units, units))
        enter, keep, leave = b.split(_activated(b, gates, gates_activation), 1, (units,) * 3)
        entering = b.multiply(enter, _activated(b, new, new_activation))
        cell = b.add(b.multiply(keep, cell), entering) if cell else entering
        state = states[step] = b.multiply(leave, _activated(b, cell, out_activation))
    return states


def _gru(b: GraphBuilder, x: str, constants: Sequence[Array], order: range, node: Node) -> dict[int, str]:
    """Return the state (1, u) at each step: n + z·(h - n), with r, z and n as in torch."""
    gates_activation, new_activation = attribute(node, "activations")
    weight, recurrent, bias, recurrent_bias = constants
    units = recurrent.shape[1]
    both = np.concatenate([recurrent_bias[: 2 * units], np.zeros(units, np.float32)])
    own = np.concatenate([np.zeros(2 * units, np.float32), recurrent_bias[2 * units :]])
    driven = _driven(b, x, weight, bias.astype(np.float64) + both, (2 * units, units))
    states: dict[int, str] = {}
    state = ""
    for step in order:
        gates, new = driven[step]
        if state:
            more, again = b.split(b.linear(state, recurrent, own), 1, (2 * units, units))
            reset, keep = b.split(_activated(b, b.add(gates, more), gates_activation), 1, (units, units))
            new = _activated(b, b.add(new, b.multiply(reset, again)), new_activation)
            state = b.add(new, b.multiply(keep, b.subtract(state, new)))
        else:
            reset, keep = b.split(_activated(b, gates, gates_activation), 1, (units, units))
            new = b.add(new, b.multiply(reset, recurrent_bias[None, 2 * units :]))
            new = _activated(b, new, new_activation)
            state = b.subtract(new, b.multiply(keep, new))
        states[step] = state
    return states


def _rnn(b: GraphBuilder, x: str, constants: Sequence[Array], order: range, node: Node) -> dict[int, str]:
    """Return the state (1, u) at each step."""
    weight, recurrent, bias = constants
    driven = _driven(b, x, weight, bias, (len(bias),))
    states: dict[int, str] = {}
    state = ""
    for step in order:
        total = b.add(driven[step][0], b.linear(state, recurrent)) if state else driven[step][0]
        state = states[step] = _activated(b, total, attribute(node, "activations")[0])
    return states


def _activated(b: GraphBuilder, x: str, name: str) -> str:
    if name == "softsign":
        return b.divide(x, b.add(b.unary("abs", x), [1.0]))
    return x if name == "identity" else b.unary(name, x)
