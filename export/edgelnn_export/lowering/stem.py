"""The stem: convolutions with their batch norm folded in, on images or on the slices of a volume."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from edgelnn.errors import UnsupportedModelError
from edgelnn.models.stems import ConvBlock
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Floats

__all__ = ["fold_batch_norm", "lower_stem", "slices_as_batch"]


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
    """Return the feature map of a stem of ConvBlocks."""
    x = image
    for block in stem:
        if isinstance(block, nn.AvgPool2d):
            x = lower_pool(builder, x, block)
            continue
        if not isinstance(block, ConvBlock):
            raise UnsupportedModelError(f"got a {type(block).__name__} in the stem; expected ConvBlock.")
        weight, bias = fold_batch_norm(block.conv, block.norm)
        top, left = _pair(block.conv.padding)
        x = builder.conv2d(
            x,
            weight,
            bias,
            stride=_pair(block.conv.stride),
            padding=(top, left, top, left),
            groups=block.conv.groups,
            activation="relu" if block.relu else "none",
        )
        if block.pool is not None:
            x = lower_pool(builder, x, block.pool)
    return x


def lower_pool(builder: GraphBuilder, x: str, pool: nn.MaxPool2d | nn.AvgPool2d) -> str:
    """Return a pooled map."""
    kernel, stride = (_pair(size) for size in (pool.kernel_size, pool.stride))
    if any(_pair(pool.padding)) or pool.ceil_mode or _pair(getattr(pool, "dilation", 1)) != (1, 1):
        raise UnsupportedModelError(f"got {pool}; expected a pooling without padding, dilation and ceil_mode.")
    return builder.pool(x, "max" if isinstance(pool, nn.MaxPool2d) else "average", kernel, stride)


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Floats, Floats]:
    """Return weight and bias of one convolution in place of a convolution and its batch norm, float64.

    Batch norm at inference is ``(x - mean) / sqrt(var + eps) * gamma + beta`` for every channel.
    """
    with torch.no_grad():
        weight = np.asarray(conv.weight.double())
        bias = np.zeros(len(weight)) if conv.bias is None else np.asarray(conv.bias.double())
        if norm is None:
            return weight, bias
        if norm.running_mean is None or norm.running_var is None:
            raise TypeError("got a batch norm without running statistics")
        mean, var = np.asarray(norm.running_mean.double()), np.asarray(norm.running_var.double())
        gamma = np.ones(len(weight)) if norm.weight is None else np.asarray(norm.weight.double())
        beta = np.zeros(len(weight)) if norm.bias is None else np.asarray(norm.bias.double())
    scale = gamma / np.sqrt(var + norm.eps)
    return weight * scale[:, None, None, None], (bias - mean) * scale + beta


def _pair(size: int | str | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(size, str):
        raise TypeError(f"got padding={size!r}; expected numbers")
    return (size, size) if isinstance(size, int) else (size[0], size[1])
