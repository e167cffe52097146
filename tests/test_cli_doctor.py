"""What `edgelnn doctor` makes of machines that are not here."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from edgelnn.cli.findings import Finding, judge_machine, try_runtime
from edgelnn.cli.packages import runtime_for_tflite
from edgelnn_profiling.machine import Machine
from edgelnn_profiling.state import State

PI4 = Machine(
    board="Raspberry Pi 4 Model B Rev 1.2",
    cpu="Cortex-A72",
    features=("asimd",),
    architecture="aarch64",
    bits=64,
    emulated=False,
    cores=4,
    clock_min_hz=600_000_000,
    clock_max_hz=1_500_000_000,
    memory_bytes=4_000_000_000,
    swap_bytes=0,
    system="Debian GNU/Linux 12 (bookworm)",
    kernel="6.1.0",
    python="3.11.2",
    versions={},
)
IDLE = State(
    clocks_hz=(1_500_000_000,) * 4,
    governor="performance",
    temperature_c=45.0,
    throttled=0,
    load=0.1,
    memory_available_bytes=3_000_000_000,
    swap_used_bytes=0,
)


def find(topic: str, machine: Machine = PI4, state: State = IDLE) -> Finding:
    return next(finding for finding in judge_machine(machine, state) if finding.topic == topic)


def test_a_quiet_board_needs_nothing() -> None:
    assert [finding.verdict for finding in judge_machine(PI4, IDLE) if finding.topic != "int8"] == ["good"] * 4


def test_int8_depends_on_dot_products() -> None:
    assert find("int8").verdict == "note"
    assert find("int8", replace(PI4, features=("asimd", "asimddp"))).verdict == "good"
    assert find("int8", replace(PI4, features=("avx2", "avx512_vnni"))).verdict == "good"
    assert find("int8", replace(PI4, features=())).verdict == "unknown"


def test_a_governor_that_changes_the_clock_comes_with_the_command_that_holds_it() -> None:
    finding = find("governor", state=replace(IDLE, governor="ondemand"))
    assert finding.verdict == "note"
    assert finding.mend.startswith("echo performance | sudo tee /sys/")
    assert find("governor", state=replace(IDLE, governor=None)).verdict == "unknown"


@pytest.mark.parametrize(
    ("bits", "verdict", "word"),
    [
        (0x0, "good", "none"),
        (0x5, "lack", "under-voltage"),
        (0x4, "lack", "throttled"),
        (0x50000, "note", "since the start"),
        (None, "unknown", "does not tell"),
    ],
)
def test_throttling_is_read_from_the_firmware(bits: int | None, verdict: str, word: str) -> None:
    finding = find("throttling", state=replace(IDLE, throttled=bits))
    assert finding.verdict == verdict
    assert word in finding.text
    assert bool(finding.mend) == (verdict in ("lack", "note"))


def test_32_bits_are_told_what_they_lack() -> None:
    finding = find("python", replace(PI4, bits=32))
    assert (finding.verdict, finding.mend) == ("lack", "install a 64-bit system")
    assert runtime_for_tflite("armv7l", (3, 13)) is None


def test_a_newer_python_is_called_untried() -> None:
    assert find("python", replace(PI4, python="3.14.1")).verdict == "note"


def test_an_emulator_is_noticed() -> None:
    assert "emulated" in find("emulator", replace(PI4, emulated=True)).text


def test_load_memory_and_swap_are_noticed() -> None:
    busy = replace(IDLE, load=3.5, memory_available_bytes=100_000_000, swap_used_bytes=50_000_000)
    assert {finding.topic for finding in judge_machine(PI4, busy)} >= {"load", "memory", "swap"}


def test_a_runtime_is_tried_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    assert try_runtime("json", "json", "1").verdict == "good"
    assert "No module named" in try_runtime("nothing", "no_such_module_anywhere", "1").text
    assert try_runtime("crash", "os; os.abort()", "1").text.startswith("1: importing it ends the process (signal 6)")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert try_runtime("json", "json", "1").verdict == "unknown"
