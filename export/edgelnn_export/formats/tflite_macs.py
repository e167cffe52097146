"""Multiply-accumulates of each operator of a TFLite file, for one image: for the shapes that the file states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]

from edgelnn_export.inspection import Work

__all__ = ["count_work"]

_SEQUENCES: Final = {
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
}
_STEPS: Final = {"LSTM", "RNN", "SVDF"}
_MOST_RUNS: Final = 2**40
_DIRECTIONS: Final = {"LESS": 1, "GREATER_EQUAL": -1}  # how a counter goes that is compared so


def count_work(model: Any, types: Sequence[str]) -> list[Work]:
    """Return the work of every operator, subgraph by subgraph, in the order of the file.

    Args:
        model: The schema's `Model`.
        types: What each operator code of the file stands for.

    Raises:
        ValueError: A subgraph holds itself, or a number names nothing.
    """
    reader = _Reader(model, types)
    runs = reader.runs()
    work = []
    for index in range(model.SubgraphsLength()):
        graph = model.Subgraphs(index)
        for place in range(graph.OperatorsLength()):
            macs, times = reader.macs(graph, graph.Operators(place)), runs.get(index, 0)
            work.append(Work(None if macs is None or (macs and times is None) else macs * (times or 0), times))
    return work


class _Reader:
    def __init__(self, model: Any, types: Sequence[str]) -> None:
        self.model = model
        self.types = types

    def runs(self) -> dict[int, int | None]:
        """Return how often each subgraph is computed; None where only the values that it gets could tell."""
        calls = [list(self._calls(self._graph(index))) for index in range(self.model.SubgraphsLength())]
        waiting = [0] * len(calls)
        for inside in calls:
            for number, _ in inside:
                waiting[number] += 1
        found: dict[int, int | None] = dict.fromkeys(range(len(calls)), 0)
        found[0] = 1
        ready = [number for number, count in enumerate(waiting) if not count]
        for number in ready:
            for other, times in calls[number]:
                own, sum_ = found[number], found[other]
                more = None if own is None or times is None else own * times
                found[other] = None if more is None or sum_ is None else min(sum_ + more, _MOST_RUNS)
                waiting[other] -= 1
                if not waiting[other]:
                    ready.append(other)
        if len(ready) < len(calls):
            raise ValueError("a subgraph holds itself")
        return found

    def _calls(self, graph: Any) -> list[tuple[int, int | None]]:
        found: list[tuple[int, int | None]] = []
        for place in range(graph.OperatorsLength()):
            operator = graph.Operators(place)
            kind = self.types[operator.OpcodeIndex()]
            if kind == "WHILE":
                options = _options(operator, schema.WhileOptions)
                times = self._trips(graph, operator, options)
                found.append((options.CondSubgraphIndex(), None if times is None else times + 1))
                found.append((options.BodySubgraphIndex(), times))
            elif kind == "IF":
                options = _options(operator, schema.IfOptions)
                found += [(options.ThenSubgraphIndex(), 1), (options.ElseSubgraphIndex(), 1)]
            elif kind == "CALL":
                found.append((_options(operator, schema.CallOptions).Subgraph(), 1))
        if any(not 0 <= number < self.model.SubgraphsLength() for number, _ in found):
            raise ValueError("there is no such subgraph")
        return found

    def _trips(self, graph: Any, operator: Any, options: Any) -> int | None:
        """Return how often a WHILE goes round: one whose counter goes from constant to constant in steps of one."""
        condition, body = self._graph(options.CondSubgraphIndex()), self._graph(options.BodySubgraphIndex())
        direction = _DIRECTIONS.get(self._kind(condition.Operators(0))) if condition.OperatorsLength() == 1 else None
        if direction is None:
            return None
        counter, end = _numbers(condition.Operators(0).InputsAsNumpy())
        variables, given = _numbers(condition.InputsAsNumpy()), _numbers(operator.InputsAsNumpy())
        if counter not in variables:
            return None
        place = variables.index(counter)
        first, last = self._integer(graph, given[place]), self._integer(condition, end)
        counter, result = _numbers(body.InputsAsNumpy())[place], _numbers(body.OutputsAsNumpy())[place]
        steps = [
            self._integer(body, number)
            for step in (body.Operators(number) for number in range(body.OperatorsLength()))
            if self._kind(step) == "ADD" and result in _numbers(step.OutputsAsNumpy())
            for number in _numbers(step.InputsAsNumpy())
            if number != counter
        ]
        if first is None or last is None or steps != [direction]:
            return None
        return max(last - first if direction > 0 else first - last + 1, 0)

    def macs(self, graph: Any, operator: Any) -> int | None:
        """Return the multiply-accumulates of one run of an operator."""
        kind, inputs = self._kind(operator), _numbers(operator.InputsAsNumpy())
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weight, result = self._shape(graph, inputs[1]), self._shape(graph, operator.Outputs(0))
            per_result = weight[1:3] if kind == "DEPTHWISE_CONV_2D" else weight[1:]
            return math.prod(result) * math.prod(per_result)
        if kind == "TRANSPOSE_CONV":
            return math.prod(self._shape(graph, inputs[2])) * math.prod(self._shape(graph, inputs[1])[:3])
        if kind == "BATCH_MATMUL":
            x, result = self._shape(graph, inputs[0]), self._shape(graph, operator.Outputs(0))
            return math.prod(result) * x[-2 if _options(operator, schema.BatchMatMulOptions).AdjX() else -1]
        if kind in _SEQUENCES | _STEPS:
            shapes = [
                self._shape(graph, number) for number in inputs[1:] if number >= 0 and self._stored(graph, number)
            ]
            weights = sum(math.prod(shape) for shape in shapes if len(shape) == 2)
            x = self._shape(graph, inputs[0])
            return math.prod(x[: 2 if kind in _SEQUENCES else 1]) * weights
        return None if kind in ("CONV_3D", "CONV_3D_TRANSPOSE") else 0

    def _graph(self, index: int) -> Any:
        if not 0 <= index < self.model.SubgraphsLength():
            raise ValueError("there is no such subgraph")
        return self.model.Subgraphs(index)

    def _kind(self, operator: Any) -> str:
        return self.types[int(operator.OpcodeIndex())]

    def _shape(self, graph: Any, number: int) -> tuple[int, ...]:
        if not 0 <= number < graph.TensorsLength():
            raise ValueError("there is no such tensor")
        return tuple(_numbers(graph.Tensors(number).ShapeAsNumpy()))

    def _stored(self, graph: Any, number: int) -> int:
        return int(self.model.Buffers(graph.Tensors(number).Buffer()).DataLength())

    def _integer(self, graph: Any, number: int) -> int | None:
        """Return a constant whole number, None where the tensor is none."""
        if not 0 <= number < graph.TensorsLength():
            raise ValueError("there is no such tensor")
        tensor = graph.Tensors(number)
        if tensor.Type() != schema.TensorType.INT32 or self._stored(graph, number) != 4:
            return None
        content: Any = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
        return int(np.frombuffer(content.tobytes(), "<i4")[0])


def _numbers(found: Any) -> list[int]:
    return [] if isinstance(found, int) else [int(number) for number in found]  # 0 stands for an empty vector


def _options(operator: Any, kind: Any) -> Any:
    table = operator.BuiltinOptions()
    if table is None:
        raise ValueError("options are missing")
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return options
