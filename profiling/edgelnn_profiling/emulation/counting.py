"""Processes that count on emulated boards: one for a board and a runtime, a forked child in it for every file."""

from __future__ import annotations

import io
import json
import os
import re
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgelnn.errors import ProfileError
from edgelnn_profiling.emulation.boards_folder import BoardsFolder
from edgelnn_profiling.emulation.count_inference import INFERENCE, NOTHING, REGIONS
from edgelnn_profiling.emulation.plugin import built_plugin
from edgelnn_profiling.model_files import ModelFormat
from edgelnn_profiling.probe import how_it_ended

__all__ = ["CLASSES", "Answer", "Job", "answer_jobs"]

CLASSES = ("integer", "simd_fp", "load", "store", "branch", "other")
_REGION = re.compile(r"^region (\d+) process=(\d+) all=(\d+)((?: \w+=\d+)*)$", re.MULTILINE)
FEWEST_TO_SHARE = 4


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
    """Return an answer to each job, in their order; how they are spread over processes does not change it.

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
    plugin = built_plugin(boards.workshop)
    staged = {board: boards.staged_packages(board) for board in sorted({job.board for job in jobs})}
    workers = at_once or len(os.sched_getaffinity(0))
    answers: dict[int, Answer] = {}

    def run(numbers: Sequence[int]) -> None:
        group = [jobs[number] for number in numbers]
        found = _run_group(boards, group, plugin, staged[group[0].board], timeout_s, listener)
        answers.update(zip(numbers, found, strict=True))

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, _groups(jobs, workers)))
    return [answers[number] for number in range(len(jobs))]


def _groups(jobs: Sequence[Job], workers: int) -> list[list[int]]:
    """Return the numbers of the jobs that share a process: of one board, site and format; shared out where many."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for number, job in enumerate(jobs):
        alike.setdefault((job.board, job.site, job.format), []).append(number)
    groups = list(alike.values())
    while groups and len(groups) < workers:
        largest = max(groups, key=len)
        if len(largest) < FEWEST_TO_SHARE:
            break
        groups.remove(largest)
        groups += [largest[::2], largest[1::2]]
    return sorted(groups, key=len, reverse=True)


def _run_group(
    boards: BoardsFolder,
    jobs: Sequence[Job],
    plugin: Path,
    packages: Path,
    timeout_s: float,
    listener: Callable[[Job], None],
) -> list[Answer]:
    board, site = jobs[0].board, jobs[0].site
    with tempfile.TemporaryDirectory(prefix="edgelnn-count-") as folder:
        counts = Path(folder) / "counts.txt"
        for number, job in enumerate(jobs):
            home = Path(folder) / f"{number:04}"
            home.mkdir()
            (home / "model").symlink_to(job.model.absolute())
            (home / "job.json").write_text(json.dumps({"golden": job.golden}), encoding="utf-8")
        environment = {
            **boards.environment(board),
            "PYTHONPATH": f"{boards.packages(board, site)}:{packages}",
            "QEMU_PLUGIN": f"{plugin},out={counts}",
        }
        module = "edgelnn_profiling.emulation.count_inference"
        command = [*boards.command(board), "-P", "-m", module, jobs[0].format, str(len(jobs))]
        heard, said, ended = _listen(command, folder, environment, timeout_s, jobs, listener)
        regions = _read_regions(counts.read_text(encoding="ascii") if counts.exists() else "")
    answers = [_answer(each, regions) for each in heard]
    # What comes after the process's own end is unanswered because of it.
    return answers + [Answer({}, error=f"the emulated {board} {ended}{said}")] * (len(jobs) - len(answers))


def _listen(
    command: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    timeout_s: float,
    jobs: Sequence[Job],
    listener: Callable[[Job], None],
) -> tuple[list[dict[str, Any]], str, str]:
    """Return what was said of each job that came to an end, the last line of complaint, and how the process ended."""
    heard: list[dict[str, Any]] = []
    current: dict[str, Any] = {}
    rehearsed = False
    timed_out = threading.Event()
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=complaints, env=dict(environment), cwd=folder
            )
        except OSError as error:
            raise ProfileError(f"cannot start {command[0]}: {error.strerror}.") from error

        def give_up() -> None:
            timed_out.set()
            process.kill()

        timer = threading.Timer(timeout_s, give_up)
        with process, process.stdout or io.BytesIO() as lines:
            timer.start()
            try:
                for line in lines:
                    try:
                        event = json.loads(line)
                    except ValueError:
                        break  # a process that was killed while writing
                    current |= event
                    if "ended" in event:
                        if rehearsed:
                            heard.append(current)
                            listener(jobs[len(heard) - 1])
                        rehearsed, current = True, {}
                lines.close()
                code = process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
        complaints.seek(0)
        words = complaints.read().decode("utf-8", "replace").strip().splitlines()
    said = f": {words[-1].strip()[:300]}" if words else ""
    for each in heard:
        each["said"] = said
    ended = f"took longer than {timeout_s:g} s; given up" if timed_out.is_set() else how_it_ended(code)
    return heard, "" if timed_out.is_set() else said, ended


def _answer(heard: Mapping[str, Any], regions: Mapping[tuple[int, int], list[dict[str, int]]]) -> Answer:
    if "error" in heard:
        return Answer({}, error=str(heard["error"]))
    if heard["ended"] != 0:
        return Answer({}, error=f"it {how_it_ended(heard['ended'])}{heard['said']}")
    inference = regions.get((heard["process"], INFERENCE), [])[-REGIONS:]
    nothing = regions.get((heard["process"], NOTHING), [])[-REGIONS:]
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


def _read_regions(text: str) -> dict[tuple[int, int], list[dict[str, int]]]:
    """Return the counts of each process and region, in their order.

    >>> _read_regions("region 2 process=7 all=12 integer=10 simd_fp=2")
    {(7, 2): [{'all': 12, 'integer': 10, 'simd_fp': 2}]}
    """
    found: dict[tuple[int, int], list[dict[str, int]]] = {}
    for number, process, total, rest in _REGION.findall(text):
        counts = {"all": int(total)}
        for word in rest.split():
            name, _, value = word.partition("=")
            counts[name] = int(value)
        found.setdefault((int(process), int(number)), []).append(counts)
    return found
