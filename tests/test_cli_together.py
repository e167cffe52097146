"""Models that answer images together: every command that shows their figures says so, and none offers an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgelnn.training.prediction import predict_scores
from tests.helpers import assert_one_clear_line, run_cli

SET = ["--set", "training.epochs=1", "--set", "stem.kind=identity", "--set", "head.kind=lstm", "--set", "head.units=4"]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together") / "run"
    batch = ["--set", "head.over=batch", "--set", "head.together=16"]
    outcome = run_cli("train", "phantoms", *SET, *batch, "--out", folder)
    assert outcome.code == 0, outcome.err
    assert "such a run cannot be exported" in outcome.err
    assert "edgelnn export" not in outcome.out + outcome.err
    return folder


def test_figures_come_with_what_was_answered_together(together: Path) -> None:
    outcome = run_cli("evaluate", together, "--bootstrap", 0)
    assert "here 16 at a time in the order of the split" in " ".join(outcome.err.split())
    assert run_cli("evaluate", together, "--bootstrap", 0, "--json").json["images_together"] == 16
    assert "recurring over batches of 16 images (a published mistake)" in (together / "environment.json").read_text()


def test_an_export_is_refused_in_one_line(together: Path, tmp_path: Path) -> None:
    outcome = run_cli("export", together, "--out", tmp_path / "bundle")
    assert outcome.code == 1
    assert "depends on which images come together" in outcome.err
    assert not (tmp_path / "bundle").exists()


def test_answers_are_asked_for_in_pieces_of_that_size(together: Path) -> None:
    from edgelnn.run import Run

    run = Run.load(together)
    classifier, images = run.load_classifier(), run.load_dataset()["val"].images[:40]
    whole = predict_scores(classifier, images, run.preprocessing)
    pieces = [predict_scores(classifier, images[start : start + 16], run.preprocessing) for start in (0, 16, 32)]
    np.testing.assert_array_equal(whole.numpy(), np.concatenate([each.numpy() for each in pieces]))
    shifted = predict_scores(classifier, images[8:], run.preprocessing)
    assert (shifted.numpy() != whole.numpy()[8:]).any()


def test_training_without_saying_how_many_is_refused(tmp_path: Path) -> None:
    assert_one_clear_line(
        run_cli("train", "phantoms", *SET, "--set", "head.over=batch", "--out", tmp_path / "run"),
        "without head.together",
    )
    assert not (tmp_path / "run").exists()
