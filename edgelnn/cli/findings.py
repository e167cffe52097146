"""What a machine is good for, judged from what it says about itself: what ``edgelnn doctor`` says beside packages."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgelnn.cli.formatting import format_bytes

if TYPE_CHECKING:
    from edgelnn_profiling.machine import Machine
    from edgelnn_profiling.state import State

__all__ = ["Finding", "Verdict", "judge_boards", "judge_import", "judge_machine", "try_runtime"]

Verdict = Literal["good", "note", "lack", "unknown"]
TESTED_PYTHON = (3, 11)
DOT_PRODUCTS = ("asimddp", "i8mm", "avx512_vnni", "avx_vnni", "amx_int8")
SET_GOVERNOR = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing about this machine.

    Attributes:
        topic: A word or two.
        verdict: ``good``; ``note``: works, but know this; ``lack``: something will not work; ``unknown``: not told.
        text: What was found.
        mend: The command or step that mends it; empty where there is none to take.
    """

    topic: str
    verdict: Verdict
    text: str
    mend: str = ""


def judge_machine(machine: Machine, state: State) -> Iterator[Finding]:
    """Yield what matters for training here and for measuring here."""
    name = machine.board or machine.cpu or "unknown CPU"
    size = format_bytes(machine.memory_bytes) if machine.memory_bytes else "unknown memory"
    yield Finding("machine", "good", f"{name}, {machine.architecture}, {machine.cores} cores, {size}")
    if machine.emulated:
        yield Finding("emulator", "note", "this machine is emulated: its times and memory mean nothing")
    yield _python(machine)
    yield _int8(machine)
    yield _governor(state)
    yield _throttling(state)
    yield from _pressure(machine, state)


def try_runtime(name: str, module: str, version: str, *, timeout_s: float = 60.0) -> Finding:
    """Return whether a fresh process can import a runtime that is installed.

    A build for another processor ends the process (SIGILL), which a check of versions cannot see.
    """
    mend = f"pip install --upgrade {name}"
    try:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={"ORT_DISABLE_TELEMETRY": "1", **os.environ},  # as wherever edgelnn imports ONNX Runtime
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name, "unknown", f"{version}, could not be tried: {error}")
    return judge_import(name, version, done.returncode, done.stderr, mend)


def judge_import(name: str, version: str, returncode: int, stderr: str, mend: str) -> Finding:
    """Return what a process that imported a runtime has shown by how it ended."""
    if returncode < 0:
        text = f"{version}: importing it ends the process (signal {-returncode}), as builds for another CPU do"
        return Finding(name, "lack", text, mend)
    if returncode > 0:
        said = stderr.strip().splitlines() or ["importing it fails without a word"]
        return Finding(name, "lack", f"{version}: {said[-1]}", mend)
    return Finding(name, "good", f"{version} loads")


def judge_boards() -> Finding:
    """Return whether emulated boards are set up here, or can be."""
    from edgelnn_profiling.emulation.boards import BOARDS
    from edgelnn_profiling.emulation.boards_folder import boards_folder
    from edgelnn_profiling.emulation.making import cannot_be_made_here

    place = boards_folder()
    ready = [board for board in BOARDS if not place.lacks(board)]
    if ready:
        return Finding("boards", "good", f"emulated: {', '.join(ready)}, in {place.path}")
    if cannot_be_made_here() is not None:
        return Finding("boards", "unknown", "none are emulated here; edgelnn boards says what it takes")
    return Finding("boards", "note", "none are emulated, to count instructions on", "edgelnn boards")


def _python(machine: Machine) -> Finding:
    major, minor, *_ = (int(part) for part in machine.python.split(".")[:2])
    if machine.bits == 32:
        text = f"{machine.python}, 32-bit: there is no ONNX Runtime and no LiteRT for it, only tflite-runtime"
        return Finding("python", "lack", text, "install a 64-bit system")
    if (major, minor) > TESTED_PYTHON:
        return Finding("python", "note", f"{machine.python}: newer than the 3.11 that edgelnn was tried with")
    return Finding("python", "good", machine.python)


def _int8(machine: Machine) -> Finding:
    if not machine.features:
        return Finding("int8", "unknown", "the system does not list the features of the CPU")
    found = [feature for feature in DOT_PRODUCTS if feature in machine.features]
    if found:
        return Finding("int8", "good", f"has dot products ({', '.join(found)}): int8 can be faster than float32")
    return Finding("int8", "note", "no int8 dot products: int8 files are smaller here, seldom faster")


def _governor(state: State) -> Finding:
    if state.governor is None:
        return Finding("governor", "unknown", "the system does not tell (usual in virtual machines)")
    if state.governor == "performance":
        return Finding("governor", "good", "performance")
    text = f"{state.governor}: the clock follows the load, so short inferences are measured at changing clocks"
    return Finding("governor", "note", text, SET_GOVERNOR)


def _throttling(state: State) -> Finding:
    heat = "temperature unknown" if state.temperature_c is None else f"{state.temperature_c:.0f} °C"
    if state.throttled is None:
        return Finding("throttling", "unknown", f"{heat}; the system does not tell whether it throttles")
    if state.throttling:
        mend = "use the official power supply" if "under-voltage" in state.throttling else "cool the board"
        return Finding("throttling", "lack", f"now: {', '.join(state.throttling)}; {heat}", mend)
    if state.throttled >> 16:
        return Finding("throttling", "note", f"not now, but it has since the start; {heat}", "cool it, then reboot")
    return Finding("throttling", "good", f"none; {heat}")


def _pressure(machine: Machine, state: State) -> Iterator[Finding]:
    """Yield what keeps the machine busy or full."""
    if state.load is not None and state.load > 0.5 * machine.cores:
        text = f"{state.load:.1f} processes want to run on {machine.cores} cores: wait before measuring"
        yield Finding("load", "note", text)
    if state.memory_available_bytes is not None and state.memory_available_bytes < 300e6:
        yield Finding("memory", "note", f"only {format_bytes(state.memory_available_bytes)} are free")
    if state.swap_used_bytes:
        yield Finding(
            "swap", "note", f"{format_bytes(state.swap_used_bytes)} in use: what is swapped out is slow at first"
        )
