"""rewritten: a graph with some of its nodes replaced by others that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgelnn_export.graph import Array, Body, Graph, Node
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.operators import attribute

__all__ = ["Rule", "rewritten"]

Rule = Callable[[GraphBuilder, Node, Sequence[str | Array]], Sequence[str] | None]
"""Builder, node, its inputs (names in the builder of values, arrays of constants) → the builder's names for what the
node's outputs are now, or None for a node to be left as it is."""


def rewritten(graph: Graph, rule: Rule, begin: Callable[[GraphBuilder], str] | None = None) -> Graph:
    """Return a graph in which a rule has replaced nodes; nodes that nobody reads any more are left out.

    Args:
        graph: With or without loops; the rule sees the nodes in their bodies too.
        rule: Writes what replaces a node.
        begin: Where the input becomes one of uint8: writes what stands for it from there on, and returns its name.

    >>> import numpy as np
    >>> b = GraphBuilder((1, 2), "channels_first")
    >>> graph = b.finish(b.add(b.input, np.zeros((1, 2))))
    >>> rule = lambda b, node, inputs: [b.unary("abs", inputs[0])] if node.op == "add" else None
    >>> [node.op for node in rewritten(graph, rule).nodes]
    ['abs']
    """
    input_type = "uint8" if begin else graph.input_type
    builder = GraphBuilder(graph.shapes[graph.input], graph.layout, input=graph.input, input_type=input_type)
    names = {graph.input: begin(builder) if begin else graph.input}
    _copy(builder, graph.nodes, names, graph.constants, rule)
    return builder.finish(names[graph.output], graph.output)


def _copy(
    b: GraphBuilder, nodes: Sequence[Node], names: dict[str, str], constants: Mapping[str, Array], rule: Rule
) -> None:
    """Add nodes to a builder.

    Args:
        b: Where to.
        nodes: Of another graph, or of the body of a loop in it.
        names: What the builder calls the values of that graph; those of the nodes are added.
        constants: Of that graph.
        rule: As above.
    """
    for node in nodes:
        with b.in_part(node.part):
            inputs = [names[name] if name in names else constants[name] for name in node.inputs]
            outputs = rule(b, node, inputs)
            if outputs is None:
                attributes: dict[str, Any] = dict(node.attributes)
                if node.op == "loop":
                    attributes["body"] = _copied_body(b, attribute(node, "body"), constants, rule)
                outputs = b.add_node(node.op, inputs, **attributes)
            names.update(zip(node.outputs, outputs, strict=True))


def _copied_body(b: GraphBuilder, body: Body, constants: Mapping[str, Array], rule: Rule) -> Body:
    inner, inside = b.body([body.shapes[name] for name in body.inputs])
    known = dict(zip(body.inputs, inside, strict=True))
    _copy(inner, body.nodes, known, constants, rule)
    return inner.finish_body(inside, [known[n] if n in known else inner.constant(constants[n]) for n in body.outputs])
