"""Instruction counts: what is missing is named; on emulated boards they repeat, and agree with a count by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from edgelnn.errors import ModelFileError, ProfileError
from edgelnn_profiling.instructions import BOARDS, count_instructions, plugin_source
from tests.small_bundle import linear_onnx, linear_tflite


@pytest.fixture
def boards() -> Path:
    named = os.environ.get("EDGELNN_BOARDS", "")
    if not named:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    return Path(named)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(linear_tflite((28, 28, 1), 8))
    return path


def test_without_boards_it_says_what_is_needed(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGELNN_BOARDS", raising=False)
    with pytest.raises(ProfileError, match="set EDGELNN_BOARDS"):
        count_instructions(model, board="pi4")
    with pytest.raises(ProfileError, match="no such folder"):
        count_instructions(model, board="pi4", boards_root=tmp_path / "none")
    (tmp_path / "bin").mkdir()
    with pytest.raises(ProfileError, match=r"no .*pi4-python"):
        count_instructions(model, board="pi4", boards_root=tmp_path)
    (tmp_path / "bin" / "pi4-python").touch()
    (tmp_path / "pi4" / "opt" / "site").mkdir(parents=True)
    with pytest.raises(ProfileError, match=r"cc -O2 -shared -fPIC -o .*libicount\.so .*icount\.c"):
        count_instructions(model, board="pi4", boards_root=tmp_path)


def test_unknown_boards_and_numbers_are_refused(model: Path) -> None:
    with pytest.raises(ProfileError, match="pi3, pi4, pi5"):
        count_instructions(model, board="pi2")  # type: ignore[arg-type]
    with pytest.raises(ProfileError, match="inferences=0"):
        count_instructions(model, board="pi4", inferences=0)


def fake_board(root: Path, script: str) -> Path:
    """A board whose Python is a shell script, and whose plugin never counts."""
    (root / "bin").mkdir()
    (root / "pi4" / "opt" / "site").mkdir(parents=True)
    (root / "libicount.so").touch()
    python = root / "bin" / "pi4-python"
    python.write_text("#!/bin/sh\n" + script)
    python.chmod(0o755)
    return root


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("echo onnxruntime 1.0", ProfileError, "did not count"),
        ("echo 'illegal instruction' >&2; exit 132", ModelFileError, "exit code 132: illegal instruction"),
        ("kill -SEGV $$", ModelFileError, "SIGSEGV"),
        ("exec sleep 30", ProfileError, "longer than 0.2 s"),
    ],
)
def test_an_emulation_that_fails_is_one_clear_error(
    model: Path, tmp_path: Path, script: str, error: type[Exception], words: str
) -> None:
    root = tmp_path / "boards"
    root.mkdir()
    with pytest.raises(error, match=words) as caught:
        count_instructions(
            model, board="pi4", boards_root=fake_board(root, script), timeout_s=0.2 if "sleep" in script else 60
        )
    assert "\n" not in str(caught.value)


def test_counts_are_differences_of_the_two_regions(model: Path, tmp_path: Path) -> None:
    root = tmp_path / "boards"
    root.mkdir()
    script = textwrap.dedent("""
        out=${QEMU_PLUGIN#*out=}
        echo "total insns=9999 ldst=1 simdfp=1 branch=1 int=1" >> "$out"
        echo "region 5->6 insns=1050 ldst=210 simdfp=320 branch=110 int=410" >> "$out"
        echo "region 7->8 insns=2050 ldst=410 simdfp=620 branch=210 int=810" >> "$out"
        echo ai-edge-litert 2.3.0
    """)
    found = count_instructions(model, board="pi4", boards_root=fake_board(root, script), inferences=10)
    assert (found.total, found.loads_stores, found.simd_fp, found.branches, found.integer) == (100, 20, 30, 10, 40)
    assert (found.board, found.runtime, found.runtime_version) == ("pi4", "ai-edge-litert", "2.3.0")


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_the_plugin_compiles_without_a_warning(tmp_path: Path) -> None:
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", tmp_path / "libicount.so", plugin_source()], check=True, capture_output=True)


@pytest.mark.board
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("model_format", ["onnx", "tflite"])
def test_repeated_runs_give_the_same_numbers(boards: Path, tmp_path: Path, board: str, model_format: str) -> None:
    path = tmp_path / f"model.{model_format}"
    path.write_bytes({"onnx": linear_onnx, "tflite": linear_tflite}[model_format]((28, 28, 1), 8))
    first = count_instructions(path, board=board, boards_root=boards)
    assert first == count_instructions(path, board=board, boards_root=boards)
    assert first.total == first.loads_stores + first.simd_fp + first.branches + first.integer
    # 784 x 8 multiply-accumulates, four in an instruction; the rest is what a runtime costs.
    assert 784 * 8 / 4 < first.simd_fp < first.total < 200_000


@pytest.mark.board
def test_counts_do_not_depend_on_how_many_inferences_are_counted(boards: Path, model: Path) -> None:
    few = count_instructions(model, board="pi4", boards_root=boards, inferences=5)
    many = count_instructions(model, board="pi4", boards_root=boards, inferences=50)
    assert abs(few.total - many.total) <= 100  # What Python does besides, spread over the inferences counted.


@pytest.mark.board
def test_tflite_runtime_counts_too(boards: Path, model: Path) -> None:
    found = count_instructions(model, board="pi4", boards_root=boards, site="site_tfl")
    assert found.runtime == "tflite-runtime"


@pytest.mark.board
def test_a_damaged_file_is_an_error_on_the_board(boards: Path, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:400])
    with pytest.raises(ModelFileError, match="cut short"):
        count_instructions(model, board="pi4", boards_root=boards)


HAND_COUNT = """
import ctypes, mmap, os

def mark(number):
    try:
        os.getpgid(0x454C4E00 + number)
    except ProcessLookupError:
        pass

WORDS = {"ldst": 0xF94003E8, "simdfp": 0x4E20D400, "branch": 0x14000001, "int": 0x91000508}
# ldr x8, [sp]; fadd v0.4s, v0.4s, v0.4s (adds a vector to itself); b .+4; add x8, x8, #1
def function(counts):
    words = [WORDS[name] for name, count in counts.items() for _ in range(count)] + [0xD65F03C0]  # ret
    code = b"".join(word.to_bytes(4, "little") for word in words)
    memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return ctypes.CFUNCTYPE(None)(address), memory

short, kept = function({"ldst": 10, "simdfp": 10, "branch": 10, "int": 10})
long, kept_too = function({"ldst": 110, "simdfp": 60, "branch": 30, "int": 510})
for call in (short, long):
    call()
for number in range(5, 29, 4):
    mark(number)
    short()
    mark(number + 1)
    mark(number + 2)
    long()
    mark(number + 3)
"""


@pytest.mark.board
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
def test_classes_agree_with_a_count_by_hand(boards: Path, tmp_path: Path) -> None:
    plugin, counts, script = tmp_path / "libicount.so", tmp_path / "counts.txt", tmp_path / "hand.py"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", plugin, plugin_source()], check=True)
    script.write_text(HAND_COUNT)
    environment = {**os.environ, "QEMU_PLUGIN": f"{plugin},out={counts}"}
    subprocess.run([boards / "bin" / "pi4-python", script], check=True, env=environment)
    lines = dict(line.split(" ", 1) for line in counts.read_text().replace("region ", "").splitlines())

    def fewest(first: int) -> dict[str, int]:
        """The interpreter's own instructions settle after a few rounds; the machine code's are in every one."""
        rounds = [lines[f"{number}->{number + 1}"].split() for number in range(first, 29, 4)]
        found = [{name: int(value) for name, value in (word.split("=") for word in words)} for words in rounds]
        return min(found, key=lambda counts: counts["insns"])

    once, twice = fewest(5), fewest(7)
    difference = {name: twice[name] - once[name] for name in once}
    assert difference == {"insns": 670, "ldst": 100, "simdfp": 50, "branch": 20, "int": 500}


@pytest.mark.board
def test_our_plugin_counts_as_the_boards_own(boards: Path, model: Path, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler (cc)")
    root = tmp_path / "boards"
    root.mkdir()
    for entry in ("bin", "pi4"):
        (root / entry).symlink_to(boards / entry)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", root / "libicount.so", plugin_source()], check=True)
    ours = count_instructions(model, board="pi4", boards_root=root)
    theirs = count_instructions(model, board="pi4", boards_root=boards)
    # The two roots' paths differ in length, which moves the interpreter's own instructions a little.
    for kind in ("total", "loads_stores", "simd_fp", "branches", "integer"):
        assert abs(getattr(ours, kind) - getattr(theirs, kind)) <= 100
