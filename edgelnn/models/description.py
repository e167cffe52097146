"""One line of words about a model."""

from __future__ import annotations

from edgelnn.data.dataset import Task
from edgelnn.models.classifier import build_classifier_scan
from edgelnn.models.liquid_layers import layer_sizes
from edgelnn.models.outputs import choose_output
from edgelnn.models.reduction import reduced_features
from edgelnn.models.scans import AnyScan, ParallelScans
from edgelnn.models.specification import (
    BackboneStem,
    ConvStem,
    DenseHead,
    HeadSpec,
    IdentityStem,
    ModelSpec,
    ParallelScan,
    RecurrentHead,
    ScanSpec,
    StemSpec,
)

__all__ = ["describe"]


def describe(spec: ModelSpec, *, image_shape: tuple[int, ...], task: Task, classes: int) -> str:
    """Return stem, scan and head in one line; builds no weights.

    Args:
        spec: The model.
        image_shape: (h, w, c), or (d, h, w, c) for volumes.
        task: MedMNIST's name of the task.
        classes: Classes, or labels where the task is multi-label.

    Raises:
        ConfigError: A part does not fit the images, the task or another part.

    >>> describe(ModelSpec(), image_shape=(28, 28, 1), task="binary-class", classes=2)
    'image 28×28×1 → rows (28 steps of 28) → CfC auto 32/2, last step → softmax of 2'
    """
    scan = build_classifier_scan(spec, image_shape)
    output, scores = choose_output(spec.head, task, classes)
    parts = ["image " + "×".join(map(str, image_shape)), *_stem(spec.stem), _scan(spec.scan, scan)]
    if isinstance(spec.scan, ParallelScan):
        parts.append(f"each {_head(spec.head, spec.scan.outputs or scores)}, joined")
    else:
        parts.append(_head(spec.head, scores))
    parts.append(f"{output} of {scores}")
    return " → ".join(parts)


def _stem(stem: StemSpec) -> list[str]:
    """Return the stem in words, nothing where it is the image itself."""
    parts = []
    if isinstance(stem, ConvStem):
        parts.append("conv " + "-".join(str(layer.channels) for layer in stem.layers))
    elif isinstance(stem, BackboneStem):
        parts.append(f"{stem.kind} (frozen)" if stem.frozen else stem.kind)
    elif not isinstance(stem, IdentityStem):
        parts.append(stem.kind)
    if stem.resize is not None:
        size = (stem.resize.channels, stem.resize.height, stem.resize.width)
        parts.append("resized to " + "×".join("·" if side is None else str(side) for side in size))
    return parts


def _scan(spec: ScanSpec, scan: AnyScan) -> str:
    """Return the scan in words."""
    if isinstance(spec, ParallelScan) and isinstance(scan, ParallelScans):
        return " | ".join(_scan(one, part) for one, part in zip(spec.scans, scan.scans, strict=True))
    if isinstance(spec, ParallelScan) or isinstance(scan, ParallelScans):
        raise TypeError("got a scan that was built from another specification")
    features = reduced_features(spec, scan.features)
    reduced = "" if features == scan.features else f", reduced to {features}"
    return f"{spec.kind} ({scan.steps} step{'s' if scan.steps > 1 else ''} of {scan.features}{reduced})"


def _head(head: HeadSpec, scores: int) -> str:
    """Return the head in words."""
    readout = {"last": "last step", "mean": "mean over steps", "joined": "all steps joined"}[head.readout]
    if isinstance(head, DenseHead):
        return f"dense {'-'.join(map(str, [*head.widths, scores]))}, {readout}"
    both = ", both directions" if head.bidirectional else ""
    if isinstance(head, RecurrentHead):
        return f"{head.kind.upper()} {'-'.join([str(head.units)] * head.layers)}{both}, {readout}"
    sizes = layer_sizes(head, scores)
    name = {"cfc": "CfC", "ltc": "LTC"}[head.kind]
    units = "-".join(str(units) if units == outputs else f"{units}/{outputs}" for units, outputs in sizes)
    wiring = "dense" if head.wiring == "none" else head.wiring
    return f"{name} {wiring} {units}{both}, {readout}"
