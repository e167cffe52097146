from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgelnn.data.dataset import Split
from edgelnn.errors import ConfigError, RunFolderError, TrainingInterrupted
from edgelnn.models import Classifier, build_classifier
from edgelnn.run import Run
from edgelnn.training import Experiment, fine_tuning_experiment, load_experiment, train
from edgelnn.training.checkpoint import load_checkpoint
from edgelnn.training.prediction import predict_probabilities
from edgelnn.training.quantization_aware import (
    ActivationRange,
    FakeQuantization,
    calibration_images,
    fake_quantize_weight,
)
from tests.helpers import run_cli
from tests.training_runs import Recorder, tiny_dataset, tiny_experiment

CONV = {"kind": "conv", "layers": [{"channels": 4, "kernel": 3, "padding": 1, "batch_norm": True, "pool": 2}]}
HEADS = [
    {"kind": "cfc", "units": 8},
    {"kind": "cfc", "units": [8, 8], "bidirectional": True, "readout": "mean"},
    {"kind": "cfc", "units": 6, "wiring": "none", "backbone_units": 10},
    {"kind": "ltc", "units": 8},
    {"kind": "lstm", "units": 6, "layers": 2, "bidirectional": True},
    {"kind": "gru", "units": 6},
    {"kind": "rnn", "units": [6, 5], "readout": "mean", "readout_activation": "relu"},
    {"kind": "ltc", "units": 8, "wiring": "random", "readout_dropout": 0.1},
    {"kind": "dense", "widths": [12, 6], "dropout": 0.2},
]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("base") / "run"
    return train(tiny_experiment(), folder=folder, dataset=tiny_dataset(), threads=1, figures=False)


def tune(run: Run, folder: Path, *changes: str, qat: bool = True, **options: object) -> Run:
    """Fine-tune a run on the tiny data."""
    experiment = fine_tuning_experiment(run, ["training.epochs=3", *changes], quantization_aware=qat)
    options = {"dataset": tiny_dataset(), "threads": 1, "figures": False, "start": run, **options}
    return train(experiment, folder=folder, **options)  # type: ignore[arg-type]


def classifier_with(head: dict[str, object]) -> Classifier:
    spec = Experiment.model_validate({"stem": CONV, "head": head}).model
    return build_classifier(spec, image_shape=(8, 8, 1), task="binary-class", classes=2)


# --- the numbers


def test_weights_are_on_the_grid_of_their_channel(rng):
    weight = torch.from_numpy(rng.normal(size=(5, 3, 2, 2)).astype(np.float32))
    weight[2] = 0
    quantized = fake_quantize_weight(weight)
    for channel, exact in zip(quantized, weight, strict=True):
        steps = channel / max(float(exact.abs().max()) / 127, 1e-12)
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
        assert float((channel - exact).abs().max()) <= float(exact.abs().max()) / 254 * 1.001
    shared = fake_quantize_weight(weight, per_channel=False) / (float(weight.abs().max()) / 127)
    torch.testing.assert_close(shared, shared.round(), atol=1e-3, rtol=0)


def test_quantizing_before_batch_norm_is_quantizing_what_it_is_folded_into(rng):
    """A range a channel moves with the channel's factor, whatever its sign."""
    weight = torch.from_numpy(rng.normal(size=(6, 4, 3, 3)).astype(np.float32))
    factor = torch.from_numpy(rng.normal(size=(6, 1, 1, 1)).astype(np.float32))
    torch.testing.assert_close(fake_quantize_weight(weight) * factor, fake_quantize_weight(weight * factor))


def test_a_range_holds_zero_moves_slowly_and_cuts_off():
    each = ActivationRange()
    each.widen(torch.tensor([2.0, 5.1]))
    assert (each.low, each.high) == pytest.approx((0.0, 5.1))
    each.follow(torch.tensor([-1.0, 10.1]))
    assert (each.low, each.high) == pytest.approx((-0.01, 5.15))
    x = torch.tensor([0.0, 100.0, 3.3, -7.0], requires_grad=True)
    y = each.quantize(x)
    assert y[0] == 0
    assert float(y[1].detach()) == pytest.approx(5.15, abs=0.02)
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [1.0, 0.0, 1.0, 0.0]


def test_a_range_of_nothing_and_a_range_of_no_numbers_change_nothing():
    each = ActivationRange()
    each.widen(torch.zeros(3))
    assert torch.equal(each.quantize(torch.zeros(3)), torch.zeros(3))
    each.widen(torch.tensor([float("inf")]))
    assert torch.equal(each.quantize(torch.ones(2)), torch.ones(2))


# --- the classifier


@pytest.mark.parametrize("head", HEADS, ids=lambda head: "-".join(map(str, head.values())))
def test_every_head_computes_with_int8_learns_and_is_left_as_it_was(head):
    classifier = classifier_with(head).eval()
    x = torch.linspace(-1, 1, 20 * 64).reshape(20, 1, 8, 8).roll(7, 0)
    plain = classifier(x).detach()
    names, before = list(classifier.state_dict()), [value.clone() for value in classifier.state_dict().values()]
    quantization = FakeQuantization(classifier)
    with quantization.calibrating():
        torch.testing.assert_close(classifier(x).detach(), plain)
    with quantization.paused():
        torch.testing.assert_close(classifier(x).detach(), plain)
    quantized = classifier(x).detach()
    assert 0 < float((quantized - plain).abs().max()) < 0.2
    classifier.train()
    classifier(x).square().sum().backward()
    learning = [p for name, p in classifier.named_parameters() if p.requires_grad and "ncps" not in name]
    assert all(p.grad is not None for p in learning)
    assert list(classifier.state_dict()) == names
    assert all(torch.equal(one, other) for one, other in zip(classifier.state_dict().values(), before, strict=True))
    quantization.remove()
    assert torch.equal(classifier.eval()(x), plain)


def test_the_range_behind_relu_is_that_of_what_relu_lets_through():
    classifier = classifier_with(HEADS[0])
    quantization = FakeQuantization(classifier)
    with quantization.calibrating():
        classifier.eval()(torch.linspace(-1, 1, 640).reshape(10, 1, 8, 8))
    assert list(quantization.ranges) == ["input", "stem.0"]
    assert quantization.ranges["input"].low == -1.0
    assert quantization.ranges["stem.0"].low == 0.0 < quantization.ranges["stem.0"].high


def test_calibration_is_on_the_images_that_an_export_calibrates_on():
    from edgelnn_export import selection

    for volume in (False, True):
        train_split = tiny_dataset(volume=volume)["train"]
        assert np.array_equal(calibration_images(train_split), selection.calibration_images(train_split))


# --- training


def test_fine_tuning_begins_with_the_weights_of_the_run(base, tmp_path):
    """With a rate of next to nothing it ends with them too."""
    run = tune(base, tmp_path / "run", "training.learning_rate=1e-12", "training.optimizer=sgd", qat=False)
    before, after = (dict(one.load_classifier().named_parameters()) for one in (base, run))
    for name in before:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    digest = hashlib.sha256((base.folder / "weights.safetensors").read_bytes()).hexdigest()
    assert run.experiment.start is not None
    assert (run.experiment.start.name, run.experiment.start.weights_sha256) == ("run", digest)
    assert run.environment["start"]["weights_sha256"] == digest
    assert base.environment["start"] is None
    assert base.experiment.start is None


def test_defaults_are_the_runs_own_with_a_lower_rate_and_fewer_epochs(base):
    experiment = fine_tuning_experiment(base)
    assert experiment.training.learning_rate == pytest.approx(base.experiment.training.learning_rate / 10)
    assert experiment.training.epochs == 2
    assert experiment.training.batch_size == base.experiment.training.batch_size
    assert (experiment.name, experiment.training.quantization_aware) == ("tiny-tuned", False)
    changed = fine_tuning_experiment(base, ["training.learning_rate=0.5", "head.dropout=0.0"], quantization_aware=True)
    assert (changed.name, changed.training.learning_rate, changed.head.dropout) == ("tiny-qat", 0.5, 0.0)


def test_a_quantization_aware_run_is_an_ordinary_one(base, tmp_path):
    run = tune(base, tmp_path / "run")
    classifier, plain = run.load_classifier(), base.load_classifier()
    assert list(classifier.state_dict()) == list(plain.state_dict())
    norm, before = classifier.state_dict(), plain.state_dict()
    for name in (name for name in norm if "running" in name or "num_batches" in name):
        assert torch.equal(norm[name], before[name])
    assert not torch.equal(norm["stem.0.conv.weight"], before["stem.0.conv.weight"])
    written = json.loads((run.folder / "metrics.json").read_text())
    assert written["selected_with"] == "fake quantization (static_wi8_ai8)"
    assert json.loads((base.folder / "metrics.json").read_text())["selected_with"] == "float32"
    best = run.history[run.best_epoch - 1]
    assert written["fake_quantized"]["val"]["auc"] == pytest.approx(best.val_auc, abs=1e-6)
    assert Run.load(run.folder).metrics == run.metrics


@pytest.mark.parametrize("at", [0, 5, 11])
@pytest.mark.parametrize("qat", [False, True])
def test_an_interrupted_fine_tuning_goes_on_to_the_same_weights_without_the_first_run(base, tmp_path, at, qat):
    whole = tune(base, tmp_path / "whole", qat=qat)
    with pytest.raises(TrainingInterrupted):
        tune(base, tmp_path / "run", qat=qat, listener=Recorder(fail_at=at))
    checkpoint = load_checkpoint(tmp_path / "run")
    assert len(checkpoint.progress.history) <= at // 4
    train(None, folder=tmp_path / "run", dataset=tiny_dataset(), resume=True, figures=False)
    for file in ("weights.safetensors", "metrics.json"):
        assert (tmp_path / "run" / file).read_bytes() == (whole.folder / file).read_bytes()


def test_a_checkpoint_that_is_lost_is_not_made_up(base, tmp_path):
    with pytest.raises(TrainingInterrupted):
        tune(base, tmp_path / "run", listener=Recorder(fail_at=0))
    (tmp_path / "run" / "checkpoint.safetensors").unlink()
    with pytest.raises(RunFolderError, match="has lost its checkpoint"):
        train(None, folder=tmp_path / "run", dataset=tiny_dataset(), resume=True, figures=False)


def test_two_fine_tunings_are_the_same_to_the_bit_and_the_experiment_repeats_them(base, tmp_path):
    first = tune(base, tmp_path / "a", "training.augment=true")
    options = {"dataset": tiny_dataset(), "threads": 1, "figures": False}
    train(first.experiment, folder=tmp_path / "b", start=base, **options)  # type: ignore[arg-type]
    one, other = (tmp_path / name / "weights.safetensors" for name in "ab")
    assert one.read_bytes() == other.read_bytes()
    with pytest.raises(ConfigError, match=r"got no run to begin with; .* of run\. Pass that run with --from"):
        train(first.experiment, folder=tmp_path / "c", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"the experiment begins with [0-9a-f]{12} of run\. Pass that run"):
        train(first.experiment, folder=tmp_path / "c", start=first, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "c").exists()


def test_other_data_are_said_and_data_of_another_shape_are_refused(base, tmp_path):
    recorder = Recorder()
    tune(base, tmp_path / "run", dataset=tiny_dataset(seed=1), listener=recorder)
    (note,) = recorder.notes
    assert "trained on other data than it is tuned on" in note
    with pytest.raises(ConfigError, match=r"was trained on the task binary-class; tiny has multi-class"):
        tune(base, tmp_path / "other", dataset=tiny_dataset("multi-class", 2))
    grey = tiny_dataset()
    wide = replace(grey, splits={name: Split(one.images.repeat(2, 2), one.labels) for name, one in grey.splits.items()})
    with pytest.raises(ConfigError, match=r"images of shape \(8, 8, 1\); tiny has \(8, 16, 1\)"):
        tune(base, tmp_path / "other", dataset=wide)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("training", [False, True])
def test_weights_that_are_no_numbers_show(training):
    """Rounding hides a NaN; a training that diverges must not go on as if it did not."""
    classifier = classifier_with(HEADS[0]).train(training)
    quantization = FakeQuantization(classifier)
    x = torch.linspace(-1, 1, 640).reshape(10, 1, 8, 8)
    with torch.no_grad():
        next(classifier.stem.parameters())[0, 0, 0, 0] = float("nan")
        with quantization.calibrating():
            classifier(x)
        assert classifier(x).isnan().any()


@pytest.mark.parametrize(
    ("part", "fields", "words"),
    [
        ("stem", {"kind": "crnet", "resize": {"channels": 2}}, r"got stem\.resize; only convolutional stems"),
        ("scan", {"kind": "rows", "reduce_to": 2}, r"got scan\.reduce_to; only"),
        ("scan", {"kind": "parallel", "scans": [{"kind": "rows"}] * 2}, r"got scan\.kind='parallel'; only"),
    ],
)
def test_models_whose_int8_is_not_known_here_are_refused(part, fields, words):
    spec = Experiment.model_validate({part: fields, "head": {"kind": "dense"}}).model
    classifier = build_classifier(spec, image_shape=(64, 64, 1), task="binary-class", classes=2)
    with pytest.raises(ConfigError, match=words):
        FakeQuantization(classifier)


# --- the command line


def test_wrong_starts_give_one_line(tmp_path, tiny_run):
    unfinished = tmp_path / "unfinished"
    with pytest.raises(TrainingInterrupted):
        train(tiny_experiment(), folder=unfinished, dataset=tiny_dataset(), listener=Recorder(fail_at=0))
    for arguments, words in [
        (["--from", tmp_path / "none"], "does not exist. Expected the folder of a run"),
        (["--from", unfinished], "holds a training that is not finished. Continue it:"),
        (["--from", tiny_run.folder, "--set", "head.units=14"], "another model: head.units is 12 there and 14 now"),
        (["--from", tiny_run.folder, "--set", "head.wiring_seed=3"], "another model: head.wiring_seed is"),
        (["phantoms", "--qat"], "without a run to begin with"),
    ]:
        outcome = run_cli("train", *arguments, "--out", tmp_path / "out")
        assert outcome.code == 1
        assert words in outcome.err
        assert len(outcome.err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_command_line_tunes_a_run_and_shows_what_it_would_do(tmp_path, tiny_run):
    planned = run_cli("train", "--from", tiny_run.folder, "--qat", "--dry-run", "--json").json["experiment"]
    assert planned["training"]["quantization_aware"] is True
    assert planned["training"]["epochs"] == 1
    assert planned["start"]["name"] == "tiny"
    outcome = run_cli("train", "--from", tiny_run.folder, "--qat", "--threads", 1, "--out", tmp_path / "run", "--json")
    assert outcome.code == 0
    assert Run.load(tmp_path / "run").experiment.model_dump() == planned


# --- against the files


@pytest.mark.parametrize("head", ["cfc", "dense"])
def test_fake_quantization_is_nearer_to_the_static_files_than_float32(tmp_path, head):
    """On a trained network, on images that calibration has not seen, by the odds of the two classes."""
    from edgelnn_export.making import LAYOUTS, Maker
    from edgelnn_export.parity import answer
    from edgelnn_export.quantization import choose_candidates
    from edgelnn_profiling import load_runtime

    heads = {"cfc": {"kind": "cfc", "units": 12, "readout": "mean"}, "dense": {"kind": "dense", "widths": [16]}}
    layers = [{"channels": channels, "kernel": 3, "padding": 1, "batch_norm": True} for channels in (4, 8)]
    values = {
        "stem": {"kind": "conv", "layers": layers},
        "scan": {"kind": "rows" if head == "cfc" else "flatten"},
        "head": heads[head],
        "training": {"epochs": 3, "batch_size": 10, "learning_rate": 0.003},
    }
    experiment, dataset = Experiment.model_validate(values), tiny_dataset()
    run = train(experiment, folder=tmp_path / "run", dataset=dataset, threads=1, figures=False)
    classifier, images, calibration = (
        run.load_classifier(),
        dataset["test"].images,
        calibration_images(dataset["train"]),
    )
    exact = log_odds(predict_probabilities(classifier, images, run.preprocessing))
    maker = Maker(run.load_classifier(), run.preprocessing, calibration)
    quantization = FakeQuantization(classifier)
    with quantization.calibrating():
        predict_probabilities(classifier, calibration, run.preprocessing)
    faked = log_odds(predict_probabilities(classifier, images, run.preprocessing))
    for candidate in choose_candidates(["onnx", "tflite"], recipes=["static_wi8_ai8"]):
        if candidate.recipe.is_quantized:
            runtime = load_runtime(maker.make(candidate))
            found = log_odds(answer(runtime, images, run.preprocessing, LAYOUTS[candidate.format]))
            far, near = np.abs(exact - found).mean(), np.abs(faked - found).mean()
            if candidate.format == "tflite":
                assert near < 0.5 * far, f"{candidate.name}: {near:.2e} against {far:.2e}"
            else:  # keeps the first convolution and the last product in finer numbers
                assert far < 1.2 * np.abs(faked - exact).mean()


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """The odds of the first of two classes."""
    logarithms = np.log(probabilities.astype(np.float64))
    return np.asarray(logarithms[:, 0] - logarithms[:, 1])


@pytest.mark.slow
def test_on_real_images_a_tuned_network_is_nearer_to_its_static_files(tmp_path, test_data):
    """By log-odds, as a share of their spread; and its files lose next to no AUC."""
    from benchmarks.quantization_aware import ask_run, auc, distance
    from edgelnn_export.making import LAYOUTS, Maker
    from edgelnn_export.parity import answer
    from edgelnn_export.quantization import choose_candidates
    from edgelnn_profiling import load_runtime

    experiment = load_experiment("breastmnist", [f"data.root={test_data}", "training.epochs=20"])
    first = train(experiment, folder=tmp_path / "first", threads=1, figures=False)
    tuning = fine_tuning_experiment(first, ["training.epochs=6"], quantization_aware=True)
    tuned = train(tuning, folder=tmp_path / "tuned", start=first, threads=1, figures=False)
    dataset = first.load_dataset()
    apart: dict[str, list[float]] = {"onnx": [], "tflite": []}
    for run in (first, tuned):
        maker = Maker(run.load_classifier(), run.preprocessing, calibration_images(dataset["train"]))
        model = ask_run(run, dataset["test"])
        for candidate in choose_candidates(["onnx", "tflite"], recipes=["static_wi8_ai8"]):
            if candidate.recipe.is_quantized:
                layout, runtime = LAYOUTS[candidate.format], load_runtime(maker.make(candidate))
                file = answer(runtime, dataset["test"].images, run.preprocessing, layout)
                apart[candidate.format].append(distance(model, file))
                assert auc(run, model, dataset, "test") - auc(run, file, dataset, "test") < 0.01
    assert all(after < before for before, after in apart.values()), apart


@pytest.mark.parametrize(
    ("head", "named"),
    [
        ({"kind": "reservoir", "units": 6}, "head.kind='reservoir'"),
        ({"kind": "lstm", "units": 6, "over": "batch", "together": 8}, "head.over='batch'"),
        ({"kind": "cfc", "units": 8, "batch_norm": True}, "head.batch_norm"),
        ({"kind": "dense", "widths": [6], "readout": "mean", "mean_of": "hidden"}, "head.mean_of='hidden'"),
    ],
)
def test_heads_whose_files_hold_other_numbers_are_refused(head, named):
    with pytest.raises(ConfigError, match=f"training.quantization_aware: got {named}"):
        FakeQuantization(classifier_with(head))
