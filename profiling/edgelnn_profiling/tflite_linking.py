"""From the operators that LiteRT runs back to those of the file, and with them to the parts of the classifier.

XNNPACK, which LiteRT hands most operators to, names its own after what they do, and joins, adds and drops some; but it
keeps the file's order. So the k-th of a kind that it runs is the k-th of that kind in the file, where both have equally
many; and what runs between two operators of one part belongs to that part.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgelnn_profiling.file_contents import FileContents
from edgelnn_profiling.operator_times import OperatorTime

__all__ = ["RESOLUTION_S", "link_operators"]

RESOLUTION_S = 1e-6
# XNNPACK's words for a kind -> TFLite's operators of that kind.
_KINDS = {
    "Add": ("ADD",),
    "Average Pooling": ("AVERAGE_POOL_2D",),
    "Constant Pad": ("PAD", "PADV2"),
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "Divide": ("DIV",),
    "Fully Connected": ("FULLY_CONNECTED",),
    "HardSwish": ("HARD_SWISH",),
    "Max Pooling": ("MAX_POOL_2D",),
    "Multiply": ("MUL",),
    "Sigmoid": ("LOGISTIC",),
    "Softmax": ("SOFTMAX",),
    "Subtract": ("SUB",),
    "TanH": ("TANH",),
}
_OUT_OF_ORDER = "LiteRT ran the operators in another order than the file's, so they cannot be told to belong to it"


def link_operators(
    ran: Sequence[tuple[str, int | None]], means_s: Sequence[float], contents: FileContents
) -> tuple[tuple[OperatorTime, ...], str | None]:
    """Return operators with their origins, and what could not be told of them.

    Args:
        ran: Tag of each operator that ran, and its index in the file where it was not handed to XNNPACK.
        means_s: Their times.
        contents: Of the file.
    """
    origins = _origins(ran, contents)
    known = [origin for origin in origins if origin is not None]
    reason = None
    if known != sorted(known):
        origins, reason = [None] * len(ran), _OUT_OF_ORDER
    parts = _parts(origins, contents)
    layers = contents.layer_names()
    operators = []
    for (tag, _), mean, origin, part in zip(ran, means_s, origins, parts, strict=True):
        name = None if origin is None else contents.operators[origin].name
        operators.append(
            OperatorTime(
                name=tag,
                type=tag.partition(" (")[0],
                origin=name,
                layer=None if name is None else layers[name],
                part=part,
                runs=1,
                mean_s=mean,
                most_s=mean + RESOLUTION_S,
            )
        )
    return tuple(operators), reason


def _origins(ran: Sequence[tuple[str, int | None]], contents: FileContents) -> list[int | None]:
    """Return the place in the file of each operator that ran; None where it cannot be told."""
    operators = contents.operators
    origins: list[int | None] = [index if index is not None and index < len(operators) else None for _, index in ran]
    for kind, types in _KINDS.items():
        there = [place for place, operator in enumerate(operators) if operator.type in types and place not in origins]
        here = [place for place, (tag, index) in enumerate(ran) if index is None and tag.partition(" (")[0] == kind]
        if len(there) == len(here):
            for place, origin in zip(here, there, strict=True):
                origins[place] = origin
    return origins


def _parts(origins: Sequence[int | None], contents: FileContents) -> list[str | None]:
    """Return the part of each operator: its origin's, or that of both its nearest neighbours where they agree."""
    parts = [None if origin is None else contents.operators[origin].part for origin in origins]
    before: list[str | None] = []
    last = None
    for part in parts:
        last = part or last
        before.append(last)
    after: list[str | None] = []
    last = None
    for part in reversed(parts):
        last = part or last
        after.append(last)
    return [
        part or (left if left == right else None)
        for part, left, right in zip(parts, before, reversed(after), strict=True)
    ]
