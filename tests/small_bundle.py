"""A bundle made by hand around a linear model: what the bundle's readers are tested on, without training or export."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgelnn.bundle import Bundle, Golden, Manifest, ModelFacts, Tensor, Variant
from edgelnn.preprocessing import Preprocessing
from edgelnn_export.golden import npz_bytes


def linear_weights(image_shape: tuple[int, ...], classes: int, seed: int = 0) -> NDArray[np.float32]:
    """(classes, h·w·c) float32, for pixels in channels_last order."""
    size = int(np.prod(image_shape))
    return (np.random.default_rng(seed).normal(size=(classes, size)) / np.sqrt(size)).astype(np.float32)


def linear_onnx(image_shape: tuple[int, ...], classes: int, seed: int = 0, batch: int | str = "batch") -> bytes:
    """softmax(W x), input `image` (batch, c, h, w) float32, output `probabilities`."""
    from onnx import TensorProto, helper, numpy_helper

    *space, channels = image_shape
    weights = linear_weights(image_shape, classes, seed).reshape(classes, *image_shape)
    flat = np.ascontiguousarray(np.moveaxis(weights, -1, 1)).reshape(classes, -1).T
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "w"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
        ],
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, channels, *space])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(np.ascontiguousarray(flat), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def linear_tflite(image_shape: tuple[int, ...], classes: int, seed: int = 0) -> bytes:
    """The same for input (1, h, w, c), as RESHAPE, FULLY_CONNECTED and SOFTMAX."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    weights = linear_weights(image_shape, classes, seed)
    size = weights.shape[1]
    model = schema.ModelT()
    model.version = 3
    model.description = ""
    buffers = [b"", weights.tobytes(), np.array([1, size], np.int32).tobytes()]
    model.buffers = [schema.BufferT() for _ in buffers]
    for buffer, data in zip(model.buffers, buffers, strict=True):
        buffer.data = np.frombuffer(data, np.uint8) if data else None

    def tensor(name: str, shape: tuple[int, ...], buffer: int = 0, kind: int = schema.TensorType.FLOAT32):
        made = schema.TensorT()
        made.name, made.shape, made.buffer, made.type = name, list(shape), buffer, kind
        return made

    def operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: object):
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("image", (1, *image_shape)),
        tensor("shape", (2,), 2, schema.TensorType.INT32),
        tensor("flat", (1, size)),
        tensor("w", (classes, size), 1),
        tensor("scores", (1, classes)),
        tensor("probabilities", (1, classes)),
    ]
    graph.inputs, graph.outputs = [0], [5]
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    options = schema.BuiltinOptions
    graph.operators = [
        operator(0, [0, 1], [2], options.ReshapeOptions, schema.ReshapeOptionsT()),
        operator(1, [2, 3, -1], [4], options.FullyConnectedOptions, schema.FullyConnectedOptionsT()),
        operator(2, [4], [5], options.SoftmaxOptions, softmax),
    ]
    model.operatorCodes = []
    for builtin in (
        schema.BuiltinOperator.RESHAPE,
        schema.BuiltinOperator.FULLY_CONNECTED,
        schema.BuiltinOperator.SOFTMAX,
    ):
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        model.operatorCodes.append(code)
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def linear_answers(images: NDArray[np.uint8], preprocessing: Preprocessing, classes: int, seed: int = 0):
    """What the model answers, from numpy: (n, classes) float32."""
    flat = preprocessing(images, "channels_last").reshape(len(images), -1).astype(np.float64)
    scores = flat @ linear_weights(preprocessing.image_shape, classes, seed).T.astype(np.float64)
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)


def make_bundle(
    folder: Path,
    *,
    image_shape: tuple[int, ...] = (8, 8, 1),
    formats: tuple[str, ...] = ("onnx", "tflite"),
    class_names: tuple[str, ...] = ("malignant", "benign"),
    golden_images: int = 4,
) -> Bundle:
    """Write a bundle with one float32 file per format (`onnx-float32`, `tflite-float32`) and load it."""
    folder.mkdir(parents=True)
    classes = len(class_names)
    preprocessing = Preprocessing(image_shape)
    images = np.random.default_rng(1).integers(0, 256, (golden_images, *image_shape), dtype=np.uint8)
    answers = linear_answers(images, preprocessing, classes)
    golden = npz_bytes({"images": images, "probabilities": answers})
    (folder / "golden.npz").write_bytes(golden)
    variants = []
    for model_format in formats:
        onnx = model_format == "onnx"
        data = linear_onnx(image_shape, classes) if onnx else linear_tflite(image_shape, classes)
        file = f"model-float32.{model_format}"
        (folder / file).write_bytes(data)
        layout = "channels_first" if onnx else "channels_last"
        batch = -1 if onnx else 1
        variants.append(
            Variant(
                name=f"{model_format}-float32",
                format=model_format,
                recipe="float32",
                file=file,
                size_bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                layout=layout,
                input=Tensor("image", (batch, *preprocessing.input_shape(layout)), "float32"),
                output=Tensor("probabilities", (batch, classes), "float32"),
                parity_max_error=1e-7,
                tolerance=1e-4,
                validation={"auc": 0.75, "accuracy": 0.7, "agreement": 1.0},
                test={"auc": 0.74, "accuracy": 0.69, "agreement": 1.0},
            )
        )
    weights = classes * int(np.prod(image_shape))
    manifest = Manifest(
        recommended=variants[0].name,
        task="binary-class" if classes == 2 else "multi-class",
        class_names=class_names,
        positive_class=0 if classes == 2 else None,
        output_kind="softmax",
        threshold=0.5,
        preprocessing=preprocessing,
        statistics={"mean_mean": 127.5, "mean_std": 9.0, "std_mean": 73.0, "std_std": 5.0},
        dataset={"name": "noise", "licence": "CC0", "source": "made by hand", "digest": "0" * 64},
        synthetic=True,
        model=ModelFacts(
            name="small",
            architecture="identity → flatten → dense",
            parameters={"trainable": weights, "stored": weights, "active": weights},
            macs=weights,
            validation={"auc": 0.75, "accuracy": 0.7},
            test={"auc": 0.74, "accuracy": 0.69},
        ),
        golden=Golden("golden.npz", len(golden), hashlib.sha256(golden).hexdigest(), golden_images),
        variants=tuple(variants),
        rejected=(),
        versions={"edgelnn": "0.1.0"},
    )
    (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
    return Bundle.load(folder)
