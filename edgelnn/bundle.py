"""Bundle: the folder an export leaves; what a board needs and nothing else.

Imports the standard library, numpy and edgelnn's light modules only.

    manifest.json   everything about the model and each of its files (`Manifest`)
    golden.npz      images (n, [d,] h, w, c) uint8 and probabilities (n, outputs) float32: what every file must answer
    *.onnx *.tflite one file per variant
    predict.py      runs the recommended variant with numpy and one runtime, nothing of ours
    README.md       for whoever finds the folder later
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgelnn.preprocessing import Layout, Preprocessing

__all__ = ["FORMAT_VERSION", "Bundle", "Manifest", "ModelFacts", "Rejected", "Tensor", "Variant"]

FORMAT_VERSION = 1

ModelFormat = Literal["onnx", "tflite"]


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model file; -1 stands for any batch size."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Variant:
    """One model file of a bundle.

    Attributes:
        name: Short and unique in the bundle: format and recipe, such as ``"onnx-float32"``.
        format: ``onnx`` or ``tflite``.
        recipe: ``float32``, ``dynamic_wi8_afp32``, ``static_wi8_ai8``, …
        file: Name of the file in the bundle, without folders.
        size_bytes: Its size.
        sha256: Of its bytes, in hex.
        layout: Order of the axes of its input.
        input: Its one input, ``image``.
        output: Its one output, ``probabilities``.
        parity_max_error: Largest difference of any probability from the PyTorch model's on the parity inputs.
        tolerance: What `parity_max_error` had to stay below; None where the variant is judged by AUC instead.
        validation: Figures on the validation split: ``auc``, ``accuracy``, ``agreement`` (share of decisions equal to the PyTorch model's).
        test: The same on the test split, evaluated once.
    """

    name: str
    format: ModelFormat
    recipe: str
    file: str
    size_bytes: int
    sha256: str
    layout: Layout
    input: Tensor
    output: Tensor
    parity_max_error: float
    tolerance: float | None
    validation: Mapping[str, float]
    test: Mapping[str, float]


@dataclass(frozen=True)
class Rejected:
    """A candidate that was built or tried and is not in the bundle, with why and its figures."""

    name: str
    format: ModelFormat
    recipe: str
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFacts:
    """What the model is, once for all variants.

    Attributes:
        name: The experiment's name.
        architecture: One line: stem, scan and head in words.
        parameters: ``trainable``, ``stored`` (with constant masks) and ``active`` (trainable weights that the wiring lets through).
        macs: Multiply-accumulate operations for one image.
        validation, test: The PyTorch model's own ``auc`` and ``accuracy``.
    """

    name: str
    architecture: str
    parameters: Mapping[str, int]
    macs: int
    validation: Mapping[str, float]
    test: Mapping[str, float]


@dataclass(frozen=True)
class Manifest:
    """Contents of ``manifest.json``.

    Attributes:
        recommended: Name of the variant that commands given the bundle use.
        task: MedMNIST's name of the task.
        class_names: One per class, or per label.
        positive_class: Index of the disease, None where there is none.
        output_kind: ``softmax``: one probability per class. ``sigmoid``: one probability per label, or (binary) one number, the probability of class 1.
        threshold: Decision threshold on the probability of the positive class (binary), or on each label (multi-label).
        preprocessing: From uint8 pixels to the model's input.
        statistics: Of the training images' pixel values, to notice inputs that do not look like them: ``mean`` and ``std`` over
            images of each image's mean and standard deviation (see `edgelnn.inputs`).
        dataset: ``name``, ``licence``, ``source``, ``digest``.
        synthetic: Trained on synthetic images.
        versions: Of what wrote the bundle.
    """

    recommended: str
    task: str
    class_names: tuple[str, ...]
    positive_class: int | None
    output_kind: Literal["softmax", "sigmoid"]
    threshold: float
    preprocessing: Preprocessing
    statistics: Mapping[str, float]
    dataset: Mapping[str, str]
    synthetic: bool
    model: ModelFacts
    variants: tuple[Variant, ...]
    rejected: tuple[Rejected, ...]
    versions: Mapping[str, str]
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Bundle:
    """A bundle folder and its manifest."""

    folder: Path
    manifest: Manifest
