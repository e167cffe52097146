"""Backbones: torchvision's modules, walked block by block and written as convolutions, sums, products and poolings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from torch import nn

from edgelnn.errors import UnsupportedModelError
from edgelnn.models.backbones import Backbone
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.convolution import lower_adaptive_pool, lower_convolution, lower_norm, lower_pool

__all__ = ["lower_backbone"]

_UNARY: Final = {nn.ReLU: "relu", nn.Hardswish: "hard_swish", nn.Hardsigmoid: "hard_sigmoid"}


def lower_backbone(builder: GraphBuilder, image: str, backbone: Backbone) -> str:
    """Return a backbone's map.

    Args:
        builder: Where to.
        image: (·, 3, h, w) or (·, h, w, 3) by the builder's layout; with 1 in place of 3 where it is grey.
        backbone: In evaluation mode.

    Raises:
        UnsupportedModelError: It holds a module that is not known here.
    """
    channel = 1 if builder.layout == "channels_first" else 3
    if builder.shape(image)[channel] == 1:
        image = builder.concat([image] * 3, channel)
    return _lower(builder, image, backbone.features)


def _lower(builder: GraphBuilder, x: str, *modules: nn.Module) -> str:
    """Return what modules make of a map, one after the other; what follows a convolution is part of it."""
    rest = list(_in_order(modules))
    positive = False  # whether ReLU was the last to change the map
    while rest:
        module = rest.pop(0)
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
            norm = module if isinstance(module, nn.BatchNorm2d) else None
            if norm is None and rest and isinstance(rest[0], nn.BatchNorm2d):
                norm = rest.pop(0)  # type: ignore[assignment]  # it was just found to be one
            positive = bool(rest) and type(rest[0]) is nn.ReLU
            activation = "relu" if positive else "none"
            if positive:
                rest.pop(0)
            if isinstance(module, nn.Conv2d):
                x = lower_convolution(builder, x, module, norm, activation)
            else:
                x = lower_norm(builder, x, module, activation)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            x = lower_pool(builder, x, module, never_negative=positive)
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            x = lower_adaptive_pool(builder, x, module)
        elif type(module) in _UNARY:
            x, positive = builder.unary(_UNARY[type(module)], x), type(module) is nn.ReLU
        else:
            x, positive = _lower_block(builder, x, module), False
    return x


def _in_order(modules: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """Yield modules as they are computed, those of sequences one by one; what does nothing at inference is left out."""
    for module in modules:
        if isinstance(module, nn.Sequential):
            yield from _in_order(module)
        elif not isinstance(module, nn.Dropout | nn.Identity):
            yield module


def _lower_block(builder: GraphBuilder, x: str, block: nn.Module) -> str:
    """Return what one of torchvision's own blocks makes of a map."""
    from torchvision.models.densenet import _DenseBlock
    from torchvision.models.mobilenetv3 import InvertedResidual
    from torchvision.models.resnet import BasicBlock, Bottleneck
    from torchvision.ops.misc import SqueezeExcitation

    if isinstance(block, BasicBlock | Bottleneck):
        path = [block.conv1, block.bn1, block.relu, block.conv2, block.bn2]
        if isinstance(block, Bottleneck):
            path += [block.relu, block.conv3, block.bn3]
        beside = x if block.downsample is None else _lower(builder, x, block.downsample)
        return builder.unary("relu", builder.add(_lower(builder, x, *path), beside))
    if isinstance(block, InvertedResidual):
        result = _lower(builder, x, block.block)
        return builder.add(result, x) if block.use_res_connect else result
    if isinstance(block, SqueezeExcitation):
        path = [block.avgpool, block.fc1, block.activation, block.fc2, block.scale_activation]
        return builder.multiply(x, _lower(builder, x, *path))
    if isinstance(block, _DenseBlock):
        channel = 1 if builder.layout == "channels_first" else 3
        for layer in block.values():
            path = [layer.norm1, layer.relu1, layer.conv1, layer.norm2, layer.relu2, layer.conv2]
            x = builder.concat([x, _lower(builder, x, *path)], channel)
        return x
    raise UnsupportedModelError(f"got a {type(block).__name__} in a backbone; nothing is known of how to write it.")
