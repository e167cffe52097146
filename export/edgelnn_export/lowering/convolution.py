"""Convolutions, batch norm and pooling, as they stand in any stem."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import nn

from edgelnn.errors import UnsupportedModelError
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Floats
from edgelnn_export.lowering.weights import norm_factors

__all__ = ["fold_batch_norm", "lower_adaptive_pool", "lower_convolution", "lower_norm", "lower_pool"]


def lower_convolution(
    builder: GraphBuilder, x: str, conv: nn.Conv2d, norm: nn.BatchNorm2d | None = None, activation: str = "none"
) -> str:
    """Return a map convolved, its batch norm folded in.

    Args:
        builder: Where to.
        x: A map in the builder's layout.
        conv: The convolution.
        norm: Batch norm that follows; None without one.
        activation: none, relu or relu6, at the end.

    Raises:
        UnsupportedModelError: The convolution is dilated, or its padding is not of zeros.
    """
    if conv.dilation != (1, 1) or conv.padding_mode != "zeros":
        raise UnsupportedModelError(f"got {conv}; expected a convolution without dilation that pads with zeros.")
    weight, bias = fold_batch_norm(conv, norm)
    top, left = _pair(conv.padding)
    return builder.conv2d(
        x,
        weight,
        bias,
        stride=_pair(conv.stride),
        padding=(top, left, top, left),
        groups=conv.groups,
        activation=activation,
    )


def lower_norm(builder: GraphBuilder, x: str, norm: nn.BatchNorm2d, activation: str = "none") -> str:
    """Return a map normalized, where no convolution is before it: one factor a channel, and one shift."""
    scale, shift = norm_factors(norm)
    return builder.conv2d(x, scale[:, None, None, None], shift, groups=len(scale), activation=activation)


def lower_pool(
    builder: GraphBuilder, x: str, pool: nn.MaxPool2d | nn.AvgPool2d, *, never_negative: bool = False
) -> str:
    """Return a pooled map.

    Args:
        builder: Where to.
        x: A map in the builder's layout.
        pool: The pooling.
        never_negative: The map has passed through ReLU, so that zeros around it change no maximum.

    Raises:
        UnsupportedModelError: The pooling pads, and zeros would change what it gives; or it is dilated or rounds up.
    """
    kernel, stride, padding = (_pair(size) for size in (pool.kernel_size, pool.stride, pool.padding))
    kind = "max" if isinstance(pool, nn.MaxPool2d) else "average"
    unknown = pool.ceil_mode or _pair(getattr(pool, "dilation", 1)) != (1, 1)
    if unknown or (any(padding) and not (kind == "max" and never_negative)):
        raise UnsupportedModelError(f"got {pool}; expected a pooling without padding, dilation and ceil_mode.")
    for axis, pad in zip(_space(builder), padding, strict=True):
        x = builder.pad_zeros(x, axis, pad, pad)
    return builder.max_pool(x, kernel, stride) if kind == "max" else builder.average_pool(x, kernel, stride)


def lower_adaptive_pool(builder: GraphBuilder, x: str, pool: nn.AdaptiveAvgPool2d) -> str:
    """Return a map brought to a height and a width, each place the mean of a window.

    Windows that are equally long and equally far from each other are an average pooling. Others are a product with a
    matrix of means for each side.
    """
    sides = tuple(builder.shape(x)[axis] for axis in _space(builder))
    wanted = _wanted(pool, sides)
    windows = [_windows(side, count) for side, count in zip(sides, wanted, strict=True)]
    even = [_even(one) for one in windows]
    if even[0] is not None and even[1] is not None:
        kernel, stride = zip(*even, strict=True)
        return builder.average_pool(x, kernel, stride)
    first, last = (0, 3, 1, 2), (0, 2, 3, 1)
    if builder.layout == "channels_last":
        x = builder.transpose(x, first)
    # Width first, which lies along the last axis. Equal matrices would be one constant, and products that share their
    # weights are taken for steps of a recurrence where a file is quantized: a factor of two tells them apart.
    for axis, factor in ((1, 2.0), (0, 0.5)):
        means = _means(windows[axis], sides[axis]) * factor
        x = builder.transpose(builder.linear(x, means), (0, 1, 3, 2))
    return builder.transpose(x, last) if builder.layout == "channels_last" else x


def fold_batch_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Floats, Floats]:
    """Return weight and bias of one convolution in place of a convolution and its batch norm, float64."""
    with torch.no_grad():
        weight = np.asarray(conv.weight.double())
        bias = np.zeros(len(weight)) if conv.bias is None else np.asarray(conv.bias.double())
    if norm is None:
        return weight, bias
    scale, shift = norm_factors(norm)
    return weight * scale[:, None, None, None], bias * scale + shift


def _space(builder: GraphBuilder) -> tuple[int, int]:
    """Return the axes of height and width."""
    return (2, 3) if builder.layout == "channels_first" else (1, 2)


def _wanted(pool: nn.AdaptiveAvgPool2d, sides: tuple[int, ...]) -> list[int]:
    """Return the height and the width that a pooling gives."""
    size = pool.output_size
    pair = (size, size) if isinstance(size, int) or size is None else tuple(size)
    return [side if one is None else one for one, side in zip(pair, sides, strict=True)]


def _windows(side: int, count: int) -> list[tuple[int, int]]:
    """Return where each window of an adaptive pooling begins and ends, as torch lays them."""
    return [(place * side // count, -(-(place + 1) * side // count)) for place in range(count)]


def _even(windows: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Return length and distance of windows, None where they are not all alike."""
    lengths = {stop - start for start, stop in windows}
    distances = {second[0] - first[0] for first, second in pairwise(windows)}
    if len(lengths) > 1 or len(distances) > 1 or 0 in distances:
        return None
    length = lengths.pop()
    return length, distances.pop() if distances else length


def _means(windows: list[tuple[int, int]], side: int) -> Floats:
    """Return (windows, side): the matrix that takes the mean over each window."""
    matrix = np.zeros((len(windows), side))
    for row, (start, stop) in zip(matrix, windows, strict=True):
        row[start:stop] = 1 / (stop - start)
    return matrix


def _pair(size: int | str | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(size, str):
        raise UnsupportedModelError(f"got padding={size!r}; expected numbers.")
    return (size, size) if isinstance(size, int) else (size[0], size[1])
