"""``edgelnn predict``: what a bundle says about images."""

from __future__ import annotations

import csv as csv_module
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelnn.cli.options import Install, Json, On, RemoteFolder, RemotePython, RuntimeThreads
from edgelnn.cli.output import Column, build_table, message, print_data, print_json, show, warning
from edgelnn.cli.targets import kind_of
from edgelnn.errors import BundleError, ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgelnn.bundle import Bundle, Manifest, Variant
    from edgelnn.cli.reach import Reach

__all__ = ["predict"]


def predict(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a model file in one.")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT…", help="Image files, folders of them, .npy or .npz arrays.")
    ],
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="NAME", help="Of the bundle.", show_default="the recommended one")
    ] = None,
    threads: RuntimeThreads = 1,
    on: On = None,
    install: Install = False,
    remote_python: RemotePython = None,
    remote_folder: RemoteFolder = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print data alone, as CSV, on stdout.")] = False,
    json: Json = False,
) -> None:
    """Classify images: class, probability and time of each; a warning where one is unlike the training data."""
    from edgelnn.cli.answers import find_variant
    from edgelnn.cli.reach import reach_of

    if csv and json:
        raise ConfigError("got --csv and --json; stdout takes one of them.")
    reach = reach_of(on, install, remote_python, remote_folder)
    kind_of(bundle, "bundle", "model")
    found = find_variant(bundle, variant)
    if found is None:
        raise ConfigError(
            f"{bundle} lies in no bundle: without manifest.json neither its classes nor its preprocessing are known. "
            "Name the bundle's folder."
        )
    opened, chosen = found
    manifest = opened.manifest
    records = _answer(opened, chosen, inputs, threads, reach)
    if json:
        print_json(
            {
                "bundle": str(opened.folder),
                "variant": chosen.name,
                "synthetic": manifest.synthetic,
                "predictions": records,
            }
        )
    elif csv:
        print_data(_csv(records, manifest))
    else:
        _show(records)
    for record in records:
        if record["unlike_training"]:
            warning(f"{record['input']}: {record['unlike_training']}")
    if manifest.synthetic:
        warning("this model was trained on synthetic images: its answers mean nothing for real ones.")
    if not (json or csv):
        message("Not a medical device: for research only.")


def _answer(
    bundle: Bundle, variant: Variant, inputs: Sequence[Path], threads: int, reach: Reach | None
) -> list[dict[str, Any]]:
    """Return a record for each image: its name, the decision, the time, and why it is unlike the training data."""
    from edgelnn.cli.answers import answering
    from edgelnn.inputs import load_inputs, unlike_training

    manifest = bundle.manifest
    crop = manifest.preprocessing.crop
    given = load_inputs(inputs, image_shape=manifest.preprocessing.image_shape, crop=crop)
    if not manifest.statistics:
        raise BundleError(f"{bundle.folder}: the manifest holds no statistics of the training images. Export again.")
    try:
        notes = unlike_training(given.images, manifest.statistics, given.original_sizes)
    except KeyError as error:
        raise BundleError(f"{bundle.folder}: the manifest's statistics lack {error}. Export the run again.") from error
    if crop is not None:
        uncropped = f"no region brighter than {crop.threshold} to crop to: used whole."
        notes = [
            " ".join(filter(None, (uncropped if whole else None, note))) or None
            for whole, note in zip(given.uncropped, notes, strict=True)
        ]
    with answering(bundle, variant, threads=threads, reach=reach) as answer:
        answers = answer(given.images)
    decisions = _decisions(answers.probabilities, manifest)
    return [
        {"input": name, **decision, "latency_s": float(latency), "unlike_training": note}
        for name, decision, latency, note in zip(given.names, decisions, answers.latencies_s, notes, strict=True)
    ]


def _decisions(probabilities: NDArray[np.float32], manifest: Manifest) -> list[dict[str, Any]]:
    """Return what each row (n, outputs) of answers means: the classes decided for, and every class's probability."""
    from edgelnn.decisions import class_probabilities, decide

    names = manifest.class_names
    rows = class_probabilities(probabilities, manifest.output_kind, len(names))
    decided = decide(rows, task=manifest.task, positive_class=manifest.positive_class, threshold=manifest.threshold)
    return [
        {
            "classes": [name for name, chosen in zip(names, row, strict=True) if chosen],
            "probabilities": {name: float(value) for name, value in zip(names, values, strict=True)},
        }
        for values, row in zip(rows, decided, strict=True)
    ]


def _show(records: Sequence[dict[str, Any]]) -> None:
    from edgelnn.cli.formatting import format_seconds

    rows = []
    for each in records:
        chosen = {name: each["probabilities"][name] for name in each["classes"]}
        words = " ".join(f"{name} {value:.3f}" if len(chosen) > 1 else name for name, value in chosen.items())
        probability = next(iter(chosen.values())) if len(chosen) == 1 else max(each["probabilities"].values())
        mark = "!" if each["unlike_training"] else ""
        rows.append((each["input"], words or "none", f"{probability:.3f}", format_seconds(each["latency_s"]), mark))
    columns = (
        Column("input", fold=True),
        Column("class", fold=True),
        Column("probability", number=True),
        Column("time", number=True),
        Column(""),
    )
    show(build_table(columns, rows))


def _csv(records: Sequence[dict[str, Any]], manifest: Manifest) -> str:
    """Return one row an image: input, classes, time, note, and one column for each class's probability."""
    text = io.StringIO()
    writer = csv_module.writer(text, lineterminator="\n")
    names = manifest.class_names
    writer.writerow(["input", "classes", "latency_s", "unlike_training", *(f"probability: {name}" for name in names)])
    for each in records:
        values = [f"{each['probabilities'][name]:.6g}" for name in names]
        note = each["unlike_training"] or ""
        writer.writerow([each["input"], "; ".join(each["classes"]), f"{each['latency_s']:.6g}", note, *values])
    return text.getvalue()
