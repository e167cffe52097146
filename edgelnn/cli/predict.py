"""``edgelnn predict``: what a bundle says about images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelnn.cli.formatting import format_seconds
from edgelnn.cli.options import Json, Threads
from edgelnn.cli.output import Column, build_table, message, print_data, print_json, show, warning
from edgelnn.cli.targets import kind_of
from edgelnn.errors import ConfigError

if TYPE_CHECKING:
    from edgelnn.bundle import Manifest

__all__ = ["predict"]


def predict(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a model file in one.")],
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUT…", help="Image files, folders of them, .npy or .npz arrays.")
    ],
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="NAME", help="Of the bundle.", show_default="the recommended one")
    ] = None,
    threads: Threads = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print data alone, as CSV, on stdout.")] = False,
    json: Json = False,
) -> None:
    """Classify images: class, probability and time of each; a warning where one is unlike the training data."""
    from edgelnn.cli.answers import find_variant, load_model
    from edgelnn.inputs import load_images, unlike_training

    if csv and json:
        raise ConfigError("got --csv and --json; stdout takes one of them.")
    kind_of(bundle, "bundle", "model")
    found = find_variant(bundle, variant)
    if found is None:
        raise ConfigError(
            f"{bundle} lies in no bundle: without manifest.json neither its classes nor its preprocessing are known. "
            "Name the bundle's folder."
        )
    opened, chosen = found
    manifest = opened.manifest
    names, images = load_images(inputs, image_shape=manifest.preprocessing.image_shape)
    model = load_model(opened.path(chosen), manifest.preprocessing, threads=threads or 1)
    answers = model.answer(images)
    notes = unlike_training(images, manifest.statistics)
    records = [
        {"input": name, **_decision(row, manifest), "latency_s": float(latency), "unlike_training": note}
        for name, row, latency, note in zip(names, answers.probabilities, answers.latencies_s, notes, strict=True)
    ]
    if json:
        print_json({"bundle": str(opened.folder), "variant": chosen.name, "synthetic": manifest.synthetic, "predictions": records})
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


def _show(records: Sequence[dict[str, Any]]) -> None:
    columns = (Column("input", fold=True), Column("answer"), Column("probability", number=True), Column("time", number=True))
    rows = [(each["input"], each["answer"], each["probability"], format_seconds(each["latency_s"])) for each in records]
    show(build_table(columns, rows))
