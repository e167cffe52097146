"""The machine and its state, from made-up trees of files and from the emulated boards' own."""

import os
from pathlib import Path

import pytest

from edgelnn_profiling.machine import MachineFiles, read_machine
from edgelnn_profiling.memory import current_bytes, peak_bytes, swapped_bytes
from edgelnn_profiling.state import Activity, ActivityCounters, State, read_activity, read_clocks, read_state

PI5_CPUINFO = """processor\t: 0
Features\t: fp asimd evtstrm aes asimdhp cpuid asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b

processor\t: 1
Features\t: fp asimd
CPU implementer\t: 0x41
CPU part\t: 0xd0b

Revision\t: d04170
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
BIG_LITTLE = "\n\n".join(
    f"processor: {index}\nCPU implementer: 0x41\nCPU part: {part}"
    for index, part in enumerate(["0xd03"] * 4 + ["0xd09"] * 2)
)


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def cpufreq(*clocks_khz: int, governor: str = "ondemand") -> dict[str, str]:
    folder = "sys/devices/system/cpu/cpu{}/cpufreq/"
    files = {folder.format(index) + "scaling_cur_freq": f"{clock}\n" for index, clock in enumerate(clocks_khz)}
    return files | {
        folder.format(0) + "scaling_governor": governor + "\n",
        folder.format(0) + "cpuinfo_min_freq": "600000",
        folder.format(0) + "cpuinfo_max_freq": "1500000",
    }


def test_an_empty_tree_tells_nothing_and_nothing_is_guessed(tmp_path: Path) -> None:
    machine, state = read_machine(tmp_path), read_state(tmp_path)
    assert (machine.board, machine.cpu, machine.features) == (None, None, ())
    assert (machine.clock_min_hz, machine.clock_max_hz, machine.memory_bytes, machine.system) == (None,) * 4
    assert state == State((), None, None, None, None, None, None)
    assert read_activity(tmp_path) == ActivityCounters(None, None, None)


def test_a_pi_5_is_recognised(tmp_path: Path) -> None:
    files = {
        "proc/cpuinfo": PI5_CPUINFO,
        "proc/meminfo": "MemTotal:        8245088 kB\nMemAvailable: 100 kB\nSwapTotal: 200 kB\nSwapFree: 50 kB\n",
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        **cpufreq(1_500_000, 1_500_000),
    }
    machine = read_machine(tree(tmp_path, files))
    assert machine.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.cpu == "Cortex-A76"
    assert machine.features == ("asimd", "asimddp", "asimdhp")
    assert (machine.clock_min_hz, machine.clock_max_hz) == (600_000_000, 1_500_000_000)
    assert machine.memory_bytes == 8245088 * 1024
    assert machine.swap_bytes == 200 * 1024
    assert machine.system == "Debian GNU/Linux 12 (bookworm)"
    state = read_state(tmp_path)
    assert state.memory_available_bytes == 100 * 1024
    assert state.swap_used_bytes == 150 * 1024


def test_kinds_of_core_are_named_the_most_frequent_first(tmp_path: Path) -> None:
    assert read_machine(tree(tmp_path, {"proc/cpuinfo": BIG_LITTLE})).cpu == "Cortex-A53 + Cortex-A73"


def test_an_unknown_arm_core_has_no_invented_name(tmp_path: Path) -> None:
    text = "processor: 0\nCPU implementer: 0x41\nCPU part: 0xfff\n"
    assert read_machine(tree(tmp_path, {"proc/cpuinfo": text})).cpu is None


@pytest.mark.parametrize(
    ("said", "bits", "words"),
    [
        ("throttled=0x0\n", 0, ()),
        ("throttled=0x1\n", 1, ("under-voltage",)),
        ("throttled=0x50005\n", 0x50005, ("under-voltage", "throttled")),
        ("throttled=0xe000e\n", 0xE000E, ("frequency capped", "throttled", "soft temperature limit")),
        ("VCHI initialization failed\n", None, ()),
        (None, None, ()),
    ],
)
def test_throttling_is_read_from_the_firmwares_answer(
    tmp_path: Path, said: str | None, bits: int | None, words: tuple[str, ...]
) -> None:
    state = read_state(tmp_path, get_throttled=lambda: said)
    assert state.throttled == bits
    assert state.throttling == words


def test_throttling_is_read_from_sysfs_without_the_command(tmp_path: Path) -> None:
    root = tree(tmp_path, {"sys/devices/platform/soc/soc:firmware/get_throttled": "0x20002\n"})
    assert read_state(root).throttled == 0x20002


def test_state_has_clock_governor_and_the_cpus_temperature(tmp_path: Path) -> None:
    files = {
        **cpufreq(600_000, 1_500_000),
        "sys/class/thermal/thermal_zone0/type": "gpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": "91000\n",
        "sys/class/thermal/thermal_zone1/type": "cpu-thermal\n",
        "sys/class/thermal/thermal_zone1/temp": "48312\n",
        "proc/loadavg": "0.52 0.58 0.59 1/257 1234\n",
    }
    state = read_state(tree(tmp_path, files))
    assert state.clocks_hz == (600_000_000, 1_500_000_000)
    assert state.governor == "ondemand"
    assert state.temperature_c == 48.312
    assert state.load == 0.52


@pytest.mark.parametrize("text", ["", "not a number", "\x00\x00", "-1", "9" * 30])
def test_damaged_files_are_unknown_or_numbers_but_never_an_exception(tmp_path: Path, text: str) -> None:
    names = ("proc/loadavg", "proc/meminfo", "proc/stat", "proc/vmstat", "proc/cpuinfo", "etc/os-release")
    files = dict.fromkeys(names, text) | {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": text,
        "sys/class/thermal/thermal_zone0/type": "cpu-thermal",
        "sys/class/thermal/thermal_zone0/temp": text,
    }
    root = tree(tmp_path, files)
    assert read_machine(root).memory_bytes is None
    assert read_state(root).swap_used_bytes is None
    assert read_activity(root).busy_s is None


def test_clocks_are_in_the_order_of_the_cpus(tmp_path: Path) -> None:
    root = tree(tmp_path, cpufreq(*range(1, 13)))
    assert read_clocks(MachineFiles(root)) == tuple(clock * 1000 for clock in range(1, 13))


def test_activity_of_others_is_what_is_busy_and_not_ours(tmp_path: Path) -> None:
    per_second = os.sysconf("SC_CLK_TCK")
    before = tree(tmp_path / "a", {"proc/stat": "cpu  0 0 0 0 0 0 0 0 0 0\n", "proc/vmstat": "pswpin 3\npswpout 4\n"})
    busy = f"cpu  {per_second} {per_second} {per_second} 9 9 0 0 {per_second} 0 0\n"
    after = tree(tmp_path / "b", {"proc/stat": busy, "proc/vmstat": "pswpin 5\npswpout 4\n"})
    activity = Activity.between(read_activity(before), read_activity(after), duration_s=2.0, own_s=2.0)
    assert activity == Activity(2.0, own_cpus=1.0, other_cpus=1.0, swapped_pages=2)


def test_this_process_has_a_size_and_a_peak() -> None:
    rss, pss = current_bytes()
    peak = peak_bytes()
    assert rss is not None
    assert peak is not None
    assert 5 * 10**6 < rss <= peak * 1.05
    assert pss is None or 0 < pss <= rss
    assert swapped_bytes() is not None


def test_size_falls_back_to_statm_and_then_to_unknown(tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("5000 1000 300 1 0 900 0\n")
    assert current_bytes(str(tmp_path)) == (1000 * os.sysconf("SC_PAGE_SIZE"), None)
    assert current_bytes(str(tmp_path / "nowhere")) == (None, None)
    assert peak_bytes(str(tmp_path)) is None


@pytest.mark.board
@pytest.mark.parametrize(
    ("name", "board", "cpu", "dot_product", "clock_hz"),
    [
        ("pi3", "Raspberry Pi 3 Model B Rev 1.2", "Cortex-A53", False, 1_200_000_000),
        ("pi4", "Raspberry Pi 4 Model B Rev 1.2", "Cortex-A72", False, 1_500_000_000),
        ("pi5", "Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76", True, 2_400_000_000),
    ],
)
def test_emulated_boards_are_what_their_files_say(
    name: str, board: str, cpu: str, dot_product: bool, clock_hz: int
) -> None:
    boards = os.environ.get("EDGELNN_BOARDS", "")
    if not boards:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    machine, state = read_machine(Path(boards) / name), read_state(Path(boards) / name)
    assert (machine.board, machine.cpu, machine.clock_max_hz) == (board, cpu, clock_hz)
    assert ("asimddp" in machine.features) is dot_product
    assert (state.governor, state.temperature_c, state.clocks_hz) == ("ondemand", 48.312, (clock_hz,))
    assert state.throttled is None
