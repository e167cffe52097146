"""Loops of a graph as `WHILE`: a subgraph that counts, a subgraph that is repeated, and variables that go round.

The subgraphs see nothing but the variables: a counter, the states, the results so far, then the sequences and
invariants, which stay as they are. Constants stand in each subgraph anew, on the same buffer. A result is a queue of
all steps, into which each step pushes its own: unlike writing into place, that is something XNNPACK takes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]

from edgelnn_export.formats.tflite_assembly import Assembly
from edgelnn_export.graph import Body, Node
from edgelnn_export.operators import Shape, attribute

__all__ = ["write_loop"]


def write_loop(a: Assembly, node: Node, write_nodes: Callable[[Assembly, tuple[Node, ...]], None]) -> None:
    """Write a loop node."""
    body: Body = attribute(node, "body")
    states, sequences, steps = (attribute(node, name) for name in ("states", "sequences", "steps"))
    reverse = attribute(node, "reverse")
    inner = a.file.subgraph(body.shapes, body.nodes, body.outputs)
    shapes = [a.shape(name) for name in node.outputs]  # of final states and results
    variables: list[tuple[int, Shape]] = [
        (_initial(a, node, name), shape) for name, shape in zip(node.inputs[:states], shapes, strict=False)
    ]
    variables += [(_zeros(a, node, shape), shape) for shape in shapes[states:]]

    counter = inner.value(node, (), "int32")
    inner.inputs = [counter, *(inner.value(node, shape) for _, shape in variables)]
    for name, tensor in zip(body.inputs[:states], inner.inputs[1:], strict=False):
        inner.bind(name, tensor)
    for index, name in enumerate(node.inputs[states:]):
        if a.is_constant(name):
            tensor = inner.read(name)
        else:
            variables.append((a.read(name), a.shape(name)))
            tensor = inner.value(node, a.shape(name))
            inner.inputs.append(tensor)
        inside = body.inputs[states + index]
        if index < sequences:
            step = inner.bind(inside, inner.value(node, inner.shape(inside)))
            inner.add("GATHER", [tensor, counter], [step], schema.GatherOptionsT(axis=1))
        else:
            inner.bind(inside, tensor)
    write_nodes(inner, body.nodes)

    after = inner.value(node, (), "int32")
    inner.add("ADD", [counter, inner.integer(-1 if reverse else 1)], [after], schema.AddOptionsT())
    inner.outputs = [after]
    for index, name in enumerate(body.outputs[:states]):
        tensor = inner.read(name)
        if (
            tensor in inner.outputs
            or inner.is_constant(name)
            or (name in body.inputs and tensor != inner.inputs[index + 1])
        ):
            tensor = _copied(inner, node, tensor, inner.shape(name))
        inner.outputs.append(tensor)
    for index, name in enumerate(body.outputs[states:], start=states):
        inner.outputs.append(_pushed(inner, node, inner.inputs[index + 1], inner.read(name), shapes[index], reverse))
    inner.outputs += inner.inputs[len(inner.outputs) :]

    test = a.file.subgraph({}, (), ())
    test.inputs = [test.value(node, (), "int32"), *(test.value(node, shape) for _, shape in variables)]
    test.outputs = [test.value(node, (), "bool")]
    limit = [test.inputs[0], test.integer(0 if reverse else steps)]
    test.add("GREATER_EQUAL" if reverse else "LESS", limit, test.outputs)

    outputs = [a.value(node, (), "int32"), *(a.write(node, index) for index in range(len(shapes)))]
    outputs += [a.value(node, shape) for _, shape in variables[len(shapes) :]]
    inputs = [a.integer(steps - 1 if reverse else 0), *(tensor for tensor, _ in variables)]
    a.add("WHILE", inputs, outputs, schema.WhileOptionsT(condSubgraphIndex=test.index, bodySubgraphIndex=inner.index))


def _pushed(a: Assembly, node: Node, queue: int, step: int, shape: Shape, reverse: bool) -> int:
    """Return the queue (1, steps, …) without its oldest step and with the result of this one."""
    steps, rest = shape[1], shape[2:]
    entry = a.value(node, (shape[0], 1, *rest))
    a.add("RESHAPE", [step, a.integers((-1, 1, *rest))], [entry])
    if steps == 1:
        return entry
    kept, result = a.value(node, (shape[0], steps - 1, *rest)), a.value(node, shape)
    zeros = [0] * len(rest)
    if reverse:
        a.add_slice(queue, [0, 0, *zeros], [0, steps - 1, *rest], kept)
    else:
        a.add_slice(queue, [0, 1, *zeros], [0, steps, *rest], kept)
    a.add("CONCATENATION", [entry, kept] if reverse else [kept, entry], [result], schema.ConcatenationOptionsT(axis=1))
    return result


def _copied(a: Assembly, node: Node, tensor: int, shape: Shape) -> int:
    result = a.value(node, shape)
    a.add("RESHAPE", [tensor, a.integers((-1, *shape[1:]))], [result])
    return result


def _initial(a: Assembly, node: Node, name: str) -> int:
    """Return a loop's first state; one that is constant is repeated for every example."""
    if not a.is_constant(name):
        return a.read(name)
    array = a.array(name)
    if not array.any():
        return _zeros(a, node, array.shape)
    result = a.value(node, array.shape)
    zeros = _zeros(a, node, (1,) * array.ndim)
    a.add("ADD", [zeros, a.constant(array)], [result], schema.AddOptionsT())
    return result


def _zeros(a: Assembly, node: Node, shape: Shape) -> int:
    """Return a tensor of zeros for every example: a number of each example, by 0, padded with more zeros."""
    if shape not in a.zeros:
        name = next(name for name in node.inputs if not a.is_constant(name) and a.shape(name)[0] == 1)
        rank, given = len(shape), len(a.shape(name))
        first, flat, zero = (a.value(node, (1,) * axes) for axes in (given, rank, rank))
        a.add_slice(a.read(name), [0] * given, [1] * given, first)
        a.add("RESHAPE", [first, a.integers((-1, *(1,) * (rank - 1)))], [flat])
        a.add("MUL", [flat, a.scalar(0.0)], [zero], schema.MulOptionsT())
        a.zeros[(1,) * rank] = zero
        if shape not in a.zeros:
            a.zeros[shape] = a.value(node, shape)
            pads = [(0, length - 1) for length in shape]
            a.add("PAD", [zero, a.constant(np.array(pads, np.int32))], [a.zeros[shape]])
    return a.zeros[shape]
