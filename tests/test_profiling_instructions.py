"""Instruction counts: what is missing is named; on emulated boards they repeat, and agree with a count by hand."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgelnn.errors import ModelFileError, ProfileError
from edgelnn.models import ModelSpec, build_classifier
from edgelnn_export.lowering import lower
from edgelnn_export.making import LAYOUTS
from edgelnn_export.onnx_model import write_onnx
from edgelnn_profiling.emulation.boards_folder import BoardsFolder, boards_folder, fit_emulator
from edgelnn_profiling.emulation.plugin import built_clock, built_plugin, plugin_source
from edgelnn_profiling.instructions import BOARDS, count_files, count_instructions
from tests.emulated_fakes import UNPROVED, fake_boards
from tests.small_bundle import linear_onnx, linear_tflite

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")


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


def test_what_is_missing_is_named_with_the_command_that_makes_it(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"no emulated pi4: .*python3\.11.*opt/site\).* Set it up: edgelnn boards"):
        count_instructions(model, board="pi4", boards_root=tmp_path / "none")
    assert not (tmp_path / "none").exists()
    folder = fake_boards(tmp_path, "exit 0")
    (folder / "emulator" / "bin" / "qemu-aarch64").unlink()
    shutil.rmtree(folder / "pi4" / "opt")
    assert f"ONNX Runtime and LiteRT of pi4 ({folder}/pi4/opt/site)" in BoardsFolder(folder).lacks("pi4")


def test_boards_are_where_the_variable_says_or_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGELNN_BOARDS", str(tmp_path / "mine"))
    assert boards_folder().path == tmp_path / "mine"
    assert boards_folder(tmp_path / "other").path == tmp_path / "other"
    monkeypatch.delenv("EDGELNN_BOARDS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert boards_folder().path == tmp_path / "cache" / "edgelnn" / "boards"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert boards_folder().path == tmp_path / ".cache" / "edgelnn" / "boards"


def test_unknown_boards_are_refused(model: Path) -> None:
    with pytest.raises(ProfileError, match="pi3, pi4, pi5"):
        count_instructions(model, board="pi2")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("version", "usage", "words"),
    [
        ("qemu-aarch64 version 7.2.22 (Debian 1:7.2)", "-plugin", ""),
        ("qemu-aarch64 version 8.2.2", "-plugin", ""),
        ("qemu-aarch64 version 9.0.0", "-plugin", "QEMU 9.0, and the counting plugin is for 4.2 to 8.2"),
        ("qemu-aarch64 version 7.2.22", "-strace", "loads no plugins"),
        ("something else", "", "does not tell its version"),
    ],
)
def test_an_emulator_is_judged_before_it_is_used(
    version: str, usage: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "qemu-aarch64"
    program.write_text(f"#!/bin/sh\n[ $1 = --version ] && echo '{version}' || echo 'usage: {usage}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found, reason = fit_emulator.__wrapped__("qemu-aarch64")
    assert (found == str(program)) == (not words)
    assert words in reason


def test_other_machines_are_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("sys.platform", "darwin")
    found, reason = fit_emulator.__wrapped__("qemu-aarch64")
    assert found is None
    assert reason == "boards are emulated on Linux x86-64 alone, and this is darwin arm64"


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        (f"echo '{UNPROVED}'", ProfileError, "did not count"),
        ("echo 'illegal instruction' >&2; exit 132", ModelFileError, "exit code 132: illegal instruction"),
        ("kill -SEGV $$", ModelFileError, "SIGSEGV"),
        ("exec sleep 30", ModelFileError, "longer than 0.2 s"),
        ("""echo '{"error": "cannot load it"}'""", ModelFileError, "cannot load it"),
        ("""echo '{"runtime": "li'""", ProfileError, "cannot be understood"),
        ("exit 0", ProfileError, "cannot be understood"),
    ],
)
@needs_compiler
def test_an_emulation_that_fails_is_one_clear_error(
    model: Path, tmp_path: Path, script: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        count_instructions(
            model,
            board="pi4",
            boards_root=fake_boards(tmp_path, script),
            timeout_s=0.2 if "sleep" in script else 60,
        )
    assert "\n" not in str(caught.value)


@needs_compiler
def test_counts_are_middle_regions_less_empty_ones(model: Path, tmp_path: Path) -> None:
    """Five of each, after rehearsals."""
    script = f"""
        out=${{QEMU_PLUGIN#*out=}}
        region() {{ echo "region $1 all=$2 integer=$3 simd_fp=20 load=30 store=5 branch=4 other=1"; }}
        for total in 900 160 171 182 160 193; do region 0 $total $((total - 60)); done >> "$out"
        for total in 700 70 61 70 90 70; do region 2 $total $((total - 60)); done >> "$out"
        echo '{UNPROVED}'
    """
    found = count_instructions(model, board="pi4", boards_root=fake_boards(tmp_path, script))
    assert (found.total, found.integer, found.simd_fp, found.loads) == (101, 101, 0, 0)
    assert (found.board, found.runtime, found.runtime_version) == ("pi4", "ai-edge-litert", "2.3.0")


@needs_compiler
def test_the_plugin_compiles_without_a_warning_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    clock = plugin_source().with_name("steady_clock.c")
    subprocess.run([*command, "-o", tmp_path / "libicount.so", plugin_source()], check=True, capture_output=True)
    subprocess.run([*command, "-o", tmp_path / "clock.so", clock], check=True, capture_output=True)
    first = built_plugin(tmp_path), built_clock(tmp_path)
    monkeypatch.setenv("CC", "/no/such/compiler")
    assert (built_plugin(tmp_path), built_clock(tmp_path)) == first
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ProfileError, match="cannot start the C compiler"):
        built_plugin(tmp_path / "elsewhere")
    monkeypatch.setenv("CC", "false")
    with pytest.raises(ProfileError, match=r"false cannot compile the counting plugin .*icount\.c"):
        built_plugin(tmp_path / "elsewhere")


def liquid_onnx() -> bytes:
    """Return a file of an LTC on 28 rows: of hundreds of small tensors, for which ONNX Runtime looks for memory."""
    spec = ModelSpec.model_validate({"stem": {"kind": "identity"}, "head": {"kind": "ltc", "units": 12}})
    model = build_classifier(spec, image_shape=(28, 28, 1), task="binary-class", classes=2).eval()
    return write_onnx(lower(model, layout=LAYOUTS["onnx"], target="onnx"))


@pytest.mark.board
@pytest.mark.parametrize("board", BOARDS)
def test_repeated_runs_give_the_same_numbers_in_whatever_company(boards: Path, tmp_path: Path, board: str) -> None:
    paths = {}
    for name, content in {"onnx": linear_onnx, "tflite": linear_tflite}.items():
        for classes in (8, 3):
            paths[f"{name}-{classes}"] = tmp_path / f"model-{classes}.{name}"
            paths[f"{name}-{classes}"].write_bytes(content((28, 28, 1), classes))
    paths["onnx-ltc"] = tmp_path / "ltc.onnx"
    paths["onnx-ltc"].write_bytes(liquid_onnx())
    once = count_files(paths, board=board, boards_root=boards)
    again = count_files(dict(reversed(paths.items())), board=board, boards_root=boards)
    assert again == once
    for name in ("onnx-8", "tflite-8", "onnx-ltc"):
        moved = tmp_path / "another place with a longer name"
        moved.mkdir(exist_ok=True)
        shutil.copy(paths[name], moved)
        found = count_instructions(moved / paths[name].name, board=board, boards_root=boards)
        assert found == once[name]
        classes = (found.integer, found.simd_fp, found.loads, found.stores, found.branches, found.other)
        assert found.total == sum(classes)
        if name != "onnx-ltc":  # 784 x 8 multiply-accumulates, four in an instruction; the rest is what a runtime costs
            assert 784 * 8 / 4 < found.simd_fp < found.total < 200_000


@pytest.mark.board
def test_tflite_runtime_counts_too(boards: Path, model: Path) -> None:
    found = count_instructions(model, board="pi4", boards_root=boards, site="site_tfl")
    assert found.runtime == "tflite-runtime"


@pytest.mark.board
def test_a_damaged_file_is_an_error_on_the_board(boards: Path, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:400])
    with pytest.raises(ModelFileError, match="cut short"):
        count_instructions(model, board="pi4", boards_root=boards)


def run_on_pi4(boards: Path, script: Path, *arguments: str, plugin: str) -> None:
    folder = BoardsFolder(boards)
    environment = {
        **folder.environment("pi4"),
        "PYTHONPATH": f"{folder.packages('pi4', 'site')}:{folder.staged_packages('pi4')}",
        "QEMU_PLUGIN": plugin,
    }
    command = [*folder.command("pi4"), str(script), *arguments]
    subprocess.run(command, check=True, env=environment, cwd=script.parent)


HAND_COUNT = """
import ctypes, mmap, os

def mark(number):
    try:
        os.getpgid(0x454C0000 + number)
    except ProcessLookupError:
        pass

WORDS = {"load": 0xF94003E8, "store": 0xF81F83E8, "simd_fp": 0x4E20D400, "branch": 0x14000001, "integer": 0x91000508,
         "other": 0xD503201F}
# ldr x8, [sp]; str x8, [sp, #-8]; fadd v0.4s, v0.4s, v0.4s; b .+4; add x8, x8, #1; nop
def function(counts):
    words = [WORDS[name] for name, count in counts.items() for _ in range(count)] + [0xD65F03C0]  # ret
    code = b"".join(word.to_bytes(4, "little") for word in words)
    memory = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return ctypes.CFUNCTYPE(None)(address), memory

short, kept = function(dict.fromkeys(WORDS, 10))
long, kept_too = function({"load": 110, "store": 40, "simd_fp": 60, "branch": 30, "integer": 510, "other": 17})
for call in (short, long):
    call()
for _ in range(12):
    mark(4)
    short()
    mark(5)
    mark(6)
    long()
    mark(7)
"""


@pytest.mark.board
@needs_compiler
def test_classes_agree_with_a_count_by_hand(boards: Path, tmp_path: Path) -> None:
    counts, script = tmp_path / "counts.txt", tmp_path / "hand.py"
    script.write_text(HAND_COUNT)
    run_on_pi4(boards, script, plugin=f"{built_plugin(tmp_path)},out={counts}")

    def fewest(region: int) -> dict[str, int]:
        """The interpreter's own instructions settle after a few rounds; the machine code's are in every one."""
        lines = [line.split() for line in counts.read_text().splitlines() if line.startswith(f"region {region} ")]
        rounds = [{name: int(value) for name, value in (word.split("=") for word in words[2:])} for words in lines]
        return min(rounds, key=lambda found: found["all"])

    once, twice = fewest(4), fewest(6)
    assert {name: twice[name] - once[name] for name in once} == {
        "all": 707,
        "integer": 500,
        "simd_fp": 50,
        "load": 100,
        "store": 30,
        "branch": 20,
        "other": 7,
    }


@pytest.mark.board
@needs_compiler
@pytest.mark.parametrize("model_format", ["onnx", "tflite"])
def test_every_access_to_memory_is_of_the_class_that_the_decoder_says(
    boards: Path, tmp_path: Path, model_format: str
) -> None:
    """Python, numpy and a runtime: QEMU tells what each instruction does, hundreds of millions of times."""
    model, counts, script = tmp_path / "model", tmp_path / "counts.txt", tmp_path / "run.py"
    model.write_bytes({"onnx": linear_onnx, "tflite": linear_tflite}[model_format]((28, 28, 1), 8))
    script.write_text(
        "import sys\nfrom edgelnn_profiling.runtimes import open_runtime, random_input\n"
        "runtime = open_runtime('model', sys.argv[1])\nprint(runtime.run(random_input(runtime.input, seed=0)))\n"
    )
    run_on_pi4(boards, script, model_format, plugin=f"{built_plugin(tmp_path)},out={counts},check=on")
    words = dict(word.split("=") for word in counts.read_text().split()[1:])
    assert int(words["accesses"]) > 10_000_000
    assert words["wrong"] == "0", f"the decoder is wrong about {words['last']}"
    assert np.log10(int(words["instructions"])) > 5
