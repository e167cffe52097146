"""What several test files share: running the command line, and looking at a process's modules."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "onnx", "pydantic", "sklearn", "matplotlib", "ncps", "medmnist", "kornia", "ai_edge_quantizer")
CORE, EXPORT, PROFILING = "edgelnn", "edgelnn_export", "edgelnn_profiling"
PACKAGES = {
    CORE: ROOT / "edgelnn",
    EXPORT: ROOT / "export/edgelnn_export",
    PROFILING: ROOT / "profiling/edgelnn_profiling",
}


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What stdout holds, which must be JSON alone."""
        return json.loads(self.out)

    @property
    def last_line(self) -> str:
        """The last line that a person sees."""
        return self.err.rstrip().splitlines()[-1].strip()


def run_cli(*arguments: object) -> Outcome:
    """Run the command line in this process, as a terminal-less user would see it."""
    from edgelnn.cli.app import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Outcome(code, out.getvalue(), err.getvalue())


def run_python(code: str, *, environment: dict[str, str] | None = None) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def modules_loaded_by(code: str) -> set[str]:
    """Return the names of the top-level modules in a fresh interpreter after `code`."""
    printed = run_python(code + "\nimport sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))")
    return set(printed.splitlines()[-1].split())


def files_under(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder, by its name there, to tell whether anything changed."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def entries_below(folder: Path) -> list[str]:
    """Return the files and folders below a folder, by their names there, also while some of them are removed."""
    found = (Path(place) / name for place, folders, files in os.walk(folder) for name in (*folders, *files))
    return sorted(str(path.relative_to(folder)) for path in found)


def assert_one_clear_line(outcome: Outcome, *words: str, code: Sequence[int] = (1, 2)) -> None:
    """Assert that a command failed as it should: one line on stderr that says what is wrong, and no traceback."""
    assert outcome.code in code, (outcome.code, outcome.err)
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, outcome.err
    assert outcome.err.rstrip().splitlines()[-1] == errors[0], outcome.err
    assert "Traceback" not in outcome.err
    assert "fault in edgelnn" not in outcome.err
    assert len(errors[0]) <= 600, errors[0]
    assert not outcome.out
    for word in words:
        assert word.lower() in errors[0].lower(), errors[0]


def modules_of(package: str) -> dict[str, Path]:
    """Every module of a package, by its name."""
    folder = PACKAGES[package]
    return {
        ".".join((package, *path.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in sorted(folder.rglob("*.py"))
    }


EVERY_MODULE = [(name, path) for package in PACKAGES for name, path in modules_of(package).items()]
