"""A bundle's predict.py: it stands alone, answers as the runtimes do, and says what is wrong with an input."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from edgelnn_export.parity import answer
from edgelnn_profiling import load_runtime

HOOK = """
import builtins, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"edgelnn", "edgelnn_export", "edgelnn_profiling", "torch", "onnx", "pydantic"}:
            raise ImportError(f"{name} is not for predict.py")
sys.meta_path.insert(0, Refuse())
import runpy
sys.argv = sys.argv[1:]
sys.path.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_predict(folder, *arguments, cwd=None):
    command = [sys.executable, "-c", HOOK, str(folder / "predict.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd or folder)


def test_predict_needs_nothing_of_ours(tiny_bundle, tiny_run, tmp_path):
    from PIL import Image

    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "elsewhere")
    images = tiny_run.load_dataset()["test"].images[:3]
    Image.fromarray(images[0, ..., 0]).save(tmp_path / "a.png")
    Image.fromarray(images[0, ..., 0]).convert("RGB").resize((56, 56)).save(tmp_path / "large.jpg")
    np.save(tmp_path / "three.npy", images)
    np.savez(tmp_path / "three.npz", images=images)
    names = ("a.png", "large.jpg", "three.npy", "three.npz")
    for variant in tiny_bundle.manifest.variants:
        done = run_predict(folder, "--variant", variant.name, *(tmp_path / name for name in names))
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == 8
        expected = answer(
            load_runtime(tiny_bundle.path(variant)), images, tiny_bundle.manifest.preprocessing, variant.layout
        )
        shown = [f"malignant {row[0]:.4f}  normal, benign {row[1]:.4f}" for row in expected]
        assert shown[0] in lines[0]
        assert all(words in line for words, line in zip([*shown, *shown], lines[2:], strict=True))
        answers = [line.partition(": ")[2].partition("  (")[0] for line in lines[2:5]]
        assert answers == ["malignant" if row[1] <= 0.5 else "normal, benign" for row in expected]
        assert "synthetic" in done.stderr


def test_predict_checks_the_golden_answers(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "b")
    for variant in tiny_bundle.manifest.variants:
        done = run_predict(folder, "--check", "--variant", variant.name)
        assert done.returncode == 0, done.stderr + done.stdout
        assert done.stdout.rstrip().endswith("good")
    golden = dict(np.load(folder / "golden.npz"))
    np.savez(folder / "golden.npz", images=golden["images"], probabilities=golden["probabilities"][:, ::-1])
    done = run_predict(folder, "--check")
    assert done.returncode == 1
    assert "NOT GOOD" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name at least one image"),
        (["--variant", "x", "a.png"], "got --variant x; there are onnx-float32"),
        (["missing.png"], "missing.png is not a file"),
        (["text.png"], "cannot be read as images"),
        (["broken.npy"], "cannot be read as images"),
        (["objects.npy"], "cannot be read as images"),
        (["small.npy"], "got (5, 5, 1) uint8; the model takes images (28, 28, 1)"),
        (["floats.npy"], "got (28, 28, 1) float64"),
        (["deep.png"], "convert it to 8 bits first"),
    ],
)
def test_predict_says_what_is_wrong_with_an_input(tiny_bundle, tmp_path, arguments, words):
    from PIL import Image

    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "small.npy", np.zeros((5, 5), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((28, 28)))
    Image.fromarray(np.zeros((28, 28), np.uint16)).save(tmp_path / "deep.png")
    done = run_predict(tiny_bundle.folder, *arguments, cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
