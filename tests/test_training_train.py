from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from edgelnn.data.dataset import Split
from edgelnn.errors import ConfigError, DataError, RunFolderError, TrainingError, WriteError
from edgelnn.run import Run
from edgelnn.training import Experiment, load_experiment, train
from tests.training_runs import Recorder, tiny_dataset, tiny_experiment


def changed(experiment: Experiment, **parts: object) -> Experiment:
    return Experiment.model_validate({**experiment.model_dump(), **parts})


def test_training_learns(tmp_path):
    run = train(tiny_experiment(epochs=25), folder=tmp_path / "run", dataset=tiny_dataset(), figures=False)
    assert run.metrics["test"].auc > 0.95
    assert run.history[-1].train_loss < 0.7 * run.history[0].train_loss


@pytest.mark.parametrize(
    ("task", "classes", "head"),
    [
        ("binary-class", 2, {"kind": "cfc", "units": 8, "output": "sigmoid"}),
        ("multi-class", 3, {"kind": "ltc", "units": 8, "ode_unfolds": 2}),
        ("ordinal-regression", 3, {"kind": "gru", "units": 6}),
        ("multi-label", 3, {"kind": "dense", "widths": [6]}),
    ],
)
def test_every_task_trains_and_comes_back(tmp_path, task, classes, head):
    experiment = changed(tiny_experiment(epochs=2, class_weights="balanced"), head=head)
    run = train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(task, classes), figures=False)
    again = Run.load(tmp_path / "run")
    assert again.metrics == run.metrics
    assert (run.metrics["test"].confusion is None) == (task == "multi-label")
    assert run.load_classifier().output_kind == (
        "sigmoid" if task in ("multi-label",) or "output" in head else "softmax"
    )


def test_volumes_train_slice_by_slice(tmp_path):
    experiment = changed(tiny_experiment(epochs=2), scan={"kind": "slices"}, head={"kind": "ltc", "units": 6})
    run = train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(volume=True), figures=False)
    assert run.image_shape == (8, 8, 8, 1)
    assert run.load_classifier().slice_axis == 0


def test_the_listener_hears_start_every_batch_every_epoch_and_the_end(tmp_path):
    recorder = Recorder()
    experiment = tiny_experiment(epochs=3)
    train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(), listener=recorder, figures=False)
    (start,) = recorder.starts
    assert (start.epochs, start.epochs_done, start.images["train"]) == (3, 0, 41)
    assert start.trainable >= start.active > 0
    assert "CfC" in start.architecture
    assert start.synthetic
    assert recorder.batches == 3 * 4
    assert [report.epoch for report in recorder.reports] == [1, 2, 3]
    assert recorder.reports[0].is_best
    assert recorder.reports[-1].remaining_s == 0
    assert recorder.reports[0].remaining_s > recorder.reports[1].remaining_s > 0
    assert recorder.ends == 1
    assert recorder.notes == []


def test_a_network_that_tells_no_images_apart_is_spoken_of(tmp_path):
    recorder, dataset = Recorder(), tiny_dataset()
    black = {name: Split(np.zeros_like(split.images), split.labels) for name, split in dataset.splits.items()}
    train(
        tiny_experiment(epochs=1),
        folder=tmp_path / "run",
        dataset=dataclasses.replace(dataset, splits=black),
        listener=recorder,
        figures=False,
    )
    (note,) = recorder.notes
    assert "the same for every image of the validation split" in note


def test_every_seed_trains_other_weights_and_none_touches_torchs_own(tmp_path):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    weights = []
    for seed in (0, 1):
        folder = tmp_path / str(seed)
        train(tiny_experiment(epochs=1, seed=seed), folder=folder, dataset=tiny_dataset(), figures=False)
        weights.append((folder / "weights.safetensors").read_bytes())
    assert weights[0] != weights[1]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_best_epochs_weights_are_kept_and_not_the_lasts(tmp_path):
    """With a rate that throws the weights about, the last epoch is hardly ever the best one."""
    for seed in range(5):
        wild = {"learning_rate": 1.0, "schedule": {"kind": "constant"}, "seed": seed}
        experiment = tiny_experiment(epochs=8, select="loss", **wild)
        run = train(experiment, folder=tmp_path / "best", dataset=tiny_dataset(), threads=1, figures=False, force=True)
        if run.best_epoch < 8:
            break
    assert run.best_epoch < 8
    assert run.history[run.best_epoch - 1].val_loss == min(record.val_loss for record in run.history)
    shorter = tiny_experiment(epochs=run.best_epoch, select="last", **wild)
    train(shorter, folder=tmp_path / "last", dataset=tiny_dataset(), threads=1, figures=False)
    best, last = (tmp_path / name / "weights.safetensors" for name in ("best", "last"))
    assert best.read_bytes() == last.read_bytes()


def test_early_stopping_ends_the_training(tmp_path):
    recorder = Recorder()
    experiment = tiny_experiment(epochs=50, patience=2, monitor="loss", min_change=10.0)
    run = train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(), listener=recorder, figures=False)
    assert len(run.history) == 3
    assert recorder.reports[-1].stopped_early
    assert recorder.reports[-1].remaining_s == 0


def test_gradients_are_clipped(tmp_path):
    """A norm of next to nothing leaves SGD's weights next to where they were."""
    still = tiny_experiment(epochs=1, optimizer="sgd", learning_rate=1.0, momentum=0.0, clip_norm=1e-9, select="last")
    plain = tiny_experiment(epochs=1, optimizer="sgd", learning_rate=1e-12, momentum=0.0, select="last")
    states = []
    for name, experiment in (("still", still), ("plain", plain)):
        run = train(experiment, folder=tmp_path / name, dataset=tiny_dataset(), figures=False)
        states.append(dict(run.load_classifier().named_parameters()))
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [1, 40, 41, 1000])
def test_any_batch_size_trains_through_batch_norm(tmp_path, size):
    """Of 41 images in forties one would be left over, with which batch norm of a vector cannot do."""
    stem = {"kind": "conv", "layers": [{"channels": 3, "kernel": 8, "batch_norm": True}]}
    experiment = changed(tiny_experiment(epochs=1, batch_size=size), stem=stem, scan={"kind": "flatten"})
    if size == 1:
        with pytest.raises(ConfigError, match=r"training\.batch_size: got batches of 1 image; expected 2 or more"):
            train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(), figures=False)
        return
    recorder = Recorder()
    train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(), listener=recorder, figures=False)
    assert recorder.batches == 1


def test_a_loss_that_is_no_number_says_what_to_try_and_keeps_the_run(tmp_path):
    experiment = tiny_experiment(learning_rate=100.0, optimizer="sgd", weight_decay=1000.0)
    with pytest.raises(TrainingError, match=r"became (nan|inf) in epoch \d+\. Try a smaller") as caught:
        train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(), figures=False)
    assert "training.learning_rate (now 100, try 10) or training.clip_norm=1" in str(caught.value)
    assert f"kept in {tmp_path / 'run'}" in str(caught.value)
    assert (tmp_path / "run" / "experiment.toml").exists()
    with pytest.raises(RunFolderError, match="not finished"):
        Run.load(tmp_path / "run")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_with_one_class_is_refused_before_anything_is_trained(tmp_path, split):
    dataset = tiny_dataset()
    spoiled = Split(dataset[split].images, np.zeros_like(dataset[split].labels))
    dataset = dataclasses.replace(dataset, splits={**dataset.splits, split: spoiled})
    with pytest.raises(DataError, match=f'the {split} split of tiny holds only images of class "malignant"'):
        train(tiny_experiment(), folder=tmp_path / "run", dataset=dataset)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("experiment", "options", "error", "words"),
    [
        (
            changed(tiny_experiment(loss="cross_entropy"), head={"kind": "gru", "output": "sigmoid"}),
            {},
            ConfigError,
            "training.loss",
        ),
        (tiny_experiment(class_weights=[1.0]), {}, ConfigError, "training.class_weights"),
        (tiny_experiment(), {"device": "tpu"}, ConfigError, "expected cpu, cuda or mps"),
        (None, {}, ConfigError, "got no experiment"),
        (load_experiment("adrenalmnist3d-ltc"), {}, ConfigError, "stem|scan"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, experiment, options, error, words):
    with pytest.raises(error, match=words):
        train(experiment, folder=tmp_path / "run", dataset=tiny_dataset(), **options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_a_run_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for force in (False, True):
        with pytest.raises(WriteError):
            train(tiny_experiment(), folder=tmp_path / "mine", dataset=tiny_dataset(), force=force)
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="it is a file"):
        train(tiny_experiment(), folder=tmp_path / "file", dataset=tiny_dataset(), force=True)
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


@pytest.mark.slow
def test_the_phantoms_train_in_seconds_to_a_good_auc(tmp_path):
    run = train(load_experiment("phantoms"), folder=tmp_path / "run")
    assert run.metrics["test"].auc > 0.9
    assert run.environment["training_s"] < 25
    assert len(list((tmp_path / "run" / "figures").iterdir())) >= 4


@pytest.mark.slow
def test_the_default_experiment_beats_chance_on_real_data(tmp_path, test_data):
    experiment = load_experiment(None, [f"data.root={test_data}", "training.epochs=6"])
    run = train(experiment, folder=tmp_path / "run", figures=False)
    assert run.metrics["test"].auc > 0.75
    assert run.metrics["test"].positive_class == "malignant"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_says_what_to_try_and_keeps_the_run(tmp_path, error):
    class Greedy(Recorder):
        def on_batch(self, batch: int, batches: int) -> None:
            raise error

    with pytest.raises(TrainingError, match=r"out of memory\. Try a smaller training\.batch_size \(now 10\)"):
        train(tiny_experiment(), folder=tmp_path / "run", dataset=tiny_dataset(), listener=Greedy(), figures=False)
    assert (tmp_path / "run" / "experiment.toml").exists()


def test_an_error_that_is_nobodys_fault_keeps_its_words(tmp_path):
    recorder = Recorder(fail_at=1, error=RuntimeError)
    with pytest.raises(RuntimeError):
        train(tiny_experiment(), folder=tmp_path / "run", dataset=tiny_dataset(), listener=recorder, figures=False)
