"""The layers of a model file as people think of them: one that is unrolled over time is still one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgelnn_export.inspection import Inspection, OperatorRecord

__all__ = ["Layer", "group_layers"]


@dataclass(frozen=True)
class Layer:
    """Operators of one type and precision that share their weights.

    Attributes:
        name: Of the first of them.
        type: Of operator.
        precision: In words.
        graph: "" for the main graph, otherwise the body it stands in.
        times: How often it runs for one image: every place where it stands, times every round of its loop; None where
            the file does not say.
        macs: Multiply-accumulates for one image; None where the file does not say.
    """

    name: str
    type: str
    precision: str
    graph: str
    times: int | None
    macs: int | None


def group_layers(found: Inspection) -> list[Layer]:
    """Return the layers of a file in its order: whatever has weights or multiplies."""
    groups: dict[tuple[object, ...], list[OperatorRecord]] = {}
    for operator in found.operators:
        if operator.weights or operator.macs != 0:
            weight = operator.inputs[1] if operator.weights and len(operator.inputs) > 1 else operator.name
            key = (operator.graph, operator.type, operator.precision, weight)
            groups.setdefault(key, []).append(operator)
    return [
        Layer(
            name=records[0].name,
            type=records[0].type,
            precision=records[0].precision,
            graph=records[0].graph,
            times=_sum([record.runs for record in records]),
            macs=_sum([record.macs for record in records]),
        )
        for records in groups.values()
    ]


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
