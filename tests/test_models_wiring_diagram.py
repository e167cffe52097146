"""The wiring diagram: every synapse is drawn, once, in the color of its sign."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from edgelnn.models import CfCLayer, Classifier, LTCLayer, WiringPlan, build_classifier
from edgelnn.models.specification import CfCHead, HeadSpec, LTCHead, ModelSpec, RecurrentHead
from edgelnn.models.wiring_diagram import EXCITATORY, INHIBITORY, draw_wiring, draw_wirings, wired_layers


def classifier(head: HeadSpec) -> Classifier:
    return build_classifier(ModelSpec(head=head), image_shape=(16, 16, 1), task="binary-class", classes=2)


def lines_of(layer: CfCLayer | LTCLayer) -> list[LineCollection]:
    axes = Figure().subplots()
    draw_wiring(axes, layer)
    return [collection for collection in axes.collections if isinstance(collection, LineCollection)]


@pytest.mark.parametrize("features", [16, 200])
@pytest.mark.parametrize(
    "plan", [WiringPlan("auto", 19, 2), WiringPlan("auto", 32, 10), WiringPlan("full", 7, 2)], ids=str
)
def test_draws_every_synapse_of_ltc_once(plan: WiringPlan, features: int) -> None:
    layer = LTCLayer(features, plan)
    sensory, internal = lines_of(layer)
    wiring = plan.build(features)
    assert len(sensory.get_segments()) == wiring.sensory_synapse_count
    assert len(internal.get_segments()) == wiring.synapse_count
    for drawn, adjacency in ((sensory, wiring.sensory_adjacency_matrix), (internal, wiring.adjacency_matrix)):
        colors = np.asarray(drawn.get_colors())[:, :3]
        assert np.isclose(colors, to_rgb(EXCITATORY)).all(1).sum() == (adjacency > 0).sum()
        assert np.isclose(colors, to_rgb(INHIBITORY)).all(1).sum() == (adjacency < 0).sum()


@pytest.mark.parametrize("mode", ["default", "pure"])
def test_draws_what_a_cfc_reads_with_the_sign_of_its_weights(mode: str) -> None:
    layer = CfCLayer(6, WiringPlan("auto", 19, 2), mode=mode)
    with torch.no_grad():
        for index in range(3):
            cell = getattr(layer.ncps.rnn_cell, f"layer_{index}")
            for linear in [cell.ff1] if mode == "pure" else [cell.ff1, cell.ff2]:
                linear.weight.abs_().add_(0.1)
    for drawn in lines_of(layer):
        colors = np.asarray(drawn.get_colors())
        assert np.isclose(colors[:, :3], to_rgb(EXCITATORY)).all()
        assert colors[:, 3].max() <= 1
    masks = [getattr(layer.ncps.rnn_cell, f"layer_{index}").sparsity_mask for index in range(3)]
    read = [int(mask[:, : mask.shape[1] - mask.shape[0]].sum()) for mask in masks]
    assert [len(drawn.get_segments()) for drawn in lines_of(layer)] == [read[0], read[1] + read[2]]


def test_names_the_layers_that_have_a_wiring() -> None:
    stacked = classifier(LTCHead(kind="ltc", units=[12, 9], bidirectional=True))
    names = ["layer 1, onward", "layer 1, backward", "layer 2, onward", "layer 2, backward"]
    assert [name for name, _ in wired_layers(stacked)] == names
    assert [name for name, _ in wired_layers(classifier(CfCHead(units=12)))] == [""]
    assert wired_layers(classifier(CfCHead(wiring="none"))) == []
    assert wired_layers(classifier(RecurrentHead(kind="gru"))) == []


@pytest.mark.parametrize(
    ("head", "named"),
    [
        (CfCHead(units=19), True),
        (CfCHead(units=19, bidirectional=True), False),
        (CfCHead(units=8, wiring="full"), False),
        (LTCHead(kind="ltc", units=8, wiring="full"), True),
    ],
)
def test_draws_a_picture_that_names_what_the_motor_neurons_say(head: HeadSpec, named: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_wirings(classifier(head), title="a title", output_names=("malignant", "benign"))
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")
    assert figure.get_suptitle() == "a title"
    assert any(text.get_text() == "malignant" for axes in figure.axes for text in axes.texts) == named
    assert all(any(isinstance(drawn, PathCollection) for drawn in axes.collections) for axes in figure.axes)


def test_refuses_to_draw_where_there_is_no_wiring() -> None:
    with pytest.raises(ValueError, match="without a wired layer"):
        draw_wirings(classifier(RecurrentHead(kind="lstm")), title="")
