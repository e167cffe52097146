from __future__ import annotations

import dataclasses
import io
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_curve as sklearns_roc_curve

from edgelnn.data.augmentation import Augmentation
from edgelnn.models import build_classifier
from edgelnn.models.specification import CfCHead, HeadSpec, LTCHead, ModelSpec, PlainScan, RecurrentHead, SlicesScan
from edgelnn.training import Experiment, evaluate_predictions, figures, train
from edgelnn.training.charts import draw_confusion, draw_curves, draw_roc, roc_curve
from edgelnn.training.figures import Results, draw_figures, draw_wiring, new_figure, styled
from edgelnn.training.history import EpochRecord
from edgelnn.training.pictures import choose_samples, draw_augmented, draw_samples
from tests.training_runs import tiny_dataset, tiny_experiment

HISTORY = tuple(EpochRecord(n, 0.1, 1 / n, 0.5, 1.2 / n, 0.6 + 0.02 * n, 0.6, 0.1) for n in range(1, 8))


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setitem(figures.STYLE, "figure.dpi", 50)


@cache
def results(
    task: str = "binary-class", classes: int = 2, *, volume: bool = False, head: HeadSpec | None = None
) -> Results:
    dataset = tiny_dataset(task, classes, volume=volume)
    labels = dataset["test"].labels
    rng = np.random.default_rng(0)
    truth = labels if labels.ndim == 2 else np.eye(classes)[labels]
    probabilities = rng.random(truth.shape) + 0.5 * truth
    probabilities /= 1.6 if labels.ndim == 2 else probabilities.sum(axis=1, keepdims=True)
    metrics = evaluate_predictions(
        probabilities,
        labels,
        task=task,
        class_names=dataset.class_names,
        positive_class=dataset.positive_class,
        bootstrap=50,
    )
    scan = SlicesScan() if volume else PlainScan()
    spec = ModelSpec(head=head, scan=scan) if head is not None else ModelSpec(head=CfCHead(units=20), scan=scan)
    classifier = build_classifier(spec, image_shape=dataset.image_shape, task=task, classes=classes)
    return Results("tiny", dataset, HISTORY, 5, probabilities, metrics, classifier)


@pytest.mark.parametrize("volume", [False, True])
def test_augmented_images_are_shown_with_their_parameters(tmp_path, volume):
    augmentation = Augmentation(noise=0.1, crop=(0.8, 1.0), blur=(3, 5))
    shown = dataclasses.replace(results(volume=volume), augmentation=augmentation)
    figure = draw_augmented(shown)
    words = words_of(figure).replace("\N{NO-BREAK SPACE}", " ")
    for word in ("flip 0.5", "crop [0.8, 1.0]", "noise 0.1", "noise probability 0.5"):
        assert word in words
    assert "shear" not in words
    pictures = [image.get_array() for image in figure.findobj(matplotlib.image.AxesImage)]
    assert len(pictures) == 32
    originals = [np.asarray(one) for one in pictures[::8]]
    train = shown.dataset["train"].images
    middle = train[:, 4] if volume else train
    assert all(any(np.array_equal(one, image[..., 0]) for image in middle) for one in originals)
    assert not any(np.array_equal(pictures[0], one) for one in pictures[1:8])
    if not volume:
        assert "augmented" in {path.stem for path in draw_figures(shown, tmp_path / "figures")}


def words_of(figure) -> str:
    """Everything written in a figure."""
    return "\n".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


@pytest.mark.parametrize(
    ("task", "classes", "expected"),
    [
        ("binary-class", 2, {"curves", "roc", "confusion", "samples", "wiring"}),
        ("multi-class", 6, {"curves", "roc", "confusion", "samples", "wiring"}),
        ("multi-label", 3, {"curves", "roc", "labels", "samples", "wiring"}),
    ],
)
def test_every_task_has_its_figures(tmp_path, task, classes, expected):
    paths = draw_figures(results(task, classes), tmp_path / "figures")
    assert {path.stem for path in paths} == expected
    for path in paths:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert min(image.size) > 120
            assert len(image.convert("L").getcolors(256)) > 10


def test_volumes_show_their_middle_slices(tmp_path):
    figure = draw_samples(results(volume=True))
    assert "middle slices" in words_of(figure)


def test_synthetic_images_are_called_so_in_every_figure():
    one = results()
    for draw in (draw_curves, draw_roc, draw_confusion, draw_samples, draw_wiring):
        assert "Synthetic images" in words_of(draw(one))
    real = dataclasses.replace(one, dataset=dataclasses.replace(one.dataset, synthetic=False))
    assert "Synthetic" not in words_of(new_figure(real, "title", 3, 3))


def test_the_roc_names_the_positive_class_and_its_auc():
    one = results()
    words = words_of(draw_roc(one))
    assert '"malignant"' in words
    assert f"AUC {one.metrics.auc:.3f} (" in words
    assert "95 % band (bootstrap)" in words
    assert f"sensitivity {one.metrics.sensitivity:.3f}, specificity {one.metrics.specificity:.3f}" in words


def test_the_curves_mark_the_epoch_that_was_kept():
    assert "kept: epoch 5" in words_of(draw_curves(results()))


def test_the_confusion_matrix_shows_its_counts():
    one = results()
    words = words_of(draw_confusion(one)).splitlines()
    for row in one.metrics.confusion:
        for count in row:
            assert str(count) in words


def test_a_roc_curve_is_scikit_learns(rng):
    positive = rng.random(80) < 0.4
    scores = np.round(rng.random(80) + 0.3 * positive, 1)
    false_rate, true_rate = roc_curve(scores, positive)
    expected = sklearns_roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(false_rate, expected[0])
    np.testing.assert_allclose(true_rate, expected[1])


def test_samples_come_from_every_class_in_turn_and_are_always_the_same():
    labels = np.array([0] * 50 + [1] * 3 + [2] * 7)
    chosen = choose_samples(labels, 3, 24)
    assert len(set(chosen)) == 24
    assert labels[chosen[:3]].tolist() == [0, 1, 2]
    assert np.bincount(labels[chosen]).tolist() == [14, 3, 7]
    assert chosen == choose_samples(labels, 3, 24)
    assert len(choose_samples(labels, 3, 100)) == 60
    assert len(set(choose_samples(np.ones((9, 2), int), 2, 24))) == 9


def test_the_wiring_names_the_class_scores():
    words = words_of(draw_wiring(results(head=LTCHead(kind="ltc", units=12)))).splitlines()
    assert {"malignant", "benign"} <= set(words)


@pytest.mark.parametrize("head", [RecurrentHead(kind="gru"), CfCHead(wiring="none")])
def test_heads_without_a_wiring_have_no_such_figure(tmp_path, head):
    assert "wiring" not in {path.stem for path in draw_figures(results(head=head), tmp_path)}


def test_a_sigmoid_names_its_one_output():
    head = LTCHead(kind="ltc", units=12, output="sigmoid")
    words = words_of(draw_wiring(results(head=head))).splitlines()
    assert "benign" in words
    assert "malignant" not in words


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    with Image.open(io.BytesIO(styled(lambda: draw_curves(results())))) as image:
        assert image.size[0] == 9 * 50
    assert dict(matplotlib.rcParams) == before


def test_a_training_draws_its_figures(tmp_path):
    head = {"kind": "lstm", "units": 4}
    experiment = Experiment.model_validate({**tiny_experiment(epochs=1).model_dump(), "head": head})
    train(experiment, folder=tmp_path / "run", dataset=tiny_dataset())
    names = {path.name for path in Path(tmp_path / "run" / "figures").iterdir()}
    assert names == {"curves.png", "roc.png", "confusion.png", "samples.png"}
