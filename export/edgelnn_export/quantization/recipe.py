"""Recipes: how the numbers of a model file are kept, as frozen values whose names decode.

    float32                everything in 32-bit floating point
    float16                weights in 16-bit floating point, computed with as float32: the runtime widens them when it
                           loads the file
    weight_only_wi8_afp32  weights int8 (wi8), one scale a channel, computed with as float32: widened when loaded
    dynamic_wi8_afp32      dynamic range: weights int8; activations stay float32 in the file (afp32) and are quantized
                           by the runtime, image by image, around each product of matrices
    static_wi8_ai8         static range: weights and activations int8 (ai8), their ranges found beforehand on training
                           images
    static_wi8_ai16        the same with activations of 16 bits
    mixed_wi8_ai8          each layer as validation allows: static int8 where that is harmless and in front of the
                           recurrence, else weight-only int8, else float32

The terms are those of ai-edge-quantizer. A recipe says what is wanted; where a network is too delicate for it (the
recurrence of a static recipe) the format's quantizer leaves float32, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

from edgelnn.bundle import ModelFormat
from edgelnn.errors import ConfigError

__all__ = ["FLOAT32", "FORMATS", "RECIPES", "Candidate", "Recipe", "choose_candidates"]

FORMATS: Final[tuple[ModelFormat, ...]] = ("onnx", "tflite")


@final
@dataclass(frozen=True)
class Recipe:
    """How numbers are kept.

    Attributes:
        range: Where the ranges of activations come from: ``none`` and ``weight_only`` (they are not quantized),
            ``dynamic`` (found by the runtime), ``static`` (calibrated) or ``mixed`` (calibrated, where they are).
        weights: Type of the weights.
        activations: Type of the activations in the file.
    """

    range: Literal["none", "weight_only", "dynamic", "static", "mixed"]
    weights: Literal["fp32", "fp16", "i8"]
    activations: Literal["fp32", "i8", "i16"]

    @property
    def name(self) -> str:
        """The name, from which the recipe can be read.

        >>> Recipe("dynamic", "i8", "fp32").name
        'dynamic_wi8_afp32'
        """
        if self.range == "none":
            return {"fp32": "float32", "fp16": "float16"}[self.weights]
        return f"{self.range}_w{self.weights}_a{self.activations}"

    @property
    def is_quantized(self) -> bool:
        """Whether it gives other answers than float32, and is judged by AUC."""
        return self.weights != "fp32" or self.activations != "fp32"

    @property
    def holds_integers(self) -> bool:
        """Whether a file by this recipe must hold integers."""
        return self.weights == "i8"

    @property
    def needs_calibration(self) -> bool:
        """Whether images are needed to make it."""
        return self.range in ("static", "mixed")


FLOAT32: Final = Recipe("none", "fp32", "fp32")
RECIPES: Final[Mapping[str, Recipe]] = {
    recipe.name: recipe
    for recipe in (
        FLOAT32,
        Recipe("none", "fp16", "fp32"),
        Recipe("weight_only", "i8", "fp32"),
        Recipe("dynamic", "i8", "fp32"),
        Recipe("static", "i8", "i8"),
        Recipe("static", "i8", "i16"),
        Recipe("mixed", "i8", "i8"),
    )
}


@final
@dataclass(frozen=True)
class Candidate:
    """A file that an export tries to make.

    Attributes:
        format: ``onnx`` or ``tflite``.
        recipe: How its numbers are kept.
        required: The export fails where this one does: float32, and what was asked for by name.
    """

    format: ModelFormat
    recipe: Recipe
    required: bool

    @property
    def name(self) -> str:
        """Short and unique: format and recipe."""
        return f"{self.format}-{self.recipe.name}"

    @property
    def file(self) -> str:
        """Name of its file in the bundle."""
        return f"model-{self.recipe.name}.{self.format}"


def choose_candidates(
    formats: Sequence[str], *, quantize: bool = False, recipes: Sequence[str] = ()
) -> tuple[Candidate, ...]:
    """Return the files to try: float32 in every format, and what was asked for beyond that.

    Args:
        formats: ``onnx``, ``tflite`` or both.
        quantize: Try every recipe; those that fail are left out of the bundle.
        recipes: Recipes asked for by name, for all formats (``static_wi8_ai8``) or one (``onnx-static_wi8_ai8``).

    Raises:
        ConfigError: A format or recipe is unknown, or there is no format.

    >>> [candidate.name for candidate in choose_candidates(["onnx"], recipes=["static_wi8_ai8"])]
    ['onnx-float32', 'onnx-static_wi8_ai8']
    """
    if not formats or any(each not in FORMATS for each in formats):
        raise ConfigError(f"got formats={', '.join(formats) or 'none'}; expected one or more of {', '.join(FORMATS)}.")
    kept = [each for each in FORMATS if each in formats]
    known = [*RECIPES, *(f"{each}-{recipe}" for each in kept for recipe in RECIPES)]
    for name in recipes:
        if name not in known:
            raise ConfigError(f"got recipe {name!r}; expected one of {', '.join(known)}.")
    return tuple(
        Candidate(each, recipe, required)
        for each in kept
        for recipe in RECIPES.values()
        if (required := recipe == FLOAT32 or recipe.name in recipes or f"{each}-{recipe.name}" in recipes) or quantize
    )
