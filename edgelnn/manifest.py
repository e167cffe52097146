"""What a bundle's ``manifest.json`` says: frozen values, read strictly and checked for sense.

Imports the standard library and edgelnn's light modules only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from edgelnn.choice import Choice
from edgelnn.decode import DecodeError, decode, parse_json, write_json
from edgelnn.errors import BundleError, DataError
from edgelnn.preprocessing import Layout, Preprocessing
from edgelnn.splits import Splits
from edgelnn.tensor import Tensor as Tensor

__all__ = ["FORMAT_VERSION", "Golden", "Manifest", "ModelFacts", "ModelFormat", "Rejected", "Tensor", "Variant"]

FORMAT_VERSION = 1

ModelFormat = Literal["onnx", "tflite"]
Task = Literal["binary-class", "multi-class", "multi-label", "ordinal-regression"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_VALUES = 2**28  # in one image or one output: a gigabyte of float32


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
        validation: Figures on the validation split: ``auc``, ``accuracy``, ``agreement`` (share of decisions equal to
            the PyTorch model's).
        test: The same on the test split, evaluated once.
        references: Largest difference from the PyTorch model's of any probability that the file gives in other
            evaluators, by evaluator: for float32 ONNX files ONNX's own reference evaluator.
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
    references: Mapping[str, float] = field(default_factory=dict)


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
        parameters: ``trainable``, ``stored`` (with constant masks) and ``active`` (trainable weights that the wiring
            lets through).
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
class Golden:
    """The file of inputs and expected answers.

    Attributes:
        file: Name of the file in the bundle.
        size_bytes: Its size.
        sha256: Of its bytes, in hex.
        images: How many there are.
    """

    file: str
    size_bytes: int
    sha256: str
    images: int


@dataclass(frozen=True)
class Manifest:
    """Contents of ``manifest.json``.

    Attributes:
        recommended: Name of the variant that commands given the bundle use.
        task: MedMNIST's name of the task.
        class_names: One per class, or per label.
        positive_class: Index of the disease, None where there is none.
        output_kind: ``softmax``: one probability per class. ``sigmoid``: one probability per label, or (binary) one
            number, the probability of class 1.
        threshold: Decision threshold on the probability of the positive class (binary), or on each label
            (multi-label).
        preprocessing: From uint8 pixels to the model's input.
        statistics: Of the training images' pixel values, to notice inputs that do not look like them (see
            `edgelnn.inputs`).
        dataset: ``name``, ``licence``, ``source``, ``digest``.
        synthetic: Trained on synthetic images.
        golden: Inputs and expected answers.
        versions: Of what wrote the bundle.
        choice: How the files were chosen.
        splits: How the data were divided; None in bundles of an older edgelnn.
    """

    recommended: str
    task: Task
    class_names: tuple[str, ...]
    positive_class: int | None
    output_kind: Literal["softmax", "sigmoid"]
    threshold: float
    preprocessing: Preprocessing
    statistics: Mapping[str, float]
    dataset: Mapping[str, str]
    synthetic: bool
    model: ModelFacts
    golden: Golden
    variants: tuple[Variant, ...]
    rejected: tuple[Rejected, ...]
    versions: Mapping[str, str]
    choice: Choice = field(default_factory=Choice)
    splits: Splits | None = None
    format_version: int = FORMAT_VERSION

    @property
    def outputs(self) -> int:
        """How many numbers the model answers for one image."""
        one_number = self.output_kind == "sigmoid" and self.task == "binary-class"
        return 1 if one_number else len(self.class_names)

    def to_json(self) -> str:
        """Return the text of ``manifest.json``.

        Raises:
            BundleError: It would not be read back: a value makes no sense.
        """
        _check(self)
        try:
            return write_json(self)
        except DecodeError as error:
            raise BundleError(f"the manifest {error}.") from error

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Return the manifest that a text holds.

        Raises:
            BundleError: It is not JSON, was written by a newer version, lacks a field, holds an unknown one or one of
                another type, or a value makes no sense.
        """
        try:
            value = parse_json(text)
            version = value.get("format_version") if isinstance(value, dict) else None
            if type(version) is int and version > FORMAT_VERSION:
                raise BundleError(
                    f"the manifest has format_version {version}; this edgelnn reads {FORMAT_VERSION}. Update it."
                )
            manifest = decode(cls, value)
        except DecodeError as error:
            raise BundleError(f"the manifest is not valid: {error}.") from error
        except DataError as error:  # of the preprocessing, which checks itself
            raise BundleError(f"the manifest is not valid: {error}") from error
        _check(manifest)
        return manifest


def _check(manifest: Manifest) -> None:
    """Raise `BundleError` where a value of the right type makes no sense."""
    count, names = len(manifest.class_names), manifest.class_names
    _expect(manifest.format_version == FORMAT_VERSION, "format_version", manifest.format_version, f"{FORMAT_VERSION}")
    named = (
        1 <= count <= 10_000
        and len(set(names)) == count
        and all(names)
        and not any("\n" in n or "\t" in n for n in names)
    )
    _expect(named, "class_names", names, "at least one, each non-empty and there once")
    binary = manifest.task == "binary-class"
    _expect(not binary or count == 2, "class_names", names, "two for a binary-class task")
    positive = manifest.positive_class
    _expect(positive is None or 0 <= positive < count, "positive_class", positive, f"null or 0 to {count - 1}")
    _expect(0 <= manifest.threshold <= 1, "threshold", manifest.threshold, "0 to 1")
    shape = manifest.preprocessing.image_shape
    sensible = len(shape) in (3, 4) and all(side >= 1 for side in shape) and math.prod(shape) <= _MOST_VALUES
    _expect(sensible, "preprocessing.image_shape", shape, "([depth,] height, width, channels) of a sensible size")
    std = manifest.preprocessing.std
    _expect(
        all(one > 0 for one in (std if isinstance(std, tuple) else (std,))), "preprocessing.std", std, "more than 0"
    )
    crop = manifest.preprocessing.crop
    if crop is not None:
        sensible = 0 <= crop.threshold <= 254 and 0 <= crop.margin <= 4096 and 0 <= crop.least_area <= 1
        _expect(
            sensible, "preprocessing.crop", crop, "a threshold of 0 to 254, a margin of 0 to 4096, an area of 0 to 1"
        )
    splits = manifest.splits
    _expect(splits is None or splits.makes_sense, "splits", splits, "shares of 0 to 1, a fold or a draw that can be")
    golden = manifest.golden
    _check_file("golden", golden.file, golden.size_bytes, golden.sha256, ".npz")
    _expect(1 <= golden.images <= 10_000, "golden.images", golden.images, "1 to 10000")
    _expect(len(manifest.variants) >= 1, "variants", "empty", "at least one")
    for index, variant in enumerate(manifest.variants):
        _check_variant(manifest, variant, f"variants[{index}]")
    variant_names = [variant.name for variant in manifest.variants]
    _check_unique("a variant's name", variant_names)
    _check_unique("a file's name", [golden.file, *(variant.file for variant in manifest.variants)])
    recommended = manifest.recommended
    _expect(recommended in variant_names, "recommended", recommended, f"one of {', '.join(variant_names)}")


def _check_variant(manifest: Manifest, variant: Variant, where: str) -> None:
    _expect(_NAME.fullmatch(variant.name) is not None, f"{where}.name", variant.name, "letters, digits, . _ and -")
    _check_file(where, variant.file, variant.size_bytes, variant.sha256, f".{variant.format}")
    given, made = variant.input.shape, manifest.preprocessing.input_shape(variant.layout)
    batch = given[:1]
    fits = batch in ((1,), (-1,)) and given[1:] == made
    _expect(fits, f"{where}.input.shape", given, f"1 or -1 (any batch), then {made} as the preprocessing makes it")
    wanted = manifest.preprocessing.input_type
    _expect(variant.input.dtype == wanted, f"{where}.input.dtype", variant.input.dtype, f"{wanted}, as preprocessed")
    answers = (*batch, manifest.outputs)
    _expect(variant.output.shape == answers, f"{where}.output.shape", variant.output.shape, f"{answers}")
    for tensor, name in ((variant.input, "input"), (variant.output, "output")):
        known = tensor.dtype in ("float32", "uint8", "int8")
        _expect(known, f"{where}.{name}.dtype", tensor.dtype, "float32, uint8 or int8")
    error = variant.parity_max_error
    _expect(error >= 0, f"{where}.parity_max_error", error, "0 or more")
    for name, difference in variant.references.items():
        _expect(difference >= 0, f"{where}.references.{name}", difference, "0 or more")


def _check_file(where: str, file: str, size_bytes: int, sha256: str, suffix: str) -> None:
    named = _NAME.fullmatch(file) is not None and file.endswith(suffix)
    _expect(named, f"{where}.file", file, f"a file's name (letters, digits, . _ and -, no folders) ending in {suffix}")
    _expect(0 < size_bytes < 2**31, f"{where}.size_bytes", size_bytes, "1 byte to 2 GiB")
    _expect(_SHA256.fullmatch(sha256) is not None, f"{where}.sha256", sha256, "64 hexadecimal digits")


def _check_unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        # Two names that differ in case alone are one file on some systems.
        _expect(name.lower() not in seen, what, name, "each name once")
        seen.add(name.lower())


def _expect(holds: bool, field_name: str, found: object, expected: str) -> None:
    if holds:
        return
    said = " ".join(str(found).split())
    said = said if len(said) <= 120 else said[:117] + "..."
    raise BundleError(f"the manifest is not valid: {field_name} is {said}; expected {expected}.")
