"""What `predict` is given, and whether it looks like what the model has learnt from."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from edgelnn.data import load_dataset
from edgelnn.errors import DataError
from edgelnn.image_files import read_image
from edgelnn.inputs import image_statistics, load_images, load_inputs, unlike_training

GREY, COLOR, VOLUME = (8, 8, 1), (8, 8, 3), (4, 8, 8, 1)


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(pixels(8, 8)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_one_image_file(picture):
    names, images = load_images(picture, image_shape=GREY)
    assert names == [str(picture)]
    assert images.dtype == np.uint8
    assert np.array_equal(images[0, ..., 0], pixels(8, 8))


def test_several_paths_keep_their_order(picture, tmp_path):
    np.save(tmp_path / "b.npy", pixels(3, 8, 8, seed=1))
    names, images = load_images([tmp_path / "b.npy", str(picture)], image_shape=GREY)
    assert names == [f"{tmp_path}/b.npy[{number}]" for number in range(3)] + [str(picture)]
    assert np.array_equal(images[1, ..., 0], pixels(3, 8, 8, seed=1)[1])


def test_a_folder_is_read_by_path_and_below(picture, tmp_path):
    (tmp_path / "inner").mkdir()
    Image.fromarray(pixels(9, 9, 3)).save(tmp_path / "inner" / "c.jpg")
    np.savez(tmp_path / "z.npz", images=pixels(2, 8, 8))
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden.png").write_bytes(b"not an image")
    names, images = load_images(tmp_path, image_shape=GREY)
    assert [os.path.basename(name) for name in names] == ["a.png", "c.jpg", "z.npz[0]", "z.npz[1]"]
    assert images.shape == (4, 8, 8, 1)


def test_predict_sees_what_training_saw(tmp_path):
    for label, name in enumerate("ab"):
        for number in range(4):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.fromarray(pixels(31, 17, 3, seed=10 * label + number)).save(tmp_path / name / f"{number}.png")
    trained = {
        image.tobytes() for split in load_dataset(str(tmp_path), size=8).splits.values() for image in split.images
    }
    _, images = load_images(tmp_path, image_shape=COLOR)
    assert {image.tobytes() for image in images} == trained


@pytest.mark.parametrize(
    ("shape", "image_shape", "count"),
    [
        ((8, 8), GREY, 1),
        ((8, 8, 1), GREY, 1),
        ((5, 8, 8), GREY, 5),
        ((1, 8, 8), GREY, 1),
        ((5, 8, 8, 1), GREY, 5),
        ((20, 16), GREY, 1),
        ((5, 20, 16), GREY, 5),
        ((20, 16, 3), GREY, 1),
        ((5, 20, 16, 3), GREY, 5),
        ((8, 8, 3), COLOR, 1),
        ((5, 20, 16, 3), COLOR, 5),
        ((20, 16), COLOR, 1),
        ((4, 8, 8), VOLUME, 1),
        ((4, 8, 8, 1), VOLUME, 1),
        ((5, 4, 8, 8), VOLUME, 5),
        ((5, 4, 8, 8, 1), VOLUME, 5),
    ],
)
def test_shapes_of_arrays(tmp_path, shape, image_shape, count):
    np.save(tmp_path / "x.npy", pixels(*shape))
    names, images = load_images(tmp_path / "x.npy", image_shape=image_shape)
    assert images.shape == (count, *image_shape)
    assert len(names) == count


@pytest.mark.parametrize(
    ("array", "image_shape", "message"),
    [
        (pixels(8), GREY, r"got an array of shape \(8,\); the model takes \(8, 8, 1\) \(height, width, channels\)"),
        (pixels(2, 2, 8, 8, 1), GREY, "got an array of shape"),
        (pixels(3, 8, 8), COLOR, "got an array of shape"),
        (pixels(0, 8, 8), GREY, r"got an array of shape \(0, 8, 8\)"),
        (pixels(5, 9, 9), VOLUME, r"the model takes \(4, 8, 8, 1\) \(depth, height, width, channels\)"),
        (pixels(8, 8), VOLUME, "got an array of shape"),
        (pixels(4, 8, 8, 3), VOLUME, "got an array of shape"),
        (np.full((8, 8), np.nan), GREY, "holds NaN"),
        (pixels(8, 8) - 300.0, GREY, "holds pixels from -"),
        (pixels(8, 8).astype(np.uint16) * 257, GREY, "choose a window"),
        (np.array([{}] * 3), GREY, "holds pickled Python objects"),
        (np.array(["a"]), GREY, "got an array of shape"),
    ],
)
def test_arrays_that_are_no_such_images(tmp_path, array, image_shape, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=message) as caught:
        load_images(tmp_path / "x.npy", image_shape=image_shape)
    assert "\n" not in str(caught.value)
    assert "x.npy" in str(caught.value)


def test_fractions_and_whole_numbers_are_the_same_pixels(tmp_path):
    np.save(tmp_path / "a.npy", pixels(8, 8) / 255)
    np.save(tmp_path / "b.npy", pixels(8, 8).astype(np.int64))
    _, images = load_images([tmp_path / "a.npy", tmp_path / "b.npy"], image_shape=GREY)
    assert np.array_equal(images[0], images[1])


def test_which_array_of_an_npz(tmp_path):
    np.savez(tmp_path / "x.npz", images=pixels(2, 8, 8), probabilities=np.zeros((2, 2), np.float32))
    assert len(load_images(tmp_path / "x.npz", image_shape=GREY)[0]) == 2
    np.savez(tmp_path / "x.npz", train_images=pixels(9, 8, 8), test_images=pixels(3, 8, 8))
    assert len(load_images(tmp_path / "x.npz", image_shape=GREY)[0]) == 3
    np.savez(tmp_path / "x.npz", whatever=pixels(4, 8, 8))
    assert len(load_images(tmp_path / "x.npz", image_shape=GREY)[0]) == 4
    np.savez(tmp_path / "x.npz", one=pixels(4, 8, 8), other=pixels(4, 8, 8))
    with pytest.raises(DataError, match="holds one, other; expected an array named images"):
        load_images(tmp_path / "x.npz", image_shape=GREY)


def test_paths_that_hold_no_images(tmp_path, picture):
    (tmp_path / "empty").mkdir()
    for paths, message in (
        ([], "got no images"),
        (tmp_path / "none.png", "does not exist"),
        (tmp_path / "empty", "holds no images"),
        ("x" * 300, "cannot be read"),
    ):
        with pytest.raises(DataError, match=message):
            load_images(paths, image_shape=GREY)
    with pytest.raises(DataError, match=r"a\.png is a single image; the model takes volumes of shape \(4, 8, 8, 1\)"):
        load_images(picture, image_shape=VOLUME)


def test_a_damaged_image_among_good_ones_is_named(picture, tmp_path):
    (tmp_path / "b.png").write_bytes(picture.read_bytes()[:60])
    with pytest.raises(DataError, match=r"b\.png is (damaged|not an image)"):
        load_images(tmp_path, image_shape=GREY)


def test_modes_of_image_files(tmp_path):
    deep = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1040)
    deep.save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png").pixels[..., 0], np.rint(np.asarray(deep) / 257))
    see_through = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    see_through.putpixel((0, 0), (200, 200, 200, 255))
    see_through.save(tmp_path / "clear.png")
    clear = read_image(tmp_path / "clear.png").pixels
    assert clear.shape == (8, 8, 1)
    assert clear[0, 0, 0] == 200
    assert clear.sum() == 200
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "real.tif")
    assert read_image(tmp_path / "real.tif").pixels.max() == 255
    Image.fromarray(pixels(8, 8, 3)).convert("CMYK").save(tmp_path / "print.jpg")
    assert read_image(tmp_path / "print.jpg").pixels.shape == (8, 8, 3)
    palette = Image.fromarray(pixels(8, 8, 3)).quantize(8)
    palette.info["transparency"] = 0
    palette.save(tmp_path / "palette.gif")
    assert read_image(tmp_path / "palette.gif", (4, 4)).pixels.shape[:2] == (4, 4)


def test_twelve_bits_in_sixteen_are_refused(tmp_path):
    Image.fromarray(pixels(8, 8).astype(np.uint16) * 8).save(tmp_path / "x.png")
    with pytest.raises(DataError, match="almost black in 8 bits"):
        load_images(tmp_path / "x.png", image_shape=GREY)


@pytest.fixture(scope="module")
def phantoms():
    return load_dataset("phantoms")


def test_images_of_the_same_kind_get_no_warning(phantoms):
    statistics = image_statistics(phantoms["train"].images)
    warnings = unlike_training(phantoms["test"].images, statistics)
    assert sum(warning is not None for warning in warnings) <= 0.03 * len(warnings)
    assert all(isinstance(value, float) for value in statistics.values())


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((28, 28, 1)), "every pixel is 0: an empty image"),
        (np.full((28, 28, 1), 255), "every pixel is 255: an empty image"),
        (pixels(28, 28, 1), "fine detail .* another kind of image"),
        (np.tile(np.linspace(0, 255, 28), (28, 1))[..., None], "contrast .* another kind of image"),
    ],
)
def test_images_of_another_kind(phantoms, image, message):
    (warning,) = unlike_training(image[None].astype(np.uint8), image_statistics(phantoms["train"].images))
    assert warning is not None
    assert "\n" not in warning
    assert re.search(message, warning)


def test_a_negative_is_called_one(rng):
    training = np.clip(rng.normal(60, 20, (50, 8, 8, 1)), 0, 255).astype(np.uint8)
    (warning,) = unlike_training(255 - training[:1], image_statistics(training))
    assert warning is not None
    assert "perhaps a negative" in warning


def test_grey_where_training_was_in_color(rng):
    training = rng.integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    grey = np.repeat(training[:1, ..., :1], 3, axis=-1)
    (warning,) = unlike_training(grey, image_statistics(training))
    assert warning is not None
    assert unlike_training(training, image_statistics(training)) == [None] * 50


def test_sizes_far_from_the_models(tmp_path, phantoms):
    image = Image.fromarray(phantoms["train"].images[0, ..., 0])
    for name, size in {"same": (28, 28), "wide": (90, 28), "tiny": (14, 14), "large": (500, 400)}.items():
        image.resize(size, Image.Resampling.BICUBIC).save(tmp_path / f"{name}.png")
    inputs = load_inputs(tmp_path, image_shape=(28, 28, 1))
    assert inputs.original_sizes == [(400, 500), (28, 28), (14, 14), (28, 90)]
    # Wide limits, so that only sizes are spoken of.
    statistics = image_statistics(np.concatenate([phantoms["train"].images, pixels(200, 28, 28, 1), inputs.images]))
    large, same, tiny, wide = unlike_training(inputs.images, statistics, inputs.original_sizes)
    assert large is same is None
    assert tiny is not None
    assert "14x14 pixels were enlarged to 28x28" in tiny
    assert wide is not None
    assert "90x28 pixels were squeezed into 28x28" in wide


def test_volumes_have_statistics_too(rng):
    training = rng.integers(0, 50, (30, 4, 8, 8, 1), dtype=np.uint8)
    statistics = image_statistics(training)
    assert unlike_training(training[:2], statistics) == [None, None]
    assert unlike_training(training[:1] + 200, statistics) != [None]


def test_inputs_load_nothing_heavy():
    code = (
        "import sys, edgelnn.inputs;"
        "heavy = ('torch', 'onnx', 'pydantic', 'PIL', 'requests', 'edgelnn.data');"
        "print([name for name in heavy if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
