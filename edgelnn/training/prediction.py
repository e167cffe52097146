"""A classifier's answers for many images, in pieces that fit in memory."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgelnn.models import Classifier
from edgelnn.preprocessing import Preprocessing

__all__ = ["predict_probabilities", "predict_scores"]

PIXELS = 1 << 20  # of images in one piece: keeps the feature maps of a small network in a processor's memory


def predict_probabilities(
    classifier: Classifier, images: NDArray[np.uint8], preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Return probabilities (n, outputs) float32: softmax, or a sigmoid per output.

    Args:
        classifier: In evaluation mode while it answers.
        images: (n, [d,] h, w, c) uint8.
        preprocessing: From pixels to inputs.
    """
    scores = predict_scores(classifier, images, preprocessing)
    return (scores.softmax(1) if classifier.output_kind == "softmax" else scores.sigmoid()).numpy()


def predict_scores(classifier: Classifier, images: NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """Return class scores (n, outputs) float32 on the CPU; arguments as in `predict_probabilities`.

    A classifier that answers images together gets as many at a time as its specification says, in their order.
    """
    device = next(classifier.parameters()).device
    size = classifier.together or max(1, PIXELS // int(np.prod(images.shape[1:])))
    was_training = classifier.training
    classifier.eval()
    try:
        with torch.inference_mode():
            pieces = [
                classifier(torch.from_numpy(preprocessing(images[start : start + size])).to(device)).cpu()
                for start in range(0, len(images), size)
            ]
    finally:
        classifier.train(was_training)
    return torch.cat(pieces)
