"""Sample images with what the classifier says of them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.decisions import decide
from edgelnn.training.figures import GREEN, RED, Results, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["choose_samples", "draw_augmented", "draw_samples"]

COLUMNS, ROWS = 8, 3
AUGMENTED = 4  # training images that are shown varied
NO_BREAK = "\N{NO-BREAK SPACE}"
WIDTH, TOP, BOTTOM, PITCH = 12.0, 0.55, 0.62, 1.9  # inches
NAME_LENGTH = 16


def draw_samples(results: Results) -> Figure:
    """Return test images, drawn at random from every class in turn, each with its truth and the decision."""
    test, metrics = results.dataset["test"], results.metrics
    chosen = choose_samples(test.labels, len(metrics.classes), COLUMNS * ROWS)
    positive = None if metrics.positive_class is None else metrics.class_names.index(metrics.positive_class)
    threshold = 0.5 if metrics.threshold is None else metrics.threshold
    decided = decide(results.probabilities, task=metrics.task, positive_class=positive, threshold=threshold)
    rows = -(-len(chosen) // COLUMNS)
    each = "" if metrics.confusion is None else " from each class in turn"
    where = ", middle slices" if results.dataset.is_volume else ""
    title = (
        f"{results.name}: {len(chosen)} of {metrics.images} test images{where}, drawn at random{each}.\n"
        "Under each its true class, then the decision and its probability."
    )
    height = TOP + BOTTOM + PITCH * rows
    figure = new_figure(results, title, WIDTH, height)
    figure.set_layout_engine("none")  # which would give every column the width of its longest words
    edges = {"left": 0.012, "right": 0.988, "bottom": BOTTOM / height, "top": 1 - TOP / height}
    grid = figure.add_gridspec(rows, COLUMNS, wspace=0.06, hspace=0.36, **edges).subplots(squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, index in zip(grid.flat, chosen, strict=False):
        picture = _flat(test.images[index])
        axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=255, interpolation="nearest")
        truth, said, right = _words(results, test.labels[index], decided[index], results.probabilities[index])
        below: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "top", "fontsize": 8}
        said = f"{'✓' if right else '✗'} {said}"
        color = GREEN if right else RED
        axes.text(0.5, -0.03, truth, **below)
        axes.text(0.5, -0.15, said, color=color, **below)
    return figure


def draw_augmented(results: Results) -> Figure:
    """Return training images as they are, and as an epoch may show them to the classifier."""
    train, augmentation = results.dataset["train"], results.augmentation
    if augmentation is None:
        raise ValueError("got results without augmentation, of which there is no picture")
    chosen = choose_samples(train.labels, len(results.metrics.classes), AUGMENTED)
    where = ", middle slices" if results.dataset.is_volume else ""
    said = _in_words(augmentation.to_dict())
    what = f"{results.name}: {len(chosen)} training images{where}"
    title = "\n".join([f"{what}, as they are on the left, then as training may see them.", *said])
    top = TOP + 0.2 * (len(said) - 1)
    height = top + 0.25 + WIDTH / COLUMNS * len(chosen)
    figure = new_figure(results, title, WIDTH, height)
    figure.set_layout_engine("none")
    edges = {"left": 0.012, "right": 0.988, "bottom": 0.2 / height, "top": 1 - top / height}
    grid = figure.add_gridspec(len(chosen), COLUMNS, wspace=0.04, hspace=0.04, **edges).subplots(squeeze=False)
    for row, index in zip(grid, chosen, strict=True):
        images = train.images[[index] * COLUMNS]
        images = np.concatenate([images[:1], augmentation(images[1:], seed=index)])
        for axes, image in zip(row, images, strict=True):
            picture = _flat(image)
            axes.imshow(picture, cmap="gray" if picture.ndim == 2 else None, vmin=0, vmax=255, interpolation="nearest")
            axes.set_axis_off()
    return figure


def _in_words(values: dict[str, Any]) -> list[str]:
    """Return the parameters that change anything, in lines that fit under a title."""
    off = {name for name in ("blur_probability", "noise_probability") if not values[name.partition("_")[0]]}
    said = [f"{name.replace('_', ' ')} {value}" for name, value in values.items() if value and name not in off]
    said = [phrase.replace(" ", NO_BREAK) for phrase in said]
    return textwrap.wrap(", ".join(said), 120)


def choose_samples(labels: NDArray[np.int64], classes: int, count: int) -> list[int]:
    """Return indices of at most so many images, from every class in turn, always the same ones.

    Args:
        labels: (n,) class indices, or (n, classes) of 0 and 1, where the images are drawn without regard to labels.
        classes: How many there are.
        count: How many to choose.

    >>> choose_samples(np.array([0, 0, 0, 0, 1]), 2, 3)
    [2, 4, 0]
    """
    rng = np.random.default_rng(0)
    if labels.ndim == 2:
        return [int(index) for index in rng.permutation(len(labels))[:count]]
    queues = [list(rng.permutation(np.flatnonzero(labels == one))) for one in range(classes)]
    chosen: list[int] = []
    while len(chosen) < min(count, len(labels)):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(int(queue.pop(0)))
    return chosen


def _flat(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what can be shown of an image ([d,] h, w, c): (h, w) or (h, w, 3); of a volume its middle slice."""
    flat = image[len(image) // 2] if image.ndim == 4 else image
    return flat[..., 0] if flat.shape[-1] == 1 else flat


def _words(
    results: Results, label: NDArray[np.int64], decided: NDArray[np.bool_], probabilities: NDArray[np.floating[Any]]
) -> tuple[str, str, bool]:
    """Return the true class, what was decided with its probability, and whether that is right."""
    names = results.metrics.class_names
    if results.metrics.confusion is None:
        wrong = int((decided != (label != 0)).sum())
        true = [name for name, one in zip(names, label, strict=True) if one]
        shown = _short(", ".join(true)) if true else "none"
        return shown, f"{len(names) - wrong} of {len(names)} labels right", wrong == 0
    said = int(decided.argmax())
    return _short(names[int(label)]), f"{_short(names[said])} {probabilities[said]:.2f}", said == int(label)


def _short(name: str) -> str:
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"
