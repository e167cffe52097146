"""Curves, ROC and confusion matrix of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.training.bootstrap import resample_weights
from edgelnn.training.figures import BLUE, GREEN, GREY, INK, ORANGE, PALETTE, Results, new_figure
from edgelnn.training.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_confusion", "draw_curves", "draw_labels", "draw_roc", "roc_curve"]

GRID = np.linspace(0.0, 1.0, 201)
RESAMPLES = 500


def draw_curves(results: Results) -> Figure:
    """Return loss and accuracy over the epochs, with the epoch that was kept."""
    figure = new_figure(results, f"{results.name}: training, epoch by epoch", 9.0, 3.8)
    losses, shares = figure.subplots(1, 2)
    epochs = [record.epoch for record in results.history]
    kept = results.history[results.best_epoch - 1]

    def line(axes: Axes, name: str, label: str, color: str, style: str = "-") -> None:
        axes.plot(epochs, [getattr(record, name) for record in results.history], style, color=color, label=label)
        if name.startswith("val"):
            axes.plot(kept.epoch, getattr(kept, name), "o", color=color, markersize=6, markeredgecolor="white")

    line(losses, "train_loss", "training", GREY)
    line(losses, "val_loss", "validation", BLUE)
    losses.set(title="loss", xlabel="epoch", ylim=(0, None))
    line(shares, "train_accuracy", "accuracy, training", GREY)
    line(shares, "val_accuracy", "accuracy, validation", BLUE)
    line(shares, "val_auc", "AUC, validation", GREEN)
    lowest = min(min(record.train_accuracy, record.val_accuracy, record.val_auc) for record in results.history)
    shares.set(title="accuracy and AUC", xlabel="epoch", ylim=(max(0.0, min(lowest - 0.05, 0.9)), 1.02))
    for axes in (losses, shares):
        axes.axvline(kept.epoch, color=ORANGE, linewidth=1.2, linestyle=(0, (4, 3)), label=f"kept: epoch {kept.epoch}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.margins(x=0.02)
        axes.legend(fontsize=8.5)
    return figure


def draw_roc(results: Results) -> Figure:
    """Return the ROC curve of the positive class, or of every class where there is none, with a 95 % band."""
    metrics, labels = results.metrics, results.dataset["test"].labels
    which = "each class against the others" if metrics.positive_class is None else f'"{metrics.positive_class}"'
    figure = new_figure(results, f"{results.name}: ROC of {which}", 5.2, 5.5)
    axes = figure.subplots()
    truth = np.asarray(labels != 0 if labels.ndim == 2 else labels[:, None] == np.arange(len(metrics.classes)))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    if metrics.positive_class is not None:
        index = metrics.class_names.index(metrics.positive_class)
        one = metrics.classes[index]
        _band(axes, results.probabilities[:, index], truth[:, index], BLUE)
        _roc(
            axes,
            results.probabilities[:, index],
            truth[:, index],
            BLUE,
            f"AUC {_with_interval(one.auc, one.intervals.get('auc'))}",
        )
        rule = f"probability above {metrics.threshold:g}" if metrics.threshold is not None else "largest probability"
        axes.plot(
            1 - one.specificity,
            one.sensitivity,
            "o",
            color=ORANGE,
            markersize=8,
            markeredgecolor="white",
            label=f"decision by {rule}:\nsensitivity {one.sensitivity:.3f}, specificity {one.specificity:.3f}",
            zorder=5,
        )
        axes.set_title(f"test split, {one.images} of {metrics.images} images")
    else:
        for index, one in enumerate(metrics.classes):
            color = PALETTE[index % len(PALETTE)]
            if len(metrics.classes) <= 4:
                _band(axes, results.probabilities[:, index], truth[:, index], color)
            _roc(
                axes,
                results.probabilities[:, index],
                truth[:, index],
                color,
                f"{one.name}: {one.auc:.3f}",
                dashed=index >= len(PALETTE),
            )
        auc = _with_interval(metrics.auc, metrics.intervals.get("auc"))
        axes.set_title(f"test split, {metrics.images} images; mean AUC {auc}")
    axes.set(
        xlabel="1 − specificity (false alarms)",
        ylabel="sensitivity (found)",
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        aspect="equal",
    )
    axes.legend(loc="lower right", fontsize=8.5 if len(metrics.classes) <= 6 else 7)
    return figure


def draw_confusion(results: Results) -> Figure:
    """Return the confusion matrix: counts, and shares of each true class."""
    metrics = results.metrics
    counts = np.array(metrics.confusion)
    shares = counts / counts.sum(axis=1, keepdims=True)
    size = max(4.4, 1.6 + 0.75 * len(counts))
    figure = new_figure(results, f"{results.name}: confusion matrix", size + 0.6, size + 0.2)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.6 else INK
        small = len(counts) > 5
        axes.text(
            column,
            row - (0 if small else 0.06),
            f"{count}",
            ha="center",
            va="center",
            color=color,
            fontsize=9 if small else 15,
            fontweight="bold",
        )
        if not small:
            axes.text(
                column, row + 0.2, f"{shares[row, column]:.0%}", ha="center", va="center", color=color, fontsize=9
            )
    names = [_short(name) for name in metrics.class_names]
    axes.set_xticks(range(len(names)), names)
    if len(names) > 3:
        for label in axes.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="decided", ylabel="true")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    accuracy = _with_interval(metrics.accuracy, metrics.intervals.get("accuracy"))
    lines = [f"test split, {metrics.images} images", f"accuracy {accuracy}"]
    if metrics.positive_class is not None:
        lines.append(f"sensitivity {metrics.sensitivity:.3f}, specificity {metrics.specificity:.3f}")
        lines.append(f'for "{metrics.positive_class}"')
    axes.set_title("\n".join(lines))
    return figure


def draw_labels(results: Results) -> Figure:
    """Return AUC, sensitivity and specificity of every label, with 95 % intervals."""
    classes = results.metrics.classes
    figure = new_figure(results, f"{results.name}: each label", 8.0, 1.8 + 0.34 * len(classes))
    axes = figure.subplots()
    rows = np.arange(len(classes))
    for offset, (name, color) in zip(
        (-0.22, 0, 0.22), (("auc", BLUE), ("sensitivity", ORANGE), ("specificity", GREEN)), strict=True
    ):
        values = np.array([getattr(one, name) for one in classes])
        spans = np.array([one.intervals.get(name, (value, value)) for one, value in zip(classes, values, strict=True)])
        errors = np.maximum(np.stack([values - spans[:, 0], spans[:, 1] - values]), 0)
        axes.errorbar(
            values,
            rows + offset,
            xerr=errors,
            fmt="o",
            color=color,
            markersize=4,
            label="AUC" if name == "auc" else name,
            linewidth=1.4,
        )
    axes.set_yticks(rows, [f"{_short(one.name)} ({one.images})" for one in classes])
    axes.invert_yaxis()
    axes.set(xlim=(-0.01, 1.01), title=f"test split, {results.metrics.images} images; 95 % intervals")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=8.5)
    return figure


def roc_curve(
    scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Return false positive and true positive rates, from (0, 0) to (1, 1), with one corner a distinct score.

    >>> roc_curve(np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True]))[1].tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    rates = _rates(scores, positive, np.ones((len(scores), 1), np.float32))
    return rates[0][:, 0], rates[1][:, 0]


def _rates(
    scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_], weights: NDArray[np.float32]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Return both rates for every column of weights: (corners, columns)."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    rates = []
    for mask in (~positive, positive):
        summed = np.cumsum(weights[order].astype(np.float64) * mask[order][:, None], axis=0)[ends]
        rates.append(np.concatenate([np.zeros((1, weights.shape[1])), summed / np.maximum(summed[-1], 1e-300)]))
    return rates[0], rates[1]


def _roc(
    axes: Axes,
    scores: NDArray[np.floating[Any]],
    positive: NDArray[np.bool_],
    color: str,
    label: str,
    *,
    dashed: bool = False,
) -> None:
    false_rate, true_rate = roc_curve(scores, positive)
    axes.plot(false_rate, true_rate, "--" if dashed else "-", color=color, label=label)


def _band(axes: Axes, scores: NDArray[np.floating[Any]], positive: NDArray[np.bool_], color: str) -> None:
    """Shade between the 2.5 and 97.5 % quantiles of the sensitivity over bootstrap resamples, at each specificity."""
    curves = []
    for weights in resample_weights(positive.astype(np.int64), resamples=RESAMPLES, seed=0):
        false_rates, true_rates = _rates(scores, positive, weights)
        curves += [np.interp(GRID, false_rates[:, one], true_rates[:, one]) for one in range(weights.shape[1])]
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    axes.fill_between(
        GRID, low, high, color=color, alpha=0.15, linewidth=0, label="95 % band (bootstrap)" if color == BLUE else None
    )


def _with_interval(value: float, interval: Interval | None) -> str:
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f}–{interval[1]:.3f})"


def _short(name: str, length: int = 22) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
