#!/usr/bin/env python3
"""Ask the model in this folder what it sees in images.

    python predict.py IMAGE...             image files (needs Pillow), or arrays of pixels in .npy or .npz files
    python predict.py --check              do the files here still give the answers they were exported with?
    python predict.py --variant NAME ...   another file than the recommended one (names: see manifest.json)

Needs numpy and one runtime: onnxruntime for .onnx files; ai-edge-litert or tflite-runtime for .tflite files.
Everything else it needs to know is in manifest.json. Not a medical device.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # others may start other programs
MAX_PIXELS = 50_000_000
contour_box = None  # replaced by edgelnn/contour_crop.py where the model takes cropped images


def load_model(path):
    """Return a function from one model input (1, …) to its answers (outputs,)."""
    if path.suffix == ".onnx":
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it tells its maker which models it runs
        try:
            import onnxruntime
        except ImportError:
            sys.exit(f"{path.name} needs onnxruntime: pip install onnxruntime, or choose a .tflite file with --variant")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # fastest for networks this small
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {session.get_inputs()[0].name: x})[0][0]
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError:
            sys.exit(f"{path.name} needs LiteRT: pip install ai-edge-litert, or choose an .onnx file with --variant")
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(x):
        interpreter.set_tensor(source, x)
        interpreter.invoke()
        return interpreter.get_tensor(result)[0]

    return run


def preprocess(pixels, manifest, layout):
    """Return one image, ([d,] h, w, c) uint8, as the model takes it: (1, …) float32, or uint8 as it is."""
    rules, x = manifest["preprocessing"], pixels[np.newaxis]
    if rules["input_type"] == "float32":
        mean, std = np.asarray(rules["mean"], np.float32), np.asarray(rules["std"], np.float32)
        x = (x.astype(np.float32) / np.float32(255) - mean) / std
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if layout == "channels_first" else x


def load_pixels(path, shape, crop):
    """Return a list of (name, image) of a file, each image uint8 of the shape that the model takes.

    Image files become pixels as those did that the model was trained on; arrays have to be such pixels.
    """
    if path.suffix.casefold() in (".npy", ".npz"):
        return load_arrays(path, shape)
    if len(shape) == 4:
        sys.exit(f"{path}: this model takes volumes {shape}: give them as .npy or .npz arrays of uint8")
    try:
        from PIL import Image
    except ImportError:
        sys.exit("image files need Pillow: pip install pillow, or give the pixels as a .npy file")
    height, width, channels = shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sizes, which are checked, and of broken metadata, which is not used
        image = open_image(path)
    if crop:
        box = contour_box(np.asarray(image.convert("RGB"), np.uint8), **crop)
        if box is None:
            print(f"{path}: no region brighter than {crop['threshold']} to crop to: used whole", file=sys.stderr)
        else:
            image = image.crop((box[2], box[0], box[3], box[1]))
    image = image.resize((width, height), Image.Resampling.BICUBIC).convert("L" if channels == 1 else "RGB")
    return [(path.name, np.asarray(image, np.uint8).reshape(shape))]


def open_image(path):
    """Return the one picture in a file, upright, of 8 bits (mode L or RGB), transparency laid over black."""
    from PIL import Image, ImageOps

    Image.init()
    with Image.open(path, formats=[kind for kind in FORMATS if kind in Image.OPEN]) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            sys.exit(f"{path}: declares {opened.width}x{opened.height} pixels; at most {MAX_PIXELS} are opened")
        frames = getattr(opened, "n_frames", 1)
        if frames > 1 and opened.format != "MPO":  # MPO: a photograph with a preview
            sys.exit(f"{path}: holds {frames} images; expected one: save each as a file of its own")
        opened.load()
        image = ImageOps.exif_transpose(opened)
    see_through = image.info.get("transparency")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.array(image).astype(np.int64)
        if see_through is not None:
            values[values == see_through] = 0
        # In 8 bits, 12 bits that were written into 16 would be almost black.
        low, high = values.min(), values.max()
        if low < 0 or high > 65535 or 0 < high < 2**14:
            sys.exit(f"{path}: has values from {low} to {high}; convert it to 8 bits, all images alike")
        return Image.fromarray(np.rint(values / 257).astype(np.uint8))
    if image.mode == "F":
        sys.exit(f"{path}: has floating-point pixels; convert it to 8 bits first, all images alike")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or see_through is not None:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image.convert("RGBA"))
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def load_arrays(path, shape):
    """Return the images in a .npy file, or in the array `images`, `test_images` or the only one of an .npz file."""
    with path.open("rb") as file:
        array = np.load(file, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            names = array.files
            name = next((name for name in ("images", "test_images") if name in names), None)
            if name is None and len(names) != 1:
                held = ", ".join(names) or "nothing"
                sys.exit(f"{path}: holds {held}; expected an array named images, or a single one")
            array = np.asarray(array[name or names[0]])
    if shape[-1] == 1 and array.shape[-1:] != (1,):
        array = array[..., np.newaxis]
    if array.ndim == len(shape):
        array = array[np.newaxis]
    if not array.size:
        sys.exit(f"{path}: holds no pixels, but an array of shape {array.shape}")
    if array.dtype != np.uint8 or array.shape[1:] != shape:
        sys.exit(f"{path}: got {array.shape[1:]} {array.dtype}; the model takes images {shape} of uint8, 0 to 255")
    return [(f"{path.name}[{index}]" if len(array) > 1 else path.name, image) for index, image in enumerate(array)]


def by_class(answers, manifest):
    """Return one probability per class: a single sigmoid speaks for class 1 of two."""
    return np.array([1 - answers[0], answers[0]]) if len(answers) == 1 < len(manifest["class_names"]) else answers


def decide(probabilities, manifest):
    """Return the names of the classes decided for."""
    names, threshold = manifest["class_names"], manifest["threshold"]
    if manifest["task"] == "multi-label":
        return [name for name, p in zip(names, probabilities, strict=True) if p > threshold] or ["none"]
    if manifest["task"] == "binary-class":
        last = 1 - threshold if manifest["positive_class"] == 0 else threshold
        return [names[1] if probabilities[1] > last else names[0]]
    return [names[int(np.argmax(probabilities))]]


def allowed_error(variant):
    """Return how far an answer may lie from the recorded one; a quantized file's differ a little between processors."""
    tolerance = variant["tolerance"]
    return tolerance if tolerance is not None else 1.5 * variant["parity_max_error"] + 0.02


def check(run, manifest, variant):
    """Compare the answers to the golden inputs with those recorded; return whether they agree."""
    golden = np.load(HERE / manifest["golden"]["file"], allow_pickle=False)
    answers = np.array([run(preprocess(image, manifest, variant["layout"])) for image in golden["images"]])
    error = float(np.abs(answers - golden["probabilities"]).max())
    allowed = allowed_error(variant)
    print(f"{variant['name']}: largest difference {error:.2e}, at most {allowed:.2e} expected: ", end="")
    print("good" if error <= allowed else "NOT GOOD")
    return error <= allowed


def main():
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE")
    parser.add_argument("--variant", help="name of the file to use, as in manifest.json")
    parser.add_argument("--check", action="store_true", help="compare with the recorded answers")
    options = parser.parse_args()
    manifest = json.loads((HERE / "manifest.json").read_text(encoding="utf-8"))
    variants = {variant["name"]: variant for variant in manifest["variants"]}
    name = options.variant or manifest["recommended"]
    if name not in variants:
        parser.error(f"got --variant {name}; there are {', '.join(variants)}")
    if not options.images and not options.check:
        parser.error("name at least one image, or --check")
    variant = variants[name]
    run = load_model(HERE / variant["file"])
    if options.check and not check(run, manifest, variant):
        return 1
    if manifest["synthetic"]:
        print("trained on synthetic images: its answers mean nothing for real ones", file=sys.stderr)
    for path in options.images:
        if not path.is_file():
            parser.error(f"{path} is not a file")
        try:
            rules = manifest["preprocessing"]
            images = load_pixels(path, tuple(rules["image_shape"]), rules["crop"])
        except Exception as error:  # numpy, zipfile and every decoder of Pillow have their own for a damaged file
            sys.exit(f"{path}: cannot be read as images: {' '.join(str(error).split()) or type(error).__name__}")
        for label, image in images:
            probabilities = by_class(run(preprocess(image, manifest, variant["layout"])), manifest)
            named = zip(manifest["class_names"], probabilities, strict=True)
            shown = "  ".join(f"{each} {p:.4f}" for each, p in named)
            print(f"{label}: {' + '.join(decide(probabilities, manifest))}  ({shown})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
