"""Graph: an inference-only network as plain data, between a trained classifier and a file format.

Lowering makes one, passes rewrite it, `evaluate` runs it in numpy, and a writer per format turns it into bytes. Every value has
a shape that is known: the one it has for a batch of 1. **Axis 0 is the batch**: in a batch of n it is n times as long, in
every value, example by example (a volume of d slices is d on axis 0 while its slices pass through the stem).
Reshapes, transpositions and concatenations never mix examples.

Operators (x is the first input; weights and biases are constants):

    conv2d       x, weight (out, in/groups, kh, kw), bias (out)       stride (sh, sw), padding (top, left, bottom, right), groups, activation
    pool2d       x                                                    kind max|average, kernel (kh, kw), stride (sh, sw), padding
    linear       x (…, in), weight (out, in), bias (out) or none      activation
    add, subtract, multiply, divide   x, y                            broadcast as in numpy
    relu, tanh, sigmoid, softmax, hard_swish, hard_sigmoid   x         softmax over the last axis
    reshape      x                                                    shape: (k, …), axis 0 scales with the batch
    transpose    x                                                    permutation: axis 0 stays first
    concat       x, y, …                                              axis ≥ 1
    slice        x                                                    axis ≥ 1, start, stop
    split        x                                                    axis ≥ 1, sizes; one output each
    pad_zeros    x                                                    axis ≥ 1, before, after
    mean         x                                                    axis ≥ 1, axis removed
    lstm         x (b, T, in), weight (4u, in), recurrent (4u, u), bias (4u)   gates i, f, g, o as in torch; activations (σ, g, h);
                                                                      outputs: sequence (b, T, u)
    gru          x (b, T, in), weight (3u, in), recurrent (3u, u), bias (3u), recurrent_bias (3u)   gates r, z, n as in torch
    loop         see `Loop`

`conv2d` and `pool2d` take (b, c, h, w) where the graph's layout is channels_first and (b, h, w, c) where it is channels_last;
nothing else depends on the layout. ``activation`` is none, relu or relu6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.preprocessing import Layout

__all__ = ["Graph", "Node"]

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
class Graph:
    """A network in the order of its computation.

    Attributes:
        input: Name of the one input.
        output: Name of the one output.
        nodes: In an order in which each node's inputs stand before it.
        constants: Weights and tables by name, float32.
        shapes: Of every value (not constant) by name, for a batch of 1.
        layout: Where the channel axis of feature maps is.
    """

    input: str
    output: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]
    layout: Layout
