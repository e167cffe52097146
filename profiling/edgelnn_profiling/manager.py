"""Profile a bundle or a model file: fresh worker processes, variants interleaved, one report of it all."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgelnn.bundle import Bundle, Variant
from edgelnn.decode import DecodeError, encode
from edgelnn.errors import ConfigError, ModelFileError, ProfileError
from edgelnn_profiling.assembly import assemble_energy, assemble_result, read_machine_events
from edgelnn_profiling.cautions import find_cautions
from edgelnn_profiling.energy import Energy, no_energy
from edgelnn_profiling.executor import AbstractExecutor, LocalExecutor, Outcome
from edgelnn_profiling.model_files import check_model
from edgelnn_profiling.parity import allowed_error
from edgelnn_profiling.plan import Plan
from edgelnn_profiling.power_csv import PowerReadings, read_power_csv
from edgelnn_profiling.report import Report

__all__ = ["Progress", "describe_models", "profile", "variant_request"]

METER_PATIENCE_S = 10


@dataclass(frozen=True)
class Progress:
    """How far a measurement is: `done` of `total` processes; `what` is the one that comes next."""

    done: int
    total: int
    what: str


Listener = Callable[[Progress], None]


@dataclass
class Subject:
    """One variant with one number of threads, and what has been heard of it so far."""

    facts: dict[str, Any]
    request: dict[str, Any]
    timings: list[Outcome] = field(default_factory=list)
    memory: Outcome | None = None
    operators: Outcome | None = None
    energy: Outcome | None = None

    @property
    def failed(self) -> bool:
        """Whether a process of it came to a bad end, after which no more are started."""
        outcomes = [*self.timings, *([self.memory] if self.memory else [])]
        return any(outcome.error is not None or outcome.first("done") is None for outcome in outcomes)


def profile(
    path: str | os.PathLike[str],
    plan: Plan | None = None,
    listener: Listener | None = None,
    *,
    variants: Sequence[str] = (),
    executor: AbstractExecutor | None = None,
    power_csv: str | os.PathLike[str] | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Report:
    """Measure what a model costs on this machine.

    Args:
        path: A bundle's folder, or an .onnx or .tflite file.
        plan: How; the default plan where none is given.
        listener: Told before each process, and at the end.
        variants: Names of a bundle's variants; all where none is given.
        executor: Where workers run; this machine where none is given.
        power_csv: Where an external meter writes times and watts meanwhile, to take the energy from (see `power_csv`);
            the machine's own meter where it is None.
        now: The date for the report.

    Returns:
        The report. A variant that cannot be measured has its error there and does not end the measurement.

    Raises:
        BundleError: The folder is not a bundle, or has no variant of a name given.
        ModelFileError: The file is not a model.
        ConfigError: The meter's file cannot be read, does not hold what it should, or has too few readings in a window.
        ProfileError: Not even a worker that describes the machine can be started.
    """
    plan = Plan() if plan is None else plan
    executor = LocalExecutor() if executor is None else executor
    heading, subjects = _subjects(Path(path), plan, variants)
    if power_csv is not None and plan.energy:
        read_power_csv(power_csv).refuse_short(plan.energy_window_s)  # Rather now than after minutes.
    total = len(subjects) * (plan.rounds + plan.memory + plan.operators + plan.energy) + 2
    done = 0

    def tell(what: str) -> None:
        nonlocal done
        if listener is not None:
            listener(Progress(min(done, total), total, what))
        done += 1

    tell("looking at the machine")
    machine, before = read_machine_events(_ask_machine(executor, plan))
    if plan.memory:
        for subject in subjects:
            tell(f"memory of {_name(subject)}")
            subject.memory = executor.execute({**subject.request, "kind": "memory"}, timeout_s=plan.timeout_s)
    for round_number in range(plan.rounds):
        order = list(subjects)
        random.Random(f"{plan.seed}/{round_number}").shuffle(order)
        for subject in order:
            tell(f"round {round_number + 1} of {plan.rounds}: {_name(subject)}")
            if not subject.failed:
                request = {**subject.request, "kind": "timing", "round": round_number}
                subject.timings.append(executor.execute(request, timeout_s=plan.timeout_s + plan.timing_s))
    tell("looking at the machine")
    _, after = read_machine_events(_ask_machine(executor, plan))
    for subject in subjects if plan.operators else ():
        tell(f"operators of {_name(subject)}")
        if not subject.failed:
            subject.operators = executor.execute({**subject.request, "kind": "operators"}, timeout_s=plan.timeout_s)
    meter = "own" if power_csv is None else "external"
    for subject in subjects if plan.energy else ():
        tell(f"energy of {_name(subject)}")
        if not subject.failed:
            request = {**subject.request, "kind": "energy", "meter": meter}
            subject.energy = executor.execute(request, timeout_s=plan.timeout_s + plan.energy_s)
    readings = _read_meter(power_csv, subjects) if power_csv is not None and plan.energy else None
    try:
        results = tuple(
            assemble_result(
                subject.facts,
                subject.timings,
                subject.memory,
                subject.operators,
                None if subject.energy is None else assemble_energy(subject.energy, readings),
            )
            for subject in subjects
        )
    except (DecodeError, KeyError) as error:
        raise ProfileError(f"a worker answered what cannot be understood: {error}.") from error
    cautions = find_cautions(results, machine=machine, plan=plan, before=before, after=after)
    reasons = tuple(
        f"{caution.variant}: {caution.seen}" if caution.variant else caution.seen
        for caution in cautions
        if caution.invalidates
    )
    tell("done")
    return Report(
        **heading,
        created=now().isoformat(timespec="seconds"),
        plan=plan,
        machine=machine,
        before=before,
        after=after,
        results=results,
        cautions=cautions,
        valid=not reasons,
        reasons=reasons,
    )


def _read_meter(path: str | os.PathLike[str], subjects: Sequence[Subject]) -> PowerReadings | Energy:
    """Return an external meter's readings, once they reach the end of what was measured or have had the time to.

    Where they can no longer be read, return that there is no estimate, and why: the rest of the report is not lost.
    """
    windows = [event for s in subjects if s.energy is not None for event in s.energy.all("energy_window")]
    end = max((window["start"] + window["duration_s"] for window in windows), default=0.0)
    patience = METER_PATIENCE_S
    try:
        while (readings := read_power_csv(path)).times[-1] < end and patience > 0:
            patience -= 1
            time.sleep(1.0)
    except ConfigError as error:
        return no_energy(str(error).rstrip("."))
    return readings


def _name(subject: Subject) -> str:
    threads = subject.facts["threads"]
    return f"{subject.facts['variant']}" + (f", {threads} threads" if threads > 1 else "")


def _ask_machine(executor: AbstractExecutor, plan: Plan) -> Outcome:
    outcome = executor.execute({"kind": "machine"}, timeout_s=plan.timeout_s)
    if outcome.error is not None or outcome.first("machine") is None:
        raise ProfileError(f"a worker process {outcome.error or 'said nothing of its machine'}.")
    return outcome


def describe_models(path: Path, names: Sequence[str] = ()) -> tuple[dict[str, Any], list[tuple[dict[str, Any], Any]]]:
    """Return a report's heading, and of each variant of a bundle, or of a file, its facts and what a worker is asked.

    Args:
        path: A bundle's folder, or a model file.
        names: Of a bundle's variants; all where none is given.

    Raises:
        BundleError: The folder is not a bundle, or has no variant of a name given.
        ModelFileError: The file is not a model.
        ProfileError: Variants of a file are asked for.
    """
    if path.is_dir():
        bundle = Bundle.load(path)
        manifest = bundle.manifest
        chosen = [bundle.variant(name) for name in names] or list(manifest.variants)
        heading = {
            "name": manifest.model.name,
            "synthetic": manifest.synthetic,
            "dataset": manifest.dataset.get("name"),
        }
        return heading, [(_variant_facts(bundle, variant), variant_request(bundle, variant)) for variant in chosen]
    if names:
        raise ProfileError(f"got variants {', '.join(names)} of {path}, which is a file; only bundles have variants.")
    return {"name": path.name, "synthetic": None, "dataset": None}, [_file_facts(path)]


def _subjects(path: Path, plan: Plan, names: Sequence[str]) -> tuple[dict[str, Any], list[Subject]]:
    """Return the report's heading, and every variant with every number of threads."""
    plan_request = encode(plan)
    heading, described = describe_models(path, names)
    return heading, [
        Subject({**facts, "threads": threads}, {**request, "threads": threads, "plan": plan_request})
        for facts, request in described
        for threads in plan.threads
    ]


def _variant_facts(bundle: Bundle, variant: Variant) -> dict[str, Any]:
    manifest = bundle.manifest
    return {
        "variant": variant.name,
        "format": variant.format,
        "recipe": variant.recipe,
        "file": variant.file,
        "size_bytes": variant.size_bytes,
        "sha256": variant.sha256,
        "recommended": variant.name == manifest.recommended,
        "parameters": dict(manifest.model.parameters),
        "macs": manifest.model.macs,
        "validation": dict(variant.validation),
        "test": dict(variant.test),
    }


def variant_request(bundle: Bundle, variant: Variant) -> dict[str, Any]:
    """Return what a worker has to know of a bundle's file: where it lies, and how its answers are proved."""
    manifest = bundle.manifest
    decision = {
        "output_kind": manifest.output_kind,
        "classes": len(manifest.class_names),
        "task": manifest.task,
        "positive_class": manifest.positive_class,
        "threshold": manifest.threshold,
    }
    golden = {
        "file": str((bundle.folder / manifest.golden.file).absolute()),
        "images": manifest.golden.images,
        "outputs": manifest.outputs,
        "preprocessing": encode(manifest.preprocessing),
        "decision": decision,
        "layout": variant.layout,
        "allowed_error": allowed_error(variant.tolerance, variant.parity_max_error),
    }
    path = bundle.path(variant)
    return {"model": str(path.absolute()), "format": check_model(path), "golden": golden}


def _file_facts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return facts and request for a file that comes without a bundle."""
    model_format = check_model(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"cannot read the model file {path}: {error.strerror}.") from error
    nothing: Mapping[str, Any] = dict.fromkeys(("recipe", "parameters", "macs", "validation", "test"))
    facts = {
        **nothing,
        "variant": path.name,
        "format": model_format,
        "file": path.name,
        "size_bytes": path.stat().st_size,
        "sha256": digest,
        "recommended": False,
    }
    return facts, {"model": str(path.absolute()), "format": model_format, "golden": None}
