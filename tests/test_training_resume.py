from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from edgelnn.errors import RunFolderError, TrainingInterrupted
from edgelnn.run import Run
from edgelnn.training import train
from tests.training_runs import Recorder, tiny_dataset, tiny_experiment

BATCHES = 4  # an epoch of 41 images in tens, the last one joining the batch before it


def same_run(one: Path, other: Path) -> None:
    """Assert that two runs are the same but for the clock."""
    assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()
    assert (one / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()
    first, second = Run.load(one).history, Run.load(other).history
    assert [{**asdict(row), "duration_s": 0} for row in first] == [{**asdict(row), "duration_s": 0} for row in second]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(tiny_experiment(), folder=folder, dataset=tiny_dataset(), threads=1, figures=False)
    return folder


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("augment", [False, True])
def test_two_trainings_are_the_same_to_the_bit(tmp_path, optimizer, augment):
    experiment = tiny_experiment(optimizer=optimizer, augment=augment, epochs=2)
    for name in "ab":
        torch.manual_seed(ord(name))
        train(experiment, folder=tmp_path / name, dataset=tiny_dataset(), threads=1, figures=False)
    same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("at", [0, 1, BATCHES - 1, BATCHES, 2 * BATCHES + 1, 6 * BATCHES - 1])
def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path, whole, at):
    folder = tmp_path / "run"
    recorder = Recorder(fail_at=at)
    with pytest.raises(TrainingInterrupted, match=r"Continue it: edgelnn train --resume --out"):
        train(tiny_experiment(), folder=folder, dataset=tiny_dataset(), threads=1, listener=recorder, figures=False)
    with pytest.raises(RunFolderError, match=r"not finished\. Continue it: edgelnn train --resume"):
        Run.load(folder)
    second = Recorder()
    train(None, folder=folder, dataset=tiny_dataset(), resume=True, listener=second, figures=False)
    done = second.starts[0].epochs_done  # where epochs take milliseconds, not each of them is written
    assert 0 <= done <= at // BATCHES
    assert [report.epoch for report in second.reports] == list(range(done + 1, 7))
    assert second.notes == []
    assert not (folder / "checkpoint.safetensors").exists()
    same_run(folder, whole)


@pytest.mark.parametrize("training", [{"optimizer": "sgd"}, {"optimizer": "adamw", "augment": True, "select": "last"}])
def test_a_training_interrupted_again_and_again_ends_the_same(tmp_path, training):
    experiment = tiny_experiment(**training)
    train(experiment, folder=tmp_path / "whole", dataset=tiny_dataset(), threads=1, figures=False)
    folder, resume = tmp_path / "run", False
    for at in (2, 5, 9, 7):
        with pytest.raises(RuntimeError):
            train(
                experiment,
                folder=folder,
                dataset=tiny_dataset(),
                threads=1,
                resume=resume,
                listener=Recorder(fail_at=at, error=RuntimeError),
                figures=False,
            )
        resume = True
    train(experiment, folder=folder, dataset=tiny_dataset(), threads=1, resume=True, figures=False)
    same_run(folder, tmp_path / "whole")
