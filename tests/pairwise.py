"""Pairwise choice: few cases in which every two values of different factors that go together occur together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, product
from typing import Any

Case = dict[str, Any]
Place = tuple[str, int]  # a value of a factor, by its number


def pairwise_cases(factors: Mapping[str, Sequence[Any]], fits: Callable[[Case], bool]) -> list[Case]:
    """Return cases until every pair of values that go together is in one of them.

    Greedy: a case begins with the first pair that is in none yet, and of each further factor takes the value that adds
    most pairs, the first such where there are several, so that the choice is the same every time.

    Args:
        factors: Values by factor.
        fits: Whether the values of some factors go together. What fits by twos has to fit as a whole case.
    """

    places = {name: [(name, number) for number in range(len(values))] for name, values in factors.items()}
    together = {
        frozenset(pair)
        for names in combinations(factors, 2)
        for pair in product(*(places[name] for name in names))
        if fits({name: factors[name][number] for name, number in pair})
    }
    wanted = set(together)
    chosen = []
    for first in (pair for names in combinations(factors, 2) for pair in product(*(places[name] for name in names))):
        if frozenset(first) not in wanted:
            continue
        case = list(first)
        for name in (name for name in factors if name not in dict(case)):
            ways = [way for way in places[name] if all(frozenset({way, other}) in together for other in case)]
            case.append(max(ways, key=lambda way: sum(frozenset({way, other}) in wanted for other in case)))
        wanted -= {frozenset(pair) for pair in combinations(case, 2)}
        numbers = dict(case)
        chosen.append({name: factors[name][numbers[name]] for name in factors})
    return chosen
