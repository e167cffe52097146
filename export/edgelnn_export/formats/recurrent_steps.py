"""LSTM, GRU and RNN written out step by step, for a format without an operator that will do.

TFLite has none for a GRU. Its sequence LSTM keeps its state from one image to the next, takes one batch size only, and
costs twice the instructions of the steps below, because XNNPACK does not take it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from edgelnn_export.graph import Array, Graph, Node, all_nodes
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.operators import attribute
from edgelnn_export.rewriting import rewritten

__all__ = ["write_out_recurrent"]

_WEIGHTS: Final[Mapping[str, int]] = {"lstm": 3, "gru": 4, "rnn": 3}  # constants of one direction


def write_out_recurrent(graph: Graph) -> Graph:
    """Return the same network without `lstm`, `gru` and `rnn`; the graph itself where it has none."""
    if not any(node.op in _WEIGHTS for node in all_nodes(graph.nodes)):
        return graph
    return rewritten(graph, lambda b, node, inputs: [_written_out(b, node, inputs)] if node.op in _WEIGHTS else None)


def _written_out(b: GraphBuilder, node: Node, inputs: Sequence[str | Array]) -> str:
    x, *rest = inputs
    constants = [array for array in rest if not isinstance(array, str)]
    if not isinstance(x, str):
        raise TypeError("got a constant where a sequence may stand")
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
