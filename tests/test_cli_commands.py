"""Each command through `main`: exit codes, data on stdout, messages on stderr, the next command at the end."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from edgelnn.run import Run
from tests.helpers import assert_one_clear_line, files_under, run_cli

SMALL = ["--epochs", "1", "--set", "head.units=12", "--threads", "1"]


def test_experiments_lists_the_default_first_and_the_next_command() -> None:
    outcome = run_cli("experiments")
    assert outcome.code == 0
    assert outcome.out.splitlines()[2].startswith("breastmnist")
    assert outcome.last_line == "edgelnn train breastmnist"


def test_experiments_grep_finds_by_any_word() -> None:
    names = [each["name"] for each in run_cli("experiments", "--grep", "SYNTHETIC", "--json").json]
    assert names == ["phantoms"]
    assert "No experiment mentions" in run_cli("experiments", "--grep", "no such thing").err


def test_datasets_names_the_positive_class() -> None:
    listed = {each["name"]: each for each in run_cli("datasets", "--json").json}
    assert len(listed) >= 19
    assert listed["breastmnist"]["positive_class"] == "malignant"
    assert listed["phantoms"]["synthetic"] is True
    assert listed["adrenalmnist3d"]["is_volume"] is True
    assert "malignant" in run_cli("datasets", "--grep", "breast").out


def test_dry_run_prints_an_experiment_that_train_takes(tmp_path: Path) -> None:
    outcome = run_cli("train", "phantoms", "--dry-run", "--set", "head.units=24", "--seed", "7")
    values = tomllib.loads(outcome.out)
    assert (values["head"]["units"], values["training"]["seed"]) == (24, 7)
    assert "trainable" in outcome.err
    (tmp_path / "mine.toml").write_text(outcome.out)
    assert run_cli("train", tmp_path / "mine.toml", "--dry-run").out == outcome.out


def test_dry_run_needs_no_data() -> None:
    outcome = run_cli("train", "--dry-run", "--json")
    assert outcome.json["experiment"]["data"]["name"] == "breastmnist"
    assert outcome.json["parameters"]["trainable"] < 60_000


def test_train_writes_a_run_and_ends_with_the_next_command(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    outcome = run_cli("train", "phantoms", *SMALL, "--out", folder)
    assert outcome.code == 0
    assert "synthetic" in outcome.err
    assert "epoch   1/1" in outcome.err
    assert "sensitivity (malignant)" in outcome.out
    assert outcome.last_line == f"edgelnn export {folder} --quantize"
    assert Run.load(folder).experiment.training.epochs == 1
    before = files_under(folder)
    assert_one_clear_line(run_cli("train", "phantoms", *SMALL, "--out", folder), "--force", code=[1])
    assert files_under(folder) == before
    again = run_cli("train", "--resume", "--out", folder, "--json")
    assert again.code == 0
    assert again.json[0]["folder"] == str(folder)
    assert files_under(folder) == before


def test_train_goes_to_a_default_folder_and_never_over_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_cli("train", "phantoms", *SMALL, "--seed", "5").last_line == "edgelnn export runs/phantoms-5 --quantize"
    second = run_cli("train", "phantoms", *SMALL, "--seed", "5")
    assert second.code == 0
    assert second.last_line.startswith("edgelnn export runs/phantoms-5-20")
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_seeds_repeat_and_report_mean_and_standard_deviation(tmp_path: Path) -> None:
    outcome = run_cli("train", "phantoms", *SMALL, "--seeds", "2", "--out", tmp_path / "run")
    assert outcome.code == 0
    assert "mean ± sd of 2" in outcome.out
    runs = [Run.load(tmp_path / f"run-{seed}") for seed in (0, 1)]
    assert [run.experiment.training.seed for run in runs] == [0, 1]
    mean = sum(run.metrics["test"].auc for run in runs) / 2
    assert f"{mean:.4f} ± " in outcome.out


def test_export_prints_a_line_for_each_candidate(tiny_run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    outcome = run_cli("export", tiny_run.folder, "--out", folder, "--format", "onnx")
    assert outcome.code == 0
    assert "✓ onnx-float32" in outcome.err
    assert outcome.last_line == f"edgelnn profile {folder}"
    assert [variant.name for variant in Bundle.load(folder).manifest.variants] == ["onnx-float32"]
    before = files_under(folder)
    assert_one_clear_line(run_cli("export", tiny_run.folder, "--out", folder), "--force", code=[1])
    assert files_under(folder) == before


def test_evaluate_agrees_for_a_run_its_bundle_and_a_file_of_it(tiny_run: Run, tiny_bundle: Bundle) -> None:
    file = tiny_bundle.folder / "model-float32.tflite"
    answers = [
        run_cli("evaluate", target, *more, "--json", "--bootstrap", "0").json
        for target, more in (
            (tiny_run.folder, []),
            (tiny_bundle.folder, ["--variant", "onnx-float32"]),
            (file, []),
        )
    ]
    expected = tiny_run.metrics["test"]
    for answer in answers:
        assert answer["metrics"]["auc"] == pytest.approx(expected.auc, abs=1e-3)
        assert answer["metrics"]["positive_class"] == "malignant"
        assert answer["synthetic"] is True
    assert answers[0]["metrics"]["confusion"] == [list(row) for row in expected.confusion or ()]


def test_evaluate_names_the_class_and_the_interval(tiny_bundle: Bundle) -> None:
    outcome = run_cli("evaluate", tiny_bundle.folder, "--split", "val", "--bootstrap", "50")
    assert "sensitivity (malignant)" in outcome.out
    assert " to " in outcome.out
    assert "val split, 78 images" in outcome.out


def test_evaluate_of_a_bare_file_asks_for_the_data(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bare = tmp_path / "model.onnx"
    bare.write_bytes((tiny_bundle.folder / "model-float32.onnx").read_bytes())
    assert_one_clear_line(run_cli("evaluate", bare), "--dataset", code=[1])
    outcome = run_cli("evaluate", bare, "--dataset", "phantoms", "--json", "--bootstrap", "0")
    manifest = tiny_bundle.manifest
    assert outcome.json["metrics"]["auc"] == pytest.approx(manifest.model.test["auc"], abs=1e-6)
    assert "without a manifest" in outcome.err


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three images of the kind the model knows, and one that is empty."""
    from edgelnn.data import load_dataset

    file = tmp_path / "images.npy"
    known = load_dataset("phantoms")["test"].images[:3]
    np.save(file, np.concatenate([known, np.zeros_like(known[:1])]))
    return file


def test_predict_gives_class_probability_and_time(tiny_bundle: Bundle, images: Path) -> None:
    outcome = run_cli("predict", tiny_bundle.folder, images, "--json")
    records = outcome.json["predictions"]
    assert len(records) == 4
    for record in records:
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-3)
        (chosen,) = record["classes"]
        assert record["probabilities"][chosen] == max(record["probabilities"].values())
        assert record["latency_s"] > 0
    assert [bool(record["unlike_training"]) for record in records] == [False, False, False, True]
    assert "empty image" in outcome.err
    assert "synthetic images" in outcome.err


def test_predict_as_csv_and_as_a_table(tiny_bundle: Bundle, images: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run_cli("predict", tiny_bundle.folder, images, "--csv").out)))
    assert len(rows) == 4
    assert float(rows[0]["probability: malignant"]) + float(rows[0]["probability: normal, benign"]) == pytest.approx(1)
    table = run_cli("predict", tiny_bundle.folder, images)
    assert f"{images}[3]" in table.out
    assert "Not a medical device" in table.err


def test_profile_shows_writes_and_names_the_next_command(tiny_bundle: Bundle, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("report.json", "report.csv", "report.md")]
    outcome = run_cli(
        "profile",
        tiny_bundle.folder,
        "--quick",
        "--variant",
        "onnx-float32",
        "--variant",
        "tflite-float32",
        *("--json", files[0], "--csv", files[1], "--markdown", files[2]),
    )
    assert outcome.code == 0
    assert "trainable" in outcome.out
    assert outcome.out.count("onnx-float32") == outcome.out.count("tflite-float32") == 3
    report = json.loads(files[0].read_text())
    assert [result["variant"] for result in report["results"]] == ["onnx-float32", "tflite-float32"]
    assert len(files[1].read_text().splitlines()) == 3
    assert files[2].read_text().startswith("## phantoms")
    assert outcome.last_line == f"edgelnn compare {files[0]} ANOTHER.json"
    before = files_under(tmp_path)
    assert_one_clear_line(run_cli("profile", tiny_bundle.folder, "--quick", "--csv", files[1]), "--force", code=[1])
    assert files_under(tmp_path) == before
    page = tmp_path / "page.html"
    again = run_cli("report", files[0], "--html", page)
    assert again.out == outcome.out
    assert "<svg" in page.read_text()
    assert run_cli("report", files[0], "--csv", "-").out == files[1].read_text()
    page.unlink()
    compared = run_cli("compare", files[0], files[0], "--json").json
    assert (compared["kind"], len(compared["rows"])) == ("reports", 4)
    assert [row["ratio"]["value"] for row in compared["rows"][2:]] == [1.0] * 2
    page = tmp_path / "compared.html"
    alone = run_cli("compare", files[0], "--markdown", "--html", page)
    assert alone.out.startswith("**Latency of one inference, compared**")
    assert "<svg" in page.read_text()
    assert_one_clear_line(run_cli("compare", files[0], "--html", page), "--force", code=[1])


def test_profile_as_json_on_stdout_is_data_alone(tiny_bundle: Bundle) -> None:
    outcome = run_cli("profile", tiny_bundle.folder / "model-float32.tflite", "--quick", "--json", "-")
    assert outcome.json["results"][0]["timing"]["inference"]["count"] > 0


def test_compare_puts_bundles_side_by_side(tiny_bundle: Bundle) -> None:
    outcome = run_cli("compare", tiny_bundle.folder, tiny_bundle.folder, "--markdown")
    lines = [line for line in outcome.out.splitlines() if line.startswith("|")]
    assert lines[0].startswith("| bundle | variant |")
    assert len(lines) == 2 + 2 * len(tiny_bundle.manifest.variants)
    assert not outcome.err
    assert run_cli("compare", tiny_bundle.folder, tiny_bundle.folder, "--json").json["remarks"] == []


def test_compare_puts_figures_of_runs_under_their_headings(tiny_run: Run) -> None:
    lines = run_cli("compare", tiny_run.folder, tiny_run.folder, "--markdown").out.splitlines()
    heads, cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[2], lines[4]))
    row = dict(zip(heads, cells, strict=True))
    val, test = tiny_run.metrics["val"], tiny_run.metrics["test"]
    assert (row["val AUC"], row["AUC"], row["accuracy"]) == (
        *(f"{val.auc:.4f}", f"{test.auc:.4f}"),
        f"{test.accuracy:.4f}",
    )


def test_compare_says_when_runs_were_judged_on_other_data(tiny_run: Run, tmp_path: Path) -> None:
    other = run_cli("train", "phantoms", *SMALL, "--set", "data.difficulty=0.9", "--out", tmp_path / "hard", "--json")
    assert other.code == 0
    outcome = run_cli("compare", tiny_run.folder, tmp_path / "hard")
    assert outcome.code == 0
    assert "not comparable" in outcome.err


def test_compare_says_when_machines_differ(tiny_bundle: Bundle, tmp_path: Path) -> None:
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    run_cli("profile", tiny_bundle.folder, "--quick", "--variant", "tflite-float32", "--json", here)
    report = json.loads(here.read_text())
    report["machine"]["board"] = "Raspberry Pi 5 Model B Rev 1.0"
    there.write_text(json.dumps(report))
    outcome = run_cli("compare", here, there)
    assert "here and there differ in board: unknown and Raspberry Pi 5 Model B Rev 1.0." in outcome.err


@pytest.mark.slow
def test_demo_goes_the_whole_path(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    outcome = run_cli("demo", "--out", folder)
    assert outcome.code == 0
    assert outcome.out.count("onnx-") + outcome.out.count("tflite-") >= 4
    assert "synthetic" in outcome.out
    assert outcome.last_line == "edgelnn train"
    assert (folder / "picture.png").read_bytes().startswith(b"\x89PNG")
    assert "its accuracy says nothing about medicine" in (folder / "report.html").read_text()
    before = files_under(folder)
    assert_one_clear_line(run_cli("demo", "--out", folder), "--force", code=[1])
    assert files_under(folder) == before


def test_inspect_shows_where_the_bytes_go(tiny_bundle: Bundle) -> None:
    file = tiny_bundle.folder / "model-float32.onnx"
    found = run_cli("inspect", file, "--json").json
    assert sum(found["bytes_by_cause"].values()) == found["size_bytes"] == file.stat().st_size
    assert found["holds_integers"] is False
    shown = run_cli("inspect", file)
    assert shown.code == 0
    assert "input image n×1×28×28 float32" in shown.out
    assert "the numbers of weights and biases" in shown.out
