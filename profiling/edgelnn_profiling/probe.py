"""Try a model file from elsewhere in a child process, so that one made to crash its runtime crashes no one else.

A crafted file can make a runtime read or write where it must not; `probe_model` turns the death of the child into an
error. It is a check for damage, not a sandbox: code that a file managed to run would run as the user.

    python -m edgelnn_profiling.probe THREADS FILE    loads FILE, runs it once, answers with one line of JSON
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from edgelnn.errors import EdgelnnError, MissingExtraError, ModelFileError
from edgelnn_profiling.model_files import check_model

__all__ = ["probe_model"]

MEMORY_LIMIT_BYTES = 8 * 2**30


def probe_model(path: str | os.PathLike[str], *, threads: int = 1, timeout_s: float = 120.0) -> None:
    """Load and run a model file once in a process of its own; return if that went well.

    Args:
        path: Path of an .onnx or .tflite file.
        threads: As for `edgelnn_profiling.runtimes.load_runtime`.
        timeout_s: Seconds until the child is ended.

    Raises:
        ModelFileError: The file is no model, is refused, fails, crashes its runtime or does not finish.
        MissingExtraError: Its runtime is not installed.
    """
    model_format = check_model(path)
    # -P: a module that lies in the current folder is not what is meant by its name.
    command = [sys.executable, "-P", "-m", "edgelnn_profiling.probe", str(threads), str(Path(path).absolute())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"{path} was given up: it did not load and run once within {timeout_s:g} s.") from error
    except OSError as error:
        raise ModelFileError(f"cannot start a process to try {path}: {error.strerror}.") from error
    if done.returncode != 0:
        raise ModelFileError(f"{path} {how_it_ended(done.returncode)} when tried in a process of its own; not opened.")
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        kind, message = answer["kind"], str(answer["message"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} made its runtime answer nothing that can be read; not opened.") from error
    if kind == "MissingExtraError":
        package = "onnxruntime" if model_format == "onnx" else "ai-edge-litert or tflite-runtime"
        raise MissingExtraError(f"running {path}", package, model_format)
    if kind != "fine":
        raise ModelFileError(message)


def how_it_ended(returncode: int) -> str:
    """Return in words how a child process died.

    >>> how_it_ended(-11)
    'crashes its runtime (SIGSEGV)'
    """
    if returncode >= 0:
        return f"ends its runtime with exit code {returncode}"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    if name == "SIGKILL":
        return "was killed by the system (SIGKILL), most likely for want of memory,"
    return f"crashes its runtime ({name})"


def limit_this_process() -> None:
    """Leave no core dump, and do not take the whole machine's memory."""
    try:
        import resource
    except ImportError:  # Not on Windows.
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.maxsize > 2**32:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY_LIMIT_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT_BYTES, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _try_out(path: str, threads: int) -> None:
    from edgelnn_profiling.runtimes import load_runtime, random_input

    runtime = load_runtime(path, threads=threads)
    runtime.run(random_input(runtime.input, seed=0))


if __name__ == "__main__":
    limit_this_process()
    verdict = {"kind": "fine", "message": ""}
    try:
        _try_out(sys.argv[2], int(sys.argv[1]))
    except EdgelnnError as error:
        verdict = {"kind": type(error).__name__, "message": str(error)}
    sys.stdout.write(json.dumps(verdict) + "\n")
