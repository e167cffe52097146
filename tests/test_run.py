from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from edgelnn.errors import DataError, RunFolderError
from edgelnn.run import Run
from edgelnn.training import Experiment, load_experiment, predict_probabilities, train
from edgelnn.training.checkpoint import load_tensors
from tests.training_runs import tiny_dataset, tiny_experiment


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(tiny_experiment(epochs=3), folder=folder, dataset=tiny_dataset(), threads=1, figures=False)
    return folder


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_a_run_holds_all_that_is_promised(finished):
    names = {path.name for path in finished.iterdir()}
    assert names == {"experiment.toml", "weights.safetensors", "metrics.json", "history.csv", "environment.json"}
    run = Run.load(finished)
    assert run.experiment == tiny_experiment(epochs=3)
    assert [record.epoch for record in run.history] == [1, 2, 3]
    assert run.history[run.best_epoch - 1].val_auc == max(record.val_auc for record in run.history)
    assert set(run.metrics) == {"val", "test"}
    assert run.metrics["val"].auc == pytest.approx(run.history[run.best_epoch - 1].val_auc)
    assert (run.task, run.class_names, run.positive_class) == ("binary-class", ("malignant", "benign"), 0)
    assert run.image_shape == (8, 8, 1)
    assert run.synthetic


def test_the_environment_holds_what_repeating_needs(finished):
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["format_version"] == 1
    assert environment["data"]["digest"] == tiny_dataset().digest
    assert environment["data"]["images"] == {"train": 41, "val": 16, "test": 20}
    assert environment["threads"] == 1
    assert environment["device"] == "cpu"
    assert environment["augmentation"] is None
    assert environment["versions"]["torch"] == torch.__version__
    assert environment["model"]["parameters"]["active"] <= environment["model"]["parameters"]["trainable"]
    assert environment["seeds"]["weights"] == 0
    assert environment["started"] <= environment["finished"]
    assert {"python", "numpy", "ncps", "medmnist"} <= set(environment["versions"])
    assert environment["machine"]["processor"]


def test_the_parameters_of_augmentation_are_written_down(tmp_path):
    run = train(tiny_experiment(epochs=1, augment=True), folder=tmp_path / "run", dataset=tiny_dataset(), figures=False)
    assert {"flip", "rotation_degrees", "shift", "zoom"} <= set(run.environment["augmentation"])


def test_the_classifier_comes_back_with_the_weights_that_were_kept(finished):
    run = Run.load(finished)
    classifier = run.load_classifier()
    assert not classifier.training
    tensors, _ = load_tensors(finished / "weights.safetensors")
    assert all(torch.equal(tensors[name], tensor) for name, tensor in classifier.state_dict().items())
    images = tiny_dataset()["test"].images
    probabilities = predict_probabilities(classifier, images, run.preprocessing)
    decided = probabilities.argmax(axis=1) == tiny_dataset()["test"].labels
    assert decided.mean() == pytest.approx(run.metrics["test"].accuracy)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def damage(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return apply


def edit(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return apply


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, r"does not exist\. Expected the folder of a run"),
        (remove("experiment.toml"), r"is not a run: it holds no experiment\.toml"),
        (remove("environment.json"), r"is not a run: it holds no environment\.json"),
        (remove("metrics.json"), r"not finished\. Continue it: edgelnn train --resume --out"),
        (lambda folder: (folder / "checkpoint.safetensors").write_bytes(b""), "holds a training that is not finished"),
        (damage("experiment.toml", lambda data: data[:40]), r"experiment\.toml is not as the training wrote it"),
        (damage("experiment.toml", lambda data: data.replace(b"= 8", b"= 9")), "it was edited, or cut off in copying"),
        (edit("environment.json", lambda v: v.pop("experiment_sha256")), "is not as the training wrote it"),
        (damage("environment.json", lambda data: data[:40]), r"cannot read .*environment\.json: it is damaged"),
        (damage("environment.json", lambda data: b"[]"), r"environment\.json is damaged: expected a table"),
        (edit("environment.json", lambda v: v.update(format_version=2)), "has format_version 2; this edgelnn reads 1"),
        (edit("environment.json", lambda v: v.pop("format_version")), "has format_version None"),
        (damage("metrics.json", lambda data: data[:-30]), r"cannot read .*metrics\.json"),
        (edit("metrics.json", lambda v: v.pop("test")), r"metrics\.json is damaged"),
        (edit("metrics.json", lambda v: v["val"].pop("auc")), r"metrics\.json is damaged"),
        (damage("metrics.json", lambda data: b"[" * 100_000), r"cannot read .*metrics\.json"),
    ],
)
def test_a_folder_that_is_no_whole_run_is_refused_in_one_line(copy, spoil, words):
    spoil(copy)
    with pytest.raises(RunFolderError, match=words) as caught:
        Run.load(copy)
    assert "\n" not in str(caught.value)


def test_a_file_and_a_bundle_are_told_from_a_run(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunFolderError, match=r"is a file\. Expected the folder of a run"):
        Run.load(tmp_path / "file")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(RunFolderError, match="looks like a bundle"):
        Run.load(tmp_path)


def anothers_weights(folder: Path) -> None:
    """Put in the weights of a model with one unit more."""
    head = {"kind": "cfc", "units": 9, "readout": "mean"}
    experiment = Experiment.model_validate({**tiny_experiment(epochs=1).model_dump(), "head": head})
    train(experiment, folder=folder.parent / "other", dataset=tiny_dataset(), figures=False)
    shutil.copy(folder.parent / "other" / "weights.safetensors", folder)


def test_an_experiment_of_a_newer_version_is_not_guessed_at(copy):
    text = (copy / "experiment.toml").read_bytes() + b"\n[new]\nthing = 1\n"
    (copy / "experiment.toml").write_bytes(text)
    edit("environment.json", lambda v: v.update(experiment_sha256=hashlib.sha256(text).hexdigest()))(copy)
    with pytest.raises(RunFolderError, match=r"cannot read the run: .*new: no such field.* Use the one that wrote it"):
        Run.load(copy)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (remove("weights.safetensors"), r"weights\.safetensors is missing"),
        (damage("weights.safetensors", lambda data: data[:-50]), "damaged or not safetensors"),
        (damage("weights.safetensors", lambda data: b"\x80\x04" + data), "damaged or not safetensors"),
        (anothers_weights, r"does not fit the model that experiment\.toml describes"),
        (edit("environment.json", lambda v: v["data"].pop("task")), r"environment\.json is damaged: no data\.task"),
    ],
)
def test_weights_that_are_damaged_or_anothers_are_refused(copy, spoil, words):
    spoil(copy)
    with pytest.raises(RunFolderError, match=words) as caught:
        Run.load(copy).load_classifier()
    assert "\n" not in str(caught.value)


def phantoms(**data: object) -> Experiment:
    small = [
        "training.epochs=1",
        "data.size=16",
        "head.units=8",
        *(f"data.{name}={value}" for name, value in data.items()),
    ]
    return load_experiment("phantoms", small)


def test_the_data_come_back_or_it_is_said_that_they_are_others(tmp_path):
    run = train(phantoms(), folder=tmp_path / "run", figures=False)
    assert run.load_dataset().digest == run.environment["data"]["digest"]
    assert run.load_dataset(tmp_path).digest == run.environment["data"]["digest"]
    edit("environment.json", lambda v: v["data"].update(digest="0" * 64))(tmp_path / "run")
    with pytest.raises(DataError, match=r"is not the data that .* was trained on: its digest is"):
        Run.load(tmp_path / "run").load_dataset()
