from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from edgelnn.errors import ConfigError, RunFolderError
from edgelnn.training import Schedule, TrainingSpec
from edgelnn.training.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    Progress,
    copy_state,
    load_checkpoint,
    save_checkpoint,
)
from edgelnn.training.device import computing, find_device
from edgelnn.training.history import EpochRecord, format_history, parse_history
from edgelnn.training.losses import build_loss
from edgelnn.training.optimizers import build_optimizer, optimizer_state, restore_optimizer
from edgelnn.training.schedules import learning_rate_at
from edgelnn.training.selection import advance

EPOCHS, BATCHES, TOP = 12, 5, 0.3


def torchs_rates(make, *, by_batch: bool = False) -> list[float]:
    """Return the rates of torch's scheduler, one for each batch."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=TOP)
    scheduler = make(optimizer)
    rates = []
    for _ in range(EPOCHS):
        for _ in range(BATCHES):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if by_batch and len(rates) < EPOCHS * BATCHES:
                scheduler.step()
        if not by_batch:
            scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make", "by_batch"),
    [
        (Schedule(), lambda o: lr_scheduler.ConstantLR(o, factor=1.0), False),
        (
            Schedule(kind="step", milestones=[0.5, 0.75], gamma=0.2),
            lambda o: lr_scheduler.MultiStepLR(o, [6, 9], 0.2),
            False,
        ),
        (Schedule(kind="cosine"), lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS), False),
        (
            Schedule(kind="warm_restarts", period=5),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
            False,
        ),
        (
            Schedule(kind="warm_restarts", period=2, growth=2),
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, T_mult=2),
            False,
        ),
        (
            Schedule(kind="one_cycle"),
            lambda o: lr_scheduler.OneCycleLR(o, TOP, total_steps=EPOCHS * BATCHES, cycle_momentum=False),
            True,
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, Schedule) else "",
)
def test_schedules_are_torchs(schedule, make, by_batch):
    ours = [
        learning_rate_at(schedule, TOP, epochs=EPOCHS, epoch=epoch, batch=batch, batches=BATCHES)
        for epoch in range(EPOCHS)
        for batch in range(BATCHES)
    ]
    np.testing.assert_allclose(ours, torchs_rates(make, by_batch=by_batch), rtol=1e-9, atol=1e-12)


def test_the_step_schedules_defaults_are_medmnists_protocol():
    """A tenth of the rate at 50 % and again at 75 % of 100 epochs."""
    rates = [learning_rate_at(Schedule(kind="step"), 1e-3, epochs=100, epoch=epoch) for epoch in range(100)]
    assert rates == pytest.approx([1e-3] * 50 + [1e-4] * 25 + [1e-5] * 25)


@pytest.mark.parametrize("kind", ["constant", "step", "cosine", "warm_restarts", "one_cycle"])
def test_a_schedule_of_one_step_is_defined(kind):
    assert 0 < learning_rate_at(Schedule(kind=kind, period=1), TOP, epochs=1, epoch=0) <= TOP


LABELS = np.array([0, 0, 0, 1])


def loss_of(training: TrainingSpec, scores, targets, **facts) -> float:
    facts = {"output_kind": "softmax", "task": "binary-class", "classes": 2, "labels": LABELS, **facts}
    return float(build_loss(training, **facts)(torch.tensor(scores), torch.tensor(targets)))


def test_cross_entropy_weighs_classes_as_torch_does():
    scores = [[0.2, 0.9], [1.5, -1.0]]
    weights = TrainingSpec(class_weights=[1.0, 3.0])
    expected = nn.functional.cross_entropy(torch.tensor(scores), torch.tensor([1, 0]), weight=torch.tensor([1.0, 3.0]))
    assert loss_of(weights, scores, [1, 0]) == pytest.approx(float(expected))
    balanced = TrainingSpec(class_weights="balanced")
    expected = nn.functional.cross_entropy(
        torch.tensor(scores), torch.tensor([1, 0]), weight=torch.tensor([4 / 6, 4 / 2])
    )
    assert loss_of(balanced, scores, [1, 0]) == pytest.approx(float(expected))


def test_a_sigmoid_says_the_same_as_a_softmax_of_two():
    """A sigmoid of s is the second of softmax (0, s), so both losses and their weights must agree."""
    s = [0.3, -1.2, 2.0]
    for weights in ("none", "balanced", [2.0, 0.5]):
        training = TrainingSpec(class_weights=weights)
        binary = loss_of(training, [[one] for one in s], [1, 0, 1], output_kind="sigmoid")
        assert binary == pytest.approx(loss_of(training, [[0.0, one] for one in s], [1, 0, 1]), rel=1e-6)


def test_labels_are_weighed_by_what_is_rare():
    labels = np.array([[1, 0], [0, 0], [0, 1], [0, 1]])
    facts = {"output_kind": "sigmoid", "task": "multi-label", "labels": labels}
    scores, targets = [[0.1, -0.4], [0.7, 0.2]], [[1, 0], [0, 1]]
    expected = nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(scores), torch.tensor(targets).float(), pos_weight=torch.tensor([3.0, 1.0])
    )
    assert loss_of(TrainingSpec(class_weights="balanced"), scores, targets, **facts) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("training", "output", "words"),
    [
        (TrainingSpec(loss="cross_entropy"), "sigmoid", 'expected "bce" or "auto"'),
        (TrainingSpec(loss={"cross_entropy": 0.5, "dice": 1.0}), "sigmoid", 'training.loss: got "cross_entropy"'),
        (TrainingSpec(class_weights=[1.0, 2.0, 3.0]), "softmax", "training.class_weights: got 3 numbers; expected 2"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused(training, output, words):
    with pytest.raises(ConfigError, match=words):
        build_loss(training, output_kind=output, task="binary-class", classes=2, labels=LABELS)


def record(
    epoch: int, *, auc: float = 0.5, accuracy: float = 0.5, loss: float = 1.0, f1: float = 0.5, dice: float = 0.5
) -> EpochRecord:
    return EpochRecord(epoch, 0.1, 0.7, 0.6, loss, auc, accuracy, 0.1, f1, dice)


def progress_of(training: TrainingSpec, records: list[EpochRecord]) -> Progress:
    progress = Progress()
    for one in records:
        progress = advance(progress, one, training)
    return progress


@pytest.mark.parametrize(("select", "kept"), [("auc", 2), ("accuracy", 3), ("loss", 1), ("last", 4)])
def test_the_epoch_to_keep_is_the_best_by_what_was_asked_for(select, kept):
    records = [
        record(1, auc=0.6, accuracy=0.6, loss=0.2),
        record(2, auc=0.9, accuracy=0.7, loss=0.5),
        record(3, auc=0.8, accuracy=0.9, loss=0.6),
        record(4, auc=0.9, accuracy=0.9, loss=0.7),
    ]
    assert progress_of(TrainingSpec(select=select), records).best_epoch == kept


def test_of_equally_good_epochs_the_one_with_the_lower_loss_is_kept():
    records = [record(1, auc=0.9, loss=0.5), record(2, auc=0.9, loss=0.4), record(3, auc=0.9, loss=0.45)]
    assert progress_of(TrainingSpec(select="auc"), records).best_epoch == 2


def test_early_stopping_waits_for_patience_and_wants_more_than_the_minimum_change():
    training = TrainingSpec(monitor="loss", patience=3, min_change=0.1)
    losses = [1.0, 0.95, 0.85, 0.80, 0.76, 0.76, 0.76]
    stopped = [
        progress_of(training, [record(n + 1, loss=loss) for n, loss in enumerate(losses[:end])]).stopped_early
        for end in range(1, 8)
    ]
    assert stopped == [False, False, False, False, False, True, True]
    assert not progress_of(TrainingSpec(), [record(n) for n in range(1, 50)]).stopped_early


def test_the_epoch_to_keep_can_be_the_best_by_a_sum():
    weights = {"accuracy": 0.2, "f1": 0.3, "dice": 0.5}
    records = [
        record(1, accuracy=0.9, f1=0.5, dice=0.50),
        record(2, accuracy=0.5, f1=0.6, dice=0.56),
        record(3, accuracy=0.6, f1=0.6, dice=0.55),
        record(4, accuracy=0.9, f1=0.9, dice=0.10),
    ]
    sums = [0.2 * one.val_accuracy + 0.3 * one.val_f1 + 0.5 * one.val_dice for one in records]
    assert progress_of(TrainingSpec(select=weights), records).best_epoch == 1 + int(np.argmax(sums))
    assert progress_of(TrainingSpec(select={"f1": 1.0}), records).best_epoch == 4
    assert progress_of(TrainingSpec(select="dice"), records).best_epoch == 2
    worst = [record(1, auc=0.9, loss=2.0), record(2, auc=0.8, loss=0.5)]
    assert progress_of(TrainingSpec(select={"auc": 1.0, "loss": 1.0}), worst).best_epoch == 2


def stops_at(losses: list[float], **training) -> int | None:
    """The epoch after which training stops, None where it does not."""
    progress, spec = Progress(), TrainingSpec(monitor="loss", **training)
    for epoch, loss in enumerate(losses, start=1):
        progress = advance(progress, record(epoch, loss=loss), spec)
        if progress.stopped_early:
            return epoch
    return None


def test_early_stopping_by_a_loss_that_stays_above_its_best():
    """Selivestrov's rule: more than 0.001 above the best for 10 epochs; what comes closer to the best begins anew."""
    rule = {"stop_when": "worse_than_best", "patience": 10, "min_change": 0.001}
    assert stops_at([0.5] + [0.502] * 10, **rule) == 11
    assert stops_at([0.5] + [0.502] * 9 + [0.5005] + [0.502] * 9, **rule) is None
    assert stops_at([0.5] + [0.502] * 9 + [0.5005] + [0.502] * 10, **rule) == 21
    assert stops_at([0.5] + [0.502] * 9 + [0.4999] + [0.5005] * 50, **rule) is None
    # A best that moves by less than the difference still counts as the best.
    assert stops_at([0.5 - 0.0005 * step for step in range(40)] + [0.4825] * 10, **rule) == 50
    # The other rule stops where nothing improves, however near the best it stays.
    assert stops_at([0.5] + [0.5005] * 50, **rule) is None
    assert stops_at([0.5] + [0.5005] * 50, **{**rule, "stop_when": "no_improvement"}) == 11


def test_history_of_before_f1_was_recorded_can_still_be_read():
    columns = "epoch,learning_rate,train_loss,train_accuracy,val_loss,val_auc,val_accuracy,duration_s"
    (one,) = parse_history(f"{columns}\n1,0.1,1,0,1,0.5,0.5,2\n")
    assert (one.val_auc, one.duration_s) == (0.5, 2.0)
    assert np.isnan([one.val_f1, one.val_dice]).all()


def test_history_survives_csv():
    history = (record(1, auc=1 / 3), record(2, loss=1e-17))
    assert parse_history(format_history(history)) == history
    for damaged in ("", "epoch\n1\n", format_history(history) + "3,x\n"):
        with pytest.raises(RunFolderError, match="got a history"):
            parse_history(damaged)


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_an_optimizer_goes_on_from_its_state_to_the_bit(kind):
    training = TrainingSpec(optimizer=kind, learning_rate=0.05, weight_decay=0.01)

    def steps(module: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for index in range(count):
            optimizer.zero_grad()
            module(torch.linspace(-1, 1 + index, 6).reshape(2, 3)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    whole = nn.Linear(3, 2)
    halves = nn.Linear(3, 2)
    halves.load_state_dict(whole.state_dict())
    optimizer = build_optimizer(training, whole)
    steps(whole, optimizer, 3)
    steps(whole, optimizer, 3)
    first = build_optimizer(training, halves)
    steps(halves, first, 3)
    second = build_optimizer(training, halves)
    restore_optimizer(second, optimizer_state(first))
    steps(halves, second, 3)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), halves.parameters(), strict=True))


def some_checkpoint() -> Checkpoint:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = build_optimizer(TrainingSpec(), module)
    module(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    progress = Progress((record(1),), 1, (0.5, -1.0), 0.5, 0, False)
    return Checkpoint(progress, copy_state(module), copy_state(module), optimizer_state(optimizer), 2, "abc")


def test_a_checkpoint_survives_its_file_and_holds_no_pickle(tmp_path):
    checkpoint = some_checkpoint()
    save_checkpoint(tmp_path, checkpoint)
    again = load_checkpoint(tmp_path)
    assert (again.progress, again.threads, again.data_digest) == (checkpoint.progress, 2, "abc")
    assert again.weights.keys() == checkpoint.weights.keys()
    assert all(torch.equal(again.weights[name], tensor) for name, tensor in checkpoint.weights.items())
    assert again.weights["1.num_batches_tracked"].dtype == torch.int64
    assert again.optimizer.keys() == checkpoint.optimizer.keys()
    assert all(
        torch.equal(again.optimizer[index][name], tensor)
        for index, state in checkpoint.optimizer.items()
        for name, tensor in state.items()
    )
    assert b"pickle" not in (tmp_path / CHECKPOINT).read_bytes()


def test_a_checkpoint_before_the_first_epoch_can_be_written(tmp_path):
    save_checkpoint(tmp_path, Checkpoint(Progress(), {}, {}, {}, 1, ""))
    assert load_checkpoint(tmp_path).progress == Progress()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "damaged or not safetensors"),
        (lambda data: b"", "damaged or not safetensors"),
        (lambda data: b"\x80\x04pickle" + data, "damaged or not safetensors"),
        (lambda data: data.replace(b'"format_version', b'"farmot_version', 1), "is not a checkpoint"),
        (lambda data: data.replace(b'format_version\\": 1', b'format_version\\": 9', 1), "has format_version 9; this"),
        (lambda data: data.replace(b'"history', b'"hystori', 1).replace(b"history", b"hystori", 1), "is damaged"),
    ],
    ids=["truncated", "empty", "foreign", "no version", "newer", "no history"],
)
def test_a_damaged_checkpoint_is_refused_in_one_line(tmp_path, damage, words):
    save_checkpoint(tmp_path, some_checkpoint())
    path = tmp_path / CHECKPOINT
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunFolderError, match=words) as caught:
        load_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


def test_devices_are_found_or_refused():
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match='got device "gpu"; expected cpu, cuda or mps'):
        find_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match=r'got device "cuda"; torch .* finds cpu.* Pass --device cpu'):
            find_device("cuda")


def test_torchs_settings_come_back():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.random.get_rng_state()
    with computing(torch.device("cpu"), before[0] + 1) as threads:
        assert threads == torch.get_num_threads() == before[0] + 1
        assert torch.are_deterministic_algorithms_enabled()
        torch.manual_seed(99)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[:2]
    assert torch.equal(torch.random.get_rng_state(), before[2])
