"""Where a model file's bytes go and where its work is, side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgelnn.cli.formatting import format_bytes, format_count
from edgelnn.cli.inspect_layers import Layer, group_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgelnn_export.inspection import Inspection

__all__ = ["draw_inspection"]

INK, GREY, PALE = "#222222", "#8a8a8a", "#e6e6e6"
BYTES = "#5b7083"
# By how a layer computes; distinguishable by any color vision (Okabe and Ito).
COLORS = {"float": "#0072b2", "weight_only": "#56b4e9", "dynamic_range": "#e69f00", "static_range": "#d55e00"}
ROWS = 14
LETTERS = 30


def draw_inspection(name: str, found: Inspection) -> bytes:
    """Return a PNG: bytes by cause on the left, multiply-accumulates by layer on the right.

    Args:
        name: What to call the file.
        found: What it holds.
    """
    from matplotlib.figure import Figure

    causes = sorted(((size, cause) for cause, size in found.bytes_by_cause.items() if size), reverse=True)
    layers = _largest([layer for layer in group_layers(found) if layer.macs])
    rows = max(len(causes), len(layers))
    figure = Figure(figsize=(11, 1.6 + 0.32 * rows), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
    figure.suptitle(name, x=0.012, ha="left", fontsize=12, fontweight="bold", color=INK)
    _bars(left, [(cause, size, format_bytes(size), BYTES) for size, cause in causes], rows)
    _title(left, "bytes by cause", f"{format_bytes(found.size_bytes)} in all")
    total = "unknown" if found.macs is None else format_count(found.macs)
    _bars(right, [(_words(layer), layer.macs or 0, format_count(layer.macs), _color(layer)) for layer in layers], rows)
    _title(right, "multiply-accumulates by layer, one image", f"{total} in all")
    if not layers:
        right.text(
            0.5, 0.5, "none that the file tells", ha="center", va="center", color=GREY, transform=right.transAxes
        )
    _legend(figure, layers)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _largest(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers with the most work in their order, and the others as one."""
    if len(layers) <= ROWS:
        return list(layers)
    kept = sorted(layers, key=lambda layer: layer.macs or 0, reverse=True)[: ROWS - 1]
    others = [layer for layer in layers if layer not in kept]
    rest = sum(layer.macs or 0 for layer in others)
    return [
        *(layer for layer in layers if layer in kept),
        Layer(f"{len(others)} more", "", "", "", None, rest),
    ]


def _words(layer: Layer) -> str:
    name = layer.name if len(layer.name) <= LETTERS else f"…{layer.name[1 - LETTERS :]}"
    times = f" ×{layer.times}" if layer.times not in (None, 1) else ""
    return f"{name}{times}"


def _color(layer: Layer) -> str:
    return GREY if not layer.type else COLORS[_scheme(layer)]


def _scheme(layer: Layer) -> str:
    return next((scheme for scheme in COLORS if layer.precision.endswith(scheme)), "float")


def _bars(axes: Axes, rows: Sequence[tuple[str, int, str, str]], room: int) -> None:
    """Draw a bar a row, the first one at the top, each with its number behind it, in `room` for rows."""
    places = range(len(rows))
    bars = axes.barh(places, [size for _, size, _, _ in rows], color=[color for *_, color in rows], height=0.68)
    axes.bar_label(bars, [text for _, _, text, _ in rows], padding=4, fontsize=8.5, color=INK)
    axes.set_yticks(places, [label for label, *_ in rows], fontsize=9, color=INK)
    axes.set_ylim(room - 0.4, -0.6)
    axes.set_xlim(0, 1.22 * max((size for _, size, _, _ in rows), default=1))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(PALE)


def _title(axes: Axes, what: str, total: str) -> None:
    axes.set_title(f"{what}: {total}", loc="left", fontsize=10, color=INK, pad=8)


def _legend(figure: Figure, layers: Sequence[Layer]) -> None:
    from matplotlib.patches import Patch

    precisions = dict.fromkeys((layer.precision, _color(layer)) for layer in layers if layer.type)
    handles = [Patch(color=color, label=precision) for precision, color in precisions]
    if handles:
        figure.legend(handles=handles, loc="outside lower right", ncols=4, fontsize=9, frameon=False, labelcolor=INK)
