"""Bad input over the whole tool: one clear line, exit code 1 or 2, no traceback, and nothing written or overwritten."""

from __future__ import annotations

import errno
import json
import os
import pickle
import resource
import shutil
import signal
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from edgelnn.run import Run
from tests.helpers import assert_one_clear_line, files_under, run_cli

Arguments = list[object]


@dataclass(frozen=True)
class Place:
    """Where a case happens: a folder to spoil things in, and a run and a bundle that are good, to be copied."""

    folder: Path
    run: Path
    bundle: Path

    def copy_run(self) -> Path:
        shutil.copytree(self.run, self.folder / "run")
        return self.folder / "run"

    def copy_bundle(self) -> Path:
        shutil.copytree(self.bundle, self.folder / "bundle")
        return self.folder / "bundle"

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


@pytest.fixture
def place(tmp_path: Path, tiny_run: Run, tiny_bundle: Bundle) -> Place:
    return Place(tmp_path, tiny_run.folder, tiny_bundle.folder)


# --- experiments and options ---------------------------------------------------------------------------------------


def train(*more: object) -> Callable[[Place], Arguments]:
    return lambda place: ["train", "phantoms", "--epochs", "1", "--out", place.folder / "out", *more]


def experiment(text: bytes | str) -> Callable[[Place], Arguments]:
    return lambda place: ["train", place.write("mine.toml", text), "--out", place.folder / "out"]


EXPERIMENTS = {
    "unknown experiment": (lambda place: ["train", "brestmnist", "--dry-run"], "breastmnist"),
    "a field with a typo": (experiment("[head]\nkind = 'cfc'\nunit = 12\n"), "units"),
    "a value out of range": (experiment("[training]\nepochs = 0\n"), "epochs"),
    "a value of another type": (experiment("[head]\nunits = 'many'\n"), "many"),
    "not TOML": (experiment("[head\nunits = 3"), "toml"),
    "not text": (experiment(b"\xff\xfe\x00"), "utf-8"),
    "a section for a value": (experiment("head = 3\n"), "head"),
    "set an unknown field": (train("--set", "head.size=3"), "head.size"),
    "set without a value": (train("--set", "head.units"), "field=value"),
    "set an unknown kind": (train("--set", "head.kind=cfx"), "cfc"),
    "too few units for the classes": (train("--set", "head.units=3"), "units"),
    "chunks that do not divide": (train("--set", "scan.kind=chunks", "--set", "scan.steps=37"), "37"),
    "slices of an image": (train("--set", "scan.kind=slices"), "slices"),
    "a stem too deep for the image": (
        train("--set", "stem.layers=[{channels=4,kernel=31,pool=16}]"),
        "stem",
    ),
    "an unknown device": (train("--device", "tpu"), "cpu"),
    "epochs that are none": (lambda place: ["train", "phantoms", "--epochs", "0"], "epochs"),
    "seeds that are none": (lambda place: ["train", "phantoms", "--seeds", "-1"], "seeds"),
    "epochs in words": (lambda place: ["train", "phantoms", "--epochs", "ten"], "integer"),
}


# --- data ----------------------------------------------------------------------------------------------------------


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """A small dataset in MedMNIST's form, with some arrays changed or (None) left out."""
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for split, count in (("train", 24), ("val", 12), ("test", 12)):
        found[f"{split}_images"] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        found[f"{split}_labels"] = (np.arange(count) % 2).astype(np.uint8)[:, None]
    found |= {name: value for name, value in changes.items() if value is not None}
    return {name: value for name, value in found.items() if name not in changes or changes[name] is not None}


def data(make: Callable[[Place], Path]) -> Callable[[Place], Arguments]:
    """Train on the data that `make` writes."""
    return lambda place: ["train", "phantoms", "--epochs", "1", "--data", make(place), "--out", place.folder / "out"]


def npz(**changes: np.ndarray | None) -> Callable[[Place], Arguments]:
    def make(place: Place) -> Path:
        np.savez(place.folder / "data.npz", **arrays(**changes))
        return place.folder / "data.npz"

    return data(make)


def truncated(place: Place) -> Path:
    np.savez(place.folder / "whole.npz", **arrays())
    return place.write("data.npz", (place.folder / "whole.npz").read_bytes()[:5000])


def pickled(place: Place) -> Path:
    np.savez(place.folder / "data.npz", **arrays(train_images=np.array([Evil()], dtype=object)))
    return place.folder / "data.npz"


class Evil:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(Path(tempfile.gettempdir()) / "edgelnn-was-fooled"),))


def bomb(place: Place) -> Path:
    """An archive whose header promises a terabyte."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000, 1000), }"
    header += b" " * (128 - 10 - 1 - len(header)) + b"\n"
    entry = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\x00" * 1000
    with zipfile.ZipFile(place.folder / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train_images.npy", entry)
    return place.folder / "data.npz"


def class_folder(*, classes: int = 2, spoil: bool = False) -> Callable[[Place], Path]:
    def make(place: Place) -> Path:
        from PIL import Image

        rng = np.random.default_rng(0)
        for index in range(classes):
            folder = place.folder / "photos" / f"class{index}"
            folder.mkdir(parents=True)
            for number in range(12):
                Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / f"{number}.png")
        if spoil:
            (place.folder / "photos/class0/3.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
        return place.folder / "photos"

    return make


def empty_folder(place: Place) -> Path:
    (place.folder / "photos").mkdir()
    return place.folder / "photos"


def idx(place: Place) -> Path:
    images = b"\x00\x00\x08\x03" + (100).to_bytes(4, "big") + (28).to_bytes(4, "big") * 2 + b"\x00" * 500
    place.write("idx/train-images-idx3-ubyte", images)
    place.write("idx/train-labels-idx1-ubyte", b"\x00\x00\x08\x01" + (100).to_bytes(4, "big") + b"\x00\x01" * 50)
    return place.folder / "idx"


NAN = np.full((24, 28, 28), np.nan, np.float32)
DATA = {
    "unknown dataset": (data(lambda place: Path("brestmnist")), "breastmnist"),
    "no such file": (data(lambda place: place.folder / "nothing.npz"), "does not exist"),
    "some other file": (data(lambda place: place.write("data.csv", "1,2")), "npz"),
    "a truncated npz": (data(truncated), "data.npz"),
    "an empty npz": (data(lambda place: place.write("data.npz", b"")), "data.npz"),
    "text that is called npz": (data(lambda place: place.write("data.npz", "hello")), "data.npz"),
    "a pickled npz": (data(pickled), "data.npz"),
    "an npz that promises a terabyte": (data(bomb), "data.npz"),
    "an npz without labels": (npz(train_labels=None), "train_labels"),
    "fewer labels than images": (npz(train_labels=np.zeros((5, 1), np.uint8)), "labels"),
    "labels that are no whole numbers": (npz(train_labels=np.full((24, 1), 0.5)), "0.5"),
    "labels below zero": (npz(train_labels=np.full((24, 1), -1)), "labels"),
    "one class only": (
        npz(**{f"{s}_labels": np.zeros((n, 1), int) for s, n in (("train", 24), ("val", 12), ("test", 12))}),
        "class",
    ),
    "a class that validation lacks": (npz(val_labels=np.zeros((12, 1), int)), "val"),
    "images that are not a number": (npz(train_images=NAN), "nan"),
    "images of another shape": (npz(val_images=np.zeros((12, 14, 14), np.uint8)), "shape"),
    "images without height": (npz(train_images=np.zeros((24, 784), np.uint8)), "(24, 784)"),
    "an empty folder": (data(empty_folder), "photos"),
    "a folder with one class": (data(class_folder(classes=1)), "class"),
    "an image that is none": (data(class_folder(spoil=True)), "3.png"),
    "truncated IDX files": (data(idx), "idx"),
    "a size that was never published": (
        lambda place: ["train", "breastmnist", "--set", "data.size=100", "--out", place.folder / "out"],
        "64",
    ),
    "a download without a network": (
        lambda place: ["train", "breastmnist", "--data-root", place.folder / "data", "--out", place.folder / "out"],
        "breastmnist",
    ),
    "a positive class that there is none of": (train("--set", "data.positive_class=benign"), "malignant"),
}


# --- run folders ---------------------------------------------------------------------------------------------------


def export(spoil: Callable[[Path], object], *more: object) -> Callable[[Place], Arguments]:
    """Export a run after something was done to its folder."""

    def make(place: Place) -> Arguments:
        run = place.copy_run()
        spoil(run)
        return ["export", run, "--out", place.folder / "out", *more]

    return make


def edit_json(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return spoil


def edit_text(name: str, before: str, after: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after))

    return spoil


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def remove(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def other_weights(folder: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"stem.0.weight": np.zeros((3, 3), np.float32)}, folder / "weights.safetensors")


RUNS = {
    "export nothing": (lambda place: ["export", place.folder / "nothing"], "does not exist"),
    "export a bundle": (lambda place: ["export", place.bundle], "expected the folder of a run"),
    "export a file": (lambda place: ["export", place.write("run", "x")], "expected the folder of a run"),
    "export an unfinished run": (export(remove("metrics.json")), "--resume"),
    "a run without weights": (export(remove("weights.safetensors")), "weights"),
    "a run with truncated weights": (export(cut("weights.safetensors")), "weights"),
    "a run with weights of another model": (export(other_weights), "fit"),
    "a run with an edited experiment": (export(edit_text("experiment.toml", "units = 12", "units = 16")), "edited"),
    "a run of a newer version": (export(edit_json("environment.json", lambda v: v.update(format_version=99))), "99"),
    "a run with damaged metrics": (export(lambda f: (f / "metrics.json").write_text("{")), "metrics.json"),
    "a run without its data's description": (
        export(edit_json("environment.json", lambda v: v.pop("data"))),
        "environment.json",
    ),
    "a run whose data have changed": (
        export(edit_json("environment.json", lambda v: v["data"].update(digest="0" * 64))),
        "digest",
    ),
    "an unknown format": (export(lambda f: None, "--format", "tensorrt"), "tensorrt"),
    "an unknown recipe": (export(lambda f: None, "--recipe", "int3"), "int3"),
    "resume nothing": (train("--resume"), "does not exist"),
    "resume with another experiment": (
        lambda place: ["train", "phantoms", "--resume", "--epochs", "7", "--out", place.copy_run()],
        "another experiment",
    ),
    "train over a folder of photographs": (
        lambda place: ["train", "phantoms", "--force", "--out", place.write("photos/a.jpg", "x").parent],
        "photos",
    ),
    "train over a file": (lambda place: ["train", "phantoms", "--force", "--out", place.write("out", "x")], "out"),
}


# --- bundles, model files, images, reports -------------------------------------------------------------------------


def predict(spoil: Callable[[Path], object]) -> Callable[[Place], Arguments]:
    def make(place: Place) -> Arguments:
        bundle = place.copy_bundle()
        spoil(bundle)
        return ["predict", bundle, place.folder]

    return make


def predict_image(make: Callable[[Place], Path]) -> Callable[[Place], Arguments]:
    return lambda place: ["predict", place.bundle, make(place)]


def array(values: np.ndarray, *, allow_pickle: bool = False) -> Callable[[Place], Arguments]:
    def make(place: Place) -> Path:
        np.save(place.folder / "x.npy", values, allow_pickle=allow_pickle)
        return place.folder / "x.npy"

    return predict_image(make)


def link(folder: Path) -> None:
    outside = folder.parent / "outside.tflite"
    (folder / "model-float32.tflite").rename(outside)
    (folder / "model-float32.tflite").symlink_to(outside)


BUNDLES = {
    "no bundle": (lambda place: ["predict", place.folder / "nothing", place.folder], "does not exist"),
    "a run for a bundle": (lambda place: ["predict", place.run, place.folder], "bundle"),
    "a manifest that is not JSON": (predict(lambda f: (f / "manifest.json").write_text("{")), "manifest"),
    "a manifest of a newer version": (
        predict(edit_json("manifest.json", lambda v: v.update(format_version=2))),
        "format_version",
    ),
    "a manifest with a field too many": (predict(edit_json("manifest.json", lambda v: v.update(evil=1))), "evil"),
    "a manifest that leads outside": (
        predict(edit_text("manifest.json", "model-float32.tflite", "../model-float32.tflite")),
        "file",
    ),
    "a manifest without statistics": (predict(edit_json("manifest.json", lambda v: v.update(statistics={}))), "stat"),
    "a truncated model": (predict(cut("model-float32.onnx")), "model-float32.onnx"),
    "a missing model": (predict(remove("model-float32.tflite")), "model-float32.tflite"),
    "a model that is a link": (predict(link), "link"),
    "a missing golden.npz": (predict(remove("golden.npz")), "golden.npz"),
    "an unknown variant": (lambda p: ["predict", p.bundle, p.folder, "--variant", "int4"], "onnx-float32"),
    "no such image": (predict_image(lambda place: place.folder / "nothing.png"), "nothing.png"),
    "a folder without images": (predict_image(lambda place: place.folder), "no images"),
    "text for an image": (predict_image(lambda place: place.write("x.png", "hello")), "x.png"),
    "a truncated array": (predict_image(lambda place: place.write("x.npy", b"\x93NUMPY\x01\x00")), "x.npy"),
    "an array of another shape": (array(np.zeros((2, 3, 4, 5, 6), np.uint8)), "shape"),
    "an array that is not a number": (array(np.full((28, 28), np.nan)), "nan"),
    "a pickled array": (array(np.array([Evil()], dtype=object), allow_pickle=True), "x.npy"),
    "two formats for one stdout": (lambda p: ["predict", p.bundle, p.folder, "--csv", "--json"], "--csv"),
    "no input": (lambda place: ["predict", place.bundle], "input"),
}


def two_inputs(place: Place) -> Path:
    """An ONNX model of someone else's: it adds two vectors."""
    from onnx import TensorProto, helper

    names = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "abc"]
    graph = helper.make_graph([helper.make_node("Add", ["a", "b"], ["c"])], "g", names[:2], names[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return place.write("foreign.onnx", model.SerializeToString())


def external_data(place: Place) -> Path:
    """An ONNX model that wants to read a file elsewhere."""
    from onnx import TensorProto, helper

    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="../../etc/passwd")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "ab"]
    graph = helper.make_graph([helper.make_node("Add", ["a", "w"], ["b"])], "g", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return place.write("foreign.onnx", model.SerializeToString())


def cut_tflite(place: Place) -> Path:
    return place.write("cut.tflite", (place.bundle / "model-float32.tflite").read_bytes()[:2000])


def on(command: str, make: Callable[[Place], Path], *more: object) -> Callable[[Place], Arguments]:
    return lambda place: [command, make(place), *more]


def bundle_of(place: Place) -> Path:
    return place.bundle


FILES = {
    "profile nothing": (on("profile", lambda place: place.folder / "nothing.onnx"), "does not exist"),
    "profile a picture": (on("profile", lambda place: place.write("a.png", "x")), "expected"),
    "profile a run": (on("profile", lambda place: place.run), "bundle"),
    "profile a foreign model": (on("profile", two_inputs), "inputs"),
    "profile external data": (on("profile", external_data), "external data"),
    "profile garbage": (on("profile", lambda place: place.write("a.onnx", b"\x07" * 999)), "a.onnx"),
    "profile an empty file": (on("profile", lambda place: place.write("a.tflite", b"")), "empty"),
    "profile a truncated tflite": (on("profile", cut_tflite, "--quick"), "cut.tflite"),
    "profile an unknown variant": (on("profile", bundle_of, "--variant", "int4"), "int4"),
    "profile with threads in words": (on("profile", bundle_of, "--threads", "all"), "all"),
    "profile with no threads": (on("profile", bundle_of, "--threads", "0"), "threads"),
    "a report over a file": (
        lambda place: ["profile", place.bundle, "--csv", place.write("report.csv", "precious")],
        "--force",
    ),
    "a report onto a folder": (lambda place: ["profile", place.bundle, "--json", place.folder], "folder"),
    "two reports on one stdout": (on("profile", bundle_of, "--json", "-", "--csv", "-"), "stdout"),
    "evaluate a bare file": (on("evaluate", two_inputs), "--dataset"),
    "evaluate a foreign model": (on("evaluate", two_inputs, "--dataset", "phantoms"), "inputs"),
    "evaluate a truncated tflite": (on("evaluate", cut_tflite, "--dataset", "phantoms"), "cut.tflite"),
    "evaluate on other classes": (on("evaluate", bundle_of, "--dataset", "organamnist"), "organamnist"),
    "evaluate on an unknown split": (on("evaluate", bundle_of, "--split", "all"), "all"),
    "evaluate a variant of a run": (on("evaluate", lambda place: place.run, "--variant", "x"), "variant"),
    "inspect garbage": (
        on("inspect", lambda place: place.write("a.tflite", b"\x00" * 4 + b"TFL3" + b"\xff" * 99)),
        "a.tflite",
    ),
    "inspect a run": (on("inspect", lambda place: place.run), "expected"),
    "inspect an unknown variant": (on("inspect", bundle_of, "--variant", "int4"), "int4"),
    "a picture over a file": (
        lambda place: ["inspect", place.bundle, "--picture", place.write("p.png", "precious")],
        "--force",
    ),
    "report on a bundle": (on("report", bundle_of), "report"),
    "report on what is no report": (lambda place: ["report", place.write("a.json", "{}")], "a.json"),
    "report on a cut file": (lambda place: ["report", place.write("a.json", '{"name": "x')], "not valid JSON"),
    "compare one thing": (on("compare", bundle_of), "two"),
    "compare things of different kinds": (lambda place: ["compare", place.bundle, place.run], "kinds"),
    "compare what is no report": (
        lambda place: ["compare", place.write("a.json", "{}"), place.write("b.json", "[]")],
        "a.json",
    ),
    "an unknown command": (lambda place: ["quantize", place.bundle], "quantize"),
    "an unknown option": (on("export", lambda place: place.run, "--quantise"), "--quantize"),
}

CASES = {**EXPERIMENTS, **DATA, **RUNS, **BUNDLES, **FILES}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_clear_line_and_changes_nothing(name: str, place: Place) -> None:
    make, word = CASES[name]
    arguments = make(place)
    before = files_under(place.folder)
    outcome = run_cli(*arguments)
    assert_one_clear_line(outcome, word)
    assert files_under(place.folder) == before
    assert not (Path(tempfile.gettempdir()) / "edgelnn-was-fooled").exists()


def test_there_are_at_least_forty_cases() -> None:
    assert len(CASES) >= 40


# --- what the system refuses ---------------------------------------------------------------------------------------


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be nobody for a while, where we are root: root may read and write everything."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach: pytest's own are the user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="edgelnn-test-"))
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def run_unprivileged(*arguments: object) -> object:
    # Once as ourselves, so that everything is imported: our own modules may lie where nobody may read.
    run_cli("train", "phantoms", "--dry-run")
    with unprivileged():
        return run_cli(*arguments)


@pytest.mark.parametrize("command", ["train", "export", "profile"])
def test_a_folder_without_permission_to_write(command: str, open_folder: Path, place: Place) -> None:
    run, bundle = open_folder / "run", open_folder / "bundle"
    shutil.copytree(place.run, run)
    shutil.copytree(place.bundle, bundle)
    closed = open_folder / "closed"
    closed.mkdir(mode=0o555)
    arguments: dict[str, Arguments] = {
        "train": ["train", "phantoms", "--epochs", "1", "--out", closed / "out"],
        "export": ["export", run, "--format", "tflite", "--out", closed / "out"],
        "profile": ["profile", bundle, "--quick", "--csv", closed / "report.csv"],
    }
    before = files_under(open_folder)
    assert_one_clear_line(run_unprivileged(*arguments[command]), "permission", str(closed), code=[1])
    assert files_under(open_folder) == before


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
def test_a_file_without_permission_to_read(command: str, open_folder: Path, place: Place) -> None:
    run, bundle = open_folder / "run", open_folder / "bundle"
    shutil.copytree(place.run, run)
    shutil.copytree(place.bundle, bundle)
    closed = open_folder / "closed.npz"
    np.savez(closed, **arrays())
    closed.chmod(0)
    arguments: dict[str, Arguments] = {
        "train": ["train", "phantoms", "--data", closed, "--out", open_folder / "out"],
        "predict": ["predict", bundle, closed],
        "evaluate": ["evaluate", run, "--dataset", closed],
    }
    assert_one_clear_line(run_unprivileged(*arguments[command]), "closed.npz", "permission", code=[1])
    closed.chmod(0o644)


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Let the system refuse to make files larger than this, as it does where a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_takes_no_more_leaves_no_bundle(place: Place) -> None:
    before = files_under(place.folder)
    with largest_file(2000):
        outcome = run_cli("export", place.run, "--format", "tflite", "--out", place.folder / "out")
    assert_one_clear_line(outcome, str(place.folder / "out"), code=[1])
    assert files_under(place.folder) == before


def test_a_full_disk_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(_descriptor: int, _data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        outcome = run_cli("train", "phantoms", "--epochs", "1", "--out", place.folder / "out")
    assert_one_clear_line(outcome, "no space left", code=[1])
    assert files_under(place.folder) == {}


def test_pickle_would_have_run_the_code_that_was_refused() -> None:
    """The trap in the pickled cases is a real one."""
    trace = Path(tempfile.gettempdir()) / "edgelnn-was-fooled"
    pickle.loads(pickle.dumps(Evil()))
    assert trace.is_dir()
    trace.rmdir()
