"""The steps of CfC cells as operators: from the gates' pre-activations to the new state."""

from __future__ import annotations

import numpy as np

from edgelnn.models.cfc import CfCMode
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Affine, Floats, dense

__all__ = ["cfc_gate_scale", "cfc_state", "cfc_state_affine"]


def cfc_gate_scale(mode: CfCMode) -> Floats:
    """Return (gates,): by what the gates' rows are multiplied before `cfc_state` reads them."""
    return np.array([1.0]) if mode == "pure" else np.array([1.0, 1.0, 0.5])


def cfc_state_affine(mode: CfCMode, units: int, amplitude: Floats | None = None, decay: Floats | None = None) -> Affine:
    """Return the map from the raw state that `cfc_state` gives to the state itself."""
    if mode == "pure":
        if amplitude is None or decay is None:
            raise ValueError("got no amplitude or decay; mode 'pure' has both")
        return dense(np.diag(-amplitude * np.exp(-decay)), amplitude)
    return dense(np.eye(units) * 0.5)


def cfc_state(builder: GraphBuilder, z: str, mode: CfCMode, units: int) -> str:
    """Return the raw new state (1, units) from the scaled pre-activations (1, gates·units).

    ``default``: with a = tanh(ff1), b = tanh(ff2) and t = tanh(gate / 2), so that sigmoid(gate) = (1 + t) / 2, the
    state is half of ``(a + b) + t * (b - a)``. ``no_gate``: half of ``2 a + b + t * b``. ``pure``: amplitude less
    ``amplitude * exp(-decay)`` times ``f * exp(-|f|)``.
    """
    if mode == "pure":
        negative = builder.multiply(builder.unary("abs", z), np.array([-1.0]))
        return builder.multiply(z, builder.unary("exp", negative))
    a, b, t = builder.split(builder.tanh(z), 1, (units, units, units))
    if mode == "default":
        return builder.add(builder.add(a, b), builder.multiply(t, builder.subtract(b, a)))
    return builder.add(builder.add(a, builder.add(a, b)), builder.multiply(t, b))
