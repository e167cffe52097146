from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from edgelnn.errors import RunFolderError, TrainingInterrupted, WriteError
from edgelnn.run import Run
from edgelnn.training import train
from tests.helpers import ROOT
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


VARIED = {"flip": 0.5, "crop": [0.8, 1.0], "blur": [3, 3], "noise": 0.05, "brightness": 0.2, "contrast": 0.2}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("augment", [False, True, VARIED])
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


@pytest.mark.parametrize(
    "training",
    [
        {"optimizer": "sgd"},
        {"optimizer": "adamw", "augment": True, "select": "last"},
        {"augment": VARIED, "loss": {"bce": 0.4, "dice": 1.0}, "select": {"f1": 0.3, "dice": 0.5}},
        {"monitor": "loss", "patience": 2, "stop_when": "worse_than_best", "threshold": "youden"},
    ],
)
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


def test_a_training_interrupted_while_it_is_written_goes_on(tmp_path, whole, monkeypatch):
    folder = tmp_path / "run"
    from edgelnn.training import finishing

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "judge", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(TrainingInterrupted):
            train(tiny_experiment(), folder=folder, dataset=tiny_dataset(), threads=1, figures=False)
    assert (folder / "weights.safetensors").exists()
    with pytest.raises(RunFolderError, match="not finished"):
        Run.load(folder)
    train(None, folder=folder, dataset=tiny_dataset(), resume=True, figures=False)
    same_run(folder, whole)


def test_resuming_a_finished_run_gives_it_back(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    run = train(None, folder=whole, resume=True)
    assert run.metrics == Run.load(whole).metrics
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


def test_the_command_that_continues_can_be_pasted(tmp_path):
    interrupted(tmp_path / "my run")
    with pytest.raises(RunFolderError, match=r"--resume --out '.*/my run'$"):
        Run.load(tmp_path / "my run")


def interrupted(folder: Path, **options: object) -> None:
    """Leave an unfinished training in a folder."""
    with pytest.raises(TrainingInterrupted):
        train(
            tiny_experiment(),
            folder=folder,
            dataset=tiny_dataset(),
            threads=1,
            listener=Recorder(fail_at=2 * BATCHES),
            figures=False,
            **options,
        )


def test_another_number_of_threads_is_said(tmp_path):
    interrupted(tmp_path / "run")
    recorder = Recorder(fail_at=0)
    with pytest.raises(TrainingInterrupted):
        train(None, folder=tmp_path / "run", dataset=tiny_dataset(), resume=True, threads=2, listener=recorder)
    (note,) = recorder.notes
    assert "may differ in its last digits" in note
    assert "computed with 1 threads and goes on with 2" in note


def test_an_unfinished_training_is_not_begun_anew_by_accident(tmp_path):
    interrupted(tmp_path / "run")
    with pytest.raises(
        WriteError, match=r"holds a training that is not finished\. Continue it: edgelnn train --resume"
    ):
        train(tiny_experiment(), folder=tmp_path / "run", dataset=tiny_dataset(), figures=False)
    run = train(tiny_experiment(), folder=tmp_path / "run", dataset=tiny_dataset(), force=True, figures=False)
    assert len(run.history) == 6


def test_another_experiment_or_other_data_is_refused(tmp_path):
    interrupted(tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"training\.epochs is 6 there and 7 now"):
        train(tiny_experiment(epochs=7), folder=tmp_path / "run", dataset=tiny_dataset(), resume=True)
    with pytest.raises(RunFolderError, match="was trained on other data"):
        train(None, folder=tmp_path / "run", dataset=tiny_dataset(seed=1), resume=True)


def test_there_must_be_something_to_resume(tmp_path):
    with pytest.raises(RunFolderError, match="does not exist"):
        train(tiny_experiment(), folder=tmp_path / "nothing", resume=True)
    (tmp_path / "other").mkdir()
    with pytest.raises(RunFolderError, match=r"is not a run: it holds no experiment\.toml"):
        train(tiny_experiment(), folder=tmp_path / "other", resume=True)


def test_a_damaged_checkpoint_is_refused_and_left_alone(tmp_path):
    interrupted(tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunFolderError, match="damaged or not safetensors"):
        train(None, folder=tmp_path / "run", dataset=tiny_dataset(), resume=True)
    assert path.exists()


def test_a_finished_run_stays_until_the_one_that_replaces_it_is_finished(tmp_path):
    folder = tmp_path / "run"
    train(tiny_experiment(seed=5), folder=folder, dataset=tiny_dataset(), threads=1, figures=False)
    old = (folder / "weights.safetensors").read_bytes()
    with pytest.raises(WriteError, match=r"exists and is not empty\. Pass --force"):
        train(tiny_experiment(), folder=folder, dataset=tiny_dataset(), figures=False)
    interrupted(folder, force=True)
    assert (folder / "weights.safetensors").read_bytes() == old
    assert Run.load(folder).experiment.training.seed == 5
    run = train(None, folder=folder, dataset=tiny_dataset(), resume=True, figures=False)
    assert run.folder == folder
    assert Run.load(folder).experiment.training.seed == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    class Second(Recorder):
        def on_batch(self, batch: int, batches: int) -> None:
            if not self.batches:
                with pytest.raises(WriteError, match="another process is training in"):
                    train(None, folder=tmp_path / "run", dataset=tiny_dataset(), resume=True, figures=False)
            super().on_batch(batch, batches)

    train(tiny_experiment(epochs=1), folder=tmp_path / "run", dataset=tiny_dataset(), listener=Second(), figures=False)


TRAIN = """
import sys
from edgelnn.training import train
from tests.training_runs import Recorder, tiny_dataset, tiny_experiment

class Aloud(Recorder):
    def on_batch(self, batch, batches):
        print("batch", flush=True)

experiment = tiny_experiment(epochs=int(sys.argv[3]), augment=True)
resume = sys.argv[2] == "resume"
train(experiment, folder=sys.argv[1], dataset=tiny_dataset(), resume=resume, threads=1, listener=Aloud())
print("done", flush=True)
"""


def start(folder: Path, epochs: int) -> subprocess.Popen[str]:
    """Start or resume a training in another process."""
    how = "resume" if (folder / "experiment.toml").exists() else "fresh"
    command = [sys.executable, "-c", TRAIN, str(folder), how, str(epochs)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


def kill_sometime(folder: Path, epochs: int, chance: random.Random, longest_s: float) -> bool:
    """Kill a training some time after its first batch; return whether it was still under way."""
    process = start(folder, epochs)
    assert process.stdout is not None
    process.stdout.readline()
    deadline = time.monotonic() + chance.uniform(0, longest_s)
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_training_killed_at_ten_random_moments_ends_with_the_same_weights(tmp_path):
    epochs = 150
    whole = start(tmp_path / "whole", epochs)
    assert whole.stdout is not None
    whole.stdout.readline()
    first_batch = time.monotonic()
    whole.communicate()
    assert whole.returncode == 0
    longest_s = (time.monotonic() - first_batch) / 12
    chance = random.Random(20240)
    killed = [kill_sometime(tmp_path / "run", epochs, chance, longest_s) for _ in range(10)]
    assert all(killed), "the training ended before it could be killed ten times"
    last = start(tmp_path / "run", epochs)
    last.communicate()
    assert last.returncode == 0
    same_run(tmp_path / "run", tmp_path / "whole")
    assert [path.name for path in (tmp_path / "run").rglob("*") if path.name.startswith(".")] == []


@pytest.mark.slow
def test_ctrl_c_on_the_command_line_leaves_a_run_to_resume(tmp_path):
    """One line says how to go on, and that very line, typed, does."""
    command = [sys.executable, "-m", "edgelnn", "train", "phantoms", "--out", str(tmp_path / "run")]
    settings = ["--set", "training.epochs=60", "--set", "data.size=16", "--set", "head.units=8", "--threads", "1"]
    with subprocess.Popen([*command, *settings], stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch   3/"):
                process.send_signal(signal.SIGINT)
                break
        said = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert f"Continue it: edgelnn train --resume --out {tmp_path / 'run'}" in said
    typed = said[said.index("edgelnn train --resume") :].split("\n")[0].split()
    resumed = subprocess.run([sys.executable, "-m", *typed], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "epoch  60/60" in resumed.stderr
    assert re.search(r"going on after epoch [123]\b", resumed.stderr), "which was kept depends on how slow the disk is"
    assert "epoch   1/60" not in resumed.stderr
    assert Run.load(tmp_path / "run").history[-1].epoch == 60
