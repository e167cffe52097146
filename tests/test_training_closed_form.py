"""Reservoirs, fitted at once: the ridge is the textbook's, and a run of it is a run like any other."""

from __future__ import annotations

import dataclasses
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from edgelnn.data.dataset import Split
from edgelnn.errors import ConfigError, TrainingError, TrainingInterrupted, UnsupportedModelError
from edgelnn.models import build_classifier
from edgelnn.preprocessing import Preprocessing
from edgelnn.run import Run
from edgelnn.training import Experiment, train
from edgelnn.training.closed_form import ROUNDING, fit_readout
from edgelnn_export.parity import PARITY_TOLERANCE
from edgelnn_profiling.runtimes import load_runtime
from tests.test_export_looped import TARGETS, arranged, expected, made, write
from tests.training_runs import Recorder, tiny_dataset, tiny_experiment

HEAD = {"kind": "reservoir", "units": 20, "strengths": [1e-3, 1e-1, 10.0]}


def experiment(head: dict | None = None, stem: dict | None = None, **training) -> Experiment:
    values = tiny_experiment(**training).model_dump(exclude_none=True)
    return Experiment.model_validate({**values, "stem": stem or {"kind": "identity"}, "head": head or HEAD})


def fitted(task="multi-class", classes=3, **head):
    data = tiny_dataset(task, classes)
    spec = experiment({**HEAD, **head}).model
    classifier = build_classifier(spec, image_shape=(8, 8, 1), task=task, classes=classes)
    preprocessing = Preprocessing((8, 8, 1), 0.5, 0.5)
    fit = fit_readout(classifier, data["train"], data["val"], preprocessing, lambda *_: None)
    return classifier, data, preprocessing, fit


@pytest.mark.parametrize("readout", ["last", "mean", "joined"])
def test_the_fit_is_the_ridge_of_the_textbook(readout):
    classifier, data, preprocessing, fit = fitted(readout=readout)
    head, scan = classifier.head, classifier.scan
    with torch.no_grad():
        x, held = (
            head.read(scan(torch.from_numpy(preprocessing(data[split].images)))).double().numpy()
            for split in ("train", "val")
        )
    targets, held_targets = (np.eye(3)[data[split].labels] for split in ("train", "val"))
    errors, deviations = {}, {}
    for strength in HEAD["strengths"]:
        theirs = Ridge(alpha=strength * len(x) * x.var(0).mean(), solver="svd").fit(x, targets)
        squared = np.square(theirs.predict(held) - held_targets).mean(1)
        errors[strength], deviations[strength] = float(squared.mean()), float(squared.std() / len(squared) ** 0.5)
        assert fit.errors[strength] == pytest.approx(errors[strength], rel=1e-4)
        if strength == fit.strength:
            np.testing.assert_allclose(head.linear.weight.detach().numpy() / fit.scale, theirs.coef_, atol=1e-4)
            shift = head.linear.bias - head.linear.weight @ head.center
            np.testing.assert_allclose(shift.detach().numpy() / fit.scale, theirs.intercept_, atol=1e-4)
    assert max(fit.roundings.values()) < ROUNDING
    least = min(errors, key=errors.get)
    assert fit.strength == max(s for s in errors if errors[s] <= errors[least] + deviations[least])
    assert float(head.strength) == pytest.approx(fit.strength)


def test_the_scale_is_the_one_with_the_least_cross_entropy_on_validation():
    classifier, data, preprocessing, fit = fitted()
    x, labels = torch.from_numpy(preprocessing(data["val"].images)), torch.from_numpy(data["val"].labels)
    with torch.no_grad():
        scores = classifier(x) / fit.scale
    losses = {f: torch.nn.functional.cross_entropy(scores * fit.scale * f, labels).item() for f in (0.9, 1.0, 1.1)}
    assert min(losses, key=losses.get) == 1.0 or fit.scale in (0.1, 30.0)


@pytest.mark.parametrize(
    ("task", "classes", "output"),
    [("binary-class", 2, "sigmoid"), ("binary-class", 2, "softmax"), ("multi-label", 3, "auto")],
)
def test_every_kind_of_output_is_fitted(task, classes, output):
    classifier, data, preprocessing, _ = fitted(task, classes, output=output)
    with torch.no_grad():
        answers = classifier.probabilities(torch.from_numpy(preprocessing(data["train"].images))).numpy()
    labels = data["train"].labels
    decided = answers > 0.5 if classifier.output_kind == "sigmoid" else answers.argmax(1)
    assert (np.squeeze(decided) == labels).mean() > 0.7


def test_a_run_of_a_reservoir_is_a_run_like_any_other(tmp_path):
    recorder = Recorder()
    run = train(experiment(epochs=6), folder=tmp_path / "run", dataset=tiny_dataset(), listener=recorder, figures=False)
    assert len(run.history) == 1
    assert (recorder.starts[0].epochs, recorder.reports[0].epochs) == (1, 1)
    assert "fitted in closed form: ridge of strength" in recorder.notes[0]
    assert run.metrics["test"].auc > 0.9
    again = Run.load(tmp_path / "run").load_classifier().state_dict()
    assert any(float(again["head.strength"]) == pytest.approx(each) for each in HEAD["strengths"])
    twice = train(experiment(), folder=tmp_path / "twice", dataset=tiny_dataset(), figures=False)
    for name, tensor in twice.load_classifier().state_dict().items():
        assert torch.equal(tensor, again[name]), name


def test_a_fit_that_was_interrupted_is_taken_up_again(tmp_path):
    with pytest.raises(TrainingInterrupted):
        train(
            experiment(),
            folder=tmp_path / "run",
            dataset=tiny_dataset(),
            listener=Recorder(fail_at=1),
            figures=False,
        )
    run = train(folder=tmp_path / "run", dataset=tiny_dataset(), resume=True, figures=False)
    assert len(run.history) == 1


STEM = {"kind": "conv", "layers": [{"channels": 3, "kernel": 3}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem": STEM}, "got 30 trainable parameters before a reservoir"),
        ({"augment": True}, "training.augment: got True for a reservoir"),
        ({"class_weights": "balanced"}, "training.class_weights: got 'balanced' for a reservoir"),
        ({"head": {**HEAD, "readout": "joined"}}, "got a read-out of 160 numbers"),
    ],
)
def test_what_cannot_be_fitted_is_refused(tmp_path, monkeypatch, change, message):
    monkeypatch.setattr("edgelnn.training.closed_form.WIDEST", 100)
    with pytest.raises(ConfigError, match=message):
        train(experiment(**change), folder=tmp_path / "run", dataset=tiny_dataset(), figures=False)
    assert not (tmp_path / "run").exists()


def test_states_that_grow_beyond_numbers_are_told(monkeypatch):
    classifier, data, preprocessing, _ = fitted()
    with torch.no_grad():
        classifier.head.input_weight[0, 0] = torch.nan
    with pytest.raises(TrainingError, match="states are no numbers any more"):
        fit_readout(classifier, data["train"], data["val"], preprocessing, lambda *_: None)


@pytest.fixture(scope="module")
def digits():
    """MNIST's 10,000 test images as data to train on: 8,000, 1,000 to validate and 1,000 to test."""
    folder = os.environ.get("EDGELNN_TEST_DATA")
    if not folder:
        pytest.skip("EDGELNN_TEST_DATA is unset: no MNIST to read")
    raw = [gzip.decompress(file.read_bytes()) for file in sorted((Path(folder) / "mnist").glob("*.gz"))]
    images = np.frombuffer(raw[0], np.uint8, offset=16).reshape(-1, 28, 28, 1)
    labels = np.frombuffer(raw[1], np.uint8, offset=8).astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    parts = {"train": order[:8000], "val": order[8000:9000], "test": order[9000:]}
    splits = {name: Split(images[which], labels[which]) for name, which in parts.items()}
    names = tuple(map(str, range(10)))
    return dataclasses.replace(tiny_dataset("multi-class", 10), name="mnist", class_names=names, splits=splits)


def on_digits(digits, tmp_path, scan, data, **head):
    values = {
        "data": data,
        "scan": {"kind": scan},
        "head": {"kind": "reservoir", "units": 1000, "reservoir_seed": 0, **head},
    }
    run = train(Experiment.model_validate(values), folder=tmp_path, dataset=digits, figures=False)
    return run.metrics["test"].accuracy


PUBLISHED = {"leak": 0.1, "spectral_radius": 0.9, "input_scaling": 1.0}


@pytest.mark.slow
def test_rows_as_steps_read_digits(digits, tmp_path):
    assert on_digits(digits, tmp_path / "run", "rows", {}, readout="mean") > 0.93
    run = Run.load(tmp_path / "run")
    classifier, images = run.load_classifier().eval(), torch.from_numpy(run.preprocessing(digits["val"].images[:200]))
    for target in TARGETS:
        file = tmp_path / f"model.{target}"
        file.write_bytes(write(made(classifier, target, "latency"), target))
        found = load_runtime(file).run(arranged(images, target))
        np.testing.assert_allclose(found, expected(classifier, images), rtol=0, atol=PARITY_TOLERANCE)


@pytest.mark.slow
def test_the_published_reservoir_and_what_became_of_it(digits, tmp_path):
    """0.3584 was published: the state ran on from image to image, so that nine tenths of it were images before.

    The same units whose state begins anew with every image read nine digits in ten.
    """
    pixels = {"mean": 0.0, "std": 1.0}
    together = {"over": "batch", "together": 10_000}
    mixed = on_digits(digits, tmp_path / "mixed", "flatten", pixels, **PUBLISHED, **together)
    alone = on_digits(digits, tmp_path / "alone", "flatten", pixels, **PUBLISHED)
    assert 0.25 < mixed < 0.45
    assert alone > 0.88
    run = Run.load(tmp_path / "mixed")
    assert "recurring over batches of 10000 images" in run.environment["model"]["architecture"]
    with pytest.raises(UnsupportedModelError, match="answer depends on which images come together"):
        made(run.load_classifier(), "onnx", "latency")
