"""Recipes applied to ONNX files by ONNX Runtime's own quantizer.

Static files are QDQ, signed activations and weights, weights per channel: the form that ONNX Runtime names first for
ARM. The outputs of matrix products stay float32 (the kernels take int8 in and give float32 for free), so that only what
is multiplied loses precision.

Dynamic files quantize matrix products and LSTMs. Convolutions are left alone: their dynamic kernels (ConvInteger) take
about twice the time of float32 ones. Small products, and steps of an unrolled recurrence, are left alone too: what
stands around each dynamic product is larger than the weights it saves.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import ExportError, MissingExtraError
from edgelnn_export.chatter import logged_chatter
from edgelnn_export.quantization.recipe import Recipe
from edgelnn_export.quantization.scope import Operator, before_recurrence

if TYPE_CHECKING:
    import onnx

__all__ = ["quantize_onnx"]

_PRODUCTS: Final = {"MatMul": 1, "Gemm": 1, "Conv": 1}  # and which of their inputs is the weight
_RECURRENT: Final = ("LSTM", "GRU", "RNN", "Scan", "Loop")
_FOLLOWERS: Final = ("Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_WORTHWHILE_WEIGHTS: Final = 1024
_IMAGES_AT_ONCE: Final = 16


def quantize_onnx(data: bytes, recipe: Recipe, images: NDArray[np.float32] | None = None) -> bytes:
    """Return an ONNX file by a recipe.

    Args:
        data: A float32 ONNX file as `write_onnx` makes it.
        recipe: Dynamic or static.
        images: Model inputs to calibrate a static recipe on: (n, c, [d,] h, w) float32.

    Raises:
        ExportError: The recipe finds nothing in the file to quantize, or the quantizer fails.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx

        with logged_chatter("onnxruntime"):
            from onnxruntime import quantization  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtraError("quantizing ONNX files", "onnx and onnxruntime", "export") from error
    model = onnx.load_from_string(data)
    nodes = _static_nodes(model) if recipe.range == "static" else _dynamic_nodes(model)
    if not nodes:
        raise ExportError(f"{recipe.name} finds nothing to quantize: no product outside the recurrence, no LSTM.")
    with tempfile.TemporaryDirectory(prefix="edgelnn-") as folder:
        result = Path(folder) / "quantized.onnx"
        try:
            with logged_chatter("onnxruntime.quantization"):
                if recipe.range == "static":
                    _quantize_static(quantization, model, result, nodes, images)
                else:
                    quantization.quantize_dynamic(
                        model,
                        result,
                        nodes_to_quantize=nodes,
                        op_types_to_quantize=["MatMul", "Gemm", "LSTM"],
                        weight_type=quantization.QuantType.QInt8,
                        per_channel=True,
                    )
                quantized = onnx.load(result, load_external_data=False)
        except Exception as error:
            raise ExportError(f"onnxruntime.quantization fails on {recipe.name}: {_one_line(error)}") from error
    return _cleaned(quantized, model)


def _quantize_static(
    quantization: Any, model: onnx.ModelProto, result: Path, nodes: list[str], images: NDArray[np.float32] | None
) -> None:
    if images is None:
        raise ExportError("a static recipe needs images to calibrate on.")
    quantization.quantize_static(
        model,
        result,
        _reader(quantization, model.graph.input[0], images),
        quant_format=quantization.QuantFormat.QDQ,
        nodes_to_quantize=nodes,
        # Of these kinds only are ranges measured: an unrolled recurrence has thousands of values that nobody asks for.
        op_types_to_quantize=sorted({node.op_type for node in model.graph.node if node.name in nodes}),
        activation_type=quantization.QuantType.QInt8,
        weight_type=quantization.QuantType.QInt8,
        per_channel=True,
        calibrate_method=quantization.CalibrationMethod.MinMax,
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )


def _reader(quantization: Any, model_input: onnx.ValueInfoProto, images: NDArray[np.float32]) -> Any:
    """Return the calibration images as ONNX Runtime wants them: a reader of feeds, None at the end."""
    batch = model_input.type.tensor_type.shape.dim[0].dim_value or _IMAGES_AT_ONCE
    feeds = iter([{model_input.name: images[start : start + batch]} for start in range(0, len(images), batch)])

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # the library has no types
        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(feeds, None)

    return Reader()


def _static_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that a static recipe quantizes."""
    constants = {each.name for each in model.graph.initializer}
    operators = [_operator(node, constants) for node in model.graph.node]
    places = before_recurrence(operators)
    return [node.name for node, place in zip(model.graph.node, places, strict=True) if place != "outside"]


def _operator(node: onnx.NodeProto, constants: set[str]) -> Operator:
    weights: Sequence[str] = ()
    kind: Any = "other"
    if node.op_type in _PRODUCTS and (weight := node.input[_PRODUCTS[node.op_type]]) in constants:
        weights, kind = (weight,), "product"
    elif node.op_type in _RECURRENT:
        kind = "recurrent"
    elif node.op_type in _FOLLOWERS:
        kind = "follower"
    values = tuple(name for name in node.input if name not in constants)
    return Operator(values, tuple(node.output), tuple(weights), kind)


def _dynamic_nodes(model: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes that a dynamic recipe quantizes."""
    constants = {each.name: each for each in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in node.input)
    chosen = []
    for node in model.graph.node:
        weight = constants.get(node.input[1]) if node.op_type in ("MatMul", "Gemm", "LSTM") else None
        if weight is not None and uses[weight.name] == 1 and int(np.prod(weight.dims)) >= _WORTHWHILE_WEIGHTS:
            # A Gemm is made a MatMul and an Add first, and the quantizer goes by the name that the MatMul gets.
            chosen.append(f"{node.name}_MatMul" if node.op_type == "Gemm" else node.name)
    return chosen


def _cleaned(quantized: onnx.ModelProto, original: onnx.ModelProto) -> bytes:
    """Return the bytes of a quantized model without the traces of its making, inputs and outputs as they were."""
    graph = quantized.graph
    del quantized.metadata_props[:]
    del graph.value_info[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for side, before in ((graph.input, original.graph.input), (graph.output, original.graph.output)):
        del side[:]
        side.extend(before)
    graph.name, graph.doc_string = original.graph.name, ""
    quantized.producer_name, quantized.producer_version = original.producer_name, original.producer_version
    quantized.doc_string, quantized.domain, quantized.model_version = "", "", 0
    used = {node.domain for node in graph.node}
    imports = [each for each in quantized.opset_import if each.domain in used]
    del quantized.opset_import[:]
    quantized.opset_import.extend(sorted(imports, key=lambda each: str(each.domain)))
    return bytes(quantized.SerializeToString(deterministic=True))


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
