"""State dicts travel between ncps and ours unchanged, and are refused where they belong to another wiring."""

from __future__ import annotations

import io

import ncps.torch
import ncps.wirings
import pytest
import torch

from edgelnn.errors import ConfigError
from edgelnn.models import CfCLayer, DenseCfCLayer, LTCLayer, WiringPlan, build_classifier, load_ncps_state_dict
from edgelnn.models.specification import CfCHead, LTCHead, ModelSpec
from tests.liquid_cases import CASES, Case

AUTO = WiringPlan("auto", 19, 2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_round_trip_through_ncps(case: Case) -> None:
    trained, ours, theirs = case.layer(), case.build(), case.build().ncps
    x, _, _ = case.inputs(trained)
    theirs.load_state_dict(trained.ncps.state_dict())
    load_ncps_state_dict(ours, theirs.state_dict())
    assert torch.equal(ours(x)[0], trained(x)[0])
    torch.testing.assert_close(theirs(x)[0], trained(x)[0], rtol=0, atol=1e-5)


def test_loads_what_a_script_of_ncps_saved() -> None:
    torch.manual_seed(0)
    theirs = ncps.torch.CfC(16, ncps.wirings.AutoNCP(19, 2))
    file = io.BytesIO()
    torch.save(theirs.state_dict(), file)
    file.seek(0)
    layer = CfCLayer(16, AUTO)
    load_ncps_state_dict(layer, torch.load(file, weights_only=True))
    x = torch.randn(3, 32, 16)
    torch.testing.assert_close(layer(x)[0], theirs(x)[0], rtol=0, atol=1e-5)


def test_a_dense_cfc_of_ncps_by_default_is_ours() -> None:
    torch.manual_seed(0)
    theirs = ncps.torch.CfC(5, 8)
    layer = DenseCfCLayer(5, 8)
    load_ncps_state_dict(layer, theirs.state_dict())
    x = torch.randn(3, 4, 5)
    torch.testing.assert_close(layer(x)[0], theirs(x)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [CfCLayer, LTCLayer])
@pytest.mark.parametrize("other", [WiringPlan("auto", 19, 2, seed=5), WiringPlan("auto", 19, 2, sparsity=0.3)], ids=str)
def test_refuses_masks_of_another_wiring(build: type[CfCLayer] | type[LTCLayer], other: WiringPlan) -> None:
    layer = build(16, AUTO)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    with pytest.raises(
        ConfigError, match="differs from the mask of an auto wiring of 19 units and 2 outputs, seed 22222"
    ):
        load_ncps_state_dict(layer, build(16, other).ncps.state_dict())
    with pytest.raises(ConfigError, match=r"Set head\.wiring_seed and head\.sparsity to those they were trained with"):
        layer.load_state_dict(build(16, other).state_dict())
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_refuses_the_weights_of_another_classifier() -> None:
    spec, other = (ModelSpec(head=CfCHead(units=20, wiring_seed=seed)) for seed in (1, 2))
    ours, theirs = (build_classifier(s, image_shape=(8, 8, 1), task="binary-class", classes=2) for s in (spec, other))
    with pytest.raises(ConfigError, match=r"seed 1, sparsity 0\.5"):
        ours.load_state_dict(theirs.state_dict())


def test_refuses_other_sizes_and_other_modules_in_one_line() -> None:
    layer = LTCLayer(16, AUTO)
    with pytest.raises(ConfigError, match=r"got rnn_cell\.gleak of shape \(20,\).* has \(19,\)"):
        load_ncps_state_dict(layer, LTCLayer(16, WiringPlan("auto", 20, 2)).ncps.state_dict())
    with pytest.raises(
        ConfigError, match=r"got a state dict of another model.*Expected that of ncps\.torch\.LTC"
    ) as error:
        load_ncps_state_dict(layer, CfCLayer(16, AUTO).ncps.state_dict())
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="missing, none unknown"):
        load_ncps_state_dict(layer, {})


def test_loading_by_assignment_is_seen_where_the_private_dict_of_ncps_hides_it() -> None:
    """`assign=True` replaces LTC's parameters, but not those in its private dict, which alone it computes from."""
    torch.manual_seed(0)
    layer, other = LTCLayer(4, WiringPlan("full", 3, 1)), LTCLayer(4, WiringPlan("full", 3, 1))
    x = torch.randn(2, 5, 4)
    layer.load_state_dict(other.state_dict(), assign=True)
    torch.testing.assert_close(layer(x)[0], other(x)[0])
    assert not torch.allclose(layer.ncps(x)[0], other.ncps(x)[0])


def test_no_two_layers_share_a_wiring() -> None:
    """Building a model on a wiring changes it: a second one would get more synapses, or fail."""
    first, second = LTCLayer(16, AUTO), LTCLayer(16, AUTO)
    assert first.ncps._wiring is not second.ncps._wiring
    assert first.ncps._wiring.synapse_count == second.ncps._wiring.synapse_count == 46
    twice = AUTO.build(16)
    twice.build(16)
    assert twice.synapse_count > 46
    head = build_classifier(
        ModelSpec(head=LTCHead(kind="ltc", units=[9, 9], bidirectional=True)),
        image_shape=(8, 8, 1),
        task="binary-class",
        classes=2,
    ).head
    wirings = {id(layer._wiring) for layer in head.modules() if isinstance(layer, ncps.torch.LTC)}
    assert len(wirings) == 4


def test_softplus_stands_for_the_constraints_of_ltc() -> None:
    """Its weights may be negative: the cell sees softplus of them. A rewrite without it is plausible and wrong."""
    torch.manual_seed(0)
    layer = LTCLayer(4, WiringPlan("full", 5, 2))
    with torch.no_grad():
        for name in ("w", "sensory_w", "cm", "gleak"):
            getattr(layer.ncps.rnn_cell, name).sub_(1.5)
    x = torch.randn(3, 6, 4)
    torch.testing.assert_close(layer(x)[0], layer.ncps(x)[0], rtol=0, atol=1e-5)
    bare = ncps.torch.LTC(4, WiringPlan("full", 5, 2).fresh(), implicit_param_constraints=False)
    bare.load_state_dict(layer.ncps.state_dict())
    assert (bare(x)[0] - layer(x)[0]).abs().max() > 0.1


def test_the_state_dict_holds_ncps_names_alone() -> None:
    layer = LTCLayer(4, WiringPlan("auto", 7, 2))
    assert set(layer.state_dict()) == {
        f"ncps.{name}" for name in ncps.torch.LTC(4, WiringPlan("auto", 7, 2).fresh()).state_dict()
    }
