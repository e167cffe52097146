"""Which data to train on, how pixels become numbers, and how training images are varied: validated values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgelnn.contour_crop import ContourCrop
from edgelnn.models.fields import Probability, Specification
from edgelnn.splits import Splits

__all__ = ["AugmentSpec", "DataSpec", "FoldSpec", "Fraction", "RepeatSpec"]

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


class FoldSpec(Specification):
    """One fold of several."""

    kind: Literal["fold"] = "fold"
    fold: Annotated[int, Field(ge=1)]
    folds: Annotated[int, Field(ge=2, le=1000)]

    @model_validator(mode="after")
    def _be_one_of_them(self) -> FoldSpec:
        if self.fold > self.folds:
            raise ValueError(f"got fold {self.fold} of {self.folds}; expected one from 1 to {self.folds}.")
        return self


class RepeatSpec(Specification):
    """One draw of several."""

    kind: Literal["repeat"] = "repeat"
    repeat: Annotated[int, Field(ge=1)]


class DataSpec(Specification):
    """Which data, and how pixels become numbers.

    Attributes:
        name: A dataset's name, ``"phantoms"``, or the path of an npz file, an IDX folder or a folder with one folder
            per class.
        size: Side of the images in pixels (MedMNIST: one of the published sizes; folders: resized to it).
        root: Folder to look for and download to; left out: `EDGELNN_DATA` or medmnist's own.
        channels: 1 (grey) or 3 (RGB) for class folders; left out: grey where every image is.
        crop: ``contour``: images in class folders are cut down to their largest region brighter than `crop_threshold`
            (such as a head before black), with a margin of `crop_margin` pixels, before they are resized; `predict`
            does the same. Dark scans need a lower threshold.
        positive_class: Name of the class that sensitivity and specificity speak of; left out: the dataset's own.
        validation, test: Fractions held out of data that come without splits.
        split_seed: Seed of that split, and of `resplit`.
        resplit: Split otherwise than the data are: ``{ kind = "fold", fold = 1, folds = 5 }``: one fold of train and
            val is val, the others are train. ``{ kind = "repeat", repeat = 1 }``: drawn anew in the same sizes. A test
            split that came with the data is kept. Copies of an image, and images of one patient, stay together.
        mean, std: Pixels are scaled to [0, 1], then ``(x - mean) / std``; a number, or a list with one per channel.
        normalization: ``fixed``: by `mean` and `std`. ``training``: by the mean and standard deviation of each channel
            over the training split, which are written with the run. ``imagenet``: by those that torchvision's
            pretrained backbones expect.
        difficulty: Of the phantoms: 0 easy, 1 as hard as they get.
    """

    name: str = "breastmnist"
    size: Annotated[int, Field(ge=8, le=1024)] = 28
    root: str | None = None
    channels: Literal[1, 3] | None = None
    crop: Literal["none", "contour"] = "none"
    crop_threshold: Annotated[int, Field(ge=0, le=254)] = 45
    crop_margin: Annotated[int, Field(ge=0, le=4096)] = 0
    positive_class: str | None = None
    validation: Fraction = 0.15
    test: Fraction = 0.15
    split_seed: int = 0
    resplit: Annotated[FoldSpec | RepeatSpec, Field(discriminator="kind")] | None = None
    mean: float | list[float] = 0.5
    std: Positive | list[Positive] = 0.5
    normalization: Literal["fixed", "training", "imagenet"] = "fixed"
    difficulty: Share = 0.5

    @property
    def splits(self) -> Splits:
        """How the images are divided, as a bundle keeps it."""
        drawn = {} if self.resplit is None else self.resplit.model_dump(exclude={"kind"})
        return Splits(self.validation, self.test, self.split_seed, self.difficulty, **drawn)

    def divided_as(self, splits: Splits) -> DataSpec:
        """Return the same data, divided as a bundle says."""
        changes: dict[str, object] = asdict(splits)
        fold, folds, repeat = (changes.pop(name) for name in ("fold", "folds", "repeat"))
        if fold is not None:
            changes["resplit"] = {"fold": fold, "folds": folds, "kind": "fold"}
        elif repeat is not None:
            changes["resplit"] = {"repeat": repeat, "kind": "repeat"}
        return DataSpec.model_validate({**self.model_dump(exclude={"resplit"}), **changes})

    @property
    def contour_crop(self) -> ContourCrop | None:
        """How images are cropped, None where they are not."""
        return ContourCrop(self.crop_threshold, self.crop_margin) if self.crop == "contour" else None


class AugmentSpec(Specification):
    """How training images are varied, each on its own; what is left out is not done.

    Attributes:
        flip, upside_down: Probability of a mirror image, left for right, or top for bottom.
        rotation_degrees: Largest angle either way; for volumes, about each of the three axes.
        shear_degrees: Largest angle either way by which upright lines lean; for volumes, in each of the three planes.
        shift: Largest displacement either way along each axis, as a part of the side.
        zoom: Largest change of scale either way: 0.1 is from 0.9 to 1.1.
        crop: Least and largest share of the area (or volume) that is cut out, somewhere, and enlarged to the whole.
        brightness: Largest change of brightness either way: 0.2 is from 0.8 to 1.2 times as bright.
        contrast: The same of the contrast about the image's mean.
        blur: Smallest and largest odd width, in pixels, of a Gaussian filter.
        blur_probability: Of being blurred, where there is `blur`.
        noise: Largest standard deviation of Gaussian noise, as a part of the range from black to white.
        noise_probability: Of having noise added, where there is `noise`.
    """

    flip: Share = 0.0
    upside_down: Share = 0.0
    rotation_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    shear_degrees: Annotated[float, Field(ge=0.0, le=60.0)] = 0.0
    shift: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    zoom: Annotated[float, Field(ge=0.0, le=0.9)] = 0.0
    crop: Annotated[list[Annotated[float, Field(gt=0.0, le=1.0)]], Field(min_length=2, max_length=2)] | None = None
    brightness: Probability = 0.0
    contrast: Probability = 0.0
    blur: Annotated[list[Annotated[int, Field(ge=3, le=31)]], Field(min_length=2, max_length=2)] | None = None
    blur_probability: Share = 0.5
    noise: Share = 0.0
    noise_probability: Share = 0.5

    @model_validator(mode="after")
    def _order_ranges(self) -> AugmentSpec:
        for name, values in (("crop", self.crop), ("blur", self.blur)):
            if values is not None and values[0] > values[1]:
                raise ValueError(f"got {name} = {values}; expected the smaller number first.")
        if self.blur is not None and not all(width % 2 for width in self.blur):
            raise ValueError(f"got blur = {self.blur}; expected odd widths, such as [3, 7].")
        return self
