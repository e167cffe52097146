"""`edgelnn train --folds` and `--repeats`: a run each, a summary of all, and on where it was stopped."""

from __future__ import annotations

import shutil
import statistics

import numpy as np
import pytest

from edgelnn.run import Run
from tests.helpers import assert_one_clear_line, files_under, run_cli

SMALL = ["--epochs", "1", "--set", "head={kind='dense'}", "--set", "stem.kind=identity", "--threads", "1"]


def test_folds_are_runs_with_a_summary_and_go_on_where_they_were_stopped(tmp_path):
    command = ["train", "phantoms", *SMALL, "--folds", "3", "--out", tmp_path / "run", "--json"]
    outcome = run_cli(*command)
    assert outcome.code == 0, outcome.err
    assert "fold 2 of 3" in outcome.err
    names = [f"run-0-fold{fold}of3" for fold in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    runs = [Run.load(tmp_path / name) for name in names]
    assert sum(run.metrics["val"].images for run in runs) == 546 + 78
    assert {run.metrics["test"].images for run in runs} == {156}
    for split in ("val", "test"):
        for name in ("auc", "accuracy", "f1", "sensitivity", "specificity", "dice"):
            values = [getattr(run.metrics[split], name) for run in runs]
            found = outcome.json["summary"][split][name]
            assert found["mean"] == pytest.approx(statistics.mean(values))
            assert found["sd"] == pytest.approx(statistics.stdev(values))
    assert [each["folder"] for each in outcome.json["runs"]] == [str(tmp_path / name) for name in names]
    data = runs[1].load_dataset()
    assert len(data["val"]) == runs[1].metrics["val"].images
    assert "fold 2 of 3" in runs[1].environment["data"]["source"]

    # Stopped after the first: the others have not begun.
    whole = files_under(tmp_path / names[1])
    for name in names[1:]:
        shutil.rmtree(tmp_path / name)
    first = files_under(tmp_path / names[0])
    again = run_cli(*command, "--resume")
    assert again.code == 0, again.err
    assert files_under(tmp_path / names[0]) == first
    assert files_under(tmp_path / names[1])["weights.safetensors"] == whole["weights.safetensors"]
    assert again.json["summary"] == outcome.json["summary"]


def test_repeats_draw_train_and_validation_anew(tmp_path):
    outcome = run_cli("train", "phantoms", *SMALL, "--repeats", "2", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert "mean ± sd of 2" in outcome.out
    assert "validation split" in outcome.out
    assert "run-0-repeat2" in outcome.out
    digests = {Run.load(tmp_path / f"run-0-repeat{one}").environment["data"]["digest"] for one in (1, 2)}
    assert len(digests) == 2
    one = run_cli("train", "phantoms", *SMALL, "--repeats", "1", "--out", tmp_path / "one", "--json")
    assert one.json["summary"]["test"]["auc"]["sd"] is None


def test_data_without_splits_are_drawn_anew_altogether(tmp_path, rng):
    labels = np.arange(60) % 2
    images = np.clip(rng.normal(80 + 80 * labels[:, None, None], 20, (60, 8, 8)), 0, 255).astype(np.uint8)
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    options = ["--data", tmp_path / "mine.npz", "--set", "data.size=8"]
    outcome = run_cli("train", "phantoms", *options, *SMALL, "--repeats", "2", "--out", tmp_path / "run", "--json")
    assert outcome.code == 0, outcome.err
    tests = [Run.load(tmp_path / f"run-0-repeat{one}").load_dataset()["test"] for one in (1, 2)]
    assert len(tests[0]) == len(tests[1])
    assert not np.array_equal(tests[0].images, tests[1].images)


def test_one_thing_is_repeated_at_a_time(tmp_path):
    outcome = run_cli("train", "phantoms", "--folds", "3", "--seeds", "2", "--out", tmp_path / "run")
    assert_one_clear_line(outcome, "--seeds and --folds", "one of them")
    assert list(tmp_path.iterdir()) == []
    assert run_cli("train", "--folds", "1").code == 2
