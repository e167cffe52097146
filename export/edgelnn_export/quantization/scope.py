"""Which operators of a network a static recipe may turn into integers: those before its recurrence.

An error in a recurrence feeds back on itself step after step, and the many small operators of an unrolled one would
each need ranges of their own: naive int8 makes such a network larger, slower and wrong. So the part that runs once per
image (stem, scan, the hoisted product of all steps' inputs) is quantized, the recurrence and what follows it is not. A
network without recurrence is quantized up to its scores.

A recurrence is known by its weights: in a file that holds every constant once, a product whose weights another product
uses too is one step of several. Fused operators (LSTM) and loops are recurrences by kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["REST", "Operator", "Place", "Plan", "Scheme", "before_recurrence", "integer_operators"]

Place = Literal["inside", "edge", "behind", "outside"]
Scheme = Literal["static", "static16", "dynamic", "weight_only", "float16"]

# How each layer is quantized, by the name of its operator's first output; what is not in it stays float32.
Plan = Mapping[str, Scheme]
REST: Final = "recurrence and what follows"  # stands in a plan for every layer that is not before a recurrence


@dataclass(frozen=True)
class Operator:
    """An operator of a model file, as far as scopes need to know it.

    Attributes:
        inputs: Names of the values it reads.
        outputs: Names of the values it gives.
        weights: Names of the constants that it multiplies by, where it is a product.
        kind: ``product`` (matrix product or convolution), ``recurrent`` (fused recurrence or loop), ``follower`` (what
            costs nothing in integers right behind a product: rectifiers, pooling) or ``other``.
        size: Of its weights, where that matters.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    kind: Literal["product", "recurrent", "follower", "other"]
    size: int = 0


def before_recurrence(operators: Sequence[Operator]) -> tuple[Place, ...]:
    """Return for each operator where it stands to the part of a network that runs before any recurrence.

    Args:
        operators: In the order of their computation.

    Returns:
        ``inside``: a product whose result another product of that part needs, and all that leads to products;
        ``edge``: a product whose result leaves the part; ``behind``: a rectifier or pool right behind such a product;
        ``outside``: the recurrence and everything else.

    >>> first = Operator(("image",), ("a",), ("w1",), "product")
    >>> second = Operator(("a",), ("b",), ("w2",), "product")
    >>> steps = [Operator((x,), (y,), ("w3",), "product") for x, y in (("b", "c"), ("c", "d"))]
    >>> before_recurrence([first, second, *steps])
    ('inside', 'edge', 'outside', 'outside')
    """
    uses = Counter(name for operator in operators if operator.kind == "product" for name in operator.weights)
    after: set[str] = set()  # values that a recurrence had a part in
    products: set[int] = set()
    for index, operator in enumerate(operators):
        repeated = operator.kind == "recurrent" or any(uses[name] > 1 for name in operator.weights)
        if repeated or after.intersection(operator.inputs):
            after.update(operator.outputs)
        elif operator.kind == "product":
            products.add(index)
    needed = {name for index in products for name in operators[index].inputs}
    for operator in reversed(operators):
        if needed.intersection(operator.outputs):
            needed.update(operator.inputs)
    places: list[Place] = []
    results: set[str] = set()  # of products at the edge, and of what stands right behind them
    for index, operator in enumerate(operators):
        if needed.intersection(operator.outputs):
            places.append("inside")
        elif index in products or (operator.kind == "follower" and results.intersection(operator.inputs)):
            places.append("edge" if index in products else "behind")
            results.update(operator.outputs)
        else:
            places.append("outside")
    return tuple(places)


def integer_operators(operators: Sequence[Operator], places: Sequence[Place], static: set[str]) -> list[int]:
    """Return which operators are computed in integers where some products are: those, and what moves their results.

    Args:
        operators: In the order of their computation.
        places: Of each, from `before_recurrence`.
        static: First outputs of the products that are static.
    """
    before = [index for index, place in enumerate(places) if place != "outside"]
    every = all(operators[i].outputs[0] in static for i in before if operators[i].kind == "product")
    integers: set[str] = set()
    found = []
    for index in before:
        operator = operators[index]
        if operator.kind == "product":
            chosen = operator.outputs[0] in static
        else:
            chosen = every or bool(integers.intersection(operator.inputs))
        if chosen:
            found.append(index)
            integers.update(operator.outputs)
    return found
