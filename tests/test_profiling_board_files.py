"""Throttling, clock, governor and temperature, from the emulated boards' own files to the cautions of a report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgelnn.decode import encode
from edgelnn_profiling import Plan, Report, profile
from edgelnn_profiling.machine import MachineFiles, read_machine
from edgelnn_profiling.state import read_clocks, read_state
from tests.profiling_fakes import NOW, FakeExecutor, timing_events
from tests.small_bundle import make_bundle

pytestmark = pytest.mark.board

CPUFREQ = "sys/devices/system/cpu/cpu0/cpufreq"
GOVERNOR, CLOCK = f"{CPUFREQ}/scaling_governor", f"{CPUFREQ}/scaling_cur_freq"
ZONE = "sys/class/thermal/thermal_zone0/temp"
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
MAXIMA = {"pi3": 1_200_000, "pi4": 1_500_000, "pi5": 2_400_000}
Change = Mapping[str, str]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small", formats=("onnx",)).folder


@pytest.fixture(params=sorted(MAXIMA))
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a board's files, set to measure: its clock held by `performance`, nothing held back by the firmware."""
    named = os.environ.get("EDGELNN_BOARDS", "")
    if not named:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    root = tmp_path / request.param
    for folder in ("proc", "sys"):
        shutil.copytree(Path(named) / request.param / folder, root / folder, symlinks=True)
    write(root, {GOVERNOR: "performance\n", FIRMWARE: "0\n"})
    return root


def write(root: Path, files: Change) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def measure(bundle: Path, root: Path, moments: Sequence[Change]) -> Report:
    """A report in which each process finds the board's files changed: before, in each round, and after."""
    states, clocks = [], []
    for change in moments:
        write(root, change)
        states.append(encode(read_state(root)))
        clocks.append(read_clocks(MachineFiles(root)))
    rounds = iter(range(1, len(moments) - 1))

    def timing(request: Mapping[str, Any]) -> list[dict[str, Any]]:
        at = next(rounds)
        return timing_events(before=states[at], after=states[at], clocks_hz=clocks[at], windows=(1.0,) * 3)

    executor = FakeExecutor(timing, machine=encode(read_machine(root)), states=(states[0], states[-1]))
    return profile(bundle, Plan(rounds=len(moments) - 2, windows=3), executor=executor, now=lambda: NOW)


def test_a_board_that_is_set_to_measure_gives_a_valid_report(bundle: Path, board: Path) -> None:
    report = measure(bundle, board, [{}, {}, {}, {}])
    assert report.valid
    assert report.cautions == ()
    assert report.machine.board is not None
    assert report.machine.board.startswith(f"Raspberry Pi {board.name[-1]}")
    assert report.before.clocks_hz == (MAXIMA[board.name] * 1000,)


HOT, COOL = {ZONE: "81200\n"}, {ZONE: "52000\n"}


@pytest.mark.parametrize(
    ("kind", "moments", "seen", "valid"),
    [
        ("governor", [{GOVERNOR: "ondemand\n"}, {}, {}, {}], "'ondemand'", True),
        ("hot", [{}, HOT, COOL, {}], "81 °C", True),
        ("under_voltage", [{}, {FIRMWARE: "10001\n"}, {FIRMWARE: "10000\n"}, {}], "under-voltage", False),
        ("throttled", [{}, {}, {FIRMWARE: "0xe000e\n"}, {}], "frequency capped, throttled, soft limit", False),
        # Over before anyone looked, and yet remembered by the firmware.
        ("throttled", [{}, {}, {}, {FIRMWARE: "0x40000\n"}], "throttled", False),
        ("held_back_before", [{FIRMWARE: "0x50000\n"}, {}, {}, {}], "since it was started", True),
        ("clock_changed", [{}, {}, {CLOCK: "600000\n"}, {CLOCK: None}], "from 600 to", False),
    ],
)
def test_what_a_board_tells_becomes_a_caution(
    bundle: Path, board: Path, kind: str, moments: list[dict[str, Any]], seen: str, valid: bool
) -> None:
    whole = [{name: text or f"{MAXIMA[board.name]}\n" for name, text in change.items()} for change in moments]
    report = measure(bundle, board, whole)
    found = [caution for caution in report.cautions if caution.kind == kind]
    assert found, report.cautions
    assert {caution.kind for caution in report.cautions} == {kind}
    assert seen in found[0].seen
    assert report.valid == valid


def test_a_board_whose_files_tell_nothing_is_said_to_be_unwatched(bundle: Path, board: Path) -> None:
    (board / FIRMWARE).unlink()
    shutil.rmtree(board / CPUFREQ)
    shutil.rmtree(board / "sys/class/thermal")
    report = measure(bundle, board, [{}, {}, {}, {}])
    assert [caution.kind for caution in report.cautions] == ["unwatched"]
    assert report.before.temperature_c is None
    assert report.valid
