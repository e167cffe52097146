"""The decision threshold: chosen on validation, kept in the run, used wherever the run's decisions are."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgelnn.decisions import decide
from edgelnn.errors import ConfigError
from edgelnn.run import Run
from edgelnn.training import TrainingSpec, evaluate_predictions, train
from edgelnn.training.thresholds import check_threshold, choose_threshold
from tests.helpers import run_cli
from tests.training_runs import tiny_dataset, tiny_experiment

RULES = ["youden", "f1", {"sensitivity": 0.8}, {"specificity": 0.7}]


def judged(probabilities: np.ndarray, labels: np.ndarray, positive: int, threshold: float):
    return evaluate_predictions(
        probabilities,
        labels,
        task="binary-class",
        class_names=("a", "b"),
        positive_class=positive,
        threshold=threshold,
        bootstrap=0,
    )


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1]), st.sampled_from(RULES))
@settings(max_examples=80, deadline=None)
def test_no_other_threshold_does_better(seed, positive, rule):
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1], rng.integers(2, size=30))
    last = np.round(np.clip(0.15 * labels + 0.3 * rng.random(32), 0, 1), 2)  # all low, with ties
    probabilities = np.stack([1 - last, last], axis=1)
    training = TrainingSpec.model_validate({"threshold": rule})
    chosen = choose_threshold(training, probabilities, labels, task="binary-class", positive_class=positive)

    def worth(threshold: float) -> tuple[float, ...]:
        figures = judged(probabilities, labels, positive, threshold)
        if rule == "youden":
            return (figures.sensitivity + figures.specificity,)
        if rule == "f1":
            return (figures.f1,)
        if "sensitivity" in rule:
            return (figures.sensitivity >= rule["sensitivity"], figures.specificity)
        return (figures.specificity >= rule["specificity"], figures.sensitivity)

    low = np.arange(0.005, 0.47, 0.01)  # between any two values that the last class can have
    best = max(worth(threshold) for threshold in (*low, *(1 - low)))
    assert worth(chosen) >= tuple(value - 1e-9 for value in best)


@pytest.mark.parametrize("rule", [{"sensitivity": 0.9}, "youden"])
@pytest.mark.parametrize("positive", [0, 1])
def test_answers_next_to_certain_are_decided_as_was_chosen(rule, positive):
    """float32 holds 1e-9, and no number between 1 and 1 - 6e-8: what one column tells apart, the other may not."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    first = np.array([1e-3, 1e-4, 2e-8, 1e-8, 4e-9, 0, 2e-9, 1e-9], np.float32)
    if positive:
        labels = 1 - labels
    columns = [first, 1 - first]
    probabilities = np.stack(columns if positive == 0 else columns[::-1], axis=1)
    training = TrainingSpec.model_validate({"threshold": rule})
    chosen = choose_threshold(training, probabilities, labels, task="binary-class", positive_class=positive)
    decided = decide(probabilities, task="binary-class", positive_class=positive, threshold=chosen)[:, positive]
    truth = labels == positive
    if positive == 0:  # of which two are told apart by the number that decides
        assert decided[truth].mean() == (1.0 if rule != "youden" else 0.5)
    else:
        assert (decided == truth).all()


def test_a_model_that_never_reaches_one_half_is_made_to_decide():
    """What the adrenal experiment does: the disease is the rarer class, and its probability stays below 0.5."""
    labels = np.array([0] * 15 + [1] * 5)
    last = np.concatenate([np.linspace(0.1, 0.2, 15), np.linspace(0.25, 0.4, 5)])
    probabilities = np.stack([1 - last, last], axis=1)
    assert judged(probabilities, labels, 1, 0.5).sensitivity == 0
    threshold = choose_threshold(
        TrainingSpec(threshold="youden"), probabilities, labels, task="binary-class", positive_class=1
    )
    assert threshold == pytest.approx(0.225)
    assert judged(probabilities, labels, 1, threshold).sensitivity == 1


def test_of_equally_good_thresholds_the_one_nearest_to_one_half_is_taken():
    last, labels = np.array([0.1, 0.3, 0.45, 0.7, 0.9]), np.array([0, 1, 0, 1, 1])
    probabilities = np.stack([1 - last, last], axis=1)
    chosen = {
        positive: choose_threshold(
            TrainingSpec(threshold="youden"), probabilities, labels, task="binary-class", positive_class=positive
        )
        for positive in (0, 1)
    }
    assert chosen[1] == pytest.approx(0.575)
    assert chosen[0] == pytest.approx(0.425)
    sides = [
        decide(probabilities, task="binary-class", positive_class=positive, threshold=chosen[positive])
        for positive in (0, 1)
    ]
    np.testing.assert_array_equal(*sides)


@pytest.mark.parametrize(
    ("threshold", "task", "positive", "words"),
    [
        ("youden", "multi-class", None, 'got "youden" for a multi-class task, where the largest probability decides'),
        (0.3, "multi-class", None, "got 0.3 for a multi-class task"),
        ("f1", "multi-label", None, 'got "f1" for a multi-label task; expected a number'),
        ("f1", "binary-class", None, "data without a positive class"),
        ({"sensitivity": 0.9}, "binary-class", None, "data without a positive class"),
    ],
)
def test_a_threshold_that_makes_no_sense_is_refused(threshold, task, positive, words):
    training = TrainingSpec.model_validate({"threshold": threshold})
    with pytest.raises(ConfigError, match=words) as caught:
        check_threshold(training, task=task, positive_class=positive)
    assert "\n" not in str(caught.value)


def test_a_threshold_that_makes_no_sense_leaves_nothing_behind(tmp_path):
    with pytest.raises(ConfigError, match=r"training\.threshold"):
        train(tiny_experiment(threshold="f1"), folder=tmp_path / "run", dataset=tiny_dataset("multi-class", 3))
    assert list(tmp_path.iterdir()) == []


def test_the_threshold_is_chosen_on_validation_and_judges_both_splits(tmp_path):
    dataset = tiny_dataset()
    run = train(tiny_experiment(epochs=2, threshold="youden"), folder=tmp_path / "run", dataset=dataset)
    assert 0 < run.threshold < 1
    assert run.threshold != 0.5
    assert run.metrics["val"].threshold == run.metrics["test"].threshold == run.threshold
    val = run.metrics["val"]
    half = train(tiny_experiment(epochs=2), folder=tmp_path / "half", dataset=dataset, figures=False)
    assert val.sensitivity + val.specificity >= half.metrics["val"].sensitivity + half.metrics["val"].specificity
    for split in ("val", "test"):  # MedMNIST's own figures keep to 0.5
        assert run.metrics[split].auc == half.metrics[split].auc
        assert run.metrics[split].accuracy == half.metrics[split].accuracy
    again = Run.load(tmp_path / "run")
    assert (again.threshold, again.metrics) == (run.threshold, run.metrics)
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert written["threshold"] == {"value": run.threshold, "rule": '"youden"'}


def test_the_threshold_travels_with_the_bundle_and_decides_there(tmp_path):
    folder = tmp_path / "run"
    options = ["--epochs", "1", "--set", "head.units=12", "--set", "training.threshold={sensitivity=0.9}"]
    options += ["--set", "training.select={accuracy=0.2, f1=0.3, dice=0.5}"]
    trained = run_cli("train", "phantoms", *options, "--threads", "1", "--out", folder)
    assert trained.code == 0, trained.err
    assert "threshold (malignant)" in trained.out
    assert "validation" in trained.out
    assert "val score 0." in trained.err
    run = Run.load(folder)
    assert run.metrics["val"].sensitivity >= 0.9
    assert run_cli("export", folder, "--out", tmp_path / "bundle", "--format", "tflite").code == 0
    answers = [
        run_cli("evaluate", target, "--json", "--bootstrap", "0").json for target in (folder, tmp_path / "bundle")
    ]
    for answer in answers:
        for split, figures in (("test", answer["metrics"]), ("val", answer["validation"])):
            assert figures["threshold"] == run.threshold
            assert figures["confusion"] == [list(row) for row in run.metrics[split].confusion]
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["threshold"] == run.threshold
    assert "chosen on the validation split" in (tmp_path / "bundle" / "README.md").read_text()
    golden = np.load(tmp_path / "bundle" / "golden.npz")["images"]
    np.save(tmp_path / "images.npy", golden)
    records = run_cli("predict", tmp_path / "bundle", tmp_path / "images.npy", "--json").json["predictions"]
    script = [sys.executable, tmp_path / "bundle" / "predict.py", tmp_path / "images.npy"]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    for record, line in zip(records, lines, strict=True):
        positive = record["probabilities"]["malignant"] > run.threshold
        assert record["classes"] == [run.class_names[0 if positive else 1]]
        assert f": {record['classes'][0]}  (" in line


def test_tables_of_several_runs_say_their_thresholds(tmp_path):
    options = ["--epochs", "1", "--set", "stem.kind=identity", "--set", "head={kind='dense'}", "--threads", "1"]
    for name, rule in (("half", "0.5"), ("chosen", "youden")):
        folder = tmp_path / name
        assert run_cli("train", "phantoms", *options, "--set", f"training.threshold={rule}", "--out", folder).code == 0
    assert "threshold" not in run_cli("compare", tmp_path / "half", tmp_path / "half").out
    table = run_cli("compare", tmp_path / "half", tmp_path / "chosen").out
    assert "threshold" in table
    assert f"{Run.load(tmp_path / 'chosen').threshold:.4f}" in table
