"""How pixels become numbers: fixed, by the training split, by ImageNet's; the same in the run and in its bundle."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from edgelnn.data.dataset import Dataset, Split
from edgelnn.decode import decode, encode, parse_json, write_json
from edgelnn.errors import ConfigError, DataError, RunFolderError
from edgelnn.preprocessing import Preprocessing
from edgelnn.run import Run
from edgelnn.training import train
from edgelnn.training.data_specification import DataSpec
from edgelnn.training.normalization import build_preprocessing, channel_statistics
from tests.helpers import run_cli
from tests.training_runs import tiny_dataset, tiny_experiment


def in_color(dataset: Dataset) -> Dataset:
    """The same images with three channels that are not alike."""
    splits = {
        name: Split(np.concatenate([part.images, part.images // 2, 255 - part.images], axis=-1), part.labels)
        for name, part in dataset.splits.items()
    }
    return dataclasses.replace(dataset, splits=splits)


@pytest.mark.parametrize("shape", [(50, 9, 7, 3), (20, 5, 6, 7, 1)])
def test_statistics_are_numpys(rng, shape):
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    mean, std = channel_statistics(images)
    axes = tuple(range(len(shape) - 1))
    np.testing.assert_allclose(mean, (images / 255).mean(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=axes), rtol=1e-10)


def test_the_training_split_comes_to_mean_0_and_deviation_1():
    dataset = in_color(tiny_dataset())
    preprocessing = build_preprocessing(DataSpec(normalization="training"), dataset)
    inputs = preprocessing(dataset["train"].images)
    np.testing.assert_allclose(inputs.mean(axis=(0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std(axis=(0, 2, 3)), 1, atol=1e-5)
    other = dataclasses.replace(dataset, splits={**dataset.splits, "test": dataset["train"]})
    assert build_preprocessing(DataSpec(normalization="training"), other) == preprocessing


def test_imagenets_numbers_are_torchvisions():
    preprocessing = build_preprocessing(DataSpec(normalization="imagenet"), in_color(tiny_dataset()))
    white = np.full((1, *preprocessing.image_shape), 255, np.uint8)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(preprocessing(white)[0, :, 0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(preprocessing(white, "channels_last")[0, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"normalization": "imagenet"}, r'data\.normalization: got "imagenet" for images of 1 channel; expected RGB'),
        ({"mean": [0.5, 0.5, 0.5]}, r"data\.mean: got 3 numbers; the images of tiny have 1 channel\. Give one number"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(tmp_path, data, words):
    experiment = tiny_experiment().model_copy(update={"data": DataSpec.model_validate(data)})
    with pytest.raises(ConfigError, match=words):
        train(experiment, folder=tmp_path / "run", dataset=tiny_dataset())
    assert list(tmp_path.iterdir()) == []


def test_images_all_alike_have_no_deviation():
    dataset = tiny_dataset()
    flat = Split(np.full_like(dataset["train"].images, 7), dataset["train"].labels)
    alike = dataclasses.replace(dataset, splits={**dataset.splits, "train": flat})
    with pytest.raises(ConfigError, match="has no standard deviation"):
        build_preprocessing(DataSpec(normalization="training"), alike)


@pytest.mark.parametrize("mean", [0.5, (0.1, 0.2, 0.3)])
def test_one_number_or_several_survive_json(mean):
    preprocessing = Preprocessing((4, 4, 3), mean, mean)
    assert decode(Preprocessing, parse_json(write_json(preprocessing))) == preprocessing
    with pytest.raises(DataError, match="got 3 numbers for mean; the images have 1 channels"):
        Preprocessing((4, 4, 1), (0.1, 0.2, 0.3))


def test_the_numbers_are_written_with_the_run_and_read_from_there(tmp_path):
    experiment = tiny_experiment(epochs=1).model_copy(update={"data": DataSpec(normalization="training")})
    dataset = in_color(tiny_dataset())
    run = train(experiment, folder=tmp_path / "run", dataset=dataset, figures=False)
    expected = build_preprocessing(experiment.data, dataset)
    assert run.preprocessing == Run.load(run.folder).preprocessing == expected
    environment = json.loads((run.folder / "environment.json").read_text())
    assert environment["preprocessing"] == encode(expected)
    for damage in ({"preprocessing": {**environment["preprocessing"], "mean": [0.5]}}, {"preprocessing": None}):
        (run.folder / "environment.json").write_text(json.dumps({**environment, **damage}))
        with pytest.raises(RunFolderError):
            _ = Run.load(run.folder).preprocessing
    partial = {"mean": environment["preprocessing"]["mean"], "std": environment["preprocessing"]["std"]}
    assert dataclasses.replace(run, environment={**environment, "preprocessing": partial}).preprocessing == expected
    older = dataclasses.replace(run, experiment=tiny_experiment(), environment={"data": environment["data"]})
    assert older.preprocessing == Preprocessing((8, 8, 3), 0.5, 0.5)


def test_the_bundle_and_its_predict_normalize_as_training_did(tmp_path):
    options = ["--epochs", "1", "--set", "head.units=12", "--set", "data.normalization=training", "--threads", "1"]
    assert run_cli("train", "phantoms", *options, "--out", tmp_path / "run").code == 0
    assert run_cli("export", tmp_path / "run", "--out", tmp_path / "bundle", "--format", "tflite").code == 0
    run = Run.load(tmp_path / "run")
    rules = json.loads((tmp_path / "bundle" / "manifest.json").read_text())["preprocessing"]
    assert rules == encode(run.preprocessing)
    assert rules["mean"] != 0.5
    answers = [run_cli("evaluate", tmp_path / one, "--json", "--bootstrap", "0").json for one in ("run", "bundle")]
    assert answers[1]["metrics"]["auc"] == pytest.approx(answers[0]["metrics"]["auc"], abs=1e-6)
