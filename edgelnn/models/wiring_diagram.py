"""The wiring of a liquid layer as a picture: who acts on whom, which way, and how strongly.

Every synapse is drawn with its trained weights. In an LTC it pulls its target to a reversal potential: the color is
that potential's sign and the darkness the greatest conductance. A CfC has a weight for the state at once (ff1) and one
for the state after a long time (ff2): color and darkness are those of their sum. matplotlib is imported when a figure
is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgelnn.models.cfc import CfCLayer
from edgelnn.models.ltc import LTCLayer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgelnn.models.classifier import Classifier

__all__ = ["draw_wiring", "draw_wirings", "wired_layers"]

# Okabe & Ito's colors, which people with any color vision can tell apart.
EXCITATORY, INHIBITORY = "#0072B2", "#D55E00"
FILLS = {"sensory": "#DDDDDD", "inter": "#BFE0F2", "command": "#F5E08A", "motor": "#9FD9C4"}
INK, PALE = "#222222", "#8A8A8A"
MOST_CIRCLES = 48  # sensory neurons; more are drawn as one bar
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Column:
    """Neurons that stand above each other.

    Attributes:
        kind: sensory, inter, command or motor; or neurons, where every neuron is joined with every neuron.
        neurons: Their numbers, from the top.
        x: Where the column stands.
        y: Where each neuron stands, by its number.
    """

    kind: str
    neurons: list[int]
    x: float
    y: dict[int, float]


def wired_layers(classifier: Classifier) -> list[tuple[str, CfCLayer | LTCLayer]]:
    """Return the liquid layers of a classifier that have a wiring, each with its name in words.

    Args:
        classifier: Any; the list is empty where its head has no wiring.
    """
    layers = [module for module in classifier.head.modules() if isinstance(module, CfCLayer | LTCLayer)]
    both = 2 if getattr(classifier.spec.head, "bidirectional", False) else 1
    named = []
    for index, layer in enumerate(layers):
        stacked = f"layer {index // both + 1}" if len(layers) > both else ""
        direction = ("", ("onward", "backward")[index % 2])[both - 1]
        named.append((", ".join(part for part in (stacked, direction) if part), layer))
    return named


def draw_wirings(classifier: Classifier, *, title: str, output_names: Sequence[str] = ()) -> Figure:
    """Return a figure with one panel for each liquid layer of a classifier.

    Args:
        classifier: One of `wired_layers`.
        title: Above all panels.
        output_names: Of the class scores; shown beside the last motor neurons where these are the scores.

    Raises:
        ValueError: The classifier has no wired layer.
    """
    from matplotlib.figure import Figure

    layers = wired_layers(classifier)
    if not layers:
        raise ValueError("got a classifier without a wired layer; ask `wired_layers` first")
    figure = Figure(
        figsize=(8.0 * min(len(layers), 2), 0.3 + 6.0 * -(-len(layers) // 2)), layout="constrained", dpi=150
    )
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.012, ha="left")
    panels = figure.subplots(-(-len(layers) // 2), min(len(layers), 2), squeeze=False)
    direct = getattr(classifier.head, "linear", None) is None and len(output_names) == classifier.outputs
    for axes in panels.flat[len(layers) :]:
        axes.set_axis_off()
    for axes, (name, layer) in zip(panels.flat, layers, strict=False):
        draw_wiring(axes, layer, name=name, output_names=output_names if direct and layer is layers[-1][1] else ())
    return figure


def draw_wiring(axes: Axes, layer: CfCLayer | LTCLayer, *, name: str = "", output_names: Sequence[str] = ()) -> None:
    """Draw one layer: sensory neurons on the left, motor neurons on the right.

    Args:
        axes: Where to.
        layer: Whose wiring.
        name: Of the layer, where there are several.
        output_names: One per motor neuron, shown beside it.
    """
    sensory, internal = _strengths(layer)
    columns = _columns(layer, sensory != 0, internal != 0)
    _draw_synapses(axes, columns, sensory, internal)
    for column in columns:
        _draw_neurons(axes, column, layer)
    last = columns[-1]
    beside = last.x + (0.5 if last.kind == "neurons" else 0.09)  # right of the loops, where there are loops
    for neuron, said in enumerate(output_names):
        axes.text(beside, last.y[neuron], said, va="center", ha="left", fontsize=8.5, color=INK)
        if last.kind == "neurons":
            ends = [last.x, beside - 0.02]
            axes.plot(ends, [last.y[neuron]] * 2, color=PALE, linewidth=0.8, linestyle=(0, (1, 3)), zorder=2)
    is_ltc = isinstance(layer, LTCLayer)
    caption = (
        f"{np.count_nonzero(sensory):,} of {sensory.size:,} sensory and {np.count_nonzero(internal):,} of "
        f"{internal.size:,} internal synapses. Darker is stronger.\n"
        + ("Color: the sign of the reversal potential." if is_ltc else "Color: the sign of ff1 + ff2.")
        + ("" if is_ltc else " Neurons of a column also read each other's state.")
    )
    cell = "LTC" if is_ltc else "CfC"
    axes.text(-0.1, 1.17, f"{cell}, {name}" if name else cell, fontsize=9.5, fontweight="bold", color=INK)
    axes.text(-0.1, -0.055, caption, fontsize=7.5, color=PALE, va="top", linespacing=1.5)
    for color, label in ((EXCITATORY, "excitatory"), (INHIBITORY, "inhibitory")):
        axes.plot([], [], color=color, linewidth=1.6, label=label)
    axes.legend(loc="upper right", ncols=2, frameon=False, fontsize=8.5, borderaxespad=0.0)
    room = beside - last.x + 0.032 * max(map(len, output_names)) if output_names else beside - last.x + 0.03
    axes.set(xlim=(-0.12, last.x + room), ylim=(-0.16, 1.22))
    axes.set_axis_off()


def _strengths(layer: CfCLayer | LTCLayer) -> tuple[Floats, Floats]:
    """Return (features, units) and (units, units): each synapse's strength with its sign, 0 where there is none.

    Neurons are numbered as the wiring numbers them, motor neurons first.
    """
    wiring = layer.ncps.rnn_cell._wiring
    sensory, internal = np.zeros((layer.features, layer.units)), np.zeros((layer.units, layer.units))
    if isinstance(layer, LTCLayer):
        folded = layer.folded()
        for matrix, synapses in ((sensory, folded.sensory), (internal, folded.internal)):
            strength = synapses.weight.detach() * synapses.reversal.detach().sign()
            matrix[synapses.source.cpu().numpy(), synapses.target.cpu().numpy()] = strength.cpu().numpy()
        return sensory, internal
    before = list(range(layer.features))
    for index, folded_layer in enumerate(layer.folded()):
        own = wiring.get_neurons_of_layer(index)
        weights = folded_layer.input_weight.detach().cpu().numpy().astype(np.float64)
        both = weights[: len(own)] + (weights[len(own) : 2 * len(own)] if layer.mode != "pure" else 0)
        (internal if index else sensory)[np.ix_(before, own)] = both.T
        before = own
    return sensory, internal


def _columns(layer: CfCLayer | LTCLayer, sensory: NDArray[np.bool_], internal: NDArray[np.bool_]) -> list[_Column]:
    """Return the columns from left to right; in each, neurons near those that act on them, so that few lines cross."""
    wiring = layer.ncps.rnn_cell._wiring
    columns = [_column("sensory", list(range(layer.features)), 0.0)]
    for index in range(wiring.num_layers):
        neurons = [int(neuron) for neuron in wiring.get_neurons_of_layer(index)]
        kind = ("inter", "command", "motor")[index] if wiring.num_layers == 3 else "neurons"
        joined, before = internal if index else sensory, columns[-1]
        if kind in ("inter", "command"):
            pulls = {n: [before.y[source] for source in before.neurons if joined[source, n]] for n in neurons}
            neurons.sort(key=lambda neuron: -float(np.mean(pulls[neuron] or [0.5])))
        columns.append(_column(kind, neurons, float(index + 1)))
    return columns


def _column(kind: str, neurons: list[int], x: float) -> _Column:
    """Return a column whose neurons are spread evenly, more closely where there are few."""
    span = min(0.96, 0.13 * len(neurons))
    heights = np.linspace(0.5 + span / 2, 0.5 - span / 2, len(neurons)) if len(neurons) > 1 else np.array([0.5])
    return _Column(kind, neurons, x, dict(zip(neurons, heights.tolist(), strict=True)))


def _draw_synapses(axes: Axes, columns: list[_Column], sensory: Floats, internal: Floats) -> None:
    """Draw every synapse as a curve that leaves and arrives level; a loop where source and target are one column."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgb

    place = {neuron: (column.x, column.y[neuron]) for column in columns[1:] for neuron in column.neurons}
    along = np.linspace(0, 1, 24)[:, None]
    for matrix, starts in ((sensory, {n: (0.0, y) for n, y in columns[0].y.items()}), (internal, place)):
        curves: list[Floats] = []
        colors: list[tuple[float, ...]] = []
        largest = float(np.abs(matrix).max(initial=0.0)) or 1.0
        crowd = float(min(1.0, (250 / max(int(np.count_nonzero(matrix)), 1)) ** 0.5))
        by_strength = sorted(zip(*np.nonzero(matrix), strict=True), key=lambda synapse: abs(matrix[synapse]))
        for source, target in by_strength:  # the strongest last, above the others
            curves.append(_curve(np.array(starts[int(source)]), np.array(place[int(target)]), along))
            shade = crowd * (0.25 + 0.7 * abs(matrix[source, target]) / largest)
            colors.append((*to_rgb(EXCITATORY if matrix[source, target] > 0 else INHIBITORY), shade))
        axes.add_collection(LineCollection(curves, colors=colors, linewidths=0.5 + 0.8 * crowd, zorder=1))


def _curve(start: Floats, end: Floats, along: Floats) -> Floats:
    """Return points of a Bézier curve between two neurons."""
    if start[0] != end[0]:
        reach = np.array([0.45 * (end[0] - start[0]), 0.0])
        first, second = start + reach, end - reach
    elif start[1] != end[1]:
        bulge = np.array([0.14 + 0.45 * abs(end[1] - start[1]), 0.0])
        first, second = start + bulge, end + bulge
    else:
        first, second = start + np.array([0.26, 0.075]), end + np.array([0.26, -0.075])
    left = 1 - along
    points: Floats = left**3 * start + 3 * left**2 * along * first + 3 * left * along**2 * second + along**3 * end
    return points


def _draw_neurons(axes: Axes, column: _Column, layer: CfCLayer | LTCLayer) -> None:
    """Draw a column's neurons with their numbers, or one bar where they are too many, and its name above."""
    count = len(column.neurons)
    joined = isinstance(layer, CfCLayer) or layer.is_full  # as all neurons of a layer of a CfC are
    name = column.kind if column.kind != "neurons" or not joined else "neurons, all joined with all"
    for text, height in ((name, 1.085), (f"{count:,}", 1.04)):
        axes.text(column.x, height, text, ha="center", va="baseline", fontsize=8.5, color=INK)
    heights = list(column.y.values())
    if column.kind == "sensory" and count > MOST_CIRCLES:
        ends, color = [heights[0], heights[-1]], FILLS["sensory"]
        axes.plot([column.x] * 2, ends, color=color, linewidth=9, solid_capstyle="round", zorder=2)
        return
    motors = layer.outputs if isinstance(layer, LTCLayer) else 0
    kinds = ["motor" if n < motors else "inter" for n in column.neurons] if column.kind == "neurons" else [column.kind]
    size = float(np.clip(2600 / max(count, layer.units / 2), 34, 210))
    fills = [FILLS[kind] for kind in kinds]
    axes.scatter([column.x] * count, heights, s=size, color=fills, edgecolors=INK, linewidths=0.6, zorder=3)
    for neuron, height in column.y.items():
        axes.text(column.x, height, str(neuron), ha="center", va="center_baseline", fontsize=5.5, color=INK, zorder=4)
