"""``edgelnn evaluate``: how good a run, a bundle or a model file is on a split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgelnn.cli.formatting import confusion_table, metrics_table
from edgelnn.cli.options import DataRoot, Json, RuntimeThreads
from edgelnn.cli.output import message, print_json, show
from edgelnn.cli.targets import kind_of
from edgelnn.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgelnn.data import Dataset, SplitName
    from edgelnn.training.metrics import Metrics

__all__ = ["evaluate"]

SplitChoice = Literal["train", "val", "test"]


def evaluate(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A run, a bundle, or an .onnx or .tflite file.")],
    split: Annotated[SplitChoice, typer.Option("--split", help="Which split to judge on.")] = "test",
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="NAME", help="Of a bundle.", show_default="the recommended one")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", metavar="NAME", help="Data to judge on: needed for a model file that lies in no bundle."
        ),
    ] = None,
    data_root: DataRoot = None,
    threads: RuntimeThreads = 1,
    bootstrap: Annotated[
        int,
        typer.Option("--bootstrap", min=0, max=100_000, metavar="N", help="Resamples behind the intervals; 0: none."),
    ] = 1000,
    json: Json = False,
) -> None:
    """Judge a run, a bundle or a model file: AUC, accuracy, F1, sensitivity, specificity, confusion, intervals."""
    kind = kind_of(target, "run", "bundle", "model")
    if kind == "run":
        if variant is not None:
            raise ConfigError(f"got --variant {variant}; a run has none. Leave it out, or name a bundle.")
        what, data, probabilities, threshold = _ask_run(target, split, dataset, data_root)
    else:
        what, data, probabilities, threshold = _ask_file(target, split, variant, dataset, data_root, threads)
    metrics = _judge(data, split, probabilities, threshold, bootstrap)
    if json:
        facts = {
            "target": str(target),
            "model": what,
            "dataset": data.name,
            "split": split,
            "synthetic": data.synthetic,
        }
        print_json({**facts, "metrics": metrics.to_dict()})
        return
    synthetic = " (synthetic images)" if data.synthetic else ""
    show(metrics_table(metrics, title=f"{what} on {data.name}{synthetic}, {split} split, {metrics.images} images"))
    confusion = confusion_table(metrics)
    if confusion is not None:
        show("", confusion)


def _ask_run(
    folder: Path, split: SplitName, name: str | None, root: Path | None
) -> tuple[str, Dataset, NDArray[np.float32], float]:
    """Return what was asked, the data, class probabilities (n, classes), and the threshold, through PyTorch."""
    from edgelnn.decisions import class_probabilities
    from edgelnn.run import Run
    from edgelnn.training.prediction import predict_probabilities

    run = Run.load(folder)
    data = run.load_dataset(root) if name is None else _load(name, run.image_shape, root)
    _check_classes(data, run.class_names)
    classifier = run.load_classifier()
    answers = predict_probabilities(classifier, data[split].images, run.preprocessing)
    return "PyTorch", data, class_probabilities(answers, classifier.output_kind, len(run.class_names)), 0.5


def _ask_file(
    path: Path, split: SplitName, variant: str | None, name: str | None, root: Path | None, threads: int
) -> tuple[str, Dataset, NDArray[np.float32], float]:
    """Return the same through the file's own runtime."""
    from edgelnn.cli.answers import find_variant, load_model
    from edgelnn.decisions import class_probabilities

    found = find_variant(path, variant)
    if found is None:
        if name is None:
            raise ConfigError(
                f"{path} lies in no bundle, so its data are unknown. Pass --dataset NAME (`edgelnn datasets`)."
            )
        model = load_model(path, threads=threads)
        message("The file comes without a manifest: pixels are scaled by (x / 255 - 0.5) / 0.5.")
        data = _load(name, model.preprocessing.image_shape, root)
        answers = model.answer(data[split].images).probabilities
        outputs = answers.shape[1]
        return (
            path.name,
            data,
            class_probabilities(answers, "sigmoid" if outputs == 1 else "softmax", len(data.class_names)),
            0.5,
        )
    bundle, chosen = found
    manifest = bundle.manifest
    model = load_model(bundle.path(chosen), manifest.preprocessing, threads=threads)
    data = _load(name or manifest.dataset["name"], manifest.preprocessing.image_shape, root)
    _check_classes(data, manifest.class_names)
    if name is None and data.digest != manifest.dataset["digest"]:
        raise DataError(
            f"{data.name} from {data.source} is not the data that {bundle.folder} was made from (another digest). "
            "Restore the data, or name it with --dataset to judge on it all the same."
        )
    answers = model.answer(data[split].images).probabilities
    probabilities = class_probabilities(answers, manifest.output_kind, len(manifest.class_names))
    return chosen.name, data, probabilities, manifest.threshold


def _load(name: str, image_shape: tuple[int, ...], root: Path | None) -> Dataset:
    """Return data by name in the size that a model takes."""
    from edgelnn.cli.progress import loading_progress
    from edgelnn.data import load_dataset

    with loading_progress(name) as progress:
        data = load_dataset(name, size=image_shape[0], channels=image_shape[-1], root=root, progress=progress)
    if data.image_shape != image_shape:
        raise DataError(f"got {name} with images of {data.image_shape}; the model takes {image_shape}.")
    return data


def _check_classes(data: Dataset, class_names: tuple[str, ...]) -> None:
    if data.class_names != class_names:
        raise DataError(
            f"{data.name} has the classes {', '.join(data.class_names)}; "
            f"the model was trained for {', '.join(class_names)}."
        )


def _judge(data: Dataset, split: SplitName, probabilities: Any, threshold: float, bootstrap: int) -> Metrics:
    from edgelnn.training.metrics import evaluate_predictions

    return evaluate_predictions(
        probabilities,
        data[split].labels,
        task=data.task,
        class_names=data.class_names,
        positive_class=data.positive_class,
        threshold=threshold,
        bootstrap=bootstrap,
    )
