"""The figures of a run, as PNG files. matplotlib is imported when one is drawn, and its global state left alone."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.atomic import write_bytes_atomically
from edgelnn.data.dataset import Dataset
from edgelnn.training.history import EpochRecord
from edgelnn.training.metrics import Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from edgelnn.data.augmentation import Augmentation
    from edgelnn.models import Classifier

__all__ = ["BLUE", "GREEN", "GREY", "INK", "ORANGE", "PALETTE", "Results", "draw_figures", "new_figure", "styled"]

# Okabe & Ito's colors, which people with any color vision can tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#A6192E",
    "#E69F00",
)
INK, GREY, PALE = "#222222", "#8A8A8A", "#E6E6E6"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, RED, GREY)

STYLE: Mapping[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Results:
    """What the figures show.

    Attributes:
        name: The experiment's.
        dataset: Whose test split was judged.
        history: One record an epoch; none where weights were imported.
        best_epoch: The epoch whose weights were kept.
        probabilities: (n, classes) float64 on the test split.
        metrics: On the test split.
        classifier: With the weights that were kept.
        augmentation: Of the training images; None without one.
    """

    name: str
    dataset: Dataset
    history: Sequence[EpochRecord]
    best_epoch: int
    probabilities: NDArray[np.floating[Any]]
    metrics: Metrics
    classifier: Classifier
    augmentation: Augmentation | None = None


def draw_figures(results: Results, folder: Path) -> tuple[Path, ...]:
    """Draw every figure that fits the results, and return their paths.

    Args:
        results: What to show.
        folder: Where to write the PNG files.

    Raises:
        WriteError: They cannot be written.
    """
    from edgelnn.models.wiring_diagram import wired_layers
    from edgelnn.training.charts import draw_confusion, draw_curves, draw_labels, draw_roc
    from edgelnn.training.pictures import draw_augmented, draw_samples

    drawers: dict[str, Callable[[Results], Figure]] = {"curves": draw_curves} if results.history else {}
    drawers["roc"] = draw_roc
    if results.metrics.confusion is not None:
        drawers["confusion"] = draw_confusion
    else:
        drawers["labels"] = draw_labels
    drawers["samples"] = draw_samples
    if results.augmentation is not None:
        drawers["augmented"] = draw_augmented
    if wired_layers(results.classifier):
        drawers["wiring"] = draw_wiring
    paths = []
    for name, draw in drawers.items():
        path = folder / f"{name}.png"
        write_bytes_atomically(path, styled(partial(draw, results)), durable=False)
        paths.append(path)
    return tuple(paths)


def styled(draw: Callable[[], Figure]) -> bytes:
    """Return what `draw` draws as PNG, in our style, without touching matplotlib's settings or any window."""
    import matplotlib

    settings: Any = dict(STYLE)
    with matplotlib.rc_context(settings):
        picture = io.BytesIO()
        draw().savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()


def new_figure(results: Results, title: str, width: float, height: float) -> Figure:
    """Return a figure with its title alone; one that shows synthetic images says so.

    Args:
        results: What it will show.
        title: In a line or two.
        width: In inches.
        height: In inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.012, ha="left")
    return _labelled(figure, results)


def draw_wiring(results: Results) -> Figure:
    """Return the wirings of a classifier's liquid layers, every synapse with its sign and strength."""
    from edgelnn.models.wiring_diagram import draw_wirings

    names = results.metrics.class_names
    scores = names if results.classifier.outputs == len(names) else names[-1:]
    return _labelled(draw_wirings(results.classifier, title=f"{results.name}: wiring", output_names=scores), results)


def _labelled(figure: Figure, results: Results) -> Figure:
    """Say of a figure made from synthetic images that they are."""
    if results.dataset.synthetic:
        figure.supxlabel(
            "Synthetic images made by edgelnn: nothing here is about patients.",
            fontsize=8,
            color=ORANGE,
            style="italic",
        )
    return figure
