"""Classifiers: stem → scan → head, with liquid cells that compute ncps's mathematics through an exact rewrite.

Names load on first use, so that reading a specification does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgelnn.models.cfc import CfCLayer as CfCLayer
    from edgelnn.models.classifier import Classifier as Classifier
    from edgelnn.models.classifier import build_classifier as build_classifier
    from edgelnn.models.dense_cfc import DenseCfCLayer as DenseCfCLayer
    from edgelnn.models.description import describe as describe
    from edgelnn.models.liquid import load_ncps_state_dict as load_ncps_state_dict
    from edgelnn.models.ltc import LTCLayer as LTCLayer
    from edgelnn.models.parameters import ParameterCounts as ParameterCounts
    from edgelnn.models.parameters import count_parameters as count_parameters
    from edgelnn.models.specification import ModelSpec as ModelSpec
    from edgelnn.models.wirings import WiringPlan as WiringPlan

_HOMES = {
    "CfCLayer": "cfc",
    "Classifier": "classifier",
    "DenseCfCLayer": "dense_cfc",
    "LTCLayer": "ltc",
    "ModelSpec": "specification",
    "ParameterCounts": "parameters",
    "WiringPlan": "wirings",
    "build_classifier": "classifier",
    "count_parameters": "parameters",
    "describe": "description",
    "load_ncps_state_dict": "liquid",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import the module that holds `name` and return it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
