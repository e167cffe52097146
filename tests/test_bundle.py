"""Bundle.load, the manifest and golden.npz on good and hostile folders."""

import copy
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgelnn.bundle import Bundle, Manifest
from edgelnn.errors import BundleError, EdgelnnError
from edgelnn_export.golden import npz_bytes
from tests.helpers import HEAVY, modules_loaded_by
from tests.small_bundle import linear_answers, make_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture
def folder(made, tmp_path):
    """A fresh copy of the bundle's folder, to spoil."""
    return shutil.copytree(made.folder, tmp_path / "b")


def edit_manifest(folder: Path, change) -> None:
    value = json.loads((folder / "manifest.json").read_text())
    change(value)
    (folder / "manifest.json").write_text(json.dumps(value))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        Bundle.load(folder).golden()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def test_loads_what_was_written(made):
    assert [variant.name for variant in made.manifest.variants] == ["onnx-float32", "tflite-float32"]
    assert made.variant().name == made.manifest.recommended == "onnx-float32"
    assert made.path(made.variant("tflite-float32")).suffix == ".tflite"
    images, answers = made.golden()
    assert images.shape == (4, 8, 8, 1)
    np.testing.assert_allclose(answers, linear_answers(images, made.manifest.preprocessing, 2), atol=1e-7)
    with pytest.raises(BundleError, match=r"got variant 'x'; .* has onnx-float32, tflite-float32"):
        made.variant("x")


def test_manifest_survives_the_round_trip(made):
    text = made.manifest.to_json()
    assert Manifest.from_json(text) == made.manifest
    assert Manifest.from_json(text).to_json() == text


def test_model_files_of_the_helper_run(made):
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    images, answers = made.golden()
    path = made.path(made.variant("onnx-float32"))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = session.run(None, {"image": made.manifest.preprocessing(images)})[0]
    np.testing.assert_allclose(got, answers, atol=1e-6)
    interpreter = Interpreter(model_path=str(made.path(made.variant("tflite-float32"))))
    interpreter.allocate_tensors()
    for image, answer in zip(made.manifest.preprocessing(images, "channels_last"), answers, strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        np.testing.assert_allclose(got, answer, atol=1e-6)


def test_a_board_needs_nothing_heavy_to_read_one(made):
    code = f"import edgelnn.bundle; edgelnn.bundle.Bundle.load({str(made.folder)!r}).golden()"
    assert not modules_loaded_by(code) & set(HEAVY)


def set_at(path: str, value):
    *parents, last = path.split(".")

    def change(manifest):
        for key in parents:
            manifest = manifest[int(key) if key.isdigit() else key]
        manifest[int(last) if last.isdigit() else last] = value

    return change


NAN = float("nan")
WRONG_VALUES = [  # field, value, words the message must hold
    ("recommended", "onnx-int9", "recommended is onnx-int9"),
    ("recommended", None, "recommended is None; expected text"),
    ("task", "regression", "task is 'regression'; expected 'binary-class'"),
    ("class_names", [], "class_names"),
    ("class_names", ["a", "a"], "class_names"),
    ("class_names", ["a", ""], "class_names"),
    ("class_names", ["a", "b", "c"], "two for a binary-class task"),
    ("class_names", ["a", "\x1b[2J"], "without control characters"),
    ("class_names", ["a", "b\nc"], "class_names"),
    ("class_names", "ab", "expected a list"),
    ("positive_class", 2, "positive_class is 2; expected null or 0 to 1"),
    ("positive_class", -1, "positive_class"),
    ("positive_class", True, "positive_class is True; expected a whole number"),
    ("positive_class", 1.0, "positive_class is 1.0; expected a whole number"),
    ("threshold", 1.5, "threshold"),
    ("threshold", NAN, "holds NaN"),
    ("threshold", float("inf"), "holds Infinity"),
    ("synthetic", 1, "synthetic is 1; expected true or false"),
    ("output_kind", "sigmoid", "variants[0].output.shape"),
    ("format_version", 0, "format_version"),
    ("format_version", "1", "format_version"),
    ("format_version", 2, "Update it"),
    ("versions", ["edgelnn"], "versions"),
    ("versions", {"edgelnn": 1}, "versions.edgelnn is 1; expected text"),
    ("statistics", {"mean": "grey"}, "statistics.mean"),
    ("preprocessing.std", 0, "preprocessing.std"),
    ("preprocessing.image_shape", [8, 8], "preprocessing.image_shape"),
    ("preprocessing.image_shape", [8, 8, 10**30], "preprocessing.image_shape"),
    ("preprocessing.image_shape", [8, -8, 1], "preprocessing.image_shape"),
    ("preprocessing.image_shape", [8, 9, 1], "variants[0].input.shape"),
    ("model", None, "model is None; expected an object"),
    ("model.macs", "many", "model.macs"),
    ("golden.file", "../golden.npz", "no folders"),
    ("golden.images", 5, "expected (5, 8, 8, 1)"),
    ("golden.images", 0, "golden.images"),
    ("golden.images", 10**12, "golden.images"),
    ("golden.size_bytes", 1, "the manifest says 1"),
    ("golden.sha256", "0" * 64, "another sha256"),
    ("golden.sha256", "xyz", "64 hexadecimal digits"),
    ("variants", [], "variants is empty"),
    ("variants", {}, "expected a list"),
    ("variants.0", None, "variants[0] is None"),
    ("variants.0.name", "tflite-float32", "a variant's name"),
    ("variants.0.name", "ONNX float32\n", "variants[0].name"),
    ("variants.0.format", "pt", "variants[0].format is 'pt'; expected 'onnx' or 'tflite'"),
    ("variants.0.format", "tflite", "variants[0].file"),
    ("variants.0.file", "/etc/passwd", "no folders"),
    ("variants.0.file", "../b/model-float32.onnx", "no folders"),
    ("variants.0.file", "sub\\model.onnx", "no folders"),
    ("variants.0.file", "C:model.onnx", "no folders"),
    ("variants.0.file", "..", "no folders"),
    ("variants.0.file", ".onnx", "no folders"),
    ("variants.0.file", "model\x00.onnx", "without control characters"),
    ("variants.0.file", "other.onnx", "is missing; the manifest names it"),
    ("variants.0.file", "x" * 5000 + ".onnx", "no folders"),
    ("variants.1.file", "MODEL-FLOAT32.onnx", "variants[1].file"),
    ("variants.0.size_bytes", 10, "the manifest says 10"),
    ("variants.0.size_bytes", -1, "1 byte to 2 GiB"),
    ("variants.0.size_bytes", 2.5, "a whole number"),
    ("variants.0.sha256", "f" * 64, "another sha256"),
    ("variants.0.layout", "nchw", "variants[0].layout"),
    ("variants.0.layout", "channels_last", "variants[0].input.shape"),
    ("variants.0.input.shape", [-1, 1, 9, 8], "variants[0].input.shape"),
    ("variants.0.input.shape", [4, 1, 8, 8], "variants[0].input.shape"),
    ("variants.0.input.dtype", "float64", "variants[0].input.dtype"),
    ("variants.0.output.shape", [-1, 3], "variants[0].output.shape"),
    ("variants.0.tolerance", "small", "variants[0].tolerance"),
    ("variants.0.parity_max_error", -1, "variants[0].parity_max_error"),
    ("variants.0.validation", {"auc": NAN}, "holds NaN"),
    ("variants.0.validation", {"auc": None}, "variants[0].validation.auc"),
    ("rejected", [{"name": "x"}], "rejected[0] lacks"),
]


@pytest.mark.parametrize(
    ("where", "value", "words"), WRONG_VALUES, ids=[f"{row[0]}={row[1]!s:.30}" for row in WRONG_VALUES]
)
def test_refuses_a_manifest_that_makes_no_sense(folder, where, value, words):
    edit_manifest(folder, set_at(where, value))
    assert words in refusal(folder)


MAY_BE_MISSING = {"crop", "max_bytes", "splits"}  # fields that are None unless told otherwise


def test_refuses_missing_and_unknown_fields(made):
    text = made.manifest.to_json()

    def walk(value, path=()):
        if isinstance(value, dict):
            yield path
            for key, item in value.items():
                yield from walk(item, (*path, key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                yield from walk(item, (*path, index))

    free = {"statistics", "dataset", "parameters", "versions", "validation", "test", "references", "costs"}  # any keys
    objects = [path for path in walk(json.loads(text)) if not path or path[-1] not in free]
    assert len(objects) >= 9
    for path in objects:
        spoiled = json.loads(text)
        target = spoiled
        for key in path:
            target = target[key]
        target["surprise"] = 1
        with pytest.raises(BundleError, match="holds 'surprise', which is not a field"):
            Manifest.from_json(json.dumps(spoiled))
        del target["surprise"]
        for key in list(target):
            if key in MAY_BE_MISSING:
                continue
            kept = target.pop(key)
            with pytest.raises(BundleError, match=f"lacks '{key}'"):
                Manifest.from_json(json.dumps(spoiled))
            target[key] = kept


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[]", "expected an object"),
        (b"null", "expected an object"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b"[" * 100_000, "not valid"),
        (b'{"format_version": 1, "format_version": 1}', "names a field twice"),
        (b'{"format_version": 99, "anything": 1}', "format_version 99"),
        (b'{"threshold": 1e999}', "lacks"),
        (b'{"format_version": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"PK\x03\x04", "not valid JSON"),
    ],
)
def test_refuses_a_text_that_is_no_manifest(folder, text, words):
    (folder / "manifest.json").write_bytes(text)
    assert words in refusal(folder)


def test_refuses_a_number_too_large_to_be_one(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"threshold": 0.5', '"threshold": 1e999'))
    assert "threshold is inf; expected a finite number" in refusal(folder)
    (folder / "manifest.json").write_text(text.replace('"threshold": 0.5', '"threshold": 1e300'))
    assert "threshold is 1e+300; expected a number of 1e+30 at most" in refusal(folder)
    (folder / "manifest.json").write_text(text.replace('"positive_class": 0', f'"positive_class": {2**80}'))
    assert "expected a whole number of 64 bits" in refusal(folder)


def test_refuses_a_truncated_manifest_at_every_length(folder):
    whole = (folder / "manifest.json").read_bytes().rstrip()
    for length in range(0, len(whole), 97):
        with pytest.raises(BundleError):
            Manifest.from_json(whole[:length])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(data=st.data())
def test_any_flipped_byte_is_refused_or_harmless(made, data):
    """A damaged manifest either reads as a manifest or raises our error, never another one."""
    text = bytearray(made.manifest.to_json().encode())
    for position in data.draw(st.lists(st.integers(0, len(text) - 1), min_size=1, max_size=4)):
        text[position] = data.draw(st.integers(0, 255))
    try:
        Manifest.from_json(bytes(text))
    except EdgelnnError as error:
        assert isinstance(error, BundleError)  # noqa: PT017 - reading it is allowed to succeed


def test_refuses_folders_that_are_none(tmp_path, folder):
    assert "expected the folder of a bundle" in refusal(tmp_path / "nothing")
    assert "expected the folder of a bundle" in refusal(folder / "golden.npz")
    (tmp_path / "empty").mkdir()
    assert "is this the folder of a bundle?" in refusal(tmp_path / "empty")
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    assert "manifest.json cannot be read: Is a directory" in refusal(folder)


def test_refuses_absent_truncated_and_altered_files(folder, made):
    for name in ("model-float32.onnx", "model-float32.tflite", "golden.npz"):
        whole = (folder / name).read_bytes()
        (folder / name).unlink()
        assert f"{name} is missing" in refusal(folder)
        (folder / name).write_bytes(whole[:-1])
        assert f"the manifest says {len(whole):,}" in refusal(folder)
        (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert "another sha256" in refusal(folder)
        (folder / name).write_bytes(whole)
    assert Bundle.load(folder).manifest == made.manifest


def test_refuses_links_even_to_the_right_bytes(folder, tmp_path):
    for name in ("model-float32.onnx", "golden.npz", "manifest.json"):
        outside = tmp_path / "outside"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(outside)
        assert "is a link" in refusal(folder)
        (folder / name).unlink()
        shutil.move(outside, folder / name)


def test_does_not_wait_on_a_pipe(folder):
    (folder / "model-float32.onnx").unlink()
    os.mkfifo(folder / "model-float32.onnx")
    assert "not a regular file" in refusal(folder)


def test_says_that_a_file_may_not_be_read(folder):
    """As an unprivileged user: root reads everything."""
    code = (
        "import os, sys\n"
        "from edgelnn.bundle import Bundle\n"
        "from edgelnn.errors import BundleError\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: Bundle.load(sys.argv[1])\n"
        "except BundleError as error: print(error)\n"
    )
    (folder / "manifest.json").chmod(0)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert "manifest.json cannot be read: Permission denied" in done.stdout


def swap_golden(folder: Path, data: bytes) -> None:
    """Put other bytes in place of golden.npz, and a manifest that vouches for them."""
    (folder / "golden.npz").write_bytes(data)
    facts = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    edit_manifest(folder, lambda manifest: manifest["golden"].update(facts))


def golden_arrays(made: Bundle):
    images, probabilities = made.golden()
    return {"images": images.copy(), "probabilities": probabilities.copy()}


def test_refuses_golden_arrays_that_do_not_fit(folder, made):
    good = golden_arrays(made)
    wrong = {
        "lacks probabilities": {"images": good["images"]},
        "images is (4, 8, 8, 1) int32": {**good, "images": good["images"].astype(np.int32)},
        "images is (4, 8, 8)": {**good, "images": good["images"][..., 0]},
        "probabilities is (3, 2)": {**good, "probabilities": good["probabilities"][:3]},
        "probabilities is (4, 2) float64": {**good, "probabilities": good["probabilities"].astype(np.float64)},
        "not finite": {**good, "probabilities": good["probabilities"] * np.float32(np.nan)},
    }
    for words, arrays in wrong.items():
        swap_golden(folder, npz_bytes(arrays))
        assert words in refusal(folder)


def test_never_unpickles_golden(folder, made, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    arrays = {**golden_arrays(made), "probabilities": np.array([Trap()], dtype=object)}
    np.savez(tmp_path / "pickled.npz", **arrays)
    swap_golden(folder, (tmp_path / "pickled.npz").read_bytes())
    assert "pickled" in refusal(folder)
    assert not (tmp_path / "sprung").exists()


def test_refuses_damaged_and_bomb_like_golden(folder, made, tmp_path):
    whole = npz_bytes(golden_arrays(made))
    swap_golden(folder, whole[: len(whole) // 2])
    assert "golden.npz" in refusal(folder)
    swap_golden(folder, b"not a zip file at all")
    assert "golden.npz" in refusal(folder)
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF  # inside the first array: the archive's checksum notices
    swap_golden(folder, bytes(flipped))
    assert "golden.npz" in refusal(folder)
    bomb = tmp_path / "bomb.npz"
    header = (
        b"\x93NUMPY\x01\x00v\x00"
        + str({"descr": "|u1", "fortran_order": False, "shape": (1 << 40,)}).encode().ljust(117)
        + b"\n"
    )
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", header + bytes(1 << 20))
        archive.writestr("probabilities.npy", header + bytes(1 << 20))
    swap_golden(folder, bomb.read_bytes())
    assert "golden.npz" in refusal(folder)


def test_npz_bytes_depend_on_the_arrays_alone(made, tmp_path):
    arrays = golden_arrays(made)
    first = npz_bytes(arrays)
    assert first == npz_bytes(copy.deepcopy(arrays))
    (tmp_path / "a.npz").write_bytes(first)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name], array)


def test_a_manifest_without_sense_is_not_written(made):
    with pytest.raises(BundleError, match="recommended is gone"):
        replace(made.manifest, recommended="gone").to_json()
    with pytest.raises(BundleError, match="finite"):
        replace(made.manifest, statistics={"mean": NAN}).to_json()


def test_one_number_per_image_where_a_binary_task_ends_in_a_sigmoid(made):
    first = made.manifest.variants[0]
    one = replace(first, output=replace(first.output, shape=(-1, 1)))
    manifest = replace(made.manifest, output_kind="sigmoid", variants=(one,))
    assert manifest.outputs == 1
    assert Manifest.from_json(manifest.to_json()) == manifest
