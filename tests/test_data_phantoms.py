import numpy as np
import pytest

from edgelnn.data import load_dataset
from edgelnn.data.phantoms import make_phantoms
from edgelnn.errors import ConfigError


@pytest.fixture(scope="module")
def phantoms():
    return load_dataset("phantoms")


def test_the_form_is_breastmnists(phantoms):
    assert [len(phantoms[split]) for split in ("train", "val", "test")] == [546, 78, 156]
    assert phantoms.image_shape == (28, 28, 1)
    assert phantoms.class_names == ("malignant", "normal, benign")
    assert phantoms.positive_class == 0
    assert [int((phantoms[split].labels == 0).sum()) for split in ("train", "val", "test")] == [147, 21, 42]
    assert phantoms.synthetic


@pytest.mark.parametrize(
    ("difficulty", "digest"), [(0.0, "355070fc373a"), (0.5, "bc49ed8fe292"), (1.0, "af294f402fd2")]
)
def test_the_bytes_are_the_same_everywhere(difficulty, digest):
    # The same on x86-64 and on emulated Cortex-A53, A72 and A76, with numpy 1.26 and 2.4.
    assert load_dataset("phantoms", difficulty=difficulty).digest.startswith(digest)


def test_seeds_give_other_images(phantoms):
    assert load_dataset("phantoms", split_seed=1).digest != phantoms.digest
    rows = {image.tobytes() for split in phantoms.splits.values() for image in split.images}
    assert len(rows) == 780


@pytest.mark.parametrize("size", [8, 28, 65, 128])
def test_any_size(size):
    images, labels = make_phantoms(9, size=size)
    assert images.shape == (9, size, size, 1)
    assert images.dtype == np.uint8
    assert sorted(set(labels.tolist())) == [0, 1]
    assert images.std(axis=(1, 2, 3)).min() > 5


def test_images_look_like_ultrasound_in_numbers(phantoms):
    """BreastMNIST's training images have a mean of 84, a standard deviation of 46 within one, and darken with depth."""
    images = phantoms["train"].images.astype(float)
    assert 70 < images.mean() < 120
    assert 30 < images.std(axis=(1, 2, 3)).mean() < 55
    assert images[:, :10].mean() > images[:, 18:].mean() + 10
    assert (images == 255).mean() < 0.05


def _auc(scores, labels):
    ranks = scores.argsort().argsort() + 1
    benign = labels == 1
    return (ranks[benign].sum() - benign.sum() * (benign.sum() + 1) / 2) / (benign.sum() * (~benign).sum())


def _linear_auc(difficulty):
    """Return the test AUC of ridge regression on pixels."""
    dataset = load_dataset("phantoms", difficulty=difficulty)

    def matrix(split):
        return dataset[split].images.reshape(len(dataset[split]), -1) / 255 - 0.4

    train = matrix("train")
    weights = np.linalg.solve(train.T @ train + 100 * np.eye(784), train.T @ (dataset["train"].labels - 0.73))
    return _auc(matrix("test") @ weights, dataset["test"].labels)


def test_difficulty_makes_it_harder():
    easy, middle, hard = (_linear_auc(difficulty) for difficulty in (0.0, 0.5, 1.0))
    assert easy > middle + 0.03 > hard + 0.06
    assert easy > 0.88
    assert 0.55 < hard < 0.8


def test_the_two_kinds_differ_as_they_should():
    images, labels = make_phantoms(600, size=32, difficulty=0.0)
    below = images[:, 22:, 8:24].astype(float).mean(axis=(1, 2, 3))
    above = images[:, :4, 8:24].astype(float).mean(axis=(1, 2, 3))
    shade = below / above
    assert shade[labels == 0].mean() < shade[labels == 1].mean() - 0.1  # malignant lesions cast shadows


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 4}, "got size=4; phantoms come in 8 to 1024"),
        ({"difficulty": 1.5}, "got difficulty=1.5; expected a number from 0"),
        ({"difficulty": float("nan")}, "got difficulty=nan"),
        ({"split_seed": -1}, "got split_seed=-1; expected a whole number from 0"),
        ({"channels": 3}, "got channels=3; phantoms has 1"),
        ({"positive_class": "benign"}, "got positive_class='benign'; expected one of"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ConfigError, match=message):
        load_dataset("phantoms", **options)


def test_count_is_positive():
    with pytest.raises(ConfigError, match="got count=0"):
        make_phantoms(0)
