"""GraphBuilder: write a graph operator by operator; shapes follow, names are short, equal constants are stored once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edgelnn.preprocessing import InputType, Layout
from edgelnn_export.graph import Array, Body, Graph, Node, all_nodes
from edgelnn_export.operators import Shape, infer_shapes

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """Builds a graph, or the body of a loop in one.

    Every method that adds an operator returns the name of its result. Weights are given as arrays of any float type;
    they are stored as float32, so fold in float64.

    >>> b = GraphBuilder((1, 4), "channels_first")
    >>> graph = b.finish(b.softmax(b.linear(b.input, np.eye(4), np.zeros(4))))
    >>> [node.op for node in graph.nodes], graph.shapes[graph.output]
    (['linear', 'softmax'], (1, 4))
    """

    def __init__(
        self,
        input_shape: Shape,
        layout: Layout,
        *,
        input: str = "image",
        input_type: InputType = "float32",
        parent: GraphBuilder | None = None,
    ) -> None:
        self.input_type: InputType = input_type
        self.layout = layout
        self.input = input
        self.part: str = parent.part if parent else ""
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {} if parent else {input: tuple(input_shape)}
        self.constants: dict[str, Array] = parent.constants if parent else {}
        self._constant_names: dict[tuple[Shape, bytes], str] = parent._constant_names if parent else {}
        self._counter: list[int] = parent._counter if parent else [0]

    # Names and constants

    def name(self) -> str:
        """Return a new short name for a value."""
        self._counter[0] += 1
        return f"v{self._counter[0]}"

    def constant(self, values: ArrayLike) -> str:
        """Return the name of a constant with these values, stored as float32."""
        array = np.ascontiguousarray(np.asarray(values, dtype=np.float64).astype(np.float32))
        key = (array.shape, array.tobytes())
        if key not in self._constant_names:
            name = f"w{len(self._constant_names) + 1}"
            self._constant_names[key] = name
            self.constants[name] = array
        return self._constant_names[key]

    def operand(self, value: str | ArrayLike) -> str:
        """Return the name of a value as it is, and of a constant for anything else."""
        return value if isinstance(value, str) else self.constant(value)

    def shape(self, name: str) -> Shape:
        """Return the shape of a value or constant."""
        return self.shapes[name] if name in self.shapes else self.constants[name].shape

    @contextmanager
    def in_part(self, part: str) -> Iterator[None]:
        """Write the operators added inside to a part of the classifier: stem, scan, head or output."""
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    # Operators

    def add_node(self, op: str, inputs: Sequence[str | ArrayLike], **attributes: Any) -> tuple[str, ...]:
        """Add an operator and return the names of its results."""
        names = tuple(self.operand(value) for value in inputs)
        trial = Node(op, names, (), attributes, self.part)
        shapes = infer_shapes(trial, [self.shape(n) for n in names], self.layout)
        outputs = tuple(self.name() for _ in shapes)
        self.shapes.update(zip(outputs, shapes, strict=True))
        self.nodes.append(Node(op, names, outputs, attributes, self.part))
        return outputs

    def _one(self, op: str, *inputs: str | ArrayLike, **attributes: Any) -> str:
        return self.add_node(op, inputs, **attributes)[0]

    def conv2d(self, x: str, weight: ArrayLike, bias: ArrayLike, **attributes: Any) -> str:
        """Return the convolution; attributes as in `graph.py`."""
        return self._one("conv2d", x, weight, bias, **attributes)

    def max_pool(self, x: str, kernel: tuple[int, int], stride: tuple[int, int]) -> str:
        """Return the maximum over windows."""
        return self._one("pool2d", x, kind="max", kernel=kernel, stride=stride)

    def average_pool(self, x: str, kernel: tuple[int, int], stride: tuple[int, int]) -> str:
        """Return the mean over windows; x itself where a window is one place and there are no others."""
        whole = kernel == stride == (1, 1)
        return x if whole else self._one("pool2d", x, kind="average", kernel=kernel, stride=stride)

    def pad_zeros(self, x: str, axis: int, before: int, after: int) -> str:
        """Return x with zeros before and after it along an axis; x itself where there are none."""
        return self._one("pad_zeros", x, axis=axis, before=before, after=after) if before or after else x

    def gather(self, x: str, axis: int, indices: Sequence[int]) -> str:
        """Return x at places along an axis, in their order; x itself where these are all its places in order."""
        straight = tuple(indices) == tuple(range(self.shape(x)[axis]))
        return x if straight else self._one("gather", x, axis=axis, indices=tuple(indices))

    def linear(self, x: str, weight: ArrayLike, bias: ArrayLike | None = None, activation: str = "none") -> str:
        """Return x·weightᵀ + bias: (…, in) → (…, out)."""
        inputs = (x, weight) if bias is None else (x, weight, bias)
        attributes = {} if activation == "none" else {"activation": activation}
        return self._one("linear", *inputs, **attributes)

    def add(self, x: str | ArrayLike, y: str | ArrayLike) -> str:
        """Return x + y."""
        return self._one("add", x, y)

    def subtract(self, x: str | ArrayLike, y: str | ArrayLike) -> str:
        """Return x - y."""
        return self._one("subtract", x, y)

    def multiply(self, x: str | ArrayLike, y: str | ArrayLike) -> str:
        """Return x · y."""
        return self._one("multiply", x, y)

    def divide(self, x: str | ArrayLike, y: str | ArrayLike) -> str:
        """Return x / y."""
        return self._one("divide", x, y)

    def maximum(self, x: str | ArrayLike, y: str | ArrayLike) -> str:
        """Return the greater of x and y."""
        return self._one("maximum", x, y)

    def unary(self, op: str, x: str) -> str:
        """Return op(x) for an operator of one value and no attributes."""
        return self._one(op, x)

    def tanh(self, x: str) -> str:
        """Return the hyperbolic tangent."""
        return self._one("tanh", x)

    def sigmoid(self, x: str) -> str:
        """Return 1 / (1 + exp(-x))."""
        return self._one("sigmoid", x)

    def softmax(self, x: str) -> str:
        """Return softmax over the last axis."""
        return self._one("softmax", x)

    def reshape(self, x: str, shape: Shape) -> str:
        """Return x in another shape; x itself where it has that shape."""
        return x if self.shape(x) == tuple(shape) else self._one("reshape", x, shape=tuple(shape))

    def transpose(self, x: str, permutation: Sequence[int]) -> str:
        """Return x with its axes in another order; x itself where the order stays."""
        order = tuple(permutation)
        return x if order == tuple(range(len(order))) else self._one("transpose", x, permutation=order)

    def concat(self, values: Sequence[str | ArrayLike], axis: int) -> str:
        """Return the values joined; the value itself where there is one."""
        return self.operand(values[0]) if len(values) == 1 else self._one("concat", *values, axis=axis)

    def slice(self, x: str, axis: int, start: int, stop: int) -> str:
        """Return x[start:stop] along an axis; x itself where that is all of it."""
        whole = (start, stop) == (0, self.shape(x)[axis])
        return x if whole else self._one("slice", x, axis=axis, start=start, stop=stop)

    def split(self, x: str, axis: int, sizes: Sequence[int]) -> tuple[str, ...]:
        """Return the pieces of x along an axis."""
        return (x,) if len(sizes) == 1 else self.add_node("split", (x,), axis=axis, sizes=tuple(sizes))

    def shift(self, x: str, axis: int, by: int) -> str:
        """Return x moved `by` places later along an axis, zeros entering; all zeros where nothing is left."""
        return self.multiply(x, [0.0]) if by >= self.shape(x)[axis] else self._one("shift", x, axis=axis, by=by)

    def mean(self, x: str, axis: int) -> str:
        """Return the mean over an axis, which goes."""
        return self._one("mean", x, axis=axis)

    def suffix_sums(self, x: str, axis: int) -> str:
        """Return at each place the sum of what stands there and later along an axis."""
        return self._one("suffix_sums", x, axis=axis)

    def preceding_sums(self, x: str, axis: int) -> str:
        """Return at each place along an axis the sum of what stands before it."""
        return self._one("preceding_sums", x, axis=axis)

    # Loops and the end

    def body(self, input_shapes: Sequence[Shape]) -> tuple[GraphBuilder, tuple[str, ...]]:
        """Return a builder for a loop's body, which shares this graph's constants, and the body's input names."""
        inner = GraphBuilder((), self.layout, parent=self)
        names = tuple(inner.name() for _ in input_shapes)
        inner.shapes.update(zip(names, map(tuple, input_shapes), strict=True))
        return inner, names

    def finish_body(self, inputs: Sequence[str], outputs: Sequence[str]) -> Body:
        """Return what was built as the body of a loop."""
        return Body(tuple(inputs), tuple(outputs), tuple(self.nodes), self.shapes)

    def loop(
        self,
        body: Body,
        *,
        states: Sequence[str | ArrayLike],
        sequences: Sequence[str] = (),
        invariants: Sequence[str] = (),
        steps: int,
        reverse: bool = False,
    ) -> tuple[str, ...]:
        """Return the final states and the joined results of a loop."""
        attributes: dict[str, Any] = {"body": body, "states": len(states), "sequences": len(sequences), "steps": steps}
        if reverse:
            attributes["reverse"] = True
        return self.add_node("loop", (*states, *sequences, *invariants), **attributes)

    def finish(self, output: str, name: str = "probabilities") -> Graph:
        """Return the checked graph, its output under the given name; what does not reach the output is left out.

        Raises:
            ExportError: A rule of `graph.py` is broken.
        """
        live = _live_nodes(self.nodes, output)
        nodes = tuple(
            Node(
                n.op,
                tuple(name if i == output else i for i in n.inputs),
                tuple(name if o == output else o for o in n.outputs),
                n.attributes,
                n.part,
            )
            for n in live
        )
        made = {self.input, *(value for node in live for value in node.outputs)}
        shapes = {name if value == output else value: shape for value, shape in self.shapes.items() if value in made}
        used = {value for node in all_nodes(nodes) for value in node.inputs}
        constants = {value: array for value, array in self.constants.items() if value in used}
        return Graph(self.input, name, nodes, constants, shapes, self.layout, self.input_type).checked()


def _live_nodes(nodes: Sequence[Node], output: str) -> list[Node]:
    """Return the nodes that reach the output."""
    wanted = {output}
    live = []
    for node in reversed(nodes):
        if wanted & set(node.outputs):
            wanted |= set(node.inputs)
            live.append(node)
    return live[::-1]
