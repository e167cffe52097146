"""One line of words about a model."""

from __future__ import annotations

from edgelnn.data.dataset import Task
from edgelnn.models.classifier import build_classifier_scan
from edgelnn.models.liquid_layers import layer_sizes
from edgelnn.models.outputs import choose_output
from edgelnn.models.recurrent import recurrent_layers
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
    ReservoirHead,
    ScanSpec,
    StemSpec,
)
from edgelnn.models.together import images_together

__all__ = ["describe"]

_READOUTS = {"last": "last step", "mean": "mean over steps", "joined": "all steps joined"}


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
        how = [name for name, is_so in (("pretrained", stem.pretrained), ("frozen", stem.frozen)) if is_so]
        parts.append(f"{stem.kind} ({', '.join(how)})" if how else stem.kind)
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
    before = ""
    if not isinstance(head, ReservoirHead):
        before = "batch norm, " if head.batch_norm else ""
    if isinstance(head, DenseHead):
        readout = "mean of hidden" if head.mean_of == "hidden" else _READOUTS[head.readout]
        return f"{before}dense {'-'.join(map(str, [*head.widths, scores]))}, {readout}"
    readout = f"{_READOUTS[head.readout]}{_warning(head)}"
    if isinstance(head, ReservoirHead):
        return f"reservoir of {head.units}, {readout}"
    both = ", both directions" if head.bidirectional else ""
    if isinstance(head, RecurrentHead):
        layers = "-".join(map(str, recurrent_layers(head)))
        activation = "" if head.readout_activation == "none" else f", {head.readout_activation}"
        return f"{before}{head.kind.upper()} {layers}{both}{activation}, {readout}"
    name = {"cfc": "CfC", "ltc": "LTC"}[head.kind]
    sizes = layer_sizes(head, scores)
    units = "-".join(str(units) if units == outputs else f"{units}/{outputs}" for units, outputs in sizes)
    wiring = "dense" if head.wiring == "none" else head.wiring
    return f"{before}{name} {wiring} {units}{both}, {readout}"


def _warning(head: HeadSpec) -> str:
    """Return what has to be said of a head that repeats the mistake of recurring over the batch."""
    together = images_together(head)
    return "" if together is None else f", recurring over batches of {together} images (a published mistake)"
