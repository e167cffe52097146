"""Recurrent layers of heads in the form that takes the fewest bytes."""

from __future__ import annotations

from torch import nn

from edgelnn.errors import UnsupportedModelError
from edgelnn.models.cfc import CfCLayer
from edgelnn.models.dense_cfc import DenseCfCLayer
from edgelnn.models.heads import Bidirectional
from edgelnn.models.ltc import LTCLayer
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.looped_cfc import lower_looped_cfc, lower_looped_dense_cfc
from edgelnn_export.lowering.looped_ltc import lower_looped_ltc
from edgelnn_export.lowering.looped_results import plain
from edgelnn_export.lowering.signals import Steps, Vector, join_features
from edgelnn_export.lowering.weights import cfc_stack, dense_cfc, ltc_cell

__all__ = ["lower_looped_liquid"]


def lower_looped_liquid(
    builder: GraphBuilder, layer: nn.Module, sequence: Steps, *, last: bool, absorbed: bool
) -> Steps | Vector:
    """Return what a liquid layer, or a pair of them, says at every step or after the last, as loops over time.

    Args:
        builder: Where to.
        layer: CfC or LTC of `edgelnn.models`, or a pair of them.
        sequence: Its input.
        last: Only what it says after its last step is wanted.
        absorbed: A matrix follows that takes in what is left out.

    Raises:
        UnsupportedModelError: The layer is of another kind.
    """
    pair = (layer.onward, layer.backward) if isinstance(layer, Bidirectional) else (layer,)
    results: list[Steps | Vector] = []
    for way, one in enumerate(pair):
        backward = bool(way)
        result: Steps | Vector
        if isinstance(one, CfCLayer):
            result = lower_looped_cfc(builder, cfc_stack(one), sequence, backward=backward, last=last)
        elif isinstance(one, DenseCfCLayer):
            result = lower_looped_dense_cfc(builder, dense_cfc(one), sequence, backward=backward, last=last)
        elif isinstance(one, LTCLayer):
            result = lower_looped_ltc(builder, ltc_cell(one), sequence, backward=backward, last=last)
        else:
            raise UnsupportedModelError(f"got a layer of type {type(one).__name__}; expected a CfC or an LTC.")
        results.append(result if absorbed else plain(builder, result))
    return results[0] if len(results) == 1 else join_features(builder, results[0], results[1])
