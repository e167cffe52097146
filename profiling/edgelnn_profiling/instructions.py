"""Count the instructions of one inference on an emulated Raspberry Pi: exact, repeatable, and not a time.

The model runs on the runtimes' own aarch64 builds under QEMU's user-mode emulation, with the kernels that they choose
for that board's CPU. There are no caches and no pipeline, so counts rank files that are alike and find what grew; they
do not tell milliseconds.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import edgelnn
import edgelnn_profiling
from edgelnn.errors import ModelFileError, ProfileError
from edgelnn_profiling.emulation.count_inference import FIRST, SECOND
from edgelnn_profiling.model_files import check_model
from edgelnn_profiling.probe import how_it_ended

__all__ = ["BOARDS", "Board", "InstructionCounts", "count_instructions"]

Board = Literal["pi3", "pi4", "pi5"]
BOARDS: tuple[Board, ...] = ("pi3", "pi4", "pi5")
ENVIRONMENT_VARIABLE = "EDGELNN_BOARDS"
_REGION = re.compile(r"^region (\d+)->\d+ insns=(\d+) ldst=(\d+) simdfp=(\d+) branch=(\d+) int=(\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class InstructionCounts:
    """Instructions of one inference (one image, unless the model's batch size is fixed at more).

    Attributes:
        total: All. Some 2,000 are Python's and the binding's share, as much as 100 of them by chance of how many
            inferences were counted; the same question has the same answer.
        loads_stores: Those that read or write memory, vectors too.
        simd_fp: On vectors and floating-point numbers.
        branches: Branches, calls and the few system instructions.
        integer: The rest: whole numbers and addresses.
        board: Whose CPU was emulated.
        runtime, runtime_version: What ran the model.
    """

    total: int
    loads_stores: int
    simd_fp: int
    branches: int
    integer: int
    board: str
    runtime: str
    runtime_version: str


def count_instructions(
    model: str | os.PathLike[str],
    *,
    board: Board,
    boards_root: str | os.PathLike[str] | None = None,
    site: str = "site",
    inferences: int = 10,
    timeout_s: float = 600.0,
) -> InstructionCounts:
    """Return the instructions that one inference takes on an emulated board, with one thread.

    Args:
        model: Path of an .onnx or .tflite file.
        board: ``pi3`` (Cortex-A53), ``pi4`` (A72) or ``pi5`` (A76).
        boards_root: Folder of the emulated boards; where None, the environment variable ``EDGELNN_BOARDS`` names it.
        site: The board's folder of Python packages: ``site`` has ONNX Runtime and LiteRT, ``site_tfl`` tflite-runtime.
        inferences: How many are counted; one costs the difference between twice as many and as many.
        timeout_s: Seconds until the emulation is ended.

    Raises:
        ProfileError: The emulated boards, or a part of them, are missing; the message says what is needed.
        ModelFileError: The file is no model, or the runtime fails on it there.
    """
    if board not in BOARDS:
        raise ProfileError(f"got board {board!r}; expected {', '.join(BOARDS)}.")
    if inferences < 1:
        raise ProfileError(f"got inferences={inferences}; expected 1 or more.")
    root = _boards_root(boards_root)
    python, packages, plugin = root / "bin" / f"{board}-python", root / board / "opt" / site, root / "libicount.so"
    for needed, what in ((python, "the board's Python"), (packages, "its packages"), (plugin, "the counting plugin")):
        if not needed.exists():
            hint = f" Compile it: cc -O2 -shared -fPIC -o {plugin} {plugin_source()}" if needed == plugin else ""
            raise ProfileError(f"counting instructions needs {what}, and there is no {needed}.{hint}")
    model_format = check_model(model)
    with tempfile.TemporaryDirectory(prefix="edgelnn-count-") as folder:
        # The board sees its own packages and these two, and nothing else of this machine's Python.
        for package in (edgelnn, edgelnn_profiling):
            home = Path(package.__path__[0])
            (Path(folder) / home.name).symlink_to(home)
        counts = Path(folder) / "counts.txt"
        environment = {
            **{name: value for name, value in os.environ.items() if name not in ("ICOUNT", "ICMODE", "SITE")},
            "PYTHONPATH": f"{packages}:{folder}",
            "QEMU_PLUGIN": f"{plugin},out={counts}",
        }
        module = "edgelnn_profiling.emulation.count_inference"
        command = [str(python), "-m", module, str(Path(model).absolute()), model_format, str(inferences)]
        try:
            # In a folder without modules: -m looks there first.
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                env=environment,
                cwd=folder,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ProfileError(f"emulating {model} on {board} took longer than {timeout_s:g} s; given up.") from error
        except OSError as error:
            raise ProfileError(f"cannot start {python}: {error.strerror}.") from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise ModelFileError(f"{model} on the emulated {board} {how_it_ended(done.returncode)}: {last[:300]}")
        text = counts.read_text(encoding="ascii") if counts.exists() else ""
    runtime, _, version = done.stdout.strip().rpartition(" ")
    total, loads_stores, simd_fp, branches, integer = _per_inference(text, inferences)
    return InstructionCounts(total, loads_stores, simd_fp, branches, integer, board, runtime, version)


def plugin_source() -> Path:
    """Return the path of the counting plugin's C source."""
    return Path(__file__).parent / "emulation" / "icount.c"


def _boards_root(given: str | os.PathLike[str] | None) -> Path:
    named = os.fspath(given) if given is not None else os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not named:
        raise ProfileError(
            "counting instructions needs emulated boards: set EDGELNN_BOARDS to their folder (with bin/pi4-python, "
            "pi4/opt/site and libicount.so), on Linux x86-64 with qemu-user of QEMU 7 or 8."
        )
    root = Path(named).absolute()
    if not root.is_dir():
        raise ProfileError(f"got {root} as the folder of emulated boards; there is no such folder.")
    return root


def _per_inference(text: str, inferences: int) -> list[int]:
    """Return total, loads and stores, SIMD and floating point, branches, integer, of one inference.

    >>> five = "region 5->6 insns=1100 ldst=110 simdfp=500 branch=90 int=400"
    >>> seven = "region 7->8 insns=2100 ldst=210 simdfp=1000 branch=140 int=750"
    >>> _per_inference(five + chr(10) + seven, 10)
    [100, 10, 50, 5, 35]
    """
    regions = {int(found[0]): [int(value) for value in found[1:]] for found in _REGION.findall(text)}
    if FIRST not in regions or SECOND not in regions:
        raise ProfileError(
            "the counting plugin did not count: QEMU's user-mode emulator must support plugins (7 or 8)."
        )
    once, twice = regions[FIRST][1:], regions[SECOND][1:]
    classes = [round((more - less) / inferences) for less, more in zip(once, twice, strict=True)]
    return [sum(classes), *classes]
