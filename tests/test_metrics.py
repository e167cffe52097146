from __future__ import annotations

import json
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

from edgelnn.errors import DataError
from edgelnn.training import Metrics, evaluate_predictions
from edgelnn.training.bootstrap import bootstrap_intervals, resample_weights, weighted_auc

BREAST = {"task": "binary-class", "class_names": ("malignant", "normal, benign"), "positive_class": 0}


def binary(probability_of_one: np.ndarray) -> np.ndarray:
    return np.stack([1 - probability_of_one, probability_of_one], axis=1)


def made_up(task: str, n: int, classes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    if task == "multi-label":
        labels = (rng.random((n, classes)) < 0.3).astype(np.int64)
        return np.clip(0.3 * labels + 0.7 * rng.random((n, classes)), 0, 1), labels
    labels = rng.integers(classes, size=n)
    scores = rng.dirichlet(np.ones(classes), n) + 0.4 * np.eye(classes)[labels]
    return scores / scores.sum(axis=1, keepdims=True), labels


def test_the_published_confusion_matrix_of_breastmnist_gives_the_published_figures():
    """27 of 42 malignant, 105 of 114 other images right: accuracy .8462, F1 .8974 with benign as the positive class."""
    labels = np.repeat([0, 0, 1, 1], [27, 15, 9, 105])
    decided = np.repeat([0, 1, 0, 1], [27, 15, 9, 105])
    metrics = evaluate_predictions(binary(np.where(decided == 1, 0.8, 0.2)), labels, **BREAST)
    assert metrics.confusion == ((27, 15), (9, 105))
    assert metrics.accuracy == pytest.approx(0.8462, abs=5e-5)
    assert metrics.positive_class == "malignant"
    assert metrics.sensitivity == pytest.approx(27 / 42)
    assert metrics.specificity == pytest.approx(105 / 114)
    assert metrics.f1 == pytest.approx(2 * 27 / (2 * 27 + 15 + 9))
    assert metrics.classes[1].f1 == pytest.approx(0.8974, abs=5e-5)
    assert metrics.classes[0].images == 42


def test_binary_figures_are_those_of_scikit_learn(rng):
    probabilities, labels = made_up("binary-class", 300, 2, rng)
    metrics = evaluate_predictions(probabilities, labels, **BREAST, bootstrap=0)
    decided = (probabilities[:, 1] > 0.5).astype(int)
    assert metrics.auc == pytest.approx(roc_auc_score(labels, probabilities[:, 1]), abs=1e-12)
    assert metrics.accuracy == pytest.approx((decided == labels).mean())
    assert metrics.f1 == pytest.approx(f1_score(labels, decided, pos_label=0))
    assert metrics.sensitivity == pytest.approx(recall_score(labels, decided, pos_label=0))
    assert metrics.specificity == pytest.approx(recall_score(labels, decided, pos_label=1))
    np.testing.assert_array_equal(metrics.confusion, confusion_matrix(labels, decided))
    assert metrics.intervals == {}


@pytest.mark.parametrize("task", ["multi-class", "ordinal-regression"])
def test_figures_of_many_classes_are_those_of_scikit_learn_class_by_class(rng, task):
    probabilities, labels = made_up(task, 400, 5, rng)
    names = tuple("abcde")
    metrics = evaluate_predictions(
        probabilities, labels, task=task, class_names=names, positive_class=None, bootstrap=50
    )
    decided = probabilities.argmax(axis=1)
    assert metrics.auc == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr"), abs=1e-12)
    assert metrics.accuracy == pytest.approx((decided == labels).mean())
    np.testing.assert_array_equal(metrics.confusion, confusion_matrix(labels, decided))
    assert (metrics.positive_class, metrics.f1, metrics.sensitivity, metrics.specificity) == (None,) * 4
    assert metrics.class_names == names
    assert set(metrics.intervals) == {"auc", "accuracy"}
    for index, one in enumerate(metrics.classes):
        assert one.auc == pytest.approx(roc_auc_score(labels == index, probabilities[:, index]), abs=1e-12)
        assert one.f1 == pytest.approx(f1_score(labels == index, decided == index))
        assert one.sensitivity == pytest.approx(recall_score(labels == index, decided == index))
        assert one.specificity == pytest.approx(recall_score(labels != index, decided != index))


def test_figures_of_labels_are_medmnists_means_over_labels(rng):
    probabilities, labels = made_up("multi-label", 300, 4, rng)
    metrics = evaluate_predictions(
        probabilities, labels, task="multi-label", class_names=tuple("abcd"), positive_class=None, bootstrap=100
    )
    assert metrics.auc == pytest.approx(np.mean([roc_auc_score(labels[:, k], probabilities[:, k]) for k in range(4)]))
    assert metrics.accuracy == pytest.approx(((probabilities > 0.5) == labels).mean())
    assert metrics.confusion is None
    hits, misses, alarms, rests = metrics.classes[2].confusion
    assert hits + misses == labels[:, 2].sum()
    assert hits + misses + alarms + rests == 300
    low, high = metrics.intervals["accuracy"]
    assert low < metrics.accuracy < high


def test_auc_is_the_same_whichever_class_of_two_is_positive(rng):
    probabilities, labels = made_up("binary-class", 100, 2, rng)
    one = evaluate_predictions(probabilities, labels, **BREAST, bootstrap=0)
    other = evaluate_predictions(probabilities, labels, **{**BREAST, "positive_class": 1}, bootstrap=0)
    assert one.auc == pytest.approx(other.auc)
    assert one.sensitivity == other.specificity
    assert one.classes[0].auc == pytest.approx(one.classes[1].auc)


@pytest.mark.parametrize(("positive", "decided"), [(0, [0, 1, 1, 1]), (1, [0, 0, 0, 1])])
def test_a_threshold_is_on_the_positive_class(positive, decided):
    probabilities = binary(np.array([0.2, 0.35, 0.6, 0.9]))
    labels = np.array([0, 0, 1, 1])
    metrics = evaluate_predictions(
        probabilities, labels, **{**BREAST, "positive_class": positive}, threshold=0.7, bootstrap=0
    )
    np.testing.assert_array_equal(metrics.confusion, confusion_matrix(labels, decided))
    assert metrics.decided_accuracy == np.mean(np.array(decided) == labels)
    assert metrics.threshold == 0.7
    assert metrics.accuracy == 1.0  # MedMNIST's own, which decides at 0.5


def test_the_interval_of_the_accuracy_is_of_medmnists_decisions(rng):
    probabilities, labels = made_up("binary-class", 200, 2, rng)
    low, high = evaluate_predictions(probabilities, labels, **BREAST, threshold=0.01).intervals["accuracy"]
    half = evaluate_predictions(probabilities, labels, **BREAST)
    assert (low, high) == half.intervals["accuracy"]


def test_dice_of_probabilities_is_f1_where_they_are_decisions(rng):
    probabilities, labels = made_up("binary-class", 120, 2, rng)
    metrics = evaluate_predictions(probabilities, labels, **BREAST, bootstrap=200)
    p, y = probabilities[:, 0], labels == 0
    assert metrics.dice == pytest.approx(2 * (p * y).sum() / (p.sum() + y.sum()))
    assert metrics.intervals["dice"][0] < metrics.dice < metrics.intervals["dice"][1]
    hard = evaluate_predictions(binary((probabilities[:, 1] > 0.5).astype(float)), labels, **BREAST, bootstrap=200)
    assert hard.dice == pytest.approx(hard.f1)
    assert hard.intervals["dice"] == pytest.approx(hard.intervals["f1"])
    many, codes = made_up("multi-class", 120, 3, rng)
    found = evaluate_predictions(
        many, codes, task="multi-class", class_names=tuple("abc"), positive_class=None, bootstrap=0
    )
    assert found.dice == pytest.approx(np.mean([one.dice for one in found.classes]))


def test_metrics_survive_json(rng):
    for task, classes in (("binary-class", 2), ("multi-class", 3), ("multi-label", 3)):
        probabilities, labels = made_up(task, 60, classes, rng)
        positive = 0 if classes == 2 else None
        metrics = evaluate_predictions(
            probabilities,
            labels,
            task=task,
            class_names=tuple("abc"[:classes]),
            positive_class=positive,
            bootstrap=20,
        )
        assert Metrics.from_dict(json.loads(json.dumps(metrics.to_dict()))) == metrics


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_weighted_auc_is_scikit_learns(seed, n, levels):
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 0
    scores = rng.integers(levels, size=n) / levels
    weights = rng.integers(1, 4, size=(n, 3)).astype(np.float32)
    expected = [roc_auc_score(positive, scores, sample_weight=weights[:, one]) for one in range(3)]
    np.testing.assert_allclose(weighted_auc(scores, positive, weights), expected, atol=1e-12)


def test_weighted_auc_is_undefined_without_weight_on_one_side():
    weights = np.array([[1, 0], [1, 1]], np.float32)
    auc = weighted_auc(np.array([0.1, 0.9]), np.array([False, True]), weights)
    assert auc[0] == 1.0
    assert np.isnan(auc[1])


def test_resamples_keep_the_size_of_every_stratum():
    strata = np.array([0] * 30 + [1] * 5 + [2] * 65)
    weights = np.concatenate(list(resample_weights(strata, resamples=200, seed=1)), axis=1)
    assert weights.shape == (100, 200)
    for stratum, size in enumerate((30, 5, 65)):
        assert (weights[strata == stratum].sum(axis=0) == size).all()
    again = np.concatenate(list(resample_weights(strata, resamples=200, seed=1)), axis=1)
    np.testing.assert_array_equal(weights, again)


def test_intervals_are_those_of_resampling_one_at_a_time(rng):
    """The same bootstrap written as a loop over resamples with scikit-learn."""
    probabilities, labels = made_up("binary-class", 80, 2, rng)
    truth = labels[:, None] == np.arange(2)
    decided = np.stack([probabilities[:, 1] <= 0.5, probabilities[:, 1] > 0.5], axis=1)
    overall, classes = bootstrap_intervals(probabilities, truth, decided, stratified=True, resamples=300, seed=3)
    (weights,) = resample_weights(labels.astype(np.int64), resamples=300, seed=3)
    aucs, recalls = [], []
    for column in weights.T:
        chosen = np.repeat(np.arange(80), column.astype(int))
        aucs.append(roc_auc_score(labels[chosen], probabilities[chosen, 1]))
        recalls.append(recall_score(labels[chosen], decided[chosen, 1], pos_label=0))
    assert overall["auc"] == pytest.approx(tuple(np.quantile(aucs, [0.025, 0.975])))
    assert classes[0]["sensitivity"] == pytest.approx(tuple(np.quantile(recalls, [0.025, 0.975])))


def test_intervals_hold_the_figure_and_narrow_with_more_images(rng):
    widths = []
    for n in (60, 2000):
        probabilities, labels = made_up("binary-class", n, 2, rng)
        metrics = evaluate_predictions(probabilities, labels, **BREAST)
        for name, (low, high) in metrics.intervals.items():
            assert low <= getattr(metrics, name) <= high
        assert set(metrics.intervals) == {"auc", "accuracy", "f1", "sensitivity", "specificity", "dice"}
        widths.append(metrics.intervals["auc"][1] - metrics.intervals["auc"][0])
    assert widths[1] < widths[0] / 3


def test_a_thousand_resamples_of_a_test_set_take_less_than_a_second(rng):
    probabilities, labels = made_up("binary-class", 624, 2, rng)
    evaluate_predictions(probabilities, labels, **BREAST, bootstrap=0)  # imports
    began = time.perf_counter()
    evaluate_predictions(probabilities, labels, **BREAST, bootstrap=1000)
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros(4, int)}, 'only images of class "malignant"|no image of class'),
        ({"labels": np.ones(4, int)}, 'no image of class "malignant"'),
        ({"labels": np.array([0, 1, 2, 1])}, "labels from 0 to 2; expected 0 to 1"),
        ({"labels": np.array([0, 1])}, "expected one row an image"),
        ({"probabilities": np.array([[np.nan, 0.1], [0.5, 0.5], [0.1, 0.9], [0.2, 0.8]])}, "first at index 0"),
        ({"probabilities": np.full((4, 3), 1 / 3)}, "expected one row an image and one column a class"),
        ({"probabilities": np.zeros((0, 2)), "labels": np.zeros(0, int)}, "holds no images"),
        ({"class_names": ("a", "b", "c"), "probabilities": np.full((4, 3), 1 / 3)}, "3 class names for a binary task"),
        ({"positive_class": 2}, "got positive_class=2; expected an index from 0 to 1"),
        ({"threshold": 1.5}, "got threshold=1.5; expected a number from 0 to 1"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(change, words):
    given = {
        "probabilities": binary(np.array([0.1, 0.4, 0.6, 0.9])),
        "labels": np.array([0, 0, 1, 1]),
        "threshold": 0.5,
        **BREAST,
        **change,
    }
    with pytest.raises(DataError, match=words) as caught:
        evaluate_predictions(given.pop("probabilities"), given.pop("labels"), **given)
    assert "\n" not in str(caught.value)


def test_a_class_that_no_image_is_of_is_named(rng):
    probabilities, labels = made_up("multi-class", 50, 3, rng)
    labels[labels == 1] = 0
    with pytest.raises(DataError, match='no image of class "b"'):
        evaluate_predictions(probabilities, labels, task="multi-class", class_names=tuple("abc"), positive_class=None)
