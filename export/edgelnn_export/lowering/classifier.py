"""lower: a trained classifier as an inference graph, part by part."""

from __future__ import annotations

import copy
from typing import Final

from edgelnn.errors import ConfigError
from edgelnn.models.classifier import Classifier
from edgelnn.preprocessing import Layout, Preprocessing
from edgelnn_export.graph import Graph
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.column_groups import group_columns
from edgelnn_export.lowering.head import Optimize, Target
from edgelnn_export.lowering.raw_pixels import take_pixels
from edgelnn_export.lowering.reading import lower_reading
from edgelnn_export.lowering.row_pairs import pair_rows
from edgelnn_export.lowering.stem import lower_stem, slices_as_batch

__all__ = ["Optimize", "Target", "find_optimize", "lower"]

_OPTIMIZE: Final[tuple[Optimize, ...]] = ("latency", "size")


def lower(
    classifier: Classifier,
    *,
    layout: Layout,
    target: Target,
    optimize: Optimize = "latency",
    preprocessing: Preprocessing | None = None,
) -> Graph:
    """Return the inference graph of a trained classifier.

    Weights are folded in float64 and stored as float32. Dropout is left out, batch norm uses its running statistics:
    the classifier is read as in eval mode, and not changed.

    Args:
        classifier: Trained.
        layout: Where the channel axis is, of the image and of maps: channels_first for ONNX, channels_last for TFLite.
        target: Format whose runtime the operators are chosen for.
        optimize: ``latency`` for fused and unrolled recurrences, ``size`` for loops where they make a smaller file.
        preprocessing: What makes the graph's input; where its `input_type` is uint8, the graph does the rest itself.

    Returns:
        A graph from ``image`` (n, c, [d,] h, w) or (n, [d,] h, w, c) to ``probabilities`` (n, outputs).

    Raises:
        UnsupportedModelError: A part of the classifier has no form here.
        ExportError: A weight is not finite.

    >>> from edgelnn.models import ModelSpec, build_classifier
    >>> classifier = build_classifier(ModelSpec(), image_shape=(28, 28, 1), task="binary-class", classes=2)
    >>> graph = lower(classifier, layout="channels_first", target="onnx")
    >>> [node.op for node in graph.nodes if node.part == "head"]
    ['reshape', 'lstm', 'lstm', 'lstm', 'linear']
    """
    exact = copy.deepcopy(classifier).eval().double()
    if optimize == "size":
        graphs = [_lower(exact, layout, target, each, preprocessing) for each in _OPTIMIZE]
        return min(graphs, key=lambda graph: _file_bytes(graph, target))
    return _lower(exact, layout, target, optimize, preprocessing)


def find_optimize(name: str) -> Optimize:
    """Return what to optimize for, by name.

    Raises:
        ConfigError: It is neither ``latency`` nor ``size``.
    """
    for known in _OPTIMIZE:
        if name == known:
            return known
    raise ConfigError(f"got optimize={name!r}; expected one of {', '.join(_OPTIMIZE)}.")


def _file_bytes(graph: Graph, target: Target) -> int:
    from edgelnn_export.onnx_model import write_onnx
    from edgelnn_export.tflite_model import write_tflite

    return len(write_onnx(graph) if target == "onnx" else write_tflite(graph))


def _lower(
    exact: Classifier, layout: Layout, target: Target, optimize: Optimize, preprocessing: Preprocessing | None
) -> Graph:
    """Return the graph of a classifier of float64 in one of the two forms."""
    *space, channels = exact.image_shape
    shape = (channels, *space) if layout == "channels_first" else (*space, channels)
    builder = GraphBuilder((1, *shape), layout)
    value = builder.input
    with builder.in_part("stem"):
        if exact.slice_axis is not None:
            value = slices_as_batch(builder, value, exact.slice_axis)
        value = lower_stem(builder, value, exact.stem)
    scores = lower_reading(builder, value, exact.scan, exact.reduction, exact.head, target, optimize)
    with builder.in_part("output"):
        output = builder.unary(exact.output_kind, scores)
    graph = builder.finish(output)
    if preprocessing is not None and preprocessing.input_type == "uint8":
        graph = take_pixels(graph, preprocessing)
    if optimize == "size":
        return graph
    return pair_rows(graph) if target == "onnx" else group_columns(graph)
