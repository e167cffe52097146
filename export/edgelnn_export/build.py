"""build_bundle: from a run to a bundle of files that were proved to be the model."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgelnn.atomic import new_folder_atomically
from edgelnn.bundle import MANIFEST_FILE, Bundle
from edgelnn.choice import Choice
from edgelnn.errors import ConfigError, ExportError, ParityError, WriteError
from edgelnn.preprocessing import find_input_type
from edgelnn.run import Run
from edgelnn.training.judging import tells_nothing_apart
from edgelnn_export.bundle_readme import compose_readme
from edgelnn_export.costs import CostMeter, instructions_on, latency_here, no_cost
from edgelnn_export.documents import PREDICT_FILE, README_FILE, compose_manifest, predict_source
from edgelnn_export.golden import GOLDEN_FILE, npz_bytes
from edgelnn_export.graph import Graph
from edgelnn_export.listener import Check, ExportListener
from edgelnn_export.lowering import find_optimize
from edgelnn_export.macs import graph_macs
from edgelnn_export.making import Maker
from edgelnn_export.parity import MAX_AUC_DROP, PARITY_TOLERANCE, Judge, ask
from edgelnn_export.quantization import FORMATS, choose_candidates
from edgelnn_export.quantization.choice import conclude, reasons_to_drop, recommend
from edgelnn_export.selection import calibration_images
from edgelnn_export.trial import Trial, loss_on_validation, proof_of, try_candidate
from edgelnn_profiling.proving import Measured

__all__ = ["build_bundle"]

_OURS: Final = re.compile(r"manifest\.json|golden\.npz|predict\.py|README\.md|model-[A-Za-z0-9_.-]+\.(onnx|tflite)")


def build_bundle(
    run: Run,
    folder: Path | str,
    *,
    formats: Sequence[str] = FORMATS,
    quantize: bool = False,
    recipes: Sequence[str] = (),
    force: bool = False,
    listener: ExportListener | None = None,
    tolerance: float = PARITY_TOLERANCE,
    max_auc_drop: float = MAX_AUC_DROP,
    max_bytes: int | None = None,
    target: str | None = None,
    measure: bool = True,
    meter: CostMeter | None = None,
    optimize: str = "latency",
    input_type: str = "float32",
) -> Bundle:
    """Write a bundle of a trained model and return it.

    Every file is run by its own runtime: float32 must agree with the PyTorch model within `tolerance` on golden inputs
    and noise, quantized files may lose `max_auc_drop` of AUC on the validation split. With `quantize` the Pareto set of
    bytes and cost is kept of those (see `edgelnn_export.quantization.choice`). The test split is evaluated once, for
    what is kept. The folder appears when it is complete, or not at all; one that `force` replaces stays as it was
    until then.

    Args:
        run: What was trained.
        folder: To make.
        formats: ``onnx``, ``tflite`` or both.
        quantize: Try every recipe, and choose; what is left out is listed as rejected, with its figures.
        recipes: Recipes asked for by name; the export fails where one of them does.
        force: Replace a bundle that is there.
        listener: Told about every candidate as soon as it is judged.
        tolerance: Largest difference of a float32 file's probabilities; more, up to ten times as much, is allowed only
            where PyTorch's own float32 answers are a quarter of that from its float64 ones.
        max_auc_drop: AUC that a quantized file may lose.
        max_bytes: Size that a quantized file may have.
        target: ``pi3``, ``pi4`` or ``pi5``: choose by instructions on that board, emulated; else by latency here.
        measure: Measure costs where there is something to choose; without, bytes alone decide, and the choice is the
            same every time.
        meter: Measures costs in another way.
        optimize: ``latency``, or ``size``: write recurrences as loops where that makes a smaller file.
        input_type: ``float32``, or ``uint8``: files take pixels as they are, 0 to 255.

    Raises:
        ConfigError: A format, recipe or type of input, or what to optimize for, is unknown, or a bound is no number.
        ParityError: float32, or a candidate asked for by name, is not the model, here or on the board that `meter`
            measures on; nothing is written.
        ExportError: One of those could not be made; nothing is written.
        DataError: The run's data is not to be found, or has changed.
        ProfileError: There are no emulated boards.
        WriteError: The folder cannot be written, is there without `force`, or holds something else.
    """
    for name, value in (("max_auc_drop", max_auc_drop), ("tolerance", tolerance)):
        if not math.isfinite(value):
            raise ConfigError(f"got {name}={value}; expected a number, such as {MAX_AUC_DROP} and {PARITY_TOLERANCE}.")
    optimized_for, taken = find_optimize(optimize), find_input_type(input_type)
    listener = listener or ExportListener()
    candidates = choose_candidates(formats, quantize=quantize, recipes=recipes)
    if meter is None:
        meter = instructions_on(target) if target else latency_here() if measure and quantize else no_cost()
    _refuse_foreign_files(Path(folder))
    with new_folder_atomically(folder, force, markers=(MANIFEST_FILE,)) as partial:
        dataset, classifier, preprocessing = run.load_dataset(), run.load_classifier(), run.preprocessing
        judge = Judge.appoint(classifier, dataset, preprocessing, run.threshold, input_type=taken)
        maker = Maker(
            classifier,
            judge.preprocessing,
            calibration_images(dataset["train"]),
            lambda data, model_format: loss_on_validation(judge, data, model_format),
            optimize=optimized_for,
        )
        allowed = judge.at_least(tolerance)
        if same := tells_nothing_apart(judge.validation):
            listener.on_note(same)
        listener.on_start(candidates)
        trials = []
        for candidate in candidates:
            trials.append(
                try_candidate(
                    candidate, maker, judge, tolerance=allowed, max_auc_drop=max_auc_drop, max_bytes=max_bytes
                )
            )
            listener.on_candidate(trials[-1].check)
        _fail_where_required([trial.check for trial in trials])
        golden = npz_bytes({"images": judge.golden[0], "probabilities": judge.golden[1]})
        trials = _choose(trials, meter, listener, judge, golden)
        kept = [trial for trial in trials if trial.check.kept]
        reference = ask(classifier, dataset["test"].images, preprocessing)
        variants = [trial.variant(judge, reference) for trial in kept]
        costs = {trial.check.candidate.name: trial.check.cost for trial in trials if trial.check.cost is not None}
        recommended = recommend(variants, judge.validation_figures["auc"], costs, meter.noise)
        choice = Choice(
            cost=meter.unit,
            target=meter.target,
            costs=costs,
            max_auc_drop=max_auc_drop,
            max_bytes=max_bytes,
            conclusion=conclude(variants, recommended, costs) if len(candidates) > len(formats) else "",
            calibrations=maker.calibrations,
            layers=maker.layers,
            optimize=optimized_for,
        )
        listener.on_choice([trial.check for trial in trials], choice.conclusion)
        manifest = compose_manifest(
            run,
            judge,
            recommended=recommended,
            variants=variants,
            rejected=[trial.check for trial in trials if not trial.check.kept],
            golden=golden,
            test=judge.figures(reference, dataset["test"]),
            macs=_macs([maker.graph(each) for each in FORMATS if each in formats]),
            choice=choice,
        )
        files = {trial.check.candidate.file: trial.data for trial in kept}
        files |= {
            GOLDEN_FILE: golden,
            PREDICT_FILE: predict_source(crops=preprocessing.crop is not None),
            README_FILE: compose_readme(manifest).encode(),
        }
        files[MANIFEST_FILE] = manifest.to_json().encode()
        for name, data in files.items():
            (partial / name).write_bytes(data)
    return Bundle.load(folder)


def _choose(
    trials: Sequence[Trial], meter: CostMeter, listener: ExportListener, judge: Judge, golden: bytes
) -> list[Trial]:
    """Return what was found of all candidates with their costs; those that are not worth keeping, no longer kept.

    Raises:
        ParityError: One that has to be there is not the model where costs are measured.
    """
    trials = _without_repeats(trials)
    files = {trial.check.candidate.name: trial.data for trial in trials if trial.check.kept}
    measured = Measured({})
    if meter.unit:
        listener.on_measure(list(files), meter.words)
        measured = meter.measure(files, proof_of(trials, judge, golden))
    checks = []
    for trial in trials:
        name = trial.check.candidate.name
        check = replace(trial.check, cost=measured.costs.get(name))
        if name in measured.failed:
            check = replace(check, kept=False, reason=f"{meter.place} {measured.failed[name]}")
        checks.append(check)
    _fail_where_required(checks)
    dropped = reasons_to_drop(checks, noise=meter.noise, no_more_than_float32=meter.unit == "instructions")
    return [
        replace(trial, check=replace(check, kept=False, reason=dropped[check.candidate.name]))
        if check.candidate.name in dropped
        else replace(trial, check=check)
        for trial, check in zip(trials, checks, strict=True)
    ]


def _without_repeats(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials; a file that is the same as one before it is kept only where it was asked for by name."""
    first: dict[bytes, str] = {}
    found = []
    for trial in trials:
        name = trial.check.candidate.name
        same = first.setdefault(trial.data, name) if trial.check.kept else name
        if same != name and not trial.check.candidate.required:
            trial = replace(trial, check=replace(trial.check, kept=False, reason=f"it is the same file as {same}"))
        found.append(trial)
    return found


def _macs(graphs: Sequence[Graph]) -> int:
    """Return the multiply-accumulates for one image in the leanest of the graphs that were exported."""
    return min(graph_macs(graph).total for graph in graphs)


def _fail_where_required(checks: Sequence[Check]) -> None:
    """Raise where a candidate that must be there was rejected."""
    failed = [check for check in checks if check.candidate.required and not check.kept]
    if not failed:
        return
    first, more = failed[0], f" So did {', '.join(check.candidate.name for check in failed[1:])}." if failed[1:] else ""
    error = ExportError if first.parity_max_error is None else ParityError
    raise error(f"{first.candidate.name} failed: {first.reason}.{more} Nothing was written.")


def _refuse_foreign_files(folder: Path) -> None:
    """Raise `WriteError` where replacing a bundle's folder would lose something that no export wrote."""
    if not (folder / MANIFEST_FILE).exists():
        return
    foreign = sorted(entry.name for entry in folder.iterdir() if not _OURS.fullmatch(entry.name) or entry.is_dir())
    if foreign:
        shown = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
        raise WriteError(f"{folder} holds what no export wrote ({shown}). Move it away, or choose another name.")
