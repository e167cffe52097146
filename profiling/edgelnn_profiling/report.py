"""Report: everything a measurement found, raw samples included; every output format is a writer over this."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from edgelnn.decode import DecodeError, decode, encode, parse_json
from edgelnn.errors import ConfigError, ProfileError
from edgelnn.tensor import Tensor
from edgelnn_profiling.cautions import Caution
from edgelnn_profiling.energy import Energy
from edgelnn_profiling.machine import Machine
from edgelnn_profiling.measuring import WarmUp
from edgelnn_profiling.older_reports import bring_up_to_date, with_true_intervals
from edgelnn_profiling.operator_times import OperatorProfile
from edgelnn_profiling.plan import Plan
from edgelnn_profiling.samples import Summary
from edgelnn_profiling.soundness import refuse_unsound
from edgelnn_profiling.state import Activity, State

__all__ = ["FORMAT_VERSION", "Memory", "Parity", "Process", "Report", "Result", "Size", "Throughput", "Timing"]

FORMAT_VERSION = 3


@dataclass(frozen=True)
class SampleWindow:
    """The raw samples of one window: nanoseconds for as many inferences as the process's `means_of`."""

    samples_ns: tuple[int, ...]
    duration_s: float
    clocks_hz: tuple[int, ...]


@dataclass(frozen=True)
class WholePath:
    """Raw times, image by image: from pixels to the model's input, of the inference, from its output to a decision."""

    preparation_ns: tuple[int, ...]
    inference_ns: tuple[int, ...]
    decision_ns: tuple[int, ...]


@dataclass(frozen=True)
class BatchSamples:
    """Raw times of inferences of a whole batch."""

    batch: int
    samples_ns: tuple[int, ...]


@dataclass(frozen=True)
class Process:
    """What one worker process measured.

    Attributes:
        round: Which round it belongs to, from 0.
        load_s: From the file to a runtime that is ready, in seconds; importing the runtime is not part of it.
        first_inference_s: Of the first inference, in seconds.
        warm_up: How it went.
        means_of: Inferences in each sample.
        tick_s: Smallest step of the clock.
        pinned: CPUs it was pinned to, if it was.
        windows: The samples.
        whole_path: What stands around an inference; None where that was not measured.
        batches: Inferences of more than one example.
        activity: Of this process and all others during the windows.
        swapped_bytes: How much of the process was in swap.
        before, after: State of the machine.
    """

    round: int
    load_s: float
    first_inference_s: float
    warm_up: WarmUp
    means_of: int
    tick_s: float
    pinned: tuple[int, ...] | None
    windows: tuple[SampleWindow, ...]
    whole_path: WholePath | None
    batches: tuple[BatchSamples, ...]
    activity: Activity
    swapped_bytes: int | None
    before: State
    after: State


@dataclass(frozen=True)
class Throughput:
    """Images a second at a batch size, by the median time of an inference."""

    batch: int
    images_per_s: float


@dataclass(frozen=True)
class Timing:
    """How long a variant takes.

    Attributes:
        load: Of each process: from the file to a runtime that is ready.
        first_inference: Of each process.
        inference: Of all windows of all processes together. The median's interval rests on the medians of processes,
            and takes three of them; percentiles above it have none.
        preparation: From pixels to the model's input, with an interval likewise; None where there is no bundle to say
            how.
        decision: From the model's output to a decision; None likewise.
        window_p50s_s: Medians of the windows, in the order in which they were taken: how much they differ is what the
            caution `noisy`, and with it the verdict, rests on.
        throughput: Images a second.
        failed_batches: Why batches are missing among these that the file promises to take, by size.
        processes: The raw samples.
    """

    load: Summary
    first_inference: Summary
    inference: Summary
    preparation: Summary | None
    decision: Summary | None
    window_p50s_s: tuple[float, ...]
    throughput: tuple[Throughput, ...]
    failed_batches: Mapping[str, str]
    processes: tuple[Process, ...]


@dataclass(frozen=True)
class Size:
    """Resident and proportional size of a process; None where the system does not tell."""

    rss_bytes: int | None
    pss_bytes: int | None


@dataclass(frozen=True)
class Memory:
    """Memory of a process that did nothing but load the model and run it.

    Attributes:
        interpreter: Before anything was imported.
        numpy: With numpy: the empty program that `above_empty_bytes` is counted from.
        runtime: With the runtime imported.
        loaded: With the model loaded.
        inferred: After inferences.
        peak_rss_bytes: The largest resident size.
        weights_bytes: Of the constants that the file stores: weights, scales and tables.
        activations_bytes: What the runtime's arena held of computed values at once, at most; None where the runtime
            does not tell (LiteRT does not).
        arena_bytes: What that arena took from the system, weights included where the runtime keeps them there; None
            likewise.
    """

    interpreter: Size
    numpy: Size
    runtime: Size
    loaded: Size
    inferred: Size
    peak_rss_bytes: int | None
    weights_bytes: int | None
    activations_bytes: int | None
    arena_bytes: int | None

    @property
    def above_empty_bytes(self) -> int | None:
        """Peak above an empty program (Python and numpy): what the model costs, its runtime included."""
        if self.peak_rss_bytes is None or self.numpy.rss_bytes is None:
            return None
        return self.peak_rss_bytes - self.numpy.rss_bytes


@dataclass(frozen=True)
class Parity:
    """The proof on the golden inputs: the largest difference from the PyTorch model's probabilities, and the limit."""

    max_error: float
    allowed: float
    images: int


@dataclass(frozen=True)
class Result:
    """What was found out about one variant with one number of threads.

    Attributes:
        variant: Its name; the file's where there is no bundle.
        format: ``onnx`` or ``tflite``.
        recipe: How it was quantized; None where there is no bundle.
        file: Name of the file.
        size_bytes: Of the file.
        sha256: Of its bytes.
        threads: That the runtime was given.
        recommended: Whether the bundle recommends it.
        parameters: ``trainable``, ``stored`` and ``active``; None where there is no bundle.
        macs: Multiply-accumulate operations for one image; None likewise.
        validation, test: The bundle's figures for it, on these splits.
        runtime, runtime_version: What ran it; None where nothing did.
        input, output: As the runtime describes them.
        parity: None where there is no bundle.
        timing: None where it could not be measured.
        memory: None likewise, or where the plan leaves it out.
        operators: Where the time goes; None where the plan leaves it out.
        energy: An estimate; None where the plan leaves it out.
        error: Why something is missing; None where nothing is.
    """

    variant: str
    format: str
    recipe: str | None
    file: str
    size_bytes: int
    sha256: str
    threads: int
    recommended: bool
    parameters: Mapping[str, int] | None
    macs: int | None
    validation: Mapping[str, float] | None
    test: Mapping[str, float] | None
    runtime: str | None
    runtime_version: str | None
    input: Tensor | None
    output: Tensor | None
    parity: Parity | None
    timing: Timing | None
    memory: Memory | None
    operators: OperatorProfile | None
    energy: Energy | None
    error: str | None

    @property
    def fixed_batch(self) -> int | None:
        """The one batch size that the file takes, so that no other can be measured; None where it takes any."""
        return None if self.input is None or self.input.shape[0] < 1 else self.input.shape[0]


@dataclass(frozen=True)
class Report:
    """A measurement of a bundle or of a model file.

    Attributes:
        name: Of the model, or of the file.
        created: Date and time (UTC), ISO 8601.
        synthetic: The model was trained on synthetic images; None where there is no bundle to say so.
        dataset: Its name; None likewise.
        plan: How it was measured.
        machine: Where.
        before, after: State of the machine.
        results: One for each variant and number of threads.
        cautions: What to think of before trusting the figures.
        valid: Whether they can be trusted as far as could be seen.
        reasons: Why not.
        format_version: Of this text.
    """

    name: str
    created: str
    synthetic: bool | None
    dataset: str | None
    plan: Plan
    machine: Machine
    before: State
    after: State
    results: tuple[Result, ...]
    cautions: tuple[Caution, ...]
    valid: bool
    reasons: tuple[str, ...]
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the report as JSON; rows of numbers stand on one line each."""
        text = json.dumps(encode(self), indent=2, ensure_ascii=False, allow_nan=False)
        return _NUMBERS.sub(lambda found: "[" + " ".join(found.group(1).split()) + "]", text) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        """Return the report that a text holds, one of an older format as one of this.

        Raises:
            ProfileError: It is not JSON, not a report, or was written by a newer version.
        """
        try:
            value = parse_json(text)
            version = value.get("format_version") if isinstance(value, dict) else None
            if type(version) is int and version > FORMAT_VERSION:
                raise ProfileError(
                    f"the report has format_version {version}; this edgelnn reads {FORMAT_VERSION}. Update it."
                )
            older = False
            if isinstance(value, dict) and type(version) is int and 1 <= version < FORMAT_VERSION:
                value, older = bring_up_to_date(value, version, Plan()), True
            report = decode(cls, value)
        except DecodeError as error:
            raise ProfileError(f"the report is not valid: {error}.") from error
        except ConfigError as error:
            raise ProfileError(f"the report is not valid: its plan: {error}") from error
        refuse_unsound(report)
        return with_true_intervals(report) if older else report


_NUMBERS = re.compile(r"\[\n\s+([-+.\deE]+(?:,\n\s+[-+.\deE]+)*)\n\s*\]")
