"""Loops in TFLite files: the weights in their bodies, and the part of a network that runs before any of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from edgelnn_export.formats.tflite_packing import pack_model

__all__ = ["body_operators", "holds_loops", "without_loops"]


def holds_loops(model: Any) -> bool:
    """Return whether a file has subgraphs besides its network: tests and bodies of loops."""
    return len(model.subgraphs) > 1


def body_operators(model: Any) -> list[tuple[Any, Any]]:
    """Return the operators of all bodies, each with its subgraph."""
    return [(graph, each) for graph in model.subgraphs[1:] for each in graph.operators]


def without_loops(model: Any, is_loop: Callable[[Any], bool]) -> bytes:
    """Return the bytes of what a network computes before any loop, tensors named as in the whole.

    ai-edge-quantizer reads every tensor of a network to find ranges, and those that a loop gives cannot be read.
    Nothing behind a loop is static, so that what stands before tells all that is asked for.

    Args:
        model: The file, as the schema's `ModelT`; not changed.
        is_loop: Says whether an operator is one.
    """
    part = copy.deepcopy(model)
    graph = part.subgraphs[0]
    after: set[int] = set()
    kept = []
    for operator in graph.operators:
        if is_loop(operator) or after.intersection(map(int, operator.inputs)):
            after.update(map(int, operator.outputs))
        else:
            kept.append(operator)
    graph.operators = kept
    read = {int(i) for operator in kept for i in operator.inputs}
    graph.outputs = [int(i) for operator in kept for i in operator.outputs if int(i) not in read]
    del part.subgraphs[1:]
    _drop_unused_tensors(graph)
    signature = part.signatureDefs[0]
    (output,) = signature.outputs
    signature.outputs = []
    for number, tensor in enumerate(graph.outputs):
        signature.outputs.append(copy.copy(output))
        signature.outputs[-1].name, signature.outputs[-1].tensorIndex = f"part{number}".encode(), tensor
    return pack_model(part)


def _drop_unused_tensors(graph: Any) -> None:
    """Number the tensors of a subgraph anew, those left out that no operator reads or gives."""
    listed = [graph.inputs, graph.outputs, *(side for each in graph.operators for side in (each.inputs, each.outputs))]
    used = sorted({int(index) for side in listed for index in side if index >= 0})
    place = {index: number for number, index in enumerate(used)}
    place[-1] = -1  # an input that is left out
    graph.tensors = [graph.tensors[index] for index in used]
    graph.inputs, graph.outputs = ([place[int(i)] for i in side] for side in (graph.inputs, graph.outputs))
    for each in graph.operators:
        each.inputs, each.outputs = ([place[int(i)] for i in side] for side in (each.inputs, each.outputs))
