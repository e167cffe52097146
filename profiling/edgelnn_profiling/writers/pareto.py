"""Which of several choices are not beaten in everything by another."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["pareto_front"]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the places of the points that no other beats, by rising cost.

    Args:
        points: Cost, of which less is better, and worth, of which more is better. One point beats another where it is
            no worse in either and better in one.

    >>> pareto_front([(3.0, 0.9), (1.0, 0.8), (2.0, 0.7), (4.0, 0.9)])
    [1, 0]
    """
    best = float("-inf")
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        cost, worth = points[index]
        if worth > best or (front and points[front[-1]] == (cost, worth)):
            front.append(index)
            best = worth
    return front
