"""LSTM, GRU and RNN heads as loops over time, for a format without an operator that will do."""

from __future__ import annotations

import numpy as np
from torch import nn

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.looped_results import loop_states
from edgelnn_export.lowering.signals import Floats, Steps, Vector, identity, join_features
from edgelnn_export.lowering.weights import numbers

__all__ = ["lower_looped_recurrent"]


def lower_looped_recurrent(
    builder: GraphBuilder, rnn: nn.LSTM | nn.GRU | nn.RNN, sequence: Steps, *, last: bool
) -> Steps | Vector:
    """Return the output of torch's module at every step, or each direction's after the last step it reads.

    Args:
        builder: Where to.
        rnn: Batch first; one or several layers, one or two directions.
        sequence: Its input.
        last: Only the last output is wanted.
    """
    result: Steps | Vector = sequence
    for layer in range(rnn.num_layers):
        if not isinstance(result, Steps):
            raise TypeError("got a vector between recurrent layers")
        final = last and layer == rnn.num_layers - 1
        parts = [
            _one_direction(builder, result, rnn, f"l{layer}{suffix}", backward=bool(suffix), last=final)
            for suffix in ("", "_reverse")[: 1 + rnn.bidirectional]
        ]
        result = parts[0] if len(parts) == 1 else join_features(builder, parts[0], parts[1])
    return result


def _one_direction(
    builder: GraphBuilder, sequence: Steps, rnn: nn.LSTM | nn.GRU | nn.RNN, suffix: str, *, backward: bool, last: bool
) -> Steps | Vector:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weight, recurrent, bias, recurrent_bias = (numbers(getattr(rnn, f"{name}_{suffix}")) for name in names)
    units = recurrent.shape[1]
    if isinstance(rnn, nn.LSTM):
        order = [0, 1, 3, 2]  # i, f, o, g: those of one activation side by side
        weight, recurrent, bias = (_ordered(array, order) for array in (weight, recurrent, bias + recurrent_bias))
        drive = sequence.read(builder, weight, bias)
        inner, inputs = builder.body([(1, units), (1, units), (1, 4 * units)])
        outputs = _lstm_step(inner, inputs, recurrent)
    elif isinstance(rnn, nn.RNN):
        drive = sequence.read(builder, weight, bias + recurrent_bias)
        inner, inputs = builder.body([(1, units), (1, units)])
        outputs = [inner.tanh(inner.add(inner.linear(inputs[0], recurrent), inputs[1]))]
    else:
        both = bias + np.concatenate([recurrent_bias[: 2 * units], np.zeros(units)])
        drive = sequence.read(builder, weight, both)
        inner, inputs = builder.body([(1, units), (1, 3 * units)])
        own = np.concatenate([np.zeros(2 * units), recurrent_bias[2 * units :]])
        outputs = _gru_step(inner, inputs, recurrent, own)
    if not last:
        outputs.append(outputs[0])
    value = loop_states(builder, inner, inputs, outputs, drive, sequence.steps, backward=backward)
    return Vector(value, identity(units)) if last else Steps(value, sequence.steps, identity(units))


def _ordered(stacked: Floats, order: list[int]) -> Floats:
    gates = np.split(stacked, len(order))
    return np.concatenate([gates[gate] for gate in order])


def _lstm_step(b: GraphBuilder, inputs: tuple[str, ...], recurrent: Floats) -> list[str]:
    """Return the new output and the new cell state."""
    state, cell, step = inputs
    units = b.shape(state)[1]
    gates, new = b.split(b.add(b.linear(state, recurrent), step), 1, (3 * units, units))
    enter, keep, leave = b.split(b.sigmoid(gates), 1, (units,) * 3)
    cell = b.add(b.multiply(keep, cell), b.multiply(enter, b.tanh(new)))
    return [b.multiply(leave, b.tanh(cell)), cell]


def _gru_step(b: GraphBuilder, inputs: tuple[str, ...], recurrent: Floats, own: Floats) -> list[str]:
    """Return the new state: ``n + z * (h - n)``, with r, z and n as in torch."""
    state, step = inputs
    units = b.shape(state)[1]
    gates, again = b.split(b.linear(state, recurrent, own), 1, (2 * units, units))
    gates_in, new_in = b.split(step, 1, (2 * units, units))
    reset, keep = b.split(b.sigmoid(b.add(gates, gates_in)), 1, (units, units))
    new = b.tanh(b.add(new_in, b.multiply(reset, again)))
    return [b.add(new, b.multiply(keep, b.subtract(state, new)))]
