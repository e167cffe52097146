"""The wiring of a liquid head: neurons as dots, synapses as lines, sensory neurons at the left, motor at the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.models.cfc import CfCLayer
from edgelnn.models.heads import Bidirectional, Liquid
from edgelnn.models.ltc import LTCLayer
from edgelnn.training.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, Results, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from edgelnn.models import Classifier

__all__ = ["draw_wiring", "wired_layers"]

KINDS = ("sensory", "inter", "command", "motor")
COLORS = {"sensory": GREY, "inter": BLUE, "command": GREEN, "motor": ORANGE}
SIGNS = (("excitatory", 1, BLUE), ("inhibitory", -1, PURPLE))
RIGHT = 3.0  # where the motor neurons stand, to the right of the sensory ones
Points = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class WiredLayer:
    """One layer to draw.

    Attributes:
        title: Which one it is.
        sensory: (features, units) of -1, 0, 1.
        synapses: (units, units) of -1, 0, 1: from row to column.
        kinds: ``inter``, ``command`` or ``motor``, one for each unit.
        signed: Whether the signs mean anything: they do in an LTC.
        outputs: Name of each motor neuron; empty where they have none.
    """

    title: str
    sensory: NDArray[np.int64]
    synapses: NDArray[np.int64]
    kinds: tuple[str, ...]
    signed: bool
    outputs: tuple[str, ...]


def wired_layers(classifier: Classifier, class_names: Sequence[str]) -> tuple[WiredLayer, ...]:
    """Return the layers of a classifier that have a wiring; none where its head is not liquid, or dense.

    Args:
        classifier: Any.
        class_names: Its classes, which name the motor neurons where those are the class scores.
    """
    head = classifier.head
    if not isinstance(head, Liquid):
        return ()
    names: tuple[str, ...] = ()
    if head.linear is None:
        names = tuple(class_names) if classifier.outputs == len(class_names) else (class_names[-1],)
    found = []
    for number, layer in enumerate(head.layers, start=1):
        last = number == len(head.layers)
        which = f"layer {number}: " if len(head.layers) > 1 else ""
        both = isinstance(layer, Bidirectional)
        one = layer.onward if isinstance(layer, Bidirectional) else layer
        if not isinstance(one, CfCLayer | LTCLayer):
            continue
        wiring = one.plan.build(one.features)
        kind = "LTC" if isinstance(one, LTCLayer) else "CfC"
        words = f"{which}{kind} of {one.units} units{', once in each direction' if both else ''}"
        found.append(
            WiredLayer(
                title=words,
                sensory=np.asarray(wiring.sensory_adjacency_matrix, np.int64),
                synapses=np.asarray(wiring.adjacency_matrix, np.int64),
                kinds=tuple(wiring.get_type_of_neuron(unit) for unit in range(one.units)),
                signed=kind == "LTC",
                outputs=names if last and not both else (),
            )
        )
    return tuple(found)


def draw_wiring(results: Results) -> Figure:
    """Return the wirings of a classifier's liquid layers, one below the other."""
    layers = wired_layers(results.classifier, results.metrics.class_names)
    figure = new_figure(results, f"{results.name}: wiring", 8.4, 0.7 + 4.7 * len(layers))
    for axes, layer in zip(figure.subplots(len(layers), squeeze=False).flat, layers, strict=True):
        _draw_layer(axes, layer)
    return figure


def _draw_layer(axes: Axes, layer: WiredLayer) -> None:
    """Draw one layer."""
    from matplotlib.lines import Line2D

    places = _places(layer)
    handles = []
    for name, sign, color in SIGNS if layer.signed else (("", 0, INK),):
        count = 0
        for matrix, sources in ((layer.sensory, places["sensory"]), (layer.synapses, places["units"])):
            chosen = matrix == sign if sign else matrix != 0
            _lines(axes, chosen, sources, places["units"], color, among=int(np.count_nonzero(matrix)))
            count += int(np.count_nonzero(chosen))
        handles.append(Line2D([], [], color=color, linewidth=1.4, label=f"{count} {name} synapses"))
    size = float(np.clip(1400 / max(len(layer.sensory), len(layer.kinds)), 8, 90))
    _dots(axes, places["sensory"], "sensory", size if len(layer.sensory) <= 60 else 6)
    kinds = np.array(layer.kinds)
    for kind in KINDS[1:]:
        if (kinds == kind).any():
            _dots(axes, places["units"][kinds == kind], kind, max(size, 30))
    for name, (x, y) in zip(layer.outputs, places["units"][kinds == "motor"], strict=False):
        axes.text(x + 0.07, y, name, va="center", ha="left", fontsize=9)
    axes.set_title(f"{layer.title}; {_count(layer)}")
    axes.set_axis_off()
    axes.set(xlim=(-0.15, RIGHT + (1.05 if layer.outputs else 0.3)), ylim=(-0.06, 1.16))
    if layer.signed:
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, -0.06), ncols=2, fontsize=8.5)


def _lines(axes: Axes, chosen: NDArray[np.bool_], sources: Points, targets: Points, color: str, *, among: int) -> None:
    """Draw synapses, fainter the more there are among them."""
    from matplotlib.collections import LineCollection

    paths = [_path(sources[source], targets[target]) for source, target in zip(*np.nonzero(chosen), strict=True)]
    faint = float(np.clip(6.0 / np.sqrt(max(among, 1)), 0.06, 0.6))
    width = 0.8 if among < 1000 else 0.5
    axes.add_collection(LineCollection(paths, colors=color, linewidths=width, alpha=faint, zorder=1))


def _dots(axes: Axes, points: Points, kind: str, size: float) -> None:
    """Draw neurons of one kind, and its name above them."""
    axes.scatter(points[:, 0], points[:, 1], s=size, color=COLORS[kind], edgecolors="white", linewidths=0.6, zorder=2)
    above = points[:, 1].max() + 0.07
    axes.text(
        points[:, 0].mean(), above, f"{len(points)} {kind}", ha="center", va="bottom", color=COLORS[kind], fontsize=9
    )


def _places(layer: WiredLayer) -> dict[str, Points]:
    """Return where each neuron stands: one column a kind, from sensory at the left to motor at the right."""
    units = np.zeros((len(layer.kinds), 2))
    kinds = np.array(layer.kinds)
    present = [kind for kind in KINDS[1:] if kind in layer.kinds]
    for number, kind in enumerate(present, start=1):
        members = np.flatnonzero(kinds == kind)
        units[members] = _column(RIGHT * number / len(present), len(members))
    return {"sensory": _column(0, len(layer.sensory)), "units": units}


def _column(x: float, count: int) -> Points:
    """Return so many places one below the other."""
    heights = np.array([0.52]) if count == 1 else np.linspace(1, 0.04, count)
    if 1 < count < 6:
        heights = 0.52 + (heights - 0.52) * count / 6
    return np.stack([np.full(count, float(x)), heights], axis=1)


def _path(start: Points, end: Points) -> Points:
    """Return a line between neurons; a bow where both stand in one column, and a loop where they are one."""
    if start[0] != end[0]:
        return np.stack([start, end])
    side = -1 if start[0] == RIGHT else 1
    reach = side * (0.18 + 0.35 * abs(start[1] - end[1]))
    if np.array_equal(start, end):
        turn = np.linspace(0, 2 * np.pi, 24)
        return np.stack([start[0] + side * 0.06 * (1 - np.cos(turn)), start[1] + 0.025 * np.sin(turn)], axis=1)
    share = np.linspace(0, 1, 24)[:, None]
    middle = (start + end) / 2 + np.array([reach, 0.0])
    bow: Points = (1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end
    return bow


def _count(layer: WiredLayer) -> str:
    """Return how many of the possible synapses there are."""
    sensory, internal = np.count_nonzero(layer.sensory), np.count_nonzero(layer.synapses)
    return f"{sensory} sensory and {internal} internal synapses"
