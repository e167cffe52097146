"""build_bundle: what it keeps and refuses, that it writes all or nothing, and that the bundle stands alone."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgelnn.bundle import Bundle, Manifest
from edgelnn.data import load_dataset
from edgelnn.data.dataset import Split
from edgelnn.errors import ConfigError, DataError, ExportError, ParityError, RunFolderError, WriteError
from edgelnn.run import Run
from edgelnn.training.metrics import evaluate_predictions
from edgelnn_export import Check, ExportListener, build_bundle
from edgelnn_export import trial as trial_module
from edgelnn_export.bundle_readme import compose_readme
from edgelnn_export.costs import CostMeter
from edgelnn_export.making import Maker
from edgelnn_export.parity import Judge, answer, ask, reason_to_reject
from edgelnn_export.quantization import RECIPES
from edgelnn_profiling import load_runtime
from edgelnn_profiling.proving import Measured
from tests.helpers import files_under

ROOT = Path(__file__).resolve().parents[1]


class Witness(ExportListener):
    """Remembers what it heard."""

    def __init__(self):
        self.announced = []
        self.checks: list[Check] = []
        self.notes: list[str] = []

    def on_start(self, candidates):
        self.announced = [candidate.name for candidate in candidates]

    def on_note(self, text):
        self.notes.append(text)

    def on_candidate(self, check):
        self.checks.append(check)

    def on_choice(self, checks, conclusion):
        self.checks, self.conclusion = list(checks), conclusion


def dear_where_small(noise=0.0):
    """A meter by which every file is worth keeping: what is smaller costs more."""

    def measure(files, proof):
        return Measured({name: 1 / len(data) for name, data in files.items()})

    return CostMeter("seconds", "", noise, measure)


@pytest.fixture
def few_recipes(monkeypatch):
    """Three recipes instead of all, for speed."""
    few = {name: RECIPES[name] for name in ("float32", "dynamic_wi8_afp32", "static_wi8_ai8")}
    monkeypatch.setattr("edgelnn_export.quantization.recipe.RECIPES", few)


@pytest.fixture(scope="module")
def witness():
    return Witness()


@pytest.fixture(scope="module")
def full(tiny_run, tmp_path_factory, witness):
    """A bundle with every candidate."""
    return build_bundle(
        tiny_run, tmp_path_factory.mktemp("bundles") / "full", quantize=True, meter=dear_where_small(), listener=witness
    )


# What is in a bundle


def test_every_candidate_is_checked_and_listed(full, witness):
    names = [f"{f}-{r}" for f in ("onnx", "tflite") for r in RECIPES]
    assert witness.announced == [check.candidate.name for check in witness.checks] == names
    manifest = full.manifest
    assert [v.name for v in manifest.variants] == [check.candidate.name for check in witness.checks if check.kept]
    assert [r.name for r in manifest.rejected] == [check.candidate.name for check in witness.checks if not check.kept]
    for model_format in ("onnx", "tflite"):
        kept = [v.recipe for v in manifest.variants if v.format == model_format]
        assert kept[0] == "float32"
        assert len(kept) >= 2, "an int8 file of each format survives"


def test_float32_files_are_the_model(full, witness):
    for variant in full.manifest.variants:
        if variant.recipe == "float32":
            assert variant.parity_max_error < 1e-5
            assert variant.tolerance == 1e-5
            assert variant.validation["agreement"] == variant.test["agreement"] == 1.0
        else:
            assert variant.tolerance is None
            assert full.manifest.model.validation["auc"] - variant.validation["auc"] <= 0.02
    made = [check for check in witness.checks if check.candidate.name != "onnx-static_wi8_ai16"]
    assert all(set(check.figures) >= {"size_bytes", "parity_max_error", "auc_drop"} for check in made)


def test_figures_are_what_the_files_answer(full, tiny_run):
    dataset = tiny_run.load_dataset()
    variant = full.variant("onnx-static_wi8_ai8")
    runtime = load_runtime(full.path(variant))
    for name, figures in (("val", variant.validation), ("test", variant.test)):
        answers = answer(runtime, dataset[name].images, full.manifest.preprocessing, variant.layout)
        metrics = evaluate_predictions(
            answers,
            dataset[name].labels,
            task=dataset.task,
            class_names=dataset.class_names,
            positive_class=dataset.positive_class,
            bootstrap=0,
        )
        assert figures["auc"] == pytest.approx(metrics.auc, abs=1e-6)
        assert figures["accuracy"] == pytest.approx(metrics.accuracy, abs=1e-6)
    assert full.manifest.model.test["auc"] == pytest.approx(tiny_run.metrics["test"].auc, abs=1e-6)
    assert full.manifest.model.validation["accuracy"] == pytest.approx(tiny_run.metrics["val"].accuracy, abs=1e-6)


def test_golden_holds_what_the_model_answers(full, tiny_run):
    images, probabilities = full.golden()
    assert len(images) == 12
    np.testing.assert_array_equal(probabilities, ask(tiny_run.load_classifier(), images, tiny_run.preprocessing))
    validation = tiny_run.load_dataset()["val"].images
    assert all((validation == image).all(axis=(1, 2, 3)).any() for image in images[:8])


def test_manifest_tells_what_the_run_knows(full, tiny_run):
    manifest = full.manifest
    assert manifest.class_names == tiny_run.class_names
    assert manifest.positive_class == tiny_run.positive_class == 0
    assert manifest.synthetic is True
    assert manifest.model.name == "phantoms"
    assert "CfC" in manifest.model.architecture
    assert manifest.model.parameters["active"] < manifest.model.parameters["trainable"]
    assert manifest.model.macs > 50_000
    assert manifest.dataset["digest"] == tiny_run.load_dataset().digest
    assert manifest.dataset["calibration"].startswith("128 training images")
    assert set(manifest.versions) >= {"edgelnn", "python", "torch", "onnxruntime", "ai-edge-litert"}
    assert full.variant().size_bytes <= full.variant("onnx-float32").size_bytes
    assert files_under(full.folder).keys() == {
        *("manifest.json", "golden.npz", "predict.py", "README.md"),
        *(variant.file for variant in manifest.variants),
    }
    for name in files_under(full.folder):
        assert stat.S_IMODE((full.folder / name).stat().st_mode) & 0o444 == 0o444


def test_exporting_again_gives_the_same_bytes(full, tiny_run, tmp_path):
    again = build_bundle(tiny_run, tmp_path / "again", quantize=True, meter=dear_where_small())
    assert files_under(again.folder) == files_under(full.folder)


def test_readme_says_what_matters(full):
    text = (full.folder / "README.md").read_text()
    manifest = full.manifest
    for words in (
        *("Not a medical device", "synthetic images", '"malignant"', "(pixels / 255 - 0.5) / 0.5", "28 × 28 × 1"),
        *(f"{v.file}" for v in manifest.variants),
        *(manifest.dataset["licence"], manifest.model.architecture, "predict.py --check"),
    ):
        assert words in text
    assert f"**{full.variant().file}** (recommended)" in text
    assert max(len(line) for line in text.splitlines()) < 400


def test_readme_of_other_tasks(full):
    from dataclasses import replace

    manifest = full.manifest
    labels = replace(manifest, task="multi-label", output_kind="sigmoid", positive_class=None, synthetic=False)
    text = compose_readme(labels)
    assert "every label whose probability is above 0.5" in text
    assert "Trained on synthetic images" not in text
    one = replace(manifest, output_kind="sigmoid")
    assert 'sigmoid: the probability of "normal, benign"' in compose_readme(one)
    assert "the class of the largest probability" in compose_readme(replace(manifest, task="multi-class"))


# What is refused


def test_unknown_formats_and_recipes_are_refused_before_anything_is_done(tiny_run, tmp_path):
    with pytest.raises(ConfigError, match="got recipe 'int4'"):
        build_bundle(tiny_run, tmp_path / "b", recipes=["int4"])
    with pytest.raises(ConfigError, match="got formats=pt"):
        build_bundle(tiny_run, tmp_path / "b", formats=["pt"])
    assert list(tmp_path.iterdir()) == []


def spoil(monkeypatch, name, change):
    """Let the maker spoil one candidate's file."""
    make = Maker.make
    monkeypatch.setattr(Maker, "make", lambda self, c: change(make(self, c)) if c.name == name else make(self, c))


def other_weights(data):
    """The same network with a scaled last layer."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if len(tensor.dims) >= 2 and tensor.data_type == 1:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(array * np.float32(1.01), tensor.name))
    return model.SerializeToString()


def test_a_float32_file_that_is_not_the_model_fails_the_export(tiny_run, tmp_path, monkeypatch):
    spoil(monkeypatch, "onnx-float32", other_weights)
    witness = Witness()
    with pytest.raises(
        ParityError, match=r"onnx-float32 failed: a probability differs by .* Nothing was written"
    ) as caught:
        build_bundle(tiny_run, tmp_path / "b", listener=witness)
    assert "\n" not in str(caught.value)
    assert [check.kept for check in witness.checks] == [False, True]
    assert witness.checks[0].parity_max_error > 1e-4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("recipes", [(), ("onnx-dynamic_wi8_afp32",)])
def test_a_quantized_file_that_does_not_run_is_rejected_or_fails(tiny_run, tmp_path, monkeypatch, few_recipes, recipes):
    spoil(monkeypatch, "onnx-dynamic_wi8_afp32", lambda data: data[: len(data) // 2])
    if recipes:
        with pytest.raises(ExportError, match="onnx-dynamic_wi8_afp32 failed"):
            build_bundle(tiny_run, tmp_path / "b", formats=["onnx"], recipes=recipes)
        assert list(tmp_path.iterdir()) == []
        return
    bundle = build_bundle(tiny_run, tmp_path / "b", formats=["onnx"], quantize=True, measure=False)
    assert [each.name for each in bundle.manifest.rejected] == ["onnx-dynamic_wi8_afp32"]
    assert "cut short" in bundle.manifest.rejected[0].reason
    assert not (bundle.folder / "model-dynamic_wi8_afp32.onnx").exists()
    assert "Tried and left out" in (bundle.folder / "README.md").read_text()


def test_a_quantized_file_that_loses_auc_is_rejected_with_its_figures(tiny_run, tmp_path, few_recipes):
    witness = Witness()
    build = {"formats": ["tflite"], "max_auc_drop": -1.0, "listener": witness, "meter": dear_where_small()}
    bundle = build_bundle(
        tiny_run, tmp_path / "b", quantize=True, **{**build, "formats": ["onnx"], "max_auc_drop": 0.5}
    )
    assert not bundle.manifest.rejected
    strict = build_bundle(tiny_run, tmp_path / "c", quantize=True, **build)
    assert [variant.recipe for variant in strict.manifest.variants] == ["float32"]
    assert {
        "of AUC on the validation split; at most -1 may go" in each.reason for each in strict.manifest.rejected
    } == {True}


@pytest.mark.parametrize("wrong", [{"max_auc_drop": float("nan")}, {"tolerance": float("inf")}])
def test_a_bound_that_is_no_number_is_refused_at_once(tiny_run, tmp_path, wrong):
    listener = Witness()
    with pytest.raises(ConfigError, match=f"got {next(iter(wrong))}=(nan|inf); expected a number"):
        build_bundle(tiny_run, tmp_path / "b", listener=listener, **wrong)
    assert listener.announced == []


def test_a_model_that_itself_answers_with_no_number_is_not_exported(tiny_run, tmp_path, monkeypatch):
    classifier = tiny_run.load_classifier()
    with torch.no_grad():
        next(classifier.parameters()).fill_(float("nan"))
    monkeypatch.setattr(Run, "load_classifier", lambda run: classifier)
    with pytest.raises(ExportError, match="the model itself answers 12 of 12 golden images with NaN"):
        build_bundle(tiny_run, tmp_path / "b", formats=["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_tells_no_images_apart_is_spoken_of(tiny_run, tmp_path, monkeypatch, full, witness):
    assert witness.notes == []
    classifier, listener = tiny_run.load_classifier(), Witness()
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.mul_(1e-8)
    monkeypatch.setattr(Run, "load_classifier", lambda run: classifier)
    build_bundle(tiny_run, tmp_path / "b", formats=["onnx"], listener=listener, max_auc_drop=0.0)
    (note,) = listener.notes
    assert "the same for every image" in note
    assert "Train it for longer" in note


def test_a_quantized_file_that_is_no_smaller_is_kept_only_where_it_was_asked_for(
    tiny_run, tmp_path, monkeypatch, few_recipes
):
    monkeypatch.setattr(Maker, "float32_bytes", lambda self, model_format: 1000)
    bundle = build_bundle(
        tiny_run, tmp_path / "b", formats=["tflite"], quantize=True, recipes=["static_wi8_ai8"], measure=False
    )
    assert [v.name for v in bundle.manifest.variants] == ["tflite-float32", "tflite-static_wi8_ai8"]
    assert "it is no smaller than the float32 file" in bundle.manifest.rejected[0].reason


def test_reasons_to_reject():
    good = {"auc_drop": 0.0}
    assert reason_to_reject(1e-6, 1e-4, good, 0.02) == ""
    assert reason_to_reject(0.3, None, {"auc_drop": 0.02}, 0.02) == ""
    assert reason_to_reject(1e-7, 1e-5, {"auc_drop": 0.3}, 0.02) == "", "the order of ties is no loss"
    assert "differs by 2.0e-04" in reason_to_reject(2e-4, 1e-4, good, 0.02)
    assert "loses 0.021 of AUC" in reason_to_reject(0.3, None, {"auc_drop": 0.021}, 0.02)
    assert "not a probability" in reason_to_reject(float("inf"), None, good, 0.02)
    assert "not a probability" in reason_to_reject(float("nan"), 1e-4, good, 0.02)


def test_numbers_that_are_none_are_rejected(tiny_run, tmp_path, monkeypatch):
    class Broken:
        def __init__(self, runtime):
            self.runtime, self.input, self.output = runtime, runtime.input, runtime.output
            self.takes_any_batch = True

        def run(self, array):
            return self.runtime.run(array) * np.float32(np.nan)

    load = trial_module._load
    monkeypatch.setattr(trial_module, "_load", lambda data: Broken(load(data)))
    with pytest.raises(ExportError, match="onnx-float32 failed: it answers with numbers that are not finite"):
        build_bundle(tiny_run, tmp_path / "b", formats=["onnx"])


# All or nothing


def test_an_existing_bundle_is_replaced_only_by_force(full, tiny_run, tmp_path):
    folder = shutil.copytree(full.folder, tmp_path / "b")
    before = files_under(folder)
    with pytest.raises(WriteError, match="Pass --force"):
        build_bundle(tiny_run, folder, formats=["onnx"])
    assert files_under(folder) == before
    build_bundle(tiny_run, folder, formats=["onnx"], force=True)
    assert Bundle.load(folder).manifest.recommended == "onnx-float32"
    assert not (folder / "model-float32.tflite").exists()


def test_a_failed_export_leaves_the_old_bundle_alone(full, tiny_run, tmp_path, monkeypatch):
    folder = shutil.copytree(full.folder, tmp_path / "b")
    before = files_under(folder)
    spoil(monkeypatch, "onnx-float32", other_weights)
    with pytest.raises(ParityError):
        build_bundle(tiny_run, folder, formats=["onnx"], force=True)
    assert files_under(folder) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("contents", ["photograph.png", "experiment.toml", "manifest.json/", "a bundle and notes.txt"])
def test_folders_that_hold_something_else_are_never_replaced(full, tiny_run, tmp_path, contents):
    folder = tmp_path / "b"
    if contents == "a bundle and notes.txt":
        shutil.copytree(full.folder, folder)
        (folder / "notes.txt").write_text("mine")
    elif contents.endswith("/"):
        (folder / contents).mkdir(parents=True)
        (folder / contents / "mine").write_text("mine")
    else:
        folder.mkdir()
        (folder / contents).write_text("mine")
    before = files_under(folder)
    with pytest.raises(WriteError):
        build_bundle(tiny_run, folder, formats=["onnx"], force=True)
    assert files_under(folder) == before


def test_a_file_in_the_way_is_said(tiny_run, tmp_path):
    (tmp_path / "b").write_text("a file")
    with pytest.raises(WriteError, match="it is a file"):
        build_bundle(tiny_run, tmp_path / "b", force=True)
    with pytest.raises(WriteError, match="not a folder"):
        build_bundle(tiny_run, tmp_path / "b" / "deeper", force=True)


def test_no_space_is_said_and_nothing_is_left(tiny_run, tmp_path, monkeypatch):
    def full_disk(self, data):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(WriteError, match="no space left"):
        build_bundle(tiny_run, tmp_path / "b", formats=["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_no_permission_is_said_before_any_work(tiny_run, tmp_path):
    """As an unprivileged user: root writes everywhere."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for parent in (tmp_path, *tmp_path.parents, tiny_run.folder, *tiny_run.folder.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    code = (
        "import os, sys\n"
        "from edgelnn.errors import WriteError\n"
        "from edgelnn.run import Run\n"
        "from edgelnn_export import build_bundle\n"
        "run = Run.load(sys.argv[1])\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: build_bundle(run, sys.argv[2])\n"
        "except WriteError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, str(tiny_run.folder), str(closed / "b")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "no permission there" in done.stdout, done.stderr


def test_data_that_has_changed_is_refused(tiny_run, tmp_path):
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    environment = json.loads((folder / "environment.json").read_text())
    environment["data"]["digest"] = "0" * 64
    (folder / "environment.json").write_text(json.dumps(environment))
    with pytest.raises(DataError, match="digest"):
        build_bundle(Run.load(folder), tmp_path / "b")
    (folder / "weights.safetensors").write_bytes(b"not weights")
    (folder / "environment.json").write_text((tiny_run.folder / "environment.json").read_text())
    with pytest.raises(RunFolderError):
        build_bundle(Run.load(folder), tmp_path / "b")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    "moments",
    [[(3, 0.0)], pytest.param([(n, d) for n in range(4) for d in (0.0, 0.01, 0.1)], marks=pytest.mark.slow)],
    ids=["once", "often"],
)
def test_killed_exports_leave_nothing_under_the_final_name(tiny_run, tmp_path, moments):
    """Killed so many candidates and seconds after the start; the next export cleans up and succeeds."""
    code = (
        "import sys\n"
        "from edgelnn.run import Run\n"
        "from edgelnn_export import build_bundle, ExportListener\n"
        "class L(ExportListener):\n"
        "    def on_start(self, c): print('start', flush=True)\n"
        "    def on_candidate(self, c): print(c.candidate.name, flush=True)\n"
        "build_bundle(Run.load(sys.argv[1]), sys.argv[2], listener=L())\n"
    )
    target = tmp_path / "b"
    for lines, delay in moments:
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tiny_run.folder), str(target)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        with child:
            assert child.stdout is not None
            for _ in range(lines):
                child.stdout.readline()
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
        if target.exists():  # it was quicker than the signal: then it is complete
            Bundle.load(target)
            shutil.rmtree(target)
    build_bundle(tiny_run, target, formats=["onnx"])
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


# Real data


@pytest.mark.slow
def test_breastmnist_keeps_an_int8_file_of_each_format(test_data, tmp_path, monkeypatch):
    from edgelnn.training import load_experiment, train

    monkeypatch.setenv("EDGELNN_DATA", str(test_data))
    experiment = load_experiment("breastmnist", ["training.epochs=12"])
    run = train(experiment, folder=tmp_path / "run", threads=1, figures=False)
    bundle = build_bundle(run, tmp_path / "bundle", quantize=True)
    float32 = [v for v in bundle.manifest.variants if v.recipe == "float32"]
    assert all(v.parity_max_error <= 1e-5 for v in float32)
    for model_format in ("onnx", "tflite"):
        quantized = [v for v in bundle.manifest.variants if v.format == model_format and v.recipe != "float32"]
        assert quantized
        assert all(bundle.manifest.model.validation["auc"] - v.validation["auc"] <= 0.02 for v in quantized)


def test_manifest_of_a_real_export_survives_the_round_trip(full):
    text = (full.folder / "manifest.json").read_text()
    assert Manifest.from_json(text).to_json() == text
    assert load_dataset("phantoms").class_names == full.manifest.class_names


def test_a_rare_class_keeps_no_file_from_being_judged(full, tiny_run):
    """Of 1200 validation images one is of the first class, and not among every third."""
    dataset = tiny_run.load_dataset()
    labels = np.ones(1200, np.int64)
    labels[1] = 0
    rare = Split(np.random.default_rng(0).integers(0, 256, (1200, 28, 28, 1), dtype=np.uint8), labels)
    dataset = replace(dataset, splits={**dataset.splits, "val": rare})
    judge = Judge.appoint(tiny_run.load_classifier(), dataset, tiny_run.preprocessing)
    loss = trial_module.loss_on_validation(judge, full.path(full.manifest.variants[0]).read_bytes(), "onnx")
    assert loss.error < 1e-5
    assert abs(loss.auc_drop) < 0.01
    with pytest.raises(ExportError, match="a file made on the way does not run"):
        trial_module.loss_on_validation(judge, b"no model", "onnx")


def test_a_tolerance_grows_with_the_models_own_rounding_and_no_further(tiny_run: Run) -> None:
    dataset, classifier = tiny_run.load_dataset(), tiny_run.load_classifier()
    judge = Judge.appoint(classifier, dataset, tiny_run.preprocessing, input_type="uint8")
    assert judge.at_least(1e-5) == 1e-5
    own = judge.at_least(1e-9) / 4
    assert 2.5e-10 < own <= 2.5e-9
    golden = (judge.golden[0], judge.golden[1] + np.float32(5e-6))
    assert replace(judge, golden=golden).at_least(1e-5) == pytest.approx(2e-5, rel=0.1)
    golden = (judge.golden[0], judge.golden[1] + np.float32(0.1))
    assert replace(judge, golden=golden).at_least(1e-5) == pytest.approx(1e-4)
