"""Recurrent operators of a graph as the fused LSTM, GRU and RNN of ONNX, and loops as `Scan`.

ONNX orders gates i, o, f, g (LSTM) and z, r, n (GRU) and takes sequences time first, (T, b, features); its results have
an axis of directions, (T, d, b, u). A sequence that goes from one fused operator into the next stays time first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper

from edgelnn_export.formats.onnx_assembly import INT64_MIN, Assembly
from edgelnn_export.graph import Array, Body, Node
from edgelnn_export.operators import attribute

__all__ = ["write_gru", "write_loop", "write_lstm", "write_rnn"]

_LSTM_GATES: Final = (0, 3, 1, 2)  # i, o, f, g out of i, f, g, o
_GRU_GATES: Final = (1, 0, 2)  # z, r, n out of r, z, n
_CELL_ACTIVATIONS: Final = {"sigmoid": "Sigmoid", "tanh": "Tanh", "softsign": "Softsign", "identity": "Affine"}
_USUAL_LSTM: Final = ("sigmoid", "tanh", "tanh")
_USUAL_GRU: Final = ("sigmoid", "tanh")


def write_lstm(a: Assembly, node: Node) -> None:
    """Write an lstm node as LSTM; activations that ONNX calls otherwise go along, identity as Affine with 1 and 0."""
    groups = _by_direction(a, node, 3)
    units = groups[0][1].shape[-1]
    weights = [
        a.constant(np.stack([_ordered(group[0], _LSTM_GATES) for group in groups])),
        a.constant(np.stack([_ordered(group[1], _LSTM_GATES) for group in groups])),
        a.constant(
            np.stack([np.concatenate([_ordered(g[2], _LSTM_GATES), np.zeros(4 * units, np.float32)]) for g in groups])
        ),
    ]
    attributes: dict[str, Any] = {"hidden_size": units}
    _name_activations(attributes, tuple(attribute(node, "activations")) * len(groups), _USUAL_LSTM * len(groups))
    _write_fused(a, node, "LSTM", weights, attributes, len(groups))


def write_gru(a: Assembly, node: Node) -> None:
    """Write a gru node as GRU with the reset after the recurrent product, as in torch."""
    groups = _by_direction(a, node, 4)
    weights = [
        a.constant(np.stack([_ordered(group[0], _GRU_GATES) for group in groups])),
        a.constant(np.stack([_ordered(group[1], _GRU_GATES) for group in groups])),
        a.constant(np.stack([np.concatenate([_ordered(bias, _GRU_GATES) for bias in group[2:]]) for group in groups])),
    ]
    attributes: dict[str, Any] = {"hidden_size": groups[0][1].shape[-1], "linear_before_reset": 1}
    _name_activations(attributes, tuple(attribute(node, "activations")) * len(groups), _USUAL_GRU * len(groups))
    _write_fused(a, node, "GRU", weights, attributes, len(groups))


def write_rnn(a: Assembly, node: Node) -> None:
    """Write an rnn node as RNN."""
    groups = _by_direction(a, node, 3)
    units = groups[0][1].shape[-1]
    weights = [a.constant(np.stack([group[place] for group in groups])) for place in (0, 1)]
    weights.append(a.constant(np.stack([np.concatenate([g[2], np.zeros(units, np.float32)]) for g in groups])))
    attributes: dict[str, Any] = {"hidden_size": units}
    _name_activations(attributes, tuple(attribute(node, "activations")) * len(groups), ("tanh",) * len(groups))
    _write_fused(a, node, "RNN", weights, attributes, len(groups))


def _name_activations(attributes: dict[str, Any], activations: tuple[str, ...], usual: tuple[str, ...]) -> None:
    """Add what says which activations an operator has, where they are not the usual ones."""
    if activations == usual:
        return
    attributes["activations"] = [_CELL_ACTIVATIONS[name] for name in activations]
    straight = activations.count("identity")
    if straight:
        attributes["activation_alpha"] = [1.0] * straight
        attributes["activation_beta"] = [0.0] * straight


def _by_direction(a: Assembly, node: Node, each: int) -> list[list[Array]]:
    """Return the constants of a recurrent node, `each` of them a direction."""
    arrays = [a.array(name) for name in node.inputs[1:]]
    return [arrays[start : start + each] for start in range(0, len(arrays), each)]


def _ordered(stacked: Array, order: Sequence[int]) -> Array:
    """Return gates stacked along axis 0 in another order."""
    gates = np.split(stacked, len(order))
    return np.concatenate([gates[i] for i in order])


def _write_fused(
    a: Assembly, node: Node, op_type: str, weights: list[str], attributes: dict[str, Any], directions: int
) -> None:
    direction = attribute(node, "direction")
    if direction != "forward":
        attributes["direction"] = "bidirectional" if direction == "both" else direction
    inputs = [_time_first(a, node, node.inputs[0]), *weights]
    name, result = node.outputs[0], a.fresh()
    if attribute(node, "result") == "last":
        a.add(node, op_type, inputs, ["", result], **attributes)
        if directions == 1:
            a.add(node, "Squeeze", [result, a.integers([0])], [a.write(name)])
        else:
            (by_example,) = a.add(node, "Transpose", [result], perm=[1, 0, 2])
            a.add(node, "Reshape", [by_example, a.integers([-1, a.shape(name)[-1]])], [a.write(name)])
        return
    a.add(node, op_type, inputs, [result], **attributes)
    if directions == 1:
        (steps,) = a.add(node, "Squeeze", [result, a.integers([1])])
    else:
        (joined,) = a.add(node, "Transpose", [result], perm=[0, 2, 1, 3])
        (steps,) = a.add(node, "Reshape", [joined, a.integers([a.shape(name)[1], -1, a.shape(name)[2]])])
    _write_time_first(a, node, name, steps)


def _time_first(a: Assembly, node: Node, name: str) -> str:
    """Return the name of a sequence (b, T, …) of the graph as (T, b, …)."""
    if a.is_constant(name):
        return a.constant(np.swapaxes(a.array(name), 0, 1))
    key = ("time first", name)
    if key not in a.memory:
        (a.memory[key],) = a.add(node, "Transpose", [a.read(name)], perm=_swapped(len(a.shape(name))))
    return a.memory[key]


def _write_time_first(a: Assembly, node: Node, name: str, steps: str) -> None:
    """Let `steps`, (T, b, …), be the sequence (b, T, …) of the graph, put that way round if that is needed."""
    a.memory["time first", name] = steps
    rank = len(a.shape(name))
    a.defer(name, lambda: a.add(node, "Transpose", [steps], [a.write(name)], perm=_swapped(rank)))


def _swapped(rank: int) -> list[int]:
    return [1, 0, *range(2, rank)]


def _reversed(a: Assembly, node: Node, steps: str) -> str:
    where = [a.integers([number]) for number in (-1, INT64_MIN, 0, -1)]
    return a.add(node, "Slice", [steps, *where])[0]


def write_loop(a: Assembly, node: Node, write_nodes: Callable[[Assembly, Sequence[Node], Sequence[str]], None]) -> None:
    """Write a loop node as `Scan`, its sequences time first.

    Invariants are read from the graph around the body. A loop over no sequence counts along a dummy one. What `Scan`
    could do itself, other axes and directions, is done outside, since ONNX's reference evaluator does not know it.
    """
    body: Body = attribute(node, "body")
    states, sequences = attribute(node, "states"), attribute(node, "sequences")
    backwards = (lambda steps: _reversed(a, node, steps)) if attribute(node, "reverse") else (lambda steps: steps)
    inner = a.body(body.shapes)
    for name, outer in zip(body.inputs[states + sequences :], node.inputs[states + sequences :], strict=True):
        inner.bind(name, a.read(outer))
    inputs = [inner.write(name) for name in body.inputs[: states + sequences]]
    given = [_initial_state(a, node, name) for name in node.inputs[:states]]
    given += [backwards(_time_first(a, node, name)) for name in node.inputs[states : states + sequences]]
    if not sequences:
        inputs.append(inner.fresh())
        given.append(a.constant(np.zeros(attribute(node, "steps"), np.float32)))
    write_nodes(inner, body.nodes, body.outputs)
    outputs: list[str] = []
    for name in body.outputs:
        value = inner.read(name)
        if name not in body.shapes or name in body.inputs or value in outputs:
            (value,) = inner.add(node, "Identity", [value])
        outputs.append(value)
    untyped = partial(map, lambda name: onnx.ValueInfoProto(name=name))
    graph = helper.make_graph(inner.nodes, "body", list(untyped(inputs)), list(untyped(outputs)))
    results = node.outputs[states:]
    found = [*(a.write(name) for name in node.outputs[:states]), *(a.fresh() for _ in results)]
    a.add(node, "Scan", given, found, num_scan_inputs=max(sequences, 1), body=graph)
    for name, steps in zip(results, found[states:], strict=True):
        _write_time_first(a, node, name, backwards(steps))


def _initial_state(a: Assembly, node: Node, name: str) -> str:
    """Return the name of a loop's first state; one that is constant is repeated for every example."""
    if not a.is_constant(name):
        return a.read(name)
    array = a.array(name)
    if a.batch is not None:
        return a.constant(np.repeat(array, a.batch, axis=0))
    key = ("initial state", name)
    if key not in a.memory:
        same = bool((array == array.flat[0]).all())
        tail = array.shape[1:] if same else (1,) * (array.ndim - 1)
        size = a.batch_size(node)
        if tail:
            (size,) = a.add(node, "Concat", [size, a.integers(tail)], axis=0)
        if same:
            value = helper.make_tensor("", onnx.TensorProto.FLOAT, [1], [float(array.flat[0])])
            (a.memory[key],) = a.add(node, "ConstantOfShape", [size], value=value)
        else:
            (a.memory[key],) = a.add(node, "Expand", [a.constant(array), size])
    return a.memory[key]
