"""Reads an ONNX file into an `Inspection`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Final

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto
from onnx.shape_inference import InferenceError, infer_shapes

from edgelnn.errors import ModelFileError
from edgelnn_export.formats.onnx_macs import count_work
from edgelnn_export.inspection import CAUSES, Inspection, OperatorRecord, Role, Scheme, TensorRecord

__all__ = ["inspect_onnx"]

_DYNAMIC: Final = {
    "ConvInteger",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
}
_WEIGHT_ONLY: Final = {"MatMulNBits"}
_WHOLE_NUMBERS: Final = (TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL)  # counts and places; no weights
_CONVERTS: Final = {"Cast", "Constant", "DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
_MOVES: Final = {"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
# What reading a damaged file comes to: inputs that are missing, types that do not exist, names that are not text.
_TRIPPED_OVER: Final = (AttributeError, IndexError, RecursionError, RuntimeError, TypeError, ValueError)
# Which inputs are scales and zero points, by type of operator; of the others that begin with Q, see `_scales_of`.
_SCALES: Final[Mapping[str, tuple[int, ...]]] = {
    "ConvInteger": (2, 3),
    "DequantizeLinear": (1, 2),
    "DynamicQuantizeLSTM": (8, 9, 10, 11),
    "DynamicQuantizeMatMul": (2, 3),
    "MatMulInteger": (2, 3),
    "MatMulIntegerToFloat": (2, 3, 4, 5),
    "MatMulNBits": (2, 3),
    "QGemm": (1, 2, 4, 5, 7, 8),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QLinearAdd": (1, 2, 4, 5, 6, 7),
    "QLinearMul": (1, 2, 4, 5, 6, 7),
    "QuantizeLinear": (1, 2),
}


@dataclass
class _Scope:
    """What names mean at one place of the file; a body also sees what is around it."""

    graph: str = ""
    constants: dict[str, TensorProto] = field(default_factory=dict)
    producers: dict[str, NodeProto] = field(default_factory=dict)
    values: dict[str, ValueInfoProto] = field(default_factory=dict)
    roles: dict[str, Role] = field(default_factory=dict)
    scales: dict[str, int] = field(default_factory=dict)

    def inside(self, title: str) -> _Scope:
        """Return a scope for a body, to which more can be added."""
        maps = (self.constants, self.producers, self.values, self.roles, self.scales)
        return _Scope(title, *(dict(m) for m in maps))  # type: ignore[arg-type]  # in the order of the fields

    def add(self, graph: GraphProto) -> None:
        """Add what a graph defines."""
        self.producers.update((name, node) for node in graph.node for name in node.output if name)
        self.values.update((value.name, value) for value in (*graph.value_info, *graph.input, *graph.output))
        self.constants.update((tensor.name, tensor) for tensor in graph.initializer)
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].type == AttributeProto.TENSOR:
                self.constants[node.output[0]] = node.attribute[0].t
        tables = {node.input[0] for node in graph.node if _gives_whole_numbers(node)}
        for name, tensor in self.constants.items():
            whole = tensor.data_type in _WHOLE_NUMBERS or name in tables
            self.roles.setdefault(name, "table" if whole else "weight")
        for node in graph.node:
            for place in _scales_of(node):
                if place < len(node.input) and node.input[place] in self.constants:
                    self.roles[node.input[place]] = "quantization"
            if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[1] in self.constants:
                quantized = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
                self.scales[quantized] = math.prod(self.constants[node.input[1]].dims)
            if (stored := self.widened(node)) is not None:
                self.roles[node.input[1]] = "quantization"
                self.scales[stored] = math.prod(self.constants[node.input[1]].dims)

    def dtype(self, name: str) -> str:
        """Return the type of a tensor, "" where the file does not say."""
        if name in self.constants:
            return _dtype(self.constants[name].data_type)
        value = self.values.get(name)
        return _dtype(value.type.tensor_type.elem_type) if value is not None else ""

    def only_converts(self, node: NodeProto) -> bool:
        """Whether a node only moves or converts its first input: also where it scales integers that were stored."""
        return node.op_type in _MOVES | {"DequantizeLinear", "Cast"} or self.widened(node) is not None

    def widened(self, node: NodeProto) -> str | None:
        """Return the stored integers that a node scales behind a Cast; None where it does something else."""
        if node.op_type != "Mul" or node.input[1] not in self.constants:
            return None
        cast = self.producers.get(node.input[0])
        if cast is None or cast.op_type != "Cast" or cast.input[0] not in self.constants:
            return None
        return str(cast.input[0])

    def origin(self, name: str) -> tuple[str, bool]:
        """Return the tensor that this one is merely another type or view of, and whether its type is another."""
        converted = False
        for _ in range(len(self.producers)):
            node = self.producers.get(name)
            if node is None or name in self.constants or not self.only_converts(node):
                break
            if node.op_type == "Cast" and node.input[0] not in self.constants and node.input[0] not in self.producers:
                break  # pixels become numbers: nothing was quantized
            converted = converted or node.op_type in ("DequantizeLinear", "Cast")
            name = node.input[0]
        return name, converted


def inspect_onnx(content: bytes) -> Inspection:
    """Return what an ONNX file holds.

    Raises:
        ModelFileError: It cannot be read; the message goes on from the file's name.
    """
    try:
        return _inspect(content)
    except (DecodeError, InferenceError, *_TRIPPED_OVER) as error:
        said = " ".join(str(error).split())[:200]
        raise ModelFileError(f"is not a sound ONNX model; it contradicts itself or is cut short ({said}).") from error


def _inspect(content: bytes) -> Inspection:
    model = onnx.load_from_string(content)
    operators: list[OperatorRecord] = []
    tensors: list[TensorRecord] = []
    _read_graph(infer_shapes(model).graph, _Scope(), operators, tensors)
    sizes = dict.fromkeys(CAUSES, 0)
    _weigh_graph(model.graph, sizes, {tensor.name: tensor.role for tensor in tensors})
    sizes["metadata"] += model.ByteSize() - _in_field(model.graph.ByteSize())
    sizes["structure"] += len(content) - sum(sizes.values())
    return Inspection(
        format="onnx",
        size_bytes=len(content),
        versions={"ir": model.ir_version, **{entry.domain or "onnx": entry.version for entry in model.opset_import}},
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        operators=tuple(replace(o, **asdict(work)) for o, work in zip(operators, count_work(model), strict=True)),
        tensors=tuple(tensors),
        bytes_by_cause=sizes,
    )


def _read_graph(graph: GraphProto, scope: _Scope, operators: list[OperatorRecord], tensors: list[TensorRecord]) -> None:
    scope.add(graph)
    ends: dict[str, Role] = {}
    if not scope.graph:
        ends.update((value.name, "input") for value in graph.input)
        ends.update((value.name, "output") for value in graph.output)
    names = [*(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)]
    names += [name for node in graph.node for name in node.output if name]
    tensors += [_tensor_record(name, scope, ends) for name in dict.fromkeys(names)]
    for node in graph.node:
        operators.append(_operator_record(node, scope))
        for body in _bodies(node):
            _read_graph(body, scope.inside(f"{node.name or node.op_type}/{body.name}"), operators, tensors)


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _gives_whole_numbers(node: NodeProto) -> bool:
    """Return whether a node makes a table of what is stored in fewer bytes."""
    return node.op_type == "Cast" and any(a.name == "to" and a.i in _WHOLE_NUMBERS for a in node.attribute)


def _scales_of(node: NodeProto) -> tuple[int, ...]:
    if node.op_type.startswith("QLinear"):
        return _SCALES.get(node.op_type, (1, 2, 3, 4))  # one input
    return _SCALES.get(node.op_type, ())


def _dtype(data_type: int) -> str:
    name = TensorProto.DataType.Name(data_type).lower() if data_type else ""
    return {"float": "float32", "double": "float64"}.get(name, name)


def _tensor_record(name: str, scope: _Scope, ends: Mapping[str, Role]) -> TensorRecord:
    shape: tuple[int, ...] | None = None
    if name in scope.constants:
        shape = tuple(scope.constants[name].dims)
    elif name in scope.values and scope.values[name].type.tensor_type.HasField("shape"):
        dims = scope.values[name].type.tensor_type.shape.dim
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
    return TensorRecord(
        name=name,
        graph=scope.graph,
        shape=shape,
        dtype=scope.dtype(name),
        role=ends.get(name) or scope.roles.get(name, "value"),
        size_bytes=_payload(scope.constants[name]) if name in scope.constants else 0,
        scales=scope.scales.get(name, 0),
    )


def _operator_record(node: NodeProto, scope: _Scope) -> OperatorRecord:
    weights, weights_converted, activations, activations_converted = "", False, "", False
    largest = 1
    if node.op_type not in _CONVERTS and scope.widened(node) is None and not any(_bodies(node)):
        for place, name in enumerate(node.input):
            origin, converted = scope.origin(name)
            if not name or place in _scales_of(node):
                continue
            if origin not in scope.constants:
                if not activations:
                    activations, activations_converted = scope.dtype(origin), converted
            elif scope.roles[origin] == "weight" and math.prod(scope.constants[origin].dims) > largest:
                largest = math.prod(scope.constants[origin].dims)
                weights, weights_converted = scope.dtype(origin), converted
    # What meets float32 weights is computed in floating point, wherever it comes from.
    quantized = activations_converted and "int" in activations and (weights_converted or not weights)
    scheme: Scheme = "float"
    if node.op_type in _DYNAMIC:
        scheme = "dynamic_range"
    elif node.op_type.startswith("QLinear") or node.op_type == "QGemm":
        scheme = "static_range"
    elif node.op_type in _WEIGHT_ONLY or (weights_converted and not quantized):
        scheme = "weight_only"
    elif quantized:
        scheme = "static_range"
    return OperatorRecord(
        name=node.name or next(filter(None, node.output), ""),
        type=f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type,
        graph=scope.graph,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        weights=weights,
        activations=activations or next((scope.dtype(name) for name in node.output if name), ""),
        scheme=scheme,
    )


def _payload(tensor: TensorProto) -> int:
    if tensor.HasField("raw_data"):
        return len(tensor.raw_data)
    bare = TensorProto(dims=tensor.dims, data_type=tensor.data_type, name=tensor.name, doc_string=tensor.doc_string)
    return int(tensor.ByteSize() - bare.ByteSize())


def _in_field(size: int) -> int:
    """Return the bytes of a message, or string, of this size as a field: its tag and its length before it."""
    return size + 1 + max(1, -(-size.bit_length() // 7))


def _weigh_graph(graph: GraphProto, sizes: dict[str, int], roles: Mapping[str, Role]) -> None:
    """Add to `sizes` the bytes of a graph, without the field it stands in."""
    parts = 0
    for tensor in graph.initializer:
        parts += _in_field(tensor.ByteSize())
        _weigh_tensor(tensor, sizes, roles.get(tensor.name, "weight"))
    for node in graph.node:
        parts += _in_field(node.ByteSize())
        _weigh_node(node, sizes, roles)
    for value in (*graph.input, *graph.output, *graph.value_info):
        parts += _in_field(value.ByteSize())
        sizes["names"] += len(value.name)
        sizes["tensors"] += _in_field(value.ByteSize()) - len(value.name)
    sizes["structure"] += graph.ByteSize() - parts


def _weigh_tensor(tensor: TensorProto, sizes: dict[str, int], role: Role) -> None:
    cause = {"weight": "weights", "quantization": "quantization"}.get(role, "tables")
    sizes[cause] += _payload(tensor)
    sizes["names"] += len(tensor.name)
    sizes["metadata"] += len(tensor.doc_string)
    sizes["tensors"] += _in_field(tensor.ByteSize()) - _payload(tensor) - len(tensor.name) - len(tensor.doc_string)


def _weigh_node(node: NodeProto, sizes: dict[str, int], roles: Mapping[str, Role]) -> None:
    names = len(node.name) + sum(len(name.encode()) for name in (*node.input, *node.output))
    notes = len(node.doc_string) + sum(_in_field(entry.ByteSize()) for entry in node.metadata_props)
    inside = 0
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            role = roles.get(node.output[0], "weight") if node.op_type == "Constant" else "table"
            _weigh_tensor(attribute.t, sizes, role)
            inside += _in_field(attribute.t.ByteSize())
    for body in _bodies(node):
        _weigh_graph(body, sizes, roles)
        inside += body.ByteSize()
    sizes["names"] += names
    sizes["metadata"] += notes
    sizes["operators"] += _in_field(node.ByteSize()) - names - notes - inside
