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
from edgelnn_export.quantization.ranges import Activations, Calibration
from edgelnn_export.quantization.recipe import Recipe
from edgelnn_export.quantization.scope import REST, Operator, Place, Plan, Scheme, before_recurrence, integer_operators
from edgelnn_export.quantization.tflite_bodies import body_operators, holds_loops, without_loops

__all__ = ["plan_tflite", "quantize_tflite"]

# Where the weights of a product stand among its inputs.
_PRODUCTS: Final = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "BATCH_MATMUL": 1}
_RECURRENT: Final = ("WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN")
_IMAGES_AT_ONCE: Final = 16
_WORTHWHILE_WEIGHTS: Final = 256  # an operator and its tensors cost some 200 bytes
_FOLLOWERS: Final = ("RELU", "RELU6", "MAX_POOL_2D", "AVERAGE_POOL_2D")


def plan_tflite(data: bytes, recipe: Recipe) -> Plan:
    """Return how a recipe quantizes each layer of a file.

    A product whose result leaves the integers is made dynamic by a static recipe, so that its result is float32 and not
    8 bits for a whole tensor: behind it stand the gates of a recurrence, or the scores. Where there are only such
    products, they are made static.

    Args:
        data: A float32 TFLite file as `write_tflite` makes it.
        recipe: Any but float32; for a mixed one, what it is where every layer bears it.

    Raises:
        ExportError: It finds nothing in the file to quantize.
    """
    model = _read_model(data)
    operators, places = _placed(model)
    products = {each.outputs[0]: place for each, place in zip(operators, places, strict=True) if each.kind == "product"}
    static: Scheme = "static16" if recipe.activations == "i16" else "static"
    inside = "inside" in products.values()
    before: dict[str, Scheme] = {
        name: static if place == "inside" or not inside else "dynamic"
        for name, place in products.items()
        if place != "outside"
    }
    if recipe.range == "static":
        if not before:
            raise ExportError(f"{recipe.name} finds nothing to quantize: no product outside the recurrence.")
        return before
    if recipe.range == "mixed":
        return {**before, REST: "weight_only"}
    scheme: Scheme = (
        "dynamic" if recipe.range == "dynamic" else "float16" if recipe.weights == "fp16" else "weight_only"
    )
    return {**dict.fromkeys(before, scheme), REST: scheme}


def quantize_tflite(
    data: bytes,
    recipe: Recipe,
    images: NDArray[np.float32] | None = None,
    *,
    calibration: Calibration = "min_max",
    plan: Plan | None = None,
) -> bytes:
    """Return a TFLite file by a recipe; its input and output stay float32.

    Args:
        data: A float32 TFLite file as `write_tflite` makes it.
        recipe: Any but float32.
        images: Model inputs to calibrate a static recipe on: (n, [d,] h, w, c) float32.
        calibration: How ranges are found.
        plan: For each layer; what `plan_tflite` says where None.

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
    plan = plan_tflite(data, recipe) if plan is None else plan
    for scheme, names in _by_scheme(model, plan).items():
        _add_rules(rules, qtyping, scheme, _pattern(names))
    for side in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        rules.add_quantization_config(".*", side, algorithm_key="no_quantize")
    try:
        with logged_chatter("ai-edge-quantizer"):
            calibrated = any(scheme.startswith("static") for scheme in plan.values())
            ranges = _find_ranges(data, model, rules, images, calibration) if calibrated else None
            worker = quantizer.Quantizer(bytearray(data), rules.get_quantization_recipe())
            result = worker.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
            quantized = _read_model(bytes(result.quantized_model))
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"ai-edge-quantizer fails on {recipe.name}: {_one_line(error)}") from error
    return _cleaned(quantized)


def _by_scheme(model: Any, plan: Plan) -> dict[Scheme, list[str]]:
    """Return the names of the first outputs of the operators that are quantized by each scheme."""
    operators, places = _placed(model)
    found: dict[Scheme, list[str]] = {}
    for scheme in sorted({scheme for scheme in plan.values() if scheme.startswith("static")}):
        static = {name for name, each in plan.items() if each == scheme}
        integers = integer_operators(operators, ["outside" if p == "behind" else p for p in places], static)
        found[scheme] = [operators[index].outputs[0] for index in integers]
    whole = {name for name, scheme in plan.items() if scheme.startswith("static")}
    if found and {each.outputs[0] for each, p in zip(operators, places, strict=True) if p == "behind"}:
        if whole >= {
            o.outputs[0] for o, p in zip(operators, places, strict=True) if o.kind == "product" and p == "edge"
        }:
            scheme = next(iter(found))
            found[scheme] += [o.outputs[0] for o, p in zip(operators, places, strict=True) if p == "behind"]
    for operator, place in zip(operators, places, strict=True):
        name = operator.outputs[0]
        layer = name if place != "outside" else REST
        other = plan.get(layer)
        if other is None or other.startswith("static") or (operator.kind != "product" and other != "dynamic"):
            continue
        if other in ("weight_only", "float16") and operator.size < _WORTHWHILE_WEIGHTS:
            continue
        found.setdefault(other, []).append(name)
    _add_bodies(model, plan.get(REST), found)
    return found


def _add_bodies(model: Any, scheme: Scheme | None, found: dict[Scheme, list[str]]) -> None:
    """Add the products in the bodies of loops, where the recurrence is quantized."""
    if scheme is None:
        return
    for graph, each in body_operators(model):
        operator = _operator(model, graph, each)
        if operator.kind == "product" and operator.size >= _WORTHWHILE_WEIGHTS:
            found.setdefault(scheme, []).append(operator.outputs[0])


def _add_rules(rules: Any, qtyping: Any, scheme: Scheme, pattern: str) -> None:
    """Tell the quantizer to quantize the operators whose outputs have these names."""
    operations = qtyping.TFLOperationName
    everything, dense = operations.ALL_SUPPORTED, operations.FULLY_CONNECTED
    if scheme == "dynamic":
        rules.add_dynamic_config(pattern, everything, num_bits=8)
        rules.add_dynamic_config(pattern, dense, num_bits=8, granularity=qtyping.QuantGranularity.TENSORWISE)
    elif scheme == "weight_only":
        rules.add_weight_only_config(pattern, everything, num_bits=8)
    elif scheme == "float16":
        for operation in (dense, operations.CONV_2D, operations.DEPTHWISE_CONV_2D):
            rules.add_weight_only_config(pattern, operation, num_bits=16, algorithm_key="float_casting")
    else:
        bits = 16 if scheme == "static16" else 8
        rules.add_static_config(pattern, everything, activation_num_bits=bits, weight_num_bits=8)


def _find_ranges(
    data: bytes, model: Any, rules: Any, images: NDArray[np.float32] | None, calibration: Calibration
) -> Any:
    """Return the smallest and largest value over the images of every tensor that the rules ask about.

    The quantizer left to itself takes a moving average over images, which depends on their order.
    """
    from ai_edge_quantizer import calibrator
    from ai_edge_quantizer.utils import qsv_utils  # type: ignore[import-untyped]

    if images is None:
        raise ExportError("a static recipe needs images to calibrate on.")
    if holds_loops(model):
        data = without_loops(model, lambda each: _operator(model, model.subgraphs[0], each).kind == "recurrent")
        model = _read_model(data)
    signature = model.signatureDefs[0]
    free = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]].shapeSignature
    step = _IMAGES_AT_ONCE if free is not None and free[0] == -1 else 1
    name = _text(signature.inputs[0].name)
    feeds = [{name: images[start : start + step]} for start in range(0, len(images), step)]
    mode = calibrator.CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS
    worker = calibrator.Calibrator(data, num_threads=1, mode=mode, qsv_update_func=qsv_utils.min_max_update)
    worker.calibrate({_text(signature.signatureKey): feeds}, rules)
    ranges = worker.get_model_qsvs()
    return ranges if calibration == "min_max" else _narrowed(data, model, ranges, feeds, calibration)


def _narrowed(data: bytes, model: Any, ranges: Any, feeds: list[Any], calibration: Calibration) -> Any:
    """Return ranges of activations by another rule than min-max; those of constants stay as they are."""
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-untyped]

    graph = model.subgraphs[0]
    wanted = {
        index: _text(tensor.name)
        for index, tensor in enumerate(graph.tensors)
        if _text(tensor.name) in ranges and model.buffers[tensor.buffer].data is None
    }
    interpreter = Interpreter(model_content=data, num_threads=1, experimental_preserve_all_tensors=True)
    place = interpreter.get_input_details()[0]["index"]
    seen = Activations(len(feeds))
    for feed in feeds:
        (batch,) = feed.values()
        interpreter.resize_tensor_input(place, batch.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(place, batch)
        interpreter.invoke()
        for index, name in wanted.items():
            seen.add(name, interpreter.get_tensor(index))
    narrowed = dict(ranges)
    for name, (smallest, largest) in seen.ranges(calibration).items():
        shape = np.shape(ranges[name]["min"])
        narrowed[name] = {
            **ranges[name],
            "min": np.full(shape, smallest, np.float32),
            "max": np.full(shape, largest, np.float32),
        }
    return narrowed


def _placed(model: Any) -> tuple[list[Operator], tuple[Place, ...]]:
    """Return the operators of a model, and where they stand to its recurrence."""
    graph = model.subgraphs[0]
    operators = [_operator(model, graph, each) for each in graph.operators]
    return operators, before_recurrence(operators)


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
    size = 0
    if op_type in _PRODUCTS and is_constant(weight := int(operator.inputs[_PRODUCTS[op_type]])):
        # By buffer, since two tensors may share one.
        weights, kind = (str(graph.tensors[weight].buffer),), "product"
        size = int(np.prod(graph.tensors[weight].shape))
    elif op_type in _RECURRENT:
        kind = "recurrent"
    elif op_type in _FOLLOWERS:
        kind = "follower"
    values = tuple(_text(graph.tensors[i].name) for i in operator.inputs if i >= 0 and not is_constant(i))
    return Operator(values, tuple(_text(graph.tensors[i].name) for i in operator.outputs), weights, kind, size)


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
