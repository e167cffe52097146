"""Recipes applied to ONNX files by ONNX Runtime's own quantizer, static ones with ranges found here (`ranges`).

Static files are QDQ, signed activations and weights, weights per channel: the form that ONNX Runtime names first for
ARM. The outputs of matrix products stay float32 (the kernels take int8 in and give float32 for free), so that only what
is multiplied loses precision. A convolution of one to three channels stays float32 (see `onnx_thin`).

Weight-only and float16 files only store weights in fewer bits (see `onnx_storage`).

Dynamic files quantize matrix products and LSTMs. Convolutions are left alone: their dynamic kernels (ConvInteger) take
about twice the time of float32 ones. Small products, and steps of an unrolled recurrence, are left alone too: what
stands around each dynamic product is larger than the weights it saves.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import ExportError, MissingExtraError
from edgelnn_export.chatter import logged_chatter
from edgelnn_export.quantization.onnx_activations import observe
from edgelnn_export.quantization.onnx_storage import store_weights, stored_weights
from edgelnn_export.quantization.onnx_thin import pool_before_rectifying, thin_convolutions
from edgelnn_export.quantization.ranges import Calibration
from edgelnn_export.quantization.recipe import Recipe
from edgelnn_export.quantization.scope import REST, Operator, Place, Plan, Scheme, before_recurrence, integer_operators
from edgelnn_profiling.runtimes import import_runtime

if TYPE_CHECKING:
    import onnx

__all__ = ["layer_names", "plan_onnx", "quantize_onnx"]

_PRODUCTS: Final = {"MatMul": 1, "Gemm": 1, "Conv": 1}  # and which of their inputs is the weight
_RECURRENT: Final = ("LSTM", "GRU", "RNN", "Scan", "Loop")
_FOLLOWERS: Final = ("Relu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_WORTHWHILE_WEIGHTS: Final = 1024
_STORED: Final[Mapping[Scheme, Literal["int8", "float16"]]] = {"weight_only": "int8", "float16": "float16"}


def plan_onnx(data: bytes, recipe: Recipe) -> Plan:
    """Return how a recipe quantizes each layer of a file.

    Args:
        data: A float32 ONNX file as `write_onnx` makes it.
        recipe: Any but float32; for a mixed one, what it is where every layer bears it.

    Raises:
        ExportError: The format has no kernels for the recipe, or it finds nothing in the file to quantize.
        MissingExtraError: onnx is not installed.
    """
    model = _load(data)
    if recipe.activations == "i16":
        raise ExportError("ONNX Runtime has no kernels for products of 16-bit activations; it would compute in float32")
    before = [each.outputs[0] for each, place in _placed(model) if each.kind == "product" and place != "outside"]
    thin = thin_convolutions(model)
    static: list[str] = [name for name in before if name not in thin] or before
    plan: dict[str, Scheme] = {}
    if recipe.range == "dynamic":
        plan = dict.fromkeys((node.output[0] for node in _dynamic_nodes(model)), "dynamic")
    elif recipe.range == "static":
        plan = dict.fromkeys(static, "static")
    elif stored_weights(model):
        stored: Scheme = "float16" if recipe.weights == "fp16" else "weight_only"
        plan = dict.fromkeys(before, stored)
        if recipe.range == "mixed":
            plan.update(dict.fromkeys(static, "static"))
        if _weights_to_store(model, {REST: stored}, stored):
            plan[REST] = stored
    if not plan:
        raise ExportError(f"{recipe.name} finds nothing to quantize: no product outside the recurrence, no LSTM.")
    return plan


def quantize_onnx(
    data: bytes,
    recipe: Recipe,
    images: NDArray[np.float32] | None = None,
    *,
    calibration: Calibration = "min_max",
    plan: Plan | None = None,
) -> bytes:
    """Return an ONNX file by a recipe.

    Args:
        data: A float32 ONNX file as `write_onnx` makes it.
        recipe: Any but float32.
        images: Model inputs to calibrate a static recipe on: (n, c, [d,] h, w) float32.
        calibration: How ranges are found.
        plan: For each layer; what `plan_onnx` says where None.

    Raises:
        ExportError: The recipe finds nothing in the file to quantize, or the quantizer fails.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx

        with logged_chatter("onnxruntime"):
            import_runtime("onnx")
            from onnxruntime import quantization  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtraError("quantizing ONNX files", "onnx and onnxruntime", "export") from error
    model = quantized = _load(data)
    plan = plan_onnx(data, recipe) if plan is None else plan
    static = {name for name, scheme in plan.items() if scheme == "static"}
    dynamic = [node for node in model.graph.node if plan.get(node.output[0]) == "dynamic"]
    if static and images is None:
        raise ExportError("a static recipe needs images to calibrate on.")
    if static:
        pool_before_rectifying(model, thin_convolutions(model) - static)
    with tempfile.TemporaryDirectory(prefix="edgelnn-") as folder:
        result = Path(folder) / "quantized.onnx"
        try:
            with logged_chatter("onnxruntime.quantization"):
                if static and images is not None:
                    _quantize_static(quantization, model, result, _static_nodes(model, static), images, calibration)
                    quantized = onnx.load(result, load_external_data=False)
                if dynamic:
                    quantization.quantize_dynamic(
                        quantized,
                        result,
                        # A Gemm is made a MatMul and an Add first; the quantizer goes by the name that the MatMul gets.
                        nodes_to_quantize=[f"{n.name}_MatMul" if n.op_type == "Gemm" else n.name for n in dynamic],
                        op_types_to_quantize=["MatMul", "Gemm", "LSTM"],
                        weight_type=quantization.QuantType.QInt8,
                        per_channel=True,
                    )
                    quantized = onnx.load(result, load_external_data=False)
        except Exception as error:
            raise ExportError(f"onnxruntime.quantization fails on {recipe.name}: {_one_line(error)}") from error
    if quantized is model:
        quantized = _load(data)
    for scheme, kind in _STORED.items():
        store_weights(quantized, _weights_to_store(model, plan, scheme), kind)
    return _cleaned(quantized, model)


def layer_names(data: bytes) -> dict[str, str]:
    """Return the names of a file's operators, by which a plan's layers are better known, by their first outputs."""
    return {node.output[0]: node.name for node in _load(data).graph.node if node.name}


def _load(data: bytes) -> onnx.ModelProto:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtraError("quantizing ONNX files", "onnx and onnxruntime", "export") from error
    return onnx.load_from_string(data)


def _weights_to_store(model: onnx.ModelProto, plan: Plan, scheme: Scheme) -> set[str]:
    """Return the names of the weights that a plan stores in fewer bits by a scheme."""
    layers = {each.outputs[0] for each, place in _placed(model) if each.kind == "product" and place != "outside"}
    of_layers = {name: node.output[0] for node in model.graph.node for name in node.input if node.output[0] in layers}
    return {name for name in stored_weights(model) if plan.get(of_layers.get(name, REST)) == scheme}


def _quantize_static(
    quantization: Any,
    model: onnx.ModelProto,
    result: Path,
    nodes: list[str],
    images: NDArray[np.float32],
    calibration: Calibration,
) -> None:
    from onnxruntime.quantization.calibrate import TensorData, TensorsData  # type: ignore[import-untyped]

    ranges = observe(model, nodes, images).ranges(calibration)
    quantizer = quantization.QDQQuantizer(
        model=model,
        per_channel=True,
        reduce_range=False,
        weight_qType=quantization.QuantType.QInt8,
        activation_qType=quantization.QuantType.QInt8,
        tensors_range=TensorsData(
            quantization.CalibrationMethod.MinMax,
            {
                name: TensorData(lowest=np.array([smallest], np.float32), highest=np.array([largest], np.float32))
                for name, (smallest, largest) in ranges.items()
            },
        ),
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in model.graph.node if node.name in nodes}),
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(str(result))


def _placed(model: onnx.ModelProto) -> list[tuple[Operator, Place]]:
    """Return the operators of a model with where they stand to its recurrence."""
    constants = {each.name for each in model.graph.initializer}
    operators = [_operator(node, constants) for node in model.graph.node]
    return list(zip(operators, before_recurrence(operators), strict=True))


def _static_nodes(model: onnx.ModelProto, static: set[str]) -> list[str]:
    """Return the names of the nodes that are computed in integers where these layers are."""
    operators, places = zip(*_placed(model), strict=True)
    return [model.graph.node[index].name for index in integer_operators(operators, places, static)]


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


def _dynamic_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes that a dynamic recipe quantizes."""
    constants = {each.name: each for each in model.graph.initializer}
    uses = Counter(name for node in model.graph.node for name in node.input)
    chosen = []
    for node in model.graph.node:
        weight = constants.get(node.input[1]) if node.op_type in ("MatMul", "Gemm", "LSTM") else None
        if weight is not None and uses[weight.name] == 1 and int(np.prod(weight.dims)) >= _WORTHWHILE_WEIGHTS:
            chosen.append(node)
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
