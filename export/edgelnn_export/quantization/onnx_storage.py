"""Weights of an ONNX file stored in fewer bits and widened when the file is loaded.

Int8 weights are read through Cast and Mul (by one scale a channel), float16 ones through Cast. ONNX Runtime folds both
into float32 constants while it loads, so that fused kernels (LSTM) find their weights packed and every product runs as
fast as in the float32 file. DequantizeLinear, the obvious operator, is never folded: it ran at every inference, and
doubled the time of a network of convolutions and LSTMs (315 against 147 µs).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

__all__ = ["store_weights", "stored_weights"]

_WORTHWHILE_WEIGHTS: Final = 256  # the two operators and the scales cost some 200 bytes
_FLOAT: Final = 1  # onnx.TensorProto.FLOAT


def stored_weights(model: onnx.ModelProto) -> Mapping[str, int]:
    """Return the float32 weights that are worth storing in fewer bits, with the axis of their channels."""
    sizes = {t.name: (int(np.prod(t.dims)), len(t.dims)) for t in model.graph.initializer if t.data_type == _FLOAT}
    large = {name: rank for name, (size, rank) in sizes.items() if size >= _WORTHWHILE_WEIGHTS and rank >= 2}
    for node in model.graph.node:
        if any(each.name == "activations" and b"Softsign" in each.strings for each in node.attribute):
            for name in node.input:  # the core of an LTC as a GRU: its numbers are millions of times apart in one row
                large.pop(name, None)
    axes = {name: rank - 1 for name, rank in large.items()}
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name not in large:
                continue
            if node.op_type == "Conv":
                axes[name] = 0
            elif node.op_type in ("LSTM", "GRU", "RNN"):
                axes[name] = 1
            elif node.op_type == "Gemm" and place == 1 and any(a.name == "transB" and a.i for a in node.attribute):
                axes[name] = 0
    return axes


def store_weights(model: onnx.ModelProto, names: Collection[str], kind: Literal["int8", "float16"]) -> None:
    """Store weights of a model in fewer bits, in place.

    Args:
        model: Holds them as float32 initializers.
        names: Of the weights, from `stored_weights`.
        kind: Type in which they are stored.
    """
    from onnx import helper, numpy_helper

    axes = stored_weights(model)
    graph, nodes = model.graph, []
    for tensor in list(graph.initializer):
        name = tensor.name
        if name not in names or name not in axes:
            continue
        weights = numpy_helper.to_array(tensor)
        if kind == "float16":
            if float(np.abs(weights).max()) > float(np.finfo(np.float16).max):
                continue
            tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), f"{name}/h"))
            nodes.append(helper.make_node("Cast", [f"{name}/h"], [name], f"{name}/w", to=_FLOAT))
            continue
        integers, scales = _quantized(weights, axes[name])
        tensor.CopyFrom(numpy_helper.from_array(integers, f"{name}/q"))
        graph.initializer.append(numpy_helper.from_array(scales, f"{name}/s"))
        nodes.append(helper.make_node("Cast", [f"{name}/q"], [f"{name}/f"], f"{name}/c", to=_FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}/f", f"{name}/s"], [name], f"{name}/w"))
    before = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *before])


def _quantized(weights: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return int8 weights and their scales, which stand for weights = integers · scales, symmetric."""
    others: Any = tuple(each for each in range(weights.ndim) if each != axis)
    scales = (np.abs(weights).max(axis=others, keepdims=True) / 127).astype(np.float32)
    scales[scales == 0] = 1
    return np.clip(np.round(weights / scales), -127, 127).astype(np.int8), scales
