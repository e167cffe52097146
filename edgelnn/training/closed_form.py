"""Fitting a reservoir's read-out in closed form: ridge regression, its strength and its scale chosen on validation.

Papers: A. Hoerl, R. Kennard (1970), "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 12,
doi:10.1080/00401706.1970.10488634; C. Guo, G. Pleiss, Y. Sun, K. Weinberger (2017), "On calibration of modern neural
networks", ICML, section 4.2, for the scale.

With x what the read-out reads and y the targets, both less their means over the training split, and v the mean variance
of the x, the weights of strength s are ``(xᵀx / n + s v I)⁻¹ xᵀy / n``. Targets are 1 for the true class and 0 for the
others where the scores go through a softmax, 1 and -1 where they go through sigmoids. Of all strengths whose squared
error on the validation split is within one standard error of the least, the largest is kept (T. Hastie, R. Tibshirani,
J. Friedman, 2009, "The elements of statistical learning", section 7.10): weaker ones win nothing that validation can
tell. Weak ridges have large weights, which let every rounding of a state through. So a strength counts only where
answers in float32 are within `ROUNDING` of those in float64 (where there is one that does, else the largest is taken):
a file's are held to 1e-5 of the model's, and a model that is not known as well as that could not be proved.

Scores fitted so are no logits: a softmax of numbers between 0 and 1 would call every answer a guess. So they are
multiplied by the one number that gives the least cross-entropy on the validation split; no decision of a softmax and
no AUC depends on it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgelnn.errors import ConfigError, TrainingError
from edgelnn.models.heads import Reservoir
from edgelnn.models.specification import ReservoirHead

if TYPE_CHECKING:
    from edgelnn.data.dataset import Split
    from edgelnn.models import Classifier
    from edgelnn.preprocessing import Preprocessing
    from edgelnn.training.experiment import Experiment

__all__ = ["RidgeFit", "check_closed_form", "fit_readout", "is_closed_form"]

WIDEST = 8192  # numbers that a read-out reads: the system to solve is as large on either side
PIXELS = 1 << 20
ROUNDING = 3e-6  # of probabilities, from float32 to float64
PROBED = 128  # images that rounding is measured on
SCALES = np.geomspace(0.1, 30.0, 400)


@dataclass(frozen=True)
class RidgeFit:
    """What was chosen on the validation split.

    Attributes:
        strength: Of the ridge.
        scale: By what the scores are multiplied.
        errors: Squared error on the validation split by strength.
        roundings: Largest difference of a probability in float32 to that in float64 by strength.
        train_scores: (n, scores) of the training split.
    """

    strength: float
    scale: float
    errors: dict[float, float]
    roundings: dict[float, float]
    train_scores: Tensor


def is_closed_form(classifier: Classifier) -> bool:
    """Return whether a classifier is fitted at once and not by gradients."""
    return isinstance(classifier.head, Reservoir)


def check_closed_form(experiment: Experiment, classifier: Classifier) -> None:
    """Hold an experiment to what can be fitted in closed form; one that trains by gradients passes.

    Raises:
        ConfigError: Something else would have to be trained, or training is asked for what has no part in a fit.
    """
    head = classifier.head
    if not isinstance(head, Reservoir):
        return
    own = {id(parameter) for parameter in head.linear.parameters()}
    left = sum(p.numel() for p in classifier.parameters() if p.requires_grad and id(p) not in own)
    if left:
        raise ConfigError(
            f"got {left:,} trainable parameters before a reservoir; its read-out is fitted in closed form, and nothing "
            "else learns. Use stem.kind='identity' or a frozen backbone, and leave scan.reduce_to out."
        )
    training = experiment.training
    for name, found in (("augment", training.augment), ("class_weights", training.class_weights)):
        if found not in (False, "none"):
            raise ConfigError(
                f"training.{name}: got {found!r} for a reservoir; its read-out is fitted in closed form, once, on the "
                f"images as they are. Leave training.{name} out."
            )
    if head.linear.in_features > WIDEST:
        raise ConfigError(
            f"got a read-out of {head.linear.in_features:,} numbers; in closed form that takes a system of as many "
            f"equations, and {WIDEST:,} is the most. Set head.readout='mean' or 'last', or fewer units."
        )


def fit_readout(
    classifier: Classifier,
    train: Split,
    validation: Split,
    preprocessing: Preprocessing,
    progress: Callable[[int, int], None],
) -> RidgeFit:
    """Fit the linear layer of a classifier with a reservoir, and return what was chosen.

    Args:
        classifier: Gets the weights; no other of its numbers changes.
        train: To fit on.
        validation: To choose strength and scale on.
        preprocessing: From pixels to inputs.
        progress: Called with pieces of images done and in all.

    Raises:
        TrainingError: The states are no numbers, as with a spectral radius far above 1.
    """
    head, spec = classifier.head, classifier.spec.head
    if not isinstance(head, Reservoir) or not isinstance(spec, ReservoirHead):
        raise TypeError(f"got a head of type {type(head).__name__}; expected a Reservoir")
    read = [_read(classifier, split.images, preprocessing, progress) for split in (train, validation)]
    if not all(bool(torch.isfinite(one).all()) for one in read):
        raise TrainingError("the reservoir's states are no numbers any more. Try a smaller head.spectral_radius.")
    targets = [_targets(split, classifier).to(read[0]) for split in (train, validation)]
    center, bias = read[0].mean(0), targets[0].mean(0)
    weights = _ridge(read[0] - center, targets[0] - bias, spec.strengths)
    softmax = classifier.output_kind == "softmax"
    probed = read[1][:PROBED].float() - center.float()
    exact = _read(copy.deepcopy(classifier).double(), validation.images[:PROBED], preprocessing) - center.float()
    each, scales, roundings = {}, {}, {}
    for strength, weight in zip(spec.strengths, weights, strict=True):
        scores = (read[1] - center) @ weight + bias
        each[strength] = (scores - targets[1]).square().mean(1)
        scale = scales[strength] = _scale(scores, targets[1], softmax=softmax)
        short, long = (
            probed @ (weight * scale).float() + (bias * scale).float(),
            (exact @ weight + bias) * scale,
        )
        answers = [one.softmax(1) if softmax else one.sigmoid() for one in (short.double(), long)]
        roundings[strength] = float((answers[0] - answers[1]).abs().max())
    errors = {strength: float(error.mean()) for strength, error in each.items()}
    if not all(np.isfinite(error) for error in errors.values()):
        raise TrainingError("the ridge regression gives no numbers. Try larger head.strengths.")
    sound = [one for one in errors if roundings[one] <= ROUNDING] or [max(errors)]
    least = each[min(sound, key=lambda one: errors[one])]
    bearable = float(least.mean() + least.std(correction=0) / len(least) ** 0.5)
    strength = max(one for one in sound if errors[one] <= bearable)
    chosen, scale = spec.strengths.index(strength), scales[strength]
    with torch.no_grad():
        head.linear.weight.copy_(weights[chosen].t() * scale)
        head.linear.bias.copy_(bias * scale)
        head.center.copy_(center)
        head.strength.fill_(strength)
        scores = head.linear((read[0] - center).to(head.linear.weight)).cpu()
    return RidgeFit(strength, scale, errors, roundings, scores)


def _read(
    classifier: Classifier,
    images: NDArray[np.uint8],
    preprocessing: Preprocessing,
    progress: Callable[[int, int], None] = lambda done, pieces: None,
) -> Tensor:
    """Return what the read-out reads of every image (n, width), float64, computed in the classifier's type."""
    head = classifier.head
    if not isinstance(head, Reservoir):
        raise TypeError(f"got a head of type {type(head).__name__}; expected a Reservoir")
    size = classifier.together or max(1, PIXELS // int(np.prod(images.shape[1:])))
    starts = range(0, len(images), size)
    pieces = []
    was_training = classifier.training
    classifier.eval()
    try:
        with torch.inference_mode():
            for number, start in enumerate(starts):
                inputs = torch.from_numpy(preprocessing(images[start : start + size])).to(head.linear.weight)
                sequence = classifier.scan(classifier.feature_map(inputs))
                if not isinstance(sequence, Tensor):
                    raise TypeError("got several sequences before a reservoir")
                pieces.append(head.read(sequence).double())
                progress(number + 1, len(starts))
    finally:
        classifier.train(was_training)
    return torch.cat(pieces)


def _targets(split: Split, classifier: Classifier) -> Tensor:
    """Return (n, scores): 1 and 0 where a softmax follows, 1 and -1 where sigmoids do."""
    labels = torch.from_numpy(split.labels)
    if classifier.output_kind == "softmax":
        return F.one_hot(labels.long(), classifier.outputs).double()
    return labels.reshape(len(labels), -1).double() * 2 - 1


def _ridge(x: Tensor, y: Tensor, strengths: Sequence[float]) -> list[Tensor]:
    """Return weights (width, scores) for each strength; x and y are less their means."""
    gram, cross = x.t() @ x / len(x), x.t() @ y / len(x)
    unit = gram.diagonal().mean().clamp(min=torch.finfo(gram.dtype).tiny)
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return [torch.linalg.solve(gram + strength * unit * eye, cross) for strength in strengths]


def _scale(scores: Tensor, targets: Tensor, *, softmax: bool) -> float:
    """Return by what scores (n, scores) are multiplied for the least cross-entropy."""

    def loss(scale: float) -> float:
        scaled = scores * scale
        if softmax:
            return float(F.cross_entropy(scaled, targets))
        return float(F.binary_cross_entropy_with_logits(scaled, (targets + 1) / 2))

    return float(min(SCALES, key=loss))
