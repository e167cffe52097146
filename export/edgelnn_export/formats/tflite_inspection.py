"""Reads a TFLite file into an `Inspection`.

Offsets in a file from elsewhere may lead anywhere, to the same place many times over or past the end: what is read is
counted, and whatever Python's readers trip over is one error.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]

from edgelnn.errors import ModelFileError
from edgelnn_export.formats.tflite_macs import count_work
from edgelnn_export.inspection import CAUSES, Inspection, OperatorRecord, Role, Scheme, TensorRecord

__all__ = ["inspect_tflite"]

_OPERATORS: Final[Mapping[int, str]] = {n: name for name, n in vars(schema.BuiltinOperator).items() if name.isupper()}
_DTYPES: Final[Mapping[int, str]] = {n: name.lower() for name, n in vars(schema.TensorType).items() if name.isupper()}
_MOST_RECORDS: Final = 500_000
_MOST_AXES: Final = 16
_WITHOUT_WEIGHTS: Final = {"CALL", "DEQUANTIZE", "IF", "QUANTIZE", "WHILE"}
_WHOLE_NUMBERS: Final = {"int32", "int64", "bool", "uint8", "uint32", "uint64"}  # without a scale


def inspect_tflite(content: bytes) -> Inspection:
    """Return what a TFLite file holds.

    Raises:
        ModelFileError: It cannot be read; the message goes on from the file's name.
    """
    try:
        return _Reader(content).inspection()
    except (struct.error, IndexError, KeyError, ValueError, TypeError, UnicodeDecodeError, OverflowError) as error:
        raise ModelFileError("is not a sound TFLite model; it contradicts itself or is cut short.") from error


class _Reader:
    """Reads one file, and weighs each table, vector and string of it once, however often it is used."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.model = schema.Model.GetRootAsModel(content, 0)
        self.sizes = dict.fromkeys(CAUSES, 0)
        self.records = 0
        self._seen: set[int] = set()

    def inspection(self) -> Inspection:
        model = self.model
        self._table(model._tab, "structure")
        types, versions = [], {"schema": model.Version()}
        for index in range(self._bounded(model.OperatorCodesLength())):
            code = model.OperatorCodes(index)
            self._table(code._tab, "operators")
            number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
            custom = self._text(code.CustomCode(), code._tab, 6, "operators")
            types.append(custom if _OPERATORS[number] == "CUSTOM" else _OPERATORS[number])
            versions[types[-1]] = max(code.Version(), versions.get(types[-1], 0))
        operators: list[OperatorRecord] = []
        tensors: list[TensorRecord] = []
        causes: dict[int, str] = {}
        if not model.SubgraphsLength():
            raise ValueError
        for index in range(self._bounded(model.SubgraphsLength())):
            graph = model.Subgraphs(index)
            records = self._tensors(graph, index, causes)
            tensors += records
            operators += self._operators(graph, records, types)
        self._weigh_rest(causes)
        return Inspection(
            format="tflite",
            size_bytes=len(self.content),
            versions=versions,
            producer=(model.Description() or b"").decode(),
            operators=tuple(replace(o, **asdict(w)) for o, w in zip(operators, count_work(model, types), strict=True)),
            tensors=tuple(tensors),
            bytes_by_cause=self.sizes,
        )

    def _tensors(self, graph: Any, index: int, causes: dict[int, str]) -> list[TensorRecord]:
        name = self._text(graph.Name(), graph._tab, 12, "names")
        title = "" if index == 0 else name or f"subgraph{index}"
        self._table(graph._tab, "structure")
        for slot, size in ((4, 4), (6, 4), (8, 4), (10, 4)):
            self._vector(graph._tab, slot, size, "structure")
        inputs, outputs = (set(self._numbers(graph, kind)) for kind in ("Inputs", "Outputs"))
        records = []
        for place in range(self._bounded(graph.TensorsLength())):
            tensor = graph.Tensors(place)
            if tensor.ExternalBuffer():
                raise ModelFileError("keeps weights outside its own file; save the model with its weights inside.")
            self._table(tensor._tab, "tensors")
            for slot in (4, 18):
                self._vector(tensor._tab, slot, 4, "tensors")
            scales = self._quantization(tensor.Quantization())
            dtype, stored = _DTYPES[tensor.Type()], self._data(tensor.Buffer())
            role: Role = "value"
            if stored:
                role = "table" if dtype in _WHOLE_NUMBERS and not scales else "weight"
                causes.setdefault(tensor.Buffer(), "tables" if role == "table" else "weights")
            elif not index:
                role = "input" if place in inputs else "output" if place in outputs else "value"
            axes = self._numbers(tensor, "Shape" if tensor.ShapeSignatureIsNone() else "ShapeSignature")
            if len(axes) > _MOST_AXES:
                raise ValueError
            name = self._text(tensor.Name(), tensor._tab, 10, "names")
            records.append(TensorRecord(name, title, tuple(axes), dtype, role, stored, scales))
        return records

    def _operators(self, graph: Any, tensors: list[TensorRecord], types: list[str]) -> list[OperatorRecord]:
        converted: dict[int, TensorRecord] = {}
        records = []
        for place in range(self._bounded(graph.OperatorsLength())):
            operator = graph.Operators(place)
            self._table(operator._tab, "operators")
            for slot, size in ((6, 4), (8, 4), (14, 1), (18, 1), (20, 4)):
                self._vector(operator._tab, slot, size, "operators")
            if operator.BuiltinOptions() is not None:
                self._table(operator.BuiltinOptions(), "operators")
            kind = types[operator.OpcodeIndex()]
            inputs, outputs = self._numbers(operator, "Inputs"), self._numbers(operator, "Outputs")
            if any(not -1 <= number < len(tensors) for number in (*inputs, *outputs)):
                raise ValueError
            if kind == "DEQUANTIZE" and tensors[inputs[0]].size_bytes:
                converted[outputs[0]] = tensors[inputs[0]]
            weights, activations, scheme = _precision(kind, inputs, tensors, converted)
            records.append(
                OperatorRecord(
                    name=tensors[outputs[0]].name if outputs else "",
                    type=kind,
                    graph=tensors[0].graph if tensors else "",
                    inputs=tuple("" if number < 0 else tensors[number].name for number in inputs),
                    outputs=tuple(tensors[number].name for number in outputs),
                    weights=weights,
                    activations=activations or (tensors[outputs[0]].dtype if outputs else ""),
                    scheme=scheme,
                )
            )
        return records

    def _weigh_rest(self, causes: Mapping[int, str]) -> None:
        """Weigh buffers by what uses them, then what belongs to no tensor, and call what is left structure."""
        model, causes = self.model, dict(causes)
        for index in range(self._bounded(model.MetadataLength())):
            entry = model.Metadata(index)
            self._table(entry._tab, "metadata")
            self._text(entry.Name(), entry._tab, 4, "metadata")
            causes.setdefault(entry.Buffer(), "metadata")
        for index in range(self._bounded(model.BuffersLength())):
            buffer = model.Buffers(index)
            self._table(buffer._tab, "structure")
            if buffer.DataLength() and self._new(buffer._tab.Vector(buffer._tab.Offset(4))):  # equal ones are one
                self.sizes["structure"] += 4
                self.sizes[causes.get(index, "structure")] += buffer.DataLength()
        for index in range(self._bounded(model.SignatureDefsLength())):
            signature = model.SignatureDefs(index)
            self._table(signature._tab, "metadata")
            self._text(signature.SignatureKey(), signature._tab, 8, "metadata")
            for kind in ("Inputs", "Outputs"):
                for place in range(self._bounded(getattr(signature, f"{kind}Length")())):
                    entry = getattr(signature, kind)(place)
                    self._table(entry._tab, "metadata")
                    self._text(entry.Name(), entry._tab, 4, "metadata")
        self._text(model.Description(), model._tab, 10, "metadata")
        rest = len(self.content) - sum(self.sizes.values())
        if rest < 0:
            raise ValueError
        self.sizes["structure"] += rest

    def _quantization(self, parameters: Any) -> int:
        """Weigh the quantization of a tensor; return its number of scales."""
        if parameters is None:
            return 0
        self._table(parameters._tab, "quantization")
        for slot, size in ((4, 4), (6, 4), (8, 4), (10, 8)):
            self._vector(parameters._tab, slot, size, "quantization")
        return self._bounded(parameters.ScaleLength())

    def _data(self, index: int) -> int:
        """Return the bytes stored in a buffer; one of the file, and in the file."""
        if not 0 <= index < self.model.BuffersLength():
            raise ValueError
        buffer = self.model.Buffers(index)
        if buffer.DataLength() > len(self.content):
            raise ValueError
        if buffer.Offset() > 1:
            raise ModelFileError("keeps weights behind its model, as files beyond 2 GB do; that is not read.")
        return int(buffer.DataLength())

    def _numbers(self, owner: Any, field: str) -> list[int]:
        if not self._bounded(getattr(owner, f"{field}Length")()):
            return []
        return [int(number) for number in np.asarray(getattr(owner, f"{field}AsNumpy")())]

    def _bounded(self, length: int) -> int:
        self.records += length
        if self.records > _MOST_RECORDS:
            raise ModelFileError(f"holds more than {_MOST_RECORDS} operators, tensors and numbers about them.")
        return length

    def _new(self, position: int) -> bool:
        if position in self._seen:
            return False
        self._seen.add(position)
        return True

    def _table(self, table: Any, cause: str) -> None:
        if not self._new(table.Pos):
            return
        layout = table.Pos - struct.unpack_from("<i", self.content, table.Pos)[0]
        of_layout, of_table = struct.unpack_from("<HH", self.content, layout)
        self.sizes[cause] += of_table + (of_layout if self._new(layout) else 0)

    def _vector(self, table: Any, slot: int, size: int, cause: str, end: int = 0) -> None:
        offset = table.Offset(slot)
        if offset and self._new(table.Vector(offset)):
            self.sizes[cause] += 4 + size * table.VectorLen(offset) + end

    def _text(self, text: bytes | None, table: Any, slot: int, cause: str) -> str:
        self._vector(table, slot, 1, cause, end=1)
        return (text or b"").decode()


def _precision(
    kind: str, inputs: list[int], tensors: list[TensorRecord], converted: Mapping[int, TensorRecord]
) -> tuple[str, str, Scheme]:
    """Return the types of weights and activations of an operator, and how it computes."""
    weights, activations = "", ""
    largest, stored, quantized = 1, False, False
    for number in (place for place in inputs if place >= 0):
        tensor = converted.get(number, tensors[number])
        if not tensor.size_bytes:
            if not activations:
                activations, quantized = tensor.dtype, tensor.scales > 0
        elif tensor.role == "weight" and math.prod(tensor.shape or ()) > largest and kind not in _WITHOUT_WEIGHTS:
            largest, weights, stored = math.prod(tensor.shape or ()), tensor.dtype, number in converted
    if kind in _WITHOUT_WEIGHTS:
        return "", activations, "float"
    if stored:
        return weights, activations, "weight_only"
    if quantized:
        return weights, activations, "static_range"
    return weights, activations, "dynamic_range" if weights.startswith(("int", "uint")) else "float"
