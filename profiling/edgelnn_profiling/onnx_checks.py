"""Is an ONNX file fit to be opened? Read from its bytes, without the `onnx` package and without recursion.

Always: it is what it says, nests no deeper than any sensible file, and keeps its weights inside. With `strict` also:
its operators are allowed, tensors hold what they declare, and no shape that it states is beyond all measure.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from edgelnn.errors import ModelFileError
from edgelnn_profiling.allowed_operators import ONNX_OPERATORS
from edgelnn_profiling.protobuf import Buffer, Malformed, read_fields, read_numbers

__all__ = ["check_onnx"]

MAX_DEPTH: Final = 32
MAX_FIELDS: Final = 5_000_000  # More than any model of bearable size has; a few seconds of reading.
MAX_TENSOR_BYTES: Final = 2**30

# Message type -> field number -> type of the messages held there. Everything else is skipped unread.
_MESSAGES: Final[Mapping[str, Mapping[int, str]]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {
        1: "NodeProto",
        5: "TensorProto",
        11: "ValueInfoProto",
        12: "ValueInfoProto",
        13: "ValueInfoProto",
        15: "SparseTensorProto",
    },
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
    "ValueInfoProto": {2: "TypeProto"},
    "TypeProto": {1: "TypeProto.Tensor"},
    "TypeProto.Tensor": {2: "TensorShapeProto"},
    "TensorShapeProto": {},
}
# Fields that are there once: of bytes given twice readers take the last, and messages given twice they join to one, so
# that what is judged piece by piece here would not be what they see.
_SINGLE: Final[Mapping[str, Mapping[int, str]]] = {
    "ModelProto": {7: "graph"},
    "TrainingInfoProto": {1: "initialization", 2: "algorithm"},
    "AttributeProto": {5: "t", 6: "g", 22: "sparse_tensor"},
    "SparseTensorProto": {1: "values", 2: "indices"},
    "TensorProto": {9: "raw_data"},
    "ValueInfoProto": {2: "type"},
    "TypeProto": {1: "tensor_type"},
    "TypeProto.Tensor": {2: "shape"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # Fields of TensorProto; a location other than 0 is outside the file.
_RAW_DATA = 9
_TYPED_DATA = (4, 5, 7, 10, 11)
# Bits of an element, by number of its type; strings and complex numbers have no place in a classifier.
_BITS: Final[Mapping[int, int]] = {
    **{1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16},
    **{17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2},
}
_INT64 = 7
_FEW = 16  # Elements of a constant that can be a shape.
# Operators whose result is as large as an input says, and which input that is.
_MAKE_SHAPES: Final[Mapping[str, int]] = {"ConstantOfShape": 0, "Expand": 1, "Range": 1, "Resize": 3, "Tile": 1}


Fields = Sequence[tuple[int, int, int, int]]  # as `read_fields` gives them


def check_onnx(data: Buffer, name: str, *, strict: bool) -> None:
    """Refuse what is not an ONNX model, keeps weights outside its own file or, if `strict`, is not fit to be run.

    Args:
        data: The file.
        name: What to call it.
        strict: Hold operators and sizes to their bounds too.

    Raises:
        ModelFileError: It is refused; the message says why.
    """
    try:
        _Walk(data, name, strict).over_all()
    except Malformed:
        raise ModelFileError(
            f"{name} is neither an ONNX nor a TFLite model, or is cut short; copy or export it again."
        ) from None


class _Walk:
    """One walk over a file.

    Attributes:
        data: The file.
        name: What to call it.
        strict: Hold operators and sizes to their bounds too.
    """

    def __init__(self, data: Buffer, name: str, strict: bool) -> None:
        self.data = data
        self.name = name
        self.strict = strict
        self._small: dict[bytes, int] = {}  # how many elements a constant asks for if it is taken as a shape
        self._functions = False
        self._makers: list[tuple[str, bytes]] = []  # operators that take one as a shape, and which

    def over_all(self) -> None:
        """Go through every message of the file; a stack, so that nesting costs no recursion."""
        count = 0
        # message type, start, end, depth, and the name by which a tensor in it is known
        pending: list[tuple[str, int, int, int, bytes]] = [("ModelProto", 0, len(self.data), 0, b"")]
        while pending:
            message, start, end, depth, known_as = pending.pop()
            if depth > MAX_DEPTH:
                self._refuse(f"nests more than {MAX_DEPTH} levels deep; no sensible ONNX model does")
            fields = []
            for each in read_fields(self.data, start, end):
                count += 1
                if count > MAX_FIELDS:
                    self._refuse(f"has more than {MAX_FIELDS} protobuf fields; it is not opened")
                fields.append(each)
            known_as = self._check(message, fields, known_as)
            for number, _, first, last in fields:
                child = _MESSAGES[message].get(number)
                if child is not None:
                    if first < 0:
                        raise Malformed
                    pending.append((child, first, last, depth + 1, known_as))
        if self.strict and self._functions:
            self._refuse("defines functions of its own, which is refused; save the model with its functions inlined")
        for operator, constant in self._makers:
            if self._small.get(constant, 0) > MAX_TENSOR_BYTES:
                self._refuse(f"makes a tensor of {self._small[constant]} elements ({operator}), which is refused")

    def _check(self, message: str, fields: Fields, known_as: bytes) -> bytes:
        """Hold one message to the rules; return the name by which a tensor inside is known."""
        for number, name in _SINGLE.get(message, {}).items():
            if sum(field[0] == number for field in fields) > 1:
                self._refuse(
                    f"gives {name} of one {message} several times, which readers take in other ways; export it again"
                )
        if message == "ModelProto":
            self._check_model(fields)
        elif message == "TensorProto":
            self._check_tensor(fields, known_as)
        elif message == "NodeProto":
            return self._check_node(fields) if self.strict else b""
        elif message == "TypeProto.Tensor":
            return str(_value(fields, 1)).encode()  # its type, for the shape inside
        elif message == "TensorShapeProto" and self.strict:
            self._check_shape(fields, int(known_as))
        return known_as

    def _check_model(self, fields: Fields) -> None:
        numbers = {number for number, *_ in fields}
        if not {1, 7} <= numbers:  # ir_version and graph, which every model has
            self._refuse("is neither an ONNX nor a TFLite model; expected an .onnx or .tflite file")
        self._functions = 25 in numbers

    def _check_node(self, fields: Fields) -> bytes:
        operator, domain = self._text(fields, 4), self._text(fields, 7)
        allowed = ONNX_OPERATORS.get("" if domain == "ai.onnx" else domain, frozenset())
        if operator not in allowed:
            self._refuse(f"holds the operator {_named(operator, domain)}, which is not among those that are opened")
        inputs = [bytes(self.data[first:last]) for number, _, first, last in fields if number == 1]
        place = _MAKE_SHAPES.get(operator)
        if place is not None and place < len(inputs):
            self._makers.append((operator, inputs[place]))
        outputs = [bytes(self.data[first:last]) for number, _, first, last in fields if number == 2]
        return outputs[0] if operator == "Constant" and outputs else b""

    def _check_tensor(self, fields: Fields, known_as: bytes) -> None:
        for number, value, *_ in fields:
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
                self._refuse(
                    "keeps weights outside its own file (ONNX external data), which is refused because such a "
                    "reference can name any file; save the model with its weights inside"
                )
        if not self.strict:
            return
        title = self._text(fields, 8) or known_as.decode("utf-8", "replace")
        dtype, count = _value(fields, 2), math.prod(self._dims(fields))
        if dtype not in _BITS:
            self._refuse(f"holds the tensor {title!r} of the ONNX type {dtype}; expected numbers")
        raw = [(first, last) for number, _, first, last in fields if number == _RAW_DATA]
        typed = sum(last - first if first >= 0 else 1 for n, _, first, last in fields if n in _TYPED_DATA)
        stored = sum(last - first for first, last in raw)
        needed = -(-count * _BITS[dtype] // 8)
        # Numbers that are not raw take one byte each at least; those of four bits may share one.
        if stored != needed if raw else typed < (needed if _BITS[dtype] < 8 else count):
            self._refuse(f"holds the tensor {title!r} of {count} elements, and other than the bytes for them")
        if dtype == _INT64 and count <= _FEW:
            self._small[known_as or title.encode()] = self._product_of(fields, raw)

    def _product_of(self, fields: Fields, raw: Sequence[tuple[int, int]]) -> int:
        if raw:
            values = struct.unpack(f"<{(raw[0][1] - raw[0][0]) // 8}q", self.data[raw[0][0] : raw[0][1]])
        else:
            values = tuple(self._numbers(fields, 7))
        return math.prod(value for value in values if value > 0)

    def _check_shape(self, fields: Fields, dtype: int) -> None:
        known = 1
        for number, _, first, last in fields:
            if number == 1 and first >= 0:
                known *= max(_value(tuple(read_fields(self.data, first, last)), 1), 1)
        if known * _BITS.get(dtype, 8) // 8 > MAX_TENSOR_BYTES:
            self._refuse(f"states a tensor of {known} elements; more than {MAX_TENSOR_BYTES} bytes at once are refused")

    def _dims(self, fields: Fields) -> list[int]:
        dims = list(self._numbers(fields, 1))
        if any(not 0 <= length < 2**40 for length in dims) or len(dims) > _FEW:
            self._refuse("holds a tensor of impossible shape")
        return dims

    def _numbers(self, fields: Fields, wanted: int) -> list[int]:
        """Return the numbers of a repeated field, packed or not."""
        found: list[int] = []
        for number, value, first, last in fields:
            if number == wanted:
                packed = first >= 0
                found += read_numbers(self.data, first, last) if packed else [value - 2**64 * (value >> 63)]
        return found

    def _text(self, fields: Fields, wanted: int) -> str:
        texts = [self.data[first:last] for number, _, first, last in fields if number == wanted and first >= 0]
        return bytes(texts[-1]).decode("utf-8", "replace") if texts else ""

    def _refuse(self, why: str) -> NoReturn:
        raise ModelFileError(f"{self.name} {why}.")


def _value(fields: Fields, wanted: int) -> int:
    """Return the last plain number of a field, 0 where there is none; negative ones as int64 writes them."""
    values = [value for number, value, first, _ in fields if number == wanted and first < 0]
    return values[-1] - 2**64 * (values[-1] >> 63) if values else 0


def _named(operator: str, domain: str) -> str:
    full = f"{domain}.{operator}" if domain not in ("", "ai.onnx") else operator
    return repr(full if len(full) <= 80 else full[:79] + "…")
