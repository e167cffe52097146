"""Losses beyond cross-entropy, and their sums: what each is, by other means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgelnn.data.dataset import Task
from edgelnn.errors import ConfigError
from edgelnn.run import Run
from edgelnn.training import TrainingSpec, load_experiment, train
from edgelnn.training.losses import build_loss
from tests.training_runs import tiny_dataset, tiny_experiment

SCORES = torch.tensor([[0.3, -1.0, 0.2], [1.5, 0.1, -0.4], [-0.2, 0.9, 2.0], [0.0, 0.4, 0.1]])
CODES = torch.tensor([0, 2, 1, 1])
SEVERAL = torch.tensor([[1, 0, 1], [0, 0, 1], [1, 1, 0], [0, 1, 1]])


def loss_of(loss: object, scores: torch.Tensor, targets: torch.Tensor, **facts: object) -> float:
    """The loss of three classes with a softmax, unless told otherwise."""
    task: Task = "multi-class"
    settings = {"output_kind": "softmax", "task": task, "classes": 3, "labels": np.array([0, 1, 2]), **facts}
    training = TrainingSpec.model_validate({"loss": loss, **settings.pop("training", {})})
    return float(build_loss(training, **settings)(scores, targets))


def dice(p: torch.Tensor, y: torch.Tensor) -> float:
    return float((2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1))


@pytest.mark.parametrize("name", ["bce", "mse"])
def test_losses_of_softmax_outputs_are_torchs_of_their_probabilities(name):
    p, y = SCORES.softmax(1), functional.one_hot(CODES, 3).float()
    expected = {"bce": functional.binary_cross_entropy, "mse": functional.mse_loss}[name](p, y)
    assert loss_of(name, SCORES, CODES) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("name", ["bce", "mse", "dice"])
def test_losses_of_labels_are_means_over_labels(name):
    p, y = SCORES.sigmoid(), SEVERAL.float()
    expected = {
        "bce": functional.binary_cross_entropy(p, y),
        "mse": functional.mse_loss(p, y),
        "dice": 1 - np.mean([dice(p[:, k], y[:, k]) for k in range(3)]),
    }[name]
    facts = {"output_kind": "sigmoid", "task": "multi-label", "labels": SEVERAL.numpy()}
    assert loss_of(name, SCORES, SEVERAL, **facts) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("positive", [0, 1, None])
def test_dice_is_of_the_positive_class(positive):
    scores, codes = SCORES[:, :2], torch.tensor([0, 1, 0, 1])
    counted = 1 if positive is None else positive
    expected = 1 - dice(scores.softmax(1)[:, counted], (codes == counted).float())
    facts = {"task": "binary-class", "classes": 2, "positive_class": positive}
    assert loss_of("dice", scores, codes, **facts) == pytest.approx(expected, rel=1e-6)
    three = 1 - np.mean([dice(SCORES.softmax(1)[:, k], (CODES == k).float()) for k in range(3)])
    assert loss_of("dice", SCORES, CODES) == pytest.approx(three, rel=1e-6)


@pytest.mark.parametrize("loss", ["bce", "mse", "dice", {"bce": 0.4, "dice": 1.0}])
@pytest.mark.parametrize("weights", ["none", [2.0, 0.5]])
def test_a_sigmoid_says_the_same_as_a_softmax_of_two(loss, weights):
    one, codes = torch.tensor([0.3, -1.2, 2.0]), torch.tensor([1, 0, 1])
    facts = {"task": "binary-class", "classes": 2, "training": {"class_weights": weights}}
    sigmoid = loss_of(loss, one[:, None], codes, output_kind="sigmoid", **facts)
    assert sigmoid == pytest.approx(loss_of(loss, torch.stack([0 * one, one], 1), codes, **facts), rel=1e-6)


def test_bce_of_two_classes_is_their_cross_entropy():
    scores, codes = 30 * SCORES[:, :2], torch.tensor([0, 1, 0, 1])
    facts = {"task": "binary-class", "classes": 2}
    assert loss_of("bce", scores, codes, **facts) == pytest.approx(loss_of("cross_entropy", scores, codes, **facts))


def test_a_sum_is_the_sum():
    parts = {"cross_entropy": 0.5, "bce": 0.4, "dice": 1.0, "mse": 3.0}
    expected = sum(weight * loss_of(name, SCORES, CODES) for name, weight in parts.items())
    assert loss_of(parts, SCORES, CODES) == pytest.approx(expected, rel=1e-6)
    assert loss_of({"mse": 2.0}, SCORES, CODES) == pytest.approx(2 * loss_of("mse", SCORES, CODES))


def test_a_batch_without_a_positive_image_still_teaches_dice():
    scores = torch.zeros(3, 2, requires_grad=True)
    training = TrainingSpec(loss="dice")
    facts = {"output_kind": "softmax", "task": "binary-class", "classes": 2, "labels": np.array([0, 1])}
    build_loss(training, positive_class=0, **facts)(scores, torch.ones(3, dtype=torch.int64)).backward()
    assert scores.grad is not None
    assert (scores.grad[:, 0] > 0).all()


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_the_thesis_recipe_trains(tmp_path, output):
    """0.4 BCE + 1.0 Dice, the epoch by 0.2 ACC + 0.3 F1 + 0.5 Dice, cosine with warm restarts."""
    settings = tiny_experiment(
        epochs=12,
        loss={"bce": 0.4, "dice": 1.0},
        select={"accuracy": 0.2, "f1": 0.3, "dice": 0.5},
        schedule={"kind": "warm_restarts", "period": 6},
    ).model_dump()
    settings["head"]["output"] = output
    experiment = type(tiny_experiment()).model_validate(settings)
    run = train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(), figures=False)
    sums = [0.2 * one.val_accuracy + 0.3 * one.val_f1 + 0.5 * one.val_dice for one in run.history]
    assert sums[run.best_epoch - 1] == max(sums)
    assert run.metrics["test"].auc > 0.9
    assert Run.load(tmp_path / "run").experiment == experiment
    best = run.history[run.best_epoch - 1]
    assert run.metrics["val"].dice == pytest.approx(best.val_dice)
    assert run.metrics["val"].f1 == pytest.approx(best.val_f1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("training.loss={}", r"training\.loss: expected a weight above 0 for at least one of cross_entropy, bce"),
        ("training.loss={bce=-1}", r"training\.loss\.bce: got -1; expected a number from 0 to 1000"),
        ("training.loss={bec=1}", r'training\.loss\.bec: no such field; did you mean "bce"'),
        ("training.loss=focal", r"training\.loss: got \"focal\"; expected one of auto, cross_entropy, bce, dice, mse"),
        ("training.select={last=1}", r"training\.select\.last: no such field"),
        ("training.threshold=1.5", r"training\.threshold: got 1\.5; expected"),
        ("training.threshold={}", r"training\.threshold: expected either a sensitivity or a specificity"),
    ],
)
def test_what_cannot_be_summed_is_refused_in_one_line(change, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_experiment(None, [change])
    assert "\n" not in str(caught.value)


def test_sums_can_be_typed():
    experiment = load_experiment(None, ["training.loss={bce=0.4, dice=1}", "training.select={f1=0.3, dice=0.5}"])
    assert experiment.training.loss.dice == 1.0
    assert experiment.training.select.f1 == 0.3
