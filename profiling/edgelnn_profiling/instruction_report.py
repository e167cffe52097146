"""What a bundle or a model file costs on emulated boards: instructions for one image, and no time."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from edgelnn import __version__
from edgelnn.decode import DecodeError, decode, parse_json, write_json
from edgelnn.errors import ProfileError
from edgelnn_profiling.emulation.boards import Board
from edgelnn_profiling.emulation.boards_folder import boards_folder
from edgelnn_profiling.emulation.counting import Answer, Job, answer_jobs
from edgelnn_profiling.instructions import TIMEOUT_S, InstructionCounts, check_board
from edgelnn_profiling.manager import Progress, describe_models
from edgelnn_profiling.report import Parity

__all__ = ["NO_TIME", "InstructionReport", "InstructionResult", "count_bundle", "is_instruction_report"]

FORMAT_VERSION = 1
KIND: Literal["instructions"] = "instructions"
NO_TIME = (
    "No time is given: an emulator has no caches, no pipeline and no memory of a board's speed. Counts rank files that "
    "are alike and find what grew; milliseconds come from a board."
)
RUNTIMES = {"onnx": (("site", "onnxruntime"),), "tflite": (("site", "ai-edge-litert"), ("site_tfl", "tflite-runtime"))}


@dataclass(frozen=True)
class InstructionResult:
    """What was found out about one variant on one board with one runtime.

    Attributes:
        variant: Its name; the file's where there is no bundle.
        format: ``onnx`` or ``tflite``.
        recipe: How it was quantized; None where there is no bundle.
        file: Name of the file.
        size_bytes: Of the file.
        sha256: Of its bytes.
        recommended: Whether the bundle recommends it.
        macs: Multiply-accumulate operations for one image; None where there is no bundle.
        board: Whose CPU was emulated.
        runtime: Which was asked for.
        counts: Of one inference, with one thread; None where there are none to be trusted.
        parity: The proof on the golden images, there; None where there is no bundle.
        error: Why there are no counts; None where there are.
    """

    variant: str
    format: str
    recipe: str | None
    file: str
    size_bytes: int
    sha256: str
    recommended: bool
    macs: int | None
    board: str
    runtime: str
    counts: InstructionCounts | None
    parity: Parity | None
    error: str | None


@dataclass(frozen=True)
class InstructionReport:
    """Instructions for one image, of every variant on every board.

    Attributes:
        kind: Tells this from a report of times.
        name: Of the model, or of the file.
        created: Date and time (UTC), ISO 8601.
        synthetic: The model was trained on synthetic images; None where there is no bundle to say so.
        dataset: Its name; None likewise.
        edgelnn: The version that counted.
        results: By variant, runtime and board.
        format_version: Of this text.
    """

    kind: Literal["instructions"]
    name: str
    created: str
    synthetic: bool | None
    dataset: str | None
    edgelnn: str
    results: tuple[InstructionResult, ...]
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the report as JSON."""
        return write_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> InstructionReport:
        """Return the report that a text holds.

        Raises:
            ProfileError: It is not JSON, not a report of instructions, or was written by a newer version.
        """
        try:
            value = parse_json(text)
            version = value.get("format_version") if isinstance(value, dict) else None
            if type(version) is int and version > FORMAT_VERSION:
                raise ProfileError(
                    f"the report of instructions has format_version {version}; this edgelnn reads {FORMAT_VERSION}. "
                    "Update it."
                )
            report = decode(cls, value)
        except DecodeError as error:
            raise ProfileError(f"the report of instructions is not valid: {error}.") from error
        for index, result in enumerate(report.results):
            if result.counts is not None and not result.counts.is_sound:
                raise ProfileError(
                    f"the report of instructions is not valid: results[{index}].counts has total="
                    f"{result.counts.total}; expected 1 or more, and the sum of its classes, none of them below 0. "
                    "Count again."
                )
        return report


def is_instruction_report(text: str | bytes) -> bool:
    """Return whether a text looks like a report of instructions rather than of times.

    >>> is_instruction_report('{"kind": "instructions"}'), is_instruction_report("[]")
    (True, False)
    """
    try:
        value = parse_json(text)
    except DecodeError:
        return False
    return isinstance(value, dict) and value.get("kind") == KIND


def count_bundle(
    path: str | os.PathLike[str],
    boards: Sequence[Board],
    listener: Callable[[Progress], None] | None = None,
    *,
    variants: Sequence[str] = (),
    boards_root: str | os.PathLike[str] | None = None,
    timeout_s: float = TIMEOUT_S,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> InstructionReport:
    """Count what one image takes in every variant, on emulated boards, by every runtime that there is for its format.

    Args:
        path: A bundle's folder, or an .onnx or .tflite file.
        boards: ``pi3``, ``pi4`` and ``pi5``.
        listener: Told after each count.
        variants: Names of a bundle's variants; all where none is given.
        boards_root: Folder of the emulated boards; as in `edgelnn_profiling.instructions.count_instructions`.
        timeout_s: Seconds until an emulation is ended.
        now: The date for the report.

    Returns:
        The report. A variant that fails, or does not give the golden answers on a board, has its error there and no
        counts.

    Raises:
        BundleError: The folder is not a bundle, or has no variant of a name given.
        ModelFileError: The file is not a model.
        ProfileError: A board is not set up.
    """
    if not boards:
        raise ProfileError("got no boards to count on; expected pi3, pi4 or pi5.")
    check_board(*boards)
    wanted = list(dict.fromkeys(boards))
    folder = boards_folder(boards_root)
    for board in wanted:
        folder.require(board)
    heading, described = describe_models(Path(path), variants)
    cases = [
        (facts, runtime, Job(board, site, Path(request["model"]), request["format"], request["golden"]))
        for facts, request in described
        for site, runtime in RUNTIMES[request["format"]]
        for board in wanted
        if not folder.lacks(board, site)
    ]
    done = 0

    def tell(job: Job) -> None:
        nonlocal done
        done += 1
        if listener is not None:
            listener(Progress(done, len(cases), f"{job.model.name} on {job.board}"))

    answers = answer_jobs(folder, [job for *_, job in cases], timeout_s=timeout_s, listener=tell)
    results = [_result(facts, runtime, job, got) for (facts, runtime, job), got in zip(cases, answers, strict=True)]
    created = now().isoformat(timespec="seconds")
    return InstructionReport(KIND, created=created, edgelnn=__version__, results=tuple(results), **heading)


def _result(facts: dict[str, Any], runtime: str, job: Job, answer: Answer) -> InstructionResult:
    parity = None if answer.parity is None else Parity(**answer.parity)
    error = answer.error
    if parity is not None and parity.max_error > parity.allowed:
        error = (
            f"it differs from the golden answers by {parity.max_error:.2g} there, where {parity.allowed:.2g} is allowed"
        )
    names = ("variant", "format", "recipe", "file", "size_bytes", "sha256", "recommended", "macs")
    return InstructionResult(
        **{name: facts[name] for name in names},
        board=job.board,
        runtime=runtime,
        counts=None if error is not None else InstructionCounts.of(answer, job.board),
        parity=parity,
        error=error,
    )
