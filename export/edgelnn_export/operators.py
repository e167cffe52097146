"""The operators of a graph: which attributes each takes, and the shapes that follow from its inputs.

`graph.py` says what each operator means. Shapes are those for a batch of 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edgelnn.errors import ExportError

if TYPE_CHECKING:
    from edgelnn.preprocessing import Layout
    from edgelnn_export.graph import Node

__all__ = ["OPERATORS", "Operator", "Shape", "attribute", "infer_shapes"]

Shape = tuple[int, ...]
Attributes = Mapping[str, Any]
REQUIRED: Final = object()

_ACTIVATIONS = {"none", "relu", "relu6"}
_CELL_ACTIVATIONS = ("sigmoid", "tanh", "softsign", "identity")


@dataclass(frozen=True)
class Operator:
    """What is known about one operator.

    Attributes:
        shapes: From input shapes, attributes and layout to output shapes; raises ExportError where they do not fit.
        attributes: Defaults by name; `REQUIRED` where there is none.
    """

    shapes: Callable[[Sequence[Shape], Attributes, Layout], tuple[Shape, ...]]
    attributes: Mapping[str, Any]


def attribute(node: Node, name: str) -> Any:
    """Return an attribute of a node, or its default.

    >>> from edgelnn_export.graph import Node
    >>> attribute(Node("linear", ("x", "w"), ("y",)), "activation")
    'none'
    """
    default = OPERATORS[node.op].attributes[name]
    value = node.attributes.get(name, default)
    if value is REQUIRED:
        raise ExportError(f"{node.op} node {', '.join(node.outputs)}: the attribute {name} is missing.")
    return value


def infer_shapes(node: Node, inputs: Sequence[Shape], layout: Layout) -> tuple[Shape, ...]:
    """Return the shapes of a node's outputs.

    Raises:
        ExportError: The operator is unknown, an attribute missing, unknown or not allowed, or the shapes do not fit.
    """
    where = f"{node.op} node {', '.join(node.outputs)}"
    if node.op not in OPERATORS:
        raise ExportError(f"{where}: got an unknown operator; expected one of {', '.join(sorted(OPERATORS))}.")
    operator = OPERATORS[node.op]
    unknown = set(node.attributes) - set(operator.attributes)
    if unknown:
        raise ExportError(f"{where}: got unknown attributes {', '.join(sorted(unknown))}.")
    try:
        return operator.shapes(inputs, {name: attribute(node, name) for name in operator.attributes}, layout)
    except ExportError as error:
        raise ExportError(f"{where}: {error}") from None


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ExportError(message)


def _require_activation(value: object) -> None:
    _require(value in _ACTIVATIONS, f"got activation={value!r}; expected one of {', '.join(sorted(_ACTIVATIONS))}.")


def _axis(shape: Shape, axis: int) -> int:
    _require(1 <= axis < len(shape), f"got axis {axis} of a value of shape {shape}; axes are 1 to {len(shape) - 1}.")
    return axis


def _with(shape: Shape, axis: int, length: int) -> Shape:
    return (*shape[:axis], length, *shape[axis + 1 :])


def _count(inputs: Sequence[Shape], *allowed: int) -> None:
    _require(len(inputs) in allowed, f"got {len(inputs)} inputs; expected {' or '.join(map(str, allowed))}.")


def _space(layout: Layout) -> tuple[int, int, int]:
    """Return the axes of channel, height and width."""
    return (1, 2, 3) if layout == "channels_first" else (3, 1, 2)


def _window(length: int, kernel: int, stride: int, padded: int) -> int:
    _require(length + padded >= kernel, f"got {length} + {padded} rows or columns; a window of {kernel} does not fit.")
    return (length + padded - kernel) // stride + 1


def _conv2d(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 3)
    x, weight, bias = inputs
    _require(len(x) == 4 and len(weight) == 4, f"got x {x} and weight {weight}; expected four axes each.")
    _require_activation(a["activation"])
    channel, height, width = _space(layout)
    _require(x[channel] == weight[1] * a["groups"], f"got {x[channel]} channels; the weight {weight} wants others.")
    _require(weight[0] % a["groups"] == 0 and bias == (weight[0],), f"got bias {bias}; expected ({weight[0]},).")
    top, left, bottom, right = a["padding"]
    shape = list(x)
    shape[channel] = weight[0]
    shape[height] = _window(x[height], weight[2], a["stride"][0], top + bottom)
    shape[width] = _window(x[width], weight[3], a["stride"][1], left + right)
    return (tuple(shape),)


def _pool2d(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    _require(len(inputs[0]) == 4, f"got x {inputs[0]}; expected four axes.")
    _require(a["kind"] in ("max", "average"), f"got kind={a['kind']!r}; expected max or average.")
    _, height, width = _space(layout)
    shape = list(inputs[0])
    for axis, kernel, stride in zip((height, width), a["kernel"], a["stride"], strict=True):
        shape[axis] = _window(shape[axis], kernel, stride, 0)
    return (tuple(shape),)


def _linear(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 2, 3)
    x, weight = inputs[:2]
    _require_activation(a["activation"])
    _require(len(x) >= 2 and len(weight) == 2, f"got x {x} and weight {weight}; expected (…, in) and (out, in).")
    _require(x[-1] == weight[1], f"got {x[-1]} features; the weight {weight} takes {weight[1]}.")
    _require(len(inputs) == 2 or inputs[2] == (weight[0],), f"got bias {inputs[-1]}; expected ({weight[0]},).")
    return ((*x[:-1], weight[0]),)


def _binary(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 2)
    x, y = inputs
    fits = all(s in (1, n) or n == 1 for s, n in zip(reversed(x), reversed(y), strict=False))
    _require(fits, f"got shapes {x} and {y}; each axis must be as long in both, or 1.")
    rank = max(len(x), len(y))
    wide = [(*(1,) * (rank - len(shape)), *shape) for shape in (x, y)]
    return (tuple(max(pair) for pair in zip(*wide, strict=True)),)


def _same(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    return (inputs[0],)


def _reshape(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    shape = tuple(a["shape"])
    _require(math.prod(shape) == math.prod(inputs[0]), f"got shape {shape} for {inputs[0]}; the sizes differ.")
    return (shape,)


def _transpose(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    order = tuple(a["permutation"])
    fits = sorted(order) == list(range(len(inputs[0]))) and order[0] == 0
    _require(fits, f"got permutation {order} for {inputs[0]}; axis 0 stays first.")
    return (tuple(inputs[0][i] for i in order),)


def _concat(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    axis = _axis(inputs[0], a["axis"])
    fits = all(len(s) == len(inputs[0]) and _with(s, axis, 0) == _with(inputs[0], axis, 0) for s in inputs)
    _require(fits, f"got shapes {list(inputs)}; expected the same but for axis {axis}.")
    return (_with(inputs[0], axis, sum(s[axis] for s in inputs)),)


def _slice(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    axis = _axis(inputs[0], a["axis"])
    fits = 0 <= a["start"] < a["stop"] <= inputs[0][axis]
    _require(fits, f"got {a['start']}:{a['stop']} of {inputs[0][axis]} along axis {axis}.")
    return (_with(inputs[0], axis, a["stop"] - a["start"]),)


def _split(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    axis, sizes = _axis(inputs[0], a["axis"]), a["sizes"]
    _require(sum(sizes) == inputs[0][axis] and min(sizes) > 0, f"got sizes {sizes} of {inputs[0][axis]}.")
    return tuple(_with(inputs[0], axis, size) for size in sizes)


def _gather(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    axis, indices = _axis(inputs[0], a["axis"]), a["indices"]
    _require(all(0 <= i < inputs[0][axis] for i in indices), f"got indices {indices} of {inputs[0][axis]}.")
    return (_with(inputs[0], axis, len(indices)),)


def _along(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    _axis(inputs[0], a["axis"])
    return (inputs[0],)


def _pad_zeros(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    axis = _axis(inputs[0], a["axis"])
    _require(min(a["before"], a["after"]) >= 0, f"got before={a['before']}, after={a['after']}.")
    return (_with(inputs[0], axis, a["before"] + inputs[0][axis] + a["after"]),)


def _shift(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    length = inputs[0][_axis(inputs[0], a["axis"])]
    _require(0 < a["by"] < length, f"got by={a['by']} of {length} places.")
    return (inputs[0],)


def _mean(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    _count(inputs, 1)
    axis = _axis(inputs[0], a["axis"])
    return ((*inputs[0][:axis], *inputs[0][axis + 1 :]),)


def _recurrent(
    gates: int, biases: int, activations: int
) -> Callable[[Sequence[Shape], Attributes, Layout], tuple[Shape, ...]]:
    def shapes(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
        _require(
            a["direction"] in ("forward", "reverse", "both"),
            f"got direction={a['direction']!r}; expected forward, reverse or both.",
        )
        _require(a["result"] in ("sequence", "last"), f"got result={a['result']!r}; expected sequence or last.")
        fits = len(a["activations"]) == activations and set(a["activations"]) <= set(_CELL_ACTIVATIONS)
        expected_names = f"{activations} of {', '.join(_CELL_ACTIVATIONS)}"
        _require(fits, f"got activations={a['activations']!r}; expected {expected_names}.")
        directions = 2 if a["direction"] == "both" else 1
        _count(inputs, 1 + directions * (2 + biases))
        x, units = inputs[0], inputs[2][-1]
        expected = [(gates * units, x[-1]), (gates * units, units)] + [(gates * units,)] * biases
        _require(len(x) == 3, f"got x {x}; expected (b, T, in).")
        _require(list(inputs[1:]) == expected * directions, f"got weights {list(inputs[1:])}; expected {expected}.")
        width = directions * units
        return ((x[0], x[1], width) if a["result"] == "sequence" else (x[0], width),)

    return shapes


def _loop(inputs: Sequence[Shape], a: Attributes, layout: Layout) -> tuple[Shape, ...]:
    body, states, sequences, steps = a["body"], a["states"], a["sequences"], a["steps"]
    _require(steps >= 1 and states >= 1, f"got {steps} steps and {states} states; expected at least one of each.")
    _count(inputs, len(body.inputs))
    middle = inputs[states : states + sequences]
    for shape in middle:
        _require(len(shape) >= 2 and shape[1] == steps, f"got a sequence {shape}; expected {steps} steps on axis 1.")
    given = [*inputs[:states], *[(s[0], *s[2:]) for s in middle], *inputs[states + sequences :]]
    wanted = [tuple(body.shapes[name]) for name in body.inputs]
    _require(given == wanted, f"got {given} for the body's inputs; it takes {wanted}.")
    results = [tuple(body.shapes[name]) for name in body.outputs]
    _require(results[:states] == wanted[:states], f"got new states {results[:states]}; the old are {wanted[:states]}.")
    return (*results[:states], *[(s[0], steps, *s[1:]) for s in results[states:]])


_DIRECTED: Attributes = {"direction": "forward", "result": "sequence"}

OPERATORS: Final[Mapping[str, Operator]] = {
    "conv2d": Operator(_conv2d, {"stride": (1, 1), "padding": (0, 0, 0, 0), "groups": 1, "activation": "none"}),
    "pool2d": Operator(_pool2d, {"kind": REQUIRED, "kernel": REQUIRED, "stride": REQUIRED}),
    "linear": Operator(_linear, {"activation": "none"}),
    **{op: Operator(_binary, {}) for op in ("add", "subtract", "multiply", "divide", "maximum")},
    **{
        op: Operator(_same, {})
        for op in ("pixels", "relu", "tanh", "sigmoid", "softmax", "hard_swish", "hard_sigmoid", "exp", "log", "abs")
    },
    "reshape": Operator(_reshape, {"shape": REQUIRED}),
    "transpose": Operator(_transpose, {"permutation": REQUIRED}),
    "concat": Operator(_concat, {"axis": REQUIRED}),
    "slice": Operator(_slice, {"axis": REQUIRED, "start": REQUIRED, "stop": REQUIRED}),
    "split": Operator(_split, {"axis": REQUIRED, "sizes": REQUIRED}),
    "gather": Operator(_gather, {"axis": REQUIRED, "indices": REQUIRED}),
    "reverse": Operator(_along, {"axis": REQUIRED}),
    "pad_zeros": Operator(_pad_zeros, {"axis": REQUIRED, "before": REQUIRED, "after": REQUIRED}),
    "shift": Operator(_shift, {"axis": REQUIRED, "by": REQUIRED}),
    "mean": Operator(_mean, {"axis": REQUIRED}),
    "suffix_sums": Operator(_along, {"axis": REQUIRED}),
    "preceding_sums": Operator(_along, {"axis": REQUIRED}),
    "lstm": Operator(_recurrent(4, 1, 3), {"activations": ("sigmoid", "tanh", "tanh"), **_DIRECTED}),
    "gru": Operator(_recurrent(3, 2, 2), {"activations": ("sigmoid", "tanh"), **_DIRECTED}),
    "rnn": Operator(_recurrent(1, 1, 1), {"activations": ("tanh",), **_DIRECTED}),
    "loop": Operator(
        _loop, {"body": REQUIRED, "states": REQUIRED, "sequences": REQUIRED, "steps": REQUIRED, "reverse": False}
    ),
}
