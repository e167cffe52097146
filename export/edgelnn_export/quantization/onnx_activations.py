"""What the activations of an ONNX file are on calibration images, from ONNX Runtime with nothing optimized away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.quantization.ranges import Activations
from edgelnn_profiling.onnx_session import import_onnxruntime

if TYPE_CHECKING:
    import onnx

__all__ = ["observe"]

_IMAGES_AT_ONCE: Final = 16


def observe(model: onnx.ModelProto, nodes: Sequence[str], images: NDArray[np.float32]) -> Activations:
    """Return what is read and given by some nodes, on one thread, so that it is the same every time.

    Args:
        model: In float32.
        nodes: Names of the nodes.
        images: Model inputs: (n, c, [d,] h, w) float32.

    Raises:
        Exception: Whatever ONNX Runtime raises where it cannot run the model on the images.
    """
    from onnx import ValueInfoProto

    wanted = set(nodes)
    constants = {each.name for each in model.graph.initializer}
    values = (name for node in model.graph.node if node.name in wanted for name in (*node.input, *node.output))
    names = [name for name in dict.fromkeys(values) if name and name not in constants]
    image = model.graph.input[0]
    watched = type(model).FromString(model.SerializeToString())
    given = {value.name for value in (image, *model.graph.output)}
    watched.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in given)
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inner = [name for name in names if name != image.name]
    step = image.type.tensor_type.shape.dim[0].dim_value or _IMAGES_AT_ONCE
    feeds = [images[start : start + step] for start in range(0, len(images), step)]
    seen = Activations(len(feeds))
    for feed in feeds:
        found = dict(zip(inner, session.run(inner, {image.name: feed}), strict=True)) | {image.name: feed}
        for name in names:
            if found[name].dtype == np.float32:
                seen.add(name, found[name])
    return seen
