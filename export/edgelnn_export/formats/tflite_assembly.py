"""A TFLite file under construction: its subgraphs, with every constant, buffer and operator code stored once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]
from numpy.typing import NDArray

from edgelnn.preprocessing import Layout
from edgelnn_export.graph import Array, Node
from edgelnn_export.operators import Shape

__all__ = ["Assembly", "TfliteFile"]

_TYPES: Final[Mapping[str, int]] = {
    "float32": schema.TensorType.FLOAT32,
    "int32": schema.TensorType.INT32,
    "uint8": schema.TensorType.UINT8,
    "bool": schema.TensorType.BOOL,
}
_LAST_DEPRECATED_CODE: Final = 127


@dataclass
class TfliteFile:
    """What the subgraphs of a file share.

    Attributes:
        constants: Of the graph that is written.
        layout: Of that graph.
        subgraphs: In the order of the file; the first is the main one.
        buffers: Contents; the first is the empty one of all that is computed.
    """

    constants: Mapping[str, Array]
    layout: Layout
    subgraphs: list[Assembly] = field(default_factory=list)
    buffers: dict[bytes, int] = field(default_factory=lambda: {b"": 0})
    _codes: dict[tuple[int, int], int] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)

    def subgraph(self, shapes: Mapping[str, Shape], nodes: Sequence[Node], outputs: Sequence[str]) -> Assembly:
        """Return the assembly of a new subgraph, for nodes that give these outputs."""
        used = {name for node in nodes for name in node.inputs}.union(outputs)
        self.subgraphs.append(Assembly(self, len(self.subgraphs), shapes, used))
        return self.subgraphs[-1]

    def operator_code(self, builtin: int, version: int) -> int:
        """Return the place of an operator in the file's table of operators."""
        return self._codes.setdefault((builtin, version), len(self._codes))

    def numbered(self, title: str) -> str:
        """Return a name nothing else in the file has."""
        number = self._numbers[title] = self._numbers.get(title, -1) + 1
        return f"{title}{number}"

    def model(self, signatures: list[Any]) -> Any:
        """Return the file as the schema's `ModelT`."""
        return schema.ModelT(
            version=3,
            operatorCodes=[
                schema.OperatorCodeT(
                    deprecatedBuiltinCode=min(builtin, _LAST_DEPRECATED_CODE), builtinCode=builtin, version=version
                )
                for builtin, version in self._codes
            ],
            subgraphs=[subgraph.subgraph() for subgraph in self.subgraphs],
            buffers=[
                schema.BufferT(data=np.frombuffer(content, np.uint8) if content else None) for content in self.buffers
            ],
            signatureDefs=signatures,
        )


class Assembly:
    """One subgraph under construction.

    Attributes:
        file: That it belongs to.
        index: Its place there.
        shapes: Of the values of the graph or body that is written, for a batch of 1.
        used: Names of the values that a node reads, or that are an output.
        inputs: The subgraph's input tensors.
        outputs: The subgraph's output tensors.
        zeros: Tensors of zeros for every example, by shape, that loops begin from.
    """

    def __init__(self, file: TfliteFile, index: int, shapes: Mapping[str, Shape], used: set[str]) -> None:
        self.file = file
        self.index = index
        self.shapes = shapes
        self.used = used
        self.zeros: dict[Shape, int] = {}
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._values: dict[str, int] = {}
        self._constants: dict[tuple[str, Shape, bytes], int] = {}

    def shape(self, name: str) -> Shape:
        """Return the shape of a value (for a batch of 1) or of a constant of the graph."""
        constants = self.file.constants
        return tuple(constants[name].shape) if name in constants else tuple(self.shapes[name])

    def is_constant(self, name: str) -> bool:
        """Return whether a name of the graph is a constant."""
        return name in self.file.constants

    def array(self, name: str) -> Array:
        """Return a constant of the graph."""
        return self.file.constants[name]

    def read(self, name: str) -> int:
        """Return the tensor of a value or constant of the graph."""
        constants = self.file.constants
        return self.constant(constants[name]) if name in constants else self._values[name]

    def found(self, name: str) -> str | None:
        """Return the name that a value of the graph has in the file, if it was written."""
        return str(self._tensors[self._values[name]].name) if name in self._values else None

    def bind(self, name: str, tensor: int) -> int:
        """Let a value of the graph be a tensor that exists."""
        self._values[name] = tensor
        return tensor

    def write(self, node: Node, output: int = 0) -> int:
        """Return a new tensor for an output of a node, or the one bound to it."""
        name = node.outputs[output]
        return self._values[name] if name in self._values else self.bind(name, self.value(node, self.shape(name)))

    def value(self, node: Node, shape: Shape, dtype: str = "float32") -> int:
        """Return a new tensor that `node` computes, named after the node; otherwise as `tensor`."""
        return self.tensor(self.file.numbered(f"{node.part}/{node.op}" if node.part else node.op), shape, dtype)

    def tensor(self, name: str, shape: Shape, dtype: str = "float32", *, buffer: int = 0, free: bool = False) -> int:
        """Return a new tensor.

        Args:
            name: Of the tensor in the file.
            shape: For a batch of 1.
            dtype: Of its elements.
            buffer: Its content.
            free: Whether to state that axis 0 is of any length.
        """
        self._tensors.append(
            schema.TensorT(
                shape=np.array(shape, np.int32),
                type=_TYPES[dtype],
                buffer=buffer,
                name=name,
                shapeSignature=np.array((-1, *shape[1:]), np.int32) if free else None,
            )
        )
        return len(self._tensors) - 1

    def constant(self, array: NDArray[Any]) -> int:
        """Return the tensor of a constant equal to `array`."""
        content = array.tobytes()
        key = (array.dtype.name, tuple(array.shape), content)
        if key not in self._constants:
            buffer = self.file.buffers.setdefault(content, len(self.file.buffers))
            name = self.file.numbered("w" if array.dtype == np.float32 else "i")
            self._constants[key] = self.tensor(name, tuple(array.shape), array.dtype.name, buffer=buffer)
        return self._constants[key]

    def integers(self, values: Iterable[int]) -> int:
        """Return the tensor of a constant vector of int32."""
        return self.constant(np.array(list(values), np.int32))

    def integer(self, value: int) -> int:
        """Return the tensor of a constant int32 number."""
        return self.constant(np.array(value, np.int32))

    def scalar(self, value: float) -> int:
        """Return the tensor of a constant float32 number."""
        return self.constant(np.array(value, np.float32))

    def add(
        self, builtin: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, version: int = 1
    ) -> None:
        """Append an operator.

        Args:
            builtin: Its name in the schema.
            inputs: Tensors; -1 stands for none.
            outputs: Tensors.
            options: One of the schema's options objects, where the operator needs it.
            version: Of the operator; the lowest that can do what is asked.
        """
        kind = type(options).__name__.removesuffix("T") if options is not None else "NONE"
        self._operators.append(
            schema.OperatorT(
                opcodeIndex=self.file.operator_code(getattr(schema.BuiltinOperator, builtin), version),
                inputs=np.array(inputs, np.int32),
                outputs=np.array(outputs, np.int32),
                builtinOptionsType=getattr(schema.BuiltinOptions, kind),
                builtinOptions=options,
            )
        )

    def add_slice(self, x: int, begin: Sequence[int], end: Sequence[int], result: int) -> None:
        """Append a slice of all examples; XNNPACK takes STRIDED_SLICE for any batch, SLICE for a fixed one alone."""
        inputs = [x, *(self.integers(numbers) for numbers in (begin, end, [1] * len(begin)))]
        self.add("STRIDED_SLICE", inputs, [result], schema.StridedSliceOptionsT(beginMask=1, endMask=1))

    def subgraph(self) -> Any:
        """Return the subgraph as the schema's `SubGraphT`."""
        return schema.SubGraphT(
            tensors=self._tensors,
            inputs=np.array(self.inputs, np.int32),
            outputs=np.array(self.outputs, np.int32),
            operators=self._operators,
        )
