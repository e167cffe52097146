"""Where the names of points in a chart go, so that they lie neither on each other nor on points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Label", "place_labels", "shorten", "text_width"]

Anchor = Literal["start", "middle", "end"]
HEIGHT = 12.0
GAP = 8.0
LETTER = 0.56  # mean width of a letter, as part of its height
_DISTANCES = (1.0, 1.9, 3.0, 4.2)
_DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1))


@dataclass(frozen=True)
class Label:
    """A name and its place: of its base line's start, middle or end. `far` ones want a line to their point."""

    text: str
    x: float
    y: float
    anchor: Anchor
    far: bool


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def place_labels(
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    bounds: tuple[float, float, float, float],
    *,
    first: Sequence[int] = (),
) -> list[Label | None]:
    """Return a place for every name, None where there is no room for it.

    Args:
        points: Where they lie, x to the right and y down.
        names: A name each.
        bounds: Left, top, right and bottom of the room for names.
        first: Numbers of the points whose names matter most.
    """
    left, top, right, bottom = bounds
    taken = [_Box(x - 6, y - 6, x + 6, y + 6) for x, y in points]
    placed: list[Label | None] = [None] * len(points)
    for index in dict.fromkeys([*first, *range(len(points))]):
        x, y = points[index]
        for label, box in _candidates(x, y, names[index]):
            inside = left <= box.left and box.right <= right and top <= box.top and box.bottom <= bottom
            if inside and not any(box.meets(other) for other in taken):
                placed[index] = label
                taken.append(box)
                break
    return placed


def _candidates(x: float, y: float, name: str) -> list[tuple[Label, _Box]]:
    width = text_width(name, HEIGHT)
    found = []
    for distance in _DISTANCES:
        for across, down in _DIRECTIONS:
            anchor: Anchor = "start" if across > 0 else "end" if across < 0 else "middle"
            shrink = math.sqrt(0.5) if across and down else 1.0
            at = x + across * GAP * distance * shrink
            middle = y + down * (GAP * distance * shrink + (HEIGHT / 2 if down else 0))
            start = at - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            box = _Box(start - 1, middle - HEIGHT / 2, start + width + 1, middle + HEIGHT / 2)
            found.append((Label(name, at, middle + HEIGHT * 0.36, anchor, distance > 1.0), box))
    return found


def text_width(text: str, height: float) -> float:
    """Return about how wide a text is.

    >>> round(text_width("float32", 11.0))
    43
    """
    return len(text) * height * LETTER


def shorten(text: str, letters: int = 26) -> str:
    """Return a text on one line, cut in the middle where it is too long.

    >>> shorten("weight_only_wi8_afp32", 12)
    'weight…afp32'
    """
    text = " ".join(text.split())
    if len(text) <= letters:
        return text
    tail = (letters - 1) // 2
    return f"{text[: letters - 1 - tail]}…{text[-tail:]}"
