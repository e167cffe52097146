"""``edgelnn inspect`` from the outside: files and bundles, tables, JSON and a picture, and files that are no good."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import onnx
import pytest

from edgelnn.bundle import Bundle
from edgelnn.cli.inspect_layers import group_layers
from edgelnn.cli.inspect_picture import draw_inspection
from edgelnn.errors import ModelFileError
from edgelnn_export import inspect_apart as apart_module
from edgelnn_export.inspect_apart import inspect_apart
from edgelnn_export.inspection import inspect_model
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.tflite_model import write_tflite
from tests.helpers import assert_one_clear_line, run_cli
from tests.operator_graphs import small_graph


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "network.tflite"
    path.write_bytes(write_tflite(small_graph("whole_network", "channels_last")))
    return path


def test_a_child_reads_what_the_parent_would(network: Path) -> None:
    assert inspect_apart(network) == inspect_model(network)


def test_a_layer_that_is_unrolled_is_one(network: Path) -> None:
    found = inspect_model(network)
    layers = group_layers(found)
    assert [(layer.type, layer.times, layer.macs) for layer in layers] == [
        ("CONV_2D", 1, 8 * 8 * 4 * 9),
        ("FULLY_CONNECTED", 1, 5 * 16),
        ("FULLY_CONNECTED", 3, 3 * 5 * 16),
        ("FULLY_CONNECTED", 3, 3 * 5 * 5),
        ("FULLY_CONNECTED", 1, 15),
    ]
    assert sum(layer.macs or 0 for layer in layers) == found.macs


def test_a_bundle_means_its_recommended_variant(tiny_bundle: Bundle) -> None:
    recommended = tiny_bundle.path(tiny_bundle.variant())
    assert run_cli("inspect", tiny_bundle.folder, "--json").json == run_cli("inspect", recommended, "--json").json
    other = run_cli("inspect", tiny_bundle.folder, "--variant", "onnx-float32", "--json").json
    assert other["file"].endswith("model-float32.onnx")
    assert other["refused"] is None
    assert other["macs"] == sum(layer["macs"] for layer in other["layers"]) > 0
    unknown = run_cli("inspect", tiny_bundle.folder, "--variant", "none-such")
    assert_one_clear_line(unknown, "none-such", "onnx-float32", code=[1])
    assert_one_clear_line(run_cli("inspect", recommended, "--variant", "onnx-float32"), "--variant", code=[1, 2])


def test_tables_show_work_by_layer(network: Path) -> None:
    shown = run_cli("inspect", network)
    assert shown.code == 0
    lines = [line.split() for line in shown.out.splitlines()]
    assert ["head/linear1", "FULLY_CONNECTED", "float32", "3", "240", "-"] in lines
    assert ["all", f"{2304 + 320 + 75 + 15:,}"] in lines


def test_a_picture_is_drawn_and_not_overwritten(network: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    assert run_cli("inspect", network, "--picture", picture).code == 0
    pixels = matplotlib.image.imread(picture)
    assert pixels.shape[1] == 1650
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 20
    before = picture.read_bytes()
    assert_one_clear_line(run_cli("inspect", network, "--picture", picture), "--force", code=[1])
    assert picture.read_bytes() == before
    assert run_cli("inspect", network, "--picture", picture, "--force").code == 0
    assert_one_clear_line(run_cli("inspect", network, "--picture", tmp_path / "p.jpg"), ".png", code=[1, 2])


def test_a_picture_of_many_layers_or_none_is_drawn() -> None:
    found = inspect_model(write_onnx(small_graph("whole_network", "channels_first")))
    (layer, *_) = found.layers
    many = [
        dataclasses.replace(layer, name=f"layer/with/a/name/that/is/far/too/long/{n}", inputs=("x", str(n)), macs=n + 1)
        for n in range(40)
    ]
    for operators in (tuple(many), ()):
        drawn = draw_inspection("file.onnx", dataclasses.replace(found, operators=operators))
        assert drawn.startswith(b"\x89PNG")


def test_a_file_that_would_not_be_run_can_still_be_looked_at(tmp_path: Path) -> None:
    model = onnx.load_from_string(write_onnx(small_graph("linear", "channels_first")))
    model.graph.node[0].domain = "evil.corp"
    model.opset_import.append(onnx.helper.make_opsetid("evil.corp", 1))
    path = tmp_path / "custom.onnx"
    path.write_bytes(model.SerializeToString())
    shown = run_cli("inspect", path)
    assert shown.code == 0
    assert "would not run it" in shown.err
    assert "evil.corp.Gemm" in shown.err
    assert "evil.corp.Gemm" in run_cli("inspect", path, "--json").json["refused"]


def test_what_the_reader_refuses_is_said_in_one_line(network: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(network.read_bytes()[:200])
    assert_one_clear_line(run_cli("inspect", damaged), "damaged.tflite", "sound", code=[1])


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashes its runtime \(SIGSEGV\)"),
        ("print('nonsense')", "cannot be shown"),
        ("import time; time.sleep(60)", "within 1 s"),
    ],
)
def test_a_file_that_crashes_its_reader_crashes_only_the_child(
    code: str, words: str, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = tmp_path / "python"
    reader.write_text(f"#!{sys.executable}\n{code}\n")
    reader.chmod(0o755)
    monkeypatch.setattr(apart_module.sys, "executable", str(reader))
    with pytest.raises(ModelFileError, match=words):
        inspect_apart(network, timeout_s=1 if "sleep" in code else 60)
