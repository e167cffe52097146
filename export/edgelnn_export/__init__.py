"""From a trained run to a bundle of ONNX and TFLite files, each proved to be the model; loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgelnn_export.build import build_bundle as build_bundle
    from edgelnn_export.graph import Graph as Graph
    from edgelnn_export.listener import Check as Check
    from edgelnn_export.listener import ExportListener as ExportListener
    from edgelnn_export.lowering import lower as lower
    from edgelnn_export.onnx_model import write_onnx as write_onnx
    from edgelnn_export.reference_evaluator import evaluate as evaluate
    from edgelnn_export.tflite_model import write_tflite as write_tflite

_HOMES = {
    "Check": "edgelnn_export.listener",
    "ExportListener": "edgelnn_export.listener",
    "Graph": "edgelnn_export.graph",
    "build_bundle": "edgelnn_export.build",
    "evaluate": "edgelnn_export.reference_evaluator",
    "lower": "edgelnn_export.lowering",
    "write_onnx": "edgelnn_export.onnx_model",
    "write_tflite": "edgelnn_export.tflite_model",
}

__all__ = ["Check", "ExportListener", "Graph", "build_bundle", "evaluate", "lower", "write_onnx", "write_tflite"]


def __getattr__(name: str) -> Any:
    """Return a public name, importing the module it lives in on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgelnn_export' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(__all__)
