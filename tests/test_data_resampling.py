"""Folds and repeated draws: every image once, classes even, copies and patients on one side, the test split apart."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from edgelnn.data import load_dataset
from edgelnn.data.dataset import Dataset, Split
from edgelnn.data.resampling import draw_again, take_fold
from edgelnn.errors import ConfigError, DataError
from tests.training_runs import tiny_dataset


def rows(split: Split) -> list[bytes]:
    return [image.tobytes() for image in split.images]


def uneven(rng: np.random.Generator, *, patients: bool = False) -> Dataset:
    """300 images of three classes (20, 80 and 200), some of them copies, without a split of their own."""
    labels = np.repeat([0, 1, 2], [20, 80, 200]).astype(np.int64)
    images = rng.integers(0, 256, (300, 6, 6, 1), dtype=np.uint8)
    images[40:50] = images[30:40]  # copies of class 1
    names = [f"p{number // 4}" if patients else "" for number in range(300)]
    parts = np.array_split(rng.permutation(300), [200, 250])
    splits = {
        name: Split(images[part], labels[part]) for name, part in zip(("train", "val", "test"), parts, strict=True)
    }
    return dataclasses.replace(
        tiny_dataset("multi-class", 3),
        splits=splits,
        patients={name: [names[i] for i in part] for name, part in zip(("train", "val", "test"), parts, strict=True)},
    )


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_every_image_is_validated_on_once_and_classes_are_even(rng, folds):
    dataset = uneven(rng)
    pool = Counter(rows(dataset["train"]) + rows(dataset["val"]))
    counts = np.bincount(np.concatenate([dataset["train"].labels, dataset["val"].labels]))
    seen: Counter[bytes] = Counter()
    for fold in range(1, folds + 1):
        split = take_fold(dataset, fold, folds)
        seen += Counter(rows(split["val"]))
        assert Counter(rows(split["train"]) + rows(split["val"])) == pool
        assert np.array_equal(split["test"].images, dataset["test"].images)
        assert np.abs(np.bincount(split["val"].labels) - counts / folds).max() <= 2  # a copy comes with its other
        assert not set(rows(split["train"])) & set(rows(split["val"]))
    assert seen == pool


def test_patients_stay_on_one_side(rng):
    dataset = uneven(rng, patients=True)
    patient = {
        image.tobytes(): name
        for split in ("train", "val")
        for image, name in zip(dataset[split].images, dataset.patients[split], strict=True)
    }
    for made in (take_fold(dataset, 2, 4), draw_again(dataset, 1)):
        sides = [{patient[image] for image in rows(made[split])} for split in ("train", "val")]
        assert not sides[0] & sides[1]


def test_folds_and_draws_follow_from_the_seed(rng):
    dataset = uneven(rng)
    for make in (lambda seed: take_fold(dataset, 1, 5, seed=seed), lambda seed: draw_again(dataset, 1, seed=seed)):
        assert make(3).digest == make(3).digest
        assert make(3).digest != make(4).digest
    assert len({draw_again(dataset, repeat).digest for repeat in range(1, 8)}) == 7
    assert "fold 1 of 5, drawn with seed 3" in take_fold(dataset, 1, 5, seed=3).source


def test_draws_keep_the_sizes_and_a_test_split_that_came_with_the_data(rng):
    dataset = uneven(rng)
    made = draw_again(dataset, 1)
    assert {name: len(part) for name, part in made.splits.items()} == pytest.approx(
        {"train": 200, "val": 50, "test": 50}, abs=2
    )
    assert np.array_equal(made["test"].images, dataset["test"].images)
    drawn = draw_again(dataclasses.replace(dataset, drawn=("val", "test")), 1)
    assert not np.array_equal(drawn["test"].images, dataset["test"].images)
    assert {name: len(part) for name, part in drawn.splits.items()} == pytest.approx(
        {"train": 200, "val": 50, "test": 50}, abs=3
    )
    everything = [image for split in drawn.splits.values() for image in rows(split)]
    assert Counter(everything) == Counter(image for split in dataset.splits.values() for image in rows(split))
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not set(rows(drawn[one])) & set(rows(drawn[other]))


def test_labels_that_go_together_are_folded_by_the_rarest():
    dataset = tiny_dataset("multi-label", 3)
    made = [take_fold(dataset, fold, 3) for fold in (1, 2, 3)]
    assert sum(len(each["val"]) for each in made) == len(dataset["train"]) + len(dataset["val"])


def test_a_class_with_too_few_images_is_named(rng):
    labels = np.repeat([0, 1], [3, 40]).astype(np.int64)
    images = rng.integers(0, 256, (43, 6, 6, 1), dtype=np.uint8)
    given = Split(images, labels)
    few = dataclasses.replace(
        tiny_dataset(), splits={"train": given, "val": Split(images[:0], labels[:0]), "test": given}
    )
    with pytest.raises(DataError, match=r"class 'malignant' is in 3 of 5 folds only; .* Take fewer folds"):
        take_fold(few, 1, 5)
    assert len(take_fold(few, 1, 3)["val"]) in (14, 15)


@pytest.mark.parametrize(("fold", "folds"), [(0, 5), (6, 5), (1, 1)])
def test_folds_that_are_not_there_are_refused(fold, folds):
    with pytest.raises(ConfigError, match=f"got fold {fold} of {folds}"):
        take_fold(tiny_dataset(), fold, folds)
    with pytest.raises(ConfigError, match="got repeat 0"):
        draw_again(tiny_dataset(), 0)


def test_what_was_drawn_and_who_is_on_a_picture_is_known_of_folders_and_arrays(tmp_path, rng):
    for name in "ab":
        for patient in range(4):
            (tmp_path / "data" / name / f"p{patient}").mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / name / f"p{patient}" / f"{number}.png")
    folder = load_dataset(str(tmp_path / "data"), size=8)
    assert set(folder.drawn) == {"val", "test"}
    assert {name for part in folder.patients.values() for name in part} == {f"p{patient}" for patient in range(4)}
    np.savez(
        tmp_path / "x.npz",
        images=rng.integers(0, 256, (40, 8, 8), dtype=np.uint8),
        labels=np.arange(40) % 2,
        groups=np.arange(40) // 4,
    )
    arrays = load_dataset(str(tmp_path / "x.npz"), size=8)
    assert set(arrays.drawn) == {"val", "test"}
    assert len({name for part in arrays.patients.values() for name in part}) == 10
    assert load_dataset("phantoms").drawn == ()


def test_the_official_test_split_takes_no_part_and_its_copies_stay_together(test_data):
    dataset = load_dataset("breastmnist", root=test_data)
    for fold in range(1, 6):
        made = take_fold(dataset, fold, 5)
        assert np.array_equal(made["test"].images, dataset["test"].images)
        assert abs(len(made["val"]) - 624 / 5) < 2
        assert not set(rows(made["train"])) & set(rows(made["val"]))
