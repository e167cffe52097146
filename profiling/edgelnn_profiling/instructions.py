"""Count the instructions of one inference on an emulated Raspberry Pi: exact, and not a time.

The model runs on the runtimes' own aarch64 builds under QEMU's user-mode emulation, with the kernels that they choose
for that board's CPU. There are no caches and no pipeline, so counts rank files that are alike and find what grew; they
do not tell milliseconds. They repeat to the last instruction, whatever else the machine does: what is counted is told a
time that depends on nothing (`emulation/steady_clock.c`). ONNX Runtime looks for memory anew in each inference, which
takes some instructions more or less; the median of five inferences is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgelnn.errors import ModelFileError, ProfileError
from edgelnn_profiling.emulation.boards import BOARDS, Board
from edgelnn_profiling.emulation.boards_folder import boards_folder
from edgelnn_profiling.emulation.counting import Answer, Job, answer_jobs
from edgelnn_profiling.model_files import check_model

__all__ = ["BOARDS", "Board", "InstructionCounts", "count_files", "count_instructions"]

TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class InstructionCounts:
    """Instructions of one inference (one image, unless the model's batch size is fixed at more).

    Attributes:
        total: All. Some 2,000 are Python's and the binding's share.
        integer: On whole numbers and addresses.
        simd_fp: On vectors and floating-point numbers.
        loads: Those that read memory, vectors too.
        stores: Those that write it.
        branches: Jumps, calls and returns.
        other: Atomic ones that read and write, prefetches, barriers, hints and system calls.
        board: Whose CPU was emulated.
        runtime, runtime_version: What ran the model.
    """

    total: int
    integer: int
    simd_fp: int
    loads: int
    stores: int
    branches: int
    other: int
    board: str
    runtime: str
    runtime_version: str

    @property
    def is_sound(self) -> bool:
        """Whether counting can have led to it: there are instructions, and their classes come to all of them."""
        classes = (self.integer, self.simd_fp, self.loads, self.stores, self.branches, self.other)
        return min(classes) >= 0 and 1 <= self.total == sum(classes)

    @classmethod
    def of(cls, answer: Answer, board: str) -> InstructionCounts:
        """Return the counts of an answer without an error."""
        found = answer.classes
        return cls(
            total=sum(found.values()),
            integer=found["integer"],
            simd_fp=found["simd_fp"],
            loads=found["load"],
            stores=found["store"],
            branches=found["branch"],
            other=found["other"],
            board=board,
            runtime=answer.runtime,
            runtime_version=answer.version,
        )


def count_instructions(
    model: str | os.PathLike[str],
    *,
    board: Board,
    boards_root: str | os.PathLike[str] | None = None,
    site: str = "site",
    timeout_s: float = TIMEOUT_S,
) -> InstructionCounts:
    """Return the instructions that one inference takes on an emulated board, with one thread.

    Args:
        model: Path of an .onnx or .tflite file.
        board: ``pi3`` (Cortex-A53), ``pi4`` (A72) or ``pi5`` (A76).
        boards_root: Folder of the emulated boards; where None, the one that the environment variable
            ``EDGELNN_BOARDS`` names, or that `edgelnn boards` made.
        site: The board's folder of Python packages: ``site`` has ONNX Runtime and LiteRT, ``site_tfl`` tflite-runtime.
        timeout_s: Seconds until the emulation is ended.

    Raises:
        ProfileError: The emulated boards, or a part of them, are missing; the message says what is needed.
        ModelFileError: The file is no model, or the runtime fails on it there.
    """
    found = count_files({"": model}, board=board, boards_root=boards_root, site=site, timeout_s=timeout_s)
    return found[""]


def count_files(
    models: Mapping[str, str | os.PathLike[str]],
    *,
    board: Board,
    boards_root: str | os.PathLike[str] | None = None,
    site: str = "site",
    timeout_s: float = TIMEOUT_S,
    listener: Callable[[str], None] = lambda name: None,
) -> dict[str, InstructionCounts]:
    """Return the counts of several files by name, in less time than one by one; each is the same as by itself.

    Args:
        models: Paths of .onnx and .tflite files.
        board: As in `count_instructions`, and so are the others.
        boards_root: Folder of the emulated boards.
        site: The board's folder of Python packages.
        timeout_s: Seconds until an emulation is ended.
        listener: Told the name of each file when it is counted.

    Raises:
        ProfileError: The emulated boards, or a part of them, are missing; the message says what is needed.
        ModelFileError: A file is no model, or the runtime fails on it there.
    """
    check_board(board)
    folder = boards_folder(boards_root)
    folder.require(board, site)
    jobs = {name: Job(board, site, Path(model), check_model(model)) for name, model in models.items()}
    names = {id(job): name for name, job in jobs.items()}
    answers = answer_jobs(
        folder, list(jobs.values()), timeout_s=timeout_s, listener=lambda job: listener(names[id(job)])
    )
    for job, answer in zip(jobs.values(), answers, strict=True):
        if answer.error is not None:
            raise ModelFileError(f"{job.model} on the emulated {board}: {answer.error}")
    return {name: InstructionCounts.of(answer, board) for name, answer in zip(jobs, answers, strict=True)}


def check_board(*boards: str) -> None:
    """Refuse boards that are not emulated.

    Raises:
        ProfileError: One is not; the message names those that are.
    """
    for board in boards:
        if board not in BOARDS:
            raise ProfileError(f"got board {board!r}; expected {', '.join(BOARDS)}.")
