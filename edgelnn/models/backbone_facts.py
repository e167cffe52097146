"""What is known about torchvision's backbones without importing it: their maps, weights and published sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Final

from edgelnn.errors import ConfigError

__all__ = ["BACKBONES", "BackboneFacts", "check_channels", "features_shape"]


@dataclass(frozen=True)
class BackboneFacts:
    """One backbone.

    Attributes:
        channels: Of its map.
        halvings: What becomes of an odd side at each of the five places where the map is halved: ``+`` (n + 1) / 2,
            ``-`` (n - 1) / 2.
        weights: File of the weights that torchvision publishes (trained on ImageNet); what follows the dash begins the
            file's SHA-256.
        published: Parameters of the whole published classifier of 1000 classes.
        classifier: Of them, those behind the map, which are no part of the stem.
    """

    channels: int
    halvings: str
    weights: str
    published: int
    classifier: int


def _linears(*widths: int) -> int:
    """Return the parameters of linear layers from each width to the next."""
    return sum(prod(pair) + pair[1] for pair in pairwise(widths))


BACKBONES: Final[Mapping[str, BackboneFacts]] = {
    "mobilenet_v3_small": BackboneFacts(
        576, "+++++", "mobilenet_v3_small-047dcff4.pth", 2_542_856, _linears(576, 1024, 1000)
    ),
    "mobilenet_v3_large": BackboneFacts(
        960, "+++++", "mobilenet_v3_large-5c1a4163.pth", 5_483_032, _linears(960, 1280, 1000)
    ),
    "resnet18": BackboneFacts(512, "+++++", "resnet18-f37072fd.pth", 11_689_512, _linears(512, 1000)),
    "resnet50": BackboneFacts(2048, "+++++", "resnet50-11ad3fa6.pth", 25_557_032, _linears(2048, 1000)),
    "resnet152": BackboneFacts(2048, "+++++", "resnet152-f82ba261.pth", 60_192_808, _linears(2048, 1000)),
    "densenet169": BackboneFacts(1664, "++---", "densenet169-b2777c0a.pth", 14_149_480, _linears(1664, 1000)),
    "vgg19": BackboneFacts(512, "-----", "vgg19-dcbb9e9d.pth", 143_667_240, _linears(25_088, 4096, 4096, 1000)),
}


def check_channels(kind: str, channels: int) -> None:
    """Raise `ConfigError` where a backbone cannot read images of so many channels."""
    if channels not in (1, 3):
        raise ConfigError(
            f"got images of {channels} channels for stem.kind={kind!r}; it reads RGB, or grey as three equal channels. "
            "Use images of 1 or 3 channels, or a conv stem."
        )


def features_shape(kind: str, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return (c, h, w) of the map that a backbone makes of an image (c, h, w).

    Raises:
        ConfigError: The image is too small for it.

    >>> features_shape("resnet18", (3, 224, 224)), features_shape("vgg19", (3, 225, 63))
    ((512, 7, 7), (512, 7, 1))
    """
    facts = BACKBONES[kind]
    height, width = image_shape[1:]
    for rounding in facts.halvings:
        height, width = ((side + (rounding == "+")) // 2 for side in (height, width))
        if not min(height, width):
            raise ConfigError(
                f"got images of {image_shape[1]}×{image_shape[2]} pixels for stem.kind={kind!r}; it halves them five "
                "times, and nothing would be left. Use images of 32 pixels or more (data.size), or a conv stem."
            )
    return facts.channels, height, width
