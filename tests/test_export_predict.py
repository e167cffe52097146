"""A bundle's predict.py: it stands alone, answers as the runtimes do, and says what is wrong with an input."""

import importlib.util
import io
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgelnn_export
from edgelnn.contour_crop import ContourCrop, contour_box
from edgelnn.errors import DataError
from edgelnn.inputs import load_inputs
from edgelnn_export.documents import predict_source
from edgelnn_export.parity import answer
from edgelnn_profiling import load_runtime
from edgelnn_profiling.parity import allowed_error

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


@pytest.fixture(scope="module")
def predict():
    """The script as a module, with the function that crops in it."""
    module = load_script(Path(edgelnn_export.__file__).parent / "templates" / "predict.py")
    module.contour_box = contour_box
    return module


def load_script(path):
    spec = importlib.util.spec_from_file_location("predict_of_a_bundle", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_predict_needs_nothing_of_ours(tiny_bundle, tiny_run, tmp_path):
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


# The same pixels as in training and in `edgelnn predict`


def grey(height=11, width=13, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def colored(channels=3, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (11, 13, channels), dtype=np.uint8)


def image_files():
    """Name, image and how it is saved, of every mode that a PNG has, transparent and not, and some of other formats."""
    half = np.where(np.arange(13) < 6, grey(), 255).astype(np.uint8)  # the right half is white
    palette = Image.fromarray(colored()).quantize(16)
    deep = (grey().astype(np.uint16) * 257) + 100
    deep[:, 6:] = 65535
    turned = Image.Exif()
    turned[0x0112] = 6
    return [
        ("1.png", Image.fromarray(half).convert("1"), {}),
        ("1-clear.png", Image.fromarray(half).convert("1"), {"transparency": 1}),
        ("L.png", Image.fromarray(half), {}),
        ("L-clear.png", Image.fromarray(half), {"transparency": 255}),
        ("L-clear.gif", Image.fromarray(half), {"transparency": 255}),
        ("LA.png", Image.fromarray(colored(2)), {}),
        ("P.png", palette, {}),
        ("P-clear.png", palette, {"transparency": 3}),
        ("P-half.png", palette, {"transparency": bytes(range(0, 256, 16))}),
        ("P-clear.gif", palette, {"transparency": 0}),
        ("RGB.png", Image.fromarray(colored()), {}),
        ("RGB-clear.png", Image.fromarray(colored()), {"transparency": tuple(colored()[2, 3].tolist())}),
        ("RGB-grey.png", Image.fromarray(grey()).convert("RGB"), {}),
        ("RGBA.png", Image.fromarray(colored(4)), {}),
        ("I16.png", Image.fromarray(deep), {}),
        ("I16-clear.png", Image.fromarray(deep), {"transparency": 65535}),
        ("I16.tiff", Image.fromarray(deep), {}),
        ("CMYK.jpg", Image.fromarray(colored()).convert("CMYK"), {}),
        ("turned.jpg", Image.fromarray(colored()), {"exif": turned}),
        ("one.tiff", Image.fromarray(colored()), {}),
        ("RGBA.webp", Image.fromarray(colored(4)), {"lossless": True}),
    ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "image", "options"), image_files(), ids=[each[0] for each in image_files()])
def test_predict_makes_the_pixels_that_training_makes(predict, tmp_path, name, image, options, channels):
    image.save(tmp_path / name, **options)
    for shape in ((11, 13, channels), (8, 8, channels)):
        ((label, found),) = predict.load_pixels(tmp_path / name, shape, None)
        assert label == name
        assert np.array_equal(found, load_inputs(tmp_path / name, image_shape=shape).images[0])
    rules = {"threshold": 45, "margin": 1, "least_area": 0.05}
    ((_, found),) = predict.load_pixels(tmp_path / name, (8, 8, channels), rules)
    ours = load_inputs(tmp_path / name, image_shape=(8, 8, channels), crop=ContourCrop(**rules))
    assert np.array_equal(found, ours.images[0])
    if name.startswith(("1", "L", "I16")) and not name.startswith("LA"):
        ((_, found),) = predict.load_pixels(tmp_path / name, (11, 13, channels), None)
        assert found[:, 6:].any() == ("clear" not in name)


@pytest.mark.parametrize(
    ("arrays", "chosen"),
    [
        ({"masks": grey(8, 8, 1), "images": grey(8, 8, 2), "test_images": grey(8, 8, 3)}, 2),
        ({"labels": np.arange(3), "test_images": grey(8, 8, 3)}, 3),
        ({"whatever": grey(8, 8, 4)}, 4),
    ],
)
def test_predict_takes_the_array_that_edgelnn_takes(predict, tmp_path, arrays, chosen):
    np.savez(tmp_path / "x.npz", **arrays)
    ((_, found),) = predict.load_pixels(tmp_path / "x.npz", (8, 8, 1), None)
    assert np.array_equal(found[..., 0], grey(8, 8, chosen))
    assert np.array_equal(found, load_inputs(tmp_path / "x.npz", image_shape=(8, 8, 1)).images[0])


def write_bad_files(folder):
    """Files that hold no image, or not one."""
    pages = [Image.fromarray(grey(seed=seed)) for seed in range(3)]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])
    pages[0].save(folder / "moving.gif", save_all=True, append_images=pages[1:])
    Image.fromarray(colored()).save(folder / "x.eps")
    (folder / "x.eps").rename(folder / "e.png")
    (folder / "text.png").write_text("no image")
    (folder / "cut.png").write_bytes(png_bytes(grey(90, 90))[:400])
    (folder / "nothing.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(declaring(png_bytes(grey()), 40_000, 40_000))
    (folder / "large.png").write_bytes(declaring(png_bytes(grey()), 10_000, 10_000))
    Image.fromarray(grey().astype(np.uint16)).save(folder / "deep.png")
    (folder / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00")
    (folder / "nothing.npy").write_bytes(b"")
    np.save(folder / "none.npy", np.zeros((0, 28, 28), np.uint8))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.savez(folder / "two.npz", one=grey(28, 28), other=grey(28, 28))
    with zipfile.ZipFile(folder / "nothing.npz", "w"):
        pass
    with zipfile.ZipFile(folder / "text.npz", "w") as archive:
        archive.writestr("images", "no array")
    np.savez(folder / "whole.npz", images=grey(28, 28))
    (folder / "cut.npz").write_bytes((folder / "whole.npz").read_bytes()[:300])


def png_bytes(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def declaring(png, width, height):
    """A PNG whose header promises other sides than it has."""
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + png[24:29]
    return png[:12] + header + zipfile.crc32(header).to_bytes(4, "big") + png[33:]


def test_predict_and_a_profile_allow_the_same_differences(tmp_path):
    (tmp_path / "predict.py").write_bytes(predict_source())
    allowed = runpy.run_path(str(tmp_path / "predict.py"))["allowed_error"]
    for tolerance in (None, 0.0, 1e-5):
        for error in (0.0, 3e-6, 0.01, 0.04, 0.3):
            variant = {"tolerance": tolerance, "parity_max_error": error}
            assert allowed(variant) == allowed_error(tolerance, error)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name at least one image"),
        (["--variant", "x", "a.png"], "got --variant x; there are onnx-float32"),
        (["missing.png"], "missing.png is not a file"),
        (["text.png"], "text.png: cannot be read as images: cannot identify image file"),
        (["cut.png"], "cut.png: cannot be read as images"),
        (["nothing.png"], "nothing.png: cannot be read as images"),
        (["e.png"], "e.png: cannot be read as images: cannot identify image file"),
        (["huge.png"], "huge.png: cannot be read as images: Image size (1600000000 pixels) exceeds limit"),
        (["large.png"], "large.png: declares 10000x10000 pixels; at most 50000000 are opened"),
        (["pages.tif"], "pages.tif: holds 3 images; expected one"),
        (["moving.gif"], "moving.gif: holds 3 images; expected one"),
        (["broken.npy"], "cannot be read as images"),
        (["nothing.npy"], "nothing.npy: cannot be read as images: No data left in file"),
        (["none.npy"], "none.npy: holds no pixels, but an array of shape (0, 28, 28"),
        (["objects.npy"], "cannot be read as images"),
        (["cut.npz"], "cut.npz: cannot be read as images"),
        (["nothing.npz"], "nothing.npz: holds nothing; expected an array named images, or a single one"),
        (["two.npz"], "two.npz: holds one, other; expected an array named images, or a single one"),
        (["text.npz"], "text.npz: got () |S8; the model takes images (28, 28, 1)"),
        (["small.npy"], "got (5, 5, 1) uint8; the model takes images (28, 28, 1)"),
        (["floats.npy"], "got (28, 28, 1) float64"),
        (["deep.png"], "deep.png: has values from 0 to 249; convert it to 8 bits, all images alike"),
    ],
)
def test_predict_says_what_is_wrong_with_an_input(tiny_bundle, tmp_path, monkeypatch, capsys, arguments, words):
    write_bad_files(tmp_path)
    np.save(tmp_path / "small.npy", np.zeros((5, 5), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((28, 28)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["predict.py", *arguments])
    with pytest.raises(SystemExit) as caught:
        load_script(tiny_bundle.folder / "predict.py").main()
    shown = capsys.readouterr()
    said = shown.err if caught.value.code == 2 else str(caught.value)
    assert words in said
    assert caught.value.code == 2 or "\n" not in said
    assert not shown.out


def test_what_is_wrong_is_said_in_one_line(tiny_bundle, tmp_path):
    write_bad_files(tmp_path)
    done = run_predict(tiny_bundle.folder, "nothing.npy", cwd=tmp_path)
    assert done.returncode == 1
    assert not done.stdout
    assert done.stderr.splitlines()[-1] == "nothing.npy: cannot be read as images: No data left in file"
    assert "Traceback" not in done.stderr


def test_what_edgelnn_refuses_predict_refuses(predict, tmp_path):
    write_bad_files(tmp_path)
    (tmp_path / "whole.npz").unlink()
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(DataError):
            load_inputs(path, image_shape=(28, 28, 1))
        with pytest.raises((Exception, SystemExit)):
            predict.load_pixels(path, (28, 28, 1), None)
