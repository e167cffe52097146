"""Recipes applied to TFLite files by ai-edge-quantizer, through its own rules for single operators.

Weights are quantized per channel, save those of a dynamic FULLY_CONNECTED: tflite-runtime 2.14 has no kernel for that
and gives wrong answers without a word.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import ExportError, MissingExtraError
from edgelnn_export.chatter import logged_chatter
from edgelnn_export.quantization.recipe import Recipe
from edgelnn_export.quantization.scope import Operator, Place, before_recurrence

__all__ = ["quantize_tflite"]

# Where the weights of a product stand among its inputs.
_PRODUCTS: Final = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "BATCH_MATMUL": 1}
_RECURRENT: Final = ("WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN")
_IMAGES_AT_ONCE: Final = 16
_FOLLOWERS: Final = ("RELU", "RELU6", "MAX_POOL_2D", "AVERAGE_POOL_2D")


def quantize_tflite(data: bytes, recipe: Recipe, images: NDArray[np.float32] | None = None) -> bytes:
    """Return a TFLite file by a recipe; its input and output stay float32.

    Args:
        data: A float32 TFLite file as `write_tflite` makes it.
        recipe: Dynamic or static.
        images: Model inputs to calibrate a static recipe on: (n, [d,] h, w, c) float32.

    Raises:
        ExportError: The recipe finds nothing in the file to quantize, or the quantizer fails.
        MissingExtraError: ai-edge-quantizer is not installed.
    """
    try:
        with logged_chatter("ai-edge-quantizer"):
            from ai_edge_quantizer import qtyping, quantizer, recipe_manager  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise MissingExtraError("quantizing TFLite files", "ai-edge-quantizer", "export") from error
    model = _read_model(data)
    rules = recipe_manager.RecipeManager()
    everything, dense = qtyping.TFLOperationName.ALL_SUPPORTED, qtyping.TFLOperationName.FULLY_CONNECTED
    per_tensor = qtyping.QuantGranularity.TENSORWISE
    if recipe.range == "static":
        inside, edge = _static_scope(model)
        if not inside:
            raise ExportError(f"{recipe.name} finds nothing to quantize: no product outside the recurrence.")
        rules.add_static_config(_pattern(inside), everything, activation_num_bits=8, weight_num_bits=8)
        if edge:
            rules.add_dynamic_config(_pattern(edge), everything, num_bits=8)
            rules.add_dynamic_config(_pattern(edge), dense, num_bits=8, granularity=per_tensor)
    else:
        rules.add_dynamic_config(".*", everything, num_bits=8)
        rules.add_dynamic_config(".*", dense, num_bits=8, granularity=per_tensor)
    for side in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        rules.add_quantization_config(".*", side, algorithm_key="no_quantize")
    try:
        with logged_chatter("ai-edge-quantizer"):
            ranges = _find_ranges(data, model, rules, images) if recipe.range == "static" else None
            worker = quantizer.Quantizer(bytearray(data), rules.get_quantization_recipe())
            result = worker.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
            quantized = _read_model(bytes(result.quantized_model))
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"ai-edge-quantizer fails on {recipe.name}: {_one_line(error)}") from error
    return _cleaned(quantized)


def _find_ranges(data: bytes, model: Any, rules: Any, images: NDArray[np.float32] | None) -> Any:
    """Return the smallest and largest value over the images of every tensor that the rules ask about.

    The quantizer left to itself takes a moving average over images, which depends on their order.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils  # type: ignore[import-untyped]

    if images is None:
        raise ExportError("a static recipe needs images to calibrate on.")
    signature = model.signatureDefs[0]
    free = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shapeSignature
    step = _IMAGES_AT_ONCE if free is not None and free[0] == -1 else 1
    name = _text(signature.inputs[0].name)
    feeds = [{name: images[start : start + step]} for start in range(0, len(images), step)]
    mode = calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    worker = calibrator.Calibrator(data, num_threads=1, mode=mode, qsv_update_func=qsv_utils.min_max_update)
    worker.calibrate({_text(signature.signatureKey): feeds}, rules)
    return worker.get_model_qsvs()


def _static_scope(model: Any) -> tuple[list[str], list[str]]:
    """Return the names of the first outputs of the operators that a static recipe makes static, and dynamic.

    A product whose result leaves the integers is made dynamic, so that its result is float32 and not 8 bits for a whole
    tensor: behind it stand the gates of a recurrence, or the scores. Where there are only such products, they are made
    static.
    """
    graph = model.subgraphs[0]
    operators = [_operator(model, graph, each) for each in graph.operators]
    found: dict[Place, list[str]] = {"inside": [], "edge": [], "behind": [], "outside": []}
    for operator, place in zip(operators, before_recurrence(operators), strict=True):
        found[place].append(operator.outputs[0])
    products = {each.outputs[0] for each in operators if each.kind == "product"}
    if products.isdisjoint(found["inside"]):
        return [*found["inside"], *found["edge"], *found["behind"]], []
    return found["inside"], found["edge"]


def _pattern(names: list[str]) -> str:
    """Return the expression by which the quantizer finds operators: by the names of their outputs."""
    return "^(" + "|".join(re.escape(name) for name in names) + ");?$"


def _operator(model: Any, graph: Any, operator: Any) -> Operator:
    from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]

    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    op_type = names[model.operatorCodes[operator.opcodeIndex].builtinCode]

    def is_constant(index: int) -> bool:
        return model.buffers[graph.tensors[index].buffer].data is not None

    weights: tuple[str, ...] = ()
    kind: Any = "other"
    if op_type in _PRODUCTS and is_constant(weight := int(operator.inputs[_PRODUCTS[op_type]])):
        # By buffer, since two tensors may share one.
        weights, kind = (str(graph.tensors[weight].buffer),), "product"
    elif op_type in _RECURRENT:
        kind = "recurrent"
    elif op_type in _FOLLOWERS:
        kind = "follower"
    values = tuple(_text(graph.tensors[i].name) for i in operator.inputs if i >= 0 and not is_constant(i))
    return Operator(values, tuple(_text(graph.tensors[i].name) for i in operator.outputs), weights, kind)


def _cleaned(model: Any) -> bytes:
    """Return the bytes of a quantized model without the traces of its making, its output by its own name."""
    from edgelnn_export.formats.tflite_packing import pack_model

    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    for maps, places in ((signature.inputs, graph.inputs), (signature.outputs, graph.outputs)):
        wanted, place = maps[0].name, int(places[0])
        for index, tensor in enumerate(graph.tensors):
            if index != place and tensor.name == wanted:
                tensor.name = wanted + b"_"
        graph.tensors[place].name = wanted
    model.description = None
    model.metadata = None
    return pack_model(model)


def _read_model(data: bytes) -> Any:
    """Return a file as the schema's `ModelT`, contents that stand behind the flatbuffer put in their buffers."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(data[buffer.offset : buffer.offset + buffer.size], np.uint8)
            buffer.offset = buffer.size = 0
    return model


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
