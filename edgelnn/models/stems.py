"""Stems: an image, or a slice of a volume, made into a feature map."""

from __future__ import annotations

from torch import Tensor, nn

from edgelnn.errors import ConfigError
from edgelnn.models.specification import ConvLayer, IdentityStem, StemSpec

__all__ = ["ConvBlock", "build_stem", "stem_map_shape"]


class ConvBlock(nn.Module):
    """Convolution, then batch norm, ReLU and max pooling where asked for; what is left out is None.

    Attributes:
        conv: The convolution.
        norm: Batch norm after it.
        relu: Whether ReLU follows.
        pool: Max pooling at the end.
    """

    def __init__(self, channels: int, spec: ConvLayer) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, spec.channels, spec.kernel, stride=spec.stride, padding=spec.padding, bias=spec.bias
        )
        self.norm = nn.BatchNorm2d(spec.channels) if spec.batch_norm else None
        self.relu = spec.activation == "relu"
        self.pool = nn.MaxPool2d(spec.pool, spec.pool_stride or None) if spec.pool else None

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, channels, h', w') of (n, c, h, w)."""
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        if self.relu:
            x = x.relu()
        return x if self.pool is None else self.pool(x)


def build_stem(spec: StemSpec, image_shape: tuple[int, int, int]) -> nn.Sequential:
    """Return the stem: ConvBlocks in order, none where the stem is the identity.

    Args:
        spec: Which stem.
        image_shape: (c, h, w) of an image, or of one slice of a volume.

    Raises:
        ConfigError: A layer's kernel or pooling window is larger than the map it gets.
    """
    stem_map_shape(spec, image_shape)
    if isinstance(spec, IdentityStem):
        return nn.Sequential()
    channels = [image_shape[0], *(layer.channels for layer in spec.layers[:-1])]
    return nn.Sequential(*(ConvBlock(before, layer) for before, layer in zip(channels, spec.layers, strict=True)))


def stem_map_shape(spec: StemSpec, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return (c, h, w) of the map that a stem makes of an image.

    Raises:
        ConfigError: A layer's kernel or pooling window is larger than the map it gets.

    >>> from edgelnn.models.specification import ConvStem
    >>> stem_map_shape(ConvStem(layers=[ConvLayer(channels=6, kernel=5, pool=2)]), (1, 28, 28))
    (6, 12, 12)
    """
    if isinstance(spec, IdentityStem):
        return image_shape
    channels, height, width = image_shape
    for index, layer in enumerate(spec.layers):
        here = f"stem.layers[{index}]"
        height, width = (
            _windows(side, layer.kernel, layer.stride, layer.padding, f"{here}.kernel") for side in (height, width)
        )
        if layer.pool:
            stride = layer.pool_stride or layer.pool
            height, width = (_windows(side, layer.pool, stride, 0, f"{here}.pool") for side in (height, width))
        channels = layer.channels
    return channels, height, width


def _windows(side: int, window: int, stride: int, padding: int, where: str) -> int:
    """Return how many windows fit along one side of a map."""
    if side + 2 * padding < window:
        raise ConfigError(
            f"got {where}={window}; a side of the map is only {side} there (padding {padding}), so nothing would be "
            "left. Use smaller windows, fewer layers, more padding or larger images."
        )
    return (side + 2 * padding - window) // stride + 1
