"""``edgelnn import``: weights from elsewhere become a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.formatting import metrics_tables
from edgelnn.cli.options import DataRoot, Force, Json
from edgelnn.cli.output import message, next_step, print_json, show, warning
from edgelnn.errors import DataError

if TYPE_CHECKING:
    from edgelnn.data import Dataset
    from edgelnn.run import Run
    from edgelnn.training import Experiment

__all__ = ["import_weights"]

RUNS = Path("runs")


def import_weights(
    weights: Annotated[
        Path,
        typer.Argument(metavar="WEIGHTS", help="A state dict: .pt (nothing in it is run) or .safetensors."),
    ],
    experiment: Annotated[
        str,
        typer.Option("--experiment", "-e", metavar="NAME", help="Model and data: a name or a .toml file."),
    ],
    key_map: Annotated[
        Path | None,
        typer.Option(
            "--map",
            metavar="FILE",
            help="TOML or JSON: our names of tensors to those in the file.",
            show_default="as published, or ours",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Change a field, such as head.wiring_seed=7."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Where the run goes.", show_default="runs/NAME")
    ] = None,
    data_root: DataRoot = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Make a run of weights that were trained elsewhere: it exports, evaluates and profiles like any other."""
    from edgelnn.importing import import_weights as make_run
    from edgelnn.importing import load_key_map
    from edgelnn.training import load_experiment

    root = [] if data_root is None else [f"data.root={data_root}"]
    resolved = load_experiment(experiment, [*root, *(changes or [])])
    folder = run or RUNS / f"{resolved.name}-imported"
    names = load_key_map(key_map) if key_map is not None else None
    dataset = _find_data(resolved)
    made = make_run(weights, resolved, folder=folder, key_map=names, dataset=dataset, force=force)
    _report(made, json=json)


def _find_data(experiment: Experiment) -> Dataset | None:
    """Return the experiment's data where they are at hand; say so where they are not."""
    from edgelnn.cli.progress import loading_progress
    from edgelnn.training import load_experiment_dataset

    try:
        with loading_progress(experiment.data.name) as progress:
            return load_experiment_dataset(experiment.data, download=False, progress=progress)
    except DataError as error:
        warning(f"the run gets no metrics: {error}")
        return None


def _report(run: Run, *, json: bool) -> None:
    """Say what was imported, and how good it is where that is known."""
    origin, model = run.environment["imported"], run.environment["model"]
    if json:
        metrics = {split: found.to_dict() for split, found in run.metrics.items()}
        print_json({"folder": str(run.folder), "imported": origin, "model": model, "metrics": metrics})
    else:
        message(f"{run.experiment.name}: {model['architecture']}", bold=True)
        message(f"imported from {origin['file']}, sha256 {origin['sha256'][:16]}… → {run.folder}")
        for note in origin["notes"]:
            message(note)
        if "test" in run.metrics:
            test = run.metrics["test"]
            title = f"test split, {test.images} images"
            show(*metrics_tables(test, title=title, validation=run.metrics["val"]))
    next_step("export", run.folder, "--quantize")
