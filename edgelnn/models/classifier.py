"""Classifier = stem → scan → head: an image made into a feature map, a sequence, and class scores."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from edgelnn.data.dataset import Task
from edgelnn.errors import ConfigError, DataError
from edgelnn.models.heads import Dense, Liquid, Recurrent, Reservoir, build_head
from edgelnn.models.outputs import OutputActivation, choose_output
from edgelnn.models.parallel import Branch, Parallel
from edgelnn.models.reduction import Reduction, build_reduction, reduced_features
from edgelnn.models.scans import AnyScan, ParallelScans, build_scan
from edgelnn.models.specification import HeadSpec, ModelSpec, ParallelScan, ReservoirHead, ScanSpec, SlicesScan
from edgelnn.models.stems import build_stem, stem_map_shape
from edgelnn.models.together import images_together

__all__ = ["Classifier", "build_classifier", "build_classifier_scan"]


@final
class Classifier(nn.Module):
    """A trained or trainable image classifier; made by `build_classifier`.

    Attributes:
        spec: What it was built from.
        image_shape: (h, w, c), or (d, h, w, c) for volumes.
        task: MedMNIST's name of the task.
        classes: Classes, or labels where the task is multi-label.
        stem: Image (or one slice of a volume) to feature map.
        scan: Feature map to sequence, or to several.
        reduction: What each step passes through before the head; None where steps stay as they are, and where there are
            several sequences, whose branches have reductions of their own.
        head: Sequence to class scores; `Parallel` where there are several sequences.
        slice_axis: Spatial axis along which a volume is cut into slices for the stem; None for images.
        output_kind: What turns scores into probabilities: ``softmax`` or ``sigmoid``.
        outputs: Number of class scores.
        together: How many images are answered together, as each answer depends on the others; None: each stands alone.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        image_shape: tuple[int, ...],
        task: Task,
        classes: int,
        stem: nn.Sequential,
        scan: AnyScan,
        reduction: Reduction | None,
        head: Dense | Liquid | Recurrent | Reservoir | Parallel,
        output: tuple[OutputActivation, int],
    ) -> None:
        super().__init__()
        self.spec = spec
        self.image_shape = image_shape
        self.task: Task = task
        self.classes = classes
        self.stem = stem
        self.scan = scan
        self.reduction = reduction
        self.head = head
        self.slice_axis = _slice_axis(spec, image_shape)
        self.output_kind: OutputActivation = output[0]
        self.outputs = output[1]
        self.together = images_together(spec.head)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores (n, outputs).

        Args:
            x: (n, c, [d,] h, w) float32.

        Raises:
            DataError: x is not of the shape the classifier was built for.
        """
        *space, channels = self.image_shape
        if tuple(x.shape[1:]) != (channels, *space):
            expected = ", ".join(map(str, [channels, *space]))
            raise DataError(f"got images of shape {tuple(x.shape)}; the classifier takes (n, {expected}).")
        if not len(x):
            return x.new_zeros(0, self.outputs)
        read = self.scan(self.feature_map(x))
        scores: Tensor = self.head(read if self.reduction is None else self.reduction(read))
        return scores

    def feature_map(self, x: Tensor) -> Tensor:
        """Return the stem's map (n, c', h', w'), or (n, slices, c', h', w') where the images are volumes."""
        if self.slice_axis is None:
            feature_map: Tensor = self.stem(x)
            return feature_map
        slices = x.movedim(2 + self.slice_axis, 1)
        maps: Tensor = self.stem(slices.flatten(0, 1))
        return maps.view(*slices.shape[:2], *maps.shape[1:])

    def probabilities(self, x: Tensor) -> Tensor:
        """Return (n, outputs): softmax over the classes, or a sigmoid per output; arguments as in `forward`."""
        scores: Tensor = self(x)
        return scores.softmax(1) if self.output_kind == "softmax" else scores.sigmoid()


def build_classifier(
    spec: ModelSpec, *, image_shape: tuple[int, ...], task: Task, classes: int, seed: int = 0
) -> Classifier:
    """Return a fresh classifier; the same seed gives the same weights, and torch's own random state is left as it was.

    Weights from elsewhere (`stem.pretrained`) are none of its business: `train` begins with them, by `find_pretrained`
    and `load_pretrained`.

    Args:
        spec: Stem, scan and head.
        image_shape: (h, w, c), or (d, h, w, c) for volumes.
        task: MedMNIST's name of the task.
        classes: Classes, or labels where the task is multi-label.
        seed: Of the weights.

    Raises:
        ConfigError: A part does not fit the images, the task or another part; the message names the field.

    >>> classifier = build_classifier(ModelSpec(), image_shape=(28, 28, 1), task="binary-class", classes=2)
    >>> tuple(classifier(torch.zeros(3, 1, 28, 28)).shape)
    (3, 2)
    """
    output = choose_output(spec.head, task, classes)
    scan = build_classifier_scan(spec, image_shape)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        stem = build_stem(spec.stem, _stem_input(spec, image_shape))
        reduction, head = _build_reader(spec.scan, spec.head, scan, output[1])
    return Classifier(
        spec,
        image_shape=tuple(image_shape),
        task=task,
        classes=classes,
        stem=stem,
        scan=scan,
        reduction=reduction,
        head=head,
        output=output,
    )


def _build_reader(
    spec: ScanSpec, head: HeadSpec, scan: AnyScan, scores: int
) -> tuple[Reduction | None, Dense | Liquid | Recurrent | Reservoir | Parallel]:
    """Return what makes class scores of what a scan reads: the reduction of its steps, and the head."""
    if isinstance(spec, ParallelScan) and isinstance(scan, ParallelScans):
        if isinstance(head, ReservoirHead):
            raise ConfigError(
                "got head.kind='reservoir' with scan.kind='parallel'; a reservoir is fitted in closed form, and what "
                "joins several heads is not. Use one scan."
            )
        outputs = spec.outputs or scores
        pairs = [_build_reader(one, head, part, outputs) for one, part in zip(spec.scans, scan.scans, strict=True)]
        return None, Parallel([Branch(*pair) for pair in pairs], outputs, scores)
    if isinstance(spec, ParallelScan) or isinstance(scan, ParallelScans):
        raise TypeError("got a scan that was built from another specification")
    features = reduced_features(spec, scan.features)
    return build_reduction(spec, scan.features), build_head(head, steps=scan.steps, features=features, scores=scores)


def build_classifier_scan(spec: ModelSpec, image_shape: tuple[int, ...]) -> AnyScan:
    """Return the scan of what the stem makes of an image; builds no weights.

    Raises:
        ConfigError: Stem or scan do not fit the images.
    """
    if len(image_shape) not in (3, 4) or min(image_shape) < 1:
        raise ConfigError(
            f"got image_shape={tuple(image_shape)}; expected (height, width, channels), with depth first for volumes."
        )
    map_shape: tuple[int, ...] = stem_map_shape(spec.stem, _stem_input(spec, image_shape))
    axis = _slice_axis(spec, image_shape)
    return build_scan(spec.scan, map_shape if axis is None else (image_shape[axis], *map_shape))


def _slice_axis(spec: ModelSpec, image_shape: tuple[int, ...]) -> int | None:
    """Return the spatial axis whose slices pass through the stem one by one; None where the image has two."""
    if len(image_shape) == 3:
        return None
    return spec.scan.axis if isinstance(spec.scan, SlicesScan) else 0


def _stem_input(spec: ModelSpec, image_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return (c, h, w) of what the stem gets: the image, or one slice of it."""
    *space, channels = image_shape
    axis = _slice_axis(spec, image_shape)
    if axis is not None:
        del space[axis]
    return channels, space[0], space[1]
