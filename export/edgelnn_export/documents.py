"""The documents of a bundle that programs read: manifest.json and predict.py."""

from __future__ import annotations

import ast
import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata, resources
from typing import Final

import edgelnn
from edgelnn.bundle import Golden, Manifest, ModelFacts, Rejected, Variant
from edgelnn.choice import Choice
from edgelnn.errors import ExportError
from edgelnn.inputs import image_statistics
from edgelnn.models import count_parameters, describe
from edgelnn.run import Run
from edgelnn_export.golden import GOLDEN_FILE
from edgelnn_export.listener import Check
from edgelnn_export.parity import Judge
from edgelnn_export.selection import calibration_images

__all__ = ["PREDICT_FILE", "README_FILE", "compose_manifest", "predict_source"]

PREDICT_FILE: Final = "predict.py"
README_FILE: Final = "README.md"
_CROP_MARK: Final = "contour_box = None  # replaced by edgelnn/contour_crop.py where the model takes cropped images"
_PACKAGES: Final = ("torch", "ncps", "numpy", "onnx", "onnxruntime", "ai-edge-litert", "ai-edge-quantizer")


def compose_manifest(
    run: Run,
    judge: Judge,
    *,
    recommended: Variant,
    variants: Sequence[Variant],
    rejected: Sequence[Check],
    golden: bytes,
    test: Mapping[str, float],
    macs: int,
    choice: Choice,
) -> Manifest:
    """Return the manifest of a bundle.

    Args:
        run: What was trained.
        judge: Who judged the files.
        recommended: One of the files kept.
        variants: The files kept.
        rejected: What was found of the others.
        golden: Bytes of ``golden.npz``.
        test: The PyTorch model's own figures on the test split.
        macs: For one image.
        choice: How the files were chosen.
    """
    dataset, classifier = judge.dataset, judge.classifier
    classes = len(dataset.class_names)
    calibrated = any(variant.recipe.startswith(("static", "mixed")) for variant in variants)
    facts = {"name": dataset.name, "licence": dataset.licence, "source": dataset.source, "digest": dataset.digest}
    if calibrated:
        images = len(calibration_images(dataset["train"]))
        rules = {trial.candidate.partition("-")[0]: trial.calibration for trial in choice.calibrations if trial.chosen}
        said = ", ".join(f"{model_format} by {rule}" for model_format, rule in rules.items()) or "by min_max"
        facts["calibration"] = f"{images} training images drawn with seed 0; ranges: {said}"
    return Manifest(
        recommended=recommended.name,
        task=dataset.task,
        class_names=dataset.class_names,
        positive_class=dataset.positive_class,
        output_kind=classifier.output_kind,
        threshold=judge.threshold,
        preprocessing=judge.preprocessing,
        statistics=image_statistics(dataset["train"].images),
        dataset=facts,
        synthetic=dataset.synthetic,
        model=ModelFacts(
            name=run.experiment.name,
            architecture=describe(
                classifier.spec, image_shape=classifier.image_shape, task=dataset.task, classes=classes
            ),
            parameters=asdict(count_parameters(classifier)),
            macs=macs,
            validation=judge.validation_figures,
            test=test,
        ),
        golden=Golden(GOLDEN_FILE, len(golden), hashlib.sha256(golden).hexdigest(), len(judge.golden[0])),
        variants=tuple(variants),
        rejected=tuple(
            Rejected(
                check.candidate.name, check.candidate.format, check.candidate.recipe.name, check.reason, check.figures
            )
            for check in rejected
        ),
        versions=_versions(),
        choice=choice,
        splits=run.experiment.data.splits,
    )


def predict_source(*, crops: bool = False) -> bytes:
    """Return ``predict.py``: the same in every bundle, save that our functions that crop are in it where they are used.

    Args:
        crops: The model takes images that were cropped.
    """
    source = (resources.files("edgelnn_export") / "templates" / PREDICT_FILE).read_text("utf-8")
    if not crops:
        return source.encode()
    ours = (resources.files("edgelnn") / "contour_crop.py").read_text("utf-8")
    parts = [
        ast.get_source_segment(ours, node)
        for node in ast.parse(ours).body
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).isupper())
    ]
    if source.count(_CROP_MARK) != 1 or None in parts:
        raise ExportError(f"the template of {PREDICT_FILE} has no place for the functions that crop.")
    return source.replace(_CROP_MARK, "\n\n\n".join(part for part in parts if part)).encode()


def _versions() -> dict[str, str]:
    versions = {"edgelnn": edgelnn.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
