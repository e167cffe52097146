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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Operator", "Place", "before_recurrence"]

Place = Literal["inside", "edge", "behind", "outside"]


@dataclass(frozen=True)
class Operator:
    """An operator of a model file, as far as scopes need to know it.

    Attributes:
        inputs: Names of the values it reads.
        outputs: Names of the values it gives.
        weights: Names of the constants that it multiplies by, where it is a product.
        kind: ``product`` (matrix product or convolution), ``recurrent`` (fused recurrence or loop), ``follower`` (what
            costs nothing in integers right behind a product: rectifiers, pooling) or ``other``.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weights: tuple[str, ...]
    kind: Literal["product", "recurrent", "follower", "other"]


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
