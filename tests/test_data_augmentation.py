import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from edgelnn.data import load_dataset
from edgelnn.data.augmentation import Augmentation
from edgelnn.errors import ConfigError, MissingExtraError


@pytest.fixture
def images():
    return load_dataset("phantoms")["val"].images[:12]


@pytest.fixture
def volumes(rng):
    return rng.integers(0, 256, (3, 9, 10, 11, 1), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["images", "volumes"])
def test_the_same_seed_gives_the_same_bytes(kind, request):
    given = request.getfixturevalue(kind)
    augmentation = Augmentation()
    one, same, other = (augmentation(given, seed) for seed in (3, 3, 4))
    assert one.shape == given.shape
    assert one.dtype == np.uint8
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, given)


def test_a_generator_is_drawn_from(images):
    augmentation = Augmentation()
    rng = np.random.default_rng(0)
    first, second = augmentation(images, rng), augmentation(images, rng)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, augmentation(images, np.random.default_rng(0)))


def test_torchs_random_state_and_the_input_are_left_alone(images):
    before, copy = torch.random.get_rng_state(), images.copy()
    Augmentation()(images, 0)
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(images, copy)


def test_color_channels_move_together(rng):
    grey = rng.integers(0, 256, (4, 16, 16, 1), dtype=np.uint8)
    color = Augmentation()(np.repeat(grey, 3, axis=-1), 1)
    assert np.array_equal(color[..., 0], color[..., 2])
    assert np.array_equal(color[..., :1], Augmentation()(grey, 1))


@pytest.mark.parametrize("kind", ["images", "volumes"])
def test_mirror_images_are_exact(kind, request):
    given = request.getfixturevalue(kind)
    still = {"rotation_degrees": 0, "shift": 0, "zoom": 0}
    assert np.array_equal(Augmentation(flip=0, **still)(given, 0), given)
    assert np.array_equal(Augmentation(flip=1, **still)(given, 0), given[..., ::-1, :])
    assert np.array_equal(Augmentation(flip=0, upside_down=1, **still)(given, 0), given[..., ::-1, :, :])


def test_a_quarter_turn():
    """A dot right of the middle moves to below it: the angle is in degrees, and the turn is about the middle."""
    image = np.zeros((1, 9, 9, 1), np.uint8)
    image[0, 4, 7] = 255
    augmentation = Augmentation(flip=0, rotation_degrees=90, shift=0, zoom=0)
    places = []
    for seed in range(300):
        moved = augmentation(image, seed)[0, ..., 0].astype(float)
        row, column = (float((moved * axis).sum() / moved.sum()) for axis in np.indices((9, 9)))
        places.append((row - 4, column - 4))
    radii = np.hypot(*np.transpose(places))
    assert radii.min() > 2.5
    assert radii.max() < 3.5
    assert min(row for row, _ in places) < -2.8
    assert max(row for row, _ in places) > 2.8
    assert min(column for _, column in places) > -0.6


def test_shifts_stay_within_bounds():
    image = np.zeros((1, 41, 41, 1), np.uint8)
    image[0, 20, 20] = 255
    augmentation = Augmentation(flip=0, rotation_degrees=0, shift=0.1, zoom=0)
    places = []
    for seed in range(100):
        moved = augmentation(image, seed)[0, ..., 0].astype(float)
        places.append([float((moved * axis).sum() / moved.sum()) - 20 for axis in np.indices((41, 41))])
    assert 3.0 < np.abs(places).max() < 4.7
    assert abs(np.mean(places)) < 0.6


def test_brightness_is_kept(images):
    varied = Augmentation()(images, 0)
    assert abs(float(varied.mean()) - float(images.mean())) < 6


def test_sides_are_not_exchanged_where_they_are_classes():
    phantoms = load_dataset("phantoms")
    assert Augmentation.suited_to(phantoms).flip == 0.5
    organs = replace(phantoms, class_names=("kidney-left", "kidney-right"))
    assert Augmentation.suited_to(organs).flip == 0.0
    assert Augmentation.suited_to(replace(phantoms, name="mnist")).flip == 0.0


def test_parameters_can_be_written_with_the_run():
    augmentation = Augmentation(rotation_degrees=5.0)
    assert Augmentation(**augmentation.to_dict()) == augmentation


@pytest.mark.parametrize("wrong", [{"flip": 1.1}, {"shift": -0.1}, {"zoom": 1.0}, {"rotation_degrees": float("nan")}])
def test_wrong_parameters(wrong):
    with pytest.raises(ConfigError, match=f"got {next(iter(wrong))}="):
        Augmentation(**wrong)


def test_without_kornia(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia.geometry", None)
    with pytest.raises(MissingExtraError, match=r'augmentation needs kornia: pip install "edgelnn\[train\]"'):
        Augmentation()(images, 0)


EVERYTHING = {
    "flip": 0.5,
    "upside_down": 0.5,
    "rotation_degrees": 15.0,
    "shear_degrees": 10.0,
    "shift": 0.05,
    "zoom": 0.2,
    "crop": [0.8, 1.0],
    "brightness": 0.2,
    "contrast": 0.2,
    "blur": [3, 7],
    "noise": 0.05,
}
STILL = {"flip": 0.0, "rotation_degrees": 0.0, "shift": 0.0, "zoom": 0.0}


def only(**change) -> Augmentation:
    return Augmentation.from_values({**STILL, **change})


@pytest.mark.parametrize("kind", ["images", "volumes", "colors"])
def test_everything_together_follows_from_the_seed_and_differs_from_image_to_image(kind, request, rng):
    given = rng.integers(0, 256, (3, 16, 12, 3), dtype=np.uint8) if kind == "colors" else request.getfixturevalue(kind)
    augmentation = Augmentation.from_values(EVERYTHING)
    same = np.repeat(given[:1], 3, axis=0)
    state, varied = torch.random.get_rng_state(), augmentation(same, 5)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (varied.shape, varied.dtype) == (same.shape, np.uint8)
    assert np.array_equal(varied, augmentation(same, 5))
    assert not np.array_equal(varied[0], varied[1])
    assert not np.array_equal(varied[1], varied[2])


@pytest.mark.parametrize("name", ["crop", "brightness", "contrast", "blur", "noise", "shear_degrees"])
@pytest.mark.parametrize("kind", ["images", "volumes"])
def test_what_is_added_leaves_the_draws_of_the_rest_as_they_are(kind, name, request):
    """Moves are drawn first and alike, whatever comes after them, so that runs of before keep their pictures."""
    given = request.getfixturevalue(kind)
    off = {"crop": [1.0, 1.0], "blur": [3, 3], "shear_degrees": 1e-9, "noise": 1e-9, "contrast": 1e-9}
    off["brightness"] = 1e-9
    base = {"rotation_degrees": 10.0, "shift": 0.08, "zoom": 0.1, "flip": 0.5}
    extra = {name: off[name], **({"blur_probability": 0.0} if name == "blur" else {})}
    one, other = Augmentation.from_values({**base, **extra})(given, 1), Augmentation(**base)(given, 1)
    assert np.abs(one.astype(int) - other).max() <= 1


def test_a_crop_is_a_part_enlarged():
    """Of a ramp, the slope tells how much is cut out, and the values where."""
    ramp = np.tile(np.arange(0, 200, 5, dtype=np.uint8), (40, 1))[np.newaxis, ..., np.newaxis]
    slopes, lows = [], []
    for seed in range(60):
        line = only(crop=[0.25, 0.64])(ramp, seed)[0, 20, :, 0].astype(float)
        slopes.append((line[-1] - line[0]) / 39 / 5)
        lows.append(line[0])
        assert line[0] >= 0
        assert line[-1] <= 195
    assert 0.49 < min(slopes) < 0.56
    assert 0.74 < max(slopes) < 0.81
    assert min(lows) < 15
    assert max(lows) > 60


def test_shear_leans_upright_lines_and_leaves_level_ones():
    upright = np.zeros((1, 41, 41, 1), np.uint8)
    upright[0, :, 20] = 255
    level = np.swapaxes(upright, 1, 2)
    leans = []
    for seed in range(60):
        moved = only(shear_degrees=20)(upright, seed)[0, ..., 0].astype(float)
        top, bottom = (float((row * np.arange(41)).sum() / row.sum()) for row in (moved[5], moved[35]))
        leans.append(np.degrees(np.arctan((bottom - top) / 30)))
        moved = only(shear_degrees=20)(level, seed)[0, ..., 0]
        assert (moved[20, 10:31] > 250).all()
    assert 17 < max(leans) <= 20.5
    assert -20.5 <= min(leans) < -17


@pytest.mark.parametrize("shape", [(20, 20, 1), (20, 20, 3), (12, 12, 12, 1), (3, 12, 12, 1), (3, 12, 12, 3)])
def test_brightness_multiplies_and_contrast_keeps_the_mean(shape):
    image = np.full(shape, 100, np.uint8)
    image[..., : shape[-2] // 2, :] = 50
    images = np.repeat(image[np.newaxis], 200, axis=0)
    ratios = only(brightness=0.2)(images, 0).reshape(200, -1).mean(axis=1) / 75
    assert 0.79 < ratios.min() < 0.84
    assert 1.16 < ratios.max() < 1.21
    varied = only(contrast=0.2)(images, 0).reshape(200, -1).astype(float)
    assert np.abs(varied.mean(axis=1) - 75).max() < 1
    spans = np.ptp(varied, axis=1) / 50
    assert 0.77 < spans.min() < 0.86
    assert 1.14 < spans.max() < 1.23


@pytest.mark.parametrize("axes", [2, 3])
def test_blur_spreads_a_dot_over_its_width(axes):
    dot = np.zeros((60, *[15] * axes, 1), np.uint8)
    dot[(slice(None), *[7] * axes)] = 255
    widths = []
    for image in only(blur=[3, 7], blur_probability=1.0)(dot, 0)[..., 0].astype(float):
        line = image[(7,) * (axes - 1)]
        np.testing.assert_array_equal(line, line[::-1])
        assert line.argmax() == 7
        widths.append(float(line[7]))
    peaks = sorted({round(width) for width in widths})
    assert len(peaks) == 3  # widths 3, 5 and 7
    unblurred = only(blur=[3, 7], blur_probability=0.5)(dot, 0).reshape(60, -1).max(axis=1) == 255
    assert 15 < unblurred.sum() < 45


def test_noise_has_the_deviation_asked_for_and_no_more():
    grey = np.full((200, 24, 24, 1), 128, np.uint8)
    deviations = only(noise=0.1, noise_probability=1.0)(grey, 0).reshape(200, -1).std(axis=1) / 255
    assert deviations.max() < 0.108
    assert deviations.max() > 0.09
    assert abs(np.mean(deviations) - 0.05) < 0.01
    quiet = only(noise=0.1, noise_probability=0.0)(grey, 0)
    assert np.array_equal(quiet, grey)


@pytest.mark.parametrize(
    "wrong", [{"crop": [0.0, 1.0]}, {"crop": [0.9, 0.8]}, {"blur": [4, 6]}, {"blur": [1, 3]}, {"noise": 2.0}]
)
def test_wrong_ranges(wrong):
    with pytest.raises(ConfigError, match=f"got {next(iter(wrong))}="):
        Augmentation.from_values(wrong)


def test_pairs_survive_json():
    augmentation = Augmentation.from_values(EVERYTHING)
    assert Augmentation.from_values(json.loads(json.dumps(augmentation.to_dict()))) == augmentation
