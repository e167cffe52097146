"""Measured figures beside published ones, and a sentence on each: computed, with the interval that it stands on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgelnn.training.reference import Published, Reference

__all__ = ["FIGURES", "Comparison", "Measured", "compare_with_published", "published_for"]

FIGURES = {"auc": "AUC", "accuracy": "accuracy", "f1": "F1"}


@dataclass(frozen=True)
class Measured:
    """One figure over several trainings.

    Attributes:
        values: Of each.
        mean: Of them.
        sd: Their standard deviation; None for one training.
        low, high: 95 % interval of the mean.
    """

    values: tuple[float, ...]
    mean: float
    sd: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A measured figure beside its published one.

    Attributes:
        figure: ``auc``, ``accuracy`` or ``f1``.
        published: What was published.
        difference: Measured mean minus published.
        within: Whether the published figure lies in the interval of the measured one.
        sentence: What that comes to.
    """

    figure: str
    published: float
    difference: float
    within: bool
    sentence: str


def published_for(reference: Reference | None, data: str) -> Published | None:
    """Return what was published of a model on a dataset, None where nothing was."""
    entries = [] if reference is None else reference.published
    return next((entry for entry in entries if entry.data == data), None)


def compare_with_published(
    measured: Mapping[str, Measured], published: Published, *, images: int
) -> tuple[Comparison, ...]:
    """Return a comparison for every figure that was both measured and published on the same data.

    Args:
        measured: By figure.
        published: On the same data.
        images: In the test split: what one more or fewer is worth in accuracy.

    >>> auc = Measured((0.86, 0.90), 0.88, 0.028, 0.83, 0.93)
    >>> compare_with_published({"auc": auc}, Published(data="breastmnist", auc=0.8897), images=156)[0].sentence
    'AUC: published 0.8897 lies within our interval, 0.8300 to 0.9300; our trainings reach from 0.8600 to 0.9000.'
    """
    found = []
    for name, title in FIGURES.items():
        theirs, ours = getattr(published, name), measured.get(name)
        if theirs is None or ours is None:
            continue
        within = ours.low <= theirs <= ours.high
        words = f"{title}: published {_told(theirs, getattr(published, f'{name}_sd'), published.runs)} "
        between = f"{ours.low:.4f} to {ours.high:.4f}"
        if within:
            words += f"lies within our interval, {between}{_reach(ours.values)}."
        else:
            words += f"lies outside our interval, {between}: {_how_far(theirs, ours)}{_reached(theirs, ours.values)}"
            if name == "accuracy":
                count = abs(ours.mean - theirs) * images
                words += f" In accuracy that is {count:.0f} of {images} images from our mean."
        found.append(Comparison(name, theirs, ours.mean - theirs, within, words))
    return tuple(found)


def _told(value: float, sd: float | None, runs: int) -> str:
    """Return a published figure with what is known of its spread."""
    spread = "" if sd is None else f" ± {sd:.4f}"
    return f"{value:.4f}{spread}{f' (mean of {runs})' if runs > 1 else ''}"


def _how_far(theirs: float, ours: Measured) -> str:
    """Return how far a published figure lies from our interval and our mean."""
    beyond = theirs - ours.high if theirs > ours.high else ours.low - theirs
    side = "above" if theirs > ours.high else "below"
    spread = ""
    if ours.sd and len(ours.values) > 2:
        spread = f", {abs(theirs - ours.mean) / ours.sd:.1f} standard deviations from our mean"
    return f"{beyond:.4f} {side} it{spread}"


def _reach(values: Sequence[float]) -> str:
    """Return how far apart our trainings lie: the interval is wider, since it holds the choice of test images too."""
    return f"; our trainings reach from {min(values):.4f} to {max(values):.4f}" if len(values) > 1 else ""


def _reached(theirs: float, values: Sequence[float]) -> str:
    """Return how many of our trainings lie beyond the published figure, seen from our mean."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return "."
    reach = sum(value >= theirs if theirs > mean else value <= theirs for value in values)
    return f"; {reach or 'none'} of our {len(values)} trainings got as {'high' if theirs > mean else 'low'}."
