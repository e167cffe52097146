"""The stem, part by part, on images or on the slices of a volume."""

from __future__ import annotations

from torch import nn

from edgelnn.errors import UnsupportedModelError
from edgelnn.models.backbones import Backbone
from edgelnn.models.stems import ConvBlock, Resize
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.backbone import lower_backbone
from edgelnn_export.lowering.convolution import lower_adaptive_pool, lower_convolution, lower_pool

__all__ = ["lower_stem", "slices_as_batch"]


def slices_as_batch(builder: GraphBuilder, volume: str, axis: int) -> str:
    """Return the slices of a volume as a batch of images.

    Args:
        builder: Where to.
        volume: (1, c, d, h, w) or (1, d, h, w, c), by the builder's layout.
        axis: Spatial axis along which the volume is cut.

    Returns:
        (slices, c, ·, ·) or (slices, ·, ·, c).
    """
    first_space = 2 if builder.layout == "channels_first" else 1
    cut = first_space + axis
    order = (0, cut, *(other for other in range(1, 5) if other != cut))
    shape = [builder.shape(volume)[other] for other in order]
    moved = [other for other in order[1:] if builder.shape(volume)[other] > 1]
    if moved == sorted(moved):  # only axes of length 1 would move: the numbers lie in order already
        return builder.reshape(volume, tuple(shape[1:]))
    return builder.reshape(builder.transpose(volume, order), tuple(shape[1:]))


def lower_stem(builder: GraphBuilder, image: str, stem: nn.Sequential) -> str:
    """Return the feature map of a stem.

    Raises:
        UnsupportedModelError: It holds a part that is not known here.
    """
    x = image
    for part in stem:
        if isinstance(part, ConvBlock):
            x = lower_convolution(builder, x, part.conv, part.norm, "relu" if part.relu else "none")
            x = x if part.pool is None else lower_pool(builder, x, part.pool)
        elif isinstance(part, nn.AvgPool2d):
            x = lower_pool(builder, x, part)
        elif isinstance(part, Resize):
            x = x if part.conv is None else lower_convolution(builder, x, part.conv)
            x = x if part.pool is None else lower_adaptive_pool(builder, x, part.pool)
        elif isinstance(part, Backbone):
            x = lower_backbone(builder, x, part)
        else:
            raise UnsupportedModelError(f"got a {type(part).__name__} in the stem; nothing is known of it.")
    return x
