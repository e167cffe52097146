"""Graph: an inference-only network as plain data, between a trained classifier and a file format.

Lowering makes one, passes rewrite it, `evaluate` runs it in numpy, and a writer per format turns it into bytes. Every
value has a shape that is known: the one it has for a batch of 1. **Axis 0 is the batch**: in a batch of n it is n
times as long, in every value, example by example (a volume of d slices is d on axis 0 while its slices pass through
the stem, and so may a sequence be: (T, features) for (1, T, features)). Reshapes, transpositions and concatenations
never mix examples. Axes are written as numbers ≥ 1.

Operators: their inputs (x is the first; weights, biases and tables are constants), then their attributes in brackets,
with defaults where they have one:

    conv2d       x, weight (out, in/groups, kh, kw), bias (out)
                 [stride (sh, sw) = (1, 1), padding (top, left, bottom, right) = (0, 0, 0, 0), groups = 1,
                 activation = "none"]
    pool2d       x [kind = max | average, kernel (kh, kw), stride (sh, sw)]; windows that do not fit are dropped
    linear       x (…, in), weight (out, in), bias (out) or left out [activation = "none"]
    add, subtract, multiply, divide, maximum     x, y; broadcast as in numpy
    relu, tanh, sigmoid, softmax, hard_swish, hard_sigmoid, exp, log, abs     x; softmax over the last axis,
                 hard_sigmoid is clip(x/6 + 1/2, 0, 1) and hard_swish x times that
    pixels       the graph's input of uint8, as float32
    reshape      x [shape: of the result for a batch of 1; axis 0 scales with the batch]
    transpose    x [permutation: axis 0 stays first]
    concat       x, y, … [axis]
    slice        x [axis, start, stop], 0 ≤ start < stop ≤ length
    split        x [axis, sizes], one output each
    gather       x [axis, indices], 0 ≤ index < length
    reverse      x [axis]
    pad_zeros    x [axis, before, after]
    shift        x [axis, by]: moved `by` places later, 0 < by < length; zeros enter, what passes the end is gone
    mean         x [axis], which is removed
    suffix_sums  x [axis]: at each place the sum of what stands there and later
    preceding_sums  x [axis]: at each place the sum of what stands before it
    lstm         x (b, T, in), weight (4u, in), recurrent (4u, u), bias (4u)
                 [activations = ("sigmoid", "tanh", "tanh"), direction = "forward", result = "sequence"];
                 gates i, f, g, o as in torch, torch's two biases summed; activations of i, f and o, of the candidate
                 g, and of the cell on its way out, each sigmoid, tanh, softsign (x / (1 + |x|)) or identity
    gru          x (b, T, in), weight (3u, in), recurrent (3u, u), bias (3u), recurrent_bias (3u)
                 [activations = ("sigmoid", "tanh"), direction = "forward", result = "sequence"]; gates r, z, n as in
                 torch, where r multiplies recurrent·h + recurrent_bias; activations of r and z, and of n
    rnn          x (b, T, in), weight (u, in), recurrent (u, u), bias (u)
                 [activations = ("tanh",), direction = "forward", result = "sequence"]; torch's two biases summed
    loop         states…, sequences…, invariants…
                 [body: Body, states: how many, sequences: how many, steps = T, reverse = False]

`lstm`, `gru` and `rnn` begin from zero. direction "reverse" reads from the last step to the first and puts each output
where its input stood; "both" takes the reverse direction's weights after the forward ones (7 or 9 inputs) and joins the
outputs, forward first. result "sequence" is (b, T, u or 2u), "last" is (b, u or 2u): the state after the last step read
(of the reverse direction: the one at step 0).

`loop` runs its body T times. The body takes, in this order, the states, one step of each of the sequences (axis 1
taken out) and the invariants as they are; it gives the new states and then the results of the step. The loop's
outputs are the final states and the results of all steps, each joined along a new axis 1. With reverse the last step
is read first, and results stand where their input stood. A body's nodes may use any constant of the graph, and no
value but the body's own. A body may hold loops.

`conv2d` and `pool2d` take (b, c, h, w) where the graph's layout is channels_first and (b, h, w, c) where it is
channels_last; nothing else depends on the layout (the graph's input does, by what lowering makes of it).
``activation`` is none, relu or relu6.

Besides weights, a constant may be one operand of those of two (add, subtract, …; its axis 0 has length 1, or it has
fewer axes), and an initial state of a loop: (1, …), which stands for every example.

The shape rules are in `operators.py`; `Graph.checked` holds a graph to all of this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import ExportError
from edgelnn.preprocessing import InputType, Layout
from edgelnn_export.operators import Shape, infer_shapes

__all__ = ["Array", "Body", "Graph", "Node", "all_nodes"]

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Node:
    """One operator: names of its inputs (values or constants) and outputs, and its attributes."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    part: str = ""  # stem, scan, head or output: which part of the classifier it belongs to


@dataclass(frozen=True)
class Body:
    """What a loop repeats; its constants are those of the graph it stands in.

    Attributes:
        inputs: Names of states, sequence steps and invariants, in this order.
        outputs: Names of the new states, then of the results of the step. An output may be an input.
        nodes: In an order in which each node's inputs stand before it.
        shapes: Of every value of the body by name, inputs included, for a batch of 1.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]


@dataclass(frozen=True)
class Graph:
    """A network in the order of its computation.

    Attributes:
        input: Name of the one input.
        output: Name of the one output.
        nodes: In an order in which each node's inputs stand before it.
        constants: Weights and tables by name, float32. Equal arrays stand here once.
        shapes: Of every value (not constant) by name, for a batch of 1. Values of loop bodies stand in the body.
        layout: Where the channel axis of feature maps is.
        input_type: ``float32``, or ``uint8``; `pixels` alone reads the latter.
    """

    input: str
    output: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    layout: Layout
    input_type: InputType = "float32"

    def checked(self) -> Graph:
        """Return this graph, having held it to the rules of this module.

        Raises:
            ExportError: A rule is broken; the message names the node.
        """
        if self.input not in self.shapes:
            raise ExportError(f"got a graph without the shape of its input {self.input!r}.")
        for name, array in self.constants.items():
            if array.dtype != np.float32:
                raise ExportError(f"got constant {name!r} of type {array.dtype}; expected float32.")
            if not np.isfinite(array).all():
                raise ExportError(
                    f"got a number that is not finite in constant {name!r}; are the trained weights finite?"
                )
        readers = {node.op == "pixels" for node in self.nodes if self.input in node.inputs}
        if readers - {self.input_type == "uint8"}:
            raise ExportError(f"got an input of {self.input_type}; pixels, and nothing else, reads one of uint8.")
        used = _check_nodes(self.nodes, (self.input,), self.shapes, self.constants, self.layout)
        if self.output not in self.shapes:
            raise ExportError(f"got the output {self.output!r}, which no node gives.")
        idle = set(self.constants) - used
        if idle:
            raise ExportError(f"got constants that no node uses: {', '.join(sorted(idle))}.")
        return self

    def constant_bytes(self) -> int:
        """Return the bytes of all weights and tables."""
        return sum(array.nbytes for array in self.constants.values())


def all_nodes(nodes: tuple[Node, ...]) -> Iterator[Node]:
    """Yield every node, those in the bodies of loops too."""
    for node in nodes:
        yield node
        if node.op == "loop":
            yield from all_nodes(node.attributes["body"].nodes)


def _check_constant(where: str, node: Node, name: str) -> None:
    """Hold a constant to the places where one may stand."""
    if node.op in ("linear", "conv2d", "lstm", "gru", "rnn"):
        allowed = node.inputs[1:]
    elif node.op == "loop":
        allowed = node.inputs[: node.attributes["states"]]
    else:
        allowed = node.inputs if node.op in ("add", "subtract", "multiply", "divide", "maximum") else ()
    if name not in allowed:
        raise ExportError(f"{where}: got the constant {name!r} where only a value may stand.")


def _check_nodes(
    nodes: tuple[Node, ...],
    inputs: tuple[str, ...],
    shapes: Mapping[str, Shape],
    constants: Mapping[str, Array],
    layout: Layout,
) -> set[str]:
    """Return the names of the constants used by a list of nodes that keeps the rules."""
    known = set(inputs)
    used: set[str] = set()
    for node in nodes:
        where = f"{node.op} node {', '.join(node.outputs) or 'without outputs'}"
        for name in node.inputs:
            if name in constants:
                _check_constant(where, node, name)
                used.add(name)
            elif name not in known:
                raise ExportError(f"{where}: got input {name!r}, which no earlier node gives.")
        found = infer_shapes(node, [shapes[n] if n in known else constants[n].shape for n in node.inputs], layout)
        if len(found) != len(node.outputs):
            raise ExportError(f"{where}: got {len(node.outputs)} output names; expected {len(found)}.")
        for name, shape in zip(node.outputs, found, strict=True):
            if name in known or name in constants:
                raise ExportError(f"{where}: the name {name!r} is taken.")
            if tuple(shapes.get(name, ())) != shape:
                raise ExportError(f"{where}: got shape {shapes.get(name)} for {name!r}; the rules give {shape}.")
            if math.prod(shape) == 0:
                raise ExportError(f"{where}: {name!r} is empty, {shape}.")
            known.add(name)
        if node.op == "loop":
            body: Body = node.attributes["body"]
            used |= _check_nodes(body.nodes, body.inputs, body.shapes, constants, layout)
    stray = set(shapes) - known
    if stray:
        raise ExportError(f"got shapes of values that no node gives: {', '.join(sorted(stray))}.")
    return used
