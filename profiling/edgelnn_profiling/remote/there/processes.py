"""Processes that end with the connection that asked for them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from edgelnn_profiling.remote.there.channel import Gone

__all__ = ["run_process"]

STDERR_BYTES = 8192


def run_process(
    command: list[str], extra: dict[str, str], said: bytes, *, timeout_s: float, folder: Path
) -> dict[str, Any]:
    """Run a command to its end and return what came of it; kill it when its time is over, or when the connection is.

    Args:
        command: Program and arguments.
        extra: Variables to set beside this process's.
        said: What it reads from stdin.
        timeout_s: Longest time, in seconds.
        folder: Where it works, and leaves what it leaves.

    Raises:
        Gone: The connection ended meanwhile.
    """
    deadline, output, timed_out = time.monotonic() + timeout_s, [], False
    with tempfile.TemporaryFile(dir=folder) as request, tempfile.TemporaryFile(dir=folder) as errors:
        request.write(said)
        request.seek(0)
        worker = subprocess.Popen(
            command,
            stdin=request,
            stdout=subprocess.PIPE,
            stderr=errors,
            # ONNX Runtime, for one, leaves a file in the cache of whoever imports it.
            env={**os.environ, **extra, "TMPDIR": str(folder), "XDG_CACHE_HOME": str(folder)},
            cwd=folder,
            start_new_session=True,
        )
        if worker.stdout is None:
            raise ValueError("a process was started without the pipe to hear it by")
        try:
            source = worker.stdout.fileno()
            while True:
                left = deadline - time.monotonic()
                ready = select.select([0, source], [], [], max(0.0, left))[0]
                if 0 in ready:  # Nothing is asked while a worker runs, so this is the end of the connection.
                    raise Gone
                if not ready:
                    timed_out = True
                    break
                piece = os.read(source, 1 << 16)
                if not piece:
                    break
                output.append(piece)
            code = None if timed_out else worker.wait(max(1.0, deadline - time.monotonic()))
        finally:
            try:
                os.killpg(worker.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # It came to its own end.
            worker.wait()
            worker.stdout.close()
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - STDERR_BYTES))
        text = errors.read().decode("utf-8", "replace")
    return {"code": code, "timed_out": timed_out, "stderr": text, "stdout": b"".join(output)}
