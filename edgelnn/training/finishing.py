"""The last steps of a training: judge the weights to keep, write everything, and only then call it finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from safetensors.torch import save
from torch import Tensor

from edgelnn.atomic import write_bytes_atomically, write_text_atomically
from edgelnn.run import (
    ENVIRONMENT,
    FIGURES,
    FORMAT_VERSION,
    HISTORY,
    METRICS,
    WEIGHTS,
    Run,
    read_environment,
)
from edgelnn.training.checkpoint import Progress
from edgelnn.training.epochs import Epochs
from edgelnn.training.experiment import Experiment, FigureWeights
from edgelnn.training.folders import Workplace, format_json, put_in_place
from edgelnn.training.history import format_history
from edgelnn.training.judging import Answers, ask, judge, tells_nothing_apart, threshold_from
from edgelnn.training.quantization_aware import RECIPE
from edgelnn.training.thresholds import threshold_rule

__all__ = ["finish_run"]


def finish_run(
    epochs: Epochs,
    workplace: Workplace,
    experiment: Experiment,
    progress: Progress,
    best: Mapping[str, Tensor],
    *,
    figures: bool,
) -> Run:
    """Write the run with the weights to keep and return it; until the last step it counts as unfinished.

    What is judged is the plain classifier, which is what the run holds. Where its epochs were trained and chosen under
    fake quantization, ``metrics.json`` says so, and has the figures under it beside the plain ones.

    Args:
        epochs: Whose classifier takes the weights.
        workplace: Where to write.
        experiment: What was trained.
        progress: Where training ended.
        best: State to keep.
        figures: Draw them.
    """
    folder, dataset = workplace.path, epochs.dataset
    epochs.classifier.load_state_dict(dict(best))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in best.items()}
    write_bytes_atomically(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    write_text_atomically(folder / HISTORY, format_history(progress.history))
    simulated: Answers = {}
    if epochs.quantization is not None:
        epochs.calibrate()
        simulated = ask(epochs.classifier, dataset, epochs.preprocessing)
        epochs.quantization.remove()
    answers = ask(epochs.classifier, dataset, epochs.preprocessing)
    if same := tells_nothing_apart(answers["val"]):
        epochs.listener.on_note(same)
    threshold = threshold_from(answers, dataset, experiment.training)
    metrics = judge(answers, dataset, threshold)
    quantized = judge(simulated, dataset, threshold)
    environment = read_environment(folder)
    environment["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    environment["training_s"] = round(sum(record.duration_s for record in progress.history), 3)
    write_text_atomically(folder / ENVIRONMENT, format_json(environment))
    run = Run(folder, experiment, metrics, progress.best_epoch, environment)
    rule = threshold_rule(experiment.training)
    facts: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "best_epoch": progress.best_epoch,
        "epochs": len(progress.history),
        "stopped_early": progress.stopped_early,
        "selected_by": _plain(experiment.training.select),
        "threshold": None if metrics["val"].threshold is None else {"value": threshold, "rule": rule},
        "selected_with": f"fake quantization ({RECIPE})" if quantized else "float32",
    }
    facts |= {split: figure.to_dict() for split, figure in metrics.items()}
    if quantized:
        facts["fake_quantized"] = {split: figure.to_dict() for split, figure in quantized.items()}
    if figures:
        from edgelnn.training.figures import Results, draw_figures

        results = Results(
            name=experiment.name,
            dataset=dataset,
            history=progress.history,
            best_epoch=progress.best_epoch,
            probabilities=answers["test"],
            metrics=metrics["test"],
            classifier=epochs.classifier,
            augmentation=epochs.augmentation,
        )
        draw_figures(results, folder / FIGURES)
    write_text_atomically(folder / METRICS, format_json(facts))
    put_in_place(workplace)
    return replace(run, folder=workplace.folder)


def _plain(select: str | FigureWeights) -> str | dict[str, float]:
    """Return what an epoch was selected by, for JSON."""
    return select if isinstance(select, str) else {name: one for name, one in select.model_dump().items() if one}
