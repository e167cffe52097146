"""``edgelnn train``: an experiment becomes a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelnn.cli.formatting import format_count, metrics_tables
from edgelnn.cli.options import DataRoot, Force, Json, Out, Threads
from edgelnn.cli.output import message, next_step, print_data, print_json, show, warning
from edgelnn.cli.series import find_folders, plan_series, summarize, summary_tables

if TYPE_CHECKING:
    from edgelnn.data import Dataset
    from edgelnn.run import Run
    from edgelnn.training import Experiment

__all__ = ["train"]


def train(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help="A name from `edgelnn experiments`, or a .toml file. Left out: a CfC on BreastMNIST.",
            show_default=False,
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="FIELD=VALUE", help="Change a field, such as head.units=24. Repeatable."),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="Train on this dataset: a name or a path.")
    ] = None,
    data_root: DataRoot = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, metavar="N", help="Train for N epochs.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, metavar="N", help="Seed of weights and order.")] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=1000, metavar="N", help="Train N times; report mean ± sd.")
    ] = 1,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds", min=2, max=1000, metavar="K", help="Train on K folds of train and val; report mean ± sd."
        ),
    ] = None,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats", min=1, max=1000, metavar="N", help="Train on N draws of the splits; report mean ± sd."
        ),
    ] = None,
    begin: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Fine-tune: begin with the weights of this run, at a lower rate."),
    ] = None,
    qat: Annotated[
        bool, typer.Option("--qat", help="With --from: train with int8 numbers, so that int8 files lose less.")
    ] = False,
    out: Out = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a stopped training was, to the same weights.")
    ] = False,
    force: Force = False,
    device: Annotated[str, typer.Option("--device", metavar="cpu|cuda|mps", help="What to compute on.")] = "cpu",
    threads: Threads = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved experiment and its parameter counts; train nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Train a classifier: an LTC or CfC, or what it is to be compared with."""
    from edgelnn.run import Run
    from edgelnn.training.folders import find_workplace, path_beside
    from edgelnn.training.loading import split_otherwise

    flags = {"data.name": data, "data.root": data_root, "training.epochs": epochs, "training.seed": seed}
    overrides = [f"{field}={value}" for field, value in flags.items() if value is not None] + (changes or [])
    alone = seeds == 1 and folds is None and repeats is None
    source = experiment
    if resume and experiment is None and out is not None and alone:
        source = str(find_workplace(out, resume=True, force=False).path)
    start = None if begin is None else Run.load(begin)
    resolved = _resolve(source, overrides, start, qat=qat)
    series = plan_series(seed=resolved.training.seed, seeds=seeds, folds=folds, repeats=repeats)
    if dry_run:
        _describe(resolved, json=json)
        return
    planned = [_resolve(source, [*overrides, *member.overrides], start, qat=qat) for member in series]
    folders = find_folders(series, planned[0].name, out, fresh=not (resume or force))
    dataset = _load_data(resolved) if alone else _load_whole_data(resolved)
    runs: list[Run] = []
    for member, each, folder in zip(series, planned, folders, strict=True):
        if not alone:
            message(f"{member.words} → {folder}", bold=True)
        # Of a series that was stopped, some have not begun.
        begun = alone or folder.exists() or path_beside(folder).exists()
        runs.append(
            _train_one(
                each,
                folder,
                dataset if alone else split_otherwise(dataset, each.data),
                start,
                resume=resume and begun,
                force=force,
                device=device,
                threads=threads,
            )
        )
    _report(runs, json=json, series=folds is not None or repeats is not None)


def _resolve(source: str | None, overrides: list[str], start: Run | None, *, qat: bool) -> Experiment:
    """Return the experiment to train: one by name or file, or what goes on with a run."""
    from edgelnn.training import fine_tuning_experiment, load_experiment

    if start is not None and source is None:
        return fine_tuning_experiment(start, overrides, quantization_aware=qat)
    return load_experiment(source, [*(["training.quantization_aware=true"] if qat else []), *overrides])


def _train_one(
    experiment: Experiment,
    folder: Path,
    dataset: Dataset,
    start: Run | None,
    *,
    resume: bool,
    force: bool,
    device: str,
    threads: int | None,
) -> Run:
    from edgelnn.cli.progress import watch_training
    from edgelnn.training import train as train_run

    with watch_training() as listener:
        return train_run(
            experiment,
            folder=folder,
            dataset=dataset,
            resume=resume,
            force=force,
            device=device,
            threads=threads,
            listener=listener,
            start=start,
        )


def _load_data(experiment: Experiment) -> Dataset:
    from edgelnn.cli.progress import loading_progress
    from edgelnn.training.loading import load_experiment_dataset

    with loading_progress(experiment.data.name) as progress:
        return load_experiment_dataset(experiment.data, progress=progress)


def _load_whole_data(experiment: Experiment) -> Dataset:
    """Return an experiment's data before they are split otherwise, as all trainings of a series share them."""
    data = experiment.data.model_copy(update={"resplit": None})
    return _load_data(experiment.model_copy(update={"data": data}))


def _describe(experiment: Experiment, *, json: bool) -> None:
    """Print the experiment as TOML, which `edgelnn train` takes again, and say what the model amounts to."""
    from dataclasses import asdict

    from edgelnn.models import build_classifier, count_parameters, describe
    from edgelnn.training import format_experiment

    facts = _facts_of_data(experiment)
    counts = count_parameters(build_classifier(experiment.model, **facts))
    if json:
        print_json({"experiment": experiment.model_dump(), "parameters": asdict(counts)})
        return
    print_data(format_experiment(experiment))
    message(describe(experiment.model, **facts), bold=True)
    message(
        f"parameters: {format_count(counts.trainable)} trainable, {format_count(counts.stored)} stored with "
        f"constants, {format_count(counts.active)} active (let through by the wiring)"
    )


def _facts_of_data(experiment: Experiment) -> dict[str, Any]:
    """Return image shape, task and number of classes, without loading the data where its name tells."""
    from edgelnn.data.facts import known_facts

    known = known_facts(experiment.data.name, experiment.data.size)
    if known is not None:
        return {"image_shape": known.image_shape, "task": known.task, "classes": known.classes}
    dataset = _load_data(experiment)
    return {"image_shape": dataset.image_shape, "task": dataset.task, "classes": len(dataset.class_names)}


def _report(runs: Sequence[Run], *, json: bool, series: bool) -> None:
    """Print the metrics of one run, or those of several with mean and standard deviation, and what to type next."""
    from edgelnn.models.together import images_together

    if json:
        found = [{"folder": str(run.folder), "metrics": _plain_metrics(run)} for run in runs]
        print_json({"runs": found, "summary": summarize(runs)} if series else found)
    elif len(runs) == 1:
        test = runs[0].metrics["test"]
        title = f"test split, {test.images} images"
        show(*metrics_tables(test, title=title, validation=runs[0].metrics["val"]))
    else:
        first, second = summary_tables(runs)
        show(first, "", second)
    if images_together(runs[0].experiment.head) is None:
        next_step("export", runs[0].folder, "--quantize")
    else:
        warning("the recurrence runs over the batch, as in published code by mistake: such a run cannot be exported.")


def _plain_metrics(run: Run) -> dict[str, Any]:
    return {split: metrics.to_dict() for split, metrics in run.metrics.items()}
