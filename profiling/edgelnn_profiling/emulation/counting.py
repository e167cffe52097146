"""Processes that count on emulated boards: one for every file, as many at a time as there are CPUs."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgelnn.errors import ProfileError
from edgelnn_profiling.emulation.boards_folder import BoardsFolder
from edgelnn_profiling.emulation.count_inference import INFERENCE, NOTHING, REGIONS
from edgelnn_profiling.emulation.plugin import built_clock, built_plugin
from edgelnn_profiling.model_files import ModelFormat
from edgelnn_profiling.probe import how_it_ended

__all__ = ["CLASSES", "Answer", "Job", "answer_jobs"]

CLASSES = ("integer", "simd_fp", "load", "store", "branch", "other")
_REGION = re.compile(r"^region (\d+) all=(\d+)((?: \w+=\d+)*)$", re.MULTILINE)


@dataclass(frozen=True)
class Job:
    """One file to be counted on one board.

    Attributes:
        board: Where.
        site: The board's folder of packages.
        model, format: The file, found fit to be opened.
        golden: As in a worker's request (see `edgelnn_profiling.manager`): the proof; None where there is none.
    """

    board: str
    site: str
    model: Path
    format: ModelFormat
    golden: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """What came of a job.

    Attributes:
        classes: Instructions of one inference, by class.
        runtime, version: What ran it.
        parity: As `edgelnn_profiling.parity.check_parity` says.
        error: Why there is nothing; None where there is.
    """

    classes: Mapping[str, int]
    runtime: str = ""
    version: str = ""
    parity: Mapping[str, Any] | None = None
    error: str | None = None


def answer_jobs(
    boards: BoardsFolder,
    jobs: Sequence[Job],
    *,
    timeout_s: float,
    listener: Callable[[Job], None] = lambda job: None,
    at_once: int | None = None,
) -> list[Answer]:
    """Return an answer to each job, in their order; each is the same as by itself.

    Args:
        boards: The emulated boards.
        jobs: What to count.
        timeout_s: Seconds until a process is ended.
        listener: Told of each job when it is answered.
        at_once: Processes at a time; as many as there are CPUs where None.

    Raises:
        ProfileError: A board cannot run programs at all, or nothing was counted.
    """
    for board, site in sorted({(job.board, job.site) for job in jobs}):
        boards.require(board, site)
    libraries = built_plugin(boards.workshop), built_clock(boards.workshop)
    staged = {board: boards.staged_packages(board) for board in sorted({job.board for job in jobs})}
    workers = at_once or len(os.sched_getaffinity(0))

    def run(job: Job) -> Answer:
        answer = _run(boards, job, libraries, staged[job.board], timeout_s)
        listener(job)
        return answer

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, jobs))


def _run(boards: BoardsFolder, job: Job, libraries: tuple[Path, Path], packages: Path, timeout_s: float) -> Answer:
    plugin, clock = libraries
    with tempfile.TemporaryDirectory(prefix="edgelnn-count-") as folder:
        counts = Path(folder) / "counts.txt"
        # A copy, not a link: ONNX Runtime finds out where that leads, and the length of the path would be counted.
        shutil.copyfile(job.model, Path(folder) / "model")
        shutil.copyfile(clock, Path(folder) / "clock.so")
        (Path(folder) / "job.json").write_text(json.dumps({"golden": job.golden}), encoding="utf-8")
        environment = {
            **boards.environment(job.board),
            "PYTHONPATH": f"{boards.packages(job.board, job.site)}:{packages}",
            "QEMU_PLUGIN": f"{plugin},out={counts}",
            # For the emulator alone: the time that a program is told. Relative, as a space would end a path here.
            "LD_PRELOAD": "./clock.so",
            "QEMU_UNSET_ENV": "LD_PRELOAD",
        }
        module = "edgelnn_profiling.emulation.count_inference"
        # Without -P this folder would be searched for modules, and its entries come in another order each time.
        command = [*boards.command(job.board), "-P", "-m", module, job.format]
        try:
            done = subprocess.run(
                command, capture_output=True, cwd=folder, env=environment, timeout=timeout_s, check=False
            )
        except subprocess.TimeoutExpired:
            return Answer({}, error=f"it took longer than {timeout_s:g} s; given up")
        except OSError as error:
            raise ProfileError(f"cannot start {command[0]}: {error.strerror}.") from error
        text = counts.read_text(encoding="ascii") if counts.exists() else ""
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return Answer(
            {}, error=f"it {how_it_ended(done.returncode)}" + (f": {lines[-1].strip()[:300]}" if lines else "")
        )
    try:
        heard = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise ProfileError(f"the emulated {job.board} answered what cannot be understood: {error}.") from error
    if "error" in heard:
        return Answer({}, error=str(heard["error"]))
    return _answer(heard, _read_regions(text))


def _answer(heard: Mapping[str, Any], regions: Mapping[int, list[dict[str, int]]]) -> Answer:
    inference, nothing = (regions.get(number, [])[-REGIONS:] for number in (INFERENCE, NOTHING))
    if len(inference) < REGIONS or len(nothing) < REGIONS:
        raise ProfileError(
            "the counting plugin did not count: QEMU's user-mode emulator must load plugins (4.2 to 8.2)."
        )
    whole, empty = _middle(inference), _middle(nothing)
    classes = {name: whole[name] - empty[name] for name in CLASSES}
    return Answer(classes, heard["runtime"], heard["version"], heard["parity"])


def _middle(regions: Sequence[dict[str, int]]) -> dict[str, int]:
    """Return the region of the median number of instructions: how memory is found differs a little each time."""
    middle = statistics.median_low(region["all"] for region in regions)
    return next(region for region in regions if region["all"] == middle)


def _read_regions(text: str) -> dict[int, list[dict[str, int]]]:
    """Return the counts of each region, in their order.

    >>> _read_regions("region 2 all=12 integer=10 simd_fp=2")
    {2: [{'all': 12, 'integer': 10, 'simd_fp': 2}]}
    """
    found: dict[int, list[dict[str, int]]] = {}
    for number, total, rest in _REGION.findall(text):
        counts = {"all": int(total)}
        for word in rest.split():
            name, _, value = word.partition("=")
            counts[name] = int(value)
        found.setdefault(int(number), []).append(counts)
    return found
