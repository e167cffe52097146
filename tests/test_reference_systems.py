"""The published systems through the whole path, on real data: trained for a moment, exported, held to their answers.

What a test measures stands beside its name with ``pytest -rP``. Brain MRI is made smaller and fewer here, so that a
training is a matter of seconds. Epochs are fewer; MobileNets take smaller batches and larger steps.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from edgelnn.data import SPLITS
from edgelnn.reproducing import find_system
from edgelnn.run import Run
from edgelnn.training import load_experiment, load_experiment_dataset, train
from edgelnn_export import build_bundle
from edgelnn_export.parity import PARITY_TOLERANCE
from edgelnn_profiling import Plan, profile
from tests.weights_server import publish_weights, served

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*have no region brighter than 45")]
CRNET = find_system("crnet-ncp").experiments
MOBILE = ("mobilenet_v3_small", "mobilenet_v3_large")
READERS = {
    "rnn": {"kind": "rnn", "units": 32},
    "lstm": {"kind": "lstm", "units": 32},
    "gru": {"kind": "gru", "units": 32},
    "ltc": {"kind": "ltc", "units": 20},
    "ltc full": {"kind": "ltc", "units": 12, "wiring": "full"},
    "ltc random": {"kind": "ltc", "units": 20, "wiring": "random"},
    "cfc": {"kind": "cfc", "units": 20},
    "cfc dense": {"kind": "cfc", "units": 20, "wiring": "none"},
    "dense": {"kind": "dense", "widths": [16], "readout": "mean"},
}


@pytest.fixture(autouse=True)
def _data_folder(test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder of the test's own, so that what is downloaded is not left among real data."""
    (tmp_path / "data").mkdir()
    for given in test_data.iterdir():
        (tmp_path / "data" / given.name).symlink_to(given)
    monkeypatch.setenv("EDGELNN_DATA", str(tmp_path / "data"))


def trained(folder: Path, experiment: str, *changes: str) -> Run:
    return train(load_experiment(experiment, changes), folder=folder / "run", threads=1, figures=False)


@pytest.fixture(scope="module")
def few_images(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Writes an eighth of an experiment's data, 64 by 64; returns what to change to train on it."""
    folder = tmp_path_factory.mktemp("few")

    def write(experiment: str) -> list[str]:
        data = load_experiment(experiment, ["data.size=64", f"data.root={test_data}"]).data
        file = folder / f"{data.crop}.npz"
        if not file.exists():
            dataset = load_experiment_dataset(data)
            splits = {f"{split}_images": dataset[split].images[::8] for split in SPLITS}
            np.savez(file, **splits, **{f"{split}_labels": dataset[split].labels[::8] for split in SPLITS})
        return [f"data.name={file}", "data.crop=none", "data.size=64"]

    return write


def exported(run: Run, folder: Path, **options: Any) -> Bundle:
    """Return the bundle of a run; its float32 files agree with the model, or there is none."""
    bundle = build_bundle(run, folder / "bundle", **options)
    float32 = [variant for variant in bundle.manifest.variants if variant.name.endswith("-float32")]
    assert [variant.name for variant in float32] == ["onnx-float32", "tflite-float32"]
    assert max(variant.parity_max_error for variant in float32) <= 10 * PARITY_TOLERANCE
    figures = {
        variant.name: [f"{variant.size_bytes} B", f"error {variant.parity_max_error:.1e}", f"{dict(variant.test)}"]
        for variant in bundle.manifest.variants
    }
    print(run.environment["model"]["architecture"], json.dumps(figures, indent=1))
    return bundle


@pytest.mark.parametrize("name", CRNET)
def test_every_head_on_crnet_trains_and_exports(
    name: str, few_images: Callable[[str], list[str]], tmp_path: Path
) -> None:
    run = trained(tmp_path, name, *few_images(name), "training.epochs=3")
    assert len(run.history) == 3
    exported(run, tmp_path)


def test_the_reservoir_as_meant_exports_and_keeps_its_accuracy(tmp_path: Path) -> None:
    run = trained(tmp_path, "mnist-reservoir")
    bundle = exported(run, tmp_path, recipes=["tflite-dynamic_wi8_afp32", "onnx-weight_only_wi8_afp32"])
    accuracy = {variant.name: variant.test["accuracy"] for variant in bundle.manifest.variants}
    assert len(accuracy) == 4
    assert min(accuracy.values()) > 0.90


@pytest.mark.parametrize("name", READERS)
def test_every_head_reads_mnist_by_rows_and_exports(name: str, tmp_path: Path) -> None:
    head = ", ".join(f"{key} = {json.dumps(value)}" for key, value in READERS[name].items())
    (tmp_path / "experiment.toml").write_text(
        f"""name = "rows"
data = {{ name = "mnist", mean = 0.5, std = 0.5, validation = 0.1, test = 0.1 }}
stem = {{ kind = "identity" }}
scan = {{ kind = "rows" }}
head = {{ {head} }}
training = {{ epochs = 1, batch_size = 64, learning_rate = 5e-3 }}
"""
    )
    bundle = exported(trained(tmp_path, str(tmp_path / "experiment.toml")), tmp_path)
    assert bundle.manifest.model.test["auc"] > 0.5


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize("pretrained", [False, True], ids=["random", "given"])
@pytest.mark.parametrize("kind", MOBILE)
def test_mobilenets_train_export_quantize_and_profile(
    kind: str,
    pretrained: bool,
    few_images: Callable[[str], list[str]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    given = request.getfixturevalue("publish")(kind) if pretrained else "false"
    name = f"brain-mri-{kind.replace('_', '-')}"
    # Their batch norms take hundreds of steps to know their inputs (momentum 0.01); until then answers are constant.
    faster = ["training.epochs=12", "training.batch_size=4", "training.learning_rate=1e-3"]
    run = trained(tmp_path, name, *few_images(name), *faster, f"stem.pretrained={given}")
    if pretrained:
        assert run.environment["model"]["pretrained"]["file"] == given
        assert (tmp_path / "data" / given).is_file()
    bundle = exported(run, tmp_path, quantize=True, measure=False)
    quantized = [variant for variant in bundle.manifest.variants if "wi8" in variant.name]
    assert {variant.format for variant in quantized} == {"onnx", "tflite"}
    report = profile(bundle.folder, Plan(batches=(1,), rounds=1, windows=1, min_samples=20))
    assert [result.variant for result in report.results] == [variant.name for variant in bundle.manifest.variants]


@pytest.fixture
def publish(torchvision: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Puts weights of a kind on a file server on this machine that stands in for torchvision's; returns their name."""
    published = tmp_path / "published"
    published.mkdir()

    with served(published) as address:
        monkeypatch.setenv("EDGELNN_WEIGHTS_URL", address)
        yield lambda kind: publish_weights(torchvision, kind, published).name
