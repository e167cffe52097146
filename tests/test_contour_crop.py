"""Cropping to the largest bright region: found rightly, the same in training, `predict` and a bundle's predict.py."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from edgelnn.contour_crop import ContourCrop, bright_mask, contour_box, fill_holes, find_regions
from edgelnn.data import load_dataset
from edgelnn.errors import ConfigError, DataWarning
from edgelnn.inputs import load_inputs
from edgelnn.run import Run
from tests.helpers import assert_one_clear_line, run_cli


def head(side: int = 120, *, box: tuple[int, int, int, int] = (20, 90, 30, 100), seed: int = 0) -> np.ndarray:
    """A bright ring with a dim inside and noise before black, and a spot and a label that are no head."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((side, side))
    top, bottom, left, right = box
    across = ((rows - (top + bottom - 1) / 2) / ((bottom - top) / 2)) ** 2
    radius = np.sqrt(across + ((columns - (left + right - 1) / 2) / ((right - left) / 2)) ** 2)
    picture = np.where(radius <= 1, 200, 8) * np.where((radius < 0.8) & (radius > 0.4), 0.1, 1.0)
    picture[2:4, 2:4], picture[-12:-2, 2:14] = 255, 255
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)[..., np.newaxis]


@pytest.mark.parametrize("diagonal", [False, True])
def test_regions_and_holes_are_scipys(rng, diagonal):
    for _ in range(60):
        mask = rng.random(rng.integers(1, 25, 2)) < rng.choice([0.3, 0.5, 0.7])
        rows, starts, ends, names = find_regions(mask, diagonal)
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)) if diagonal else None)
        assert len(set(names.tolist())) == count
        assert (ends - starts).sum() == mask.sum()
        pairs = set()
        for row, start, end, name in zip(rows, starts, ends, names, strict=True):
            assert len(set(labels[row, start:end].tolist())) == 1
            pairs.add((int(labels[row, start]), int(name)))
        assert len(pairs) == count
        np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


def test_the_mask_is_what_opening_by_scipy_leaves(rng):
    pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    line = np.array([1.0, 4.0, 6.0, 4.0, 1.0])
    smooth = ndimage.correlate1d(ndimage.correlate1d(grey, line, axis=0, mode="nearest"), line, axis=1, mode="nearest")
    eroded = ndimage.binary_erosion(smooth > 256 * 120, np.ones((3, 3)), iterations=2, border_value=1)
    expected = ndimage.binary_dilation(eroded, np.ones((3, 3)), iterations=2)
    np.testing.assert_array_equal(bright_mask(pixels, 120, 1), expected)


def test_the_box_is_around_the_head_and_not_what_lies_beside_it():
    top, bottom, left, right = contour_box(head(), 45, 0, 0.05)
    np.testing.assert_allclose([top, bottom, left, right], [20, 90, 30, 100], atol=2)
    wide = contour_box(head(), 45, 7, 0.05)
    assert wide == (top - 7, bottom + 7, left - 7, right + 7)
    assert contour_box(head(), 45, 500, 0.05) == (0, 120, 0, 120)
    color = np.repeat(head(), 3, axis=2)
    assert contour_box(color, 45, 0, 0.05) == (top, bottom, left, right)


def test_large_pictures_are_searched_at_less_resolution():
    large = np.kron(head()[..., 0], np.ones((20, 20), np.uint8))[..., np.newaxis]
    found = np.array(contour_box(large, 45, 0, 0.05)) / 20
    np.testing.assert_allclose(found, contour_box(head(), 45, 0, 0.05), atol=1.5)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((30, 30, 1), np.uint8),
        np.full((30, 30, 3), 45, np.uint8),
        np.zeros((1, 1, 1), np.uint8),
        np.pad(np.full((6, 6, 1), 255, np.uint8), ((20, 20), (20, 20), (0, 0))),
    ],
    ids=["black", "at the threshold", "one pixel", "a small spot"],
)
def test_without_a_region_nothing_is_cropped(picture):
    assert ContourCrop()(picture) is None


def test_a_picture_that_is_bright_throughout_is_kept_whole():
    white = np.full((20, 30, 1), 255, np.uint8)
    assert ContourCrop()(white).shape == white.shape


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two classes of heads of different brightness, in color and grey, and one picture that holds nothing."""
    for name, scale in (("tumor", 1.0), ("healthy", 0.5)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            box = (10 + number, 80 + number, 20, 90)
            picture = Image.fromarray((head(box=box, seed=number)[..., 0] * scale).astype(np.uint8))
            picture = picture.convert("RGB") if number % 2 else picture
            picture.save(tmp_path / "data" / name / f"{number}.png")
    Image.new("L", (120, 120)).save(tmp_path / "data" / "healthy" / "nothing.png")
    return tmp_path / "data"


def test_class_folders_are_cropped_then_resized_and_what_is_not_is_named(folder):
    with pytest.warns(DataWarning, match=r"1 of 25 images have no region brighter than 45 .*nothing\.png"):
        cropped = load_dataset(str(folder), size=32, channels=3, crop=ContourCrop())
    whole = load_dataset(str(folder), size=32, channels=3)
    assert cropped.image_shape == (32, 32, 3)
    assert cropped.digest != whole.digest
    assert "cropped to their contour" in cropped.source
    corners = [images[:, :3, :3].mean() for images in (cropped["train"].images, whole["train"].images)]
    middle = [images.mean() for images in (cropped["train"].images, whole["train"].images)]
    assert middle[0] > 1.5 * middle[1]
    assert max(corners) < 100
    path = folder / "tumor" / "3.png"
    given = load_inputs(path, image_shape=(32, 32, 3), crop=ContourCrop())
    assert any(np.array_equal(given.images[0], image) for part in cropped.splits.values() for image in part.images)
    assert given.original_sizes[0] == ContourCrop()(np.asarray(Image.open(path))).shape[:2]


def test_arrays_are_cropped_unless_they_have_the_size_already(tmp_path):
    np.save(tmp_path / "large.npy", head())
    np.save(tmp_path / "small.npy", head(32, box=(8, 24, 8, 24)))
    large = load_inputs(tmp_path / "large.npy", image_shape=(32, 32, 1), crop=ContourCrop())
    assert large.images.mean() > 1.5 * load_inputs(tmp_path / "large.npy", image_shape=(32, 32, 1)).images.mean()
    small = load_inputs(tmp_path / "small.npy", image_shape=(32, 32, 1), crop=ContourCrop())
    np.testing.assert_array_equal(small.images[0], head(32, box=(8, 24, 8, 24)))


@pytest.mark.parametrize("name", ["phantoms", "breastmnist", "arrays.npz"])
def test_only_class_folders_are_cropped(tmp_path, name):
    if name == "arrays.npz":
        np.savez(tmp_path / name, images=np.zeros((9, 28, 28), np.uint8), labels=np.arange(9) % 2)
        name = str(tmp_path / name)
    with pytest.raises(ConfigError, match="only class folders are cropped"):
        load_dataset(name, crop=ContourCrop())


@pytest.mark.filterwarnings("ignore::edgelnn.errors.DataWarning")
def test_training_predict_and_the_bundles_predict_crop_alike(folder, tmp_path):
    settings = ["crop=contour", "size=32", "channels=3", "normalization=training", "crop_margin=2"]
    options = [part for one in settings for part in ("--set", f"data.{one}")]
    options += ["--set", "stem.kind=identity", "--set", "scan.kind=rows", "--set", "head={kind='dense'}"]
    trained = run_cli("train", "--data", folder, *options, "--epochs", "1", "--threads", "1", "--out", tmp_path / "run")
    assert trained.code == 0, trained.err
    run = Run.load(tmp_path / "run")
    assert run.preprocessing.crop == ContourCrop(45, 2)
    assert len(run.preprocessing.mean) == 3
    exported = run_cli("export", run.folder, "--out", tmp_path / "bundle", "--format", "tflite")
    assert exported.code == 0, exported.err
    bundle = tmp_path / "bundle"
    rules = json.loads((bundle / "manifest.json").read_text())["preprocessing"]
    assert rules["crop"] == dataclasses.asdict(ContourCrop(45, 2))
    assert "cropped to the box around" in (bundle / "README.md").read_text()
    answers = [
        run_cli("evaluate", *more, "--json", "--bootstrap", "0").json["metrics"]["confusion"]
        for more in ([run.folder], [bundle, "--dataset", folder])
    ]
    assert answers[0] == answers[1]
    files = [folder / "tumor" / "2.png", folder / "tumor" / "3.png", folder / "healthy" / "nothing.png"]
    records = run_cli("predict", bundle, *files, "--json").json["predictions"]
    assert [bool(each["unlike_training"] and "used whole" in each["unlike_training"]) for each in records] == [0, 0, 1]
    script = subprocess.run(
        [sys.executable, bundle / "predict.py", *files], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    for record, line in zip(records, script.stdout.splitlines(), strict=True):
        assert all(f"{name} {value:.4f}" in line for name, value in record["probabilities"].items())
    assert "nothing.png: no region brighter than 45" in script.stderr


def test_a_crop_of_named_data_is_refused_in_one_line(tmp_path):
    outcome = run_cli("train", "phantoms", "--set", "data.crop=contour", "--out", tmp_path / "run")
    assert_one_clear_line(outcome, "phantoms", "data.crop")


def test_real_scans_are_cropped_to_the_head(test_data):
    kept = []
    for path in sorted((test_data / "brain_tumor_mri" / "Testing").rglob("*.jpg"))[::20]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        cropped = ContourCrop()(pixels)
        assert cropped is not None
        kept.append(cropped.size / pixels.size)
    assert len(kept) == 20
    assert 0.5 < np.median(kept) < 0.85


@pytest.mark.filterwarnings("default::edgelnn.errors.DataWarning")
def test_what_could_not_be_cropped_is_said_in_one_line(folder, tmp_path):
    options = ["--set", "data.crop=contour", "--set", "data.size=16", "--set", "head={kind='dense'}", "--epochs", "1"]
    outcome = run_cli("train", "phantoms", "--data", folder, *options, "--threads", "1", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    said = [line for line in outcome.err.splitlines() if "nothing.png" in line]
    assert len(said) == 1
    assert said[0].startswith("warning: 1 of 25 images have no region brighter than 45")
