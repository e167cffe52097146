"""Backbones: torchvision's own numbers and maps, frozen or not, and what is said where torchvision cannot be had."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import nn

from edgelnn.errors import ConfigError, MissingExtraError
from edgelnn.models import ModelSpec, build_classifier, count_parameters
from edgelnn.models.backbone_facts import BACKBONES, features_shape
from edgelnn.models.backbones import Backbone, import_torchvision
from edgelnn.models.specification import BackboneStem
from tests.helpers import run_python

SMALL, LARGE = "mobilenet_v3_small", pytest.mark.slow


def every_backbone() -> list[Any]:
    return [kind if kind in (SMALL, "resnet18") else pytest.param(kind, marks=LARGE) for kind in BACKBONES]


def test_the_specification_knows_every_backbone_there_are_facts_about() -> None:
    assert set(BackboneStem.model_fields["kind"].annotation.__args__) == set(BACKBONES)  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", every_backbone())
def test_a_backbone_is_torchvisions_but_for_its_classes(kind: str, torchvision: Any) -> None:
    facts = BACKBONES[kind]
    backbone = Backbone(kind).eval()
    weights = torchvision.models.get_model_weights(kind).DEFAULT
    assert weights.url.endswith("/" + facts.weights)
    assert weights.meta["num_params"] == facts.published
    assert count_parameters(backbone).trainable == facts.published - facts.classifier
    whole = torchvision.models.get_model(kind, weights=None).eval()
    backbone.load_published(whole.state_dict())
    maps: list[torch.Tensor] = []
    whole.avgpool.register_forward_pre_hook(lambda _, given: maps.append(given[0])) if hasattr(
        whole, "avgpool"
    ) else None
    x = torch.randn(2, 3, 64, 97)
    with torch.no_grad():
        found, _ = backbone(x), whole(x)
    expected = maps[0] if maps else whole.features(x).relu()
    assert torch.equal(found, expected)
    assert found.shape[1:] == features_shape(kind, (3, 64, 97))


def classifier(**stem: Any) -> nn.Module:
    stem = {"kind": SMALL, "resize": {"height": 1, "width": 1}, **stem}
    head = {"kind": "dense", "widths": [10]}
    spec = ModelSpec.model_validate({"stem": stem, "scan": {"kind": "flatten"}, "head": head})
    return build_classifier(spec, image_shape=(40, 40, 1), task="multi-class", classes=4)


@pytest.mark.usefixtures("torchvision")
def test_grey_is_read_as_three_equal_channels() -> None:
    model = classifier().eval()
    grey = torch.randn(2, 1, 40, 40)
    assert torch.equal(model.stem(grey), model.stem(grey.repeat(1, 3, 1, 1)))


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_frozen_stays_as_it_is_and_the_rest_learns(frozen: bool) -> None:
    model = classifier(frozen=frozen).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    nn.functional.cross_entropy(model(torch.randn(8, 1, 40, 40)), torch.arange(8) % 4).backward()
    optimizer.step()
    moved = {
        name.partition(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert moved == ({"head"} if frozen else {"stem", "head"})
    trained = sum(p.numel() for p in model.head.parameters()) + (0 if frozen else 2_542_856 - 1_615_848)
    assert count_parameters(model).trainable == trained


@pytest.mark.usefixtures("torchvision")
def test_weights_of_another_model_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="weights that are not torchvision's mobilenet_v3_small") as error:
        Backbone(SMALL).load_published(nn.Conv2d(3, 4, 1).state_dict())
    assert "\n" not in str(error.value)


def test_names_the_extra_where_torchvision_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r'a backbone needs torchvision: pip install "edgelnn\[backbones\]"'):
        import_torchvision()


def test_explains_a_torchvision_that_was_built_for_another_torch() -> None:
    """In a process of its own, as a published wheel fails beside the CPU build of torch."""
    said = run_python(
        "import sys\n"
        "class Broken:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torchvision': raise RuntimeError('operator torchvision::nms does not exist')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "from edgelnn.errors import ConfigError\n"
        "from edgelnn.models.backbones import Backbone\n"
        "try: Backbone('resnet18')\n"
        "except ConfigError as error: print(error)\n"
    )
    assert "does not import beside torch" in said
    assert "operator torchvision::nms does not exist" in said
    assert "pip install --force-reinstall torch torchvision --index-url" in said
    assert len(said.splitlines()) == 1
