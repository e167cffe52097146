"""Stems: an image, or a slice of a volume, made into a feature map."""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn

from edgelnn.errors import ConfigError
from edgelnn.models.backbone_facts import check_channels, features_shape
from edgelnn.models.specification import BackboneStem, ConvLayer, ConvStem, CRNetStem, MapSize, StemSpec

__all__ = ["ConvBlock", "Resize", "build_stem", "stem_map_shape"]

Shape = tuple[int, int, int]

_CRNET_LAYERS: Final = (
    ConvLayer(channels=32, kernel=7, padding=3, bias=False, batch_norm=True, pool=3, pool_stride=2),
    ConvLayer(channels=64, kernel=7, padding=3, pool=3, pool_stride=2),
    ConvLayer(channels=128, kernel=7, padding=3, pool=3, pool_stride=2),
)
_CRNET_POOL: Final = 2


class ConvBlock(nn.Module):
    """Convolution, then batch norm, ReLU and pooling where asked for; what is left out is None.

    Attributes:
        conv: The convolution.
        norm: Batch norm after it.
        relu: Whether ReLU follows.
        pool: Pooling at the end.
    """

    def __init__(self, channels: int, spec: ConvLayer) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, spec.channels, spec.kernel, stride=spec.stride, padding=spec.padding, bias=spec.bias
        )
        self.norm = nn.BatchNorm2d(spec.channels) if spec.batch_norm else None
        self.relu = spec.activation == "relu"
        kind = nn.MaxPool2d if spec.pool_kind == "max" else nn.AvgPool2d
        self.pool = kind(spec.pool, spec.pool_stride or None) if spec.pool else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, channels, h', w') of (n, c, h, w)."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        if self.relu:
            x = x.relu()
        return x if self.pool is None else self.pool(x)


class Resize(nn.Module):
    """A map brought to a wanted size; what is left out is None.

    Attributes:
        conv: To the wanted channels.
        pool: To the wanted height and width: each place is the mean of a window, and windows may overlap.
    """

    def __init__(self, channels: int, spec: MapSize) -> None:
        super().__init__()
        self.conv = None if spec.channels is None else nn.Conv2d(channels, spec.channels, 3, padding=1)
        sides = None if spec.height is None or spec.width is None else (spec.height, spec.width)
        self.pool = None if sides is None else nn.AdaptiveAvgPool2d(sides)

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, channels, height, width) of (n, c, h, w)."""
        if self.conv is not None:
            x = self.conv(x)
        return x if self.pool is None else self.pool(x)


def build_stem(spec: StemSpec, image_shape: Shape) -> nn.Sequential:
    """Return the stem: its parts in order, none where the stem is the identity.

    Args:
        spec: Which stem.
        image_shape: (c, h, w) of an image, or of one slice of a volume.

    Raises:
        ConfigError: A layer's kernel or pooling window is larger than the map it gets, or a backbone cannot be had.
        MissingExtraError: A backbone is asked for and torchvision is not installed.
    """
    stem_map_shape(spec, image_shape)
    channels = image_shape[0]
    parts: list[nn.Module] = []
    if isinstance(spec, BackboneStem):
        from edgelnn.models.backbones import Backbone

        parts.append(Backbone(spec.kind, frozen=spec.frozen))
    else:
        for layer in _layers(spec):
            parts.append(ConvBlock(channels, layer))
            channels = layer.channels
    if isinstance(spec, CRNetStem):
        parts.append(nn.AvgPool2d(_CRNET_POOL))
    if spec.resize is not None:
        parts.append(Resize(_map_shape(spec, image_shape)[0], spec.resize))
    return nn.Sequential(*parts)


def stem_map_shape(spec: StemSpec, image_shape: Shape) -> Shape:
    """Return (c, h, w) of the map that a stem makes of an image.

    Raises:
        ConfigError: A layer's kernel or pooling window is larger than the map it gets.

    >>> stem_map_shape(ConvStem(layers=[ConvLayer(channels=6, kernel=5, pool=2)]), (1, 28, 28))
    (6, 12, 12)
    >>> stem_map_shape(CRNetStem(kind="crnet", resize=MapSize(channels=4, height=8, width=8)), (3, 224, 224))
    (4, 8, 8)
    """
    channels, height, width = _map_shape(spec, image_shape)
    if spec.resize is None:
        return channels, height, width
    return spec.resize.channels or channels, spec.resize.height or height, spec.resize.width or width


def _map_shape(spec: StemSpec, image_shape: Shape) -> Shape:
    """Return (c, h, w) of the map before it is brought to another size."""
    if isinstance(spec, BackboneStem):
        check_channels(spec.kind, image_shape[0])
        return features_shape(spec.kind, image_shape)
    channels, height, width = image_shape
    for index, layer in enumerate(_layers(spec)):
        here = f"stem.layers[{index}]" if isinstance(spec, ConvStem) else f"{spec.kind}'s layer {index + 1}: "
        dot = "." if isinstance(spec, ConvStem) else ""
        height, width = (
            _windows(side, layer.kernel, layer.stride, layer.padding, f"{here}{dot}kernel") for side in (height, width)
        )
        if layer.pool:
            stride = layer.pool_stride or layer.pool
            height, width = (_windows(side, layer.pool, stride, 0, f"{here}{dot}pool") for side in (height, width))
        channels = layer.channels
    if isinstance(spec, CRNetStem):
        height, width = (_windows(side, _CRNET_POOL, _CRNET_POOL, 0, "crnet's last pool") for side in (height, width))
    return channels, height, width


def _layers(spec: StemSpec) -> tuple[ConvLayer, ...]:
    """Return the convolutions that a stem is made of."""
    if isinstance(spec, ConvStem):
        return tuple(spec.layers)
    return _CRNET_LAYERS if isinstance(spec, CRNetStem) else ()


def _windows(side: int, window: int, stride: int, padding: int, where: str) -> int:
    """Return how many windows fit along one side of a map."""
    if side + 2 * padding < window:
        raise ConfigError(
            f"got {where}={window}; a side of the map is only {side} there (padding {padding}), so nothing would be "
            "left. Use smaller windows, fewer layers, more padding or larger images."
        )
    return (side + 2 * padding - window) // stride + 1
