"""Every example runs, in a fresh process as its reader would run it; none is left out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgelnn.bundle import Bundle
from tests.helpers import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What each must print: a pattern, so that an example that does nothing is noticed.
PRINTS = {
    "01_the_whole_path.py": r"tflite-float32 .* bytes .* µs  AUC 0\.\d{3}",
    "02_your_own_images.py": r"sensitivity for ring",
    "03_compare_heads.py": r"gru +- +[\d,]+ +[\d,]+ +0\.\d{3}",
    "04_predict_on_a_board.py": r"on (onnxruntime|ai-edge-litert|tflite-runtime) ",
    "05_volumes_slice_by_slice.py": r"test AUC (0\.[89]\d*|1\.0+)",
}
SLOW = {"01_the_whole_path.py", "03_compare_heads.py"}


def test_no_example_is_left_out_and_their_numbers_run_on() -> None:
    assert [path.name for path in EXAMPLES] == sorted(PRINTS)
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=[pytest.mark.slow] * (path.name in SLOW), id=path.name) for path in EXAMPLES],
)
def test_example(path: Path, tmp_path: Path, tiny_bundle: Bundle) -> None:
    place = tiny_bundle.folder if "board" in path.name else tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:edgelnn", str(path), str(place)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    assert re.search(PRINTS[path.name], done.stdout), done.stdout
    assert f"python examples/{path.name}" in path.read_text("utf-8")


def test_the_readmes_python_is_the_first_example() -> None:
    """The ten lines in the README use only what the example that is run uses."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert block is not None
    compile(block.group(1), "README.md", "exec")
    example = EXAMPLES[0].read_text("utf-8")
    (imports,) = re.findall(r"from edgelnn import .*", block.group(1))
    assert imports in example
