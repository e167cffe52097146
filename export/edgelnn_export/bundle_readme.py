"""README.md of a bundle: for whoever finds the folder later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgelnn.bundle import Manifest, Rejected, Variant
from edgelnn.preprocessing import Preprocessing

__all__ = ["compose_readme"]


def compose_readme(manifest: Manifest) -> str:
    """Return ``README.md`` for whoever finds the folder later."""
    model, rules = manifest.model, manifest.preprocessing
    recommended = next(each for each in manifest.variants if each.name == manifest.recommended)
    runtime = "onnxruntime" if recommended.format == "onnx" else "ai-edge-litert (or tflite-runtime)"
    shape = " × ".join(map(str, rules.image_shape))
    axes = "depth × height × width × channels" if rules.is_volume else "height × width × channels"
    lines = [
        f"# {model.name}",
        "",
        f"An image classifier for {_listed(manifest.class_names)}, trained on {manifest.dataset['name']}.",
        "**Not a medical device: for research only.**",
        *(["**Trained on synthetic images: its answers mean nothing for real ones.**"] if manifest.synthetic else []),
        "",
        "    python predict.py IMAGE...      class and probabilities",
        "    python predict.py --check       does it still give the answers it was exported with?",
        "",
        f"`predict.py` needs numpy and {runtime}; Pillow for image files.",
        "",
        "## Model",
        "",
        f"* {model.architecture}",
        f"* parameters: {_counts(model.parameters)}; multiply-accumulates for one image: {model.macs:,}",
        f"* AUC and accuracy of the PyTorch model: {_quality(model.validation)} on the validation split, "
        f"{_quality(model.test)} on the test split",
        f"* classes, in the order of the outputs: {_listed(manifest.class_names)}{_positive(manifest)}",
        f"* decision: {_decision(manifest)}",
        "",
        "## Input and output",
        "",
        *_crop(rules),
        f"Input `image` is made from {shape} ({axes}) pixels in 0..255:",
        f"{_made(rules)}. ONNX files take the channels first,",
        "TFLite files last; the first axis counts images.",
        f"Output `probabilities` has {manifest.outputs} number{'s' if manifest.outputs > 1 else ''} an image "
        f"({manifest.output_kind}{_sigmoid(manifest)}).",
        "",
        "## Files",
        "",
        "| file | recipe | bytes | largest difference | validation AUC | agreement | test AUC | test accuracy |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
        *(_row(variant, variant.name == manifest.recommended) for variant in manifest.variants),
        "",
        "Largest difference: of any probability from the PyTorch model's, on the inputs in `golden.npz` and on noise.",
        "Agreement: share of decisions on the validation split that are the PyTorch model's. Recommended is, of the",
        "files that lose nothing that the validation split can show, the one of least cost, else the smallest. The",
        "test split was evaluated once, for these files.",
        *(["", manifest.choice.conclusion] if manifest.choice.conclusion else []),
        "",
        *_rejected(manifest.rejected),
        f"`golden.npz` holds {manifest.golden.images} inputs (images of the validation split, and noise) with the",
        "PyTorch model's answers. `manifest.json` says all this for programs.",
        "",
        "## Data",
        "",
        f"{manifest.dataset['name']}, from {manifest.dataset['source']}; licence: {manifest.dataset['licence']}.",
        *([f"Calibrated on {manifest.dataset['calibration']}."] if "calibration" in manifest.dataset else []),
        "",
        "Made with " + ", ".join(f"{name} {version}" for name, version in manifest.versions.items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def _row(variant: Variant, recommended: bool) -> str:
    name = f"**{variant.file}** (recommended)" if recommended else variant.file
    validation, test = variant.validation, variant.test
    file = f"{name} | {variant.recipe} | {variant.size_bytes:,} | {variant.parity_max_error:.1e}"
    quality = f"{validation['auc']:.3f} | {validation['agreement']:.1%} | {test['auc']:.3f} | {test['accuracy']:.3f}"
    return f"| {file} | {quality} |"


def _rejected(rejected: Sequence[Rejected]) -> list[str]:
    if not rejected:
        return []
    return ["Tried and left out:", "", *(f"* {each.name}: {each.reason}" for each in rejected), ""]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _counts(parameters: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in parameters.items())


def _crop(rules: Preprocessing) -> list[str]:
    """Return how image files are cropped before they are resized, where they are."""
    if rules.crop is None:
        return []
    return [
        f"Images are first cropped to the box around their largest region brighter than {rules.crop.threshold} of 255 "
        f"(margin {rules.crop.margin} pixels; used whole where the box covers less than {rules.crop.least_area:.0%}),",
        "then resized; `predict.py` does so with image files, not with arrays.",
        "",
    ]


def _made(rules: Preprocessing) -> str:
    """Return in words how the input is made from pixels."""
    if rules.input_type == "uint8":
        return "as they are, uint8; the files do the rest"
    return f"`(pixels / 255 - {_numbers(rules.mean)}) / {_numbers(rules.std)}` as float32"


def _numbers(values: float | tuple[float, ...]) -> str:
    """Return a number, or one for each channel."""
    return f"[{', '.join(f'{one:g}' for one in values)}]" if isinstance(values, tuple) else f"{values:g}"


def _quality(figures: Mapping[str, float]) -> str:
    return f"{figures['auc']:.3f} and {figures['accuracy']:.3f}"


def _positive(manifest: Manifest) -> str:
    if manifest.positive_class is None:
        return ""
    name = manifest.class_names[manifest.positive_class]
    return f'; the positive one (of which sensitivity speaks) is "{name}"'


def _decision(manifest: Manifest) -> str:
    if manifest.task == "multi-label":
        return f"every label whose probability is above {manifest.threshold:g}"
    if manifest.task == "binary-class":
        positive = manifest.class_names[1 if manifest.positive_class is None else manifest.positive_class]
        rule = f'"{positive}" where its probability reaches {manifest.threshold:g}'
        if manifest.threshold != 0.5:
            rule += ", which was chosen on the validation split; accuracies here are MedMNIST's, which decide at 0.5"
        return rule
    return "the class of the largest probability"


def _sigmoid(manifest: Manifest) -> str:
    if manifest.output_kind == "sigmoid" and manifest.outputs == 1 and len(manifest.class_names) == 2:
        return f': the probability of "{manifest.class_names[1]}"'
    return ""
