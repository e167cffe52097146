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
