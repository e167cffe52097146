"""Heads: a sequence made into class scores, each layer in the form that suits the format."""

from __future__ import annotations

from typing import Literal

from torch import nn

from edgelnn.errors import UnsupportedModelError
from edgelnn.models.abstract_head import AbstractHead
from edgelnn.models.cfc import CfCLayer
from edgelnn.models.dense_cfc import DenseCfCLayer
from edgelnn.models.heads import Bidirectional, Dense, Liquid, Recurrent, Reservoir
from edgelnn.models.ltc import LTCLayer
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.cfc_dense import lower_dense_cfc
from edgelnn_export.lowering.cfc_fused import lower_fused_cfc
from edgelnn_export.lowering.cfc_skewed import lower_skewed_cfc
from edgelnn_export.lowering.looped_head import lower_looped_liquid
from edgelnn_export.lowering.looped_recurrent import lower_looped_recurrent
from edgelnn_export.lowering.ltc_staged import lower_staged_ltc
from edgelnn_export.lowering.recurrent import lower_recurrent
from edgelnn_export.lowering.reservoir import lower_reservoir
from edgelnn_export.lowering.signals import Steps, Vector, identity, join_features
from edgelnn_export.lowering.weights import cfc_stack, dense_cfc, ltc_cell, norm_factors, numbers

__all__ = ["Optimize", "Target", "lower_head"]

Target = Literal["onnx", "tflite"]
Optimize = Literal["latency", "size"]


def lower_head(builder: GraphBuilder, head: nn.Module, sequence: Steps, target: Target, optimize: Optimize) -> str:
    """Return the class scores (1, scores) of a head.

    Args:
        builder: Where to.
        head: Of `edgelnn.models`.
        sequence: The scanned map.
        target: Format that the graph is meant for.
        optimize: What counts there.

    Raises:
        UnsupportedModelError: The head is of a kind that this module does not know, or answers images together.
    """
    if getattr(head, "over_batch", False):
        raise UnsupportedModelError(
            "got a head with over='batch': its answer depends on which images come together, and a file answers each "
            "alone. Train it with head.over='time'."
        )
    if isinstance(head, Reservoir):
        read = lower_reservoir(builder, head, sequence, blocks=target == "tflite")
        return read.read(builder, numbers(head.linear.weight), numbers(head.linear.bias))
    if isinstance(head, AbstractHead) and head.norm is not None:
        sequence = Steps(sequence.rows, sequence.steps, sequence.affine.followed_by(*norm_factors(head.norm)))
    if isinstance(head, Dense):
        return _lower_dense(builder, head, sequence)
    if isinstance(head, Liquid):
        result: Steps | Vector = sequence
        for index, layer in enumerate(head.layers):
            if not isinstance(result, Steps):
                raise TypeError("got a vector between liquid layers")
            if index:
                result = result.activated(builder, head.activation)
            final = index == len(head.layers) - 1
            last = final and head.readout == "last"
            if optimize == "size":
                absorbed = head.linear is not None if final else head.activation == "none"
                result = lower_looped_liquid(builder, layer, result, last=last, absorbed=absorbed)
            else:
                result = _lower_liquid(builder, layer, result, target, last=last)
        return _read_out(builder, result, head.readout, head.linear)
    if isinstance(head, Recurrent):
        result = _lower_recurrent(builder, head, sequence, target, optimize)
        return _read_out(builder, result, head.readout, head.linear)
    known = "Dense, Liquid, Recurrent or Reservoir"
    raise UnsupportedModelError(f"got a head of type {type(head).__name__}; expected {known}.")


def _lower_recurrent(
    builder: GraphBuilder, head: Recurrent, sequence: Steps, target: Target, optimize: Optimize
) -> Steps | Vector:
    """Return what the last of a head's recurrent layers says at every step, or after the last."""
    result: Steps | Vector = sequence
    modules = head.modules_in_order
    for index, module in enumerate(modules):
        if not isinstance(result, Steps):
            raise TypeError("got a vector between recurrent layers")
        last = head.readout == "last" and index == len(modules) - 1
        if optimize == "size" and target == "tflite":  # ONNX's fused operators are the smallest there is
            result = lower_looped_recurrent(builder, module, result, last=last)
        else:
            fused = "all" if target == "onnx" else "onward"
            result = lower_recurrent(builder, module, result, last=last, fused=fused)
    return result.activated(builder, head.activation)


def _lower_liquid(
    builder: GraphBuilder, layer: nn.Module, sequence: Steps, target: Target, *, last: bool
) -> Steps | Vector:
    """Return what a liquid layer, or a pair of them, says at every step or after the last."""
    pair = (layer.onward, layer.backward) if isinstance(layer, Bidirectional) else (layer,)
    if isinstance(pair[0], CfCLayer) and (target == "tflite" or pair[0].mode == "pure"):
        stacks = [(cfc_stack(one), bool(way)) for way, one in enumerate(pair) if isinstance(one, CfCLayer)]
        return lower_skewed_cfc(builder, stacks, sequence, last=last)
    results: list[Steps | Vector] = []
    for way, one in enumerate(pair):
        backward = bool(way)
        if isinstance(one, CfCLayer):
            results.append(lower_fused_cfc(builder, cfc_stack(one), sequence, backward=backward, last=last))
        elif isinstance(one, DenseCfCLayer):
            doubled = target == "onnx"
            results.append(
                lower_dense_cfc(builder, dense_cfc(one), sequence, backward=backward, last=last, doubled=doubled)
            )
        elif isinstance(one, LTCLayer):
            halved = target == "tflite"
            results.append(
                lower_staged_ltc(
                    builder, ltc_cell(one), sequence, backward=backward, last=last, halved=halved, fused=not halved
                )
            )
        else:
            raise UnsupportedModelError(f"got a layer of type {type(one).__name__}; expected a CfC or an LTC.")
    return results[0] if len(results) == 1 else join_features(builder, results[0], results[1])


def _read_out(builder: GraphBuilder, result: Steps | Vector, readout: str, linear: nn.Linear | None) -> str:
    """Return the class scores: the read-out and the linear layer, which are one matrix."""
    if isinstance(result, Steps):
        result = {"last": result.last, "mean": result.mean, "joined": result.joined}[readout](builder)
    if linear is None:
        return result.plain(builder)
    return result.read(builder, numbers(linear.weight), numbers(linear.bias))


def _lower_dense(builder: GraphBuilder, head: Dense, sequence: Steps) -> str:
    """Return the class scores of linear layers with ReLU between; steps that nobody reads are left out."""
    last = head.readout == "last" or sequence.steps == 1
    value: Steps | Vector = sequence.last(builder) if last else sequence
    for index, layer in enumerate(head.hidden):
        if not isinstance(layer, nn.Linear):
            raise TypeError(f"got a {type(layer).__name__} among the hidden layers; expected Linear")
        if head.mean_of_hidden and index == len(head.hidden) - 1 and isinstance(value, Steps):
            value, last = value.mean(builder), True  # the mean of a product is the product of the mean
        result = value.read(builder, numbers(layer.weight), numbers(layer.bias), "relu")
        affine = identity(layer.out_features)
        value = Vector(result, affine) if last else Steps(result, sequence.steps, affine)
    return _read_out(builder, value, head.readout, head.linear)
