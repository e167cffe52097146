"""An ONNX graph under construction: short value names, constants stored once, nodes named after their origin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgelnn.preprocessing import Layout
from edgelnn_export.graph import Array, Node
from edgelnn_export.operators import Shape

__all__ = ["INPUT", "INT64_MIN", "OUTPUT", "Assembly"]

INPUT, OUTPUT = "image", "probabilities"
INT64_MIN = -(2**63)  # as the end of a slice that runs backwards: to the very beginning
_FEW_INDICES = 24  # for which another operator would take more bytes than it saves
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Assembly:
    """The nodes of one ONNX graph, or of the body of a `Scan` in it.

    A body has an assembly of its own, made by `body`, that shares names and constants with the one around it.

    Attributes:
        nodes: What has been written.
        shapes: Of the values of the graph that is written, for a batch of 1.
        batch: The fixed batch, or None where it is free.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        constants: Mapping[str, Array],
        layout: Layout,
        batch: int | None,
        parent: Assembly | None = None,
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.shapes = shapes
        self.layout = layout
        self.batch = batch
        self._constants = constants
        self._values: dict[str, str] = {}
        self._initializers: dict[tuple[str, Shape, bytes], onnx.TensorProto] = parent._initializers if parent else {}
        self._fresh: count[int] = parent._fresh if parent else count()
        self._node_numbers: dict[str, int] = parent._node_numbers if parent else {}
        self._root: Assembly = parent._root if parent else self
        self._deferred: dict[str, Callable[[], object]] = {}
        self.memory: dict[Any, str] = {}  # what one operator leaves for another, by a key of their choice

    def body(self, shapes: Mapping[str, Shape]) -> Assembly:
        """Return the assembly of a body inside this graph."""
        return Assembly(shapes, self._constants, self.layout, self.batch, parent=self)

    def shape(self, name: str) -> Shape:
        """Return the shape of a value (for a batch of 1) or of a constant."""
        return tuple(self._constants[name].shape) if name in self._constants else tuple(self.shapes[name])

    def is_constant(self, name: str) -> bool:
        """Return whether a name of the graph is a constant."""
        return name in self._constants

    def array(self, name: str) -> Array:
        """Return a constant of the graph."""
        return self._constants[name]

    def bind(self, name: str, value: str) -> str:
        """Let a value of the graph be known here as `value`."""
        self._values[name] = value
        return value

    def read(self, name: str) -> str:
        """Return the ONNX name of a value or constant of the graph."""
        if name in self._deferred:
            self._deferred.pop(name)()
        return self.constant(self._constants[name]) if name in self._constants else self._values[name]

    def found(self, name: str) -> tuple[str, bool] | None:
        """Return the ONNX name of a value of the graph, if it was written, and whether it is time first, (T, b, …)."""
        if ("time first", name) in self.memory and (name not in self._values or name in self._deferred):
            return self.memory["time first", name], True
        return (self._values[name], False) if name in self._values else None

    def write(self, name: str) -> str:
        """Return the ONNX name for a new value of the graph."""
        if name not in self._values:
            self._values[name] = self.fresh()
        return self._values[name]

    def defer(self, name: str, write: Callable[[], object]) -> None:
        """Let `write` make a value of the graph when it is first read, if it ever is."""
        self._deferred[name] = write

    def batch_size(self, node: Node) -> str:
        """Return the name of the number of examples, an int64 vector of one; made in the outermost graph."""
        root = self._root
        if "batch size" not in root.memory:
            (root.memory["batch size"],) = root.add(node, "Shape", [INPUT], start=0, end=1)
        return root.memory["batch size"]

    def fresh(self) -> str:
        """Return an unused name; they go a, b, … z, aa, ab and so on."""
        number, name = next(self._fresh) + 1, ""
        while number:
            number, letter = divmod(number - 1, 26)
            name = _LETTERS[letter] + name
        return name

    def constant(self, array: NDArray[Any]) -> str:
        """Return the name of a stored constant equal to `array`, storing it where there is none."""
        array = np.ascontiguousarray(array) if array.ndim else array
        key = (array.dtype.str, tuple(array.shape), array.tobytes())
        if key not in self._initializers:
            self._initializers[key] = numpy_helper.from_array(array, self.fresh())
        return self._initializers[key].name

    def integers(self, values: Iterable[int]) -> str:
        """Return the name of a constant vector of int64."""
        return self.constant(np.array(list(values), np.int64))

    def indices(self, node: Node, values: Sequence[int]) -> str:
        """Return the name of a vector of indices; a long one of small numbers is stored in a byte each."""
        if len(values) < _FEW_INDICES or max(values) > np.iinfo(np.uint8).max:
            return self.constant(np.array(values, np.int32))
        key, root = ("indices", tuple(values)), self._root
        if key not in root.memory:
            stored = self.constant(np.array(values, np.uint8))
            (root.memory[key],) = root.add(node, "Cast", [stored], to=onnx.TensorProto.INT32)
        return root.memory[key]

    def scalar(self, value: float) -> str:
        """Return the name of a constant float32 number."""
        return self.constant(np.array(value, np.float32))

    def add(
        self,
        node: Node,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str] | int = 1,
        **attributes: Any,
    ) -> list[str]:
        """Append an operator on behalf of `node`; return its outputs.

        Args:
            node: What is being written; with its part it gives the operator its name.
            op_type: Of ONNX.
            inputs: Names in ONNX.
            outputs: Names in ONNX, or how many fresh ones.
            attributes: Of the operator.
        """
        names = [self.fresh() for _ in range(outputs)] if isinstance(outputs, int) else list(outputs)
        title = f"{node.part}/{node.op}" if node.part else node.op
        number = self._node_numbers[title] = self._node_numbers.get(title, -1) + 1
        self.nodes.append(helper.make_node(op_type, list(inputs), names, name=f"{title}{number}", **attributes))
        return names

    def initializers(self) -> list[onnx.TensorProto]:
        """Return all constants of the file, in the order of their first use."""
        return list(self._initializers.values())
