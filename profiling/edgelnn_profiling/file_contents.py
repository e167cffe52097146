"""What a model file says of its operators and constants, read from its bytes without onnx and without FlatBuffers.

For files that were found fit to be opened (see `model_files.check_model`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from edgelnn.errors import ModelFileError
from edgelnn_profiling.allowed_operators import TFLITE_NAMES
from edgelnn_profiling.flatbuffer import Table
from edgelnn_profiling.model_files import ModelFormat
from edgelnn_profiling.operator_times import PARTS
from edgelnn_profiling.protobuf import Buffer, Malformed, read_fields

__all__ = ["FileContents", "FileOperator", "read_contents"]

# Operators that multiply by weights, and which of their inputs that is; 1 for those of which nothing is said.
_WEIGHED = frozenset(
    "Conv ConvInteger ConvTranspose DynamicQuantizeLSTM GRU Gemm LSTM MatMul MatMulInteger QLinearConv QLinearMatMul "
    "RNN BATCH_MATMUL CONV_2D CONV_3D DEPTHWISE_CONV_2D FULLY_CONNECTED TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM "
    "UNIDIRECTIONAL_SEQUENCE_RNN".split()
)
_WEIGHT_PLACE = {"QLinearConv": 3, "QLinearMatMul": 3}
_MAX_DEPTH = 32
_MAX_NAME = 10_000  # bytes
_DATA_FIELDS = (4, 5, 6, 7, 9, 10, 11)  # of a TensorProto


@dataclass(frozen=True)
class FileOperator:
    """One operator of a file's main graph.

    Attributes:
        name: Its own in ONNX, that of its first output in TFLite; "" where it has none.
        type: ``Conv``, ``CONV_2D``, …
        inputs: Names of the tensors it takes; "" for one left out.
        outputs: Names of the tensors it computes.
        weight: Name of the tensor that it multiplies by as weights; None where it has none.
        part: Of the classifier: ``stem``, ``scan``, ``head`` or ``output``; None where its name does not say.
    """

    name: str
    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight: str | None
    part: str | None

    @property
    def layer(self) -> str:
        """What it is called together with others of its kind: its name without the number at the end.

        >>> FileOperator("head/add12", "Add", (), ("ab",), None, "head").layer
        'head/add'
        """
        return self.name.rstrip("0123456789") or self.name


@dataclass(frozen=True)
class FileContents:
    """What a file holds.

    Attributes:
        operators: Of the main graph, in its order.
        constant_bytes: Of all constants that are stored in it.
    """

    operators: tuple[FileOperator, ...]
    constant_bytes: int

    def layer_names(self) -> dict[str, str]:
        """Return the layer of each operator by the operator's name.

        Operators of one type that share weights are one layer, called by the first of them; those without weights are
        taken together by part and kind.
        """
        first: dict[tuple[str, str], str] = {}
        found = {}
        for operator in self.operators:
            if operator.weight is None:
                found[operator.name] = operator.layer
            else:
                found[operator.name] = first.setdefault((operator.type, operator.weight), operator.name)
        return found


def read_contents(data: Buffer, model_format: ModelFormat) -> FileContents:
    """Return what a file holds.

    Raises:
        ModelFileError: It is not of that format, or is cut short.
    """
    try:
        return _read_onnx(data) if model_format == "onnx" else _read_tflite(data)
    except Malformed:
        raise ModelFileError(f"the file is no sound {model_format} model, or is cut short.") from None


def _read_onnx(data: Buffer) -> FileContents:
    graphs = [(first, last) for number, _, first, last in read_fields(data, 0, len(data)) if number == 7 and first >= 0]
    if len(graphs) != 1:
        raise Malformed
    operators = []
    for number, _, first, last in read_fields(data, *graphs[0]):
        if number == 1:
            texts = _onnx_texts(data, first, last)
            name, kind = "".join(texts[3][-1:]), "".join(texts[4][-1:])
            weight, part = _weight_of(kind, texts[1]), _part_of(name, is_last=False)
            operators.append(FileOperator(name, kind, texts[1], texts[2], weight, part))
    return FileContents(tuple(operators), sum(_onnx_constants(data, *graphs[0], depth=0)))


def _onnx_texts(data: Buffer, start: int, end: int) -> dict[int, tuple[str, ...]]:
    """Return what the fields 1 to 4 of an operator hold, as texts."""
    texts: dict[int, tuple[str, ...]] = {1: (), 2: (), 3: (), 4: ()}
    for number, _, first, last in read_fields(data, start, end):
        if number in texts and first >= 0 and last - first <= _MAX_NAME:
            texts[number] += (bytes(data[first:last]).decode("utf-8", "replace"),)
    return texts


def _weight_of(kind: str, inputs: tuple[str, ...]) -> str | None:
    place = _WEIGHT_PLACE.get(kind, 1)
    return inputs[place] if kind in _WEIGHED and len(inputs) > place else None


def _part_of(name: str, *, is_last: bool) -> str | None:
    """Return the part that stands before the first slash of a name; what computes the file's output names that."""
    before, slash, _ = name.partition("/")
    if slash and before in PARTS:
        return before
    return "output" if is_last else None


def _onnx_constants(data: Buffer, start: int, end: int, *, depth: int) -> Iterator[int]:
    """Yield the bytes of each constant of a graph, those in its operators' attributes and bodies among them."""
    if depth > _MAX_DEPTH:
        raise Malformed
    for number, _, first, last in read_fields(data, start, end):
        if number == 5:
            yield _onnx_tensor_bytes(data, first, last)
        elif number == 1:
            for inner, _, begin, stop in read_fields(data, first, last):
                if inner == 5:
                    yield from _onnx_attribute(data, begin, stop, depth=depth)


def _onnx_attribute(data: Buffer, start: int, end: int, *, depth: int) -> Iterator[int]:
    for number, _, first, last in read_fields(data, start, end):
        if number == 5:
            yield _onnx_tensor_bytes(data, first, last)
        elif number == 6:
            yield from _onnx_constants(data, first, last, depth=depth + 1)


def _onnx_tensor_bytes(data: Buffer, start: int, end: int) -> int:
    return sum(last - first for n, _, first, last in read_fields(data, start, end) if n in _DATA_FIELDS and first >= 0)


def _read_tflite(data: Buffer) -> FileContents:
    model = Table.root(data)
    subgraphs = list(model.tables(8))
    if not subgraphs:
        raise Malformed
    types = [max(code.number(10, "i"), code.number(4, "b")) for code in model.tables(6)]
    names = [tensor.text(10) for tensor in subgraphs[0].tables(4)]
    ends = subgraphs[0].numbers(8)
    operators = []
    for table in subgraphs[0].tables(10):
        code, takes, makes = table.number(4, "I"), table.numbers(6), table.numbers(8)
        if code >= len(types) or any(not -1 <= number < len(names) for number in (*takes, *makes)):
            raise Malformed
        known = TFLITE_NAMES[types[code]] if 0 <= types[code] < len(TFLITE_NAMES) else f"number {types[code]}"
        inputs, outputs = (tuple(names[n] if n >= 0 else "" for n in numbers) for numbers in (takes, makes))
        name = "".join(outputs[:1])
        part = _part_of(name, is_last=makes[:1] == ends)
        operators.append(FileOperator(name, known, inputs, outputs, _weight_of(known, inputs), part))
    if all(operator.part in (None, "output") for operator in operators):
        operators = [replace(operator, part=None) for operator in operators]
    return FileContents(tuple(operators), sum(buffer.vector(4, 1)[1] for buffer in model.tables(12)))
