"""How far a file strays from the trained model, layer by layer.

The reference is the lowered graph in numpy, in float64; the file is computed by its own runtime, image by image, and
what it computes on the way is read out: in ONNX by naming it as further outputs, in TFLite by keeping all tensors, for
which its plain kernels take the place of XNNPACK's. What happens inside loops is not seen, only what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import ModelFileError, UnsupportedModelError
from edgelnn.preprocessing import find_input_type
from edgelnn.run import Run
from edgelnn_export.formats.values import FileValues
from edgelnn_export.graph import Graph, Node
from edgelnn_export.lowering import lower
from edgelnn_export.lowering.classifier import Optimize
from edgelnn_export.making import LAYOUTS
from edgelnn_export.reference_evaluator import evaluate_values
from edgelnn_export.selection import golden_images
from edgelnn_profiling.model_files import check_model
from edgelnn_profiling.runtimes import load_runtime

__all__ = ["LayerError", "layer_errors"]

_LAYERS: Final = {"conv2d", "gru", "linear", "loop", "lstm", "rnn"}


@dataclass(frozen=True)
class LayerError:
    """One layer's output in a file against the reference.

    Attributes:
        name: As the file calls it.
        part: Of the classifier: stem, scan, head or output.
        operator: Of the lowered graph.
        elements: Numbers compared.
        largest: The largest absolute number of the reference.
        max_error: The largest absolute difference.
        sqnr_db: Signal to quantization noise ratio: 10 log10 of Σ reference² over Σ difference²; None where there is
            no difference, or nothing but zeros to differ from.
    """

    name: str
    part: str
    operator: str
    elements: int
    largest: float
    max_error: float
    sqnr_db: float | None


def layer_errors(path: Path, run: Run) -> tuple[LayerError, ...]:
    """Return the errors of a file at the outputs of its layers, in the order of computation, on the golden images.

    Args:
        path: An .onnx or .tflite file that was exported from the run.
        run: What was trained.

    Raises:
        ModelFileError: The file is not fit to be opened, or was not exported from this run by this version.
        DataError: The run's data is not to be found, or has changed.
    """
    model_format = check_model(path)
    layout = LAYOUTS[model_format]
    classifier = run.load_classifier()
    content = path.read_bytes()
    taken = find_input_type(load_runtime(path).input.dtype)
    preprocessing = replace(run.preprocessing, input_type=taken)
    best: tuple[int, Graph, FileValues] | None = None
    for optimize in get_args(Optimize):
        try:
            graph = lower(
                classifier, layout=layout, target=model_format, optimize=optimize, preprocessing=preprocessing
            )
        except UnsupportedModelError:
            continue  # there is no such form of this model, so the file is not of it
        values = FileValues.of(content, graph, model_format)
        found = sum(values.name(name) is not None for _, name in _outputs(values.graph))
        if best is None or found > best[0]:
            best = (found, graph, values)
    images = golden_images(run.load_dataset()["val"])
    inputs = preprocessing(images, layout)
    if best is None or best[0] < 2:
        raise _stranger(path, run)
    values = best[2]
    wanted = [(node, name) for node, name in _outputs(values.graph) if values.name(name) is not None]
    expected = evaluate_values(values.graph, inputs.astype(np.float64), dtype=np.float64)
    found_values = values.compute(inputs, [name for _, name in wanted])
    if any(found_values[name].shape != expected[name].shape for _, name in wanted):
        raise _stranger(path, run)
    return tuple(
        _compare(values.title(name), node, expected[name], found_values[name].astype(np.float64))
        for node, name in wanted
    )


def _stranger(path: Path, run: Run) -> ModelFileError:
    return ModelFileError(
        f"{path} does not hold the layers of {run.folder}: it was exported from another run, or by another version of "
        "edgelnn. Export the run again."
    )


def _outputs(graph: Graph) -> Iterator[tuple[Node, str]]:
    """Yield the layers of a graph with the value that each gives; a product that a sum follows, by that sum."""
    sums = {name: node for node in graph.nodes if node.op == "add" for name in node.inputs}
    for node in graph.nodes:
        if node.op in _LAYERS:
            for name in node.outputs:
                yield node, name
            follower = sums.get(node.outputs[0])
            if node.op == "linear" and len(node.inputs) == 2 and follower is not None:
                yield node, follower.outputs[0]
        elif graph.output in node.outputs:
            yield node, graph.output


def _compare(name: str, node: Node, expected: NDArray[Any], found: NDArray[Any]) -> LayerError:
    difference = found - expected
    signal, noise = float(np.square(expected).sum()), float(np.square(difference).sum())
    return LayerError(
        name=name,
        part=node.part,
        operator=node.op,
        elements=expected.size,
        largest=float(np.abs(expected).max()),
        max_error=float(np.abs(difference).max()),
        sqnr_db=10 * math.log10(signal / noise) if signal and noise else None,
    )
