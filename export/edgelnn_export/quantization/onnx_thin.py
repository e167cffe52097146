"""Convolutions of few channels, which ONNX Runtime computes faster in float32 than in int8.

Looking up so few numbers at a time, its integer kernel takes about three times the instructions. A static recipe leaves
them float32 and turns their result into integers, best after the pooling that follows: there is a quarter left of it.
ONNX Runtime would move that step in front of the pooling again, unless a rectifier stands between the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import onnx

__all__ = ["pool_before_rectifying", "thin_convolutions"]

_FEW_CHANNELS: Final = 4


def thin_convolutions(model: onnx.ModelProto) -> set[str]:
    """Return the first outputs of convolutions that read few channels."""
    channels = {each.name: each.dims[1] for each in model.graph.initializer if len(each.dims) == 4}
    return {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Conv" and channels.get(node.input[1], _FEW_CHANNELS) < _FEW_CHANNELS
    }


def pool_before_rectifying(model: onnx.ModelProto, convolutions: set[str]) -> None:
    """Let Relu and MaxPool behind some convolutions change places, which changes no number.

    Args:
        model: To change.
        convolutions: First outputs of the convolutions.
    """
    nodes = list(model.graph.node)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}
    for index, relu in enumerate(nodes):
        if relu.op_type != "Relu" or relu.input[0] not in convolutions or relu.output[0] in outputs:
            continue
        following = readers.get(relu.output[0], [])
        if len(following) != 1 or following[0].op_type != "MaxPool" or len(readers[relu.input[0]]) != 1:
            continue
        (pool,) = following
        # what lies between the two is another map now, and is called otherwise
        middle, end = f"{relu.output[0]}/pooled", pool.output[0]
        pool.input[0], pool.output[0] = relu.input[0], middle
        relu.input[0], relu.output[0] = middle, end
        place = next(i for i, node in enumerate(nodes) if node is pool)
        nodes[index], nodes[place] = pool, relu
    ordered = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(ordered)
