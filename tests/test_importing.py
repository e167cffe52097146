"""Weights from elsewhere: a state dict of plain torch and ncps becomes a run that answers the same."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import ncps.torch
import ncps.wirings
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edgelnn.errors import ConfigError, ModelFileError, TrainingInterrupted
from edgelnn.importing import KeyMap, import_weights, load_key_map, read_weight_file
from edgelnn.run import Run
from edgelnn.training import load_experiment, train
from tests.helpers import assert_one_clear_line, run_cli
from tests.training_runs import Recorder

MAP = """
"stem.0.conv.*" = "conv1.*"
"stem.1.conv.*" = "conv2.*"
"stem.1.norm.*" = "bn2.*"
"stem.2.conv.*" = "conv3.*"
"stem.3.conv.*" = "conv4.*"
"stem.3.norm.*" = "bn4.*"
"head.layers.0.ncps.*" = "rnn.*"
"""


class PublishedNetwork(nn.Module):
    """The layout of the published liquid network on BreastMNIST, in plain torch and ncps."""

    def __init__(self, seed: int = 22222) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=2)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 64, 5, stride=2, padding=2)
        self.conv4 = nn.Conv2d(64, 128, 5, stride=2, padding=2)
        self.bn4 = nn.BatchNorm2d(128)
        self.rnn = ncps.torch.CfC(16, ncps.wirings.AutoNCP(19, 2, 0.5, seed))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).relu()
        x = self.bn2(self.conv2(x)).relu()
        x = self.conv3(x).relu()
        x = nn.functional.max_pool2d(self.bn4(self.conv4(x)).relu(), 2)
        sequence, _ = self.rnn(x.view(len(x), 32, 16))
        logits: Tensor = sequence[:, -1]
        return logits


@pytest.fixture(scope="module")
def network() -> PublishedNetwork:
    """Random weights, and batch norms that have seen something."""
    torch.manual_seed(3)
    network = PublishedNetwork()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 1, 28, 28) * 2 + 1)
    return network.eval()


@pytest.fixture
def state(network: PublishedNetwork) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.fixture
def key_map(tmp_path: Path) -> Path:
    (tmp_path / "map.toml").write_text(MAP, "utf-8")
    return tmp_path / "map.toml"


def phantoms(*changes: str) -> list[str]:
    """Options that judge the published network on data that are always there."""
    return [word for change in ("data.name=phantoms", *changes) for word in ("--set", change)]


def imported(file: Path, key_map: Path, folder: Path, *changes: str) -> object:
    words = ("--experiment", "safipatel-lnn", "--map", key_map, "--run", folder, *phantoms(*changes))
    return run_cli("import", file, *words, "--json")


def test_the_published_layout_gives_the_same_logits_and_a_whole_run(
    network: PublishedNetwork, state: dict[str, Tensor], key_map: Path, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "lnn.pt")
    outcome = imported(tmp_path / "lnn.pt", key_map, tmp_path / "run")
    assert outcome.code == 0, outcome.err
    run = Run.load(tmp_path / "run")
    x = torch.randn(9, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(run.load_classifier()(x), network(x), rtol=0, atol=1e-6)
    origin = run.environment["imported"]
    digest = hashlib.sha256((tmp_path / "lnn.pt").read_bytes()).hexdigest()
    assert (origin["file"], origin["sha256"], origin["format"]) == ("lnn.pt", digest, "torch")
    assert origin["names"]["stem.3.norm.running_var"] == "bn4.running_var"
    assert outcome.json["metrics"]["test"]["auc"] == run.metrics["test"].auc
    assert run.best_epoch == 0
    assert run.history == ()
    assert {path.name for path in (run.folder / "figures").iterdir()} >= {"roc.png", "wiring.png"}
    judged = run_cli("evaluate", run.folder, "--json", "--bootstrap", "0")
    assert judged.json["metrics"]["auc"] == run.metrics["test"].auc


def test_weights_are_not_imported_over_a_training_that_is_under_way(
    state: dict[str, Tensor], key_map: Path, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "lnn.pt")
    folder = tmp_path / "run"
    experiment = load_experiment("safipatel-lnn", ["data.name=phantoms"])

    class Meanwhile(Recorder):
        def on_batch(self, batch: int, batches: int) -> None:
            words = ("--experiment", "safipatel-lnn", "--map", key_map, "--run", folder, *phantoms(), "--force")
            outcome = run_cli("import", tmp_path / "lnn.pt", *words)
            assert_one_clear_line(outcome, f"another process is training in {folder}", code=[1])
            super().on_batch(batch, batches)

    with pytest.raises(TrainingInterrupted):
        train(experiment, folder=folder, listener=Meanwhile(fail_at=0), figures=False)
    assert "imported" not in (folder / "environment.json").read_text("utf-8")


def test_safetensors_and_a_checkpoint_around_the_state_dict_are_read_alike(
    state: dict[str, Tensor], key_map: Path, tmp_path: Path
) -> None:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "lnn.safetensors")
    torch.save({"epoch": 7, "model_state_dict": state}, tmp_path / "checkpoint.pth")
    plain, wrapped = (read_weight_file(tmp_path / name) for name in ("lnn.safetensors", "checkpoint.pth"))
    assert (plain.format, plain.inside) == ("safetensors", "")
    assert (wrapped.format, wrapped.inside) == ("torch", "model_state_dict")
    assert plain.tensors.keys() == wrapped.tensors.keys() == state.keys()
    assert all(torch.equal(plain.tensors[name], wrapped.tensors[name]) for name in state)


def test_without_the_data_it_is_a_run_without_metrics(state: dict[str, Tensor], key_map: Path, tmp_path: Path) -> None:
    torch.save({name: tensor.double() for name, tensor in state.items()}, tmp_path / "lnn.pt")
    words = ("--experiment", "safipatel-lnn", "--map", key_map, "--run", tmp_path / "run")
    outcome = run_cli("import", tmp_path / "lnn.pt", *words)
    assert outcome.code == 0
    assert "the run gets no metrics: breastmnist.npz is in none of" in outcome.err
    assert "were rounded to float32" in outcome.err
    run = Run.load(tmp_path / "run")
    assert run.metrics == {}
    assert run.class_names == ("malignant", "normal, benign")
    other = imported(tmp_path / "lnn.pt", key_map, tmp_path / "judged")
    assert other.code == 0
    compared = run_cli("compare", tmp_path / "run", tmp_path / "judged", "--json")
    assert compared.code == 0, compared.err
    assert [record["test"] is None for record in compared.json["rows"]] == [True, False]


def test_the_names_of_published_code_come_with_its_experiment(
    network: PublishedNetwork, state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "lnn.pt")
    outcome = run_cli(
        "import", tmp_path / "lnn.pt", "--experiment", "safipatel-lnn", "--run", tmp_path / "run", "--json"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["imported"]["names"]["stem.0.conv.weight"] == "conv1.weight"
    run = Run.load(tmp_path / "run")
    save_file(run.load_classifier().state_dict(), tmp_path / "ours.safetensors")
    again = import_weights(tmp_path / "ours.safetensors", run.experiment, folder=tmp_path / "again")
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(again.load_classifier()(x), network(x), rtol=0, atol=1e-6)


def test_weights_of_another_wiring_are_refused_by_seed_and_sparsity(
    state: dict[str, Tensor], key_map: Path, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "lnn.pt")
    outcome = imported(tmp_path / "lnn.pt", key_map, tmp_path / "run", "head.wiring_seed=7")
    assert_one_clear_line(outcome, "seed 7, sparsity 0.5", "head.wiring_seed")
    outcome = imported(tmp_path / "lnn.pt", key_map, tmp_path / "run", "head.sparsity=0.4")
    assert_one_clear_line(outcome, "seed 22222, sparsity 0.4")
    assert not (tmp_path / "run").exists()


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch ran",)


def squeezed(file: Path, path: Path) -> None:
    """Write a zip file again with its parts compressed, as a bomb would be."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))


def exaggerated(file: Path, path: Path) -> None:
    """Write a file of torch.save again in which the pickle says that a storage is larger than it is."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                told = b"J" + (128 * 64 * 5 * 5).to_bytes(4, "little")  # of conv4.weight
                assert data.count(told) == 1
                data = data.replace(told, b"J" + (2**30).to_bytes(4, "little"))
            new.writestr(entry.filename, data)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path, state: None, ["does not exist"]),
        (lambda path, state: path.mkdir(), ["is a folder"]),
        (lambda path, state: path.write_bytes(b""), ["neither a file of torch.save nor safetensors"]),
        (lambda path, state: path.write_bytes(os.urandom(500)), ["neither a file of torch.save nor safetensors"]),
        (lambda path, state: path.write_bytes(pickle.dumps(Code())), ["can run code, so it is not read"]),
        (lambda path, state: torch.save({"a": Code()}, path), ["holds more than tensors (posix.system)"]),
        (lambda path, state: torch.save(PublishedNetwork(), path), ["holds more than tensors", "state_dict()"]),
        (lambda path, state: torch.save([1, 2], path), ["holds a list"]),
        (lambda path, state: torch.save({}, path), ["holds no tensors"]),
        (lambda path, state: torch.save({"epoch": 3, "w": state["bn2.bias"]}, path), ["'epoch' is a int"]),
        (
            lambda path, state: torch.save({**state, "bn2.bias": torch.eye(3).to_sparse()}, path),
            ["bn2.bias is a sparse"],
        ),
        (
            lambda path, state: torch.save({**state, "bn2.bias": torch.ones(31)}, path),
            ["bn2.bias of shape (31,)", "(32,)"],
        ),
        (
            lambda path, state: torch.save({**state, "bn2.bias": torch.ones(1).expand(10**12)}, path),
            ["bn2.bias of shape (1000000000000,)"],
        ),
        (
            lambda path, state: torch.save({**state, "bn2.bias": state["bn2.bias"] * float("nan")}, path),
            ["bn2.bias holds 32 of 32 numbers that are NaN"],
        ),
        (
            lambda path, state: torch.save({**state, "bn2.bias": state["bn2.bias"].double() + 1e200}, path),
            ["NaN or infinite in torch.float32"],
        ),
        (lambda path, state: torch.save({**state, "bn2.bias": state["bn2.bias"].long()}, path), ["is torch.int64"]),
        (lambda path, state: torch.save({**state, "bn2.bias": state["bn2.bias"] + 1j}, path), ["is torch.complex64"]),
        (lambda path, state: torch.save({**state, "fc.weight": torch.ones(2)}, path), ["1 tensors", "fc.weight"]),
        (
            lambda path, state: torch.save({n: t for n, t in state.items() if n != "conv1.weight"}, path),
            ["lacks 1 of", "stem.0.conv.weight (sought as conv1.weight)"],
        ),
    ],
)
def test_hostile_and_wrong_files_get_one_clear_line(
    make: object,
    words: list[str],
    state: dict[str, Tensor],
    key_map: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "lnn.pt", state)  # type: ignore[operator]
    assert_one_clear_line(imported(tmp_path / "lnn.pt", key_map, tmp_path / "run"), *words)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_cut_off_anywhere_gets_one_clear_line(
    ending: str, state: dict[str, Tensor], key_map: Path, tmp_path: Path
) -> None:
    whole = tmp_path / f"whole.{ending}"
    if ending == "pt":
        torch.save(state, whole)
    else:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, whole)
    data = whole.read_bytes()
    for length in (1, 9, 40, 2000, len(data) // 2, len(data) - 1):
        (tmp_path / f"cut.{ending}").write_bytes(data[:length])
        with pytest.raises(ModelFileError, match="cut off"):
            read_weight_file(tmp_path / f"cut.{ending}")


def test_parts_that_are_compressed_are_refused_before_they_are_unpacked(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "lnn.pt")
    squeezed(tmp_path / "lnn.pt", tmp_path / "bomb.pt")
    with pytest.raises(ModelFileError, match=r"data\.pkl is compressed"):
        read_weight_file(tmp_path / "bomb.pt")


def test_a_file_that_lies_about_the_size_of_a_tensor_is_not_read_beyond_its_end(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "lnn.pt")
    exaggerated(tmp_path / "lnn.pt", tmp_path / "lie.pt")
    tensors = read_weight_file(tmp_path / "lie.pt").tensors
    size = (tmp_path / "lie.pt").stat().st_size
    assert all(tensor.untyped_storage().nbytes() <= size for tensor in tensors.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('"stem.0.conv.*" = "conv1"', "both sides need as many"),
        ('"stem.9.conv.*" = "conv1.*"', "fits no tensor of safipatel-lnn"),
        ('"*" = "conv1.*"\n"stem.0.conv.bias" = "conv1.stem.0.conv.weight"', "each needs its own"),
        ('stem.0 = "conv1"', "Put names with dots in quotes"),
        ('ignore = "fc.*"', "ignore: expected a list"),
        ("a = = 3", "not TOML"),
    ],
)
def test_a_wrong_map_is_told_in_one_line(text: str, words: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "lnn.pt")
    (tmp_path / "map.toml").write_text(text, "utf-8")
    assert_one_clear_line(imported(tmp_path / "lnn.pt", tmp_path / "map.toml", tmp_path / "run"), words)


def test_without_a_map_the_error_says_what_of_theirs_has_the_shape(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "lnn.pt")
    experiment = load_experiment("safipatel-lnn").model_copy(update={"reference": None})
    with pytest.raises(
        ConfigError, match=r"first stem\.0\.conv\.weight; .* its shape \(16, 1, 3, 3\) there is conv1\.w"
    ):
        import_weights(tmp_path / "lnn.pt", experiment, folder=tmp_path / "run")


def test_maps_come_as_json_too_and_may_ignore(state: dict[str, Tensor], key_map: Path, tmp_path: Path) -> None:
    names = dict(load_key_map(key_map).names)
    (tmp_path / "map.json").write_text(json.dumps({**names, "ignore": ["fc.*"]}), "utf-8")
    torch.save({**state, "fc.weight": torch.ones(2)}, tmp_path / "lnn.pt")
    outcome = imported(tmp_path / "lnn.pt", tmp_path / "map.json", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert outcome.json["imported"]["unused"] == ["fc.weight"]


def test_exact_names_come_before_patterns_and_the_first_pattern_counts() -> None:
    names = KeyMap({"a.*": "x.*", "a.b.*": "y.*", "a.b.c": "z", "*.*.d": "*-*"})
    assert [names.theirs(name) for name in ("a.b", "a.b.c", "k.l.d", "other")] == ["x.b", "z", "k-l", "other"]


@pytest.mark.slow
def test_a_run_that_was_imported_exports(state: dict[str, Tensor], key_map: Path, tmp_path: Path) -> None:
    from edgelnn_export import build_bundle

    buffer = io.BytesIO()
    torch.save(state, buffer)
    (tmp_path / "lnn.pt").write_bytes(buffer.getvalue())
    assert imported(tmp_path / "lnn.pt", key_map, tmp_path / "run").code == 0
    bundle = build_bundle(Run.load(tmp_path / "run"), tmp_path / "bundle")
    assert {variant.format for variant in bundle.manifest.variants} == {"onnx", "tflite"}
