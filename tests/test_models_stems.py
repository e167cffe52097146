"""Stems: shapes foretold without building, published parameter counts, and what does not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edgelnn.errors import ConfigError
from edgelnn.models import ModelSpec, build_classifier, count_parameters, describe
from edgelnn.models.specification import CRNetStem, DenseHead, MapSize, PlainScan, StemSpec
from edgelnn.models.stems import Resize, build_stem, stem_map_shape

RGB = (3, 224, 224)


def stem_of(**fields: Any) -> StemSpec:
    return TypeAdapter(StemSpec).validate_python(fields)


def trainable(stem: StemSpec, image_shape: tuple[int, int, int] = RGB) -> int:
    return count_parameters(build_stem(stem, image_shape)).trainable


def test_crnet_has_its_published_map_and_count() -> None:
    stem = CRNetStem(kind="crnet")
    assert stem_map_shape(stem, RGB) == (128, 13, 13)
    assert build_stem(stem, RGB)(torch.zeros(1, *RGB)).shape == (1, 128, 13, 13)
    spec = ModelSpec(stem=stem, scan=PlainScan(kind="flatten"), head=DenseHead())
    classifier = build_classifier(spec, image_shape=(224, 224, 3), task="binary-class", classes=2)
    assert count_parameters(classifier).trainable == 549_986
    words = describe(spec, image_shape=(224, 224, 3), task="binary-class", classes=2)
    assert words == "image 224×224×3 → crnet → flatten (1 step of 21632) → dense 2, last step → softmax of 2"


@pytest.mark.parametrize("size", [(4, 8, 8), (16, 13, 13), (16, 16, 16), (8, 7, 7), (8, 16, 16), (32, 16, 16)])
def test_crnets_map_is_brought_to_the_sizes_of_its_heads(size: tuple[int, int, int]) -> None:
    channels, height, width = size
    stem = CRNetStem(kind="crnet", resize=MapSize(channels=channels, height=height, width=width))
    assert stem_map_shape(stem, RGB) == size
    assert trainable(stem) == 549_986 - (21_632 * 2 + 2) + 128 * channels * 9 + channels


def test_a_published_liquid_head_of_crnet_has_its_published_count() -> None:
    neurons = {"inter": 12, "command": 6, "motor": 1}
    synapses = {"sensory_fanout": 6, "inter_fanout": 4, "recurrent_command_synapses": 6, "motor_fanin": 6}
    spec = ModelSpec.model_validate(
        {
            "stem": {"kind": "crnet", "resize": {"channels": 4, "height": 8, "width": 8}},
            "scan": {"kind": "rows"},
            "head": {"kind": "ltc", "wiring": "ncp", "ncp": {**neurons, **synapses}, "readout": "joined"},
        }
    )
    classifier = build_classifier(spec, image_shape=(224, 224, 3), task="binary-class", classes=2)
    assert count_parameters(classifier).trainable == 515_349
    assert count_parameters(classifier.head).trainable == 3_999 + 8 * 2 + 2


layers = st.fixed_dictionaries(
    {
        "channels": st.integers(1, 4),
        "kernel": st.integers(1, 3),
        "stride": st.integers(1, 2),
        "padding": st.integers(0, 1),
        "pool": st.sampled_from([0, 2, 3]),
        "pool_stride": st.integers(0, 2),
        "pool_kind": st.sampled_from(["max", "average"]),
    }
)
sizes = st.none() | st.fixed_dictionaries(
    {"channels": st.integers(1, 5)} | {s: st.integers(1, 9) for s in ("height", "width")}
)


@settings(max_examples=60, deadline=None)
@given(st.lists(layers, min_size=1, max_size=2), sizes, st.integers(16, 19), st.integers(16, 19))
def test_the_map_has_the_shape_that_was_foretold(
    layers: list[dict[str, Any]], resize: dict[str, int] | None, height: int, width: int
) -> None:
    stem, image = stem_of(kind="conv", layers=layers, resize=resize), (2, height, width)
    try:
        expected = stem_map_shape(stem, image)
    except ConfigError:
        with pytest.raises(ConfigError):
            build_stem(stem, image)
        return
    assert build_stem(stem, image)(torch.zeros(2, *image)).shape == (2, *expected)


def test_resizing_can_be_left_to_channels_or_to_sides() -> None:
    feature_map = torch.randn(2, 6, 5, 4)
    only_channels = Resize(6, MapSize(channels=3))
    assert only_channels.pool is None
    assert only_channels(feature_map).shape == (2, 3, 5, 4)
    everywhere = Resize(6, MapSize(height=1, width=1))
    assert count_parameters(everywhere).trainable == 0
    torch.testing.assert_close(everywhere(feature_map)[..., 0, 0], feature_map.mean((2, 3)))


@pytest.mark.parametrize("fields", [{}, {"height": 4}, {"channels": 4, "width": 4}, {"channels": 0}])
def test_refuses_sizes_that_say_nothing_or_half(fields: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        stem_of(kind="crnet", resize=fields)


@pytest.mark.parametrize(
    ("fields", "image", "words"),
    [
        ({"kind": "crnet"}, (3, 8, 8), r"got crnet's layer 3: pool=3; a side of the map is only 1"),
        ({"kind": "crnet"}, (3, 16, 16), r"got crnet's last pool=2; a side of the map is only 1"),
        ({"kind": "conv", "layers": [{"channels": 2, "kernel": 9}]}, (1, 8, 8), r"stem\.layers\[0\]\.kernel=9"),
        ({"kind": "resnet18"}, (4, 64, 64), r"images of 4 channels for stem\.kind='resnet18'; it reads RGB, or grey"),
        ({"kind": "vgg19"}, (3, 64, 28), r"images of 64×28 pixels for stem\.kind='vgg19'; .* nothing would be left"),
    ],
)
def test_refuses_images_that_nothing_would_be_left_of(
    fields: dict[str, Any], image: tuple[int, int, int], words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        build_stem(stem_of(**fields), image)
    assert "\n" not in str(error.value)
