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

__all__ = ["Operator", "before_recurrence"]


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


def before_recurrence(operators: Sequence[Operator]) -> tuple[bool, ...]:
    """Return for each operator whether it belongs to the part of a network that runs before any recurrence.

    Args:
        operators: In the order of their computation.

    Returns:
        True for the products there, for all that leads to them, and for rectifiers and pools right behind them.

    >>> first = Operator(("image",), ("a",), ("w1",), "product")
    >>> steps = [Operator((x,), (y,), ("w2",), "product") for x, y in (("a", "b"), ("b", "c"))]
    >>> before_recurrence([first, *steps])
    (True, False, False)
    """
    uses = Counter(name for operator in operators if operator.kind == "product" for name in operator.weights)
    after: set[str] = set()  # values that a recurrence had a part in
    products: set[int] = set()
    for index, operator in enumerate(operators):
        steps = operator.kind == "recurrent" or any(uses[name] > 1 for name in operator.weights)
        if steps or after.intersection(operator.inputs):
            after.update(operator.outputs)
        elif operator.kind == "product":
            products.add(index)
    chosen = set(products)
    needed = {name for index in products for name in operators[index].inputs}
    for index in reversed(range(len(operators))):
        if needed.intersection(operators[index].outputs):
            chosen.add(index)
            needed.update(operators[index].inputs)
    given: set[str] = set()
    for index, operator in enumerate(operators):
        if operator.kind == "follower" and given.intersection(operator.inputs):
            chosen.add(index)
        if index in chosen and operator.kind in ("product", "follower"):
            given.update(operator.outputs)
    return tuple(index in chosen for index in range(len(operators)))
