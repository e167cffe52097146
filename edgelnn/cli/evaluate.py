"""``edgelnn evaluate``: how good a run, a bundle or a model file is on a split."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgelnn.cli.formatting import confusion_table, metrics_tables
from edgelnn.cli.options import DataRoot, Install, Json, On, RemoteFolder, RemotePython, RuntimeThreads
from edgelnn.cli.output import message, print_json, show, warning
from edgelnn.cli.targets import kind_of
from edgelnn.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgelnn.bundle import Bundle, Variant
    from edgelnn.contour_crop import ContourCrop
    from edgelnn.data import Dataset, SplitName
    from edgelnn.training.data_specification import DataSpec
    from edgelnn.training.metrics import Metrics
    from edgelnn_profiling.answering import Answers

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
    on: On = None,
    install: Install = False,
    remote_python: RemotePython = None,
    remote_folder: RemoteFolder = None,
    bootstrap: Annotated[
        int,
        typer.Option("--bootstrap", min=0, max=100_000, metavar="N", help="Resamples behind the intervals; 0: none."),
    ] = 1000,
    json: Json = False,
) -> None:
    """Judge a run, a bundle or a model file: AUC, accuracy, F1, Dice, sensitivity, specificity, confusion."""
    from edgelnn.cli.answers import answering, find_variant
    from edgelnn.cli.reach import reach_of

    reach = reach_of(on, install, remote_python, remote_folder)
    with ExitStack() as stack:
        if kind_of(target, "run", "bundle", "model") == "run":
            if variant is not None:
                raise ConfigError(f"got --variant {variant}; a run has none. Leave it out, or name a bundle.")
            if reach is not None:
                raise ConfigError(f"got {target}, a run; a board has no PyTorch. Export it, and name the bundle.")
            asked = _ask_run(target, dataset, data_root)
        elif (found := find_variant(target, variant)) is not None:
            answer = stack.enter_context(answering(*found, threads=threads, reach=reach))
            asked = _ask_variant(*found, answer, dataset, data_root)
        elif reach is not None:
            raise ConfigError(f"{target} lies in no bundle, so no board knows how to prepare images. Name a bundle.")
        else:
            asked = _ask_file(target, dataset, data_root, threads)
        data, metrics = asked.data, _judge(asked, split, bootstrap)
        # Beside the test figures, those that everything was chosen by; other data's val split chose nothing.
        validation = _judge(asked, "val", 0) if split == "test" and dataset is None else None
    if json:
        facts = {
            "target": str(target),
            "model": asked.model,
            "dataset": data.name,
            "split": split,
            "synthetic": data.synthetic,
            "images_together": asked.together,
        }
        beside = {} if validation is None else {"validation": validation.to_dict()}
        print_json({**facts, "metrics": metrics.to_dict(), **beside})
        return
    synthetic = " (synthetic images)" if data.synthetic else ""
    if asked.together is not None:
        warning(
            "the recurrence runs over the batch: each answer depends on the images beside it, here "
            f"{asked.together} at a time in the order of the split. Other batches give other figures."
        )
    title = f"{asked.model} on {data.name}{synthetic}, {split} split, {metrics.images} images"
    show(*metrics_tables(metrics, title=title, validation=validation))
    confusion = confusion_table(metrics)
    if confusion is not None:
        show("", confusion)


@dataclass(frozen=True)
class Asked:
    """A model, ready to be asked.

    Attributes:
        model: What answers, in a word.
        data: What it is asked about.
        answer: From images (n, [d,] h, w, c) to probabilities (n, outputs).
        output_kind: Of these.
        threshold: Of its decisions.
        together: How many images were answered together, where an answer depends on the others; None: each alone.
    """

    model: str
    data: Dataset
    answer: Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]
    output_kind: Literal["softmax", "sigmoid"]
    threshold: float = 0.5
    together: int | None = None


def _ask_run(folder: Path, name: str | None, root: Path | None) -> Asked:
    """Return a run, which answers through PyTorch."""
    from edgelnn.run import Run
    from edgelnn.training.data_specification import DataSpec
    from edgelnn.training.prediction import predict_probabilities

    run = Run.load(folder)
    if name is None:
        data = run.load_dataset(root)
    else:
        wanted = DataSpec(name=name).divided_as(run.experiment.data.splits)
        data = _load(wanted, run.image_shape, root, run.class_names, run.positive_class, run.preprocessing.crop)
        _warn_of_other_data(data, run.environment["data"].get("digest"))
    classifier = run.load_classifier()
    preprocessing = run.preprocessing
    return Asked(
        "PyTorch",
        data,
        lambda images: predict_probabilities(classifier, images, preprocessing),
        classifier.output_kind,
        run.threshold,
        classifier.together,
    )


def _ask_variant(
    bundle: Bundle,
    variant: Variant,
    answer: Callable[[NDArray[np.uint8]], Answers],
    name: str | None,
    root: Path | None,
) -> Asked:
    """Return a file of a bundle, which answers through its own runtime, here or on a board."""
    from edgelnn.training.data_specification import DataSpec

    manifest = bundle.manifest
    shape = manifest.preprocessing.image_shape
    crop = manifest.preprocessing.crop
    wanted = DataSpec(name=name or _own_data(bundle))
    if manifest.splits is not None:
        wanted = wanted.divided_as(manifest.splits)
    data = _load(wanted, shape, root, manifest.class_names, manifest.positive_class, crop)
    if name is None and data.digest != manifest.dataset["digest"]:
        raise DataError(
            f"{data.name} from {data.source} is not the data that {bundle.folder} was made from (another digest). "
            "Restore the data, or name it with --dataset to judge on it all the same."
        )
    if name is not None:
        _warn_of_other_data(data, manifest.dataset["digest"])
    return Asked(
        variant.name,
        data,
        lambda images: answer(images).probabilities,
        manifest.output_kind,
        manifest.threshold,
    )


def _ask_file(path: Path, name: str | None, root: Path | None, threads: int) -> Asked:
    """Return a file that lies in no bundle, which answers through its own runtime."""
    from edgelnn.cli.answers import load_model
    from edgelnn.training.data_specification import DataSpec

    if name is None:
        raise ConfigError(
            f"{path} lies in no bundle, so its data are unknown. Pass --dataset NAME (`edgelnn datasets`)."
        )
    model = load_model(path, threads=threads)
    message("The file comes without a manifest: pixels are scaled by (x / 255 - 0.5) / 0.5.")
    data = _load(DataSpec(name=name), model.preprocessing.image_shape, root)
    kind: Literal["softmax", "sigmoid"] = "sigmoid" if model.runtime.output.shape[-1] == 1 else "softmax"
    return Asked(path.name, data, lambda images: model.answer(images).probabilities, kind)


def _own_data(bundle: Bundle) -> str:
    """Return the name of a bundle's own data, where they have one by which they can be loaded."""
    from edgelnn.data import list_datasets

    dataset = bundle.manifest.dataset
    if dataset["name"] not in {info.name for info in list_datasets()}:
        raise ConfigError(
            f"{bundle.folder} was made from data of your own ({dataset['source']}). Say where they are: --dataset PATH."
        )
    return dataset["name"]


def _warn_of_other_data(data: Dataset, digest: str | None) -> None:
    """Say so where images are not those, divided as they were, that a model was trained on."""
    if digest not in (None, data.digest):  # None: imported where the data were not
        warning(
            f"{data.name} from {data.source} is not the data that the model was trained on, or is divided otherwise. "
            "Where it holds images that the model learnt from, these figures say too much."
        )


def _load(
    wanted: DataSpec,
    image_shape: tuple[int, ...],
    root: Path | None,
    class_names: tuple[str, ...] | None = None,
    positive_class: int | None = None,
    crop: ContourCrop | None = None,
) -> Dataset:
    """Return data in the size that a model takes, of the classes it was trained for, divided as is wanted."""
    from edgelnn.cli.progress import loading_progress
    from edgelnn.data import list_datasets, load_dataset
    from edgelnn.training.loading import split_otherwise

    name = wanted.name
    for info in list_datasets():
        if info.name == name and class_names is not None:
            _check_classes(name, info.class_names, class_names)
    with loading_progress(name) as progress:
        data = load_dataset(
            name,
            size=image_shape[-3],
            channels=image_shape[-1],
            root=root,
            crop=crop,
            positive_class=None if class_names is None or positive_class is None else class_names[positive_class],
            validation=wanted.validation,
            test=wanted.test,
            split_seed=wanted.split_seed,
            difficulty=wanted.difficulty,
            progress=progress,
        )
    if data.image_shape != image_shape:
        raise DataError(f"got {name} with images of {data.image_shape}; the model takes {image_shape}.")
    if class_names is not None:
        _check_classes(name, data.class_names, class_names)
    return split_otherwise(data, wanted)


def _check_classes(name: str, found: tuple[str, ...], expected: tuple[str, ...]) -> None:
    if found != expected:
        raise DataError(f"{name} has the classes {', '.join(found)}; the model was trained for {', '.join(expected)}.")


def _judge(asked: Asked, split: SplitName, bootstrap: int) -> Metrics:
    from edgelnn.decisions import class_probabilities
    from edgelnn.training.metrics import evaluate_predictions

    answers = asked.answer(asked.data[split].images)
    return evaluate_predictions(
        class_probabilities(answers, asked.output_kind, len(asked.data.class_names)),
        asked.data[split].labels,
        task=asked.data.task,
        class_names=asked.data.class_names,
        positive_class=asked.data.positive_class,
        threshold=asked.threshold,
        bootstrap=bootstrap,
    )
