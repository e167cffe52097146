"""``edgelnn evaluate`` judges on the images that a model did not learn from, however its data were divided."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from edgelnn.errors import BundleError
from edgelnn.manifest import Manifest
from edgelnn.run import Run
from edgelnn.training import load_experiment, train
from edgelnn_export import build_bundle
from tests.helpers import assert_one_clear_line, run_cli

CHANGES = ["training.epochs=1", "head.units=8"]


def trained(folder: Path, *changes: str) -> tuple[Run, Bundle]:
    experiment = load_experiment("phantoms", [*CHANGES, *changes])
    run = train(experiment, folder=folder / "run", threads=1, figures=False)
    return run, build_bundle(run, folder / "bundle", formats=["onnx"])


@pytest.mark.parametrize(
    "changes",
    [
        ["data.split_seed=3", "data.difficulty=0.25"],
        ['data.resplit={kind="fold", fold=2, folds=3}'],
        ['data.resplit={kind="repeat", repeat=2}', "data.split_seed=1"],
    ],
)
def test_a_bundle_divides_its_data_as_they_were(tmp_path: Path, changes: list[str]) -> None:
    run, bundle = trained(tmp_path, *changes)
    assert Bundle.load(bundle.folder).manifest.splits == run.experiment.data.splits
    for target in (run.folder, bundle.folder):
        found = run_cli("evaluate", target, "--json", "--bootstrap", "0").json
        assert found["metrics"]["auc"] == pytest.approx(run.metrics["test"].auc, abs=1e-6)
        assert found["validation"]["auc"] == pytest.approx(run.metrics["val"].auc, abs=1e-6)


def test_a_heap_of_ones_own_is_divided_as_it_was_and_others_are_warned_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 2
    images = np.clip(90 + 60 * labels[:, None, None] + rng.normal(0, 60, (240, 28, 28)), 0, 255).astype(np.uint8)
    heap, other = tmp_path / "heap.npz", tmp_path / "other.npz"
    np.savez(heap, images=images, labels=labels)
    np.savez(other, images=images[::-1], labels=labels[::-1])
    run, bundle = trained(tmp_path, f"data.name={heap}", "data.split_seed=7", "data.test=0.3")
    for target in (run.folder, bundle.folder):
        same = run_cli("evaluate", target, "--dataset", heap, "--json", "--bootstrap", "0")
        assert same.json["metrics"]["images"] == 72
        assert same.json["metrics"]["auc"] == pytest.approx(run.metrics["test"].auc, abs=1e-6)
        assert "is not the data" not in same.err
        outcome = run_cli("evaluate", target, "--dataset", other, "--bootstrap", "0")
        assert outcome.code == 0
        assert "is not the data that the model was trained on" in outcome.err.replace("\n", " ")
    assert_one_clear_line(run_cli("evaluate", bundle.folder), "--dataset PATH")


@pytest.mark.parametrize(
    "splits",
    [{"validation": 0.0}, {"test": 1.5}, {"fold": 3, "folds": 2}, {"fold": 1}, {"repeat": 0}, {"difficulty": 2.0}],
)
def test_splits_that_cannot_be_are_refused(tiny_bundle: Bundle, splits: dict[str, float]) -> None:
    values = json.loads((tiny_bundle.folder / "manifest.json").read_text("utf-8"))
    values["splits"] |= splits
    with pytest.raises(BundleError, match="splits is Splits"):
        Manifest.from_json(json.dumps(values))


def test_volumes_that_are_no_cubes_are_judged(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    volumes = (rng.integers(0, 120, (60, 6, 12, 12)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    heap = tmp_path / "volumes.npz"
    np.savez(heap, images=volumes, labels=labels)
    changes = [f"data.name={heap}", "data.size=12", 'scan={kind="slices"}', 'stem={kind="conv", layers=[{channels=2}]}']
    run, bundle = trained(tmp_path, *changes)
    assert run.image_shape == (6, 12, 12, 1)
    found = run_cli("evaluate", bundle.folder, "--dataset", heap, "--json", "--bootstrap", "0").json
    assert found["metrics"]["auc"] == pytest.approx(run.metrics["test"].auc, abs=1e-6)
