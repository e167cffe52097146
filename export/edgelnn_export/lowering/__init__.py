"""From a trained classifier to an inference-only graph."""

from edgelnn_export.lowering.classifier import Optimize, Target, find_optimize, lower

__all__ = ["Optimize", "Target", "find_optimize", "lower"]
