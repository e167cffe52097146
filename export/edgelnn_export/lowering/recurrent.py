"""LSTM, GRU and RNN heads: the formats' fused operators where they have one, else unrolled."""

from __future__ import annotations

import numpy as np
from torch import nn

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import (
    Floats,
    Steps,
    Vector,
    absorb,
    identity,
    join_features,
    steps_of,
)
from edgelnn_export.lowering.weights import numbers

__all__ = ["lower_recurrent"]


def lower_recurrent(
    builder: GraphBuilder, rnn: nn.LSTM | nn.GRU | nn.RNN, sequence: Steps, *, last: bool, fused: str
) -> Steps | Vector:
    """Return the output of torch's module at every step, or each direction's after the last step it reads.

    Args:
        builder: Where to.
        rnn: Batch first; one or several layers, one or two directions.
        sequence: Its input.
        last: Only the last output is wanted.
        fused: ``all``: LSTM, GRU and RNN in every direction are one operator (ONNX); ``onward``: there is an operator
            for an LSTM that reads onward and no other (TFLite).
    """
    result: Steps | Vector = sequence
    for layer in range(rnn.num_layers):
        if not isinstance(result, Steps):
            raise TypeError("got a vector between recurrent layers")
        final = last and layer == rnn.num_layers - 1
        directions = [_weights(rnn, layer, suffix) for suffix in ("", "_reverse")[: 1 + rnn.bidirectional]]
        if fused == "all":
            result = _fused(builder, result, directions, final)
            continue
        parts = [_reversible(builder, result, weights, backward, final) for backward, weights in enumerate(directions)]
        result = parts[0] if len(parts) == 1 else join_features(builder, parts[0], parts[1])
    return result


def _weights(rnn: nn.LSTM | nn.GRU | nn.RNN, layer: int, suffix: str) -> tuple[Floats, Floats, Floats, Floats]:
    """Return weight, recurrent weight and the two biases of one direction of one layer, as torch stores them."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weight, recurrent, bias, recurrent_bias = (numbers(getattr(rnn, f"{name}_l{layer}{suffix}")) for name in names)
    return weight, recurrent, bias, recurrent_bias


def _operator_inputs(sequence: Steps, weights: tuple[Floats, Floats, Floats, Floats]) -> tuple[Floats, ...]:
    weight, recurrent, bias, recurrent_bias = weights
    weight, bias = absorb(weight, bias, sequence.affine)
    if len(weight) != 3 * recurrent.shape[1]:
        return weight, recurrent, bias + recurrent_bias
    return weight, recurrent, bias, recurrent_bias


def _fused(
    builder: GraphBuilder,
    sequence: Steps,
    directions: list[tuple[Floats, Floats, Floats, Floats]],
    last: bool,
    direction: str = "forward",
) -> Steps | Vector:
    inputs = [array for weights in directions for array in _operator_inputs(sequence, weights)]
    units = directions[0][1].shape[1]
    op = {4: "lstm", 3: "gru", 1: "rnn"}[len(directions[0][0]) // units]
    direction = "both" if len(directions) == 2 else direction
    attributes = {} if direction == "forward" else {"direction": direction}
    if last:
        attributes["result"] = "last"
    value = builder.add_node(op, (sequence.batched(builder), *inputs), **attributes)[0]
    width = len(directions) * units
    if last:
        return Vector(value, identity(width))
    return Steps(builder.reshape(value, (sequence.steps, width)), sequence.steps, identity(width))


def _reversible(
    builder: GraphBuilder,
    sequence: Steps,
    weights: tuple[Floats, Floats, Floats, Floats],
    backward: int,
    last: bool,
) -> Steps | Vector:
    """Return one direction of one layer, where no operator reads backward."""
    units = weights[1].shape[1]
    if len(weights[0]) == 3 * units:
        return _unrolled_gru(builder, sequence, weights, backward=bool(backward), last=last)
    if len(weights[0]) == units:  # written out by the format whichever way it reads
        return _fused(builder, sequence, [weights], last, "reverse" if backward else "forward")
    value = sequence.batched(builder)
    if backward:
        value = builder.add_node("reverse", (value,), axis=1)[0]
    states = builder.add_node("lstm", (value, *_operator_inputs(sequence, weights)))[0]
    if last:
        flat = builder.reshape(states, (1, sequence.steps * units))
        return Vector(builder.slice(flat, 1, (sequence.steps - 1) * units, sequence.steps * units), identity(units))
    if backward:
        states = builder.add_node("reverse", (states,), axis=1)[0]
    return Steps(builder.reshape(states, (sequence.steps, units)), sequence.steps, identity(units))


def _unrolled_gru(
    builder: GraphBuilder,
    sequence: Steps,
    weights: tuple[Floats, Floats, Floats, Floats],
    *,
    backward: bool,
    last: bool,
) -> Steps | Vector:
    """Return a GRU step by step.

    With r, z and n as in torch, ``h = n + z * (h_before - n)``.
    """
    weight, recurrent, bias, recurrent_bias = weights
    units = recurrent.shape[1]
    bias = bias + np.concatenate([recurrent_bias[: 2 * units], np.zeros(units)])
    own = np.concatenate([np.zeros(2 * units), recurrent_bias[2 * units :]])
    rows = builder.reshape(sequence.read(builder, weight, bias), (1, sequence.steps * 3 * units))
    driven = builder.split(rows, 1, (2 * units, units) * sequence.steps)
    pairs = list(zip(driven[::2], driven[1::2], strict=True))
    state = ""
    states = []
    for gates_in, new_in in pairs[::-1] if backward else pairs:
        if state:
            gates_own, new_own = builder.split(builder.linear(state, recurrent, own), 1, (2 * units, units))
            gates = builder.sigmoid(builder.add(gates_in, gates_own))
            reset, keep = builder.split(gates, 1, (units, units))
            new = builder.tanh(builder.add(new_in, builder.multiply(reset, new_own)))
            state = builder.add(new, builder.multiply(keep, builder.subtract(state, new)))
        else:
            reset, keep = builder.split(builder.sigmoid(gates_in), 1, (units, units))
            new = builder.tanh(builder.add(new_in, builder.multiply(reset, own[None, 2 * units :])))
            state = builder.subtract(new, builder.multiply(keep, new))
        states.append(state)
    if last:
        return Vector(state, identity(units))
    return steps_of(builder, states[::-1] if backward else states, identity(units))
