"""Weights from elsewhere: found, downloaded, checked, put in place, and told of by the run."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from edgelnn.errors import ConfigError, DataError, TrainingInterrupted
from edgelnn.models import ModelSpec, build_classifier
from edgelnn.models.backbones import Backbone
from edgelnn.models.pretrained import find_pretrained, load_pretrained
from edgelnn.run import Run
from edgelnn.training import Experiment, fine_tuning_experiment, train
from tests.training_runs import Recorder, tiny_dataset
from tests.weights_server import publish_weights, served

pytestmark = pytest.mark.usefixtures("torchvision")
KIND = "mobilenet_v3_small"


@pytest.fixture(scope="module")
def published(torchvision: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as torchvision publishes them: the state dict of a whole classifier, its name ending in its hash."""
    return publish_weights(torchvision, KIND, tmp_path_factory.mktemp("published"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder, empty; no server answers, and torchvision has kept nothing."""
    monkeypatch.setenv("EDGELNN_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EDGELNN_WEIGHTS_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("edgelnn.models.pretrained._torch_folder", lambda: tmp_path / "hub")
    monkeypatch.setattr("edgelnn.data.medmnist_files.medmnist_folder", lambda: tmp_path / "medmnist")
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A file server on this machine that stands in for torchvision's."""
    with served(published.parent) as address:
        monkeypatch.setenv("EDGELNN_WEIGHTS_URL", address)
        yield


def experiment(pretrained: bool | str, **fields: Any) -> Experiment:
    stem = {"kind": KIND, "pretrained": pretrained, "resize": {"height": 1, "width": 1}, **fields}
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
    head = {"kind": "dense", "widths": [6]}
    return Experiment.model_validate(
        {"name": "tiny", "stem": stem, "scan": {"kind": "flatten"}, "head": head, "training": training}
    )


def test_a_model_that_wants_none_has_none() -> None:
    assert find_pretrained(ModelSpec()) is None
    assert find_pretrained(experiment(False).model) is None


@pytest.mark.usefixtures("server")
def test_weights_are_downloaded_once_checked_and_put_in_place(published: Path, folder: Path) -> None:
    spec = experiment(published.name).model
    heard: list[tuple[int, int]] = []
    found = find_pretrained(spec, progress=lambda done, total: heard.append((done, total)))
    assert found is not None
    assert found.path == folder / published.name
    assert heard[-1] == (published.stat().st_size,) * 2
    assert found.describe() == {
        "file": published.name,
        "sha256": hashlib.sha256(published.read_bytes()).hexdigest(),
    }
    heard.clear()
    assert find_pretrained(spec, progress=lambda done, total: heard.append((done, total))) == found
    assert not heard
    classifier = build_classifier(spec, image_shape=(40, 40, 3), task="binary-class", classes=2)
    load_pretrained(classifier, found)
    weights = torch.load(published, weights_only=True)
    backbone = classifier.stem[0]
    assert isinstance(backbone, Backbone)
    for name, value in backbone.features.state_dict().items():
        assert torch.equal(value, weights[f"features.{name}"])


def test_offline_it_names_the_file_and_where_to_put_it(folder: Path) -> None:
    name = "mobilenet_v3_small-047dcff4.pth"
    with pytest.raises(DataError, match=rf"{name} is not in {folder} or .*hub, and comes from http://127") as error:
        find_pretrained(experiment(True).model)
    assert f"Download it on another machine and put it at {folder / name}." in str(error.value)
    assert "\n" not in str(error.value)


def test_other_bytes_than_the_name_says_are_refused(published: Path, folder: Path) -> None:
    (folder / published.name).write_bytes(published.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"is not what its name says .* Delete it to have it downloaded again"):
        find_pretrained(experiment(published.name).model)


@pytest.mark.parametrize("content", [b"", b"not a state dict", b"\x80\x04cos\nsystem\n(S'false'\ntR."])
def test_files_that_are_no_state_dicts_run_nothing_and_are_refused(content: bytes, folder: Path) -> None:
    name = f"weights-{hashlib.sha256(content).hexdigest()[:16]}.pth"
    (folder / name).write_bytes(content)
    spec = experiment(name).model
    found = find_pretrained(spec)
    assert found is not None
    classifier = build_classifier(spec, image_shape=(40, 40, 3), task="binary-class", classes=2)
    with pytest.raises(DataError, match=r"cannot be read as a state dict of torch") as error:
        load_pretrained(classifier, found)
    assert "\n" not in str(error.value)


def test_weights_of_another_kind_are_refused(published: Path, folder: Path) -> None:
    shutil.copy(published, folder)
    spec = ModelSpec.model_validate({"stem": {"kind": "resnet18", "pretrained": published.name}})
    found = find_pretrained(spec)
    assert found is not None
    classifier = build_classifier(spec, image_shape=(64, 64, 3), task="binary-class", classes=2)
    with pytest.raises(ConfigError, match="weights that are not torchvision's resnet18"):
        load_pretrained(classifier, found)


def test_a_training_begins_with_them_says_so_and_resumes_without_the_file(
    published: Path, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(published, folder)
    wanted = experiment(published.name, frozen=True)
    with pytest.raises(TrainingInterrupted):
        train(wanted, folder=tmp_path / "run", dataset=tiny_dataset(), listener=Recorder(fail_at=0), figures=False)
    (folder / published.name).unlink()
    run = train(folder=tmp_path / "run", dataset=tiny_dataset(), resume=True, threads=1, figures=False)
    assert run.environment["model"]["pretrained"]["file"] == published.name
    assert "mobilenet_v3_small (pretrained, frozen)" in run.environment["model"]["architecture"]
    backbone = Run.load(tmp_path / "run").load_classifier().stem[0]
    assert isinstance(backbone, Backbone)
    weights = torch.load(published, weights_only=True)
    assert torch.equal(backbone.features.state_dict()["0.0.weight"], weights["features.0.0.weight"])
    thawed = fine_tuning_experiment(run, ["stem.frozen=false", "training.epochs=1"], quantization_aware=False)
    tuned = train(thawed, folder=tmp_path / "tuned", dataset=tiny_dataset(), start=run, threads=1, figures=False)
    assert tuned.environment["model"]["pretrained"] is None
